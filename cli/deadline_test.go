package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestEveryQuestionEnds runs each command that asks about a case, as the flags of its kind show, with a
// deadline that is over.
func TestEveryQuestionEnds(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "h.pcapsule")
	run := func(args ...string) (int, string) {
		code, _, stderr := clitest.Run(args...)
		return code, stderr
	}
	if code, text := run("bundle", "../samples/http1.pcapng", "-o", bundle); code != 0 {
		t.Fatal(text)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("rules.yaml", []byte("version: 1\nrules:\n  - {name: ok, calls: http, every: status_code == 200}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := run("report", bundle, "-o", "made.html"); code != 0 {
		t.Fatal(text)
	}
	questions := map[string][]string{ // what they require
		"audit-access": {"--pii"}, "check-expectations": {"--rules", "version: 1\nrules:\n  - {name: ok, calls: http, every: status_code == 200}"},
		"describe-service": {"--service", "x"}, "generate-openapi": {"--service", "x"}, "get-dependencies": {"--service", "x"},
		"get-pair": {"--src", "*", "--dst", "*"}, "get-timeline": {"--workload", "x"}, "search-content": {"--text", "ab"}, "trace-request": {"--trace-id", "ab"},
	}
	arguments := map[string][]string{
		"query": {bundle, "http"}, "sql": {bundle, "select * from calls"}, "show": {bundle, "1"}, "follow": {bundle, "1"},
		"check": {bundle, "rules.yaml"}, "packets": {bundle, "http", "-o", "x.pcapng"}, "wireshark": {bundle, "http", "--print"}, "objects": {bundle}, "findings": {bundle}, "report": {bundle, "-o", "x.html"},
		"report verify": {"made.html", bundle}, "report sign": {"made.html", bundle, "--key", "k"},
		"ask": {bundle}, "lake sql": nil, "lake query": nil, // they need a lake and run like sql and query
	}
	unlimited := []string{"bundle", "shell", "merge", "info", "decrypt", "fetch", "snapshot", "tail", "open"} // no question of the command line's own
	asked := 0
	var each func(c *cobra.Command, path string)
	each = func(c *cobra.Command, path string) {
		for _, sub := range c.Commands() {
			each(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
		kind := path
		if strings.HasPrefix(path, "ask ") {
			kind = "ask"
		}
		f := c.Flags()
		if f.Lookup("mask") == nil && f.Lookup("hosts") == nil || slices.Contains(unlimited, kind) {
			return
		}
		args, known := arguments[kind]
		if f.Lookup("deadline") == nil || !known {
			t.Errorf("pcapsule %s asks about a case without --deadline, or this test does not know it", path)
		}
		if args == nil || kind == "report sign" {
			return
		}
		asked++
		args = slices.Concat(strings.Fields(path), args, questions[c.Name()], []string{"--deadline", "1ns"})
		if code, text := run(args...); code != exit.Limit || !strings.Contains(text, "deadline exceeded: ") || !strings.Contains(text, "--deadline") {
			t.Errorf("pcapsule %q: exit code %d: %s", args, code, text)
		}
	}
	each(cli.Root(), "")
	if asked < 25 {
		t.Errorf("only %d commands were run", asked)
	}
}
