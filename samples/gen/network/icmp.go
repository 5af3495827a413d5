package network

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

func makeICMP(ctx context.Context, out string) error {
	l, err := lab.New("icmp", "", lab.Host{Name: "client", IP: "10.1.8.5", IP6: "fd00:8::5"}, lab.Host{Name: "server", IP: "10.1.8.20", IP6: "fd00:8::20"})
	if err != nil {
		return err
	}
	defer l.Close()
	r, err := l.Record(filepath.Join(out, "icmp.pcap"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "icmp-client"); err != nil {
		return err
	}
	return r.Stop()
}

// icmpClient sends echo requests over IPv4 and IPv6, the last ones large enough for fragments, sends to
// a closed UDP port, and requests a timestamp.
func icmpClient(context.Context, []string) error {
	c4, err := icmp.ListenPacket("ip4:icmp", "10.1.8.5")
	if err != nil {
		return err
	}
	defer c4.Close()
	c6, err := icmp.ListenPacket("ip6:ipv6-icmp", "fd00:8::5")
	if err != nil {
		return err
	}
	defer c6.Close()
	for seq := 1; seq <= 4; seq++ {
		size := 56
		if seq == 4 {
			size = 4000 // three fragments
		}
		e := &icmp.Echo{ID: 0x1234, Seq: seq, Data: make([]byte, size)}
		for i := range e.Data {
			e.Data[i] = byte(i)
		}
		if err := echo(c4, &icmp.Message{Type: ipv4.ICMPTypeEcho, Body: e}, "10.1.8.20", true); err != nil {
			return err
		}
		if err := echo(c6, &icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: e}, "fd00:8::20", true); err != nil {
			return err
		}
	}
	u, err := net.Dial("udp", "10.1.8.20:9") // closed: port unreachable
	if err != nil {
		return err
	}
	defer u.Close()
	if _, err := fmt.Fprint(u, "anyone there?"); err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond)
	return echo(c4, &icmp.Message{Type: ipv4.ICMPTypeTimestamp, Body: &icmp.Echo{ID: 1, Seq: 1, Data: make([]byte, 12)}}, "10.1.8.20", false)
}

func echo(c *icmp.PacketConn, m *icmp.Message, to string, answered bool) error {
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: net.ParseIP(to)}); err != nil {
		return err
	}
	if !answered {
		return nil
	}
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	for buf := make([]byte, 65536); ; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("waiting for the echo of %s: %w", to, err)
		}
		proto := 1
		if _, v4 := m.Type.(ipv4.ICMPType); !v4 {
			proto = 58
		}
		got, err := icmp.ParseMessage(proto, buf[:n])
		if err == nil && from.String() == to && (got.Type == ipv4.ICMPTypeEchoReply || got.Type == ipv6.ICMPTypeEchoReply) {
			return nil
		}
	}
}
