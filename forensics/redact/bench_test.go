package redact

import (
	"strings"
	"syscall"
	"testing"
)

// speed runs do over texts of size bytes. It also reports the speed in CPU time, which a busy
// machine distorts less.
func speed(b *testing.B, size int, do func()) {
	used := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	b.SetBytes(int64(size))
	before := used()
	for range b.N {
		do()
	}
	b.ReportMetric(float64(size)*float64(b.N)/1e6/(used()-before), "MB/cpu-s")
}

// findTexts are typical texts of calls without any match.
var findTexts = []struct{ name, text string }{
	{"query", "page=3&limit=50&sort=-created_at&filter=status%3Aopen&order=48213&session=7f3a9c1e\n"},
	{"path", "/api/v2/customers/48213/orders/1f0c7c1e-9c8b-4f7a-a3d1-0b7f6a1c2d3e/items\n"},
	{"sql", "SELECT o.id, o.total_cents, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = 48213 AND o.status = 'open' ORDER BY o.created_at DESC LIMIT 50\n"},
	{"headers", "X-Request-Start: t=1767225600123\nX-Forwarded-For: 10.12.3.44, 10.0.1.7\nX-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7\nX-Envoy-Upstream-Service-Time: 12\nCf-Ray: 7d1f2a3b4c5d6e7f-FRA\n"},
	{"uuid", "5f0c7c1e-9c8b-4f7a-a3d1-0b7f6a1c2d3e 00000000-0000-4000-8000-00000000beef 123e4567-e89b-12d3-a456-426614174000\n"},
	{"redis", "HSET cart:48213 item:7 3 item:9 1 updated 2026-01-02T12:30:11.123Z\n"},
	{"rows", "48213\t4990\topen\t2026-01-02 12:30:11.123456+00\tBlue kettle, 1.7 l\t\\N\n"},
	{"json", `{"id": 48213, "name": "Blue kettle, 1.7 l", "price_cents": 4990, "tags": ["kitchen", "steel"], "url": "/catalogue/48213?ref=home"}` + "\n"},
}

func BenchmarkFind(b *testing.B) {
	for _, tt := range findTexts {
		for _, of := range []struct {
			size string
			text string
		}{{"long", strings.Repeat(tt.text, 1<<20/len(tt.text))}, {"one", strings.TrimSpace(tt.text)}} {
			b.Run(tt.name+"/"+of.size, func(b *testing.B) {
				speed(b, len(of.text), func() {
					if list := Find(of.text); len(list) != 0 {
						b.Fatal(list)
					}
				})
			})
		}
	}
}
