package all_test

import (
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// BenchmarkFindings runs each analyzer alone, and all together, on the large case that
// PCAPSULE_BENCH_CASE names. scripts/bench/calls makes such a case.
func BenchmarkFindings(b *testing.B) {
	dir := os.Getenv("PCAPSULE_BENCH_CASE")
	if dir == "" {
		b.Skip("needs PCAPSULE_BENCH_CASE: a bundle")
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 2, MaskSecrets: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ask := func(name string, names []string) {
		b.Run(name, func(b *testing.B) {
			var size int
			before := cpuTime(b)
			for b.Loop() {
				out, err := finding.Run(ctx, c, all.Analyzers(), finding.In{Names: names})
				if err != nil {
					b.Fatal(err)
				}
				text, err := json.Marshal(out)
				if err != nil {
					b.Fatal(err)
				}
				size = len(text)
			}
			b.ReportMetric(float64(size), "answer-bytes")
			b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
	for _, a := range all.Analyzers() {
		ask(a.Name, []string{a.Name})
	}
	ask("all", nil)
}

// cpuTime is the CPU time of the process, which a busy machine distorts less than elapsed time.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
