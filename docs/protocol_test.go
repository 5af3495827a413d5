package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNewProtocolShowsItsExample finds the Go code of the guide in the example's files. The
// example's own tests build and run it.
func TestNewProtocolShowsItsExample(t *testing.T) {
	page, err := os.ReadFile("guide/new-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../exporter/dissect/dissecttest/ident/*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code += string(text)
	}
	parts := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	for _, m := range parts {
		if !strings.Contains(code, "\n"+m[1]) {
			t.Errorf("the example does not have\n%s", m[1])
		}
	}
	if len(parts) < 3 {
		t.Errorf("the guide shows %d parts of the example", len(parts))
	}
}
