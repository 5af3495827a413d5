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
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

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
			_ = os.Remove(filepath.Dir(filepath.Join(dir, rel))) // if it is empty: browsers do not show empty folders
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

// same checks a bundle in the tab and with the program: the headline and every line must be the same, and the headline as wanted
// unless that is empty.
func (b *tab) same(path string, rederive bool, want string, keys ...string) {
	b.t.Helper()
	headline, lines := b.check(path, rederive, keys...)
	wantHeadline, wantLines := b.program(path, rederive, keys...)
	if headline != wantHeadline || lines != wantLines || want != "" && headline != want {
		b.t.Errorf("%s: the tab says %s:\n%s\nthe program says %s:\n%s", path, headline, lines, wantHeadline, wantLines)
	}
}

// TestTabSaysWhatTheProgramSays compares every line of a check in the browser with that of pcapsule verify.
func TestTabSaysWhatTheProgramSays(t *testing.T) { inBrowsers(t, tabSaysWhatTheProgramSays) }

func tabSaysWhatTheProgramSays(t *testing.T, b *tab) {
	good := made(t, "../../samples/http1.pcapng", nil)
	ann := signed(t, good, 1)
	eve := signed(t, "", 2)
	packed := filepath.Join(t.TempDir(), "packed.zip")
	pack(t, good, packed)
	lies := made(t, "../../samples/dns.pcap", func(m *bundle.Manifest) { m.Accounts.Packets++ })
	same := b.same
	same(good, true, "Verified", ann)
	same(good, false, "Not verified", eve)
	same(packed, true, "Verified", ann)
	same(lies, true, "Not verified")
	if words := b.text(`document.getElementById("words").innerText`); strings.Count(words, " ") < 20 {
		t.Errorf("the fingerprint in words is %q", words)
	}
	b.quiet()
}

// TestTabSaysTheSameOfTamperedBundles changes each file of a bundle in several ways, and adds files.
func TestTabSaysTheSameOfTamperedBundles(t *testing.T) {
	inBrowsers(t, tabSaysTheSameOfTamperedBundles)
}

func tabSaysTheSameOfTamperedBundles(t *testing.T, b *tab) {
	good := made(t, "../../samples/http1.pcapng", nil)
	ann := signed(t, good, 1)
	all := tamperings(t, good)
	if len(all) < 150 {
		t.Errorf("%d tamperings", len(all))
	}
	for _, c := range nightly.Some(all, 4) {
		dir := filepath.Join(t.TempDir(), "tampered.pcapsule")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		c.do(t, dir)
		t.Log(c.what)
		b.same(dir, false, "", ann)
	}
	b.quiet()
}

// TestTabSaysTheSameOfSamples checks a bundle of each sample.
func TestTabSaysTheSameOfSamples(t *testing.T) { inBrowsers(t, tabSaysTheSameOfSamples) }

func tabSaysTheSameOfSamples(t *testing.T, b *tab) {
	samples, err := filepath.Glob("../../samples/*.pcap*")
	if err != nil || len(samples) < 50 {
		t.Fatal(samples, err)
	}
	for _, s := range nightly.Some(samples, 1) {
		t.Log(s)
		b.same(made(t, s, nil), true, "Verified")
	}
	b.quiet()
}

// TestTabRefusesWhatIsTooLarge: the limit has a reason and a way out.
func TestTabRefusesWhatIsTooLarge(t *testing.T) { inBrowsers(t, tabRefusesWhatIsTooLarge) }

func tabRefusesWhatIsTooLarge(t *testing.T, b *tab) {
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
func TestTabOpensAPackage(t *testing.T) { inBrowsers(t, tabOpensAPackage) }

func tabOpensAPackage(t *testing.T, b *tab) {
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
	dir := packed(t, good, handover.Options{To: []age.Recipient{id.Recipient()}})
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
	b.showsReport()
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

// hostileReport is a report whose sender wants to run something, or to know that it is read.
const hostileReport = `<!doctype html><title>r</title><link rel="preconnect" href="http://127.0.0.1:9"><meta http-equiv="refresh" content="0; url=http://127.0.0.1:9">
<style>p { color: rgb(1, 2, 3) } h1 { background: url(http://127.0.0.1:9) }</style><h1>Outage</h1><p onclick="console.log('ran')">2 calls failed.</p>
<script>console.log("ran")</script><img src="x" onerror="console.log('ran')"><template shadowrootmode="open"><link rel="preconnect" href="http://127.0.0.1:9"></template>`

// showsReport reads the package that was checked, and looks at the report in it.
func (b *tab) showsReport() {
	b.t.Helper()
	b.press("#read")
	b.press("#view-reports")
	b.until(`[...document.querySelectorAll(".reports tr")].some((r) => r.innerText.includes("report-said.html") && !r.innerText.includes(".age"))`)
	b.text(`[...document.querySelectorAll(".reports tr")].find((r) => r.innerText.includes("report-said.html")).querySelector("button.show").click(), ""`)
	b.until(`document.querySelector("iframe.document")?.srcdoc.includes("2 calls failed.")`)
	if left := b.text(`document.querySelector("iframe.document").getAttribute("sandbox") + document.querySelector("iframe.document").srcdoc.match(/<(link|script|template|meta http-equiv="refresh)/gi)`); left != "null" {
		b.t.Errorf("the report is shown with %s", left)
	}
	b.press("#close")
	b.until(`document.querySelector("main").dataset.state === "ready"`)
}

// TestTabOpensAPackageWithAPassphrase does the same for a receiver who has no key.
// packed makes a package of a bundle and a hostile report.
func packed(t *testing.T, path string, o handover.Options) string {
	t.Helper()
	opened, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "said.html")
	if err := os.WriteFile(report, []byte(hostileReport), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dns.handover")
	o.Reports = []string{report}
	if _, err := handover.Pack(t.Context(), opened, dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTabOpensAPackageWithAPassphrase(t *testing.T) {
	inBrowsers(t, tabOpensAPackageWithAPassphrase)
}

func tabOpensAPackageWithAPassphrase(t *testing.T, b *tab) {
	dir := packed(t, made(t, "../../samples/dns.pcap", nil), handover.Options{Passphrase: "correct horse"})
	again := func(passphrase, want, says string) {
		t.Helper()
		b.text(fmt.Sprintf(`(() => { const i = document.getElementById("passphrase"); i.value = %q; i.dispatchEvent(new Event("input", {bubbles: true})); return ""; })()`, passphrase))
		b.until(fmt.Sprintf(`document.getElementById("passphrase").value === %q`, passphrase))
		if headline, lines := b.result(dir); headline != want || !strings.Contains(lines, says) {
			t.Errorf("%q: %s\n%s", passphrase, headline, lines)
		}
	}
	b.choose("folder", dir)
	b.until(`document.getElementById("passphrase") !== null`)
	again("", "It could not be checked", "is encrypted")
	again("wrong horse", "It could not be checked", "no given identity or passphrase opens it")
	again("correct horse", "Verified", "in words")
	b.showsReport()
	b.quiet()
}

// TestTabSaysTheSameOfDerivedBundles checks and reads what was redacted and cut, from a sealed original: what was removed, what is
// proved, and who signed.
func TestTabSaysTheSameOfDerivedBundles(t *testing.T) {
	inBrowsers(t, tabSaysTheSameOfDerivedBundles)
}

func tabSaysTheSameOfDerivedBundles(t *testing.T, b *tab) {
	dir := t.TempDir()
	original, seed := made(t, "../../samples/http1.pcapng", nil), filepath.Join(dir, "seed")
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(slices.Repeat([]byte{1}, ed25519.SeedSize)))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	program := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(pcapsule(t), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	program("seal", original, "--key", filepath.Join(dir, "key.pem"), "--name", "E. Examiner", "--commit", seed)
	ann, eve := signed(t, "", 1), signed(t, "", 2)
	for kind, args := range map[string][]string{"redacted": {"redact", original, "--policy", "../../samples/policies/credentials.yaml"}, "cut": {"cut", original, "http && status_code >= 400"}} {
		for _, proved := range []bool{true, false} {
			path := filepath.Join(dir, fmt.Sprintf("%s-%t.pcapsule", kind, proved))
			args := append(slices.Clone(args), "-o", path)
			if proved {
				args = append(args, "--seed", seed)
			}
			program(args...)
			b.same(path, true, "")
			b.same(path, true, "Not verified", eve)
			b.press("#read")
			b.shows("#derived", "This bundle was "+kind)
			b.shows("#derived", "unchanged")
			b.press("#close")
			b.until(`document.querySelector("main").dataset.state === "ready"`)
			if proved {
				continue
			}
			table := filepath.Join(path, "data/tables/calls/part-000.parquet")
			text, err := os.ReadFile(table)
			if err == nil {
				text[len(text)/2] ^= 1
				err = os.WriteFile(table, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			b.same(path, true, "Not verified")
		}
	}
	b.same(original, true, "Verified", ann)
	if lines := b.text(`document.getElementById("lines").innerText`); !strings.Contains(lines, "signed by E. Examiner") {
		t.Errorf("who signed is not said:\n%s", lines)
	}
	b.quiet()
}

// TestTabRefusesHostileZIPs: the tab refuses what the program refuses, with the same words.
func TestTabRefusesHostileZIPs(t *testing.T) { inBrowsers(t, tabRefusesHostileZIPs) }

func tabRefusesHostileZIPs(t *testing.T, b *tab) {
	good := filepath.Join(t.TempDir(), "good.zip")
	pack(t, made(t, "../../samples/dns.pcap", nil), good)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	// with returns the ZIP with one member more.
	with := func(name string, mode fs.FileMode, content io.Reader) []byte {
		z, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, f := range z.File {
			if err := w.Copy(f); err != nil {
				t.Fatal(err)
			}
		}
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode | 0o644)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.Copy(f, content)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	text := func(name string, mode fs.FileMode) []byte { return with(name, mode, strings.NewReader("/etc/passwd")) }
	tests := map[string][]byte{
		"above":   text("../evil", 0),
		"deeper":  text("dns.pcapsule/data/../../../evil", 0),
		"rooted":  text("/etc/evil", 0),
		"drive":   text(`C:\evil`, 0),
		"link":    text("dns.pcapsule/data/link", fs.ModeSymlink),
		"device":  text("dns.pcapsule/data/device", fs.ModeDevice),
		"twice":   text("dns.pcapsule/data/bundle.json", 0),
		"case":    text("dns.pcapsule/DATA/Bundle.json", 0),
		"bag":     text("other/bagit.txt", 0),
		"markup":  text("dns.pcapsule/data/<img src=x onerror=console.log(1)>", 0),
		"bomb":    with("dns.pcapsule/data/bomb", 0, io.LimitReader(zeros{}, 160<<20)),
		"behind":  append(slices.Clone(whole), whole...),
		"cut":     whole[:len(whole)/2],
		"nothing": []byte("PK\x05\x06" + strings.Repeat("\x00", 18)),
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		path := filepath.Join(t.TempDir(), name+".zip")
		if err := os.WriteFile(path, tests[name], 0o600); err != nil {
			t.Fatal(err)
		}
		headline, lines := b.check(path, true)
		out, err := exec.Command(pcapsule(t), "verify", path, "--rederive").CombinedOutput()
		if err == nil || headline == "Verified" {
			t.Errorf("%s is not refused: %s, %v", name, headline, err)
		}
		for said := range strings.Lines(string(out)) {
			// The tab has another path for the file, and its own next step.
			if said = strings.TrimSpace(strings.ReplaceAll(said, path, name+".zip")); !strings.HasPrefix(said, "hint: ") && !strings.Contains(lines, said) {
				t.Errorf("%s: the tab does not say %q:\n%s", name, said, lines)
			}
		}
	}
	b.same(good, true, "Verified")
	b.quiet()
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestTabMakesTheSameBundle makes a bundle of captures in the tab: the same bytes as the program's.
func TestTabMakesTheSameBundle(t *testing.T) { inBrowsers(t, tabMakesTheSameBundle) }

func tabMakesTheSameBundle(t *testing.T, b *tab) {
	sample := "../../samples/dns.pcap"
	path, err := filepath.Abs(sample)
	if err != nil {
		t.Fatal(err)
	}
	if headline, lines := b.check(path, true); headline != "The bundle is made" || !strings.Contains(lines, "calls") {
		t.Fatalf("%s\n%s", headline, lines)
	}
	b.text(`document.getElementById("save").click(), ""`)
	text := saved(t, filepath.Join(b.page.Saves(), "dns.pcapsule.zip"))
	z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
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
