package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestValuesOfQuestions compares the values that completion offers with those that a question names
// when it refuses another.
func TestValuesOfQuestions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s.pcapsule")
	ranAt(t, 80, "bundle", "../../samples/dns.pcap", "-o", dir)
	for field, values := range fieldValues {
		question, name, _ := strings.Cut(field, ".")
		args := []string{"ask", question, dir, "--" + dashed(name), "bogus"}
		if question == "audit_access" {
			args = append(args, "--service", "x")
		}
		_, said := ranAt(t, 1000, args...)
		last := len(values) - 1
		if want := "must be " + strings.Join(values[:last], ", ") + " or " + values[last] + ", not"; !strings.Contains(said, want) {
			t.Errorf("%q: %s; completion offers %q", args, said, values)
		}
	}
}
