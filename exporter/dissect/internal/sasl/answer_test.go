package sasl

import (
	"encoding/base64"
	"testing"
)

func TestAnswer(t *testing.T) {
	coded := func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s))) }
	for _, c := range []struct {
		name, mechanism string
		answer          []byte
		want            string
	}{
		{"PLAIN", "PLAIN", coded("\x00ann\x00secret"), "ann"},
		{"PLAIN for another identity", "PLAIN", coded("bob\x00ann\x00secret"), "ann"},
		{"PLAIN without a password", "PLAIN", coded("ann\x00secret"), ""},
		{"the user of LOGIN", "login", coded("ann"), "ann"},
		{"SCRAM", "SCRAM-SHA-256", coded("n,,n=ann,r=x"), "ann"},
		{"another mechanism", "CRAM-MD5", coded("ann 0123"), ""},
		{"no base64", "LOGIN", []byte("secret"), ""},
	} {
		if got := string(userOf(c.mechanism, c.answer)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
