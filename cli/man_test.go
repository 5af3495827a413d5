package cli_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
)

// TestManualPageHasEveryCommand formats the manual page with groff, which must not complain, and looks for each command
// with its flags and examples.
func TestManualPageHasEveryCommand(t *testing.T) {
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("needs groff")
	}
	page := clitest.Done(t, "man")
	format := exec.Command("groff", "-man", "-Tutf8", "-K", "utf8", "-ww", "-P-c", "-P-b", "-P-u", "-rLL=400n")
	format.Stdin = strings.NewReader(page)
	var said strings.Builder
	format.Stderr = &said
	out, err := format.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("groff: %v: %s", err, said.String())
	}
	blanks := regexp.MustCompile(`\s+`)
	text := blanks.ReplaceAllString(string(out), " ")
	has := func(what string) {
		if want := blanks.ReplaceAllString(what, " "); !strings.Contains(text, strings.TrimSpace(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	commands := 0
	leaves(cli.Root(), nil, func(c *cobra.Command, path []string) {
		if !c.IsAvailableCommand() {
			return
		}
		commands++
		has(strings.TrimPrefix(c.UseLine(), "pcapsule "))
		for line := range strings.Lines(c.Example) {
			has(line)
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" {
				has("--" + f.Name)
			}
		})
	})
	if commands < 50 {
		t.Errorf("only %d commands", commands)
	}
}
