package quic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
)

// receipts is a sink that also gets receipts.
type receipts struct {
	dissecttest.Result
	list []dissect.Receipt
}

func (r *receipts) Receipt(_ *dissect.Conn, x dissect.Receipt) { r.list = append(r.list, x) }

// TestDelivered has look-ups over QUIC that arrived or did not, with their answers. Packets 0 to 2 are the handshake.
func TestDelivered(t *testing.T) {
	const name = "\x07example\x03com\x00\x00\x01\x00\x01"
	framed := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	ask := framed("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name)
	answer := framed("\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + name + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01")
	asks := func(f *fake) { f.send(oneRTT, client, streamFrame(0, 0, ask, true)) }
	answers := func(f *fake) { f.send(oneRTT, server, streamFrame(0, 0, answer, true)) }
	acks := func(f *fake, r role, largest, below uint64) { f.send(oneRTT, r, frame(frameAck, largest, 0, 0, below)) }
	ping := func(f *fake, r role) { f.send(oneRTT, r, frame(framePing)) }
	wait := func(f *fake) { f.list = append(f.list, datagram{}) } // 2 s
	for _, c := range []struct {
		name string
		do   func(f *fake)
		want string
	}{
		{"acknowledged and answered", func(f *fake) { asks(f); acks(f, server, 0, 0); answers(f); acks(f, client, 1, 1) }, "request yes by 4, response yes by 6"},
		{"acknowledged together with the answer", func(f *fake) {
			asks(f)
			f.send(oneRTT, server, frame(frameAck, 0, 0, 0, 0), streamFrame(0, 0, answer, true))
			acks(f, client, 0, 0)
		}, "request yes by 4, response yes by 5"},
		{"in one packet and answered", func(f *fake) { asks(f); answers(f); acks(f, client, 0, 0) }, "request yes by 4, response yes by 5"},
		{"acknowledged, not answered", func(f *fake) { asks(f); acks(f, server, 0, 0); wait(f); ping(f, client) }, "request yes by 4"},
		{"never acknowledged", func(f *fake) { asks(f); wait(f); asks(f); wait(f); ping(f, client) }, "request no"},
		{"sent again, and that is acknowledged", func(f *fake) {
			asks(f)
			wait(f)
			asks(f)
			acks(f, server, 1, 0)
			wait(f)
			ping(f, client)
		}, "request yes by 5"},
		{"in two packets, of which the first is lost", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, ask[:9], false))
			f.send(oneRTT, client, streamFrame(0, 9, ask[9:], true))
			acks(f, server, 1, 0)
			wait(f)
			ping(f, client)
		}, "request no by 5"},
		{"a packet of the server is missing", func(f *fake) { asks(f); ping(f, server); f.next[spaceApp][server]++; wait(f); ping(f, server) }, "request unknown"},
		{"the capture ends at once", func(f *fake) { asks(f); ping(f, server) }, "request unknown"},
		{"the answer is never acknowledged", func(f *fake) {
			asks(f)
			acks(f, server, 0, 0)
			acks(f, client, 0, 0)
			answers(f)
			wait(f)
			ping(f, server)
		}, "request yes by 4, response no by 5"},
		{"the answer is sent again until it is acknowledged", func(f *fake) { asks(f); answers(f); wait(f); answers(f); acks(f, client, 1, 0) }, "request yes by 4, response yes by 6"},
		{"an old copy of acknowledged bytes waits for nothing", func(f *fake) {
			asks(f)
			answers(f)
			acks(f, client, 0, 0)
			answers(f)
			wait(f)
			ping(f, server)
		}, "request yes by 4, response yes by 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, out := begin(t, "doq"), &receipts{}
			c.do(f)
			e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(f.store()), tls.Protocol(nil), dns.Protocol()}, nil, out, true)
			if err != nil {
				t.Fatal(err)
			}
			conn := e.NewConn(dissect.Info{Transport: dissect.UDP, ClientPort: 40000, ServerPort: 853, ConnectUs: -1})
			at := dissect.Packet{No: -1, Time: 1_700_000_000_000_000_000}
			for _, d := range f.list {
				if d.data == nil {
					at.Time += 2e9
					continue
				}
				at.No, at.Time = at.No+1, at.Time+100_000
				conn.Datagram(d.dir, d.data, at)
			}
			conn.Close(dissect.EndTimeout, at)
			var got []string
			for _, e := range out.Emissions {
				b := e.Row.Base()
				if b.Protocol != "dns" {
					continue
				}
				text := "request " + b.RequestDelivered.V
				if b.RequestAck.OK {
					text += fmt.Sprintf(" by %d", b.RequestAck.V)
				}
				got = append(got, text)
				for _, r := range out.list {
					if r.Ticket != 0 && r.Ticket == e.Ticket {
						got = append(got, fmt.Sprintf("response %s by %d", r.Delivered, r.Ack))
					}
				}
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if n := e.Held(); n != 0 {
				t.Errorf("%d bytes held after the end", n)
			}
		})
	}
}

// TestManyUnacked has more frames than are followed: what arrived is unknown, and nothing is kept.
func TestManyUnacked(t *testing.T) {
	q := &conn{row: &Row{}}
	q.app.open = map[int64]*stream{0: {}}
	for i := range maxUnacked + 1 {
		q.sends(sealed{role: client}, uint64(i), q.app.open[0], 0, uint64(i), 1)
	}
	a := q.StreamAcked(0, dissect.ToServer, 0, 1)
	if u := &q.unacked[client]; !u.full || u.size() != 0 || a.Whole || a.Shown {
		t.Errorf("%d frames, %+v", len(u.list), a)
	}
}
