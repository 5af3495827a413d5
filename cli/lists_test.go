package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestReportsWithIndicators name their lists. They are verified with the same lists only.
func TestReportsWithIndicators(t *testing.T) {
	p := placeFor(t)
	dir := t.TempDir()
	list, other, out := filepath.Join(dir, "feed.txt"), filepath.Join(dir, "other.txt"), filepath.Join(dir, "r.json")
	for path, text := range map[string]string{list: "example.net\n", other: "example.org\n", filepath.Join(dir, "bad.txt"): "example.net\nno indicator\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plain := filepath.Join(dir, "plain.yaml")
	if err := os.WriteFile(plain, []byte("title: a\nsections: [dns]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clitest.Done(t, "report", p.bundle, "--template", "incident", "--indicators", list, "-o", out)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"feed.txt", "compared with 1 indicator of feed.txt"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in the report", want)
		}
	}
	clitest.Done(t, "report", "verify", out, p.bundle, "--indicators", list)
	for _, tt := range []struct {
		name, want string
		code       int
		args       []string
	}{
		{"verified without lists", "the report was made with other lists: give --indicators feed.txt (SHA-256 ", exit.Usage, []string{"report", "verify", out, p.bundle}},
		{"verified with another list", "the report was made with other lists", exit.Usage, []string{"report", "verify", out, p.bundle, "--indicators", other}},
		{"a template without findings", "has no section findings", exit.Usage, []string{"report", p.bundle, "--template", plain, "--indicators", list, "-o", filepath.Join(dir, "p.json")}},
		{"a damaged list", "bad.txt, line 2: \"no indicator\" is not an address", exit.Syntax, []string{"ask", "list-findings", p.bundle, "--indicators", filepath.Join(dir, "bad.txt")}},
		{"no GeoIP file", "feed.txt", exit.Syntax, []string{"ask", "list-findings", p.bundle, "--geoip", list}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, errOut, code := mistaken(t, 1000, tt.args); code != tt.code || !strings.Contains(errOut, tt.want) {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, errOut)
			}
		})
	}
}
