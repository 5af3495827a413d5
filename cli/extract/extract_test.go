package extract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSafeName(t *testing.T) {
	for _, c := range []struct{ name, kind, want string }{
		{"report.pdf", "application/pdf", "report.pdf"},
		{"../../etc/passwd", "", "passwd"},
		{`C:\Windows\evil.exe`, "", "evil.exe"},
		{"/", "application/zip", "file.zip"},
		{"..", "", "file"},
		{"", "image/png", "file.png"},
		{"a\x00b\nc\u202egpj.exe", "", "a_b_c_gpj.exe"},
		{"a:b|c*?.txt . ", "", "a_b_c__.txt"},
		{"Übersicht für dich.zip", "application/zip", "Übersicht für dich.zip"},
		{"bad\xffutf.bin", "", "bad_utf.bin"},
		{"Files for you", "message/rfc822", "Files for you.eml"},
		{"x.EML", "message/rfc822", "x.EML"},
		{strings.Repeat("ü", 200) + ".tar", "", strings.Repeat("ü", 58) + ".tar"},
	} {
		if got := SafeName(c.name, c.kind); got != c.want {
			t.Errorf("SafeName(%q, %q) = %q, want %q", c.name, c.kind, got, c.want)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	f, err := New(dir, Limits{Bytes: 20, Files: 9})
	if err != nil {
		t.Fatal(err)
	}
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	for _, c := range []struct{ name, data, transfer, is string }{
		{"CON", "one", "", "one"}, {"con", "dHdv", "base64", "two"}, {"x", "three", "", "other"}, {"longer", "four and more", "", "four"}, {"x", "more than is allowed", "", "more than is allowed"},
	} {
		if err := f.Add(Entry{Name: c.name, SHA256: sum(c.is), Size: int64(len(c.is))}, c.transfer, bytes.NewReader([]byte(c.data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "000001-CON 000002-con manifest.jsonl" || f.Files != 2 || f.Bytes != 6 || f.Left["damaged"] != 2 || f.Left["max_size"] != 1 {
		t.Errorf("%s; %d files, %d bytes, left %v", got, f.Files, f.Bytes, f.Left)
	}
	if _, err := New(dir, Limits{}); err == nil {
		t.Error("a folder that exists was used")
	}
}
