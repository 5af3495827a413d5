package decode

import (
	"net/netip"
	"testing"
)

func TestUpperPDU(t *testing.T) {
	const v4 = "00 0c 00 04 68 74 74 70 00 14 00 04 0a 00 00 01 00 15 00 04 0a 00 00 02 "
	const ports = "00 18 00 04 00 00 00 02 00 19 00 04 00 00 c0 00 00 1a 00 04 00 00 01 bb "
	const v6 = "00 16 00 10 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 00 17 00 10 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02 "
	const end = "00 00 00 00 "
	for _, tt := range []struct {
		name     string
		data     []byte
		more     int // bytes that were not captured
		kind     Kind
		src, dst string
		version  uint8
		payload  string
		problems Problem
	}{
		{"of IPv4", join(v4+ports+end, []byte("GET /")), 0, KindIP, "10.0.0.1", "10.0.0.2", 4, "GET /", 0},
		{"of IPv6", join(v6+ports+end, []byte("x")), 0, KindIP, "2001:db8::1", "2001:db8::2", 6, "x", 0},
		{"with unknown tags", join("ff ff 00 04 01 02 03 04 00 01 00 00 "+v4+ports+end, []byte("x")), 0, KindIP, "10.0.0.1", "10.0.0.2", 4, "x", 0},
		{"truncated", join(v4+ports+end, []byte("x")), 3, KindIP, "10.0.0.1", "10.0.0.2", 4, "x", Truncated},
		{"without addresses", join(ports+end, []byte("x")), 0, KindNone, "::", "::", 0, "x", 0},
		{"without ports", join(v4+end, []byte("x")), 0, KindNone, "10.0.0.1", "10.0.0.2", 0, "x", 0},
		{"of an invalid transport", join(v4+"00 18 00 04 00 00 00 63 00 19 00 04 00 00 c0 00 00 1a 00 04 00 00 01 bb "+end, []byte("x")), 0, KindNone, "10.0.0.1", "10.0.0.2", 0, "x", 0},
		{"without an end", join(v4), 0, KindNone, "10.0.0.1", "10.0.0.2", 0, "", BadLength},
		{"with a tag longer than it", join(v4 + "00 18 00 ff 00"), 0, KindNone, "10.0.0.1", "10.0.0.2", 0, "", BadLength},
		{"of nothing", nil, 0, KindNone, "::", "::", 0, "", BadLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f Frame
			New(Options{}).Decode(Input{LinkType: linkUpperPDU, Data: tt.data, OrigLen: uint32(len(tt.data) + tt.more)}, &f)
			src, dst := netip.AddrFrom16(f.Src).Unmap().String(), netip.AddrFrom16(f.Dst).Unmap().String()
			if f.Kind != tt.kind || src != tt.src || dst != tt.dst || f.IPVersion != tt.version || string(f.Payload) != tt.payload || f.Problems != tt.problems || !f.PDU {
				t.Errorf("%v %s %s version %d %q %v, PDU %v", f.Kind, src, dst, f.IPVersion, f.Payload, f.Problems, f.PDU)
			}
			if f.Kind == KindIP && (f.SrcPort != 0xc000 || f.DstPort != 443 || f.Proto != protoTCP || f.PayloadLen != len(f.Payload)+tt.more) {
				t.Errorf("%d %d %d, %d bytes", f.SrcPort, f.DstPort, f.Proto, f.PayloadLen)
			}
		})
	}
	tags := make([]byte, 4*(maxPDUTags+1))
	for i := range tags {
		tags[i] = []byte{0, 1, 0, 0}[i%4]
	}
	var f Frame
	if New(Options{}).Decode(Input{LinkType: linkUpperPDU, Data: tags, OrigLen: uint32(len(tags))}, &f); f.Problems != DepthLimit || f.Kind != KindNone {
		t.Error("tags without an end:", f.Kind, f.Problems)
	}
}
