package mongodb

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

func benchmark(b *testing.B, request, response string) {
	dissecttest.Bench(b, Protocol(), nil, dissecttest.Exchange(request, response))
}

func BenchmarkFind(b *testing.B) { benchmark(b, msg(1, 0, 0, find), msg(8, 1, 0, found)) }

func BenchmarkBatch(b *testing.B) {
	var docs array
	for i := range 100 {
		docs = append(docs, d("_id", i, "status", "paid", "note", strings.Repeat("text ", 40)))
	}
	benchmark(b, msg(1, 0, 0, find), msg(8, 1, 0, d("cursor", d("firstBatch", docs, "id", int64(0)), "ok", 1.0)))
}
