package ask_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// plainOrder matches the first or last ids of a group by a time alone.
var plainOrder = regexp.MustCompile(`arg_m(?:in|ax)\((?:call_id|call_no|bundle|flow_id|ids?|alert_no|summary), (?:[a-z]+\.)?(?:ts_ns|first_ns|last_ns|began|elapsed_us)[,)]`)

// TestFirstOfEqualTimes looks for SQL that selects ids by time without a tie-breaker: of calls at the same time, DuckDB then
// selects those of the thread that comes first, so equal questions have different answers.
func TestFirstOfEqualTimes(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		seen += strings.Count(string(text), "arg_min(call_id, (")
		for _, found := range plainOrder.FindAllString(string(text), -1) {
			t.Errorf("%s: %s: order by (time, id)", path, found)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%d places with a tie-breaker, %v", seen, err)
	}
}
