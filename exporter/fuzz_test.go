package exporter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// FuzzRun makes bundles from damaged captures. The result must be a bundle with consistent
// accounts, or an error that says the input is not a capture; never a panic.
func FuzzRun(f *testing.F) {
	for _, name := range []string{"SYNs from random addresses", "requests whose headers never end", "answers of gzip bombs",
		"commands of six bytes", "fragments whose datagrams stay in pieces"} {
		data, err := io.ReadAll(floods[name].make(6))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 16<<10)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"),
			Options{Release: "test", Stdin: bytes.NewReader(data), Repanic: true, Jobs: 1})
		if err != nil {
			var in *InputError
			if !errors.As(err, &in) && !errors.Is(err, pcapng.ErrNotCapture) {
				t.Fatalf("neither a bundle nor a capture's fault: %v", err)
			}
			return
		}
		a := &m.Accounts
		if a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
			t.Fatalf("accounts do not add up: %+v", *a)
		}
	})
}

// TestDamagedCapturesKeepTheirAccounts changes bytes of public captures at random.
// PCAPSULE_LONG takes all of them.
func TestDamagedCapturesKeepTheirAccounts(t *testing.T) {
	files := readable(t, captureFiles(t, "*/*.pcap*"))
	rnd := rand.New(rand.NewSource(1))
	rnd.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	if os.Getenv("PCAPSULE_LONG") == "" {
		files = files[:min(len(files), 60)]
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + len(data)/200 {
			if at := 24 + rnd.Intn(len(data)); at < len(data) {
				data[at] = byte(rnd.Intn(256))
			}
		}
		m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"),
			Options{Release: "test", Stdin: bytes.NewReader(data), Repanic: true})
		var in *InputError
		if errors.As(err, &in) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if a := &m.Accounts; a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
			t.Errorf("%s: accounts do not add up: %+v", path, *a)
		}
	}
}
