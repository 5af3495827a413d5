package dissect

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestLimitsAreRead(t *testing.T) {
	got := Limits("redis")
	if want := (Limit{What: "nested aggregates", Limit: "32", Beyond: "malformed"}); !slices.Contains(got, want) {
		t.Errorf("%v lacks %v", got, want)
	}
	if got := Limits("etcd"); len(got) == 0 {
		t.Error("a protocol inside another has no limits")
	}
	if got := Limits("nothing"); got != nil {
		t.Errorf("a protocol without a list has the limits %v", got)
	}
}

func TestOutcomesAreRead(t *testing.T) {
	if got := Outcomes("tftp"); len(got) != 3 || !strings.HasPrefix(got[0], "client_error: ") {
		t.Errorf("%q", got)
	}
	if got := Outcomes("graphql"); len(got) == 0 {
		t.Error("a protocol inside another has no outcomes")
	}
}

// TestEachLineIsALimit holds that each line of a list is printed.
func TestEachLineIsALimit(t *testing.T) {
	for _, pattern := range []string{"*/limits.txt", "content/*/limits.txt"} {
		files, err := fs.Glob(described, pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			text, err := described.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				what, limit, ok := strings.Cut(strings.TrimSpace(line), ": ")
				if _, beyond, has := strings.Cut(limit, " (beyond: "); !ok || what == "" || has && !strings.HasSuffix(beyond, ")") {
					t.Errorf("%s: %q is not WHAT: LIMIT (beyond: WHAT HAPPENS)", f, line)
				}
			}
		}
	}
}
