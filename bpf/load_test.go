//go:build linux

package bpf

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

func load(t *testing.T, o Options) *Programs {
	t.Helper()
	p, err := Load(o)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		t.Fatalf("%+v", ve)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestEverythingLoads(t *testing.T) {
	p := load(t, Options{Owners: true, HeadersOnly: true})
	for name, err := range p.Missing {
		var ve *ebpf.VerifierError
		errors.As(err, &ve)
		t.Errorf("%s: %+v", name, ve)
	}
}
