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

// TestReportIsChecked writes reports in several forms, checks them, and compares them.
func TestReportIsChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) (int, string) {
		code, out, errOut := clitest.Run(args...)
		return code, out + errOut
	}
	if code, output := run("bundle", filepath.Join("..", "samples", "http1.pcapng"), "-o", file("a.pcapsule")); code != exit.Done {
		t.Fatalf("making a bundle: exit %d\n%s", code, output)
	}
	bad := "version: 1\naccepted:\n  - finding: weak\n"
	for name, text := range map[string]string{"bad.yaml": "title: a\nsections: [dsn]\n", "accept.yaml": bad} {
		if err := os.WriteFile(file(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"HTML", []string{"a.pcapsule", "-o", "a.html", "--template", "tls"}, exit.Done, ""},
		{"Markdown of a window", []string{"a.pcapsule", "-o", "a.md", "--from", "1h", "--kfl", "http"}, exit.Done, ""},
		{"CSV, masked", []string{"a.pcapsule", "-o", "a.csv", "--template", "access", "--mask"}, exit.Done, ""},
		{"JSON", []string{"a.pcapsule", "-o", "a.json", "--template", "tls", "--verify"}, exit.Done, ""},
		{"an unknown ending", []string{"a.pcapsule", "-o", "a.doc"}, exit.Usage, ".html, .md"},
		{"an unknown template", []string{"a.pcapsule", "-o", "b.html", "--template", "incidents"}, exit.Usage, `did you mean "incident"?`},
		{"a template with a mistake", []string{"a.pcapsule", "-o", "b.html", "--template", "bad.yaml"}, exit.Syntax, `bad.yaml:2:12: unknown section "dsn" (did you mean "dns"?)`},
		{"a list of accepted findings with a mistake", []string{"a.pcapsule", "-o", "b.html", "--accept", "accept.yaml"}, exit.Syntax, "line 3"},
		{"a bad window", []string{"a.pcapsule", "-o", "b.html", "--from", "noon"}, exit.Usage, "--from"},
		{"a bad filter", []string{"a.pcapsule", "-o", "b.html", "--kfl", "http &&"}, exit.Syntax, ""},
		{"intact HTML", []string{"verify", "a.html", "a.pcapsule"}, exit.Done, "is intact"},
		{"intact Markdown", []string{"verify", "a.md", "a.pcapsule"}, exit.Done, "is intact"},
		{"an intact masked report", []string{"verify", "a.csv", "a.pcapsule"}, exit.Done, "is intact"},
		{"an intact report of verified bundles", []string{"verify", "a.json", "a.pcapsule"}, exit.Done, "is intact"},
		{"a file that is not a report", []string{"verify", "bad.html", "a.pcapsule"}, exit.NotCapture, "bad.html"},
		{"two reports", []string{"diff", "a.html", "a.json"}, exit.Done, "new: 0\nfixed: 0"},
	} {
		args := []string{"report"}
		for _, a := range tt.args {
			if strings.Contains(a, ".") && !strings.HasPrefix(a, "dst") {
				a = file(a)
			}
			args = append(args, a)
		}
		if code, output := run(args...); code != tt.code || !strings.Contains(output, tt.want) {
			t.Errorf("%s: exit %d, want %d with %q:\n%.600s", tt.name, code, tt.code, tt.want, output)
		}
	}
	text, err := os.ReadFile(file("a.md"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("c.md"), bytes.Replace(text, []byte("calls"), []byte("cells"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, output := run("report", "verify", file("c.md"), file("a.pcapsule")); code != exit.Verify || !strings.Contains(output, "cells") {
		t.Errorf("an edited report: exit %d\n%s", code, output)
	}
	if _, err := os.Stat(file("b.html")); err == nil {
		t.Error("a refused report left a file")
	}
}
