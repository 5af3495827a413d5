package join

import (
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// TestNamesAreThoseThatTheClientLookedUp: many names share an address, as behind a content
// delivery network. A connection has the name that its own client asked for, and says so if
// only others asked.
func TestNamesAreThoseThatTheClientLookedUp(t *testing.T) {
	addr := netip.MustParseAddr
	shared, a, b, c := addr("203.0.113.7"), addr("10.1.0.1"), addr("10.1.0.2"), addr("10.1.0.3")
	w := NewIdentity(&workload.Index{}, false)
	learn := func(client netip.Addr, name string) { w.learn(client, name, shared, 1, table.Some(int64(5))) }
	named := func(client netip.Addr) (name, how string) {
		id := w.endpoint(party{1, flow.End{Addr: shared.As16(), Port: 6379}, [2]flow.End{{Addr: client.As16()}, {Addr: shared.As16(), Port: 6379}}, 6, 1}, nil)
		return w.made[id].DNSName.V, w.made[id].HowKnown
	}
	for _, tt := range []struct {
		does         string
		asks, calls  netip.Addr
		name         string
		wanted, from string
	}{
		{"nobody asked", netip.Addr{}, a, "", "", "none"},
		{"only another client asked", b, a, "Y.example.com.", "y.example.com", "dns_other"},
		{"the client asked before another one", a, a, "x.example.com", "x.example.com", "dns"},
		{"another client keeps its own", netip.Addr{}, b, "", "y.example.com", "dns"},
		{"a client that asked nothing has the newest answer", netip.Addr{}, c, "", "x.example.com", "dns_other"},
		{"the client asked for a second name", a, a, "z.example.com", "z.example.com", "dns"},
		{"another client keeps its own after that", netip.Addr{}, b, "", "y.example.com", "dns"},
	} {
		if tt.name != "" {
			learn(tt.asks, tt.name)
		}
		if name, from := named(tt.calls); name != tt.wanted || from != tt.from {
			t.Errorf("%s: the server is %q by %s, want %q by %s", tt.does, name, from, tt.wanted, tt.from)
		}
	}
	if us, ok := w.lookupTime(a, shared, 2); !ok || us != 5 {
		t.Errorf("look-up time %d %t, want 5", us, ok)
	}
	if _, ok := w.lookupTime(a, shared, 2); ok {
		t.Error("two connections have the time of one look-up")
	}
	if name, from := named(a); name != "z.example.com" || from != "dns" {
		t.Errorf("a used look-up has the name %q by %s", name, from)
	}
}

// TestNamesAreBounded: look-ups of many clients and addresses take no more than their limit.
func TestNamesAreBounded(t *testing.T) {
	w := NewIdentity(&workload.Index{}, false)
	last := netip.Addr{}
	for i := range uint32(maxNames) {
		last = netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)})
		w.learn(netip.MustParseAddr("10.0.0.1"), "a", last, 1, table.Opt[int64]{})
	}
	if len(w.names) > maxNames || len(w.namesBy) > maxNames {
		t.Errorf("%d names are kept, want at most %d", len(w.names), maxNames)
	}
	if _, how := w.nameFor(netip.MustParseAddr("10.0.0.1"), last); how != "dns" {
		t.Error("the newest name is forgotten")
	}
}
