package join_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestAPodDialsItsNode: a service address that becomes a port of the pod's own node. The pod
// sees the dialled address, and the node's socket has its own ends.
func TestAPodDialsItsNode(t *testing.T) {
	client, service, own := netip.MustParseAddrPort("10.1.1.2:40000"), netip.MustParseAddrPort("10.96.0.10:80"), netip.MustParseAddrPort("10.1.1.1:8080")
	ask, answer := "GET / HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	question := frames.Query(77, "svc.local")
	const syn, synAck, push = 2, 0x12, 0x18
	timed := []byte{8, 10, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1}
	tcp := func(seq, ack uint32, flags byte, options []byte, text string) func(a, b netip.AddrPort) []byte {
		return func(a, b netip.AddrPort) []byte {
			h := make([]byte, 20, 64)
			binary.BigEndian.PutUint16(h, a.Port())
			binary.BigEndian.PutUint16(h[2:], b.Port())
			binary.BigEndian.PutUint32(h[4:], seq)
			binary.BigEndian.PutUint32(h[8:], ack)
			h[12], h[13], h[14] = byte(5+len(options)/4)<<4, flags, 32
			return append(append(h, options...), text...)
		}
	}
	udp := func(text string) func(a, b netip.AddrPort) []byte {
		return func(a, b netip.AddrPort) []byte {
			u := binary.BigEndian.AppendUint16(nil, a.Port())
			u = binary.BigEndian.AppendUint16(u, b.Port())
			return append(binary.BigEndian.AppendUint16(u, uint16(8+len(text))), append([]byte{0, 0}, text...)...)
		}
	}
	type message struct {
		back bool
		ends bool // the node's packet has the ends of its socket
		make func(a, b netip.AddrPort) []byte
	}
	n, m := uint32(len(ask)), uint32(len(answer))
	for _, tt := range []struct {
		name  string
		proto byte
		sent  []message
	}{
		{"TCP", 6, []message{{make: tcp(100, 0, syn, timed, "")}, {back: true, make: tcp(500, 101, synAck, timed, "")}, {make: tcp(101, 501, push, nil, ask)},
			{back: true, ends: true, make: tcp(501, 101+n, push, nil, answer)}, {make: tcp(101+n, 501+m, 0x10, nil, "")}}},
		{"TCP without time stamps", 6, []message{{make: tcp(100, 0, syn, nil, "")}, {back: true, make: tcp(500, 101, synAck, nil, "")}, {make: tcp(101, 501, push, nil, ask)},
			{back: true, ends: true, make: tcp(501, 101+n, push, nil, answer)}, {make: tcp(101+n, 501+m, 0x10, nil, "")}}},
		{"datagrams", 17, []message{{make: udp(question)}, {back: true, ends: true, make: udp(frames.Reply(question, 1))}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/pod"}, workload.InterfaceComment{Cgroup: "/node"})
			for i, x := range tt.sent {
				pod, node := pcapng.Socket{Cookie: 4, Netns: 2, Kind: frames.ByLastUser, PID: 7}, pcapng.Socket{Cookie: 5, Netns: 1, Kind: frames.ByLastUser, PID: 8}
				if x.ends {
					node.Ends = &pcapng.SocketEnds{Local: own, Remote: client}
				}
				ms := int64(10 * i)
				if x.back {
					s.Sent, s.Taken = node, pod
					s.Packet(1, ms, true, frames.CookedIP(tt.proto, service, client, x.make(service, client), true))
					s.Packet(0, ms+1, false, frames.CookedIP(tt.proto, service, client, x.make(service, client), false))
					continue
				}
				s.Sent, s.Taken = pod, node
				s.Packet(0, ms, true, frames.CookedIP(tt.proto, client, service, x.make(client, service), true))
				s.Packet(1, ms+1, false, frames.CookedIP(tt.proto, client, own, x.make(client, own), false))
			}
			_, got := exportertest.Proven(t, exporter.Options{}, []string{s.Write(t.TempDir(), "a", nil)},
				"select string_agg(concat_ws(' ', src_ip, src_pid, dst_ip, dst_port, dst_pid, outcome), ', ') from calls",
				"select string_agg(concat_ws(' ', dst_ip, flows), ', ') from connections")
			want := []string{"10.1.1.2 7 10.96.0.10 " + "80 8 ok", "10.96.0.10 3"}
			if got[0] != want[0] || got[1] != want[1] {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
