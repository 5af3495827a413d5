package extract_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/extract"
)

const filesSample = "../../samples/files.pcapng"

// filesBundle is a bundle of the sample in which curl and a mail client transfer files.
func filesBundle(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "files.pcapsule")
	clitest.Done(t, "bundle", filesSample, "-o", path)
	return path
}

// extracted reads the manifest of a folder.
func extracted(t *testing.T, dir string) (list []extract.Entry) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, extract.Manifest))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var e extract.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// TestFilesAreWhatTheClientHas extracts all files of the sample and compares them with what the clients
// noted: every file, with its name, size and hash, and nothing else.
func TestFilesAreWhatTheClientHas(t *testing.T) {
	b := filesBundle(t)
	dir := filepath.Join(t.TempDir(), "out")
	clitest.Done(t, "objects", b, "--extract", dir)
	var got, want []string
	for _, e := range extracted(t, dir) {
		info, err := os.Stat(filepath.Join(dir, e.File))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.File))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o177 != 0 {
			t.Errorf("%s has mode %s", e.File, info.Mode())
		}
		got = append(got, fmt.Sprintf("%s\t%s\t%d\t%x\t%v", e.Protocol, e.Name, len(data), sha256.Sum256(data), e.Complete))
	}
	said, err := os.ReadFile("../../samples/files.said.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(said)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); line[0] != '#' {
			want = append(want, strings.Join(slices.Delete(f, 1, 2), "\t"))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if list := clitest.Done(t, "objects", b, `ftp`, "--name", "data.*", "--direction", "download", "--columns", "size,complete", "--format", "csv"); strings.Count(list, "20000,true") != 4 {
		t.Errorf("downloads by FTP:\n%s", list)
	}
	if answer := clitest.Done(t, "ask", "list-objects", b, "--type", "application/zip", "--json"); strings.Count(answer, `"object_id"`) != 3 || !strings.Contains(answer, `"total_objects": 3`) {
		t.Errorf("archives:\n%s", answer)
	}
	if found := clitest.Done(t, "ask", "list-findings", b, "--names", "risky-file"); !strings.Contains(found, "holiday.jpg") || !strings.Contains(found, "photo.jpg") || strings.Contains(found, "logo.png") {
		t.Errorf("findings:\n%s", found)
	}
}

func TestExtractingIsBounded(t *testing.T) {
	b := filesBundle(t)
	there := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
		file int
	}{
		{"two files", []string{"--most", "2"}, exit.Limit, "--most is reached", 2},
		{"little space", []string{"--max-size", "7000", "--name", "*o*"}, exit.Limit, "--max-size is reached", 3},
		{"into a folder that exists", []string{"--extract", there}, exit.Exists, "", -1},
		{"into the bundle", []string{"--extract", filepath.Join(b, "out")}, exit.Usage, "", -1},
		{"masked", []string{"--mask"}, exit.Usage, "leave out --mask", -1},
		{"as a table", []string{"--format", "csv"}, exit.Usage, "--format", -1},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		args := append([]string{"objects", b, "--extract", dir}, c.args...)
		if code, _, errs := clitest.Run(args...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit code %d: %s", c.name, code, errs)
		}
		list, err := os.ReadDir(dir)
		if n := len(list) - 1; err == nil && n != c.file || err != nil && c.file >= 0 {
			t.Errorf("%s: %d files, %v", c.name, n, err)
		}
	}
}

const smbSample = "../../samples/smb.pcapng"

// TestFilesOfShares extracts what smbclient and libnfs wrote and read.
func TestFilesOfShares(t *testing.T) {
	for _, c := range []struct{ sample, want string }{
		{smbSample, "list.txt 3500 true; list.txt 3500 true; list.txt 3500 true; list.txt 3500 true; plain.txt 3500 true; plain.txt 3500 true"},
		{"../../samples/nfs.pcapng", "copy.txt 3500 true; menu.txt 400 true"},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		clitest.Done(t, "objects", c.sample, "--extract", dir)
		var got []string
		for _, e := range extracted(t, dir) {
			data, err := os.ReadFile(filepath.Join(dir, e.File))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %d %v", e.Name, len(data), e.Complete))
		}
		slices.Sort(got)
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: got %s, want %s", c.sample, s, c.want)
		}
	}
}

// TestObjectsAgreeWithTshark compares hashes with tshark's. It exports every body of HTTP; those that are messages
// between programs and error pages are not files here.
func TestObjectsAgreeWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	ours := clitest.Done(t, "objects", filesBundle(t), "--columns", "sha256", "--format", "csv") + clitest.Done(t, "objects", smbSample, "--columns", "sha256", "--format", "csv")
	for _, kind := range []string{"http", "ftp-data", "imf", "smb"} {
		dir := t.TempDir()
		if out, err := exec.Command("tshark", "-r", map[bool]string{true: smbSample, false: filesSample}[kind == "smb"], "-Q", "--export-objects", kind+","+dir).CombinedOutput(); err != nil {
			t.Fatalf("tshark: %v: %s", err, out)
		}
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			data, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			// JSON, an error page, a form as a whole, and the preface of HTTP/2
			known := slices.ContainsFunc([]string{"{", "<html>", "------", "PRI * "}, func(s string) bool { return bytes.HasPrefix(data, []byte(s)) })
			if !known && !strings.Contains(ours, fmt.Sprintf("%x", sha256.Sum256(data))) {
				t.Errorf("%s: only tshark has %s, %d bytes: %.60q", kind, f.Name(), len(data), data)
			}
		}
	}
}
