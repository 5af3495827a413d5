package policy

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestAddNever(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a port", "port=443", "never port=443; unknown: drop"},
		{"ranges", "port=443, 6000-6010", "never port=443 port=6000-6010; unknown: drop"},
		{"a namespace", "namespace=pay*", "never namespace=pay*; unknown: drop"},
		{"a label has two equals signs", "label=tier=secret", "never label=tier=secret; unknown: drop"},
		{"a pattern with equals signs", "pattern=a=b", `never pattern="a=b"; unknown: drop`},
		{"no kind", "443", ""},
		{"an unknown kind", "colour=red", ""},
		{"a port too large", "port=65536", ""},
		{"a reversed range", "port=10-5", ""},
		{"an empty pattern", "pattern=", ""},
		{"an invalid pattern", "pattern=a(", ""},
		{"a pattern that RE2 does not support", `pattern=(a)\1`, ""},
		{"a broken glob", "namespace=[", ""},
		{"no value", "namespace=", ""},
	} {
		var p Policy
		err := p.AddNever(c.text)
		if (err != nil) != (c.want == "") || err == nil && p.String() != c.want {
			t.Errorf("%s: %q, error %v, want %q", c.name, p.String(), err, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	whole := `
only: {namespace: [shop, pay]}
never:
- namespace: secret
- {workload: shop/billing-*, port: 5432}
- port: [80, 6000-6100]
- pattern: '\bBEGIN [A-Z ]*KEY'
unknown: keep
max-age:
- {namespace: shop, age: 1h}
- {namespace: 'pay*', age: 90s}
`
	for _, c := range []struct{ name, text, want string }{
		{"every member", whole, `never namespace=secret; workload=shop/billing-* port=5432; port=80 port=6000-6100; pattern="\\bBEGIN [A-Z ]*KEY"; unknown: keep`},
		{"a rule that must be sure", "never: [{workload: a/b, port: 0-65535, unknown: keep}]", "never workload=a/b port=0-65535 unknown=keep; unknown: drop"},
		{"a rule that is not sure", "never: [{workload: a/b, unknown: drop}]", "error"},
		{"a misspelled member", "never: [{namespce: a}]", "error"},
		{"a rule without conditions", "never: [{}]", "error"},
		{"a rule that is null", "never: [{namespace: ~}]", "error"},
		{"an empty file", "", "error"},
		{"not a mapping", "[1, 2]", "error"},
		{"ages below a second", "max-age: [{namespace: a, age: 10ms}]", "error"},
		{"an invalid age", "max-age: [{namespace: a, age: soon}]", "error"},
		{"an invalid value of unknown", "unknown: perhaps", "error"},
		{"an invalid port", "never: [{port: http}]", "error"},
		{"aliases of aliases", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nnever: [*b]", "error"},
	} {
		var p Policy
		err := p.Parse([]byte(c.text))
		if (err != nil) != (c.want == "error") || err == nil && p.String() != c.want {
			t.Errorf("%s: %q, error %v", c.name, p.String(), err)
		}
	}
	var p Policy
	if err := p.Parse([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	if len(p.MaxAge) != 2 || p.MaxAge[1].Age != 90*time.Second || len(p.Only.Namespaces) != 2 {
		t.Errorf("%+v", p)
	}
}

func TestLongPolicyText(t *testing.T) {
	var p Policy
	for range 900 {
		p.Never = append(p.Never, Rule{Ports: []Ports{{1, 65535}}})
	}
	if text := p.String(); len(text) > maxText+150 || !strings.Contains(text, "900 rules, SHA-256") {
		t.Errorf("%d bytes: %s", len(text), text[len(text)-100:])
	}
}

// Handmade packets.

func ip4(proto byte, frag uint16, body []byte) []byte {
	b := make([]byte, 20, 20+len(body))
	b[0], b[5], b[9] = 0x45, 7, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	binary.BigEndian.PutUint16(b[6:], frag)
	copy(b[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	return append(b, body...)
}

func ip6(proto byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0], b[6], b[23], b[39] = 0x60, proto, 1, 2
	return append(b, body...)
}

func ports(src, dst uint16, head int, payload string) []byte {
	b := make([]byte, head)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	if head >= 20 {
		b[12] = byte(head/4) << 4
	}
	return append(b, payload...)
}

func ether(kind uint16, body []byte, tags ...uint16) []byte {
	b := make([]byte, 12)
	for _, t := range tags {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, t), 5)
	}
	return append(binary.BigEndian.AppendUint16(b, kind), body...)
}

func judge(t testing.TB, unknown Unknown, never ...string) *Judge {
	t.Helper()
	p := Policy{Unknown: unknown}
	for _, n := range never {
		if err := p.AddNever(n); err != nil {
			t.Fatal(err)
		}
	}
	j, err := New(&p)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJudgeBytes(t *testing.T) {
	udpTo := func(port uint16) []byte { return ports(1000, port, 8, "hello secret") }
	vxlan := append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, ether(etherIPv4, ip4(tcp, 0, ports(9, 5432, 20, "")))...)
	geneve := append([]byte{1, 0, 0x65, 0x58, 0, 0, 1, 0, 1, 2, 3, 4}, ether(etherIPv4, ip4(tcp, 0, ports(9, 5432, 20, "")))...)
	quoted := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, ip4(udp, 0, udpTo(5432)[:8])...)
	deep := ip4(tcp, 0, ports(1, 2, 20, ""))
	for range 9 {
		deep = ip4(ipip, 0, deep)
	}
	for _, c := range []struct {
		name   string
		packet []byte
		want   Fate
	}{
		{"destination port", ip4(udp, 0, udpTo(5432)), Forbidden},
		{"source port", ip4(tcp, 0, ports(5432, 7, 20, "")), Forbidden},
		{"in a range", ip4(udp, 0, udpTo(6005)), Forbidden},
		{"a different port", ip4(udp, 0, udpTo(5433)), Kept},
		{"a protocol without ports", ip4(89, 0, udpTo(5432)), Kept},
		{"over IPv6", ip6(udp, udpTo(5432)), Forbidden},
		{"after IPv6 extension headers", ip6(hopByHop, append([]byte{destOpts, 0, 0, 0, 0, 0, 0, 0, udp, 0, 0, 0, 0, 0, 0, 0}, udpTo(5432)...)), Forbidden},
		{"a different port after IPv6 extension headers", ip6(hopByHop, append([]byte{udp, 0, 0, 0, 0, 0, 0, 0}, udpTo(80)...)), Kept},
		{"after an authentication header", ip4(ah, 0, append([]byte{udp, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, udpTo(5432)...)), Forbidden},
		{"IP in IP", ip4(ipip, 0, ip4(tcp, 0, ports(9, 5432, 20, ""))), Forbidden},
		{"IPv6 in IPv4", ip4(ip6in, 0, ip6(tcp, ports(9, 5432, 20, ""))), Forbidden},
		{"in GRE", ip4(gre, 0, append([]byte{0x20, 0, 8, 0, 0, 0, 0, 1}, ip4(tcp, 0, ports(9, 5432, 20, ""))...)), Forbidden},
		{"in VXLAN", ip4(udp, 0, ports(7, 4789, 8, string(vxlan))), Forbidden},
		{"in Geneve with options", ip4(udp, 0, ports(7, 6081, 8, string(geneve))), Forbidden},
		{"quoted by an ICMP error", ip4(icmp4, 0, quoted), Forbidden},
		{"an ICMP echo", ip4(icmp4, 0, append([]byte{8}, quoted[1:]...)), Kept},
		{"nested too deeply to parse", deep, Forbidden},
		{"truncated before the ports", ip4(udp, 0, udpTo(80)[:3]), Forbidden},
		{"not an IP packet", []byte{1, 2, 3}, Forbidden},
		{"the pattern", ip4(udp, 0, ports(1, 2, 8, "card 4111111111111111.")), Forbidden},
		{"the pattern in another protocol", ip4(89, 0, []byte("card 4111111111111111.")), Forbidden},
		{"almost the pattern", ip4(udp, 0, ports(1, 2, 8, "card 411111111111111.")), Kept},
		{"the pattern is not searched for in headers", ip4(tcp, 0, ports(1, 2, 20, "")), Kept},
	} {
		j := judge(t, Default, "port=5432", "port=6000-6010", `pattern=\b[0-9]{16}\b`)
		if got := j.Packet(Marks{}, c.packet); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestFragments: later fragments have no ports, and share the fate of the first.
func TestFragments(t *testing.T) {
	first := func(port uint16) []byte { return ip4(udp, 0x2000, ports(1, port, 8, "12345678")) }
	later := ip4(udp, 2, []byte("the rest"))
	for _, c := range []struct {
		name    string
		unknown Unknown
		first   []byte
		want    Fate
	}{
		{"after a forbidden first fragment", Default, first(53), Forbidden},
		{"after a different first fragment", Default, first(54), Kept},
		{"without a first fragment", Default, nil, Forbidden},
		{"without a first fragment, and unknown is keep", Keep, nil, Kept},
	} {
		j := judge(t, c.unknown, "port=53")
		if c.first != nil {
			j.Packet(Marks{}, c.first)
		}
		if got := j.Packet(Marks{}, later); got != c.want {
			t.Errorf("a fragment %s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestJudgeOwners(t *testing.T) {
	shop, pay, fresh := workload.Subject{Namespace: "shop", Pod: "web"}, workload.Subject{Namespace: "pay", Pod: "db"}, workload.Subject{Unnamed: true}
	packet := ip4(tcp, 0, ports(9, 5432, 20, ""))
	both := Policy{Never: []Rule{{Owner: workload.Selector{Namespaces: []string{"pay"}}, Ports: []Ports{{5432, 5432}}}}}
	never := Policy{Never: []Rule{{Owner: workload.Selector{Namespaces: []string{"pay"}}}}}
	sure := Policy{Never: []Rule{{Owner: workload.Selector{Namespaces: []string{"pay"}}, Ports: []Ports{{0, 65535}}, Sure: true}}}
	only := Policy{Only: workload.Selector{Namespaces: []string{"shop"}}}
	for _, c := range []struct {
		name        string
		policy      Policy
		unknown     Unknown
		local, peer *workload.Subject
		want        Fate
	}{
		{"forbidden", never, "", &pay, nil, Forbidden},
		{"not forbidden", never, "", &shop, nil, Kept},
		{"the other side is forbidden", never, "", &shop, &pay, Forbidden},
		{"unknown whether forbidden", never, "", &fresh, nil, Forbidden},
		{"unknown whether forbidden, and unknown is keep", never, Keep, &fresh, nil, Kept},
		{"the other side is unknown", never, "", &shop, &fresh, Kept},
		{"both conditions", both, "", &pay, nil, Forbidden},
		{"one of two conditions", both, "", &shop, nil, Kept},
		{"a rule that is sure", sure, "", &pay, nil, Forbidden},
		{"a rule that is sure, of the other side", sure, "", &shop, &pay, Forbidden},
		{"a rule that may match and must be sure", sure, "", &fresh, nil, Kept},
		{"a rule that may match and must be sure, and unknown is drop", sure, Drop, &fresh, nil, Kept},
		{"wanted", only, "", &shop, nil, Kept},
		{"not wanted", only, "", &pay, nil, Unwanted},
		{"the other side is wanted", only, "", &pay, &shop, Kept},
		{"unknown whether wanted", only, "", &fresh, nil, Kept},
		{"unknown whether wanted, and unknown is drop", only, Drop, &fresh, nil, Unwanted},
	} {
		c.policy.Unknown = c.unknown
		j, err := New(&c.policy)
		if err != nil {
			t.Fatal(err)
		}
		m := j.Marks(c.local)
		if c.peer != nil {
			m = m.Or(j.Marks(c.peer))
		}
		if got := j.Packet(m, packet); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestJudgeFrames(t *testing.T) {
	p := Policy{Never: []Rule{{Owner: workload.Selector{Namespaces: []string{"pay"}}}, {Ports: []Ports{{53, 53}}}}}
	for _, c := range []struct {
		name  string
		who   string // namespace of 10.0.0.2; "" if unknown
		frame []byte
		want  Fate
	}{
		{"to a forbidden namespace", "pay", ether(etherIPv4, ip4(tcp, 0, ports(1, 2, 20, ""))), Forbidden},
		{"to another namespace", "shop", ether(etherIPv4, ip4(tcp, 0, ports(1, 2, 20, ""))), Kept},
		{"to an unknown address", "", ether(etherIPv4, ip4(tcp, 0, ports(1, 2, 20, ""))), Forbidden},
		{"port after VLAN tags", "shop", ether(etherIPv4, ip4(udp, 0, ports(1, 53, 8, "")), 0x88A8, 0x8100), Forbidden},
		{"port after MPLS labels", "shop", ether(0x8847, append([]byte{0, 0, 0, 9, 0, 0, 1, 9}, ip4(udp, 0, ports(1, 53, 8, ""))...)), Forbidden},
		{"port in PPP", "shop", ether(0x8864, append([]byte{0x11, 0, 0, 1, 0, 9, 0, 0x21}, ip4(udp, 0, ports(1, 53, 8, ""))...)), Forbidden},
		{"ARP", "", ether(0x0806, make([]byte, 28)), Kept},
		{"an unknown EtherType", "shop", ether(0x9999, make([]byte, 28)), Forbidden},
		{"a truncated frame", "shop", []byte{1, 2, 3}, Forbidden},
	} {
		j, err := New(&p)
		if err != nil {
			t.Fatal(err)
		}
		j.Address = func(a netip.Addr, _ uint16, _ uint8) (Marks, bool) {
			if c.who == "" || a != netip.MustParseAddr("10.0.0.2") {
				return Marks{}, false
			}
			return j.Marks(&workload.Subject{Namespace: c.who, Pod: "x"}), true
		}
		if got := j.Frame(c.frame); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestRulesThatMustBeSure do not apply to what cannot be read.
func TestRulesThatMustBeSure(t *testing.T) {
	p := Policy{Never: []Rule{{Owner: workload.Selector{Namespaces: []string{"pay"}}, Ports: []Ports{{0, 65535}}, Sure: true}}}
	j, err := New(&p)
	if err != nil {
		t.Fatal(err)
	}
	deep := ip4(tcp, 0, ports(1, 2, 20, ""))
	for range maxDepth + 1 {
		deep = ip4(4, 0, deep) // IP in IP
	}
	for name, got := range map[string]Fate{
		"to an unknown address":  j.Frame(ether(etherIPv4, ip4(tcp, 0, ports(1, 2, 20, "")))),
		"an unknown EtherType":   j.Frame(ether(0x9999, make([]byte, 28))),
		"deeper than is parsed":  j.Packet(Marks{}, deep),
		"a fragment of somebody": j.Packet(j.Marks(&workload.Subject{Unnamed: true}), ip4(tcp, 100, make([]byte, 20))),
	} {
		if got != Kept {
			t.Errorf("%s: %d, want %d", name, got, Kept)
		}
	}
}

// FuzzJudge passes arbitrary bytes to a judge.
func FuzzJudge(f *testing.F) {
	f.Add(ether(etherIPv4, ip4(udp, 0, ports(1, 4789, 8, "\x08\x00\x00\x00\x00\x00\x01\x00"+string(ether(etherIPv6, ip6(tcp, ports(1, 2, 20, ""))))))))
	f.Add(ether(etherIPv6, ip6(fragment, []byte{udp, 0, 0, 9, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4})))
	f.Add(ether(0x8847, []byte{0, 0, 1, 1, 0x45}))
	j := judge(f, Default, "port=1", "namespace=a", "pattern=[a-z]+x")
	f.Fuzz(func(t *testing.T, frame []byte) {
		a, b := j.Frame(frame), j.Packet(Marks{}, frame)
		if a > Forbidden || b > Forbidden {
			t.Fatal("an invalid fate")
		}
	})
}

// FuzzParse parses arbitrary bytes as a policy.
func FuzzParse(f *testing.F) {
	f.Add([]byte("never: [{namespace: a, port: [1, 2-3]}]\nmax-age: [{namespace: a, age: 1h}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Policy
		if p.Parse(text) == nil {
			if _, err := New(&p); err != nil {
				t.Fatalf("New refuses a policy that Parse accepted: %v", err)
			}
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	packet := ip4(udp, 0, ports(1000, 2000, 8, strings.Repeat("x", 36)))
	for name, never := range map[string][]string{"ports": {"port=5432"}, "namespace": {"namespace=pay"}, "pattern": {`pattern=\b[0-9]{16}\b`}} {
		b.Run(name, func(b *testing.B) {
			j := judge(b, Default, never...)
			m := j.Marks(&workload.Subject{Namespace: "shop", Pod: "x"})
			for b.Loop() {
				if j.Packet(m, packet) != Kept {
					b.Fatal("not kept")
				}
			}
		})
	}
}
