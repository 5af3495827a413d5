package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var testRelease = &release{version: "0.1.0-dev+g0123", commit: "0123456789abcdef", time: time.Unix(1_700_000_000, 0).UTC()}

// elfOf is the head of a program that debug/elf accepts.
func elfOf(machine byte) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20], b[52] = 2, machine, 1, 64 // ET_EXEC, e_machine, EV_CURRENT, e_ehsize
	b[58] = 64                                     // e_shentsize
	return b
}

const (
	machineAMD64 = 62
	machineARM64 = 183
)

func TestImageOfAnotherMachineIsRefused(t *testing.T) {
	arm := targets[1]
	for _, tt := range []struct {
		name    string
		machine byte
		claim   string
		refused string
	}{
		{"the machine it claims", machineARM64, "linux/arm64", ""},
		{"a program for another machine", machineAMD64, "linux/arm64", "EM_X86_64"},
		{"a claim of another machine", machineARM64, "linux/amd64", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			img, err := arm.packImage(testRelease, recorder, []member{{recorder.name, 0o755, elfOf(tt.machine)}})
			must(t, err)
			file := filepath.Join(dir, arm.image(testRelease, recorder))
			must(t, writeImage(testRelease, arm, recorder, img, file))
			err = checkArch(tt.claim, []string{file})
			switch {
			case tt.claim != "linux/arm64" && err == nil:
				t.Errorf("an image for linux/arm64 passes as one for %s", tt.claim)
			case tt.claim == "linux/arm64" && tt.refused == "" && err != nil:
				t.Error(err)
			case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
				t.Errorf("got %v, want %s", err, tt.refused)
			}
		})
	}
	name := filepath.Join(t.TempDir(), "x")
	must(t, os.WriteFile(name, elfOf(machineAMD64), 0o755))
	must(t, checkArch("linux/amd64", []string{name}))
	if checkArch("linux/arm64", []string{name}) == nil {
		t.Error("a program for amd64 passes as one for arm64")
	}
}

func TestArchivesHaveTheSameBytes(t *testing.T) {
	files := []member{{"b", 0o755, []byte("program")}, {"a", 0o644, []byte("text")}}
	var first, second bytes.Buffer
	must(t, writeTar(&first, "top", testRelease.time, files))
	must(t, writeTar(&second, "top", testRelease.time, []member{files[1], files[0]}))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("a tar depends on the order of its members")
	}
	z, err := gzip.NewReader(&first)
	must(t, err)
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("gzip says %s, %q", z.ModTime, z.Name)
	}
	first.Reset()
	second.Reset()
	must(t, writeZip(&first, "top", testRelease.time, files))
	must(t, writeZip(&second, "top", testRelease.time, []member{files[1], files[0]}))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("a ZIP depends on the order of its members")
	}
	r, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	must(t, err)
	if r.File[0].Name != "top/a" || !r.File[0].Modified.Equal(testRelease.time) {
		t.Errorf("first member %s of %s", r.File[0].Name, r.File[0].Modified)
	}
}

func TestChangedFileIsFound(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.tar.gz"), []byte("1"), 0o644))
	must(t, writeSums(dir))
	must(t, checkSums(dir))
	must(t, os.WriteFile(filepath.Join(dir, "a.tar.gz"), []byte("2"), 0o644))
	if checkSums(dir) == nil {
		t.Error("a changed archive passes")
	}
	must(t, os.WriteFile(filepath.Join(dir, "a.tar.gz"), []byte("1"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "b.zip"), nil, 0o644))
	if checkSums(dir) == nil {
		t.Error("an archive without a checksum passes")
	}
}

func TestVersionsOrderInDebian(t *testing.T) {
	for _, tt := range []struct{ version, want string }{
		{"0.1.0", "0.1.0"},
		{"0.1.0-dev+g0123", "0.1.0~dev+g0123"},
		{"1.0.0-rc1", "1.0.0~rc1"},
	} {
		if got := (&release{version: tt.version}).debian(); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.version, got, tt.want)
		}
	}
	if got := duckdbVersion("v0.10505.0"); got != "1.5.5" {
		t.Errorf("DuckDB %s, want 1.5.5", got)
	}
}
