package forensics_test

import (
	"bytes"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
)

// BenchmarkOpen opens a bundle and closes it again.
func BenchmarkOpen(b *testing.B) {
	dir := sample(b, "shop.pcapng")
	for b.Loop() {
		c, err := forensics.Open(ctx, []string{dir}, forensics.Options{})
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkQuery reads a page of calls with all columns from an open case, and a count.
func BenchmarkQuery(b *testing.B) {
	c := open(b, sample(b, "shop.pcapng"))
	for name, q := range map[string]forensics.Query{
		"page":  {KFL: `http && dst.svc == "payment"`, Limit: 100},
		"count": {KFL: "http && status_code >= 500", Count: true},
		"sql":   {SQL: "select host, count(*) from calls group by 1 order by 2 desc"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				query(b, c, q)
			}
		})
	}
}

// BenchmarkCall shows one call, BenchmarkPackets carves the packets of some.
func BenchmarkCall(b *testing.B) {
	c := open(b, sample(b, "shop.pcapng"))
	for b.Loop() {
		if _, err := c.Call(ctx, "#10", forensics.CallOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPackets(b *testing.B) {
	c := open(b, sample(b, "shop.pcapng"))
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if _, err := c.Packets(ctx, forensics.Selection{KFL: "http", Context: forensics.WithContext}, &out); err != nil {
			b.Fatal(err)
		}
	}
}

// allTexts are the largest texts of calls: paths, statements, commands and headers.
var allTexts = []forensics.TextPlace{
	{Columns: []string{"path"}}, {Columns: []string{"query_string"}}, {Columns: []string{"host"}}, {Columns: []string{"postgresql_query"}}, {Columns: []string{"postgresql_preview"}},
	{Columns: []string{"redis_command"}}, {Columns: []string{"redis_reply"}}, {Columns: []string{"request_id"}}, {Columns: []string{"trace_id"}}, {Columns: []string{"headers"}, Headers: true},
}

// measured sums the bytes of the texts that a walk visits.
type measured struct {
	forensics.EveryText
	bytes *atomic.Int64
}

func (m measured) Text(_ int, text []byte) forensics.TextVerdict {
	m.bytes.Add(int64(len(text)))
	return 0
}

// BenchmarkTexts searches the texts of the large case that PCAPSULE_BENCH_CASE names for a missing
// text, with Texts and with SQL. scripts/bench/calls makes such a case. distinct-MB counts each text
// of a row group once.
func BenchmarkTexts(b *testing.B) {
	dir := os.Getenv("PCAPSULE_BENCH_CASE")
	if dir == "" {
		b.Skip("needs PCAPSULE_BENCH_CASE: a bundle")
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	walk := forensics.Texts{Table: "calls", Places: allTexts, Group: func(int, *forensics.TextGroup) error { return nil }}
	var size atomic.Int64
	walk.Judge = func() forensics.TextJudge { return measured{bytes: &size} }
	if err := c.Texts(ctx, walk); err != nil {
		b.Fatal(err)
	}
	needle := "not-there-4711"
	walk.Judge = func() forensics.TextJudge { return &skipping{contains: contains{needle: []byte(needle)}} }
	var conds []string
	for _, p := range allTexts {
		cond := "contains(" + p.Columns[0] + ", '" + needle + "')"
		if p.Headers {
			cond = "len(list_filter(headers, lambda h: contains(h.value, '" + needle + "'))) > 0"
		}
		conds = append(conds, cond)
	}
	for name, look := range map[string]func(){
		"texts": func() {
			if err := c.Texts(ctx, walk); err != nil {
				b.Fatal(err)
			}
		},
		"sql": func() {
			query(b, c, forensics.Query{SQL: "SELECT count(*) FROM calls_raw WHERE " + strings.Join(conds, " OR ")})
		},
	} {
		b.Run(name, func(b *testing.B) {
			before := cpuTime(b)
			for b.Loop() {
				look()
			}
			mb := float64(size.Load()) * float64(b.N) / 1e6
			b.ReportMetric(float64(size.Load())/1e6, "distinct-MB")
			b.ReportMetric(mb/b.Elapsed().Seconds(), "distinct-MB/s")
			b.ReportMetric(mb/(cpuTime(b)-before).Seconds(), "distinct-MB/cpu-s")
			b.ReportMetric(0, "ns/op")
		})
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
