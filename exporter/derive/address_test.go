package derive_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

const pseudonymPolicy = "version: 1\nextends: none\naddresses: pseudonyms\n"

// frame adds a packet behind an Ethernet header.
func (s *scene) frame(etherType uint16, data []byte) {
	h := append([]byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"), byte(etherType>>8), byte(etherType))
	h = append(h, data...)
	s.at += 1_000_003
	if err := s.w.WritePacket(&pcapng.Packet{Kind: pcapng.KindEnhanced, Time: s.at, TimeOK: true, OrigLen: uint32(len(h)), Data: h}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// six adds a packet of IPv6.
func (s *scene) six(src, dst string, proto byte, place int, data []byte) {
	a, b := netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()
	h := append(append([]byte{0x60, 0, 0, 0, byte(len(data) >> 8), byte(len(data)), proto, 64}, a...), b...)
	pseudo := append(append(append([]byte{}, h[8:40]...), 0, 0, byte(len(data)>>8), byte(len(data)), 0, 0, 0, proto), data...)
	binary.BigEndian.PutUint16(data[place:], sum(pseudo, 0))
	s.frame(0x86dd, append(h, data...))
}

// routed adds datagrams whose checksums cover addresses that are not in the fixed part of their headers.
func (s *scene) routed() {
	at := func(text string) string { return string(netip.MustParseAddr(text).AsSlice()) }
	datagram := func(pseudo string, n int) []byte { // UDP of n bytes of text
		b := append([]byte{0x11, 0x22, 0x33, 0x44, 0, byte(8 + n), 0, 0}, strings.Repeat("t", n)...)
		binary.BigEndian.PutUint16(b[6:], sum(append([]byte(pseudo+"\x00\x11\x00"+string(b[5:6])), b...), 0))
		return b
	}
	for _, extension := range []struct {
		next       byte
		header     string
		home, last string // if not those of the fixed part
	}{
		{43, "\x11\x02\x00\x01\x00\x00\x00\x00" + at("2001:db8::a1"), "", "2001:db8::a1"},
		{43, "\x11\x04\x04\x01\x01\x00\x00\x00" + at("2001:db8::a2") + at("2001:db8::a3"), "", "2001:db8::a2"},
		{60, "\x11\x02\x01\x02\x00\x00\xc9\x10" + at("2001:db8::a4"), "2001:db8::a4", ""},
	} {
		src, dst := "2001:db8::beef", "2001:db8::77"
		udp := datagram(at(cmp.Or(extension.home, src))+at(cmp.Or(extension.last, dst)), 6)
		h := append([]byte("\x60\x00\x00\x00\x00"), byte(len(extension.header)+len(udp)), extension.next, 64)
		s.frame(0x86dd, append(h, at(src)+at(dst)+extension.header+string(udp)...))
	}
	for _, option := range []struct{ header, last string }{
		{"\x83\x0b\x04" + at("172.31.7.1") + at("172.31.7.2") + "\x00", "172.31.7.2"},               // a loose route, at its first address
		{"\x89\x07\x08" + at("172.31.7.3") + "\x00", "10.0.0.2"},                                    // a strict route, at its end
		{"\x01\x07\x07\x08" + at("172.31.7.4"), "10.0.0.2"},                                         // a record of the route, behind a no-operation
		{"\x44\x0c\x0d\x01" + at("172.31.7.5") + "\x00\x00\x00\x01", "10.0.0.2"},                    // timestamps with addresses
		{"\x83\x0b\x0c" + at("172.31.7.6") + at("172.31.7.7") + "\x00\x00\x00\x00\x00", "10.0.0.2"}, // at its end
	} {
		udp := datagram(at("10.0.0.1")+at(option.last), 5)
		size := 20 + len(option.header)
		h := append([]byte{0x40 | byte(size/4), 0, 0, byte(size + len(udp)), 0, 9, 0, 0, 64, 17, 0, 0}, at("10.0.0.1")+at("10.0.0.2")+option.header...)
		binary.BigEndian.PutUint16(h[10:], sum(h, 0))
		s.frame(0x0800, append(h, udp...))
		icmp := append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, append(h, udp[:8]...)...) // a router's error quotes it
		binary.BigEndian.PutUint16(icmp[2:], sum(icmp, 0))
		s.ip([4]byte{10, 0, 0, 3}, [4]byte{10, 0, 0, 1}, 1, icmp)
	}
}

// offered adds segments of Multipath TCP that offer other addresses of their sender.
func (s *scene) offered(list ...string) {
	src, dst := [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}
	for i, text := range list {
		option := append([]byte{30, 0, 0x30, 7}, netip.MustParseAddr(text).AsSlice()...)
		option[1] = byte(len(option))
		option = append(option, make([]byte, -len(option)&3)...)
		h := append([]byte{0xa0, byte(i), 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, byte(20+len(option)) << 2, 0x10, 1, 0, 0, 0, 0, 0}, option...)
		binary.BigEndian.PutUint16(h[16:], sum(h, pseudo(src, dst, 6, len(h))))
		s.ip(src, dst, 6, h)
	}
}

// dns is a response with one record.
func dns(name string, typ uint16, rdata []byte) []byte {
	b := []byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00")
	for _, l := range strings.Split(name, ".") {
		b = append(append(b, byte(len(l))), l...)
	}
	b = binary.BigEndian.AppendUint16(append(b, 0), typ)
	b = append(binary.BigEndian.AppendUint16(append(b, 0, 1, 0xc0, 12), typ), 0, 1, 0, 0, 0, 60)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(rdata))), rdata...)
}

// addressed is a capture with addresses in every place.
func addressed(t *testing.T) string {
	s := newScene(t)
	client, server := [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}
	s.talk(80, say{data: request("X-Forwarded-For: 192.168.77.201, 1.1.1.1, 2001:db8::beef\r\nForwarded: for=\"[2001:DB8:0:0:0:0:0:BEEF]:4711\"\r\n", `{"peer":"10.0.0.1:80","host":"ip-192-168-77-201"}`)},
		answer("", "you are 192.168.77.201"))
	s.talk(9000, say{data: []byte("\x00\x01 split 192.168.77.201 here"), mss: 11}, say{server: true, data: []byte("ok")})
	s.talk(1080, say{data: []byte("\x05\x01\x00\x01\xac\x1e\x01\x0b\x00\x50")}, say{server: true, data: []byte("\x05\x00\x00\x01\x0a\x00\x00\x02\x00\x50")}) // SOCKS
	s.udp(server, client, 53, 5353, dns("db.example", 1, []byte{10, 20, 30, 40}))
	s.udp(server, client, 53, 5354, dns("db.example", 28, netip.MustParseAddr("2001:db8::77").AsSlice()))
	s.udp(server, client, 53, 5355, dns("201.77.168.192.in-addr.arpa", 12, []byte("\x02db\x07example\x00")))
	s.udp(server, client, 53, 5356, dns("8.7.31.172.in-addr.arpa", 12, []byte("\x03db2\x07example\x00"))) // nowhere else
	s.udp(server, client, 53, 5357, dns("5.a."+strings.Repeat("0.", 22)+"8.B.D.0.1.0.0.2.ip6.arpa", 12, []byte("\x03db3\x07example\x00")))
	s.routed()
	s.offered("172.31.7.9", "2001:db8::a6")
	quoted := []byte{0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 99, 0, 9, 0x12, 0x34}
	binary.BigEndian.PutUint16(quoted[10:], sum(quoted[:20], 0))
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint16(icmp[2:], sum(icmp, 0))
	s.ip(server, client, 1, icmp)
	s.frame(0x0806, []byte("\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x63"))
	s.six("2001:db8::beef", "2001:db8::77", 17, 6, append([]byte{0x11, 0x22, 0x33, 0x44, 0, 12, 0, 0}, "text"...))
	s.six("2001:db8::beef", "2001:db8::77", 58, 2, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, netip.MustParseAddr("2001:db8::77").AsSlice()...))
	inner := []byte{0x45, 0, 0, 28, 0, 2, 0, 0, 64, 17, 0, 0, 172, 30, 1, 9, 172, 30, 1, 10, 0x20, 1, 0x20, 2, 0, 8, 0, 0}
	binary.BigEndian.PutUint16(inner[10:], sum(inner[:20], 0))
	binary.BigEndian.PutUint16(inner[26:], sum(inner[20:], pseudo([4]byte(inner[12:16]), [4]byte(inner[16:20]), 17, 8)))
	s.udp(client, server, 40001, 4789, append([]byte("\x08\x00\x00\x00\x00\x00\x07\x00\x02\x00\x00\x00\x00\x04\x02\x00\x00\x00\x00\x03\x08\x00"), inner...)) // VXLAN
	return s.save()
}

// TestNoAddressIsLeft replaces addresses in headers, answers, quotes, texts and tunnels.
func TestNoAddressIsLeft(t *testing.T) {
	ctx := context.Background()
	b := bundleOf(t, addressed(t))
	seed, trust := sealed(t, b)
	o := quiet
	o.Seed = seed
	redact := func() (*bundle.Bundle, *derive.Report) {
		out := filepath.Join(t.TempDir(), "redacted.pcapsule")
		r, err := derive.Redact(ctx, b, out, derive.Redaction{Policy: removalOf(t, pseudonymPolicy), Text: []byte(pseudonymPolicy)}, o)
		if err != nil {
			t.Fatal(err)
		}
		return opened(t, out), r
	}
	d, r := redact()
	t.Logf("%d rounds: %v", r.Rounds, r.Derived.Rules)
	// Nobody can prove a pseudonym.
	if ok, text := yes(derive.Verify(ctx, d, trust)); ok || strings.Contains(text, "no derived") || !strings.Contains(text, "not_checked derived") {
		t.Error(text)
	}
	samePackets(t, b, d, int(r.Derived.Packets.Changed))
	packets, err := os.ReadFile(d.Path(d.Manifest.Inputs[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.99", "192.168.77.201", "192-168-77-201", "201.77.168.192", "1.1.1.1", "10.20.30.40", "2001:db8::beef", "2001:DB8:0", "2001:db8::77",
		"172.30.1.9", "172.30.1.10", "2001:db8::a1", "2001:db8::a2", "2001:db8::a3", "2001:db8::a4", "172.31.7.1", "172.31.7.2", "172.31.7.3", "172.31.7.4", "172.31.7.5", "172.31.7.6", "172.31.7.7",
		"172.31.7.9", "2001:db8::a6", "8.7.31.172", "\x018\x017\x0231\x03172", "5.a.0.0", "\x015\x01a\x010\x010"} {
		noneInTables(t, d, text)
		if bytes.Contains(packets, []byte(text)) {
			t.Errorf("the packets hold %s", text)
		}
		if a, err := netip.ParseAddr(text); err == nil && bytes.Contains(packets, a.AsSlice()) {
			t.Errorf("the packets hold the bytes of %s", text)
		}
	}
	checkSums(t, d)
	again, _ := redact()
	if d.Manifest.Inputs[0].SHA256 != again.Manifest.Inputs[0].SHA256 {
		t.Error("the same original gives other pseudonyms")
	}
	if b.Manifest.Calls["http1"] != d.Manifest.Calls["http1"] || b.Manifest.Calls["dns"] != d.Manifest.Calls["dns"] || b.Manifest.Calls["icmp"] != d.Manifest.Calls["icmp"] {
		t.Errorf("calls %v, want those of %v", d.Manifest.Calls, b.Manifest.Calls)
	}
}

// checkSums checks that no packet has a wrong checksum, and that client and server share as many
// bits as before.
func checkSums(t *testing.T, d *bundle.Bundle) {
	t.Helper()
	x := decode.New(decode.Options{})
	for _, p := range packetsOf(t, d) {
		var f decode.Frame
		x.Decode(decode.Input{LinkType: p.LinkType, Data: p.Data, OrigLen: p.OrigLen, No: p.Index}, &f)
		if f.Problems&(decode.BadSum|decode.BadIPSum) != 0 {
			t.Errorf("packet %d has a wrong checksum", p.Index)
		}
		if f.Proto == 1 && sum(f.Payload, 0) != 0 {
			t.Errorf("packet %d: the checksum of ICMP is wrong", p.Index)
		}
		if f.Proto == 1 && sum(f.Payload[8:8+4*(f.Payload[8]&15)], 0) != 0 {
			t.Errorf("packet %d: the checksum of the quoted header is wrong", p.Index)
		}
		if f.Proto == 58 && sum(append(append(append([]byte{}, p.Data[22:54]...), 0, 0, 0, byte(len(f.Payload)), 0, 0, 0, 58), f.Payload...), 0) != 0 {
			t.Errorf("packet %d: the checksum of ICMPv6 is wrong", p.Index)
		}
		if src, dst := f.Src.Netip().As16(), f.Dst.Netip().As16(); f.Proto == 6 && (!bytes.Equal(src[12:15], dst[12:15]) || src[15]>>2 != dst[15]>>2) {
			t.Errorf("packet %d: %s and %s do not share 30 bits", p.Index, f.Src, f.Dst)
		}
	}
}

func TestPseudonymsNeedASeed(t *testing.T) {
	b := bundleOf(t, addressed(t))
	out := filepath.Join(t.TempDir(), "redacted.pcapsule")
	_, err := derive.Redact(context.Background(), b, out, derive.Redaction{Policy: removalOf(t, pseudonymPolicy), Text: []byte(pseudonymPolicy)}, quiet)
	if !errors.Is(err, derive.ErrAddresses) {
		t.Errorf("without a seed: %v", err)
	}
}
