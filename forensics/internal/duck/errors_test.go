package duck

import (
	"errors"
	"strings"
	"testing"
)

// TestMessagesAreInOurWords: an error shows no kind of DuckDB's, and not all of a value.
func TestMessagesAreInOurWords(t *testing.T) {
	long := strings.Repeat("é", 100_000)
	for msg, want := range map[string]string{
		"Conversion Error: Could not convert string 'a' to INT32": "SQL: Could not convert string 'a' to INT32",
		"Conversion Error: Could not convert '" + long + "'":      "SQL: Could not convert 'é",
		"Invalid Type Error: no\n\nStack Trace: x":                "SQL: no",
	} {
		err := said("select 1", msg)
		if text := err.Error(); !strings.HasPrefix(text, want) || len(text) > 400 || strings.Contains(text, "Stack") {
			t.Errorf("%.60s: %.500s", msg, text)
		}
	}
	var damaged *limitError
	if err := said("select 1", "IO Error: cannot read "+long); !errors.As(err, &damaged) || len(err.Error()) > 400 {
		t.Errorf("%.500s", err)
	}
}
