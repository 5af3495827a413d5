package kafka

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

func benchmark(b *testing.B, request, response string) {
	dissecttest.Bench(b, Protocol(), nil, dissecttest.Exchange(request, response))
}

func BenchmarkProduce(b *testing.B) {
	benchmark(b, ask(1, produce(9, 1, "orders", records("", 0, record("customer-7", strings.Repeat("value ", 50))))), say(1, produced(9, "orders", 1, 0)))
}

func BenchmarkFetch(b *testing.B) {
	list := records("", 0, record("customer-7", strings.Repeat("value ", 5000)))
	benchmark(b, ask(1, fetch(12, "orders", 5)), say(1, fetched(12, "orders", list)))
}

func BenchmarkHeartbeat(b *testing.B) {
	s := samples()[1].Chunks
	q := string(s[0].Data)
	q = q[:4+int(q[3])]
	a := string(s[1].Data)
	benchmark(b, q, a[:4+int(a[3])])
}
