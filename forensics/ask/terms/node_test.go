package terms_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

func TestRegistrableDomain(t *testing.T) {
	for name, want := range map[string]string{"api.pay.example.co.uk": "example.co.uk", "A.Example.COM.": "example.com", "203.0.113.5": "203.0.113.5", "fd00::1": "fd00::1", "localhost": "localhost", "com": "com", "": ""} {
		if got := terms.Domain(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
