package exporter

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/samples/frames"
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

// answers makes a bundle of a capture under construction and queries it.
func answers(t *testing.T, v *frames.Views, queries ...string) []string {
	t.Helper()
	return answersOf(t, []string{"-"}, Options{Stdin: &v.Buf}, queries...)
}

// answersOf makes a bundle of inputs, makes its tables again and compares them, and queries them.
func answersOf(t *testing.T, inputs []string, o Options, queries ...string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	o.Release, o.Repanic = "test", true
	if _, err := Run(context.Background(), inputs, path, o); err != nil {
		t.Fatal(err)
	}
	if again := rederive(t, path, Options{Keys: o.Keys}); !again.OK() {
		t.Errorf("made again it is another: %+v", again.Differences)
	}
	return bundletest.Ask(t, path, queries...)
}
