package docs

// In a fence marked console every line that begins with "$ " is run, in a folder that has
// samples/ beside it, and what it prints must be what is below it; … means
// anything. Commands of one document run one after another in the same folder.

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

type example struct {
	line    int
	command string
	want    []string
}

// examples reads the console fences of a document.
func examples(text string) (list []example) {
	inside := false
	for n, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside && strings.HasPrefix(line, "```console")
		case inside && strings.HasPrefix(line, "$ "):
			list = append(list, example{line: n + 1, command: line[2:]})
		case inside && len(list) > 0:
			e := &list[len(list)-1]
			if strings.HasSuffix(e.command, "\\") {
				e.command = strings.TrimSuffix(e.command, "\\") + strings.TrimSpace(line)
			} else {
				e.want = append(e.want, line)
			}
		}
	}
	return list
}

// matches compares printed lines with wanted ones; a wanted line that is only … stands
// for any number of lines.
func matches(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if strings.TrimSpace(want[0]) == "…" {
		for i := 0; i <= len(got); i++ {
			if matches(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	if len(got) == 0 {
		return false
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(want[0], " ")), "…", ".*")
	return regexp.MustCompile("^"+pattern+"$").MatchString(strings.TrimRight(got[0], " ")) && matches(want[1:], got[1:])
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		name, want, got string
		ok              bool
	}{
		{"the same line", "a b", "a b", true},
		{"another line", "a b", "a c", false},
		{"a part that changes", "in … s", "in 1.5 s", true},
		{"lines left out", "a\n…\nz", "a\nb\nc\nz", true},
		{"a line too many", "a", "a\nb", false},
	} {
		if matches(strings.Split(tt.want, "\n"), strings.Split(tt.got, "\n")) != tt.ok {
			t.Errorf("%s: want %v", tt.name, tt.ok)
		}
	}
}

// TestExamples runs the examples of every document, of README.md and of the agent skill, whose
// tool calls mcp runs.
func TestExamples(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	bin := programs(t)
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"guide", "format", "format/protocols"} {
		more, err := filepath.Glob(filepath.Join(dir, "*.md"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	files = append(files, "../README.md", "../skills/pcapsule/SKILL.md")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list := examples(string(text))
		if len(list) == 0 {
			continue
		}
		t.Run(strings.TrimPrefix(f, "../"), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(filepath.Join(root, "samples"), filepath.Join(dir, "samples")); err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				run(t, e, dir, bin)
			}
		})
	}
}

func run(t *testing.T, e example, dir, bin string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-c", e.command)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "NO_COLOR=1", "TZ=UTC")
	out, err := c.CombinedOutput()
	got := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(got) == 1 && got[0] == "" {
		got = nil
	}
	for len(e.want) > 0 && e.want[len(e.want)-1] == "" {
		e.want = e.want[:len(e.want)-1]
	}
	mayFail := len(e.want) > 0 && strings.HasPrefix(e.want[0], "error: ")
	if err != nil && !mayFail {
		t.Errorf("line %d: %s: %v\n%s", e.line, e.command, err, out)
		return
	}
	if !matches(e.want, got) {
		t.Errorf("line %d: %s\nprints\n%s\nthe document says\n%s", e.line, e.command, strings.Join(got, "\n"), strings.Join(e.want, "\n"))
	}
}
