package cli_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// leaves calls do with each command that does something, and its path.
func leaves(c *cobra.Command, path []string, do func(c *cobra.Command, path []string)) {
	if len(c.Commands()) == 0 && !c.Hidden {
		do(c, path)
	}
	for _, sub := range c.Commands() {
		leaves(sub, append(slices.Clip(path), sub.Name()), do)
	}
}

// internals are words of Go, cobra, YAML and C++ that no error shows.
var internals = regexp.MustCompile(`%!|goroutine|panic|<nil>|0x[0-9a-f]{6}|strconv|runtime error|unmarshal|std::|accepts \d arg|requires at least|dial tcp|parsing regexp|non-quoted|\x1b`)

// TestMistakes gives every command an unknown flag, no arguments, and names of files that do not exist, on screens of
// three widths. Each is refused with one error and one hint, without a style, in words of the program.
func TestMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("NO_COLOR", "1")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", "")
	for _, width := range []int{60, 80, 120} {
		leaves(cli.Root(), nil, func(c *cobra.Command, path []string) {
			mistakes := [][]string{{"--nosuch"}}
			if names := arguments(c.Use); len(names) > 0 && strings.Join(path, " ") != "kfl complete" { // which completes anything
				mistakes = append(mistakes, nil, names)
			}
			for _, more := range mistakes {
				args := append(slices.Clip(path), more...)
				out, errOut, code := mistaken(t, width, args)
				what := strings.Join(args, " ")
				problem, hint, _ := strings.Cut(errOut, "\nhint: ")
				switch {
				case code == exit.Done:
					t.Errorf("%s: is accepted", what)
				case !strings.HasPrefix(problem, "error: ") || strings.Count(errOut, "error: ") != 1:
					t.Errorf("%s: error %q", what, errOut)
				case strings.TrimSpace(hint) == "":
					t.Errorf("%s: no hint: %q", what, errOut)
				case out != "":
					t.Errorf("%s: prints %q", what, out)
				case internals.MatchString(errOut):
					t.Errorf("%s: shows %q: %s", what, internals.FindString(errOut), errOut)
				}
			}
		})
	}
	if left, _ := filepath.Glob("*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// arguments returns a name of a missing file for each argument that a command needs.
func arguments(use string) (names []string) {
	for _, word := range strings.Fields(use)[1:] {
		if !strings.HasPrefix(word, "[") && !strings.HasPrefix(word, "-") {
			names = append(names, map[bool]string{true: "status_code >>", false: "nosuch.pcapsule"}[word == "KFL"])
		}
	}
	return names
}

// mistaken runs the program with a screen of width columns.
func mistaken(t *testing.T, width int, args []string) (out, errOut string, code int) {
	t.Helper()
	t.Setenv("COLUMNS", strconv.Itoa(width))
	code, out, errOut = clitest.Run(args...)
	return out, errOut, code
}

// TestFlagsOfOtherPrograms gives every command flags that kubectl, tshark and tail have. An error is in words of the program,
// and a flag that its hint names exists.
func TestFlagsOfOtherPrograms(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("NO_COLOR", "1")
	hinted := 0
	leaves(cli.Root(), nil, func(c *cobra.Command, path []string) {
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
