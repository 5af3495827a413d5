package ask_test

import (
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// benchInputs are inputs that are more expensive than the default.
var benchInputs = map[string][]string{
	"get_service_map":  {`{"group_by":"pod","limit":200}`, `{"from_namespace":"edge"}`},
	"get_dependencies": {`{"service":"redis-cache"}`, `{"service":"redis-cache","blast_radius":true}`},
	"list_external":    {`{"allow":["*.partner1-example.com","203.0.113.10"]}`},
	"get_latency": {`{"by":"service"}`, `{"min_ms":500}`, `{"parts":["queries"]}`, `{"parts":["size"]}`, `{"parts":["replicas"]}`, `{"parts":["chain"],"service":"gateway"}`,
		`{"parts":["series"]}`},
	"compare_periods": {`{"from":"1h","shift":"2h"}`},
	"find_patterns": {`{"kinds":["retries"]}`, `{"kinds":["churn"]}`, `{"kinds":["pool"]}`, `{"kinds":["keep_alive"]}`, `{"kinds":["n_plus_one"]}`,
		`{"kinds":["blocking"]}`, `{"kinds":["repeated"]}`, `{"kinds":["caching"]}`, `{"kinds":["duplicates"]}`, `{"kinds":["correlation"]}`,
		`{"kinds":["content_type"]}`, `{"kinds":["drift"]}`},
	"get_capacity":     {`{"by":"service"}`},
	"find_failures":    {`{"from":"1h"}`, `{"no_causes":true}`},
	"trace_request":    {`{"kfl":"http and status_code == 503"}`, `{"text":"12345"}`},
	"get_timeline":     {`{"workload":"orders-32"}`},
	"describe_service": {`{"service":"redis-cache"}`, `{"service":"orders-32"}`, `{"service":"orders-32","from":"1h"}`},
	"search_content":   {`{"text":"token_expired"}`, `{"text":"12345","whole":true}`},
	"audit_access":     {`{"service":"postgres*"}`, `{"pii":true,"from":"1h"}`},
	"get_pair":         {`{"src":"gateway","dst":"orders-32"}`},
}

// BenchmarkQuestions runs every question on the large case that PCAPSULE_BENCH_CASE names.
// scripts/bench/calls makes such a case.
func BenchmarkQuestions(b *testing.B) {
	dir := os.Getenv("PCAPSULE_BENCH_CASE")
	if dir == "" {
		b.Skip("needs PCAPSULE_BENCH_CASE: a bundle")
	}
	c := asktest.Bundles(b, forensics.Options{}, dir)
	for _, q := range all.Questions() {
		for _, in := range append([]string{`{}`}, benchInputs[q.Name]...) {
			b.Run(q.Name+in, func(b *testing.B) {
				var size int
				before := cpuTime(b)
				for b.Loop() {
					out, err := q.Ask(ctx, c, json.RawMessage(in))
					if err != nil {
						b.Skip("needs an input: ", err) // this question has no default input
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
	}
}

// cpuTime is the CPU time of the process, which a busy machine distorts less than elapsed time.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
