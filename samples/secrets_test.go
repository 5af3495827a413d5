package samples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxSecrets is how many bytes the captures with keys may have together.
const maxSecrets = 2 << 20

// TestSecretsAreListed holds every capture of secrets/ and its keys to a line of INDEX.tsv,
// and every program's captures to a line of the README.
func TestSecretsAreListed(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{"INDEX.tsv": true}
	for _, r := range rows(t, "secrets/INDEX.tsv", 16) {
		listed[r[0]] = true
		if r[1] != "-" {
			listed[r[1]] = true
		}
		if stack, _, _ := strings.Cut(r[0], "-"); !strings.Contains(string(text), "| secrets/"+stack+"-* |") {
			t.Errorf("README.md has no line for secrets/%s-*", stack)
		}
	}
	here, err := os.ReadDir("secrets")
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, f := range here {
		if !listed[f.Name()] {
			t.Errorf("%s is in no line of INDEX.tsv", f.Name())
		}
		delete(listed, f.Name())
		info, err := os.Stat(filepath.Join("secrets", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	for name := range listed {
		t.Errorf("INDEX.tsv names %s, which is not here", name)
	}
	if size > maxSecrets {
		t.Errorf("secrets/ has %d bytes, want at most %d", size, maxSecrets)
	}
}
