package derive_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// BenchmarkRedact redacts the bundle that PCAPSULE_BENCH_BUNDLE names by the policy that
// PCAPSULE_BENCH_POLICY names.
func BenchmarkRedact(b *testing.B) {
	o, err := bundle.Open(os.Getenv("PCAPSULE_BENCH_BUNDLE"))
	if err != nil {
		b.Skip("needs PCAPSULE_BENCH_BUNDLE")
	}
	r, err := redact.LoadRemoval(os.Getenv("PCAPSULE_BENCH_POLICY"))
	if err != nil {
		b.Fatal(err)
	}
	for i := range o.Manifest.Inputs {
		b.SetBytes(o.Manifest.Inputs[i].Size)
	}
	for b.Loop() {
		out := filepath.Join(b.TempDir(), "o.pcapsule")
		x, err := derive.Redact(context.Background(), o, out, derive.Redaction{Policy: removal{r}, Text: r.Source()}, quiet)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%d rounds, %d values, %v", x.Rounds, x.Values, x.Derived.Rules)
		if was, now := rowsOf(o.Manifest), rowsOf(x.Manifest); !maps.Equal(was, now) {
			b.Errorf("rows were %v and are %v", was, now)
		}
	}
}

// rowsOf counts the rows of calls and anomalies.
func rowsOf(m *bundle.Manifest) map[string]int64 {
	rows := map[string]int64{}
	for i := range m.Tables {
		if t := &m.Tables[i]; t.Name == "calls" || t.Name == "anomalies" {
			rows[t.Name+" "+t.Protocol] += t.Rows
		}
	}
	return rows
}
