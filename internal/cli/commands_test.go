package cli

import (
	"slices"
	"testing"

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
