package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/cli/console"
)

// TestOpenAHub prints the page of a hub, and refuses addresses that are none.
func TestOpenAHub(t *testing.T) {
	for address, want := range map[string]string{
		"https://hub.example.org":      "https://hub.example.org/\n",
		"https://hub.example.org:8443": "https://hub.example.org:8443/\n",
		"https://hub.example.org/":     "https://hub.example.org/\n",
		"https://":                     "",
		"https://user:word@hub":        "",
		"https://hub/mcp":              "",
		"https://hub/?q=1":             "",
		"https://hub/#token=x":         "",
	} {
		var out bytes.Buffer
		err := visit(t.Context(), Options{Streams: &console.Streams{Out: &out, Err: &bytes.Buffer{}}}, address, true)
		if out.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", address, out.String(), err, want)
		}
	}
}

// TestIsRing tells a ring from a snapshot of one and from other folders.
func TestIsRing(t *testing.T) {
	for want, files := range map[bool][][]string{true: {{"seals.jsonl"}}, false: {{}, {"seals.jsonl", "pin.json"}, {"a.pcapng"}}} {
		for _, names := range files {
			dir := t.TempDir()
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if isRing(dir) != want {
				t.Errorf("a folder with %q: %v", names, !want)
			}
		}
	}
	if isRing("does-not-exist") {
		t.Error("nothing is a ring")
	}
}
