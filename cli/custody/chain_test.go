package custody

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

const sealsOfBundle = "data/inputs/ring-000/seals.jsonl"

// ringBundle makes a ring with several segments, and a bundle of it.
func ringBundle(t *testing.T) (dir, path string) {
	t.Helper()
	dir, path = filepath.Join(t.TempDir(), "ring"), filepath.Join(t.TempDir(), "b.pcapsule")
	capture, err := os.ReadFile("../../samples/http1.pcapng")
	if err == nil {
		_, err = ringtest.Fill(dir, capture, 1, 50)
	}
	if err == nil {
		_, err = exporter.Run(t.Context(), []string{dir}, path, exporter.Options{Release: "test"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// anchorOf is the anchor of a ring by a new witness.
func anchorOf(t *testing.T, dir string) (ring.Anchor, ed25519.PublicKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := ring.MakeAnchor(dir, ring.VerifyOptions{}, "hub")
	if err != nil {
		t.Fatal(err)
	}
	return a.Sign(key), public
}

// said are the verdicts on a bundle, as CHECK STATE DETAIL.
func said(t *testing.T, path string, trust ring.VerifyOptions) string {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, v := range Rings(b, trust) {
		lines = append(lines, v.Check+" "+string(v.State)+" "+v.Place+" "+v.Detail)
	}
	return strings.Join(lines, "\n")
}

// edit changes the lines of the chain in a bundle.
func edit(f func(lines [][]byte) [][]byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		file := filepath.Join(path, sealsOfBundle)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		if err := os.WriteFile(file, append(bytes.TrimSuffix(bytes.Join(f(lines), nil), []byte("\n")), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRingOfABundle(t *testing.T) {
	dir, path := ringBundle(t)
	anchor, witness := anchorOf(t, dir)
	other, _ := ringBundle(t)
	foreign, stranger := anchorOf(t, other)
	newer := anchor
	newer.Of += 5
	forged := anchor
	forged.Hash = strings.Repeat("0", len(forged.Hash))
	with := func(a ...ring.Anchor) ring.VerifyOptions { return ring.VerifyOptions{Anchors: a} }
	for _, tt := range []struct {
		name  string
		trust ring.VerifyOptions
		want  []string // parts of the verdicts
	}{
		{"without an anchor", ring.VerifyOptions{}, []string{"ring yes  ", "anchor not_checked", "has no anchor"}},
		{"with its anchor", with(anchor), []string{"ring yes  ", "anchor yes", "seen by hub", "an anchor that you gave"}},
		{"with its anchor and the witness's key", ring.VerifyOptions{Anchors: []ring.Anchor{anchor}, Witnesses: []ed25519.PublicKey{witness}}, []string{"anchor yes"}},
		{"with another witness's key", ring.VerifyOptions{Anchors: []ring.Anchor{anchor}, Witnesses: []ed25519.PublicKey{stranger}}, []string{"anchor no", "not one of the given witnesses"}},
		{"an anchor of another ring", with(foreign), []string{"anchor no", "is for ring"}},
		{"an anchor for another ring by its name alone", with(func() ring.Anchor { a := foreign; a.Ring = anchor.Ring; return a }()), []string{"anchor no", "signature is not valid"}},
		{"an anchor with another number", with(newer), []string{"anchor no", "signature is not valid"}},
		{"an anchor with another hash", with(forged), []string{"anchor no", "signature is not valid"}},
		{"a recorder's key that did not sign", ring.VerifyOptions{Keys: []ed25519.PublicKey{stranger}}, []string{"ring no"}},
	} {
		got := said(t, path, tt.trust)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\nwant %q", tt.name, got, want)
			}
		}
	}
}

// TestForgedRingOfABundle changes what a bundle says of its ring. Its manifests may have been made again, so only the
// chain can show it.
func TestForgedRingOfABundle(t *testing.T) {
	dir, path := ringBundle(t)
	anchor, _ := anchorOf(t, dir)
	for _, tt := range []struct {
		name string
		do   func(*testing.T, string)
		want string
	}{
		{"the last record cut off", edit(func(l [][]byte) [][]byte { return l[:len(l)-1] }), "anchor no " + sealsOfBundle},
		{"most records cut off", edit(func(l [][]byte) [][]byte { return l[:3] }), "no record here does"},
		{"a record removed", edit(func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) }), "ring no " + sealsOfBundle},
		{"records swapped", edit(func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }), "ring no " + sealsOfBundle},
		{"a hash changed", edit(func(l [][]byte) [][]byte {
			i := bytes.Index(l[3], []byte(`"sha256":"`)) + len(`"sha256":"`)
			l[3][i] ^= 1
			return l
		}), "ring no " + sealsOfBundle},
		{"no record", edit(func([][]byte) [][]byte { return [][]byte{[]byte("{}")} }), "ring no " + sealsOfBundle},
		{"a segment that says to be another", rename(`"sequence": 2`, `"sequence": 99`), "no record here does"},
		{"a segment with the hash of another", rename(`"sequence": 2`, `"sequence": 1`), "it differs from what its ring sealed"},
		{"a capture that is of no ring", rename(`"seal": "sealed"`, `"seal": ""`), "ring not_checked  1 capture is of no ring"},
		{"a segment that its ring is said to have sealed, of no ring", rename(`"kind": "seals"`, `"kind": "owners"`), "no record here does"},
	} {
		forged := filepath.Join(t.TempDir(), "b.pcapsule")
		if err := os.CopyFS(forged, os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
		tt.do(t, forged)
		if got := said(t, forged, ring.VerifyOptions{Anchors: []ring.Anchor{anchor}}); !strings.Contains(got, tt.want) || strings.Contains(got, "ring "+string(seal.Yes)) && !strings.HasPrefix(tt.want, "anchor") {
			t.Errorf("%s: %s\nwant %q", tt.name, got, tt.want)
		}
	}
}

// rename changes a text in bundle.json.
func rename(old, text string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		file := filepath.Join(path, "data/bundle.json")
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte(old)) {
			t.Fatalf("%v: %s has no %s", err, file, old)
		}
		if err := os.WriteFile(file, bytes.Replace(data, []byte(old), []byte(text), 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWitnessInTheLog: a hub adds its anchor, or what contradicts one, to the custody log of the bundles that it makes.
func TestWitnessInTheLog(t *testing.T) {
	dir, path := ringBundle(t)
	anchor, witness := anchorOf(t, dir)
	other, _ := ringBundle(t)
	foreign, stranger := anchorOf(t, other)
	foreign.Ring = anchor.Ring
	text := func(a ring.Anchor) map[string]string {
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"anchor": string(data)}
	}
	for _, tt := range []struct {
		name  string
		entry bundle.Entry
		keys  []ed25519.PublicKey
		want  string
	}{
		{"an anchor", bundle.Entry{Event: bundle.EventAnchored, Details: text(anchor)}, nil, "anchor not_checked"},
		{"an anchor of a trusted witness", bundle.Entry{Event: bundle.EventAnchored, Details: text(anchor)}, []ed25519.PublicKey{witness}, "anchor yes"},
		{"an anchor of another witness", bundle.Entry{Event: bundle.EventAnchored, Details: text(anchor)}, []ed25519.PublicKey{stranger}, "has no anchor"},
		{"a forged anchor", bundle.Entry{Event: bundle.EventAnchored, Details: text(foreign)}, nil, "anchor no"},
		{"no anchor", bundle.Entry{Event: bundle.EventAnchored}, nil, "anchor no"},
		{"a contradiction", bundle.Entry{Event: bundle.EventContradicted, Note: "its tail was cut"}, nil, "anchor no custody/log.jsonl a witness reports"},
	} {
		copied := filepath.Join(t.TempDir(), "b.pcapsule")
		if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Open(copied)
		if err == nil {
			_, _, err = b.AppendCustody(tt.entry)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := said(t, copied, ring.VerifyOptions{Witnesses: tt.keys}); !strings.Contains(got, tt.want) || !strings.Contains(got, "ring yes") {
			t.Errorf("%s: %s\nwant %q", tt.name, got, tt.want)
		}
	}
}
