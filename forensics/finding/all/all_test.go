package all_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

var ctx = context.Background()

func open(t testing.TB, masked bool, inputs ...string) *forensics.Case {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "t.pcapsule")
	o := exporter.Options{Release: "test", Repanic: true}
	var paths []string
	for _, in := range inputs {
		paths = append(paths, filepath.Join("..", "..", "..", "samples", in))
		if in == "shop.pcapng" {
			o.Kube = []string{filepath.Join("..", "..", "..", "samples", "shop.kube.json")}
		}
	}
	if _, err := exporter.Run(ctx, paths, dir, o); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 2, MaskSecrets: masked})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestPeek(t *testing.T) {
	c := open(t, true, "shop.pcapng", "tls.pcapng")
	for _, a := range all.Analyzers() {
		begin := time.Now()
		out, err := finding.Run(ctx, c, all.Analyzers(), finding.In{Names: []string{a.Name}})
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
			continue
		}
		t.Log(out.Summary, out.Notes, time.Since(begin))
		for i, f := range out.Findings {
			if i < 6 {
				t.Logf("   %s %s %q %v %v", f.Severity, f.What, f.Evidence, f.CallIDs, f.FlowIDs)
			}
		}
	}
}
