package tools

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLongDocumentsAreCutWithANote(t *testing.T) {
	for _, size := range []int{100, 50_000, 300_000} {
		raw, err := Sealed(struct {
			YAML string `json:"yaml"`
			N    int    `json:"n"`
		}{strings.Repeat("a: \"b\"\n", size/7), 3}, AnswerBytes)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			YAML      string
			N         int
			Truncated bool
			Notes     []string
		}
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
		long := size > AnswerBytes
		if len(raw) > AnswerBytes || out.N != 3 || out.Truncated != long || long && (len(out.Notes) != 1 || !strings.Contains(out.Notes[0], "max_bytes")) {
			t.Errorf("%d bytes: an answer of %d, %v %v", size, len(raw), out.Truncated, out.Notes)
		}
		if long && len(raw) < AnswerBytes/2 {
			t.Errorf("%d bytes: only %d are left", size, len(raw))
		}
	}
}
