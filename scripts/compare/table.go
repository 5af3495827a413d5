package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
)

// row counts the answers to one question.
type row struct{ equal, different int }

// table counts answers and writes those that differ to a folder.
type table struct {
	out  string
	mu   sync.Mutex
	rows map[string]*row
}

func (t *table) add(c capture, before, after *answers) error {
	type question struct{ name, input string }
	texts := map[question]string{}
	for _, a := range after.List {
		texts[question{a.Name, a.Input}] = a.Text
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, a := range before.List {
		if t.rows[a.Name] == nil {
			t.rows[a.Name] = &row{}
		}
		text, ok := texts[question{a.Name, a.Input}]
		if ok && text == a.Text {
			t.rows[a.Name].equal++
			continue
		}
		if !ok {
			text = "no answer\n"
		}
		t.rows[a.Name].different++
		if err := t.write(filepath.Join(t.out, fmt.Sprintf("%s-%s-%d", a.Name, c.name(), i)), c, a, text); err != nil {
			return err
		}
	}
	return nil
}

// write writes both answers and their diff.
func (t *table) write(stem string, c capture, before answer, after string) error {
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return err
	}
	head := fmt.Sprintf("%s\n%s %s\n\n", c.path, before.Name, before.Input)
	old, new := stem+".old", stem+".new"
	if err := errors.Join(os.WriteFile(old, []byte(head+before.Text), 0o644), os.WriteFile(new, []byte(head+after), 0o644)); err != nil {
		return err
	}
	diff, err := exec.Command("diff", "-U", "12", old, new).Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return fmt.Errorf("running diff: %w", err)
	}
	return os.WriteFile(stem+".diff", append([]byte(head), diff...), 0o644)
}

// print prints the table and returns how many answers differ.
func (t *table) print() int {
	fmt.Printf("%-28s %8s %10s\n", "question", "equal", "different")
	var sum row
	for _, name := range slices.Sorted(maps.Keys(t.rows)) {
		r := t.rows[name]
		fmt.Printf("%-28s %8d %10d\n", name, r.equal, r.different)
		sum.equal, sum.different = sum.equal+r.equal, sum.different+r.different
	}
	fmt.Printf("%-28s %8d %10d\n", "all", sum.equal, sum.different)
	if sum.different > 0 {
		fmt.Println("different answers:", t.out)
	}
	return sum.different
}
