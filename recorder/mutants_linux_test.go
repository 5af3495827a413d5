package recorder

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestForgottenPacketsAreNoticed changes the recorder so that it forgets a packet at each
// step, and checks that the accounts show it.
func TestForgottenPacketsAreNoticed(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: ", err)
	}
	for _, m := range []struct{ step, file, from, to string }{
		{"the reader of the kernel's buffer", "internal/mapped/mapped.go", "		seq := r.inFlight.add(next, real)\n", "		seq := r.inFlight.add(next, real)\n		if next%4096 == 0 {\n			r.scan = next\n			r.inFlight.done(seq)\n			continue\n		}\n"},
		{"the order of time", "packets_linux.go", "		err := r.one(&p, body)\n", "		err := error(nil)\n		if seq%9 != 0 {\n			err = r.one(&p, body)\n		}\n"},
		{"before the output", "packets_linux.go", "	l := x.output\n", "	l := x.output\n	if p.Time%9 == 0 {\n		return nil\n	}\n"},
		{"the output", "sink_linux.go", "error { return s.series.Append(p) }", "error {\nif p.Time%9 == 0 {\n	return nil\n}\nreturn s.series.Append(p) }"},
		{"the ring's writer", "ring/series.go", "	keep := max(min(len(p.Data)", "	if p.Time%9 == 0 {\n		return nil\n	}\n	keep := max(min(len(p.Data)"},
	} {
		t.Run(strings.ReplaceAll(m.step, " ", "_"), func(t *testing.T) {
			source, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(source)
			if err != nil || strings.Count(string(text), m.from) != 1 {
				t.Fatalf("%s must contain %q once: %v", m.file, m.from, err)
			}
			dir := t.TempDir()
			changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
			list, _ := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
			for path, b := range map[string][]byte{changed: []byte(strings.Replace(string(text), m.from, m.to, 1)), overlay: list} {
				if err := os.WriteFile(path, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.Command("go", "test", "-vet=off", "-overlay", overlay, "-run", "^TestNothingIsForgotten$", ".").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "are unaccounted for: they count as dropped") || !strings.Contains(string(out), "counters do not balance") {
				t.Errorf("not noticed: %v\n%s", err, out)
			}
		})
	}
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
