package redis

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation is dissecttest.Fuzz with conversations of every kind.
func FuzzConversation(f *testing.F) {
	dissecttest.Fuzz(f, Protocol(),
		dissecttest.Sample{Chunks: chunks{client(cmd("SET", "a", "1") + cmd("GET", "a")), server("+OK\r\n$1\r\n1\r\n")}},
		dissecttest.Sample{Chunks: chunks{client(cmd("SUBSCRIBE", "a", "b") + cmd("UNSUBSCRIBE")), server("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n+message\r\n+a\r\n_\r\n")}},
		dissecttest.Sample{Chunks: chunks{client(cmd("PSYNC", "?", "-1")), server("+FULLRESYNC x 0\r\n$EOF:" + strings.Repeat("m", 40) + "\r\nabc" + strings.Repeat("m", 40) + cmd("PING"))}},
		dissecttest.Sample{Chunks: chunks{client(cmd("HELLO", "3", "AUTH", "u", "p") + "SET 'a b' \"\\x00\r\n"), server("%1\r\n|1\r\n+a\r\n*?\r\n.\r\n$?\r\n;1\r\na\r\n;0\r\n~1\r\n!3\r\nERR\r\n")}},
		dissecttest.Sample{Chunks: chunks{client(cmd("MONITOR") + cmd("XREAD", "STREAMS", "a", "0") + cmd("EVAL", "x", "1", "\xff")), server("+OK\r\n+1.1 [0 x] \"a\"\r\n*-1\r\n=5\r\ntxt:a\r\n")}})
}

func benchmark(b *testing.B, request, response string) {
	dissecttest.Bench(b, Protocol(), nil, dissecttest.Exchange(request, response))
}

func BenchmarkSet(b *testing.B) { benchmark(b, cmd("SET", "key:000000012345", "xxx"), "+OK\r\n") }

func BenchmarkLrange100(b *testing.B) {
	benchmark(b, cmd("LRANGE", "mylist", "0", "99"), "*100\r\n"+strings.Repeat(bulk("xxx"), 100))
}
