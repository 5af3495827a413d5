package exporter

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestRunOne makes a bundle from one capture named by PCAPSULE_ONE, for manual inspection.
func TestRunOne(t *testing.T) {
	in := os.Getenv("PCAPSULE_ONE")
	if in == "" {
		t.Skip("needs PCAPSULE_ONE")
	}
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	m, err := Run(context.Background(), []string{in}, out, Options{Release: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", m.Accounts)
	t.Log(m.Calls, m.Warnings)
}
