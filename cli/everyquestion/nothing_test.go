package everyquestion_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// TestNothingHasNoNumbers asks every question about a name that nothing has: the answer says so first,
// and has no zeros that look like facts.
func TestNothingHasNoNumbers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop.pcapsule")
	clitest.At(t, 80, "bundle", "../../samples/shop.pcapng", "--kube", "../../samples/shop.kube.json", "-o", dir)
	needs := map[string]string{
		"trace_request": "--trace-id nope", "search_content": "--text nope", "compare_periods": "--shift 1h --service nope",
		"get_pair": "--src nope --dst checkout", "get_timeline": "--at 09:24:50 --workload nope",
	}
	skip := map[string]string{"check_expectations": "needs a file", "controls": "lists all controls", "list_findings": "lists its analyzers"}
	zero := regexp.MustCompile(`(^|[ (])(0|0 B|0 %|0\.00)($|[ ,)])|\bnone\b`)
	asked := 0
	for _, q := range nightly.Some(all.Questions(), 16) {
		if skip[q.Name] != "" {
			continue
		}
		args := append([]string{"ask", clitest.Dashed(q.Name), dir}, strings.Fields(needs[q.Name])...)
		switch {
		case needs[q.Name] != "":
		case q.In.Properties["service"] != nil:
			args = append(args, "--service", "nope")
		default:
			args = append(args, "--kfl", `dst.name == "nope"`)
		}
		out, errOut := clitest.At(t, 80, args...)
		asked++
		if !strings.HasPrefix(out, "No matches. ") {
			t.Errorf("%q does not begin with the verdict:\n%s%s", args[1:], out, errOut)
		}
		for line := range strings.Lines(out) {
			if zero.MatchString(strings.TrimSpace(line)) && !strings.HasPrefix(line, "note: ") && !strings.Contains(line, "coverage:") {
				t.Errorf("%q prints %q", args[1:], line)
			}
		}
	}
	if asked < nightly.Of(12, 15) {
		t.Errorf("only %d questions were asked", asked)
	}
}
