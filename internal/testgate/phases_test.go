package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// phases are the parts of make test, make extended or make nightly, as the Makefile lists them.
func phases(t *testing.T, list string) []string {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + strings.ToUpper(list) + ` := (.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("the Makefile has no parts of make %s", list)
	}
	return strings.Fields(string(m[1]))
}

// TestEveryPhaseCanFail runs make test, make extended and make nightly with recipes that do nothing, except for one
// that fails: make fails too, whichever part it is and although others run beside it.
func TestEveryPhaseCanFail(t *testing.T) {
	for _, tt := range []struct {
		target string
		before []string // parts that come first
		parts  []string // at least these
		order  [2]string
	}{
		{"test", []string{"setup", "compile"}, []string{"lint", "unit"}, [2]string{"compile", "unit"}},
		{"extended", []string{"setup"}, []string{"accept", "kernels-short", "race", "fuzz-short", "release-short", "generators"}, [2]string{"setup", "race"}},
		{"nightly", []string{"setup"}, []string{"unit", "accept", "race", "kernels", "fuzz", "kills"}, [2]string{"setup", "unit"}},
	} {
		list := phases(t, tt.target)
		for _, want := range tt.parts {
			if !slices.Contains(list, want) {
				t.Errorf("make %s does not run %s", tt.target, want)
			}
		}
		for _, bad := range slices.Concat([]string{""}, tt.before, list) {
			t.Run(tt.target+"_bad_"+bad, func(t *testing.T) {
				out, err := runPhases(t, tt.target, bad)
				if (err != nil) != (bad != "") {
					t.Fatalf("%v\n%s", err, out)
				}
				if bad != "" {
					return
				}
				for _, p := range list {
					if strings.Count(out, "ran "+p+"\n") != 1 || !strings.Contains(out, p+": ") {
						t.Errorf("%s ran not once, or its time is missing:\n%s", p, out)
					}
				}
				if first := strings.Index(out, "ran "+tt.order[0]+"\n"); first < 0 || strings.Index(out, "ran "+tt.order[1]+"\n") < first {
					t.Errorf("%s is not before %s:\n%s", tt.order[0], tt.order[1], out)
				}
			})
		}
	}
}

// TestEveryChangePassesAllParts reads .ci/run: it runs both.
func TestEveryChangePassesAllParts(t *testing.T) {
	text, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nset -euo pipefail\n", "\nmake test\n", "\nmake extended\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf(".ci/run lacks %q", want)
		}
	}
}

// runPhases runs make in a folder of its own, where every part only prints its name and one fails.
func runPhases(t *testing.T, target, bad string) (string, error) {
	makefile, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("include " + makefile + "\n")
	for _, p := range slices.Concat([]string{"setup", "compile", "build", "recorder", "hub", "lake-program", "lake-short", "release", ".cache/testgate"}, phases(t, target)) {
		b.WriteString(p + ":\n\t@echo ran $@\n")
		if p == bad {
			b.WriteString("\t@false\n")
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"Makefile": b.String(), ".cache/unit.txt": "a summary\n", ".cache/lake.txt": "another\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("make", target)
	cmd.Dir = dir
	for _, v := range os.Environ() { // of a make that runs this test
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
