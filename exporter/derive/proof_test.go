package derive_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// sealed seals a bundle and returns the seed file, and the signer to trust.
func sealed(t *testing.T, b *bundle.Bundle) (*seal.SeedFile, seal.Trust) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.ParsePrivate("Ann", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	if err != nil {
		t.Fatal(err)
	}
	seed := &seal.SeedFile{Seed: commit.NewSeed()}
	files, err := commit.Bundle(context.Background(), b, seed.Seed, 0)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := commit.Tables(context.Background(), b, seed.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Sign(context.Background(), b, seal.Options{Signers: []seal.Signer{signer}, Seed: seed, Commitments: files, Tables: rows}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed.json")
	if err := seal.WriteSeed(path, seed); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the seed file has mode %v", info.Mode())
	}
	read, err := seal.ReadSeed(path)
	if err != nil || read.Seed != seed.Seed || string(read.Commitments) != string(seed.Commitments) {
		t.Fatalf("the seed file is read differently: %v", err)
	}
	return read, seal.Trust{Signers: []seal.Party{signer.Party}}
}

// yes reports whether all verdicts are yes, and their text.
func yes(list []seal.Verdict) (bool, string) {
	var text []string
	ok := len(list) > 0
	for _, v := range list {
		ok = ok && (v.State == seal.Yes || v.Check == "stated")
		text = append(text, string(v.State)+" "+v.Check+" "+v.Detail)
	}
	return ok, strings.Join(text, "\n")
}

func TestDerivedBundlesAreProved(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("X-Api-Key: abcdefgh-12345678\r\n", "first")}, answer("", "one"))
	s.talk(80, say{data: request("", strings.Repeat("second ", 2000))}, answer("", "two"))
	b := bundleOf(t, s.save())
	seed, trust := sealed(t, b)
	o := quiet
	o.Seed = seed
	red := filepath.Join(t.TempDir(), "redacted.pcapsule")
	if _, err := derive.Redact(context.Background(), b, red, derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, o); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcapsule")
	if _, err := derive.Cut(context.Background(), b, cut, derive.Choice{Conns: map[int64]bool{1: true}}, o); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{red: " 1 changed, 0 removed; bytes of changed packets: 17 masked, 0 not proved, all others unchanged; checksums corrected: 1; options removed: 0", cut: " 20 unchanged, 0 changed, 10 removed"} {
		d := opened(t, path)
		if ok, text := yes(derive.Verify(context.Background(), d, trust)); !ok || !strings.Contains(text, want) {
			t.Errorf("%s: %s\nwant %s", filepath.Base(path), text, want)
		}
		if ok, _ := yes(derive.Verify(context.Background(), d, seal.Trust{})); ok {
			t.Error("a signature that nobody was asked to trust counts")
		}
		for _, f := range d.Payload() {
			if !strings.HasPrefix(f.Path, "data/derived/") && !strings.HasPrefix(f.Path, "data/packets/") {
				continue
			}
			data, err := os.ReadFile(d.Path(f.Path))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), string(seed.Seed[:])) {
				t.Errorf("%s holds the seed", f.Path)
			}
			for _, at := range []int{len(data) / 3, len(data) / 2, max(0, len(data)-40)} {
				bad := append([]byte(nil), data...)
				bad[at] ^= 4
				if err := os.WriteFile(d.Path(f.Path), bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if ok, _ := yes(derive.Verify(context.Background(), d, trust)); ok {
					t.Errorf("%s, %s: byte %d changed, and it verifies", filepath.Base(path), f.Path, at)
				}
			}
			if err := os.WriteFile(d.Path(f.Path), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAnotherSeedIsRefused(t *testing.T) {
	s := newScene(t)
	s.talk(80, say{data: request("X-Api-Key: abcdefgh-12345678\r\n", "first")}, answer("", "one"))
	b := bundleOf(t, s.save())
	seed, _ := sealed(t, b)
	seed.Seed = commit.NewSeed()
	o := quiet
	o.Seed = seed
	out := filepath.Join(t.TempDir(), "redacted.pcapsule")
	if _, err := derive.Redact(context.Background(), b, out, derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, o); err == nil {
		t.Fatal("a seed of no seal was used")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
