package layers

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

type packet struct {
	link uint32
	data []byte
}

// packets reads up to most packets of a capture.
func packets(t *testing.T, path string, most int) (list []packet) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapng.Batch
	for {
		err := r.Next(&b)
		for i := range b.Packets {
			if len(list) < most {
				list = append(list, packet{uint32(b.Packets[i].LinkType), slices.Clone(b.Packets[i].Data)})
			}
		}
		if errors.Is(err, io.EOF) || len(list) == most {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

type pdml struct {
	Packets []struct {
		Protos []element `xml:"proto"`
	} `xml:"packet"`
}

type element struct {
	Name   string    `xml:"name,attr"`
	Pos    string    `xml:"pos,attr"`
	Size   string    `xml:"size,attr"`
	Show   string    `xml:"show,attr"`
	Fields []element `xml:"field"`
	Protos []element `xml:"proto"`
}

// places adds where Wireshark shows each field.
func (e element) places(into map[string]bool) {
	into[e.Name+" "+e.Pos+" "+e.Size] = true
	for _, f := range append(e.Fields, e.Protos...) {
		f.places(into)
	}
}

// TestFieldsAreWhereWiresharkShowsThem compares the range of every field with tshark.
func TestFieldsAreWhereWiresharkShowsThem(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	seen := map[string]int{}
	for _, name := range []string{"http1.pcapng", "dns.pcap", "icmp.pcap", "shop.pcapng", "tls.pcapng", "dhcp.pcapng", "ntp.pcapng", "http2.pcap"} {
		path := filepath.Join("../../../samples", name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		list := packets(t, path, 120)
		// Without reassembly, because a packet is read alone.
		out, err := exec.Command("tshark", "-r", path, "-T", "pdml", "-c", strconv.Itoa(len(list)), "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "http.desegment_headers:FALSE", "-o", "http.desegment_body:FALSE", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE").Output()
		if err != nil {
			t.Fatal(err)
		}
		var doc pdml
		if err := xml.Unmarshal(out, &doc); err != nil || len(doc.Packets) != len(list) {
			t.Fatalf("%s: %d of %d packets, %v", name, len(doc.Packets), len(list), err)
		}
		for i, p := range list {
			there := map[string]bool{}
			for _, proto := range doc.Packets[i].Protos {
				proto.places(there)
			}
			for at := range there { // Wireshark knows from the handshake that a record is one of TLS 1.3
				there[strings.Replace(at, "tls.record.opaque_type ", "tls.record.content_type ", 1)] = true
			}
			for _, l := range Split(p.link, p.data) {
				for _, f := range l.Fields {
					seen[f.Name]++
					if at := f.Name + " " + strconv.Itoa(f.Start) + " " + strconv.Itoa(f.End-f.Start); !there[at] {
						var others []string
						for k := range there {
							if strings.HasPrefix(k, f.Name+" ") {
								others = append(others, k)
							}
						}
						t.Errorf("%s, frame %d: %s = %q; tshark has %q", name, i+1, at, f.Value, others)
					}
				}
			}
		}
	}
	for _, name := range []string{"eth.dst", "ip.src", "tcp.flags", "tcp.options.mss_val", "udp.length", "dns.qry.name", "dns.a", "http.request.uri", "http.response.line", "icmp.seq"} {
		if seen[name] == 0 {
			t.Errorf("no packet has %s", name)
		}
	}
}

// covered checks that layers divide a packet and that fields lie within their layer.
func covered(t *testing.T, data []byte, list []Layer) {
	t.Helper()
	at := 0
	for _, l := range list {
		if l.Start != at || l.End < l.Start {
			t.Fatalf("%x: layer %s is %d to %d, after %d", data, l.Name, l.Start, l.End, at)
		}
		at = l.End
		for _, f := range l.Fields {
			if f.Start < l.Start || f.End > l.End || f.Start > f.End {
				t.Fatalf("%x: field %s is %d to %d, in a layer from %d to %d", data, f.Name, f.Start, f.End, l.Start, l.End)
			}
		}
	}
	if at != len(data) {
		t.Fatalf("%x: layers end at %d of %d", data, at, len(data))
	}
}

// TestEveryByteIsInALayer splits packets of all link types, and their beginnings.
func TestEveryByteIsInALayer(t *testing.T) {
	list, err := filepath.Glob("../../../samples/*.pcap*")
	if err != nil || len(list) < 20 {
		t.Fatal(list, err)
	}
	for _, path := range list {
		for _, p := range packets(t, path, 30) {
			covered(t, p.data, Split(p.link, p.data))
			for n := 0; n < min(len(p.data), 120); n += 3 {
				covered(t, p.data[:n], Split(p.link, p.data[:n]))
			}
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names lists layers and fields.
func names(list []Layer) string {
	var out []string
	for _, l := range list {
		s := l.Name
		if l.Content {
			s += "*"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestSplit(t *testing.T) {
	const eth = "0a0b0c0d0e0f 1a1b1c1d1e1f "
	const ip = "45 00 0020 0001 0000 40 11 0000 0a000001 0a000002 "
	for _, tc := range []struct {
		what string
		link uint32
		data string
		want string
	}{
		{"an empty packet", 1, "", ""},
		{"a packet shorter than its header", 1, "0a0b0c", "data*"},
		{"an unknown link type", 147, "0a0b0c", "data*"},
		{"an unknown EtherType", 1, eth + "9999 0102", "eth data*"},
		{"an IP header that ends early", 1, eth + "0800 4500", "eth data*"},
		{"an IP header of 4 bytes", 1, eth + "0800 41 00 0020 0001 0000 40 11 0000 0a000001 0a000002", "eth data*"},
		{"UDP, with padding behind", 1, eth + "0800" + ip + "0035 8000 000c 0000 aabbccdd 0000", "eth ip udp data* padding*"},
		{"a fragment behind the first", 101, "45 00 0018 0001 0002 40 11 0000 0a000001 0a000002 aabbccdd", "ip data*"},
		{"two VLANs", 1, eth + "88a8 0001 8100 0002 9999 00", "eth vlan vlan data*"},
		{"ARP", 1, eth + "0806 0001 0800 06 04 0001 1a1b1c1d1e1f 0a000001 000000000000 0a000002 0000", "eth arp padding*"},
		{"a length instead of a type", 1, eth + "0003 424203 000000", "eth data* padding*"},
		{"VXLAN", 101, "45 00 0034 0001 0000 40 11 0000 0a000001 0a000002 8000 12b5 0020 0000 08000000 00000500" + eth + "9999 0102", "ip udp vxlan eth data*"},
		{"GRE with a key", 101, "45 00 0038 0001 0000 40 2f 0000 0a000001 0a000002 2000 0800 00000007 45 00 0014 0001 0000 40 fd 0000 0a000001 0a000002", "ip gre ip"},
		{"an IPv6 extension header", 101, "60000000 0010 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002 11 00 010400000000 0001 0002 0008 0000", "ipv6 ipv6.hopopts udp"},
		{"a loopback header", 0, "02000000 45 00 0014 0001 0000 40 fd 0000 7f000001 7f000001", "null ip"},
		{"an ICMP error quotes a packet", 101, "45 00 0024 0001 0000 40 01 0000 0a000001 0a000002 03 03 0000 00000000 45000014 deadbeef", "ip icmp data*"},
	} {
		data := unhex(t, tc.data)
		got := Split(tc.link, data)
		covered(t, data, got)
		if names(got) != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, names(got), tc.want)
		}
	}
}

// TestLayersAreLimited splits packets that claim to have ever more headers, fields and names.
func TestLayersAreLimited(t *testing.T) {
	tags := unhex(t, "0a0b0c0d0e0f 1a1b1c1d1e1f 8100"+strings.Repeat("0001 8100", 5000))
	if got := Split(1, tags); len(got) > maxLayers+2 {
		t.Errorf("%d layers", len(got))
	}
	lines := append(unhex(t, "45 00 0000 0001 0000 40 06 0000 0a000001 0a000002 8000 0050 00000000 00000000 5010 0000 0000 0000"), []byte("GET / HTTP/1.1\r\n"+strings.Repeat("a:b\r\n", 5000))...)
	got := Split(101, lines)
	covered(t, lines, got)
	if n := len(got[len(got)-1].Fields); n == 0 || n > maxFields {
		t.Errorf("%d fields", n)
	}
	loop := unhex(t, "45 00 0000 0001 0000 40 11 0000 0a000001 0a000002 8000 0035 0000 0000 0001 0100 0001 0000 0000 0000 c00c 0001 0001")
	covered(t, loop, Split(101, loop)) // the name is its own continuation
}

func FuzzSplit(f *testing.F) {
	f.Add(uint32(1), []byte("\n\v\f\r\x0e\x0f\x1a\x1b\x1c\x1d\x1e\x1f\x08\x00E\x00\x00 \x00\x01\x00\x00@\x11\x00\x00\n\x00\x00\x01\n\x00\x00\x02\x005\x80\x00\x00\f\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, link uint32, data []byte) { covered(t, data, Split(link, data)) })
}
