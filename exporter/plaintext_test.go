package exporter

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// Decrypted plaintext gives the same calls again, in addition to the packets that carry it.
func TestPlaintextGivesTheSameCalls(t *testing.T) {
	sample, log := filepath.Join("..", "samples", "tls.pcapng"), filepath.Join("..", "samples", "tls.keylog")
	dir := t.TempDir()
	plain := filepath.Join(dir, "plaintext-tls.pcapng")
	f, err := os.Create(plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decrypt(context.Background(), []string{sample}, f, Options{Release: "test", Repanic: true, Keys: []string{log}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	calls := func(name string, keys []string, inputs ...string) map[string]int64 {
		m, err := Run(context.Background(), inputs, filepath.Join(dir, name), Options{Release: "test", Repanic: true, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		got := maps.Clone(m.Calls)
		delete(got, "tls")
		delete(got, "ip")
		return got
	}
	want := calls("wire.pcapsule", []string{log}, sample)
	if got := calls("plain.pcapsule", nil, plain); len(want) == 0 || !maps.Equal(got, want) {
		t.Errorf("plaintext gives %v, packets give %v", got, want)
	}
	for k := range want {
		want[k] *= 2
	}
	if got := calls("both.pcapsule", []string{log}, sample, plain); !maps.Equal(got, want) {
		t.Errorf("both give %v, want %v", got, want)
	}
}
