//go:build amd64 || arm64

package keys

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/internal/program"
)

// talks caches the programs that goTalk built, by their flags: linking takes seconds.
var talks sync.Map

// goTalk builds testdata/gotalk. Each call returns a separate file, because probes are
// attached to files and tests must not disturb each other.
func goTalk(t *testing.T, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "gotalk")
	if program, ok := talks.Load(strings.Join(flags, " ")); ok {
		if err := os.WriteFile(out, program.([]byte), 0o755); err != nil {
			t.Fatal(err)
		}
		return out
	}
	c := exec.Command("go", slices.Concat([]string{"build", "-buildvcs=false", "-o", out}, flags, []string{"./testdata/gotalk"})...)
	c.Env = os.Environ()
	for _, f := range flags {
		if strings.Contains(f, "external") {
			c.Env = append(c.Env, "CGO_ENABLED=1")
		}
	}
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, b)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	talks.Store(strings.Join(flags, " "), program)
	return out
}

func openProgram(t *testing.T, path string) *program.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := program.Open(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestStrippedProgramsHaveTheSameFunctions(t *testing.T) {
	for _, kind := range nightly.Some([][]string{nil, {"-buildmode=pie"}, {"-ldflags=-linkmode=external"}, {"-buildmode=pie", "-ldflags=-linkmode=external"}}, 1) {
		t.Run(strings.Join(kind, " "), func(t *testing.T) {
			full, bare := slices.Clone(kind), slices.Clone(kind)
			if i := slices.IndexFunc(bare, func(s string) bool { return strings.HasPrefix(s, "-ldflags") }); i >= 0 {
				bare[i] += " -s -w"
			} else {
				bare = append(bare, "-ldflags=-s -w")
			}
			a, err := goTargets(openProgram(t, goTalk(t, full...)))
			if err != nil {
				t.Fatal(err)
			}
			m := openProgram(t, goTalk(t, bare...))
			b, err := goTargets(m)
			if err != nil {
				t.Fatal(err)
			}
			if f, _ := m.Functions(goFunction); len(f) != 0 {
				t.Error("the stripped program has symbols")
			}
			if len(a) != 1 || len(b) != 1 {
				t.Error(a, b)
			}
		})
	}
}

func TestOtherFilesHaveNoKeyLogFunction(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.go")
	if err := os.WriteFile(none, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := strings.TrimSuffix(none, ".go")
	if b, err := exec.Command("go", "build", "-o", bin, none).CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, b)
	}
	if _, err := goTargets(openProgram(t, bin)); !errors.Is(err, errNoTLS) {
		t.Error("Go without TLS:", err)
	}
	if _, err := goTargets(openProgram(t, "/bin/sh")); !errors.Is(err, program.ErrNotGo) {
		t.Error("not Go:", err)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 16, 63, 64, 100, 4096, len(b) / 2, len(b) - 1} {
		m, err := program.Open(bytes.NewReader(b[:n]), int64(n))
		if err == nil {
			_, err = goTargets(m)
		}
		if err == nil {
			t.Errorf("%d of %d bytes of a program are accepted", n, len(b))
		}
	}
}

func TestReturnsMatchTheDisassembler(t *testing.T) {
	for _, flags := range nightly.Some([][]string{nil, {"-buildmode=pie"}, {"-race"}}, 1) {
		bin := goTalk(t, flags...)
		m := openProgram(t, bin)
		list, err := goPlain(m)
		if err != nil {
			t.Fatal(flags, err)
		}
		text, err := exec.Command("go", "tool", "objdump", "-s", `^crypto/tls\.\(\*Conn\)\.(Read|Write)$`, bin).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want, got []uint64
		for _, x := range regexp.MustCompile(`(?m)^\s+\S+\s+0x([0-9a-f]+)\s+[0-9a-f]+\s+RET\s*$`).FindAllSubmatch(text, -1) {
			va, err := strconv.ParseUint(string(x[1]), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			off, _ := m.Offset(va)
			want = append(want, off)
		}
		for _, f := range list {
			got = append(got, f.Ends...)
		}
		slices.Sort(want)
		slices.Sort(got)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%v: %#x, want %#x", flags, got, want)
		}
	}
}
