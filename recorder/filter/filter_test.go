package filter

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// Packets, as hexadecimal: Ethernet unless stated otherwise.
const (
	ether    = "00112233445566778899aabb"
	ip4TCP   = "450000280001000040060000" + "0a000001" + "c0a80102"
	tcp80    = "c0010050" + "00000001" + "00000000" + "50020000" + "00000000"
	syn      = ether + "0800" + ip4TCP + tcp80
	synVLAN  = ether + "8100" + "0064" + "0800" + ip4TCP + tcp80
	synMPLS  = ether + "8847" + "00014140" + "0800"
	ip6UDP   = "6000000000081140" + "fe800000000000000000000000000001" + "ff0200000000000000000000000000fb"
	dns6     = ether + "86dd" + ip6UDP + "14e90035" + "00080000"
	later    = ether + "0800" + "450000280001" + "0001" + "40060000" + "0a000001" + "c0a80102" + tcp80
	cut      = ether + "0800" + "4500002800010000"
	arpAsk   = ether + "0806" + "0001080006040001" + "66778899aabb" + "0a000001" + "000000000000" + "c0a80102"
	options  = ether + "0800" + "460000280001000040060000" + "0a000001" + "c0a80102" + "01010100" + tcp80
	sll2Out  = "0800000000000003" + "0001" + "04" + "06" + "0011223344550000" + ip4TCP + tcp80
	loopback = "02000000" + ip4TCP + tcp80
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		expr   string
		link   uint16
		packet string
		want   bool
	}{
		{"an empty expression matches every packet", "", 1, "", true},
		{"an expression of white space matches too", " \t\n", 1, syn, true},
		{"a port matches its packet", "tcp port 80", 1, syn, true},
		{"a port by name", "port http", 1, syn, true},
		{"a port after IP options", "dst port 80", 1, options, true},
		{"another port does not match", "tcp port 81", 1, syn, false},
		{"no port in a later fragment", "port 80", 1, later, false},
		{"a later fragment is still TCP", "tcp", 1, later, true},
		{"a load past the end makes the filter false", "tcp port 80", 1, cut, false},
		{"a load past the end makes its negation false too", "not tcp port 80", 1, cut, false},
		{"a load past the end is harmless if it is not needed", "ip or tcp port 80", 1, cut, true},
		{"the source address", "src host 10.0.0.1", 1, syn, true},
		{"the source is not the destination", "dst host 10.0.0.1", 1, syn, false},
		{"source and destination", "src and dst net 10.0.0.0/8", 1, syn, false},
		{"source or destination", "src or dst net 10.0.0.0/8", 1, syn, true},
		{"host also matches ARP", "host 192.168.1.2", 1, arpAsk, true},
		{"ip host does not match ARP", "ip host 192.168.1.2", 1, arpAsk, false},
		{"a list inherits its qualifiers", "tcp dst port 22 or 80", 1, syn, true},
		{"a list in parentheses inherits them too", "tcp dst port (22 or (80 or 443))", 1, syn, true},
		{"and, or have equal precedence, from the left", "tcp or udp and port 53", 1, syn, false},
		{"parentheses bind first", "tcp or (udp and port 53)", 1, syn, true},
		{"a negation binds most tightly", "not udp and tcp", 1, syn, true},
		{"a VLAN tag hides the protocol", "tcp", 1, synVLAN, false},
		{"after vlan the protocol is found", "vlan and tcp port 80", 1, synVLAN, true},
		{"the number of a VLAN", "vlan 100", 1, synVLAN, true},
		{"the number of another VLAN", "vlan 101", 1, synVLAN, false},
		{"one tag is not two", "vlan and vlan", 1, synVLAN, false},
		{"vlan moves everything to its right", "(vlan and tcp) or tcp", 1, syn, false},
		{"an MPLS label", "mpls 20", 1, synMPLS, true},
		{"flags", "tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn", 1, syn, true},
		{"flags that are not set", "tcp[13] & 1 != 0", 1, syn, false},
		{"arithmetic in offsets", "tcp[(tcp[12] >> 4) * 4 - 18:2] = 80", 1, syn, true},
		{"bytes of another protocol do not match", "udp[0] = 0xc0", 1, syn, false},
		{"IPv6 hosts", "host fe80::1 and port 53", 1, dns6, true},
		{"IPv6 networks", "net ff02::/16", 1, dns6, true},
		{"IPv6 addresses with all groups", "dst host ff02:0:0:0:0:0:0:fb", 1, dns6, true},
		{"an Ethernet address", "ether src 66:77:88:99:aa:bb", 1, syn, true},
		{"an Ethernet address with hyphens", "ether host 00-11-22-33-44-55", 1, syn, true},
		{"lengths on the wire", "greater 1000", 1, syn, true},
		{"a length that is too large", "less 1000", 1, syn, false},
		{"cooked packets", "tcp port 80 and outbound", 276, sll2Out, true},
		{"interface numbers of cooked packets", "ifindex 3 and not inbound", 276, sll2Out, true},
		{"loopback in little-endian byte order", "ip and tcp", 0, loopback, true},
		{"raw IP", "tcp port 80", 101, ip4TCP + tcp80, true},
		{"raw IP has no ARP", "arp", 101, ip4TCP + tcp80, false},
		{"lengths of an unknown link type", "len > 5", 9999, "", true},
		{"bytes of an unknown link type", "link[0] = 1", 9999, "01", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := hex.DecodeString(tt.packet)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Compile(tt.expr, tt.link, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(data, 1500); got != tt.want {
				t.Errorf("%q: got %v, want %v", tt.expr, got, tt.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		expr   string
		offset int
		want   string // a part of the message
	}{
		{"a host name", "host example.com", 5, "host and network names are not looked up"},
		{"a network name", "net loopback", 4, "host and network names are not looked up"},
		{"gateway", "gateway 10.0.0.1", 0, `"gateway" is not supported; supported are host, net`},
		{"gateway after ip", "ip gateway 10.0.0.1", 3, `"gateway" is not supported`},
		{"an interface name", "tcp and ifname eth0", 8, `"ifname" is not supported`},
		{"inbound without cooked packets", "inbound", 0, "have no direction"},
		{"protochain", "ip protochain 6", 3, `"protochain" is not supported`},
		{"geneve", "geneve", 0, `"geneve" is not supported`},
		{"a bare address", "10.0.0.1", 0, "needs a qualifier before it"},
		{"a number after a protocol", "tcp and 80", 8, "needs a qualifier before it"},
		{"a bare word", "htp", 0, `unknown word "htp"; supported are`},
		{"nothing after and", "tcp and", 7, "the expression ends without a condition"},
		{"two conditions side by side", "tcp udp", 4, `"udp" after a complete expression`},
		{"an unclosed parenthesis", "tcp and (udp", 8, "not closed"},
		{"an unopened parenthesis", "tcp) or udp", 3, "has no opening parenthesis"},
		{"a strange character", "tcp ; udp", 4, `unexpected character ";"`},
		{"a character of several bytes", "tcp ☃", 4, `unexpected character "☃"`},
		{"a port out of range", "port 65536", 5, "port 65536 is out of range; the maximum is 65535"},
		{"an unknown port name", "port htp", 5, `unknown port name "htp"`},
		{"a port name of another transport", "udp port http", 9, "this port name belongs to tcp, not to udp"},
		{"a port of ICMP", "icmp port 80", 0, `"icmp" has no ports`},
		{"a range with one end", "portrange 80", 0, ""},
		{"a range of words", "portrange a-b", 10, "not a port range"},
		{"an address with a byte too large", "host 10.0.0.256", 5, "not an IPv4 address"},
		{"bits beyond the prefix", "net 10.0.0.1/8", 4, "bits set beyond its mask"},
		{"bits beyond the IPv6 prefix", "net fe80::1/64", 4, "bits set beyond its prefix"},
		{"a prefix that is too long", "net 10.0.0.0/33", 13, "the maximum is 32"},
		{"a mask of six numbers", "net 10.0.0.0 mask 1.2.3.4.5.6", 18, "not an IPv4 mask"},
		{"a missing mask", "net 10.0.0.0 mask", 17, "not an IPv4 mask"},
		{"a prefix after host", "host 10.0.0.0/8", 5, "needs net before"},
		{"an Ethernet address after host", "host 00:11:22:33:44:55", 5, "ether host"},
		{"an IPv4 address after ip6", "ip6 host 10.0.0.1", 0, "cannot have an IPv4 address"},
		{"a keyword in the place of a name", "ip proto tcp", 9, `to use the keyword as a name, write \tcp`},
		{"a direction before proto", "src proto 6", 4, "proto cannot have a direction"},
		{"three bytes", "tcp[0:3] = 1", 0, "1, 2 or 4"},
		{"no comparison", "tcp[0]", 6, "expected a comparison"},
		{"division by zero", "len / 0 = 1", 4, "division by zero"},
		{"a shift that is too far", "len << 32 = 1", 4, "shift by 32 bits"},
		{"a number that is too large", "len = 4294967296", 6, "does not fit in 32 bits"},
		{"an octal number with a nine", "port 09", 5, "octal"},
		{"an offset beyond every packet", "ip[-1] = 0", 0, "beyond the end of every packet"},
		{"a VLAN out of range", "vlan 4096", 5, "VLAN 4096 is out of range; the maximum is 4095"},
		{"vlan after mpls", "mpls and vlan", 9, "vlan cannot follow mpls"},
		{"arp after mpls", "mpls and arp", 9, "after mpls only"},
		{"too many parentheses", strings.Repeat("(", 300) + "tcp" + strings.Repeat(")", 300), 200, "more than 200"},
		{"too many negations", strings.Repeat("!", 300) + "tcp", 200, "more than 200"},
		{"too long", strings.Repeat(" ", maxText+1), maxText, "the maximum is"},
		{"nested sums", strings.Repeat("(len + ", 20) + "len" + strings.Repeat(")", 20) + " = 1", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Compile(tt.expr, 1, 0)
			if tt.want == "" {
				if err == nil && p == nil {
					t.Error("neither a program nor an error")
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%q: got %v, %v, want an *Error", tt.expr, p, err)
			}
			if e.Offset != tt.offset || !strings.Contains(e.Msg, tt.want) {
				t.Errorf("%q: got %v, want %q at byte %d", tt.expr, e, tt.want, tt.offset)
			}
		})
	}
}

func TestUnknownLinkType(t *testing.T) {
	_, err := Compile("len > 5 and tcp", 195, 0)
	var e *LinkTypeError
	if !errors.As(err, &e) || e.LinkType != 195 || e.Offset != 12 {
		t.Errorf("got %v, want link type 195 at byte 12", err)
	}
	if _, err := Compile("link[0] = 1", linkRadiotap, 0); !errors.As(err, &e) {
		t.Errorf("got %v: want an error, because radiotap's link header has no fixed offset", err)
	}
}

func TestCanMatch(t *testing.T) {
	for expr, want := range map[string]bool{
		"": true, "tcp": true, "5 = 5": true, "not tcp": true, "tcp or udp": true, "vlan and udp": true,
		"5 = 6": false, "tcp and udp": false, "udp and vlan": false, "arp and port 53": false, "tcp and not tcp": false,
	} {
		p, err := Compile(expr, linkEthernet, 0)
		if err != nil {
			t.Fatal(err)
		}
		if p.CanMatch() != want {
			t.Errorf("%q: got %v, want %v", expr, !want, want)
		}
	}
}

func TestLongListOfAddresses(t *testing.T) {
	var b strings.Builder
	b.WriteString("host 10.0.0.1")
	for i := 2; i < 3000; i++ {
		fmt.Fprintf(&b, " or 10.0.%d.%d", i>>8, i&255)
	}
	p, err := Compile(b.String(), 1, 96)
	if err != nil {
		t.Fatal(err)
	}
	packet, _ := hex.DecodeString(syn)
	vm := newVM(t, p)
	for _, last := range []byte{1, 0} {
		packet[29] = last
		packet[27] = 255 - 255*last
		n, err := vm.Run(packet)
		if err != nil || (n == 96) != (last == 1) || p.Match(packet, 96) != (last == 1) {
			t.Errorf("source ends in %d: machine %d, %v, Match %v", last, n, err, p.Match(packet, 96))
		}
	}
}

// FuzzFilter checks that an expression yields a program or an error, that the BPF machine
// accepts the program, and that Match and the machine agree on any packet.
func FuzzFilter(f *testing.F) {
	packet, _ := hex.DecodeString(syn)
	for _, expr := range strings.Split(strings.TrimSpace(expressions), "\n") {
		f.Add(expr, uint16(1), packet)
	}
	for _, link := range []uint16{0, 6, 7, 8, 9, 10, 12, 50, 51, 100, 101, 104, 107, 108, 109, 113, 129, 138, 166, 228, 229, 276, 9999} {
		f.Add("host 10.0.0.1 or port 53 or iso or ipx or ip6 net fe80::/10", link, packet)
	}
	f.Fuzz(func(t *testing.T, expr string, link uint16, packet []byte) {
		p, err := Compile(expr, link, 0)
		if (p == nil) == (err == nil) {
			t.Fatalf("%q: program %v and error %v", expr, p, err)
		}
		var e *Error
		if errors.As(err, &e) && (e.Offset < 0 || e.Offset > len(expr) || e.Msg == "") {
			t.Fatalf("%q: error without a place or a message: %v", expr, err)
		}
		if err != nil {
			return
		}
		if len(p.raw) > 20*len(expr)*8+100 {
			t.Errorf("%q: %d instructions", expr, len(p.raw))
		}
		n, err := newVM(t, p).Run(packet)
		if got := p.Match(packet, uint32(len(packet))); err != nil || got != (n > 0) {
			t.Errorf("%q: Match %v, machine %d, %v", expr, got, n, err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, expr := range []string{"tcp port 80", "tcp port 81", "host 10.0.0.1 and not port 22", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
		"(ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2)) != 0"} {
		b.Run(expr, func(b *testing.B) {
			p, err := Compile(expr, 1, 0)
			if err != nil {
				b.Fatal(err)
			}
			packet, _ := hex.DecodeString(syn)
			for b.Loop() {
				p.Match(packet, 54)
			}
		})
	}
}

func BenchmarkMachine(b *testing.B) {
	p, err := Compile("tcp port 80", 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	var list []bpf.Instruction
	for _, r := range p.raw {
		list = append(list, r.Disassemble())
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		b.Fatal(err)
	}
	packet, _ := hex.DecodeString(syn)
	for b.Loop() {
		vm.Run(packet)
	}
}

// TestAnyWordsInAnyOrder makes the checks of the fuzz target on random expressions of the
// language's words.
func TestAnyWordsInAnyOrder(t *testing.T) {
	words := strings.Fields(wordsProtocol + wordsAlias + wordsOther + wordsRefused +
		" and or not ( ) ( ) [ ] : / + - * % & | ^ << >> = != < > 1 80 0x800 10.0.0.1 10.1 1.2.3.4.5.6 fe80::1 :: 00:11:22:33:44:55" +
		" 1-1024 http \\tcp tcpflags icmp-echo tcp[13] ip[0:2] len")
	common := strings.Fields("tcp udp ip host net port src dst and or not ( ) 80 10.0.0.1 mask / 8 vlan")
	packet, _ := hex.DecodeString(syn)
	rnd := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 50_000 {
		var list []string
		for n := rnd.IntN(8); n >= 0; n-- {
			from := common
			if rnd.IntN(2) == 0 {
				from = words
			}
			list = append(list, from[rnd.IntN(len(from))])
		}
		expr := strings.Join(list, " ")
		p, err := Compile(expr, 1, 0)
		if err != nil {
			continue
		}
		valid++
		n, err := newVM(t, p).Run(packet)
		if got := p.Match(packet, uint32(len(packet))); err != nil || got != (n > 0) {
			t.Errorf("%q: Match %v, machine %d, %v", expr, got, n, err)
		}
	}
	if valid < 1000 {
		t.Errorf("only %d expressions were valid", valid)
	}
}
