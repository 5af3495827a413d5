package mysql

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation is dissecttest.Fuzz with conversations of every kind.
func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

func benchmark(b *testing.B, request, response string) {
	dissecttest.Bench(b, Protocol(), login(baseCaps), dissecttest.Exchange(request, response))
}

func BenchmarkUpdate(b *testing.B) {
	benchmark(b, query("UPDATE pgbench_tellers SET tbalance = tbalance + 1541 WHERE tid = 7"), okPacket(1, 1, 0, 3, ""))
}

func BenchmarkRows(b *testing.B) {
	list := make([]string, 1000)
	for i := range list {
		list[i] = str("12345") + str("some text of a row, 2024-01-01")
	}
	benchmark(b, query("select * from t"), result(1, 2, list...))
}
