package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// fits fails the test if a line is wider than the screen, unless a word or a quoted argument
// of a command fills most of it: text to be copied is not broken.
func fits(t *testing.T, width int, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		longest := 0
		for _, w := range strings.Fields(line) {
			longest = max(longest, len(w))
		}
		if n := utf8.RuneCountInString(line); n > width && longest < width*3/4 && !strings.ContainsAny(line, "'\"") {
			t.Errorf("%s at %d columns: %d in %q", what, width, n, line)
		}
	}
}

// TestHelpFits checks the help of every command at three widths.
func TestHelpFits(t *testing.T) {
	var each func(c *cobra.Command, path []string, do func([]string))
	each = func(c *cobra.Command, path []string, do func([]string)) {
		do(path)
		for _, sub := range c.Commands() {
			each(sub, append(path[:len(path):len(path)], sub.Name()), do)
		}
	}
	for _, width := range []int{60, 80, 120} {
		each(cli.Root(), nil, func(path []string) {
			args := append(path, "--help")
			out, _ := clitest.At(t, width, args...)
			if !strings.Contains(out, "Usage:") {
				t.Errorf("%q has no usage:\n%s", args, out)
			}
			fits(t, width, strings.Join(args, " "), out)
		})
	}
}

// TestAnswersFit checks an answer of every kind at three widths.
func TestAnswersFit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop.pcapsule")
	clitest.At(t, 80, "bundle", "../samples/shop.pcapng", "--kube", "../samples/shop.kube.json", "-o", dir)
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(dir))
	if err := os.WriteFile("rules.yaml", []byte("version: 1\nrules: [{name: no server errors, calls: http, never: status_code >= 500}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, width := range nightly.Some([]int{60, 80, 120}, 2) {
		for _, args := range [][]string{
			{"info", "shop.pcapsule"},
			{"query", "shop.pcapsule", "http && failed"},
			{"query", "shop.pcapsule", "", "--group-by", "src_service,dst_service,protocol,outcome"},
			{"sql", "shop.pcapsule", "select * from flows order by all"},
			{"show", "shop.pcapsule", "226"},
			{"ask", "get-overview", "shop.pcapsule"},
			{"ask", "find-failures", "shop.pcapsule"},
			{"ask", "list-findings", "shop.pcapsule"},
			{"objects", "shop.pcapsule"},
			{"verify", "shop.pcapsule"},
			{"custody", "verify", "shop.pcapsule"},
			{"check", "shop.pcapsule", "rules.yaml"},
			{"protocols"},
			{"findings", "shop.pcapsule"},
			{"protocols", "redis"},
			{"schema", "flows"},
			{"schema", "calls"},
			{"kfl", "fields", "stat"},
		} {
			out, errOut := clitest.At(t, width, args...)
			if out == "" {
				t.Errorf("%q printed nothing: %s", args, errOut)
			}
			fits(t, width, strings.Join(args, " "), out)
		}
	}
}
