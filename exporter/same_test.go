package exporter

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// someCaptures are public captures of many protocols and shapes.
var someCaptures = []string{"http1/pcpp-650HttpResponses.pcap", "http2/arkime-http2-nghttp2.pcap", "dns/*.pcap", "redis/*.pcap*",
	"postgresql/*.pcap*", "tcp/*.pcap*", "ipfrag/*.pcap*", "icmp/*.pcap*", "link/*.pcap*", "tls/*.pcap*", "malformed/*.pcap*", "mixed/*.pcap*"}

func captureFiles(t *testing.T, patterns ...string) (files []string) {
	dir := captures.Dir(t)
	for _, p := range patterns {
		m, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, m...)
	}
	return files
}

// made runs the exporter and returns the manifest, and the bundle's list of hashes with its page.
func made(t *testing.T, o Options, inputs ...string) (*bundle.Manifest, []byte) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	o.Release, o.Repanic = "test", true
	m, err := Run(context.Background(), inputs, out, o)
	if err != nil {
		t.Fatal(err)
	}
	var texts [][]byte
	for _, name := range []string{"manifest-sha256.txt", "README.html"} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	return m, bytes.Join(texts, nil)
}

// readable filters out files that are not captures.
func readable(t *testing.T, files []string) (good []string) {
	for _, f := range files {
		if _, err := read.Open([]string{f}, nil); err == nil {
			good = append(good, f)
		}
	}
	return good
}

// sameBytes compares runs with one, two and seven workers. Each is also a repeated run, so it would
// show what depends on the order of a map.
func sameBytes(t *testing.T, files []string) {
	t.Helper()
	_, want := made(t, Options{Jobs: 1}, files...)
	for _, tt := range []struct {
		name string
		jobs int
		back bool
	}{{"seven workers", 7, false}, {"two workers, arguments the other way round", 2, true}} {
		in := slices.Clone(files)
		if tt.back {
			slices.Reverse(in)
		}
		if _, got := made(t, Options{Jobs: tt.jobs}, in...); !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes:\n%s", tt.name, diffLines(want, got))
		}
	}
}

func diffLines(a, b []byte) []byte {
	var out []byte
	have := map[string]bool{}
	for _, l := range bytes.Split(a, []byte("\n")) {
		have[string(l)] = true
	}
	for _, l := range bytes.Split(b, []byte("\n")) {
		if !have[string(l)] {
			out = append(append(out, l...), '\n')
		}
	}
	return out
}

func TestSameCapturesGiveTheSameBytes(t *testing.T) {
	sameBytes(t, nightly.Some(readable(t, captureFiles(t, someCaptures...)), 150))
}

func TestBenchCaptureGivesTheSameBytes(t *testing.T) {
	const path = "../../bench/mix200.pcap"
	if _, err := os.Stat(path); err != nil || testing.Short() {
		t.Skip("needs bench captures")
	}
	sameBytes(t, []string{path})
}

func TestFloodsGiveTheSameBytes(t *testing.T) {
	for name, f := range floods {
		t.Run(name, func(t *testing.T) {
			n := f.long / nightly.Of(1200, 400)
			_, want := made(t, Options{Jobs: 1, Stdin: f.make(n)}, "-")
			if _, got := made(t, Options{Jobs: 7, Stdin: f.make(n)}, "-"); !bytes.Equal(got, want) {
				t.Errorf("seven workers give other bytes:\n%s", diffLines(want, got))
			}
		})
	}
}

// TestPipeGivesTheSameRows reads captures from standard input: only the name may differ.
func TestPipeGivesTheSameRows(t *testing.T) {
	for _, path := range readable(t, captureFiles(t, "http1/pcpp-650HttpResponses.pcap", "dns/*.pcap", "mixed/*.pcap*")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, _ := made(t, Options{}, path)
		pipe, _ := made(t, Options{Stdin: bytes.NewReader(data)}, "-")
		// The name of the input appears in these columns.
		named := map[string]bool{"clocks.source": true, "coverage.source": true}
		c := &comparison{b: &bundle.Bundle{Manifest: file}, made: pipe, same: true, r: &Rederived{}}
		if err := c.tables(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		for _, d := range c.r.Differences {
			if !named[d.Table+"."+d.Column] {
				t.Errorf("%s: %s", filepath.Base(path), d)
			}
		}
		if file.Accounts.RowBytes != pipe.Accounts.RowBytes || file.Inputs[0].SHA256 != pipe.Inputs[0].SHA256 {
			t.Errorf("%s: accounts or hash differ", filepath.Base(path))
		}
	}
}

// TestRoundsInPartsAreTheSame has packets of so many calls that shards wait for room.
func TestRoundsInPartsAreTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pings.pcap")
	data, err := io.ReadAll(newFrames(200, pings))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, []string{file})
}
