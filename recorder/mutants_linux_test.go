package recorder

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// mutants are ways to forget a packet: a source file, text in it, and what replaces it.
var mutants = []struct{ step, file, from, to string }{
	{"the reader of the kernel's buffer", "internal/mapped/mapped.go", "		seq := r.inFlight.add(next, real)\n", "		seq := r.inFlight.add(next, real)\n		if next%4096 == 0 && MUTANT {\n			r.scan = next\n			r.inFlight.done(seq)\n			continue\n		}\n"},
	{"the order of time", "packets_linux.go", "		err := r.one(&p, body)\n", "		err := error(nil)\n		if seq%9 != 0 || !MUTANT {\n			err = r.one(&p, body)\n		}\n"},
	{"before the output", "packets_linux.go", "	l := x.output\n", "	l := x.output\n	if p.Time%9 == 0 && MUTANT {\n		return nil\n	}\n"},
	{"the output", "sink_linux.go", "error { return s.series.Append(p) }", "error {\nif p.Time%9 == 0 && MUTANT {\n	return nil\n}\nreturn s.series.Append(p) }"},
	{"the ring's writer", "ring/series.go", "	keep := max(min(len(p.Data)", "	if p.Time%9 == 0 && MUTANT {\n		return nil\n	}\n	keep := max(min(len(p.Data)"},
}

// TestForgottenPacketsAreNoticed changes the recorder so that it forgets a packet at each
// step, and checks that the accounts show it. All changes are in one test program, which a
// variable of the environment tells which of them to make; without it none is made.
func TestForgottenPacketsAreNoticed(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: ", err)
	}
	program := mutated(t)
	run := func(step string) (string, error) {
		cmd := exec.Command(program, "-test.run", "^TestNothingIsForgotten$")
		cmd.Env = append(os.Environ(), "PCAPSULE_MUTANT="+step)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(""); err != nil {
		t.Fatalf("without a change: %v\n%s", err, out)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.step, " ", "_"), func(t *testing.T) {
			out, err := run(m.step)
			if err == nil || !strings.Contains(out, "are unaccounted for: they count as dropped") || !strings.Contains(out, "counters do not balance") {
				t.Errorf("not noticed: %v\n%s", err, out)
			}
		})
	}
}

// mutated builds the tests of this package with all mutants.
func mutated(t *testing.T) string {
	dir := t.TempDir()
	changed, replace := map[string]string{}, map[string]string{}
	write := func(path, text string) {
		to := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		source, err := filepath.Abs(path)
		if err == nil {
			err = os.WriteFile(to, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		replace[source] = to
	}
	for _, m := range mutants {
		text, done := changed[m.file]
		if !done {
			b, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if strings.Count(text, m.from) != 1 {
			t.Fatalf("%s must contain %q once", m.file, m.from)
		}
		changed[m.file] = strings.Replace(text, m.from, strings.Replace(m.to, "MUTANT", fmt.Sprintf("(mutant == %q)", m.step), 1), 1)
	}
	for file, text := range changed {
		write(file, text)
		name := filepath.Base(filepath.Dir(file))
		if name == "." {
			name = "recorder"
		}
		write(filepath.Join(filepath.Dir(file), "mutant.go"), "package "+name+"\n\nimport \"os\"\n\nvar mutant = os.Getenv(\"PCAPSULE_MUTANT\")\n")
	}
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "recorder.test")
	list, _ := json.Marshal(map[string]any{"Replace": replace}) // plain values always marshal
	if err := os.WriteFile(overlay, list, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestNothingIsForgotten records a flood into a ring, whose seals must account for all of it,
// and into a file, whose statistics must.
func TestNothingIsForgotten(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := t.TempDir()
	for _, o := range []Options{{Ring: &ring.Options{Dir: filepath.Join(dir, "ring")}}, {File: filepath.Join(dir, "a.pcapng")}} {
		o.Cgroup, o.NoNames = s.cgroup, true
		stats := record(t, o, func() { s.run(s.cgroup, "flood 3000") })
		if stats.Seen != stats.Kernel || stats.Seen < 3000 {
			t.Errorf("counted %d packets as seen; the kernel saw %d", stats.Seen, stats.Kernel)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a.pcapng")); err != nil || !strings.Contains(string(b), `{"counters":{"kernel_seen":`) {
		t.Errorf("no counters in the file: %v", err)
	}
}
