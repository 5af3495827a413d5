package decode

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
)

// ethernetTCP is an Ethernet, IPv4 and TCP segment with timestamps and n bytes of data.
func ethernetTCP(n int) []byte {
	tcp := tcpSegment(40000, 443, 1000, 2000, ACK|PSH, []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, make([]byte, n))
	return ethernet(etherIPv4, ipv4(protoTCP, 7, 0, tcp))
}

func BenchmarkDecode(b *testing.B) {
	inner := ethernetTCP(1000)
	vxlan := append([]byte{8, 0, 0, 0, 0, 0, 42, 0}, inner...)
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"ethernet-ipv4-tcp", inner},
		{"ethernet-vlan-ipv4-tcp", ethernet(etherVLAN, append([]byte{0, 5, 8, 0}, inner[14:]...))},
		{"ethernet-ipv6-udp", ethernet(etherIPv6, ipv6(protoUDP, udpDatagram(5000, 53, make([]byte, 100))))},
		{"vxlan-ipv4-tcp", ethernet(etherIPv4, ipv4(protoUDP, 7, 0, udpDatagram(5000, portVXLAN, vxlan)))},
	} {
		b.Run(c.name, func(b *testing.B) {
			d, in := New(Options{}), Input{LinkType: linkEthernet, Data: c.data, OrigLen: uint32(len(c.data))}
			var f Frame
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(in, &f)
			}
			if f.Kind != KindIP || !f.L4 {
				b.Fatalf("decoding: %v, %v", f.Kind, f.Problems)
			}
		})
	}
}

func BenchmarkFlowHash(b *testing.B) {
	data := ethernetTCP(0)
	var f Frame
	New(Options{}).Decode(Input{LinkType: linkEthernet, Data: data, OrigLen: uint32(len(data))}, &f)
	sum := uint64(0)
	for b.Loop() {
		sum += f.FlowHash()
	}
	_ = sum
}

// BenchmarkCaptures decodes real traffic, one packet per operation.
func BenchmarkCaptures(b *testing.B) {
	dir := captures.Dir(b)
	packets, err := readCapture(filepath.Join(dir, "mixed", "pcpp-example.pcap"))
	if err != nil || len(packets) == 0 {
		b.Fatalf("reading capture: %v", err)
	}
	d := New(Options{})
	var f Frame
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d.Decode(packets[i], &f)
		if i++; i == len(packets) {
			i = 0
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	data := ethernetTCP(100)
	d, in := New(Options{}), Input{LinkType: linkEthernet, Data: data, OrigLen: uint32(len(data))}
	var f Frame
	if n := testing.AllocsPerRun(100, func() { d.Decode(in, &f) }); n != 0 {
		t.Errorf("decoding one packet: %v allocations, want 0", n)
	}
}

// Helpers that build packets.

func ethernet(kind uint16, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func ipv4(proto uint8, id, frag uint16, payload []byte) []byte {
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, frag)
	b = append(b, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	return append(b, payload...)
}

func ipv6(next uint8, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, next, 64)
	b = append(b, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	b = append(b, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
	return append(b, payload...)
}

func udpDatagram(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

func tcpSegment(src, dst uint16, seq, ack uint32, flags uint16, options, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = binary.BigEndian.AppendUint16(b, uint16(5+len(options)/4)<<12|flags)
	b = append(b, 0x20, 0, 0, 0, 0, 0)
	return append(append(b, options...), payload...)
}
