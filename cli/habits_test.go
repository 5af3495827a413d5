package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestFlagsOfOtherPrograms gives every command flags that kubectl, tshark and tail have. An error is in words of the program,
// and a flag that its hint names exists.
func TestFlagsOfOtherPrograms(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("NO_COLOR", "1")
	hinted := 0
	leaves((&env{}).root(), nil, func(c *cobra.Command, path []string) {
		if path[0] == "kubectl" { // its -n is a namespace
			return
		}
		for _, flag := range []string{"-o", "-T", "-n", "--json", "--format", "--output", "--listen", "--since", "--until"} {
			if c.Flags().Lookup(strings.TrimLeft(flag, "-")) != nil || len(flag) == 2 && c.Flags().ShorthandLookup(flag[1:]) != nil {
				continue
			}
			_, errOut, code := mistaken(t, 80, append(slices.Clip(path), flag, "json"))
			what := strings.Join(path, " ") + " " + flag
			if _, own, is := strings.Cut(errOut, "did you mean --"); is {
				hinted++
				if own, _, _ = strings.Cut(strings.TrimSpace(own), "?"); c.Flags().Lookup(strings.Fields(own)[0]) == nil {
					t.Errorf("%s: %q", what, errOut)
				}
			}
			if code != exit.Usage || strings.Contains(errOut, "shorthand") {
				t.Errorf("%s: exit %d, %q", what, code, errOut)
			}
		}
	})
	if hinted < 100 {
		t.Errorf("%d hints name a flag, want at least 100", hinted)
	}
	for args, want := range map[string]string{"query x -o json": "--format json?", "ask get-overview x -o json": "--json?", "objects x -o d": "--extract?", "serve x --listen y": "--addr?"} {
		if _, errOut, _ := mistaken(t, 80, strings.Fields(args)); !strings.Contains(errOut, "did you mean "+want) {
			t.Errorf("%s: %q, want %s", args, errOut, want)
		}
	}
}
