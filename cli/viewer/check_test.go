package viewer_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	cdp "github.com/chromedp/cdproto/browser"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/internal/version"
)

// made makes a bundle of a sample. change may change what bundle.json says.
func made(t *testing.T, sample string, change func(*bundle.Manifest)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(sample), filepath.Ext(sample))+".pcapsule")
	o := exporter.Options{Release: version.Release, Accept: func(m *bundle.Manifest) error {
		if change != nil {
			change(m)
		}
		return nil
	}}
	if _, err := exporter.Run(t.Context(), []string{sample}, path, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// signed seals a bundle with a key made of a seed, and returns the file of its public key.
func signed(t *testing.T, path string, seed byte) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
	if path != "" {
		s, err := seal.NewSigner("E. Examiner", key)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Sign(t.Context(), b, seal.Options{Signers: []seal.Signer{s}}); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), fmt.Sprintf("key%d.pub", seed))
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// tampering is one change of a bundle.
type tampering struct {
	what string
	do   func(t *testing.T, dir string)
}

// tamperings are changes of each file of a bundle, and files that do not belong in one.
func tamperings(t *testing.T, path string) (list []tampering) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		change := func(what string, act func(text []byte) []byte) {
			list = append(list, tampering{what + " " + rel, func(t *testing.T, dir string) {
				p := filepath.Join(dir, rel)
				text, err := os.ReadFile(p)
				if err == nil {
					err = os.WriteFile(p, act(text), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}})
		}
		for _, part := range []int{0, 50, 99} {
			change(fmt.Sprintf("one bit at %d %% of", part), func(text []byte) []byte {
				if len(text) > 0 {
					text[(len(text)-1)*part/99] ^= 4
				}
				return text
			})
		}
		change("a byte after", func(text []byte) []byte { return append(text, '\n') })
		change("half of", func(text []byte) []byte { return text[:len(text)/2] })
		change("nothing in", func([]byte) []byte { return nil })
		list = append(list, tampering{"without " + rel, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, rel)); err != nil {
				t.Fatal(err)
			}
		}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data/extra.txt", "extra", "custody/<img src=x onerror=throw>.json", "data/tables/calls/\u202etxt.exe", "data/packets/import/" + strings.Repeat("n", 200)} {
		list = append(list, tampering{"with " + name, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}})
	}
	return list
}

// pack packs a bundle as a ZIP.
func pack(t *testing.T, path, to string) {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Pack(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTabSaysWhatTheProgramSays compares every line of a check in the browser with that of pcapsule verify.
func TestTabSaysWhatTheProgramSays(t *testing.T) {
	b := open(t)
	good := made(t, "../../samples/http1.pcapng", nil)
	ann := signed(t, good, 1)
	eve := signed(t, "", 2)
	packed := filepath.Join(t.TempDir(), "packed.zip")
	pack(t, good, packed)
	lies := made(t, "../../samples/dns.pcap", func(m *bundle.Manifest) { m.Accounts.Packets++ })
	same := func(path string, rederive bool, want string, keys ...string) {
		t.Helper()
		headline, lines := b.check(path, rederive, keys...)
		wantHeadline, wantLines := b.program(path, rederive, keys...)
		// The browser has a path of its own for a key.
		if headline != wantHeadline || lines != wantLines || want != "" && headline != want {
			t.Errorf("%s: the tab says %s:\n%s\nthe program says %s:\n%s", path, headline, lines, wantHeadline, wantLines)
		}
	}
	same(good, true, "Verified", ann)
	same(good, false, "Not verified", eve)
	same(packed, true, "Verified", ann)
	same(lies, true, "Not verified")
	if words := b.text(`document.getElementById("words").innerText`); strings.Count(words, " ") < 20 {
		t.Errorf("the fingerprint in words is %q", words)
	}
	for _, c := range nightly.Some(tamperings(t, good), 4) {
		dir := filepath.Join(t.TempDir(), "tampered.pcapsule")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		c.do(t, dir)
		t.Log(c.what)
		same(dir, false, "", ann)
	}
	if nightly.On() {
		samples, err := filepath.Glob("../../samples/*.pcap*")
		if err != nil || len(samples) < 50 {
			t.Fatal(samples, err)
		}
		for _, s := range samples {
			same(made(t, s, nil), true, "")
		}
	}
	b.quiet()
}

// TestTabRefusesWhatIsTooLarge: the limit has a reason and a way out.
func TestTabRefusesWhatIsTooLarge(t *testing.T) {
	b := open(t)
	path := filepath.Join(t.TempDir(), "large.zip")
	if err := os.WriteFile(path, []byte("PK\x03\x04"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 500_000_001); err != nil { // of holes
		t.Fatal(err)
	}
	b.choose("files", path)
	b.until(`document.querySelector("main").innerText.includes("Bundle: large.zip")`)
	b.text(`document.getElementById("check").click(), ""`)
	b.until(`document.querySelector(".problem")?.innerText.includes("pcapsule verify large.zip --rederive")`)
	neither := filepath.Join(t.TempDir(), "note.txt")
	if err := os.WriteFile(neither, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.choose("files", neither)
	b.until(`document.querySelector(".problem")?.innerText.startsWith("note.txt is neither a bundle")`)
	b.quiet()
}

// TestTabOpensAPackage gives the viewer what the receiver of a handover has: the folder and a private key.
func TestTabOpensAPackage(t *testing.T) {
	b := open(t)
	good := made(t, "../../samples/dns.pcap", nil)
	ann := signed(t, good, 1)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(key, []byte("# created: today\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := bundle.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dns.handover")
	if _, err := handover.Pack(t.Context(), opened, dir, handover.Options{To: []age.Recipient{id.Recipient()}}); err != nil {
		t.Fatal(err)
	}
	if headline, lines := b.check(dir, true, ann); headline != "It could not be checked" || !strings.Contains(lines, "is encrypted") {
		t.Errorf("without the key: %s\n%s", headline, lines)
	}
	headline, lines := b.check(dir, true, ann, key)
	_, program := b.program(good, true, ann)
	// The program that takes the bundle out of the package adds a line to its custody log, so its lines differ there.
	for line := range strings.Lines(program) {
		if line = strings.TrimSpace(line); !strings.Contains(line, "custody") && !strings.Contains(lines, line) {
			t.Errorf("the tab does not say %q", line)
		}
	}
	if headline != "Verified" || !strings.Contains(lines, "in words") || !strings.Contains(lines, "cover") {
		t.Errorf("%s\n%s", headline, lines)
	}
	cover := filepath.Join(dir, "cover.html")
	text, err := os.ReadFile(cover)
	if err == nil {
		err = os.WriteFile(cover, append(text, '\n'), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if headline, lines := b.check(dir, true, ann, key); headline != "Not verified" {
		t.Errorf("with a changed cover sheet: %s\n%s", headline, lines)
	}
	b.quiet()
}

// TestTabMakesTheSameBundle makes a bundle of captures in the tab: the same bytes as the program's.
func TestTabMakesTheSameBundle(t *testing.T) {
	b := open(t)
	sample := "../../samples/dns.pcap"
	path, err := filepath.Abs(sample)
	if err != nil {
		t.Fatal(err)
	}
	if headline, lines := b.check(path, true); headline != "The bundle is made" || !strings.Contains(lines, "calls") {
		t.Fatalf("%s\n%s", headline, lines)
	}
	saved := t.TempDir()
	b.do(cdp.SetDownloadBehavior(cdp.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(saved))
	b.text(`document.getElementById("save").click(), ""`)
	got := filepath.Join(saved, "dns.pcapsule.zip")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = os.Stat(got); err == nil {
			break
		}
	}
	z, err := zip.OpenReader(got)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	want := os.DirFS(made(t, sample, nil))
	for _, f := range z.File {
		_, rel, _ := strings.Cut(f.Name, "/")
		if !strings.HasPrefix(rel, "data/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if file, err := fs.ReadFile(want, rel); err != nil || !bytes.Equal(file, text) {
			t.Errorf("%s differs from what the program writes: %v", rel, err)
		}
	}
	b.quiet()
}
