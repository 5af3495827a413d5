package forensics_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports enforces docs/design/002-forensics-imports.md.
func TestImports(t *testing.T) {
	const module = "github.com/pcapsule/pcapsule/"
	out, err := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		list := strings.Fields(line)
		who, imports := list[0], list[1:]
		if !strings.HasPrefix(who, module) {
			continue
		}
		if slices.Contains([]string{module + "exporter", module + "exporter/hub", module + "recorder"}, who) || strings.HasPrefix(who, module+"bpf") || strings.HasPrefix(who, module+"mcp") {
			t.Errorf("forensics depends on %s", who)
		}
		for _, i := range imports {
			if strings.HasPrefix(i, "github.com/duckdb/") && who != module+"forensics/internal/engine" {
				t.Errorf("%s imports %s; only forensics/internal/engine may", who, i)
			}
		}
	}
}
