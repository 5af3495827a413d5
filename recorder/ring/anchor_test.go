package ring

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

// makeAnchor makes an anchor and signs it.
func makeAnchor(dir string, opt VerifyOptions, key ed25519.PrivateKey) (Anchor, *Report, error) {
	a, r, err := MakeAnchor(dir, opt, "hub")
	if err == nil {
		a = a.Sign(key)
	}
	return a, r, err
}

// TestAnOldAnchorProvesOnlyItsOwnRecord replays an anchor after the later records were cut.
func TestAnOldAnchorProvesOnlyItsOwnRecord(t *testing.T) {
	dir := ringWithSides(t)
	witness, err := signingkey.Load(filepath.Join(t.TempDir(), "witness"))
	must(t, err)
	old, _, err := makeAnchor(dir, VerifyOptions{}, witness)
	must(t, err)
	short, err := os.ReadFile(filepath.Join(dir, sealsName))
	must(t, err)
	w, s, a := withSides(t, Options{Dir: dir})
	must(t, s.Append(packet(a, 9)))
	id := s.Current()
	must(t, w.Seal(context.Background()))
	finish(t, w)
	newest, _, err := makeAnchor(dir, VerifyOptions{}, witness)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, sealsName), short, 0o644))
	must(t, os.Remove(filepath.Join(dir, id.Segment())))
	check := func(list ...Anchor) *Report {
		t.Helper()
		rep, err := Verify(dir, VerifyOptions{Anchors: list, Witnesses: public(witness)})
		must(t, err)
		return rep
	}
	if rep := check(old); !rep.OK() || rep.Anchored != int64(old.Of) || rep.AnchoredAt != old.At {
		t.Fatalf("%+v", rep)
	}
	rep := check(old, newest)
	if rep.OK() || !strings.HasSuffix(rep.Problems[0].What, "its tail was cut; missing: "+id.Segment()) {
		t.Fatalf("%+v", rep.Problems)
	}
	if rep, _, err := CheckChain(dir, VerifyOptions{Anchors: []Anchor{newest}}); err != nil || rep.OK() {
		t.Fatalf("%v, %+v", err, rep)
	}
}

func TestAnchorsThatProveNothing(t *testing.T) {
	dir := ringWithSides(t)
	witness, err := signingkey.Load(filepath.Join(t.TempDir(), "witness"))
	must(t, err)
	good, _, err := makeAnchor(dir, VerifyOptions{}, witness)
	must(t, err)
	other, _, err := makeAnchor(ringWithSides(t), VerifyOptions{}, witness)
	must(t, err)
	with := func(f func(*Anchor)) Anchor { a := good; f(&a); return a }
	for _, c := range []struct {
		what   string
		anchor Anchor
		want   string
	}{
		{"one of another ring", other, "it is for ring " + `"` + other.Ring},
		{"one of another ring that hides it", with(func(a *Anchor) { *a = other; a.Ring = "" }), "the signature is not valid"},
		{"an earlier record", with(func(a *Anchor) { a.Of-- }), "the signature is not valid"},
		{"other segments", with(func(a *Anchor) { a.Segments = map[string]uint64{"sockets": 2} }), "the signature is not valid"},
		{"a later time", with(func(a *Anchor) { a.At++ }), "the signature is not valid"},
		{"another history", with(func(a *Anchor) { a.Hash = strings.Repeat("0", 64); *a = a.Sign(witness) }), "has another hash"},
	} {
		t.Run(c.what, func(t *testing.T) {
			rep, err := Verify(dir, VerifyOptions{Anchors: []Anchor{c.anchor}})
			must(t, err)
			if len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0].What, c.want) || rep.Anchored != -1 {
				t.Fatalf("%+v, want %q", rep.Problems, c.want)
			}
		})
	}
}

// TestABrokenChainIsNotAnchored checks that a witness signs only what it has verified.
func TestABrokenChainIsNotAnchored(t *testing.T) {
	dir := ringWithSides(t)
	witness, err := signingkey.Load(filepath.Join(t.TempDir(), "witness"))
	must(t, err)
	path := filepath.Join(dir, sealsName)
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"packets":1`, `"packets":2`, 1)), 0o644))
	if _, rep, err := makeAnchor(dir, VerifyOptions{}, witness); !errors.Is(err, ErrBroken) || rep == nil || rep.OK() {
		t.Fatalf("%v, %+v", err, rep)
	}
}
