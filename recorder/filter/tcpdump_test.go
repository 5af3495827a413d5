package filter

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/internal/nightly"

	"golang.org/x/net/bpf"
)

// expressions must have the same results in tcpdump and in this package, on every link type
// that both know.
const expressions = `
ip
ip6
arp
rarp
tcp
udp
sctp
icmp
icmp6
igmp
ah
esp
pim
vrrp
stp
ipx
netbeui
iso
isis
clnp
esis
l1
l2
iih
lsp
snp
csnp
psnp
atalk
aarp
decnet
ip or ip6
not ip
not ip6 and not ip
proto 6
proto 17
proto 50
ip proto 47
ip proto gre
ip proto \tcp
ip6 proto 58
ip6 proto 44
proto \udp
ether proto 0x88cc
ether proto \arp
ether proto 0x42
ether proto \stp
iso proto 0x83
isis proto 16
tcp port 80
tcp port http
udp port 53
port 53
port domain
port 80 or 443
not port 22
src port 53
dst port 53
src or dst port 53
src and dst port 53
sctp port 2905
portrange 1-1024
portrange 1024-1
tcp portrange 80-443
src portrange 1-1024
udp dst portrange 5000-6000
tcp port (80 or 8080 or 443)
tcp port (80 or (8080 or 443))
tcp dst port 80 and tcp[13] = 2
host 127.0.0.1
host 10.0.0.1 or 192.168.1.1
host ::1
host 192.168.0.1 and not port 22
net 10
net 10.0.0.0/8
net 192.168
net 172.16.0.0 mask 255.240.0.0
src net 192.168.0.0/16
dst net 10.0.0.0/8 or 192.168.0.0/16
src and dst net 10.0.0.0/8
src or dst net 10.0.0.0/8
arp net 192.168
arp host 192.168.1.1
rarp src host 0.0.0.0
ip6 net fe80::/10
net fe80::/10
net 2001::/16
ip6 host ff02::1
dst net ff00::/8
ip net 0.0.0.0/0
net ::/0
ip host 192.168.1.1
ether broadcast
broadcast
ether multicast
multicast
ip multicast
ip6 multicast
ip broadcast
ether host ff:ff:ff:ff:ff:ff
ether dst 01:00:5e:00:00:fb
ether src host 00:00:00:00:00:00
vlan
vlan 1
vlan 100 and tcp
vlan and ip
vlan and vlan
vlan and vlan and ip and udp
vlan or ip
vlan and (ip or ip6 or arp)
not vlan
ip or (vlan and ip)
mpls
mpls and ip
mpls and mpls and tcp
mpls 16
mpls 100000 and ip6
vlan and mpls
pppoed
pppoes
pppoes and ip
pppoes 1 and ip and tcp
pppoes and ip6
pppoes and (ip host 10.0.0.1 or icmp)
less 64
greater 1000
len > 100
len <= 60
len = 60
len & 1 = 1
less 100 or greater 1000
tcp[13] & 2 != 0
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[tcpflags] & (tcp-rst|tcp-ack) == tcp-ack
tcp[tcpflags] = tcp-syn
tcp[0:2] = 80 or tcp[2:2] = 80
tcp[4:4] > 0x7fffffff
(ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2)) != 0
tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420
tcp[(tcp[12] >> 2) & 60:2] = 0x1603
ip[0] & 0xf != 5
ip[0:2] > 0x4500
ip[6:2] & 0x1fff != 0
ip[8] < 64
ip[9] = 17 and udp[4:2] > 100
ip[2:2] + 14 = len
ip[len - 20] = 0
ip6[6] = 58
ip6[4:2] > 100
icmp[icmptype] = icmp-echo
icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply
icmp[icmpcode] > 0
icmp6[icmp6type] = icmp6-neighborsolicit
icmp6[icmp6type] >= 133
udp[8:2] = 0
udp[10] & 0x80 = 0
ether[0] & 1 = 1
ether[12:2] = 0x800
ether[12:2] > 1500
ether[100] = 0
link[0] != 0
arp[6:2] = 1
arp[7] = 2
sctp[12] = 1
igmp[0] = 0x16
ip[1] * 2 / 2 % 3 ^ 1 | 2 = 2
ip[0] / ip[1] = 1
tcp[0] / tcp[1] > 1
-ip[0] < 0xffffffc0
1 + ip[0] = 0x46
5 < len
5 = 5
5 = 6
!tcp
! tcp && ! udp
tcp && port 80 || udp && port 53
tcp and (port 80 or port 443)
not (tcp or udp)
not not tcp
(tcp)
((tcp and (ip)))
tcp and not dst port 80 and src port 80
ip and tcp and ip[8] > 1 and len > 40
ip6 and tcp
ip6 and udp port 53
port 67 or port 68
inbound
outbound
`

type tcpdumpPacket struct {
	data []byte
	orig uint32
}

// tcpdump returns the packets of a capture that match according to tcpdump.
func tcpdump(t *testing.T, file, expr string) (link uint16, packets []tcpdumpPacket, refused string) {
	var out, diag bytes.Buffer
	cmd := exec.Command("tcpdump", "-n", "-r", file, "-w", "-", "--", expr)
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	b := out.Bytes()
	if len(b) < 24 {
		if err == nil {
			t.Fatalf("tcpdump %s %q: no output", file, expr)
		}
		return 0, nil, diag.String()
	}
	link = binary.LittleEndian.Uint16(b[20:])
	for b = b[24:]; len(b) >= 16; {
		n := binary.LittleEndian.Uint32(b[8:])
		if int(n) > len(b)-16 {
			break
		}
		packets = append(packets, tcpdumpPacket{b[16 : 16+n], binary.LittleEndian.Uint32(b[12:])})
		b = b[16+n:]
	}
	return link, packets, ""
}

func captureFiles(t *testing.T) []string {
	root := captures.Dir(t)
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".pcap") || strings.HasSuffix(path, ".pcapng") || strings.HasSuffix(path, ".cap")) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ownAddresses makes expressions from the addresses and ports in packets.
func ownAddresses(link uint16, packets []tcpdumpPacket) []string {
	var out []string
	for i, p := range packets {
		l := newLayout(link)
		if d := p.data; l.known && len(d) >= l.payload+40 && (i == 0 || i == len(packets)/2) {
			ip := d[l.payload:]
			switch ip[0] >> 4 {
			case 4:
				a, b := ip[12:16], ip[16:20]
				out = append(out,
					fmt.Sprintf("host %d.%d.%d.%d", a[0], a[1], a[2], a[3]),
					fmt.Sprintf("dst %d.%d.%d.%d", b[0], b[1], b[2], b[3]),
					fmt.Sprintf("src and dst net %d.%d.%d", a[0], a[1], a[2]),
					fmt.Sprintf("tcp src port %d or udp dst port %d", binary.BigEndian.Uint16(ip[20:]), binary.BigEndian.Uint16(ip[22:])))
			case 6:
				out = append(out, fmt.Sprintf("src host %x:%x:%x:%x:%x:%x:%x:%x", words(ip[8:24])...),
					fmt.Sprintf("net %x:%x::/32", words(ip[24:28])...), fmt.Sprintf("port %d", binary.BigEndian.Uint16(ip[40-2:])))
			}
			if link == linkEthernet {
				out = append(out, fmt.Sprintf("ether src %x:%x:%x:%x:%x:%x", d[6], d[7], d[8], d[9], d[10], d[11]))
			}
		}
	}
	return out
}

func words(b []byte) (out []any) {
	for ; len(b) > 1; b = b[2:] {
		out = append(out, uint16(b[0])<<8|uint16(b[1]))
	}
	return out
}

// TestAgreesWithTcpdumpOnOtherLinkTypes puts the link headers that few captures have before
// IP packets, and also reads Ethernet frames as frames of those links.
func TestAgreesWithTcpdumpOnOtherLinkTypes(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	bits := map[uint16][2]string{ // link type to headers before IPv4 and IPv6
		linkNull:        {"02000000", "1e000000"},
		linkTokenRing:   {"1040" + ether + "aaaa030000000800", "1040" + ether + "aaaa0300000086dd"},
		linkArcnet:      {"0102d4000000", "0102c4000000"},
		linkSLIP:        {"00000000000000000000000000000000", "00000000000000000000000000000000"},
		linkPPP:         {"ff030021", "ff030057"},
		linkFDDI:        {"50" + ether + "aaaa030000000800", "50" + ether + "aaaa0300000086dd"},
		linkRawOld:      {"", ""},
		linkPPPSerial:   {"ff030021", "ff030057"},
		linkPPPEther:    {"1100000100280021", "1100000100280057"},
		linkATM:         {"aaaa030000000800", "aaaa0300000086dd"},
		linkATMClassic:  {"aaaa030000000800", "aaaa0300000086dd"},
		linkRaw:         {"", ""},
		linkCHDLC:       {"0f000800", "0f0086dd"},
		linkFrameRelay:  {"184103cc", "1841038e"},
		linkLoop:        {"00000002", "0000001c"},
		linkEnc:         {"020000000000000000000000", "180000000000000000000000"},
		linkSLL:         {"00040001000600112233445500000800", "000000010006001122334455000086dd"},
		linkArcnetLinux: {"01020000d4000000", "01020000c4000000"},
		linkFireWire:    {"001122334455667700112233445566770800", "0011223344556677001122334455667786dd"},
		linkPPPD:        {"01030021", "00030057"},
		linkIPv4:        {"", ""},
		linkIPv6:        {"", ""},
		linkSLL2:        {sll2Out[:40], "86dd" + "0000000000050001" + "0006" + "0011223344550000"},
	}
	var frames []tcpdumpPacket
	for i, file := range captureFiles(t) {
		if strings.Contains(file, "/dns/") && i%7 == 0 || strings.Contains(file, "/icmp/") && i%5 == 0 || strings.Contains(file, "/ipfrag/") && i%5 == 0 {
			if link, all, _ := tcpdump(t, file, ""); link == linkEthernet {
				frames = append(frames, all[:min(len(all), 20)]...)
			}
		}
	}
	sample := uint32(40)
	if nightly.On() {
		sample = 1
	}
	var c counts
	for link, headers := range bits {
		var packets []tcpdumpPacket
		for _, f := range frames {
			packets = append(packets, f)
			for i, proto := range []string{"\x08\x00", "\x86\xdd"} {
				if len(f.data) > 14 && string(f.data[12:14]) == proto {
					h, err := hex.DecodeString(headers[i])
					if err != nil {
						t.Fatal(err)
					}
					packets = append(packets, tcpdumpPacket{append(h, f.data[14:]...), f.orig})
				}
			}
		}
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.pcap", link))
		if err := os.WriteFile(file, classic(link, packets), 0o600); err != nil {
			t.Fatal(err)
		}
		link, all, refused := tcpdump(t, file, "")
		if len(all) != len(packets) {
			t.Fatalf("link type %d: %s", link, refused)
		}
		for _, expr := range append(ownAddresses(link, all), strings.Split(strings.TrimSpace(expressions), "\n")...) {
			if chosen(file, expr, sample) {
				c.compare(t, file, expr, link, all)
			}
		}
	}
	t.Log(c.String())
}

// classic writes a capture file.
func classic(link uint16, packets []tcpdumpPacket) []byte {
	var b bytes.Buffer
	word := func(v uint32) { b.Write(binary.LittleEndian.AppendUint32(nil, v)) }
	for _, v := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 1 << 17, uint32(link)} {
		word(v)
	}
	for i, p := range packets {
		for _, v := range []uint32{uint32(i), 0, uint32(len(p.data)), max(p.orig, uint32(len(p.data)))} {
			word(v)
		}
		b.Write(p.data)
	}
	return b.Bytes()
}

// TestAgreesWithTcpdump compares the results of tcpdump and of this package. It uses a fixed
// sample; make nightly runs every expression, for about twenty minutes.
func TestAgreesWithTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	files := captureFiles(t)
	list := strings.Split(strings.TrimSpace(expressions), "\n")
	sample := uint32(400)
	if nightly.On() {
		sample = 1
	}
	var c counts
	work := make(chan string)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for file := range work {
				var link uint16
				var all []tcpdumpPacket
				for _, expr := range list {
					if !chosen(file, expr, sample) {
						continue
					}
					if all == nil {
						link, all, _ = tcpdump(t, file, "")
						if len(all) == 0 {
							break
						}
						for _, own := range ownAddresses(link, all) {
							if chosen(file, own, min(sample, 8)) {
								c.compare(t, file, own, link, all)
							}
						}
					}
					c.compare(t, file, expr, link, all)
				}
			}
		})
	}
	for _, f := range files {
		work <- f
	}
	close(work)
	wg.Wait()
	t.Logf("%d files: %s", len(files), c.String())
}

func chosen(file, expr string, sample uint32) bool {
	h := fnv.New32a()
	h.Write([]byte(filepath.Base(file) + "\x00" + expr))
	return h.Sum32()%sample == 0
}

// counts counts comparisons and matched packets.
type counts struct {
	compared, different, unknown, refused, matched atomic.Int64
}

func (c *counts) String() string {
	return fmt.Sprintf("%d comparisons: %d differ, %d have unknown link types, %d are refused by tcpdump, %d packets matched",
		c.compared.Load(), c.different.Load(), c.unknown.Load(), c.refused.Load(), c.matched.Load())
}

func (c *counts) compare(t *testing.T, file, expr string, link uint16, all []tcpdumpPacket) {
	c.compared.Add(1)
	_, want, refused := tcpdump(t, file, expr)
	p, err := Compile(expr, link, 0)
	var linkErr *LinkTypeError
	switch {
	case refused != "" && strings.Contains(refused, "tcpdump: "):
		c.refused.Add(1)
		return
	case errors.As(err, &linkErr):
		c.unknown.Add(1)
		return
	case err != nil:
		c.different.Add(1)
		t.Errorf("%s: %q on link type %d: %v, but tcpdump accepts it", file, expr, link, err)
		return
	}
	vm := newVM(t, p)
	var got []tcpdumpPacket
	for _, q := range all {
		m := p.Match(q.data, q.orig)
		if m {
			got = append(got, q)
		}
		if int(q.orig) == len(q.data) {
			if n, err := vm.Run(q.data); err != nil || (n > 0) != m {
				t.Errorf("%s: %q: Match %v, machine %d, %v", file, expr, m, n, err)
			}
		}
	}
	c.matched.Add(int64(len(got)))
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		same = bytes.Equal(got[i].data, want[i].data)
	}
	if !same {
		c.different.Add(1)
		t.Errorf("%s: %q on link type %d: %d packets of %d, tcpdump %d", file, expr, link, len(got), len(all), len(want))
	}
}

func newVM(t *testing.T, p *Program) *bpf.VM {
	t.Helper()
	var list []bpf.Instruction
	for _, r := range p.Instructions() {
		list = append(list, r.Disassemble())
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatalf("the machine refuses the program: %v", err)
	}
	return vm
}
