package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fences    = regexp.MustCompile("(?s)```.*?```")
	blocks    = regexp.MustCompile(`\n\s*\n|\n[*-] |\n\|`)
	sentences = regexp.MustCompile(`[^.:]*[.:]( |$)`)
)

// TestNoSentenceTwice holds that a fact has one place: no long sentence of the guides, the formats and
// the design pages is in two places. Pages of protocols have the same tables, and those in reference are generated.
func TestNoSentenceTwice(t *testing.T) {
	const long = 70 // letters
	pages, err := filepath.Glob("*/*.md")
	if err != nil || len(pages) < 60 {
		t.Fatal(len(pages), err)
	}
	first := map[string]string{}
	for _, page := range append(pages, "../README.md") {
		if strings.HasPrefix(page, "reference/") {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks.Split(fences.ReplaceAllString(string(text), ""), -1) {
			for _, s := range sentences.FindAllString(strings.Join(strings.Fields(block), " "), -1) {
				switch at, seen := first[s]; {
				case len(s) < long || strings.Contains(s, "|"):
				case seen:
					t.Errorf("%s and %s: %q", at, page, s)
				default:
					first[s] = page
				}
			}
		}
	}
	if len(first) < 1000 {
		t.Errorf("only %d sentences were read", len(first))
	}
}
