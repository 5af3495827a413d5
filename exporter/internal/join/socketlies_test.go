package join_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestFalseSocketOptions: options that no recorder writes may join separate connections, but
// accounts add up, the bundle can be rederived, and no call disappears without a report.
func TestFalseSocketOptions(t *testing.T) {
	const n = 24
	client := func(i int) netip.AddrPort { return netip.MustParseAddrPort(fmt.Sprintf("10.0.0.7:%d", 40000+i)) }
	server := netip.MustParseAddrPort("10.0.0.9:80")
	ends := func(local, remote netip.AddrPort) *pcapng.SocketEnds {
		return &pcapng.SocketEnds{Local: local, Remote: remote}
	}
	in := func(cookie, netns uint64, e *pcapng.SocketEnds) pcapng.Socket {
		return pcapng.Socket{Cookie: cookie, Netns: netns, Kind: frames.ByLastUser, PID: 7, Ends: e}
	}
	zero, six := netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[2001:db8::1]:80")
	for _, lie := range []struct {
		name  string
		sent  func(i int) pcapng.Socket // of the server's packets of a conversation
		taken func(i int) pcapng.Socket
		calls int    // complete calls
		says  string // an anomaly, if some are incomplete
	}{
		{"none", func(i int) pcapng.Socket { return in(uint64(i+1), 1, nil) }, nil, n, ""},
		{"the packet's own ends", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(server, client(i))) }, nil, n, ""},
		{"its ends swapped", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(client(i), server)) }, nil, n, ""},
		{"no ports", func(i int) pcapng.Socket {
			return in(uint64(i+1), 1, ends(netip.AddrPortFrom(server.Addr(), 0), netip.AddrPortFrom(client(i).Addr(), 0)))
		}, nil, n, ""},
		{"nothing but zeros", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(zero, zero)) }, nil, n, ""},
		{"one end twice", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(server, server)) }, nil, n, ""},
		{"IPv6 on IPv4", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(six, six)) }, nil, n, ""},
		{"those of the first conversation", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(server, client(0))) }, nil, 1, "data_after_fin"},
		{"those of the next conversation", func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(server, client((i+1)%n))) }, nil, n, ""},
		{"one cookie for all", func(i int) pcapng.Socket { return in(1, 1, nil) }, func(int) pcapng.Socket { return in(1, 1, nil) }, n, ""},
		{"one cookie for all, with ends", func(i int) pcapng.Socket { return in(1, 1, ends(server, client(i/2))) }, func(int) pcapng.Socket { return in(1, 1, nil) }, 1, "data_after_fin"},
		{"no cookie", func(i int) pcapng.Socket { return in(0, 1, ends(server, client(0))) }, nil, n, ""},
		{"another namespace in each direction", func(i int) pcapng.Socket { return in(uint64(i+1), uint64(i+2), nil) },
			func(i int) pcapng.Socket { return in(uint64(i+1), uint64(i+77), nil) }, n, ""},
		{"ends of what comes in", func(i int) pcapng.Socket { return in(uint64(i+1), 1, nil) },
			func(i int) pcapng.Socket { return in(uint64(i+1), 1, ends(server, client((i+1)%n))) }, n, ""},
	} {
		t.Run(lie.name, func(t *testing.T) {
			s := frames.NewSegment(t, ring.Header{}, workload.InterfaceComment{Cgroup: "/a"})
			for i := range n {
				s.Sent = lie.sent(i)
				if s.Taken = s.Sent; lie.taken != nil {
					s.Taken = lie.taken(i)
				} else {
					s.Taken.Ends = nil
				}
				s.Exchange(0, int64(100*i), client(i).String(), server.String(), fmt.Sprintf("/%d", i))
			}
			m, got := exportertest.Proven(t, exporter.Options{}, []string{s.Write(t.TempDir(), "a", nil)},
				"select count(*)::varchar || ' whole, ' || count(distinct path) || ' paths' from calls where outcome = 'ok'",
				"select coalesce(string_agg(distinct kind, ' '), '') from anomalies")
			if a := &m.Accounts; a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
				t.Errorf("accounts do not add up: %+v", *a)
			}
			if want := fmt.Sprintf("%d whole, %d paths", lie.calls, lie.calls); got[0] != want {
				t.Errorf("%s, want %s", got, want)
			}
			if !strings.Contains(got[1], lie.says) {
				t.Errorf("anomalies %s, want %s", got[1], lie.says)
			}
		})
	}
}
