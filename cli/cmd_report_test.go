package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

func TestReportCommand(t *testing.T) {
	dir := t.TempDir()
	bundle, page := filepath.Join(dir, "a.pcapsule"), filepath.Join(dir, "a.html")
	run := func(args ...string) (int, string) {
		code, out, errOut := clitest.Run(args...)
		return code, out + errOut
	}
	if code, output := run("bundle", filepath.Join("..", "samples", "dns.pcap"), "-o", bundle); code != exit.Done {
		t.Fatalf("making a bundle: exit %d\n%s", code, output)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a missing output is a usage error", []string{bundle}, exit.Usage, "-o"},
		{"a page is written", []string{bundle, "-o", page, "--verify", "--title", "Names"}, exit.Done, ""},
		{"an existing output is not replaced", []string{bundle, "-o", page}, exit.Exists, "exists"},
		{"a page to standard output", []string{bundle, "-o", "-"}, exit.Done, "<!DOCTYPE html>"},
		{"JSON to standard output", []string{bundle, "--json"}, exit.Done, `"sections"`},
		{"an empty folder", []string{t.TempDir(), "-o", filepath.Join(dir, "b.html")}, exit.NotCapture, "no capture files"},
		{"a folder that does not exist", []string{bundle, "-o", filepath.Join(dir, "no", "b.html")}, exit.Usage, "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, output := run(append([]string{"report"}, tt.args...)...)
			if code != tt.code || !strings.Contains(output, tt.want) {
				t.Errorf("exit %d, want %d with %q:\n%.500s", code, tt.code, tt.want, output)
			}
		})
	}
	text, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(text, []byte("<h1>Names</h1>")) || !bytes.Contains(text, []byte(">verified<")) {
		t.Errorf("page: %v\n%.800s", err, text)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("files left: %v, %v; want the bundle and the page", left, err)
	}
	damage := filepath.Join(bundle, "data", "bundle.json")
	was, err := os.ReadFile(damage)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damage, append(was, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, output := run("report", bundle, "--verify", "-o", filepath.Join(dir, "c.html")); code != exit.Verify {
		t.Errorf("a changed bundle: exit %d, want %d\n%s", code, exit.Verify, output)
	}
}
