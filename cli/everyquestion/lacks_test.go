package everyquestion_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestDerivedBundlesProveNoAbsence redacts and cuts a bundle with card numbers in clear, and asks what
// the results show.
func TestDerivedBundlesProveNoAbsence(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name+".pcapsule") }
	run := func(args ...string) string {
		t.Helper()
		code, out, errOut := clitest.Run(args...)
		if code != exit.Done {
			t.Fatalf("%q: exit %d\n%s", args, code, errOut)
		}
		return out + errOut
	}
	verdict := func(bundle string) string {
		return run("ask", "controls", bundle, "--attest", "--controls", "pci/4.2.1", "--json")
	}
	run("bundle", "../../samples/shop.pcapng", "-o", at("shop"))
	run("redact", at("shop"), "--policy", "../../samples/policies/cards.yaml", "-o", at("redacted"))
	run("cut", at("redacted"), "http", "-o", at("part"))
	run("cut", at("part"), "--from", "2026-11-20T09:24:49Z", "-o", at("later"))
	run("cut", at("shop"), "--from", "2026-11-20T09:24:49Z", "-o", at("time"))
	for _, tt := range []struct {
		bundle, want string
		filtered     bool
	}{
		{"shop", `"contradicted"`, false},
		{"time", `"contradicted"`, false},
		{"redacted", "the policy cards removed values", false},
		{"part", "the policy cards removed values", true},
		{"later", "the policy cards removed values", true},
	} {
		got := verdict(at(tt.bundle))
		if !strings.Contains(got, tt.want) || strings.Contains(got, `"supported"`+",") {
			t.Errorf("%s: want %s:\n%s", tt.bundle, tt.want, got)
		}
		const gap = "only connections of calls that match http were kept"
		if info := run("info", at(tt.bundle)); strings.Contains(info, "match http were kept") != tt.filtered {
			t.Errorf("info of %s: want gap %q: %v\n%s", tt.bundle, gap, tt.filtered, info)
		}
		if tt.bundle == "time" || tt.bundle == "later" {
			continue // the answer and info above show whether a cut by time keeps what is lacking
		}
		for _, args := range [][]string{{"ask", "get-overview", at(tt.bundle)}, {"ask", "search-content", at(tt.bundle), "--text", "nope"}, {"ask", "list-findings", at(tt.bundle)},
			{"query", at(tt.bundle), `path == "/nope"`}, {"sql", at(tt.bundle), "SELECT 1 WHERE false"}} {
			if n := strings.Count(run(args...), "the policy cards removed values: they are not found"); (n == 1) != strings.Contains(tt.want, "policy") {
				t.Errorf("%q of %s states a redaction %d times", args[:2], tt.bundle, n)
			}
		}
		page := run("report", at(tt.bundle), "--template", "pii", "--json")
		if filtered := strings.Contains(page, "coverage gap (filter)"); filtered != tt.filtered {
			t.Errorf("report of %s: states a filter: %v, want %v", tt.bundle, filtered, tt.filtered)
		}
		if redacted := strings.Contains(page, "The policy cards removed values."); redacted != strings.Contains(tt.want, "policy") {
			t.Errorf("report of %s: states a redaction: %v", tt.bundle, redacted)
		}
	}
	run("redact", at("shop"), "--policy", "../../samples/policies/bodies.yaml", "-o", at("bodies"))
	if text := run("ask", "find-patterns", at("bodies"), "--kinds", "content_type"); !strings.HasPrefix(text, "No matches. ") {
		t.Errorf("bodies that were removed contradict their type:\n%s", text)
	}
	run("cut", at("shop"), `path == "/api/cart"`, "-o", at("cart"))
	run("redact", at("cart"), "--policy", "../../samples/policies/credentials.yaml", "-o", at("secret"))
	manifest, err := os.ReadFile(filepath.Join(at("secret"), "data", "bundle.json"))
	if err != nil || !bytes.Contains(manifest, []byte(`"lacks"`)) || bytes.Contains(manifest, []byte("/api/cart")) {
		t.Errorf("%v: the redacted bundle must say that packets were left out, and not which:\n%s", err, manifest)
	}
}
