package mysql

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
	for i, s := range samples() {
		var sent [2]string
		for _, c := range s.Chunks {
			sent[c.Dir] += string(c.Data)
		}
		f.Add(sent[0], sent[1], int64(i), byte(i))
	}
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
		r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, ServerPort: 3306, End: dissect.End(end % 6),
			Protocols: []*dissect.Protocol{Protocol()}, Roles: seed%2 == 0}, c...)
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
		}
		for _, e := range r.Rows() {
			b := e.Base()
			if b.Summary == "" || len(b.Cites) == 0 {
				t.Errorf("row without summary or citation: %+v", e)
			}
			all := b.Summary + b.Method.V + b.StatusText.V + b.AuthKind.V
			if h, ok := e.(*Row); ok {
				all += h.SQL.V + h.Command.V + h.Database.V + h.User.V + h.Application.V + h.Preview.V + h.Info.V + h.ErrState.V + h.ErrMessage.V + h.File.V +
					h.Version.V + strings.Join(h.Params, "") + strings.Join(h.ParamTypes, "") + strings.Join(h.Attributes, "") + strings.Join(h.Columns, "")
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
	c := e.NewConn(dissect.Info{ServerPort: 3306, RolesKnown: true, ConnectUs: -1})
	var p dissect.Packet
	for _, x := range login(baseCaps) {
		c.Data(x.Dir, x.Data, p)
	}
	q, a := []byte(req), []byte(resp)
	b.SetBytes(int64(len(q) + len(a)))
	b.ReportAllocs()
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
