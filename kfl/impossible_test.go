package kfl

import (
	"strings"
	"testing"
)

// TestUnknownWordsAreNoted compares columns that have few words with words that they never have.
func TestUnknownWordsAreNoted(t *testing.T) {
	for text, want := range map[string]string{
		`protocol == "htp"`:           "did you mean http?",
		`protocol in ["dns", "zzzz"]`: `"zzzz" is not a protocol that this release dissects`,
		`protocol == "HTTP"`:          "",
		`protocol == "http1"`:         "",
		`protocol == "redis"`:         "",
		`outcome == "bad"`:            "these are ok, client_error",
		`outcome == "no_answer"`:      "",
		`outcome == r"no_.*"`:         "",
		`"fine" != outcome`:           `"fine" is not an outcome`,
	} {
		q, err := Compile(text, Env{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := strings.Join(q.Notes(), "; ")
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: notes %q, want %q", text, got, want)
		}
	}
}
