package decode

import (
	"encoding/binary"
	"testing"
)

func hepChunkOf(vendor, kind uint16, value ...any) []byte {
	v := join(value...)
	b := binary.BigEndian.AppendUint16(nil, vendor)
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(binary.BigEndian.AppendUint16(b, uint16(hepChunk+len(v))), v...)
}

func hepOf(chunks ...[]byte) []byte {
	b := []byte("HEP3\x00\x00")
	for _, c := range chunks {
		b = append(b, c...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// hepMessageOf is a message about a payload from port 40000 to port 80 at 1700000000.25 s. family is 2 or 10.
func hepMessageOf(family, proto byte, payload string) []byte {
	ends := [][]byte{hepChunkOf(0, hepIPv4Src, "0a 01 00 01"), hepChunkOf(0, hepIPv4Dst, "0a 02 00 02")}
	if family == 10 {
		ends = [][]byte{hepChunkOf(0, hepIPv6Src, "fd", make([]byte, 14), 1), hepChunkOf(0, hepIPv6Dst, "fd", make([]byte, 14), 2)}
	}
	return hepOf(hepChunkOf(0, hepFamily, family), hepChunkOf(0, hepProtocol, proto), ends[0], ends[1],
		hepChunkOf(0, hepSrcPort, "9c 40"), hepChunkOf(0, hepDstPort, "00 50"), hepChunkOf(0, hepSeconds, "65 53 f1 00"), hepChunkOf(0, hepMicros, "00 03 d0 90"),
		hepChunkOf(0, 11, 1), hepChunkOf(0, hepProbe, "00 00 07 d1"), hepChunkOf(0, 14, []byte("key")), hepChunkOf(7, hepSrcPort, "00 01"), hepChunkOf(0, hepPayload, []byte(payload)))
}

func TestHEP(t *testing.T) {
	const outer = "hep=2001(10.0.0.1>10.0.0.2)"
	inUDP := func(b []byte) []byte { return ipv4(protoUDP, 1, 0, udpDatagram(4000, 9060, b)) }
	whole := hepMessageOf(2, protoTCP, "GET / HTTP/1.1\r\n")
	without := func(kind uint16) []byte {
		b := []byte("HEP3\x00\x00")
		for at := hepHeader; at < len(whole); at += int(be16(whole[at+4:])) {
			if be16(whole[at:]) != 0 || be16(whole[at+2:]) != kind {
				b = append(b, whole[at:at+int(be16(whole[at+4:]))]...)
			}
		}
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		return b
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
		size       int // on the wire
	}{
		{"TCP in IPv4", "ip " + outer + " 10.1.0.1:40000>10.2.0.2:80 proto=6 payload=16/16", whole, 0},
		{"UDP in IPv6", "ip " + outer + " fd00::1:40000>fd00::2:80 proto=17 payload=3/3", hepMessageOf(10, protoUDP, "SIP"), 0},
		{"SCTP", "ip " + outer + " 10.1.0.1:40000>10.2.0.2:80 proto=132 payload=3/3", hepMessageOf(2, protoSCTP, "SIP"), 0},
		{"cut in its payload", "ip " + outer + " 10.1.0.1:40000>10.2.0.2:80 proto=6 payload=11/16 !truncated", whole[:len(whole)-5], len(whole)},
		{"cut before its payload", "ip 10.0.0.1:4000>10.0.0.2:9060 proto=17 payload=111/132 !truncated", whole[:len(whole)-21], len(whole)},
		{"another transport", "ip 10.0.0.1:4000>10.0.0.2:9060 proto=17 payload=116/116", hepMessageOf(2, protoICMP, ""), 0},
		{"no time", "ip 10.0.0.1:4000>10.0.0.2:9060 proto=17 payload=122/122", without(hepSeconds), 0},
		{"no source", "ip 10.0.0.1:4000>10.0.0.2:9060 proto=17 payload=122/122", without(hepIPv4Src), 0},
		{"a chunk beyond the message", "ip 10.0.0.1:4000>10.0.0.2:9060 proto=17 payload=132/132", join(whole[:len(whole)-18], "00 17", whole[len(whole)-16:]), 0},
		{"text that begins like it", "ip 10.0.0.1:4000>10.0.0.2:9060 proto=17 payload=12/12", []byte("HEP3 is here"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pkt := inUDP(tt.data)
			missing := max(0, tt.size-len(tt.data))
			binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)+missing))
			binary.BigEndian.PutUint16(pkt[24:], uint16(len(pkt)+missing-ipv4Header))
			f := decodeOne(LinkRaw, pkt, len(pkt)+missing)
			if got := describe(&f); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			if in := f.NTunnels > 0; in != f.PDU || in && f.Stated != 1700000000_250000000 || !in && f.Stated != 0 {
				t.Errorf("a PDU: %v, time %d", f.PDU, f.Stated)
			}
		})
	}
}
