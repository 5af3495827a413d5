package proof

import (
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// packet returns how socketViews sees a packet with its socket's own ends, "" if they are the
// same.
func (v *socketViews) packet(src, dst string, direction decode.Direction, cookie uint64, local, remote string) string {
	a, b := endOf(netip.MustParseAddrPort(src)), endOf(netip.MustParseAddrPort(dst))
	f := &flow.Packet{
		IP:      flow.IP{Src: a.Addr, Dst: b.Addr, Version: 4, Proto: protoTCP, Direction: direction},
		Segment: flow.Segment{SrcPort: a.Port, DstPort: b.Port},
	}
	s := &pcapng.Socket{Cookie: cookie}
	if local != "" {
		s.Ends = &pcapng.SocketEnds{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
	}
	v.see(&decode.Frame{Src: a.Addr, Dst: b.Addr, SrcPort: a.Port, DstPort: b.Port}, f, 1, s)
	text := func(a decode.Addr, port uint16) string { return netip.AddrPortFrom(a.Netip(), port).String() }
	return text(f.Src, f.SrcPort) + " " + text(f.Dst, f.DstPort)
}

func newSocketViews() *socketViews { return &socketViews{views: &views{}, pairs: &pairs{}} }

func TestSocketViews(t *testing.T) {
	const host, service, pod, mask = "10.1.2.1:5000", "10.96.0.10:80", "10.1.2.2:8080", "10.1.2.1:6000"
	const in, out = decode.DirIn, decode.DirOut
	type step struct {
		src, dst      string
		direction     decode.Direction
		cookie        uint64
		local, remote string
		want          string
	}
	const asked, answered = host + " " + service, service + " " + host
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"the server is in another namespace", []step{
			{host, pod, out, 1, host, service, asked},
			{host, pod, in, 2, "", "", asked},
			{pod, host, out, 2, "", "", answered},
			{host, pod, out, 1, host, service, asked},
			{service, host, in, 1, "", "", answered},
		}},
		{"and the client is masked", []step{
			{mask, pod, out, 1, host, service, asked},
			{mask, pod, in, 2, "", "", asked},
			{pod, mask, out, 2, "", "", answered},
		}},
		{"another socket gets the ports", []step{
			{host, pod, out, 1, host, service, asked},
			{host, pod, out, 3, "", "", host + " " + pod},
			{host, pod, in, 4, "", "", host + " " + pod},
		}},
		{"both are on one machine", []step{
			{host, pod, out, 1, host, service, asked},
			{host, pod, in, 2, "", "", asked},
			{service, host, out, 2, pod, host, answered},
			{service, host, in, 1, "", "", answered},
		}},
		{"ends that no socket can have", []step{
			{host, pod, out, 1, "10.1.2.1:0", service, host + " " + pod},
			{host, pod, out, 1, "0.0.0.0:1", service, host + " " + pod},
			{host, pod, out, 1, "[fd00::1]:1", "[fd00::2]:2", host + " " + pod},
			{host, pod, out, 1, host, host, host + " " + pod},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newSocketViews()
			for i, s := range c.steps {
				if got := v.packet(s.src, s.dst, s.direction, s.cookie, s.local, s.remote); got != s.want {
					t.Errorf("packet %d: %s, want %s", i, got, s.want)
				}
			}
		})
	}
}

// TestManySocketEnds: a socket with ever changing ends takes limited memory, which the reader
// reports.
func TestManySocketEnds(t *testing.T) {
	v := newSocketViews()
	for i := range uint32(3 * maxViews) {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7).String()
		v.packet(at, "10.1.2.2:80", decode.DirOut, 1, "10.1.2.1:9", at)
	}
	if n := len(v.known.m); n > maxViews || v.memory() < n*100 || v.memory() > 40<<20 {
		t.Errorf("%d ends in %d bytes", n, v.memory())
	}
	j := &Judge{socketViews: *v}
	if got := j.Memory(); got < v.memory() {
		t.Errorf("the judge keeps %d bytes, want at least %d", got, v.memory())
	}
}

// FuzzSocketViews reads packets with random ends. It must not panic, and it must see the same
// packet the same way twice.
func FuzzSocketViews(f *testing.F) {
	f.Add([]byte("\x01\x02\x01\x01\x03\x02\x04\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := newSocketViews()
		end := func(b byte) string {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1 + b&3}), 1+uint16(b>>2&3)).String()
		}
		for data = data[:min(len(data), 3000)]; len(data) >= 3; data = data[3:] {
			local, remote := "", ""
			if data[2]&8 != 0 {
				local, remote = end(data[0]>>4), end(data[1]>>4)
			}
			got := v.packet(end(data[0]), end(data[1]), decode.Direction(data[2]&3), uint64(data[2]>>4), local, remote)
			if again := v.packet(end(data[0]), end(data[1]), decode.Direction(data[2]&3), uint64(data[2]>>4), local, remote); got != again {
				t.Fatalf("%s, and the same packet again %s", got, again)
			}
		}
	})
}
