package handover_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
)

var ctx = context.Background()

func made(t testing.TB) *bundle.Bundle {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.pcapsule")
	if _, err := exporter.Run(ctx, []string{"../../samples/shop.pcapng"}, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// packed is a package of a bundle.
func packed(t testing.TB, b *bundle.Bundle, o handover.Options) (dir string, files []handover.File) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "shop.handover")
	files, err := handover.Pack(ctx, b, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, files
}

// received unpacks the package at path.
func received(t testing.TB, path string, ids ...age.Identity) (*bundle.Bundle, error) {
	t.Helper()
	p, err := handover.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	dir := filepath.Join(t.TempDir(), p.Name)
	if _, err := p.Unpack(ctx, dir, ids); err != nil {
		if _, there := os.Lstat(dir); there == nil {
			t.Errorf("a failed unpacking left %s", dir)
		}
		return nil, err
	}
	return bundle.Open(dir)
}

// tree is every file of a folder.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := os.DirFS(dir)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatal(err, names)
	}
	err = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		f, err := root.Open(filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		files[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPackageHasTheViewer packs the page that reads the bundle in a browser: its hash is on the cover sheet, a changed one is refused,
// and one that a mail filter took away is no problem.
func TestPackageHasTheViewer(t *testing.T) {
	page := filepath.Join(t.TempDir(), "any.html")
	if err := os.WriteFile(page, []byte("<!doctype html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, files := packed(t, made(t), handover.Options{Viewer: page})
	var sum string
	for _, f := range files {
		if f.Name == handover.ViewerName {
			sum = f.SHA256.String()
		}
	}
	cover, err := os.ReadFile(filepath.Join(dir, "cover.html"))
	if err != nil || sum == "" || !strings.Contains(strings.ReplaceAll(string(cover), " ", ""), sum) || !strings.Contains(string(cover), "compare its SHA-256") {
		t.Errorf("the cover sheet does not have %s: %v", sum, err)
	}
	if _, err := received(t, dir); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, handover.ViewerName), []byte("<!doctype html>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := received(t, dir); !errors.Is(err, handover.ErrParts) {
		t.Errorf("a changed viewer: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, handover.ViewerName)); err != nil {
		t.Fatal(err)
	}
	if _, err := received(t, dir); err != nil {
		t.Errorf("without the viewer: %v", err)
	}
}

// TestPackagesComeBack packs a bundle in every form and receives it by every path.
func TestPackagesComeBack(t *testing.T) {
	b := made(t)
	want := tree(t, b.Dir)
	one, two := identity(t), identity(t)
	for _, tt := range []struct {
		name  string
		o     handover.Options
		parts int
	}{
		{"plain", handover.Options{}, 1},
		{"encrypted", handover.Options{To: []age.Recipient{one.Recipient(), two.Recipient()}}, 1},
		{"split", handover.Options{Part: 100_000}, 0},
		{"encrypted and split", handover.Options{To: []age.Recipient{two.Recipient()}, Part: 100_000}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, files := packed(t, b, tt.o)
			parts := files[:len(files)-3] // and the sheets
			if tt.parts > 0 && len(parts) != tt.parts || tt.parts == 0 && len(parts) < 3 {
				t.Fatalf("%d parts", len(parts))
			}
			paths := []string{dir, filepath.Join(dir, handover.SumsName)}
			for _, f := range parts {
				if tt.o.Part > 0 && f.Size > tt.o.Part {
					t.Errorf("%s has %d bytes", f.Name, f.Size)
				}
				paths = append(paths, filepath.Join(dir, f.Name))
			}
			for i, path := range paths {
				if i == len(paths)-1 { // the last path: without the list
					if err := os.Remove(filepath.Join(dir, handover.SumsName)); err != nil {
						t.Fatal(err)
					}
				}
				got, err := received(t, path, two)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if have := tree(t, got.Dir); fmt.Sprint(have) != fmt.Sprint(want) {
					t.Errorf("%s: unpacked other files", path)
				}
			}
		})
	}
}

// TestPublicToolsOpenPackages follows the commands of docs/format/handover.md.
func TestPublicToolsOpenPackages(t *testing.T) {
	b := made(t)
	dir, files := packed(t, b, handover.Options{Part: 200_000})
	stem := strings.TrimSuffix(files[0].Name, ".001")
	run := func(name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("sha256sum", "-c", handover.SumsName)
	run("sh", "-c", "cat "+stem+".??? > "+stem)
	run("python3", "-c", "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall()", stem)
	run("sh", "-c", "cd shop.pcapsule && sha256sum -c --quiet manifest-sha256.txt tagmanifest-sha256.txt")
	if r, err := bundle.Verify(ctx, filepath.Join(dir, "shop.pcapsule"), nil); err != nil || r.Err() != nil {
		t.Error(err, r.Err())
	}
}

// TestSameBundleSameZIP packs twice, and once after every file got another date.
func TestSameBundleSameZIP(t *testing.T) {
	b := made(t)
	pack := func() []byte {
		var w bytes.Buffer
		if _, err := b.Pack(ctx, &w, nil); err != nil {
			t.Fatal(err)
		}
		return w.Bytes()
	}
	first := pack()
	for rel := range tree(t, b.Dir) {
		if err := os.Chtimes(filepath.Join(b.Dir, rel), time.Now(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first, pack()) {
		t.Error("the ZIP depends on dates")
	}
	z, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		if f.Method != zip.Store || f.Flags&8 != 0 {
			t.Errorf("%s: method %d, flags %x", f.Name, f.Method, f.Flags)
		}
	}
	if !slices.IsSorted(names) {
		t.Error("members are not sorted")
	}
}

// TestBrokenPackages changes each file of a package in every way and expects an error.
func TestBrokenPackages(t *testing.T) {
	b := made(t)
	id := identity(t)
	for _, o := range []handover.Options{{}, {Part: 100_000}, {To: []age.Recipient{id.Recipient()}, Part: 150_000}} {
		dir, files := packed(t, b, o)
		list := filepath.Join(dir, handover.SumsName)
		sums, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files[:len(files)-3] {
			path := filepath.Join(dir, f.Name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			flip := bytes.Clone(data)
			flip[len(flip)/2] ^= 1
			for name, bad := range map[string][]byte{"flipped": flip, "cut": data[:len(data)-1], "longer": append(bytes.Clone(data), 0), "empty": {}, "missing": nil} {
				for _, listed := range []bool{true, false} {
					if listed {
						err = os.WriteFile(list, sums, 0o644)
					} else {
						err = os.RemoveAll(list)
					}
					if err != nil {
						t.Fatal(err)
					}
					if bad == nil {
						err = os.RemoveAll(path)
					} else {
						err = os.WriteFile(path, bad, 0o644)
					}
					if err != nil {
						t.Fatal(err)
					}
					from := dir
					if !listed {
						from = filepath.Join(dir, files[0].Name)
					}
					if _, err := received(t, from, id); err == nil && !(name == "longer" && !listed && o.To == nil) {
						t.Errorf("%s %s, listed %v: accepted", f.Name, name, listed)
					} else if listed && !errors.Is(err, handover.ErrParts) {
						t.Errorf("%s %s: %v", f.Name, name, err)
					}
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(list, sums, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := received(t, dir, id); err != nil {
			t.Errorf("the original package: %v", err)
		}
	}
}

// TestChangedSheet changes the cover sheet, and removes it.
func TestChangedSheet(t *testing.T) {
	dir, _ := packed(t, made(t), handover.Options{})
	sheet := filepath.Join(dir, "cover.html")
	if err := os.WriteFile(sheet, []byte("another fingerprint"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := received(t, dir); !errors.Is(err, handover.ErrParts) {
		t.Errorf("changed: %v", err)
	}
	if err := os.Remove(sheet); err != nil {
		t.Fatal(err)
	}
	if _, err := received(t, dir); err != nil {
		t.Errorf("missing: %v", err)
	}
}

// TestPipesInPackages puts a pipe in the place of each file.
func TestPipesInPackages(t *testing.T) {
	dir, files := packed(t, made(t), handover.Options{})
	for _, name := range []string{files[0].Name, "cover.html", handover.SumsName} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".kept"); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfifo", path).CombinedOutput(); err != nil {
			t.Skip("needs mkfifo: ", string(out))
		}
		if _, err := received(t, dir); !errors.Is(err, handover.ErrParts) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Rename(path+".kept", path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileLists reads lists that name files elsewhere, in another order, or none.
func TestHostileLists(t *testing.T) {
	b := made(t)
	dir, files := packed(t, b, handover.Options{Part: 100_000})
	line := func(f handover.File) string { return f.SHA256.String() + "  " + f.Name + "\n" }
	for _, text := range []string{
		"", "x\n", line(files[1]) + line(files[0]), line(files[0]) + line(files[2]),
		files[0].SHA256.String() + "  ../shop.pcapsule.zip\n",
		files[0].SHA256.String() + "  /etc/passwd\n",
		files[0].SHA256.String() + "  .\n",
		files[0].SHA256.String() + "  ..zip\n",
		files[0].SHA256.String() + "  ...zip\n",
		files[0].SHA256.String() + "  c:x.zip\n",
		strings.Repeat(line(files[0]), 20_000),
		line(files[0]) + line(files[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, handover.SumsName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := received(t, dir); !errors.Is(err, handover.ErrParts) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// TestPackingRefusesAndLeavesNothing packs a bundle that was changed, and one whose output
// exists.
func TestPackingRefusesAndLeavesNothing(t *testing.T) {
	b := made(t)
	parent := t.TempDir()
	dir := filepath.Join(parent, "out")
	if err := os.WriteFile(filepath.Join(b.Dir, "added"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := handover.Pack(ctx, b, dir, handover.Options{}); !errors.Is(err, bundle.ErrVerification) {
		t.Errorf("changed bundle: %v", err)
	}
	if err := os.Remove(filepath.Join(b.Dir, "added")); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := handover.Pack(stopped, b, dir, handover.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if list, _ := os.ReadDir(parent); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := handover.Pack(ctx, b, dir, handover.Options{}); !errors.Is(err, bundle.ErrExists) {
		t.Errorf("existing output: %v", err)
	}
}

// TestWords compares with the list of BIP-39: 24 words, of which the last has a checksum.
func TestWords(t *testing.T) {
	if got := handover.Words(bundle.Digest{}); got != strings.Repeat("abandon ", 23)+"art" {
		t.Errorf("words of zeros: %s", got)
	}
}

// TestCoverSheet reads the sheet of a bundle with hostile texts.
func TestCoverSheet(t *testing.T) {
	b := made(t)
	if _, _, err := b.AppendCustody(bundle.Entry{Event: bundle.EventLegalHold, User: "<script>alert(1)</script>\x1b[2J 漢字 \u202e", Details: map[string]string{"authority": "court"}}); err != nil {
		t.Fatal(err)
	}
	dir, _ := packed(t, b, handover.Options{Cover: func(c *handover.Cover) { c.To = "A. Auditor 漢字" }})
	page, err := os.ReadFile(filepath.Join(dir, "cover.html"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Verify(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{handover.Words(r.TagManifest), "&lt;script&gt;", "A. Auditor 漢字", "Legal hold", "902(14)", `class="qr"`, "default-src 'none'"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the sheet lacks %q", want)
		}
	}
	for _, not := range []string{"<script", "\x1b", "\u202e", "http://", "https://"} {
		if bytes.Contains(page, []byte(not)) {
			t.Errorf("the sheet has %q", not)
		}
	}
	if _, err := exec.LookPath("pdftotext"); err != nil {
		t.Skip("needs pdftotext")
	}
	pdf := filepath.Join(dir, "cover.pdf")
	text, err := exec.Command("pdftotext", "-layout", pdf, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{strings.Fields(handover.Words(r.TagManifest))[0], `A. Auditor \u{6f22}\u{5b57}`, "Legal hold", "902(14)"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the PDF lacks %q:\n%s", want, text)
		}
	}
}
