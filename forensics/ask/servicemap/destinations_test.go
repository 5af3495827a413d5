package servicemap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/samples/traffic"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

// external lists external destinations and counts calls by name.
func external(a *asktest.Asked, in servicemap.ExternalIn) (*servicemap.External, map[string]float64, map[string]float64) {
	in.Limit = 1000
	e := asktest.Must[*servicemap.External](a.T)(servicemap.AskExternal(ctx, a.Case, in))
	calls, shut := map[string]float64{}, map[string]float64{}
	for _, d := range e.Destinations {
		if d.Calls > 0 {
			calls[d.Name] = float64(d.Calls)
			if n := asktest.Matching(a.T, a.Case, d.KFL); n != d.Calls {
				a.T.Errorf("%s: %d calls, but %d for %s", d.Name, d.Calls, n, d.KFL)
			}
		} else {
			shut[d.Name] = float64(d.Connections)
		}
	}
	return e, calls, shut
}

func TestExternalByDomain(t *testing.T) {
	asktest.Planted(t, 21, func(a *asktest.Asked) {
		e, calls, shut := external(a, servicemap.ExternalIn{})
		a.Groups("calls", calls, false)
		a.Groups("sealed", shut, false)
		a.Says("domains", e.Destinations)
	})
}

func TestExternalOfAWeek(t *testing.T) {
	asktest.Planted(t, 38, func(a *asktest.Asked) {
		e, calls, _ := external(a, servicemap.ExternalIn{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}})
		sum := 0.0
		for _, n := range calls {
			sum += n
		}
		a.Is("readable", sum)
		a.Groups("by_domain", calls, false)
		a.Says("domains", e.Destinations)
	})
}

func TestNotOnTheAllowList(t *testing.T) {
	asktest.Planted(t, 12, func(a *asktest.Asked) {
		e, _, _ := external(a, servicemap.ExternalIn{Allow: append(a.List("allowed_cidrs"), a.List("allowed_domains")...)})
		var bad []servicemap.Destination
		for _, d := range e.Destinations {
			if !*d.Allowed {
				bad = append(bad, d)
			}
		}
		a.Says("names", bad)
		if len(bad) != len(a.Fact("names").Strings) || e.Violations != len(bad) {
			a.T.Errorf("%d violations, %d reported: %+v", len(bad), e.Violations, bad)
		}
		a.Says("pods", bad)
	})
}

func TestAllowListForms(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
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
	w := &traffic.Capture{}
	for i := range 3 {
		w.Exchange(asktest.Ms(float64(10*i)), asktest.Ms(2), "c", "10.0.0.1", "203.0.113.9:80", "GET / HTTP/1.1\r\nHost: api.example.net\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	w.Cut(asktest.Ms(1), time.Hour)
	got := asktest.Must[*servicemap.External](t)(servicemap.AskExternal(ctx, asktest.OpenMade(t, w), servicemap.ExternalIn{}))
	if len(got.Destinations) != 1 || got.Destinations[0].Name != "api.example.net" || got.Destinations[0].Connections != 1 || got.Destinations[0].Calls != 3 {
		t.Errorf("%+v", got.Destinations)
	}
}

// TestExternalBytesOfDifferentCuts has two recordings of parts of one connection: together they have all its bytes.
func TestExternalBytesOfDifferentCuts(t *testing.T) {
	part := func(from, to int) *traffic.Capture {
		w := &traffic.Capture{}
		for i := range 4 {
			w.Exchange(asktest.Ms(float64(10*i)), asktest.Ms(2), "c", "10.0.0.1", "203.0.113.9:80", "POST / HTTP/1.1\r\nHost: api.example.net\r\nContent-Length: 1000\r\n\r\n"+strings.Repeat("q", 1000), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"+strings.Repeat("a", 500))
		}
		w.Cut(asktest.Ms(float64(10*from)), asktest.Ms(float64(10*to)))
		return w
	}
	ask := func(list ...*traffic.Capture) servicemap.Destination {
		e := asktest.Must[*servicemap.External](t)(servicemap.AskExternal(ctx, asktest.OpenAll(t, list...), servicemap.ExternalIn{}))
		if len(e.Destinations) != 1 {
			t.Fatalf("%+v", e.Destinations)
		}
		return e.Destinations[0]
	}
	whole := ask(part(0, 4))
	for _, list := range [][]*traffic.Capture{{part(0, 4), part(0, 4)}, {part(0, 3), part(1, 4)}, {part(0, 2), part(1, 3), part(2, 4)}} {
		if d := ask(list...); d.SentKB != whole.SentKB || d.ReceivedKB != whole.ReceivedKB || d.Calls != whole.Calls || d.Connections != whole.Connections {
			t.Errorf("%d bundles: %+v, the whole has %+v", len(list), d, whole)
		}
	}
}

// TestMessagesInRequestsHaveTheirDestination has requests that carry queries of DNS, which name no server, and a cut one.
func TestMessagesInRequestsHaveTheirDestination(t *testing.T) {
	query := "\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01"
	answer := "\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x07"
	w := &traffic.Capture{}
	for i := range 3 {
		w.Exchange(asktest.Ms(float64(10*i)), asktest.Ms(2), "c", "10.0.0.1", "203.0.113.9:80", fmt.Sprintf("POST /dns-query HTTP/1.1\r\nHost: doh.example.net\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n%s", len(query), query),
			fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer))
	}
	w.Cut(asktest.Ms(1), time.Hour)
	c := asktest.OpenMade(t, w)
	got := asktest.Must[*servicemap.External](t)(servicemap.AskExternal(ctx, c, servicemap.ExternalIn{}))
	if len(got.Destinations) != 1 || got.Destinations[0].Name != "doh.example.net" || got.Destinations[0].Connections != 1 || got.Destinations[0].Calls < 5 {
		t.Fatalf("%+v", got.Destinations)
	}
	if d := got.Destinations[0]; asktest.Matching(t, c, d.KFL) != d.Calls {
		t.Errorf("%d calls, but %d for %s", d.Calls, asktest.Matching(t, c, d.KFL), d.KFL)
	}
}

// TestCallsBetweenOutsideAddressesAreNoted has a client with a public address: no destination is listed, and the answer says why.
func TestCallsBetweenOutsideAddressesAreNoted(t *testing.T) {
	for _, first := range []byte{10, 198} {
		w := &traffic.Capture{}
		w.Exchange(0, asktest.Ms(2), "c", fmt.Sprintf("%d.51.0.1", first), "203.0.113.9:80", "GET / HTTP/1.1\r\nHost: api.example.net\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		e := asktest.Must[*servicemap.External](t)(servicemap.AskExternal(ctx, asktest.OpenMade(t, w), servicemap.ExternalIn{}))
		if noted := strings.Contains(strings.Join(e.Notes, "\n"), "between outside addresses"); noted != (first == 198) || (len(e.Destinations) == 0) != noted {
			t.Errorf("of a client at %d: %q, %+v", first, e.Notes, e.Destinations)
		}
	}
}

// TestEachOutsideClientCounts has two clients with public addresses, which are one node of the map.
func TestEachOutsideClientCounts(t *testing.T) {
	w := &traffic.Capture{}
	for i, conn := range []string{"a", "b", "c"} {
		w.Exchange(asktest.Ms(float64(10*i)), asktest.Ms(2), conn, fmt.Sprintf("198.51.100.%d", 1+i/2), "10.0.0.9:80", "GET / HTTP/1.1\r\nHost: api\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	o := asktest.Must[*servicemap.Overview](t)(servicemap.AskOverview(ctx, asktest.OpenMade(t, w), servicemap.OverviewIn{}, nil))
	if len(o.Protocols) != 1 || o.Protocols[0].Clients != 2 || o.Protocols[0].Servers != 1 || len(o.Edges) != 1 {
		t.Errorf("%+v on %d edges, want 2 clients on 1 edge", o.Protocols, len(o.Edges))
	}
}
