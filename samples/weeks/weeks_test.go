package weeks

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the files again")

// TestFiles compares the captures with what the code makes.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if *update {
		dir = "."
	}
	made := 0
	for number := 1; number <= 4; number++ {
		names, err := Write(dir, number)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			made++
			want, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if have, err := os.ReadFile(name); err != nil || !bytes.Equal(have, want) {
				t.Errorf("%s is not what the code makes; go generate ./samples/weeks writes it again: %v", name, err)
			}
		}
	}
	if there, _ := filepath.Glob("*.pcapng"); len(there) != made {
		t.Errorf("%d captures are here, %d are made", len(there), made)
	}
}
