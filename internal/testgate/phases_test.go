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

// phases are the parts of make test, as the Makefile lists them.
func phases(t *testing.T) []string {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^PHASES := (.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the Makefile has no PHASES")
	}
	return strings.Fields(string(m[1]))
}

// TestEveryPhaseCanFail runs make test with recipes that do nothing, except for one that fails: make
// fails too, whichever part it is and although others run beside it.
func TestEveryPhaseCanFail(t *testing.T) {
	list := phases(t)
	for _, want := range []string{"lint", "unit", "race", "fuzz-short", "release-short", "kernels-short"} {
		if !slices.Contains(list, want) {
			t.Errorf("make test does not run %s", want)
		}
	}
	for _, bad := range slices.Concat([]string{"", "setup", "compile"}, list) {
		t.Run("bad_"+bad, func(t *testing.T) {
			out, err := runPhases(t, bad)
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
			if strings.Index(out, "ran race\n") < strings.Index(out, "ran unit\n") || strings.Index(out, "ran unit\n") < strings.Index(out, "ran compile\n") {
				t.Errorf("compile, unit and race are not in this order:\n%s", out)
			}
		})
	}
}

// runPhases runs make test in a folder of its own, where every part only prints its name and one
// fails.
func runPhases(t *testing.T, bad string) (string, error) {
	makefile, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("include " + makefile + "\n")
	for _, p := range slices.Concat([]string{"setup", "compile", "build", ".cache/testgate"}, phases(t)) {
		b.WriteString(p + ":\n\t@echo ran $@\n")
		if p == bad {
			b.WriteString("\t@false\n")
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"Makefile": b.String(), ".cache/unit.txt": "a summary\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("make", "test")
	cmd.Dir = dir
	for _, v := range os.Environ() { // of a make that runs this test
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
