package proof

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// longHeader is the start of a QUIC version 1 packet.
func longHeader(first byte, to, from string) []byte {
	p := append([]byte{first, 0, 0, 0, 1, byte(len(to))}, to...)
	p = append(append(p, byte(len(from))), from...)
	return append(p, make([]byte, 30)...)
}

// endsHash is a hash of two ends in any order.
func endsHash(a, b flow.End) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, tupleOf(a, b))
	return h.Sum64()
}

func shortHeader(to string) []byte { return append(append([]byte{0x41}, to...), make([]byte, 30)...) }

func TestQUICViews(t *testing.T) {
	end := func(s string) flow.End {
		a := netip.MustParseAddrPort(s)
		return flow.End{Addr: decode.Addr(a.Addr().As16()), Port: a.Port()}
	}
	client, server := end("10.0.0.1:50000"), end("10.0.0.9:443")
	moved, other := end("10.7.7.7:1234"), end("10.8.8.8:4321")
	pod, node := end("10.244.0.5:8443"), end("10.0.0.2:61000")
	third := end("10.0.0.2:61001")
	const cid, sid, odcid = "client01", "server01", "random99"
	type step struct {
		name     string
		src, dst flow.End
		data     []byte
		dialled  *[2]flow.End // nil: no view
		seen     [2]flow.End
	}
	was := &[2]flow.End{client, server}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"an id that another connection claims stays its owner's", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"server's first", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"another connection", other, pod, longHeader(0xc0, "random42", "client42"), nil, [2]flow.End{}},
			{"its answer with the server's id", pod, other, longHeader(0xc0, "client42", sid), nil, [2]flow.End{}},
			{"one with the client's id", other, node, longHeader(0xc0, "random43", cid), nil, [2]flow.End{}},
			{"its answer", node, other, longHeader(0xc0, cid, "server43"), nil, [2]flow.End{}},
			{"data after moving", moved, server, shortHeader(sid), was, [2]flow.End{moved, server}},
			{"answer", server, moved, shortHeader(cid), was, [2]flow.End{moved, server}},
		}},
		{"a client that moves keeps its connection", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"server's first", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"data", client, server, shortHeader(sid), nil, [2]flow.End{}},
			{"data after moving", moved, server, shortHeader(sid), was, [2]flow.End{moved, server}},
			{"answer", server, moved, shortHeader(cid), was, [2]flow.End{moved, server}},
			{"somebody else's id", other, server, shortHeader("nobody01"), nil, [2]flow.End{}},
			{"new connection on the old ports", moved, server, longHeader(0xc0, "random42", "client42"), nil, [2]flow.End{}},
			{"its answer", server, moved, longHeader(0xc0, "client42", "server42"), nil, [2]flow.End{}},
		}},
		{"the server is seen first under new ports", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"server's first", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"server to moved", server, moved, shortHeader(cid), was, [2]flow.End{moved, server}},
		}},
		{"before and after a translation", []step{
			{"as dialled", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"as translated", node, pod, longHeader(0xc0, odcid, cid), was, [2]flow.End{node, pod}},
			{"answer of the pod", pod, node, longHeader(0xc0, cid, sid), was, [2]flow.End{node, pod}},
			{"answer as dialled", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"data as translated", node, pod, shortHeader(sid), was, [2]flow.End{node, pod}},
			{"data as dialled", client, server, shortHeader(sid), nil, [2]flow.End{}},
		}},
		{"a translator that forgets gives the client another port", []step{
			{"as dialled", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"as translated", node, pod, longHeader(0xc0, odcid, cid), was, [2]flow.End{node, pod}},
			{"data before the answer", moved, pod, shortHeader(sid), nil, [2]flow.End{}},
			{"answer of the pod", pod, node, longHeader(0xc0, cid, sid), was, [2]flow.End{node, pod}},
			{"answer as dialled", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"data as dialled", client, server, shortHeader(sid), nil, [2]flow.End{}},
			{"data with another port", third, pod, shortHeader(sid), was, [2]flow.End{third, pod}},
			{"data of the pod to it", pod, third, shortHeader(cid), was, [2]flow.End{third, pod}},
			{"data as dialled with an issued id", client, server, shortHeader("issued01"), nil, [2]flow.End{}},
			{"the same with another port", third, pod, shortHeader("issued01"), was, [2]flow.End{third, pod}},
			{"data to another server", third, other, shortHeader(sid), nil, [2]flow.End{}},
			{"data from another server", other, third, shortHeader(cid), nil, [2]flow.End{}},
		}},
		{"before and after a translation, with Retry", []step{
			{"as dialled", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"as translated", node, pod, longHeader(0xc0, odcid, cid), was, [2]flow.End{node, pod}},
			{"Retry of the pod", pod, node, longHeader(0xf0, cid, "retry001"), was, [2]flow.End{node, pod}},
			{"Retry as dialled", server, client, longHeader(0xf0, cid, "retry001"), nil, [2]flow.End{}},
			{"client's second as dialled", client, server, longHeader(0xc0, "retry001", cid), nil, [2]flow.End{}},
			{"client's second as translated", node, pod, longHeader(0xc0, "retry001", cid), was, [2]flow.End{node, pod}},
			{"answer of the pod", pod, node, longHeader(0xc0, cid, sid), was, [2]flow.End{node, pod}},
			{"answer as dialled", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"data as translated", node, pod, shortHeader(sid), was, [2]flow.End{node, pod}},
			{"a third id of the pod", pod, node, longHeader(0xc0, cid, "server03"), nil, [2]flow.End{}},
		}},
		{"between two translations, where a bridge shows only the client", []step{
			{"as dialled", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"on the bridge", client, pod, longHeader(0xc0, odcid, cid), was, [2]flow.End{client, pod}},
			{"as translated", node, pod, longHeader(0xc0, odcid, cid), was, [2]flow.End{node, pod}},
			{"a copy that is not between them", client, other, longHeader(0xc0, odcid, cid), was, [2]flow.End{client, other}},
			{"data on the bridge before the answer", client, pod, shortHeader(sid), nil, [2]flow.End{}},
			{"answer of the pod", pod, node, longHeader(0xc0, cid, sid), was, [2]flow.End{node, pod}},
			{"answer as dialled", server, client, longHeader(0xc0, cid, sid), nil, [2]flow.End{}},
			{"data on the bridge", client, pod, shortHeader(sid), was, [2]flow.End{client, pod}},
			{"data of the copy", client, other, shortHeader(sid), nil, [2]flow.End{}},
		}},
		{"before and after a translation, a client without an id", []step{
			{"as dialled", client, server, longHeader(0xc0, odcid, ""), nil, [2]flow.End{}},
			{"as translated", node, pod, longHeader(0xc0, odcid, ""), was, [2]flow.End{node, pod}},
			{"answer of the pod", pod, node, longHeader(0xc0, "", sid), was, [2]flow.End{node, pod}},
			{"the same of another server", server, node, longHeader(0xc0, "", "server02"), nil, [2]flow.End{}},
			{"answer as dialled", server, client, longHeader(0xc0, "", sid), nil, [2]flow.End{}},
			{"another id of the pod after the answer", pod, node, longHeader(0xc0, "", "server03"), nil, [2]flow.End{}},
		}},
		{"data before and after a translation, a client without an id", []step{
			{"as dialled", client, server, longHeader(0xc0, odcid, ""), nil, [2]flow.End{}},
			{"as translated", node, pod, longHeader(0xc0, odcid, ""), was, [2]flow.End{node, pod}},
			{"answer of the pod", pod, node, longHeader(0xc0, "", sid), was, [2]flow.End{node, pod}},
			{"data before the answer as dialled", pod, node, shortHeader("to nobody"), nil, [2]flow.End{}},
			{"answer as dialled", server, client, longHeader(0xc0, "", sid), nil, [2]flow.End{}},
			{"data of the pod", pod, node, shortHeader("to nobody"), was, [2]flow.End{node, pod}},
			{"data as dialled", server, client, shortHeader("to nobody"), nil, [2]flow.End{}},
			{"data to the pod", node, pod, shortHeader(sid), was, [2]flow.End{node, pod}},
		}},
		{"an id without an answer identifies nothing", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"another with the server's id made up", client, server, longHeader(0xc0, odcid, sid), nil, [2]flow.End{}},
			{"data with one id", other, server, shortHeader(cid), nil, [2]flow.End{}},
			{"data with the other", other, server, shortHeader(sid), nil, [2]flow.End{}},
		}},
		{"an answer to another id does not count", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"somebody's", server, client, longHeader(0xc0, "nobody01", sid), nil, [2]flow.End{}},
			{"data", other, server, shortHeader(sid), nil, [2]flow.End{}},
		}},
		{"packets that match another protocol are unaffected", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, cid), nil, [2]flow.End{}},
			{"server's first", server, client, longHeader(0xc0, cid, "\x41foreign"), nil, [2]flow.End{}},
			{"a query that begins like data", other, server, shortHeader("\x41foreign"), nil, [2]flow.End{}},
		}},
		{"an id of three bytes identifies nothing", []step{
			{"client's first", client, server, longHeader(0xc0, odcid, "cl1"), nil, [2]flow.End{}},
			{"server's first", server, client, longHeader(0xc0, "cl1", "sv1"), nil, [2]flow.End{}},
			{"data after moving", moved, server, shortHeader("sv1"), nil, [2]flow.End{}},
		}},
	} {
		v := &quicViews{foreign: func(p []byte) Explanation {
			if bytes.Contains(p, []byte("foreign")) {
				return Certain
			}
			return Unexplained
		}}
		for _, s := range c.steps {
			got, _ := v.find(&flow.Packet{
				IP:      flow.IP{Src: s.src.Addr, Dst: s.dst.Addr},
				Segment: flow.Segment{SrcPort: s.src.Port, DstPort: s.dst.Port},
				Payload: s.data,
			}, endsHash(s.src, s.dst), 0)
			switch {
			case s.dialled == nil && got != nil:
				t.Errorf("%s: %s: view %v, want none", c.name, s.name, got)
			case s.dialled != nil && (got == nil || got.Dialled != *s.dialled || got.Seen != s.seen):
				t.Errorf("%s: %s: view %v, want %v seen as %v", c.name, s.name, got, s.dialled, s.seen)
			}
		}
	}
}

func FuzzQUICViews(f *testing.F) {
	f.Add([]byte{0xc0, 0, 0, 0, 1, 4, 1, 2, 3, 4, 4, 5, 6, 7, 8}, []byte{0x41, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		v := &quicViews{}
		for i, p := range [][]byte{a, b, a, b} {
			fr := &flow.Packet{Segment: flow.Segment{SrcPort: uint16(1 + i), DstPort: 443}, Payload: p}
			if view, _ := v.find(fr, uint64(i%2), 0); view != nil && view.Seen[0].Port != fr.SrcPort && view.Seen[1].Port != fr.SrcPort {
				t.Fatalf("view %v of a packet from port %d", view, fr.SrcPort)
			}
		}
	})
}

// TestQUICTranslatedWithIssuedIDs translates a connection whose ends change to ids that were issued under encryption. Each
// of its packets is captured before and after the translation.
func TestQUICTranslatedWithIssuedIDs(t *testing.T) {
	client, server := endOf(netip.MustParseAddrPort("10.0.0.1:50000")), endOf(netip.MustParseAddrPort("10.0.0.9:443"))
	node, pod := endOf(netip.MustParseAddrPort("10.0.0.2:61000")), endOf(netip.MustParseAddrPort("10.244.0.5:8443"))
	const cid, sid, odcid = "client01", "server01", "random99"
	long := func(to, from string) string { return string(longHeader(0xe0, to, from)) }
	short := func(to, content string) string { return string(shortHeader(to)) + content }
	v := &quicViews{}
	for _, s := range []struct {
		name     string
		src, dst flow.End
		data     string
		view     bool
	}{
		{"first", client, server, long(odcid, cid), false},
		{"first, translated", node, pod, long(odcid, cid), true},
		{"an issued id before an answer", node, pod, short("issued00", "a secret 0"), false},
		{"answer, translated", pod, node, long(cid, sid), true},
		{"answer", server, client, long(cid, sid), false},
		{"handshake with an issued id", client, server, long("issued01", cid), false},
		{"handshake with an issued id, translated", node, pod, long("issued01", cid), true},
		{"data with another issued id", client, server, short("issued02", "a secret 1"), false},
		{"data with another issued id, translated", node, pod, short("issued02", "a secret 1"), true},
		{"more data with it, translated first", node, pod, short("issued02", "a secret 2"), true},
		{"more data with it", client, server, short("issued02", "a secret 2"), false},
		{"an answer to an issued id, translated first", pod, node, short("issued03", "a secret 3"), false},
		{"an answer to an issued id", server, client, short("issued03", "a secret 3"), false},
		{"another answer to it, translated first", pod, node, short("issued03", "a secret 4"), true},
		{"what only the node sends", node, pod, short("issued04", "a secret 5"), false},
	} {
		view, _ := v.find(&flow.Packet{
			IP:      flow.IP{Src: s.src.Addr, Dst: s.dst.Addr},
			Segment: flow.Segment{SrcPort: s.src.Port, DstPort: s.dst.Port},
			Payload: []byte(s.data),
		}, endsHash(s.src, s.dst), 0)
		if (view != nil) != s.view || view != nil && view.Dialled != [2]flow.End{client, server} {
			t.Errorf("%s: view %v, want one: %v", s.name, view, s.view)
		}
	}
}

// TestQUICMovesToIssuedIDs has a client that moves and changes to ids that were issued under encryption. Only a key shows
// that the packets are its connection's.
func TestQUICMovesToIssuedIDs(t *testing.T) {
	client, server := endOf(netip.MustParseAddrPort("10.0.0.1:50000")), endOf(netip.MustParseAddrPort("10.0.0.9:443"))
	moved, other, third := endOf(netip.MustParseAddrPort("10.7.7.7:1234")), endOf(netip.MustParseAddrPort("10.8.8.8:443")), endOf(netip.MustParseAddrPort("10.7.7.8:99"))
	const cid, sid = "client01", "server01"
	keyed := func(from, to string) []byte { return append(shortHeader(to), "key of "+from...) }
	first := append(longHeader(0xc0, "random99", cid), "random of A"...)
	v := &quicViews{identified: func(p []byte) (string, []byte, bool) {
		for _, x := range []struct{ mark, name string }{{"random of A", "A"}, {"key of client", "A"}, {"key of server", "A"}, {"random of B", "B"}, {"key of B", "B"}} {
			if bytes.HasSuffix(p, []byte(x.mark)) {
				return x.name, p[1:9], x.mark != "key of server"
			}
		}
		return "", nil, false
	}}
	for _, s := range []struct {
		name     string
		src, dst flow.End
		data     []byte
		view     bool
	}{
		{"first", client, server, first, false},
		{"a key before the answer", moved, server, keyed("client", "issued00"), false},
		{"answer", server, client, longHeader(0xc0, cid, sid), false},
		{"a forged first packet with its random", other, server, append(longHeader(0xc0, "random77", "forged01"), "random of A"...), false},
		{"its answer", server, other, longHeader(0xc0, "forged01", "server77"), false},
		{"ends that showed something else before", moved, server, keyed("client", "issued01"), false},
		{"noise", third, server, shortHeader("noise001"), false},
		{"a key of a connection that was not captured", endOf(netip.MustParseAddrPort("10.7.7.9:1")), server, keyed("B", "issued02"), false},
		{"a key at another server", endOf(netip.MustParseAddrPort("10.7.7.9:2")), other, keyed("client", "issued03"), false},
		{"the client after moving", endOf(netip.MustParseAddrPort("10.7.7.9:3")), server, keyed("client", "issued04"), true},
		{"the same id without a key", endOf(netip.MustParseAddrPort("10.7.7.9:3")), server, shortHeader("issued04"), true},
		{"noise there", endOf(netip.MustParseAddrPort("10.7.7.9:3")), server, shortHeader("noise002"), false},
		{"the server's answer", server, endOf(netip.MustParseAddrPort("10.7.7.9:3")), keyed("server", "issued05"), true},
		{"where it was", client, server, keyed("client", "issued06"), false},
	} {
		view, _ := v.find(&flow.Packet{
			IP:      flow.IP{Src: s.src.Addr, Dst: s.dst.Addr},
			Segment: flow.Segment{SrcPort: s.src.Port, DstPort: s.dst.Port},
			Payload: s.data,
		}, endsHash(s.src, s.dst), 0)
		if (view != nil) != s.view || view != nil && view.Dialled != [2]flow.End{client, server} {
			t.Errorf("%s: view %v, want one: %v", s.name, view, s.view)
		}
	}
	for i := range 3 * minSealed {
		src := flow.End{Addr: moved.Addr, Port: uint16(2000 + i)}
		v.find(&flow.Packet{
			IP:      flow.IP{Src: src.Addr, Dst: server.Addr},
			Segment: flow.Segment{SrcPort: src.Port, DstPort: server.Port},
			Payload: shortHeader("noise003"),
		}, endsHash(src, server), 0)
	}
	if v.sealed > minSealed+4 {
		t.Errorf("%d packets of noise were tried", v.sealed)
	}
}
