package derive_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// remake writes manifests and a custody log that fit the files, as somebody does who wants a change to pass.
func remake(t *testing.T, dir string) {
	t.Helper()
	read := func(rel string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write := func(rel, text string) {
		if err := os.WriteFile(filepath.Join(dir, rel), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := bundle.ParseManifest(read("data/bundle.json")); err == nil {
		page, err := m.Readme()
		if err != nil {
			t.Fatal(err)
		}
		write("README.html", string(page))
	}
	var lines []string
	size := 0
	err := filepath.WalkDir(filepath.Join(dir, "data"), func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		data := read(rel)
		size += len(data)
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(data), filepath.ToSlash(rel)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	write("manifest-sha256.txt", strings.Join(lines, ""))
	before, _, _ := strings.Cut(string(read("bag-info.txt")), "Payload-Oxum:")
	write("bag-info.txt", fmt.Sprintf("%sPayload-Oxum: %d.%d\n", before, size, len(lines)))
	tags := ""
	for _, name := range []string{"README.html", "bag-info.txt", "bagit.txt", "manifest-sha256.txt"} {
		tags += fmt.Sprintf("%x  %s\n", sha256.Sum256(read(name)), name)
	}
	write("tagmanifest-sha256.txt", tags)
	var first map[string]any
	line, _, _ := strings.Cut(string(read("custody/log.jsonl")), "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil {
		t.Fatal(err)
	}
	first["tagmanifest_sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(tags)))
	text, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	write("custody/log.jsonl", string(text)+"\n")
}

// found verifies a bundle whose manifests were remade, in each way, and returns what is wrong.
func found(t *testing.T, dir string, trust seal.Trust) string {
	t.Helper()
	r, err := bundle.Verify(context.Background(), dir, nil)
	if err != nil {
		return err.Error()
	}
	if err := r.Err(); err != nil {
		return err.Error()
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return err.Error()
	}
	trust.Committed = map[string]bool{}
	var list []string
	for _, v := range derive.Verify(context.Background(), b, trust) {
		if v.State == seal.No {
			list = append(list, v.Place+": "+v.Detail)
		}
	}
	if again, err := exporter.Rederive(context.Background(), b, exporter.Options{Release: "test", Repanic: true}); err != nil {
		list = append(list, err.Error())
	} else {
		for _, d := range again.Differences {
			list = append(list, d.String())
		}
	}
	return strings.Join(list, "\n")
}

// family is a sealed bundle, other bundles of it, and what was derived from it, in three steps.
type family struct {
	trust                seal.Trust
	redacted, other, cut string // from the sealed bundle
	chain                string // a cut of a redaction of a cut, each sealed before
	stranger             string // a redaction of another bundle with the same file names
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{}
	dir := t.TempDir()
	ctx := context.Background()
	scene := func(word string) *bundle.Bundle {
		s := newScene(t)
		s.talk(80, say{data: request("X-Api-Key: abcdefgh-12345678\r\n", word)}, answer("", "one"))
		s.talk(80, say{data: request("X-Other: 4111111111111111\r\n", strings.Repeat("second ", 2000))}, answer("", "two"))
		s.talk(81, say{data: request("", "third")}, answer("", "three"))
		return bundleOf(t, s.save())
	}
	redact := func(b *bundle.Bundle, name, text string, o derive.Options) string {
		out := filepath.Join(dir, name)
		if _, err := derive.Redact(ctx, b, out, derive.Redaction{Policy: removalOf(t, text), Text: []byte(text)}, o); err != nil {
			t.Fatal(err)
		}
		return out
	}
	cut := func(b *bundle.Bundle, name string, o derive.Options, conns ...int64) string {
		out := filepath.Join(dir, name)
		c := derive.Choice{Conns: map[int64]bool{}}
		for _, n := range conns {
			c.Conns[n] = true
		}
		if _, err := derive.Cut(ctx, b, out, c, o); err != nil {
			t.Fatal(err)
		}
		return out
	}
	with := func(b *bundle.Bundle) derive.Options {
		seed, trust := sealed(t, b)
		f.trust.Signers = append(f.trust.Signers, trust.Signers...)
		o := quiet
		o.Seed = seed
		return o
	}
	b := scene("first")
	o := with(b)
	f.redacted = redact(b, "redacted.pcapsule", policy, o)
	f.other = redact(b, "other.pcapsule", "version: 1\nname: cards\nextends: none\ndetectors: [card]\n", o)
	f.cut = cut(b, "cut.pcapsule", o, 1, 2)
	c := opened(t, f.cut)
	r := opened(t, redact(c, "step2.pcapsule", policy, with(c)))
	f.chain = cut(r, "chain.pcapsule", with(r), 1)
	s := scene("stranger")
	f.stranger = redact(s, "stranger.pcapsule", policy, with(s))
	return f
}

// TestDerivedBundlesThatWereTamperedWith changes what derived bundles say and prove, with manifests that fit.
func TestDerivedBundlesThatWereTamperedWith(t *testing.T) {
	f := newFamily(t)
	for _, path := range []string{f.redacted, f.other, f.cut, f.chain, f.stranger} {
		copied := filepath.Join(t.TempDir(), "b.pcapsule")
		if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
		remake(t, copied)
		if text := found(t, copied, f.trust); text != "" {
			t.Fatalf("%s, before it is changed: %s", filepath.Base(path), text)
		}
	}
	const proof, commitments = "data/derived/proof-000.bin", "data/derived/commitments.dsse.json"
	take := func(from string, rels ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, rel := range rels {
				data, err := os.ReadFile(filepath.Join(from, rel))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, rel), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	says := func(change func(d *bundle.Derived)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			p := filepath.Join(dir, "data/bundle.json")
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			m, err := bundle.ParseManifest(data)
			if err != nil {
				t.Fatal(err)
			}
			change(m.Derived)
			if data, err = m.Encode(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	add := func(rel string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, rel), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(rel string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, rel)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name, from string
		do         func(t *testing.T, dir string)
	}{
		{"the proof of another redaction of the same original", f.redacted, take(f.other, proof)},
		{"the proof of a cut of the same original", f.redacted, take(f.cut, proof)},
		{"the proof of a redaction of another bundle", f.redacted, take(f.stranger, proof)},
		{"the commitments of another bundle", f.redacted, take(f.stranger, commitments)},
		{"proof and commitments of another bundle", f.redacted, take(f.stranger, commitments, proof)},
		{"the packets of another redaction", f.redacted, take(f.other, opened(t, f.other).Manifest.Inputs[0].Path)},
		{"the commitments of the first in a chain", f.chain, take(f.cut, commitments)},
		{"proof and commitments of the first in a chain", f.chain, take(f.cut, commitments, proof)},
		{"the proof of the first in a chain", f.chain, take(f.cut, proof)},
		{"a file beside the proofs", f.redacted, add("data/derived/evil.html")},
		{"a proof that no file has", f.redacted, add("data/derived/proof-001.bin")},
		{"a proof of rows that no table has", f.cut, add("data/derived/rows-flows.bin")},
		{"no proof", f.redacted, remove(proof)},
		{"no commitments", f.redacted, remove(commitments)},
		{"another kind: cut", f.redacted, says(func(d *bundle.Derived) { d.Kind = bundle.Cut })},
		{"another kind: merged", f.redacted, says(func(d *bundle.Derived) { d.Kind = bundle.Merged })},
		{"a cut that says it is merged", f.cut, says(func(d *bundle.Derived) { d.Kind = bundle.Merged })},
		{"a cut that says it is redacted", f.cut, says(func(d *bundle.Derived) { d.Kind = bundle.Redacted })},
		{"a kind that does not exist", f.cut, says(func(d *bundle.Derived) { d.Kind = "copied" })},
		{"no policy", f.redacted, says(func(d *bundle.Derived) { d.Policy = nil })},
		{"a policy of a cut", f.cut, says(func(d *bundle.Derived) { d.Policy = &bundle.DerivedPolicy{Name: "x"} })},
		{"no choice of a cut", f.cut, says(func(d *bundle.Derived) { d.Cut = nil })},
		{"a cut in a redaction", f.redacted, says(func(d *bundle.Derived) { d.Cut = &bundle.DerivedCut{Filter: "dns"} })},
		{"names that were added", f.cut, says(func(d *bundle.Derived) { d.Added = []string{"kube"} })},
		{"fewer changed packets", f.redacted, says(func(d *bundle.Derived) { d.Packets.Changed--; d.Packets.Unchanged++ })},
		{"more changed packets", f.cut, says(func(d *bundle.Derived) { d.Packets.Changed++; d.Packets.Unchanged-- })},
		{"fewer removed packets", f.cut, says(func(d *bundle.Derived) { d.Packets.Removed--; d.Packets.Unchanged++ })},
		{"fewer removed packets, of a smaller original", f.cut, says(func(d *bundle.Derived) { d.Packets.Removed--; d.From.Packets-- })},
		{"an original of more packets", f.cut, says(func(d *bundle.Derived) { d.From.Packets++ })},
		{"an original of more packets, in a chain", f.chain, says(func(d *bundle.Derived) { d.From.Packets += 7 })},
		{"no rules", f.redacted, says(func(d *bundle.Derived) { d.Rules = nil })},
		{"another rule", f.redacted, says(func(d *bundle.Derived) { d.Rules = map[string]int64{"card": 1} })},
		{"another count of a rule", f.redacted, says(func(d *bundle.Derived) { d.Rules["header"] += 100 })},
		{"rules of a cut", f.cut, says(func(d *bundle.Derived) { d.Rules = map[string]int64{"card": 1} })},
		{"no list of proofs", f.redacted, says(func(d *bundle.Derived) { d.Proofs = nil })},
		{"a proof twice", f.redacted, says(func(d *bundle.Derived) { d.Proofs = append(d.Proofs, d.Proofs[0]) })},
		{"a proof of another file", f.redacted, says(func(d *bundle.Derived) { d.Proofs[0].FileID = 1 })},
		{"a proof without packets", f.redacted, says(func(d *bundle.Derived) { d.Proofs[0].Path = "" })},
		{"a proof under another name", f.redacted, says(func(d *bundle.Derived) { d.Proofs[0].Proof = commitments })},
		{"a proof of rows that is not there", f.redacted, says(func(d *bundle.Derived) {
			d.Rows = append(d.Rows, bundle.RowProof{Table: "flows", Proof: "data/derived/rows-flows.bin"})
		})},
		{"a proof of rows twice", f.redacted, says(func(d *bundle.Derived) { d.Rows = append(d.Rows, d.Rows...) })},
		{"the hash of an original of a redaction", f.redacted, says(func(d *bundle.Derived) { d.From.TagManifest = &bundle.Digest{1} })},
		{"not rederivable", f.redacted, says(func(d *bundle.Derived) { d.Rederivable = "no" })},
		{"an original that was not derived, in a chain", f.chain, says(func(d *bundle.Derived) { d.From.Derived = "" })},
		{"an original that lacked nothing, in a chain", f.chain, says(func(d *bundle.Derived) { d.From.Lacks = nil })},
	} {
		dir := filepath.Join(t.TempDir(), "b.pcapsule")
		if err := os.CopyFS(dir, os.DirFS(tt.from)); err != nil {
			t.Fatal(err)
		}
		tt.do(t, dir)
		remake(t, dir)
		if found(t, dir, f.trust) == "" {
			t.Errorf("%s: nothing", tt.name)
		}
	}
}
