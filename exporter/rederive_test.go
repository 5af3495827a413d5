package exporter

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// rederive makes a bundle at path again from its packets.
func rederive(t *testing.T, path string, o Options) *Rederived {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	o.Release, o.Repanic = "test", true
	r, err := Rederive(context.Background(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPackedInputRederives imports complete, truncated and damaged compressed captures. A bundle
// holds them uncompressed, and must reproduce the original report about their ends.
func TestPackedInputRederives(t *testing.T) {
	for _, name := range []string{"../samples/http1.pcapng", "../samples/redis.pcap"} {
		plain, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var gz, zst bytes.Buffer
		g := gzip.NewWriter(&gz)
		g.Write(plain)
		g.Close()
		z, _ := zstd.NewWriter(&zst)
		z.Write(plain)
		z.Close()
		for kind, packed := range map[string][]byte{"gz": gz.Bytes(), "zst": zst.Bytes()} {
			damaged := bytes.Clone(packed)
			damaged[len(damaged)*2/3] ^= 0x55
			sum := bytes.Clone(packed)
			sum[len(sum)-6] ^= 1
			for what, data := range map[string][]byte{"whole": packed, "cut": packed[:len(packed)*2/3], "cut by a byte": packed[:len(packed)-1],
				"damaged": damaged, "wrong checksum": sum, "with more behind it": append(bytes.Clone(packed), "not packed"...)} {
				t.Run(filepath.Base(name)+"."+kind+" "+what, func(t *testing.T) {
					dir := t.TempDir()
					in := filepath.Join(dir, "x.pcap."+kind)
					if err := os.WriteFile(in, data, 0o600); err != nil {
						t.Fatal(err)
					}
					out := filepath.Join(dir, "x.pcapsule")
					m, err := Run(context.Background(), []string{in}, out, Options{Release: "test", Repanic: true})
					if kind == "zst" && what != "whole" && errors.As(err, new(*InputError)) {
						return // one block, which cannot be decompressed at all
					}
					if err != nil {
						t.Fatal(err)
					}
					if what != "whole" && len(m.Inputs[0].Damage) == 0 && kind == "gz" {
						t.Error("no damage is reported")
					}
					for _, d := range rederive(t, out, Options{}).Differences {
						t.Error(d)
					}
				})
			}
		}
	}
}
