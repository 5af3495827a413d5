package ask_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

// external lists external destinations and counts calls by name.
func external(a *asked, in servicemap.ExternalIn) (*servicemap.External, map[string]float64, map[string]float64) {
	in.Limit = 1000
	e := must[*servicemap.External](a.t)(servicemap.AskExternal(ctx, a.c, in))
	calls, shut := map[string]float64{}, map[string]float64{}
	for _, d := range e.Destinations {
		if d.Calls > 0 {
			calls[d.Name] = float64(d.Calls)
			if n := matching(a.t, a.c, d.KFL); n != d.Calls {
				a.t.Errorf("%s: %d calls, but %d for %s", d.Name, d.Calls, n, d.KFL)
			}
		} else {
			shut[d.Name] = float64(d.Connections)
		}
	}
	return e, calls, shut
}

func TestExternalByDomain(t *testing.T) {
	planted(t, 21, func(a *asked) {
		e, calls, shut := external(a, servicemap.ExternalIn{})
		a.groups("calls", calls, false)
		a.groups("sealed", shut, false)
		a.says("domains", e.Destinations)
	})
}

func TestExternalOfAWeek(t *testing.T) {
	planted(t, 38, func(a *asked) {
		e, calls, _ := external(a, servicemap.ExternalIn{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}})
		sum := 0.0
		for _, n := range calls {
			sum += n
		}
		a.is("readable", sum)
		a.groups("by_domain", calls, false)
		a.says("domains", e.Destinations)
	})
}

func TestNotOnTheAllowList(t *testing.T) {
	planted(t, 12, func(a *asked) {
		e, _, _ := external(a, servicemap.ExternalIn{Allow: append(a.list("allowed_cidrs"), a.list("allowed_domains")...)})
		var bad []servicemap.Destination
		for _, d := range e.Destinations {
			if !*d.Allowed {
				bad = append(bad, d)
			}
		}
		a.says("names", bad)
		if len(bad) != len(a.fact("names").Strings) || e.Violations != len(bad) {
			a.t.Errorf("%d violations, %d reported: %+v", len(bad), e.Violations, bad)
		}
		a.says("pods", bad)
	})
}

func TestAllowListForms(t *testing.T) {
	c := open(t, "shop.pcapng")
	for _, row := range []struct {
		what  string
		allow []string
		bad   int
	}{
		{"a domain without calls", []string{"example.org"}, 2},
		{"one domain", []string{"API.cards.example.net."}, 1},
		{"subdomains", []string{"*.example.net"}, 0},
		{"a domain is not its own subdomain", []string{"*.mail.example.net", "api.cards.example.net"}, 1},
		{"a range", []string{"203.0.113.0/24"}, 0},
		{"an address", []string{"203.0.113.80"}, 1},
		{"everything that a namespace calls", []string{"namespace:shop"}, 0},
		{"another namespace", []string{"namespace:other"}, 2},
	} {
		e, err := servicemap.AskExternal(ctx, c, servicemap.ExternalIn{Allow: row.allow})
		if err != nil || e.Violations != row.bad {
			t.Errorf("%s: %v, %d violations, want %d", row.what, err, e.Violations, row.bad)
		}
	}
	for _, bad := range []string{"", "*", "a*b.example", "http://example.net/", "10.0.0.0/33", "namespace:"} {
		if _, err := servicemap.AskExternal(ctx, c, servicemap.ExternalIn{Allow: []string{bad}}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	e, err := servicemap.AskExternal(ctx, c, servicemap.ExternalIn{Inside: []string{"203.0.113.0/24"}})
	if err != nil || len(e.Destinations) != 0 {
		t.Errorf("with all of it inside: %v, %v", e.Destinations, err)
	}
}

// TestCutRequestHasNoOtherDestination begins a capture after the request that a response answers: the other
// requests of the connection show its host.
func TestCutRequestHasNoOtherDestination(t *testing.T) {
	w := newWire()
	w.conns["c"] = &wireConn{client: [4]byte{10, 0, 0, 1}, server: [4]byte{203, 0, 113, 9}, sport: 40000, dport: 80, seq: 5_000_000, ack: 9_000_000}
	for i := range 3 {
		w.call(float64(10*i), 2, "c", 1, 9, 80, "GET / HTTP/1.1\r\nHost: api.example.net\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	w.packets = w.packets[1:]
	got := must[*servicemap.External](t)(servicemap.AskExternal(ctx, w.open(t), servicemap.ExternalIn{}))
	if len(got.Destinations) != 1 || got.Destinations[0].Name != "api.example.net" || got.Destinations[0].Connections != 1 || got.Destinations[0].Calls != 3 {
		t.Errorf("%+v", got.Destinations)
	}
}

// TestExternalBytesOfDifferentCuts has two recordings of parts of one connection: together they have all its bytes.
func TestExternalBytesOfDifferentCuts(t *testing.T) {
	part := func(from, to int) *wire {
		w := newWire()
		w.conns["c"] = &wireConn{client: [4]byte{10, 0, 0, 1}, server: [4]byte{203, 0, 113, 9}, sport: 40000, dport: 80, seq: 5_000_000, ack: 9_000_000}
		for i := range 4 {
			before := len(w.packets)
			w.call(float64(10*i), 2, "c", 1, 9, 80, "POST / HTTP/1.1\r\nHost: api.example.net\r\nContent-Length: 1000\r\n\r\n"+strings.Repeat("q", 1000), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"+strings.Repeat("a", 500))
			if i < from || i >= to {
				w.packets = w.packets[:before]
			}
		}
		return w
	}
	ask := func(list ...*wire) servicemap.Destination {
		e := must[*servicemap.External](t)(servicemap.AskExternal(ctx, openWires(t, list...), servicemap.ExternalIn{}))
		if len(e.Destinations) != 1 {
			t.Fatalf("%+v", e.Destinations)
		}
		return e.Destinations[0]
	}
	whole := ask(part(0, 4))
	for _, list := range [][]*wire{{part(0, 4), part(0, 4)}, {part(0, 3), part(1, 4)}, {part(0, 2), part(1, 3), part(2, 4)}} {
		if d := ask(list...); d.SentKB != whole.SentKB || d.ReceivedKB != whole.ReceivedKB || d.Calls != whole.Calls || d.Connections != whole.Connections {
			t.Errorf("%d bundles: %+v, the whole has %+v", len(list), d, whole)
		}
	}
}

// TestMessagesInRequestsHaveTheirDestination has requests that carry queries of DNS, which name no server, and a cut one.
func TestMessagesInRequestsHaveTheirDestination(t *testing.T) {
	query := "\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01"
	answer := "\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x07"
	w := newWire()
	w.conns["c"] = &wireConn{client: [4]byte{10, 0, 0, 1}, server: [4]byte{203, 0, 113, 9}, sport: 40000, dport: 80, seq: 5_000_000, ack: 9_000_000}
	for i := range 3 {
		w.call(float64(10*i), 2, "c", 1, 9, 80, fmt.Sprintf("POST /dns-query HTTP/1.1\r\nHost: doh.example.net\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n%s", len(query), query),
			fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer))
	}
	w.packets = w.packets[1:]
	c := w.open(t)
	got := must[*servicemap.External](t)(servicemap.AskExternal(ctx, c, servicemap.ExternalIn{}))
	if len(got.Destinations) != 1 || got.Destinations[0].Name != "doh.example.net" || got.Destinations[0].Connections != 1 || got.Destinations[0].Calls < 5 {
		t.Fatalf("%+v", got.Destinations)
	}
	if d := got.Destinations[0]; matching(t, c, d.KFL) != d.Calls {
		t.Errorf("%d calls, but %d for %s", d.Calls, matching(t, c, d.KFL), d.KFL)
	}
}

// TestCallsBetweenOutsideAddressesAreNoted has a client with a public address: no destination is listed, and the answer says why.
func TestCallsBetweenOutsideAddressesAreNoted(t *testing.T) {
	for _, first := range []byte{10, 198} {
		w := newWire()
		w.conns["c"] = &wireConn{client: [4]byte{first, 51, 0, 1}, server: [4]byte{203, 0, 113, 9}, sport: 40000, dport: 80, seq: 5_000_000, ack: 9_000_000}
		w.call(0, 2, "c", 1, 9, 80, "GET / HTTP/1.1\r\nHost: api.example.net\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		e := must[*servicemap.External](t)(servicemap.AskExternal(ctx, w.open(t), servicemap.ExternalIn{}))
		if noted := strings.Contains(strings.Join(e.Notes, "\n"), "between outside addresses"); noted != (first == 198) || (len(e.Destinations) == 0) != noted {
			t.Errorf("of a client at %d: %q, %+v", first, e.Notes, e.Destinations)
		}
	}
}

// TestEachOutsideClientCounts has two clients with public addresses, which are one node of the map.
func TestEachOutsideClientCounts(t *testing.T) {
	w := newWire()
	for i, conn := range []string{"a", "b", "c"} {
		w.conns[conn] = &wireConn{client: [4]byte{198, 51, 100, byte(1 + i/2)}, server: [4]byte{10, 0, 0, 9}, sport: uint16(40000 + i), dport: 80, seq: 5_000_000, ack: 9_000_000}
		w.call(float64(10*i), 2, conn, 1, 9, 80, "GET / HTTP/1.1\r\nHost: api\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	o := must[*servicemap.Overview](t)(servicemap.AskOverview(ctx, w.open(t), servicemap.OverviewIn{}))
	if len(o.Protocols) != 1 || o.Protocols[0].Clients != 2 || o.Protocols[0].Servers != 1 || len(o.Edges) != 1 {
		t.Errorf("%+v on %d edges, want 2 clients on 1 edge", o.Protocols, len(o.Edges))
	}
}
