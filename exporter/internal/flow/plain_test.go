package flow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// sealed is an encryption to test with: ENC!, then records of a length and bytes that
// were flipped.
func sealed() *dissect.Protocol {
	return &dissect.Protocol{Name: "sealed", Transports: []dissect.Transport{dissect.TCP, dissect.UDP},
		Detect: func(_ dissect.Dir, head []byte) dissect.Verdict {
			if len(head) < 4 {
				return dissect.More
			}
			if string(head[:4]) == "ENC!" {
				return dissect.Yes
			}
			return dissect.No
		},
		New: func(c *dissect.Conn) dissect.Dissector { return &opener{c: c, inner: c.NewInner("sealed")} },
		Row: &sealedRow{}}
}

type sealedRow struct{ table.Call }

type opener struct {
	dissect.Stateless
	c, inner *dissect.Conn
}

func (o *opener) Read(in *dissect.Input) (int, error) {
	if strings.HasPrefix(string(in.Data), "ENC!") {
		return 4, nil
	}
	if len(in.Data) < 1 || len(in.Data) < 1+int(in.Data[0]) {
		return 0, nil
	}
	n := 1 + int(in.Data[0])
	o.inner.Feed(in, 0, n, flip(in.Data[1:n]))
	return n, nil
}

func (o *opener) Gap(*dissect.Input, int64) bool { return true }
func (o *opener) Close(why dissect.End)          { o.inner.Close(why, o.c.Now()) }

func flip(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ 0x55
	}
	return out
}

func record(text string) string { return string(rune(len(text))) + string(flip([]byte(text))) }

// TestPlainHasWhatCameOutOfEncryption plays a request in two records of which the first
// is in two segments that come in the wrong order.
func TestPlainHasWhatCameOutOfEncryption(t *testing.T) {
	one, two, answer := record("GET / HT"), record("TP/1.1\r\nHost: a\r\n\r\n"), record("HTTP/1.1 204 No Content\r\n\r\n")
	sent := "ENC!" + one
	steps := []step{
		{10, cl, sv, syn, 100, 0, "", 0, 1}, {20, sv, cl, syn | ack, 500, 101, "", 0, 2},
		{30, cl, sv, ack, 101, 501, sent[:7], 0, 3},
		{50, cl, sv, ack, 101 + uint32(len(sent)), 501, two, 0, 5},
		{60, cl, sv, ack, 108, 501, sent[7:], 0, 4},
		{70, sv, cl, ack, 501, 101 + uint32(len(sent)+len(two)), "ENC!" + answer, 0, 6},
	}
	for _, plain := range []bool{true, false} {
		s := NewShard(0, Options{Protocols: func() []*dissect.Protocol { return []*dissect.Protocol{http1.Protocol(), sealed()} }, Repanic: true, Plain: plain})
		out := &Batch{}
		var packets []Packet
		var mine []int32
		for i, st := range steps {
			packets, mine = append(packets, st.packet(i)), append(mine, int32(i))
		}
		s.Run(packets, mine, out)
		var got []string
		for i := range out.Plain {
			p := &out.Plain[i]
			src, port := p.Ends[0].Addr, p.Ends[0].Port
			got = append(got, fmt.Sprintf("at %d by %d, %d ns, server %v, of %s:%d, %s: %q", p.At, p.No, p.Time, p.Server, src, port, p.Protocol, out.PlainBytes(p)))
		}
		want := []string{
			`at 4 by 4, 60 ns, server false, of 10.0.0.1:40000, http1: "GET / HT"`,
			`at 4 by 3, 50 ns, server false, of 10.0.0.1:40000, http1: "TP/1.1\r\nHost: a\r\n\r\n"`,
			`at 5 by 5, 70 ns, server true, of 10.0.0.1:40000, http1: "HTTP/1.1 204 No Content\r\n\r\n"`,
		}
		if !plain {
			want = nil
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("plain %v: %s\nwant %s", plain, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if len(out.Calls) != 1 || out.Rows() < len(want)+1 {
			t.Errorf("plain %v: %d calls, %d rows", plain, len(out.Calls), out.Rows())
		}
		if out.Reset(); len(out.Plain) != 0 || len(out.plain) != 0 {
			t.Error("a batch is not empty after Reset")
		}
	}
}
