package redis

import (
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation reads random bytes in both directions, split anywhere, with gaps. It must not
// panic, must account for every byte and hold no memory at the end, and all text must be valid.
func FuzzConversation(f *testing.F) {
	f.Add(cmd("SET", "a", "1")+cmd("GET", "a"), "+OK\r\n$1\r\n1\r\n", int64(1), byte(0))
	f.Add(cmd("SUBSCRIBE", "a", "b")+cmd("UNSUBSCRIBE"), "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n+message\r\n+a\r\n_\r\n", int64(2), byte(1))
	f.Add(cmd("PSYNC", "?", "-1"), "+FULLRESYNC x 0\r\n$EOF:"+strings.Repeat("m", 40)+"\r\nabc"+strings.Repeat("m", 40)+cmd("PING"), int64(3), byte(4))
	f.Add(cmd("HELLO", "3", "AUTH", "u", "p")+"SET 'a b' \"\\x00\r\n", "%1\r\n|1\r\n+a\r\n*?\r\n.\r\n$?\r\n;1\r\na\r\n;0\r\n~1\r\n!3\r\nERR\r\n", int64(4), byte(2))
	f.Add(cmd("MONITOR")+cmd("XREAD", "STREAMS", "a", "0")+cmd("EVAL", "x", "1", "\xff"), "+OK\r\n+1.1 [0 x] \"a\"\r\n*-1\r\n=5\r\ntxt:a\r\n", int64(5), byte(0))
	f.Fuzz(func(t *testing.T, toServer, toClient string, seed int64, end byte) {
		rnd := rand.New(rand.NewSource(seed))
		var c chunks
		for toServer != "" || toClient != "" {
			from, dir := &toServer, dissect.ToServer
			if toServer == "" || toClient != "" && rnd.Intn(2) == 0 {
				from, dir = &toClient, dissect.ToClient
			}
			n := 1 + rnd.Intn(min(len(*from), 1+rnd.Intn(80)))
			k := dissecttest.Chunk{Dir: dir, Data: []byte((*from)[:n])}
			if rnd.Intn(12) == 0 {
				k.Gap = int64(1 + rnd.Intn(20))
			}
			c, *from = append(c, k), (*from)[n:]
		}
		r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, ServerPort: 6379, End: dissect.End(end % 6),
			Protocols: []*dissect.Protocol{Protocol()}, Roles: seed%2 == 0}, c...)
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
		}
		for _, e := range r.Rows() {
			b := e.Base()
			if b.Summary == "" || len(b.Cites) == 0 {
				t.Errorf("row without summary or citation: %+v", e)
			}
			all := b.Summary + b.Method.V + b.StatusText.V
			if h, ok := e.(*Row); ok {
				all += h.Command.V + h.Key.V + h.Reply.V + h.ErrText.V + h.Channel.V + h.User.V + h.Push.V
			}
			if !utf8.ValidString(all) {
				t.Errorf("text that is not UTF-8: %q", all)
			}
		}
	})
}

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func benchmark(b *testing.B, req, resp string) {
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 6379, RolesKnown: true, ConnectUs: -1})
	q, a := []byte(req), []byte(resp)
	b.SetBytes(int64(len(q) + len(a)))
	b.ReportAllocs()
	var p dissect.Packet
	for b.Loop() {
		p.No++
		p.Time += 1000
		c.Data(dissect.ToServer, q, p)
		p.No++
		p.Time += 1000
		c.Data(dissect.ToClient, a, p)
	}
	if c.Calls() < int64(b.N) {
		b.Fatal("calls were lost")
	}
}

func BenchmarkSet(b *testing.B) { benchmark(b, cmd("SET", "key:000000012345", "xxx"), "+OK\r\n") }

func BenchmarkLrange100(b *testing.B) {
	benchmark(b, cmd("LRANGE", "mylist", "0", "99"), "*100\r\n"+strings.Repeat(bulk("xxx"), 100))
}
