package docs

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	redrawn = regexp.MustCompile(`[^\n]*\r(\x1b\[K)?([^\n\r])`) // a line of progress
	control = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	seconds = regexp.MustCompile(`in [0-9.]+ s`)
)

// plain is what remains of a terminal's output without colours and progress.
func plain(text string) string {
	text = redrawn.ReplaceAllString(strings.ReplaceAll(text, "\r\n", "\n"), "$2")
	text = seconds.ReplaceAllString(control.ReplaceAllString(text, ""), "in … s")
	return strings.TrimSpace(text)
}

// TestRecordings runs the commands of the recordings. The recordings must show their output.
func TestRecordings(t *testing.T) {
	bin := programs(t)
	samples, err := filepath.Abs("../samples")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("recordings/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no recordings: ", err)
	}
	for _, path := range scripts {
		commands, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.Symlink(samples, filepath.Join(dir, "samples")); err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for line := range strings.Lines(string(commands)) {
			command, prepares := strings.CutPrefix(strings.TrimSpace(line), "# ")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			c := exec.CommandContext(ctx, "bash", "-c", command)
			c.Dir = dir
			c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "COLUMNS=80", "NO_COLOR=1", "TZ=UTC")
			out, err := c.CombinedOutput()
			cancel()
			if err != nil {
				t.Fatalf("%s: %s: %v\n%s", path, command, err, out)
			}
			if !prepares {
				want.WriteString("$ " + command + "\n" + string(out) + "\n")
			}
		}
		got, err := os.ReadFile(strings.TrimSuffix(path, ".txt") + ".cast")
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for i, line := range strings.Split(strings.TrimSpace(string(got)), "\n") {
			var e [3]any
			if i == 0 {
				continue
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: line %d: %v", path, i+1, err)
			}
			text.WriteString(e[2].(string))
		}
		if got, want := plain(text.String()), plain(want.String()); got != want {
			t.Errorf("%s: the recording shows\n%s\nthe commands print\n%s\nrun: make casts", path, got, want)
		}
	}
}
