package everyquestion_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/leaktest"
)

// TestMaskedCommandsShowNoSecret runs every command that has --mask on a bundle with many
// kinds of secrets. Each also appears in a place that does not identify it as a secret.
func TestMaskedCommandsShowNoSecret(t *testing.T) {
	bundle, secrets := leaktest.Bundle(t)
	t.Chdir(t.TempDir())
	rules := "rules:\n  - name: all is well\n    calls: http\n    status: [200]\n  - name: no errors\n    calls: http\n    response_schema: {type: object, required: [nothing]}\n"
	if err := os.WriteFile("rules.yaml", []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		_, out, stderr := clitest.Run(args...)
		return out + stderr
	}
	masked := func(args ...string) {
		t.Helper()
		text := run(append(args, "--mask")...)
		files, _ := filepath.Glob("out.*")
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text += string(data)
			os.Remove(f)
		}
		if shown := leaktest.Shown(text, secrets); shown != "" {
			t.Errorf("pcapsule %q shows %s", args, shown)
		}
		if strings.Contains(text, "unknown flag") || len(text) == 0 {
			t.Errorf("pcapsule %q: %q", args, text)
		}
	}
	if shown := leaktest.Shown(run("sql", bundle, "select * from bodies", "--format", "csv"), secrets); shown == "" {
		t.Error("no secret is shown without --mask")
	}
	for _, name := range append(format.OfRows(), format.OfCalls()...) {
		masked("query", bundle, "http || redis || postgresql", "--format", name)
	}
	for _, name := range nightly.Some(format.OfRows(), 2) {
		masked("sql", bundle, "select * from bodies join calls on call_no = first_call_no", "--format", name)
	}
	masked("sql", bundle, "select reverse(text), hex(text::blob), list_transform(range(len(path)), i -> path[i + 1]) from bodies, calls")
	// The tests of the servers ask all questions; this test covers how answers are printed.
	for _, question := range []string{"list-findings", "find-failures", "get-latency"} {
		masked("ask", question, bundle)
		masked("ask", question, bundle, "--json")
	}
	masked("ask", "search-content", bundle, "--text", "seen")
	masked("ask", "generate-openapi", bundle, "--service", "shop", "--yaml")
	for _, call := range []string{"#1", "#39"} {
		masked("show", bundle, call)
		masked("show", bundle, call, "--json")
	}
	masked("check", bundle, "rules.yaml")
	masked("check", bundle, "rules.yaml", "--junit", "out.xml", "--sarif", "out.sarif")
	masked("report", bundle, "-o", "out.html")
	masked("report", bundle, "--json")
	if text := run("query", bundle, "http", "--mask=nosuch.yaml"); !strings.Contains(text, "nosuch.yaml") {
		t.Errorf("a policy that does not exist: %s", text)
	}
	if err := os.WriteFile("own.yaml", []byte("version: 1\nextends: none\nkeys: [password]\nmask: xx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := run("sql", bundle, "select text from bodies where text like '%password%'", "--mask=own.yaml"); !strings.Contains(text, `"password":"xx"`) {
		t.Errorf("a custom policy: %s", text)
	}
}
