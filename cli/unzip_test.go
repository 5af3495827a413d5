package cli_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// archiveOf makes a zip archive of pairs of a name and a content. A name that ends in @ is a symbolic link, one that
// ends in ! is marked as encrypted.
func archiveOf(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(pairs); i += 2 {
		h := &zip.FileHeader{Name: strings.TrimRight(pairs[i], "@!"), Method: zip.Deflate}
		switch {
		case strings.HasSuffix(pairs[i], "@"):
			h.SetMode(os.ModeSymlink | 0o777)
		case strings.HasSuffix(pairs[i], "!"):
			h.Flags |= 1
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(pairs[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func readSample(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCapturesInZIP makes a bundle of an archive: it has the captures as if they were given, whatever their names in the
// archive are, and its custody log names the archive.
func TestCapturesInZIP(t *testing.T) {
	dns, http := readSample(t, "dns.pcap"), readSample(t, "hard/reset.pcap")
	dir := t.TempDir()
	t.Chdir(dir)
	data := archiveOf(t, "day/dns.pcap", dns, "../../night/dns.pcap", http, "readme.txt", "not a capture", "__MACOSX/._dns.pcap", "x", "link.pcap@", "/etc/passwd", `C:\\dir\\..`, "y")
	if err := os.WriteFile("two.zip", data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := clitest.Run("bundle", "two.zip")
	if code != exit.Done || !strings.HasPrefix(out, "two.pcapsule: ") || !strings.Contains(errOut, "two.zip: left out 1 file other than captures: readme.txt") {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	b, err := bundle.Open("two.pcapsule")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range b.Manifest.Inputs {
		names = append(names, b.Manifest.Inputs[i].Name)
	}
	if !slices.Equal(names, []string{"dns.pcap", "dns.pcap"}) {
		t.Errorf("inputs %q", names)
	}
	if log := clitest.Done(t, "custody", "show", "two.pcapsule"); !strings.Contains(log, "unpacked from two.zip, SHA-256 ") {
		t.Errorf("custody log: %s", log)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("files %v, %v; want the archive and the bundle", list, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(dir)), "night")); err == nil {
		t.Error("a file is outside the folder")
	}
}

// TestBadZIP gives archives that cannot be read: nothing is left.
func TestBadZIP(t *testing.T) {
	dns := readSample(t, "dns.pcap")
	whole := archiveOf(t, "a.pcap", dns)
	damaged := bytes.Clone(whole)
	damaged[len(whole)/2] ^= 0xff
	dir := t.TempDir()
	t.Chdir(dir)
	for name, x := range map[string]struct {
		data []byte
		code int
		says string
	}{
		"text":      {archiveOf(t, "a.txt", "hello"), exit.NotCapture, "contains no capture"},
		"cut":       {whole[:len(whole)-30], exit.Damaged, "its end may be missing"},
		"damaged":   {damaged, exit.Damaged, "a.pcap"},
		"encrypted": {archiveOf(t, "a.pcap!", dns), exit.NotCapture, "a.pcap is encrypted"},
		"bundle":    {archiveOf(t, "x.pcapsule/bagit.txt", "BagIt", "x.pcapsule/data/a.pcap", dns), exit.Usage, "is a bundle"},
	} {
		if err := os.WriteFile("bad.zip", x.data, 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, errOut := clitest.Run("bundle", "bad.zip", "-o", "n.pcapsule")
		if code != x.code || !strings.Contains(errOut, x.says) || !strings.Contains(errOut, "hint: ") {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, x.code, errOut)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("%s: left %v, %v", name, list, err)
		}
	}
}
