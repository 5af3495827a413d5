package nats

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

func BenchmarkRequest(b *testing.B) {
	dissecttest.Bench(b, Protocol(), begun(client("SUB _INBOX.a.* 1\r\n")), chunks{client(pub("price", "_INBOX.a.1", strings.Repeat("tea ", 50))), server(msg("_INBOX.a.1", "1", "", strings.Repeat("4.20 ", 50)))})
}

func BenchmarkPublish(b *testing.B) {
	dissecttest.Bench(b, Protocol(), begun(), chunks{client(strings.Repeat(pub("log", "", strings.Repeat("line ", 200)), 10))})
}
