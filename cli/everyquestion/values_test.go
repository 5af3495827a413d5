package everyquestion_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// TestValuesOfQuestions gives every field that allows only some values another one, which is refused with their names,
// an empty one, which is not given, and each allowed value, which completion offers. Of a field that several questions
// share, all but the first get one of its values.
func TestValuesOfQuestions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s.pcapsule")
	clitest.At(t, 80, "bundle", "../../samples/dns.pcap", "-o", dir)
	needs := map[string][]string{"audit_access": {"--service", "x"}, "search_content": {"--text", "abcd"}}
	fields, shared := 0, map[string]bool{}
	for _, q := range all.Questions() {
		for name, s := range tools.Input(q).Properties {
			values := ask.Allowed(s)
			if len(values) == 0 {
				continue
			}
			fields++
			flag := "--" + clitest.Dashed(name)
			args := append([]string{"ask", q.Name, dir}, needs[q.Name]...)
			_, said := clitest.At(t, 1000, append(slices.Clip(args), flag, "bogus")...)
			last := len(values) - 1
			want := "must be " + strings.Join(values[:last], ", ") + " or " + values[last] + ", not"
			if len(values) > 30 { // as many as fit
				want = "use some of " + strings.Join(values[:10], ", ")
			}
			if !strings.Contains(said, want) || !strings.Contains(said, flag) {
				t.Errorf("%q: %s; allowed are %q", args, said, values)
			}
			if s.Items == nil {
				values = append(values, "")
			}
			if key := name + strings.Join(values, " "); shared[key] || !nightly.On() {
				values = values[fields%len(values):][:1]
			} else {
				shared[key] = true
			}
			for _, v := range values {
				if _, said := clitest.At(t, 1000, append(slices.Clip(args), flag, v)...); strings.Contains(said, "error:") {
					t.Errorf("%q %s %q: %s", args, flag, v, said)
				}
			}
			offered, _ := clitest.At(t, 1000, "__complete", "ask", clitest.Dashed(q.Name), flag, "")
			for _, v := range ask.Allowed(s) {
				if !slices.Contains(strings.Split(offered, "\n"), v) {
					t.Errorf("%s of %s: completion does not offer %q", flag, q.Name, v)
				}
			}
		}
	}
	if fields < 10 {
		t.Errorf("%d fields allow only some values", fields)
	}
}
