package decode

import (
	"encoding/binary"
	"testing"
)

// FuzzDecode passes three packets cut from the input to a Decoder. It must not panic, must keep
// payloads inside its input, and must stay within its budget.
func FuzzDecode(f *testing.F) {
	eth := ethernetTCP(20)
	for _, link := range []uint16{linkEthernet, linkSLL, linkSLL2, linkNull, LinkRaw, linkWLAN, linkRadiotap, linkPPP, linkNFLOG, linkPKTAP, linkFrameRelay, linkCHDLC, linkPrism, linkPPI, linkSLIP, linkPFLOG, linkUpperPDU, linkERF, linkJuniperEther, linkJuniperATM2, linkJuniperMLPPP, linkJuniperMLFR} {
		f.Add(link, uint32(len(eth)), eth)
	}
	pkt := ipv4(protoUDP, 7, 0, udpDatagram(1, 2, make([]byte, 30)))
	f.Add(uint16(LinkRaw), uint32(100), pkt)
	f.Add(uint16(LinkRaw), uint32(100), ipv4(protoUDP, 7, 0x2000, make([]byte, 64)))
	f.Add(uint16(LinkRaw), uint32(200), ipv6(protoFragment, join(protoUDP, "00 00 01 00 00 00 07", make([]byte, 64))))
	f.Add(uint16(LinkRaw), uint32(200), ipv6(protoRouting, join(protoUDP, 2, 4, 1, make([]byte, 40))))
	for _, port := range []uint16{portVXLAN, portVXLANGPE, portGeneve, portGTPU, portTeredo, portAYIYA, portL2TP, portMPLS, portCAPWAP, portGUE, portLISP} {
		body := join("08 00 65 58 00 00 2a 00", eth)
		f.Add(uint16(LinkRaw), uint32(300), ipv4(protoUDP, 7, 0, udpDatagram(1, port, body)))
	}
	f.Add(uint16(LinkRaw), uint32(300), ipv4(protoUDP, 7, 0, udpDatagram(1, 58678, join("08 00 00 00 00 00 2a 00", eth))))
	f.Add(uint16(LinkRaw), uint32(300), ipv4(protoUDP, 7, 0, udpDatagram(1, portTZSP, join("01 00 00 01 0a 01 d0 29 02 05 dc 00 01", eth))))
	f.Add(uint16(LinkRaw), uint32(300), ipv4(protoUDP, 7, 0, udpDatagram(1, portTZSP, join("01 00 00 12 01", wlanFrame(etherIPv4, pkt)))))
	f.Add(uint16(LinkRaw), uint32(300), ipv4(protoUDP, 7, 0, udpDatagram(1, 9060, hepMessageOf(10, 6, "GET / HTTP/1.1"))))
	f.Add(uint16(LinkRaw), uint32(300), ipv4(protoGRE, 7, 0, join("20 01 64 00 00 54 07 00", eth)))
	for _, whole := range mirrored(within(ipv4(protoTCP, 7, 0, tcpSegment(1, 2, 3, 4, ACK, nil, make([]byte, 100))))) {
		f.Add(uint16(LinkRaw), uint32(0), shorten(whole, 60))
	}
	for _, kind := range []uint16{etherVLAN, etherMPLS, etherPPPoE, etherNSH, etherPBB, etherMACsec, etherFabric, etherVNTag, etherARP} {
		f.Add(uint16(linkEthernet), uint32(300), ethernet(kind, eth))
	}
	for _, kind := range []uint16{0x88be, 0x22eb, etherTEB, etherPPP, 0x883e} {
		gre := append(binary.BigEndian.AppendUint16([]byte{0xf0, 0}, kind), eth...)
		f.Add(uint16(LinkRaw), uint32(300), ipv4(protoGRE, 7, 0, gre))
	}

	f.Fuzz(func(t *testing.T, link uint16, orig uint32, data []byte) {
		const budget = 16 << 10
		d := New(Options{MaxFragmentBytes: budget, MaxFragments: 64})
		var fr Frame
		for i, part := range [][]byte{data, data[len(data)/2:], data} {
			d.Decode(Input{LinkType: link, Data: part, OrigLen: orig, Time: int64(i), No: int64(i)}, &fr)
			if len(fr.Payload) > fr.PayloadLen || fr.PayloadLen < 0 || fr.IPLen < 0 {
				t.Fatalf("payload %d of %d, IP length %d", len(fr.Payload), fr.PayloadLen, fr.IPLen)
			}
			if fr.FragNos == nil && len(fr.Payload) > len(part) {
				t.Fatalf("payload of %d bytes from a packet of %d", len(fr.Payload), len(part))
			}
			if d.Held() > budget || d.Held() < 0 {
				t.Fatalf("%d bytes held, want at most %d", d.Held(), budget)
			}
			fr.FlowHash()
			_ = fr.Problems.String() + fr.Src.String()
		}
		d.Flush()
		if d.Held() != 0 {
			t.Fatalf("%d bytes held after all was given up", d.Held())
		}
	})
}
