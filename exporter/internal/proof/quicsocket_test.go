package proof

import (
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// TestQUICSocketNeedsNoIDs translates a connection whose ends then change to ids that were issued under
// encryption. Packets of the socket that answered stay with the connection, those of others do not.
func TestQUICSocketNeedsNoIDs(t *testing.T) {
	client, server := endOf(netip.MustParseAddrPort("10.0.0.1:50000")), endOf(netip.MustParseAddrPort("10.0.0.9:443"))
	node, pod := endOf(netip.MustParseAddrPort("10.0.0.2:61000")), endOf(netip.MustParseAddrPort("10.244.0.5:8443"))
	const cid, sid, odcid = "client01", "server01", "random99"
	const mine, another = 7, 8
	v := &quicViews{}
	for _, s := range []struct {
		name     string
		src, dst flow.End
		data     []byte
		cookie   uint64
		view     bool
	}{
		{"as dialled", client, server, longHeader(0xc0, odcid, cid), 1, false},
		{"as translated", node, pod, longHeader(0xc0, odcid, cid), mine, true},
		{"unknown id before an answer", node, pod, shortHeader("issued01"), mine, false},
		{"answer of the pod", pod, node, longHeader(0xc0, cid, sid), mine, true},
		{"unknown id before the answer as dialled", node, pod, shortHeader("issued01"), mine, false},
		{"answer as dialled", server, client, longHeader(0xc0, cid, sid), 1, false},
		{"handshake with an issued id", node, pod, longHeader(0xe0, "issued01", cid), mine, true},
		{"data with an issued id", node, pod, shortHeader("issued01"), mine, true},
		{"data of the pod with an issued id", pod, node, shortHeader("issued02"), mine, true},
		{"data of another socket with an issued id", pod, node, shortHeader("issued03"), another, false},
		{"data of an unknown socket", node, pod, shortHeader("issued01"), 0, false},
		{"a new connection on the same ends", node, pod, longHeader(0xc0, "random42", "client42"), mine, false},
		{"its data", node, pod, shortHeader("issued01"), mine, false},
	} {
		f := &flow.Packet{
			IP:      flow.IP{Src: s.src.Addr, Dst: s.dst.Addr, Direction: decode.DirIn},
			Segment: flow.Segment{SrcPort: s.src.Port, DstPort: s.dst.Port},
			Payload: s.data,
		}
		if s.src == pod || s.src == client {
			f.Direction = decode.DirOut
		}
		view, _ := v.find(f, endsHash(s.src, s.dst), s.cookie)
		if (view != nil) != s.view || view != nil && view.Dialled != [2]flow.End{client, server} {
			t.Errorf("%s: view %v, want one: %v", s.name, view, s.view)
		}
	}
}
