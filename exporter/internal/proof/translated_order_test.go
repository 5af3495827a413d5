package proof_test

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestOrderOfViews moves each packet of an exchange that a capture shows before and behind its translation up to
// three places, as queues of network adapters do: it is one call, and one connection unless the first packet of
// one side was moved. docs/design/017-assembly.md has the limit of SYNs that come too late.
func TestOrderOfViews(t *testing.T) {
	const client, dialled, seen, server = "10.0.0.5:40000", "10.96.0.10:80", "10.0.0.1:61000", "10.0.1.7:8080"
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	n, m := uint32(len(ask)), uint32(len(answer))
	for _, stamp := range []uint32{99, 0} {
		type packet struct {
			src, dst string
			flags    byte
			seq, ack uint32
			data     string
		}
		var list []packet
		up := func(flags byte, seq, ack uint32, data string) {
			list = append(list, packet{client, dialled, flags, seq, ack, data}, packet{seen, server, flags, seq, ack, data})
		}
		down := func(flags byte, seq, ack uint32, data string) {
			list = append(list, packet{server, seen, flags, seq, ack, data}, packet{dialled, client, flags, seq, ack, data})
		}
		const isn, other = 70_000_000, 500_000_000
		up(0x02, isn, 0, "")
		down(0x12, other, isn+1, "")
		up(0x10, isn+1, other+1, "")
		up(0x18, isn+1, other+1, ask)
		down(0x18, other+1, isn+1+n, answer)
		up(0x11, isn+1+n, other+1+m, "")
		down(0x11, other+1+m, isn+2+n, "")
		for from := range list {
			for by := 1; by <= 3 && from+by < len(list); by++ {
				if late := from == 1 && (by == 3 || stamp == 0) || from == 0 && by > 1 && stamp == 0; late || (from+by)%3 > nightly.Of(0, 2) {
					continue
				}
				moved := slices.Clone(list)
				moved = slices.Insert(slices.Delete(moved, from, from+1), from+by, list[from])
				c := frames.NewViews()
				for _, p := range moved {
					c.TCP(p.src, p.dst, p.flags, p.seq, p.ack, stamp, p.data)
				}
				got := exportertest.Answers(t, &c.Buf, "select string_agg(complete::varchar, ', ') from calls", "select count(*)::varchar from connections")
				if got[0] != "true" || got[1] != "1" && from > 1 {
					t.Errorf("time stamp %d, packet %d %d places later: %v", stamp, from, by, got)
				}
			}
		}
	}
}
