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

// TestHelpGroupsEveryCommand compares the groups of the help with the commands.
func TestHelpGroupsEveryCommand(t *testing.T) {
	want := map[string]int{"help": 1}
	for _, g := range groups {
		for name := range strings.FieldsSeq(g.names) {
			want[name]++
		}
	}
	for name, n := range want {
		if n != 1 {
			t.Errorf("%s is in %d groups", name, n)
		}
	}
	for _, c := range (&env{}).root().Commands() {
		if want[c.Name()] == 0 {
			t.Errorf("no group has %s", c.Name())
		}
		delete(want, c.Name())
	}
	delete(want, "help")
	for name := range want {
		t.Errorf("no command is called %s", name)
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
		if len(path) == 0 || !c.HasSubCommands() || slices.Contains([]string{"ask", "report", "extcap", "mcp"}, c.Name()) {
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
