// Package exportertest makes bundles in tests of the stages of the pipeline. The test imports the driver of DuckDB.
package exportertest

import (
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
)

// Run makes a bundle of inputs and returns its path.
func Run(t *testing.T, o exporter.Options, inputs ...string) (*bundle.Manifest, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	o.Release, o.Repanic = "test", true
	m, err := exporter.Run(context.Background(), inputs, path, o)
	if err != nil {
		t.Fatal(err)
	}
	return m, path
}

// Answers makes a bundle of a capture and queries it in SQL. Each query returns one text.
func Answers(t *testing.T, capture io.Reader, queries ...string) []string {
	t.Helper()
	_, path := Run(t, exporter.Options{Stdin: capture}, "-")
	return bundletest.Ask(t, path, queries...)
}

// Proven makes a bundle, makes its tables again and compares them, and queries them.
func Proven(t *testing.T, o exporter.Options, inputs []string, queries ...string) (*bundle.Manifest, []string) {
	t.Helper()
	m, path := Run(t, o, inputs...)
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := exporter.Rederive(context.Background(), b, exporter.Options{Release: "test", Repanic: true, Keys: o.Keys})
	if err != nil {
		t.Fatal(err)
	}
	if !again.OK() {
		t.Errorf("made again it is another: %+v", again.Differences)
	}
	return m, bundletest.Ask(t, path, queries...)
}
