package forensics_test

import (
	"bytes"
	"testing"

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

// BenchmarkQuery asks an open case for a page of calls with all columns, and for a count.
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
