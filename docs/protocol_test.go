package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestNewProtocolShowsItsExample compares the Go code of the guide with the example's files. The
// example's own tests build and run it.
func TestNewProtocolShowsItsExample(t *testing.T) {
	page, err := os.ReadFile("guide/new-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string][]string{}
	file := ""
	for _, m := range regexp.MustCompile("(?s)<!-- file (\\S+) -->|```go\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if m[1] != "" {
			file = m[1]
		} else {
			shown[file] = append(shown[file], strings.TrimSpace(m[2]))
		}
	}
	if len(shown) != 2 {
		t.Fatalf("code of %d files, want 2", len(shown))
	}
	for file, parts := range shown {
		code, err := os.ReadFile("../" + file)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(parts, "\n\n"); got != strings.TrimSpace(string(code)) {
			t.Errorf("the guide does not show %s as it is", file)
		}
	}
}
