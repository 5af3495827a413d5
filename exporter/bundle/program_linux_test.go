package bundle

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProgramDigestIsThatOfTheFile: a record saves reading the file only while the file is the one that was hashed.
func TestProgramDigestIsThatOfTheFile(t *testing.T) {
	dir := t.TempDir()
	file, record := filepath.Join(dir, "program"), filepath.Join(dir, "cache", "program")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	digest := func(want string) {
		t.Helper()
		if sum, err := programDigest(file, record); err != nil || sum != sha256.Sum256([]byte(want)) {
			t.Errorf("the digest %s of %q, %v", sum, want, err)
		}
	}
	write("one")
	digest("one")
	if _, err := os.Stat(record); err == nil {
		t.Error("a file that changed just now has a record: another change may have the same time")
	}
	state, changed, err := fileState(file)
	if err != nil || time.Since(changed) > settled {
		t.Fatal(state, changed, err)
	}
	// As if it had settled, and with another digest, so that it shows whether the record was read.
	other := Digest(sha256.Sum256([]byte("other")))
	said := state + " " + other.String() + "\n"
	remember(record, said)
	digest("other")

	for name, damage := range map[string]func(){
		"cut":             func() { remember(record, said[:len(said)-2]) },
		"longer":          func() { remember(record, strings.TrimSpace(said)+"00\n") },
		"no hexadecimal":  func() { remember(record, state+" "+strings.Repeat("z", 64)+"\n") },
		"of another file": func() { remember(record, "1"+said) },
		"empty":           func() { remember(record, "") },
		"writable by all": func() { remember(record, said); chmod(t, record, 0o622) },
		"a link":          func() { _ = os.Rename(record, record+"2"); _ = os.Symlink(record+"2", record) },
		"gone":            func() { _ = os.Remove(record) },
	} {
		remember(record, said)
		damage()
		if sum, err := programDigest(file, record); err != nil || sum == other {
			t.Errorf("%s: the record was believed: %v", name, err)
		}
		_ = os.Remove(record)
	}
	if os.Geteuid() == 0 {
		remember(record, said)
		if err := os.Chown(record, 12345, -1); err != nil {
			t.Fatal(err)
		}
		digest("one")
		_ = os.Remove(record)
	}

	// The same size and time of modification: only ctime tells.
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	remember(record, said)
	for again := state; again == state; again, _, _ = fileState(file) {
		write("two")
		if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	digest("two")
	if s := info.Sys().(*syscall.Stat_t); s.Size != 3 {
		t.Errorf("%d bytes", s.Size)
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// TestSettledProgramIsRecorded: the second process does not hash.
func TestSettledProgramIsRecorded(t *testing.T) {
	file, err := os.Executable() // go test has linked it before
	if err != nil {
		t.Fatal(err)
	}
	for _, changed, err := fileState(file); err == nil && time.Since(changed) < settled; {
		time.Sleep(100 * time.Millisecond)
	}
	record := filepath.Join(t.TempDir(), "a", "program")
	first, err := programDigest(file, record)
	if err != nil {
		t.Fatal(err)
	}
	state, _, _ := fileState(file)
	if again, ok := recorded(record, state); !ok || again != first {
		t.Errorf("the record has %s, %v, want %s", again, ok, first)
	}
}
