package hard

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the files again")

func TestFiles(t *testing.T) {
	made := map[string]bool{}
	for _, f := range Files() {
		made[f.Name] = true
		if *update {
			if err := os.WriteFile(f.Name, f.Bytes, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(f.Name)
		if err != nil {
			t.Errorf("%v; go generate ./samples/hard writes it", err)
		} else if !bytes.Equal(have, f.Bytes) {
			t.Errorf("%s is not what the code makes; go generate ./samples/hard writes it again", f.Name)
		}
	}
	for _, pattern := range []string{"*.pcap", "*.pcapng"} {
		there, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range there {
			if !made[name] {
				t.Errorf("%s is here, but nothing makes it", name)
			}
		}
	}
}
