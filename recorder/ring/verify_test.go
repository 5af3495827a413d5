package ring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

// sealedRing creates a ring of n signed segments with ten packets each, anchored after the
// second.
func sealedRing(t testing.TB, n int) (dir string, key, witness ed25519.PrivateKey) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "ring")
	key, err := signingkey.Load(filepath.Join(base, "key"))
	must(t, err)
	witness, err = signingkey.Load(filepath.Join(base, "witness"))
	must(t, err)
	w := create(t, Options{Dir: dir, Key: key, Recorder: "test 1"})
	s := sockets(t, w)
	a := declare(t, s, "a")
	for i := range n {
		for k := range 10 {
			must(t, s.Append(packet(a, i*10+k)))
		}
		must(t, w.Seal(context.Background()))
		if i == 1 {
			at, hash := w.Head()
			must(t, w.Countersign(Anchor{Ring: w.Ring(), Of: at, Hash: hash, Witness: "hub", At: epoch}.Sign(witness)))
		}
	}
	finish(t, w)
	return dir, key, witness
}

func public(k ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
}

func TestVerifyAcceptsWhatWasWritten(t *testing.T) {
	dir, key, witness := sealedRing(t, 3)
	rep, err := Verify(dir, VerifyOptions{Keys: public(key), Witnesses: public(witness)})
	must(t, err)
	if !rep.OK() || rep.Segments != 3 || rep.Signed != 7 || rep.Records != 7 || rep.Anchored != 3 || rep.AnchoredBy != "hub" || !rep.KeysTrusted {
		t.Fatalf("%+v", rep)
	}
	// A witness that is not one of the given ones is ignored.
	rep, err = Verify(dir, VerifyOptions{Witnesses: public(key)})
	must(t, err)
	if !rep.OK() || rep.Anchored != -1 || len(rep.Notes) != 1 {
		t.Fatalf("%+v", rep)
	}
}

func TestVerifyRejectsChanges(t *testing.T) {
	edit := func(t *testing.T, path string, f func([]byte) []byte) {
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, f(b), 0o644))
	}
	seals := func(f func(lines [][]byte) [][]byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, sealsName), func(b []byte) []byte {
				return bytes.Join(f(bytes.SplitAfter(b, []byte("\n"))), nil)
			})
		}
	}
	swap := func(line int, old, with string) func(*testing.T, string) {
		return seals(func(l [][]byte) [][]byte {
			if !bytes.Contains(l[line], []byte(old)) {
				panic(old + " is not in " + string(l[line]))
			}
			l[line] = bytes.Replace(l[line], []byte(old), []byte(with), 1)
			return l
		})
	}
	const second = "sockets-worker-3-000000002.pcapng"
	for _, c := range []struct {
		what   string
		change func(*testing.T, string)
		want   string
	}{
		{"a byte of a segment", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, second), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "its SHA-256 differs from its seal"},
		{"a shorter segment", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, second), 100)) }, "100 bytes, sealed with"},
		{"a removed segment", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, second))) }, "the file is missing"},
		{"an added segment", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "sockets-worker-3-000000009.pcapng"), nil, 0o644))
		}, "no record seals it"},
		{"a hidden segment with a seal", func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, second), filepath.Join(dir, "."+second)))
		}, "the file is missing"},
		{"a changed record", swap(3, `"packets":10`, `"packets":11`), "the signature is not valid"},
		{"a removed record", seals(func(l [][]byte) [][]byte { return append(l[:3:3], l[4:]...) }), "its number is 4 instead of 3"},
		{"swapped records", seals(func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }), "its number is 3 instead of 2"},
		{"a removed signature", seals(func(l [][]byte) [][]byte {
			l[3] = regexp.MustCompile(`,"key".*`).ReplaceAll(l[3], []byte("}"))
			return l
		}), "the record is not signed"},
		{"the signature of another record", seals(func(l [][]byte) [][]byte {
			sig := regexp.MustCompile(`"sig":"[^"]*"`)
			l[3] = sig.ReplaceAllLiteral(l[3], sig.Find(l[2]))
			return l
		}), "the signature is not valid"},
		{"the name of another key", seals(func(l [][]byte) [][]byte {
			l[3] = regexp.MustCompile(`"key":"[0-9a-f]`).ReplaceAllLiteral(l[3], []byte(`"key":"x`))
			return l
		}), "it names key x"},
		{"an invalid line", swap(3, `{"record"`, `{"recorb"`), "reading record"},
		{"a changed anchor", swap(4, `"witness":"hub"`, `"witness":"hud"`), "the signature is not valid"},
		{"a missing first record", seals(func(l [][]byte) [][]byte { return l[1:] }), "the record of the ring must be the first record"},
		{"another ring's records", seals(func(l [][]byte) [][]byte {
			for i := range l {
				l[i] = bytes.Replace(l[i], []byte(`"ring":"`), []byte(`"ring":"0`), 1)
			}
			return l
		}), "the signature is not valid"},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir, _, _ := sealedRing(t, 4)
			c.change(t, dir)
			rep, err := Verify(dir, VerifyOptions{})
			must(t, err)
			all := ""
			for _, p := range rep.Problems {
				all += p.String() + "\n"
			}
			if !strings.Contains(all, c.want) {
				t.Fatalf("problems, want %q:\n%s", c.want, all)
			}
		})
	}
}

// TestACutTailShowsAgainstAnAnchor shows what a chain cannot prove by itself.
func TestACutTailShowsAgainstAnAnchor(t *testing.T) {
	dir, key, witness := sealedRing(t, 4)
	r, err := Open(dir)
	must(t, err)
	kept, _, err := makeAnchor(dir, VerifyOptions{Keys: public(key)}, witness)
	must(t, err)
	rep, err := Verify(dir, VerifyOptions{Anchors: []Anchor{kept}})
	must(t, err)
	if !rep.OK() || rep.Anchored != int64(r.Head.N) {
		t.Fatalf("%+v", rep)
	}
	path := filepath.Join(dir, sealsName)
	b, err := os.ReadFile(path)
	must(t, err)
	lines := bytes.SplitAfter(b, []byte("\n"))
	must(t, os.WriteFile(path, bytes.Join(lines[:3], nil), 0o644)) // ring, start, first segment
	for n := range 3 {
		must(t, os.Remove(filepath.Join(dir, ID{"sockets", "worker-3", uint64(n + 2)}.Segment())))
	}
	rep, err = Verify(dir, VerifyOptions{Keys: public(key)})
	must(t, err)
	if !rep.OK() || rep.Anchored != -1 {
		t.Fatalf("the chain proves more than it can: %+v", rep)
	}
	rep, err = Verify(dir, VerifyOptions{Keys: public(key), Anchors: []Anchor{kept}})
	must(t, err)
	const missing = "its tail was cut; missing: sockets-worker-3-000000002.pcapng to sockets-worker-3-000000004.pcapng"
	if rep.OK() || !strings.Contains(rep.Problems[0].What, missing) {
		t.Fatalf("%+v", rep)
	}
}

func TestATornLastRecordIsCutAtTheNextStart(t *testing.T) {
	dir, key, _ := sealedRing(t, 2)
	f, err := os.OpenFile(filepath.Join(dir, sealsName), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString(`{"record":{"n":7,"kind":"segm`)
	must(t, err)
	must(t, f.Close())
	rep, err := Verify(dir, VerifyOptions{})
	must(t, err)
	if !rep.OK() || len(rep.Notes) != 1 {
		t.Fatalf("%+v", rep)
	}
	w := create(t, Options{Dir: dir, Key: key})
	if w.start.CutBytes != 29 {
		t.Fatalf("%+v", w.start)
	}
	finish(t, w)
	rep, err = Verify(dir, VerifyOptions{Keys: public(key)})
	must(t, err)
	if !rep.OK() || len(rep.Notes) != 0 {
		t.Fatalf("%+v", rep)
	}
}

func TestARingThatIsSignedStaysSigned(t *testing.T) {
	dir, key, witness := sealedRing(t, 2)
	finish(t, create(t, Options{Dir: dir, Key: witness}))
	rep, err := Verify(dir, VerifyOptions{})
	must(t, err)
	if !rep.OK() || len(rep.Keys) != 2 || len(rep.Notes) != 1 {
		t.Fatalf("%+v", rep)
	}
	rep, err = Verify(dir, VerifyOptions{Keys: public(key)})
	must(t, err)
	if rep.OK() {
		t.Fatal("a key other than the given one was accepted")
	}
	finish(t, create(t, Options{Dir: dir}))
	rep, err = Verify(dir, VerifyOptions{})
	must(t, err)
	if rep.OK() {
		t.Fatal("unsigned records in a signed ring were accepted")
	}
}
