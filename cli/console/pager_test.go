package console

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPager writes through stubs of less.
func TestPager(t *testing.T) {
	for _, tt := range []struct {
		name, program string
		writes        []string
		want          string
	}{
		{"the program prints the output", "sed s/^/p:/", []string{"a\n", "b\n"}, "p:a\np:b\n"},
		{"less ends if the text fits the screen", `echo $LESS; cat`, []string{"a\n"}, "FRX\na\n"},
		{"nothing written starts no program", "echo started", nil, ""},
		{"a reader that quits early is no error", "read line; echo $line; exit 3", []string{"a\n"}, "a\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("LESS", "")
			os.Unsetenv("LESS")
			term, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
			if err != nil {
				t.Fatal(err)
			}
			defer term.Close()
			p := &Pager{term: term, cmd: exec.Command("sh", "-c", tt.program)}
			for _, text := range tt.writes {
				if _, err := p.Write([]byte(text)); err != nil {
					t.Errorf("writing %q: %v", text, err)
				}
			}
			if err := p.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
			if got, err := os.ReadFile(term.Name()); err != nil || string(got) != tt.want {
				t.Errorf("the terminal has %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestPagerThatCannotStart writes to the terminal itself.
func TestPagerThatCannotStart(t *testing.T) {
	term, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	p := &Pager{term: term, cmd: exec.Command(filepath.Join(t.TempDir(), "missing"))}
	if _, err := p.Write([]byte("a\n")); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(term.Name()); string(got) != "a\n" {
		t.Errorf("the terminal has %q", got)
	}
}

// TestNoPager has output that is not a terminal.
func TestNoPager(t *testing.T) {
	t.Setenv("PAGER", "sed s/^/p:/")
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p := PagerOf(f); p != nil {
		t.Error("a file gets a pager")
	}
	if p := PagerOf(&Sink{}); p != nil {
		t.Error("a sink without a file gets a pager")
	}
	var none *Pager
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
