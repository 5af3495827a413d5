package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/internal/cli/command"
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
