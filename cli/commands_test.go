package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestCommandsThatTheRecorderKnows compares pcapsule-recorder's list of pcapsule's commands
// with the commands.
func TestCommandsThatTheRecorderKnows(t *testing.T) {
	root := (&env{}).root()
	root.InitDefaultHelpCmd()
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	slices.Sort(names)
	if got := command.OfPcapsule(); !slices.Equal(got, names) {
		t.Errorf("OfPcapsule is %q, but the commands are %q", got, names)
	}
}

// TestArgumentsAreNamed gives each command too few and too many arguments: the error names them.
func TestArgumentsAreNamed(t *testing.T) {
	checked := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for n := range 6 {
			if err := c.ValidateArgs(slices.Repeat([]string{"x"}, n)); err != nil {
				if checked++; strings.Contains(err.Error(), "arg(s)") {
					t.Errorf("%s with %d arguments: %v", c.CommandPath(), n, err)
				}
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&env{}).root())
	if checked < 100 {
		t.Errorf("only %d errors were read", checked)
	}
}

// TestEveryGroupNamesItsCommands runs each command that only holds others alone, and with an unknown one.
func TestEveryGroupNamesItsCommands(t *testing.T) {
	run := func(args ...string) (code int, out, errs string) {
		var o, e bytes.Buffer
		code = Main(args, strings.NewReader(""), &o, &e)
		return code, o.String(), e.String()
	}
	groups := 0
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			walk(sub, append(slices.Clone(path), sub.Name()))
		}
		if len(path) == 0 || !c.HasSubCommands() || slices.Contains([]string{"ask", "report", "extcap"}, c.Name()) {
			return
		}
		groups++
		if code, out, errs := run(path...); code != exit.Done || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: exit code %d, %s%s", path, code, out, errs)
		}
		code, out, errs := run(append(slices.Clone(path), "nosuch")...)
		for _, sub := range c.Commands() {
			if code != exit.Usage || out != "" || !strings.Contains(errs, sub.Name()) {
				t.Errorf("%q nosuch: exit code %d, want %d and %s in %q", path, code, exit.Usage, sub.Name(), errs)
			}
		}
	}
	walk((&env{}).root(), nil)
	if groups < 5 {
		t.Errorf("only %d groups", groups)
	}
}
