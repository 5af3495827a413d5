package icmp

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

func client(b []byte) dissecttest.Chunk { return dissecttest.Client(string(b)) }
func server(b []byte) dissecttest.Chunk { return dissecttest.Server(string(b)) }

// v4 makes a message with a correct checksum from bytes, in hexadecimal or raw.
func v4(typ, code byte, parts ...string) []byte {
	b := v6(typ, code, parts...)
	binary.BigEndian.PutUint16(b[2:], ^checksum(b))
	return b
}

func v6(typ, code byte, parts ...string) []byte {
	b := []byte{typ, code, 0, 0}
	for _, p := range parts {
		d, err := hex.DecodeString(strings.ReplaceAll(p, " ", ""))
		if err != nil {
			panic(err)
		}
		b = append(b, d...)
	}
	return b
}

const (
	udp4 = "45000020 00010000 40110000 0a000001 0a000002 1f90 0035 000c 0000 61626364"
	tcp6 = "60000000 0008 2c 40 20010db8000000000000000000000001 20010db8000000000000000000000002 0600 0000 00000001 c000 0050"
	addr = "20010db8000000000000000000000009"
)

// padded pads hexadecimal digits with zeros to n bytes.
func padded(digits string, n int) string {
	digits = strings.ReplaceAll(digits, " ", "")
	return digits + strings.Repeat("00", n-len(digits)/2)
}

func options(version uint8) dissecttest.Options {
	return dissecttest.Options{Transport: dissect.ICMP, Protocols: []*dissect.Protocol{Protocol()}, End: dissect.EndCapture, IPVersion: version}
}

func sketch(r *dissecttest.Result) string {
	var out []string
	for _, row := range r.Rows() {
		h, ok := row.(*Row)
		if !ok {
			out = append(out, "unknown")
			continue
		}
		s := h.Summary
		if h.Error.OK {
			s += " [" + h.Error.V + "]"
		}
		if h.Failed {
			s += " failed"
		}
		if h.DataEchoed.OK && !h.DataEchoed.V {
			s += " other data"
		}
		if h.Attempt.V > 1 {
			s += " again"
		}
		for _, l := range [][]string{h.Flags, h.Options, h.GroupActions} {
			if len(l) > 0 {
				s += " " + strings.Join(l, "|")
			}
		}
		out = append(out, s)
	}
	for _, a := range r.Anomalies {
		out = append(out, "!"+a.Kind)
	}
	return strings.Join(out, "; ")
}

func TestConformance(t *testing.T) {
	dissecttest.Run(t, Protocol(),
		dissecttest.Sample{Name: "echo", Rows: 2, Chunks: chunks{
			client(v4(8, 0, "1234 0001 6162")), server(v4(0, 0, "1234 0001 6162")), client(v4(8, 0, "1234 0002 6162")), server(v4(0, 0, "1234 0002 6162"))}},
		dissecttest.Sample{Name: "error", Rows: 1, Chunks: chunks{client(v4(3, 3, "00000000", udp4))}},
	)
}

func TestMessages(t *testing.T) {
	ping, pong := v4(8, 0, "1234 0004 6162"), v4(0, 0, "1234 0004 6162")
	for _, row := range []struct {
		name    string
		version uint8
		chunks  chunks
		want    string
	}{
		{"an echo pair", 4, chunks{client(ping), server(pong)}, "ping seq 4 → 0.001 ms"},
		{"no reply", 4, chunks{client(ping)}, "ping seq 4 → no response [no_response] failed"},
		{"a reply without request", 4, chunks{server(pong)}, "echo_reply seq 4, no request [no_request]"},
		{"a reply with another sequence number", 4, chunks{client(ping), server(v4(0, 0, "1234 0005"))},
			"echo_reply seq 5, no request [no_request]; ping seq 4 → no response [no_response] failed"},
		{"a reply with other data", 4, chunks{client(ping), server(v4(0, 0, "1234 0004 7777"))}, "ping seq 4 → 0.001 ms other data"},
		{"both hosts send requests", 4, chunks{client(ping), server(ping), client(pong), server(pong)}, "ping seq 4 → 0.001 ms; ping seq 4 → 0.003 ms"},
		{"the same request again", 4, chunks{client(ping), client(ping), server(pong)},
			"ping seq 4 → 0.001 ms again; ping seq 4 → no response [no_response] failed"},
		{"ICMPv6 echo", 6, chunks{client(v6(128, 0, "0001 0002 ff")), server(v6(129, 0, "0001 0002 ff"))}, "ping seq 2 → 0.001 ms"},
		{"a timestamp", 4, chunks{client(v4(13, 0, "0001 0001 000000010000000000000000")), server(v4(14, 0, "0001 0001 000000010000000200000003"))}, "timestamp_request seq 1 → 0.001 ms"},
		{"an extended echo", 4, chunks{client(v4(42, 0, "0001 0701")), server(v4(43, 2, "0001 0702"))}, "extended_echo_request seq 7 no_such_interface → 0.001 ms"},
		{"a node information query", 6, chunks{client(v6(139, 1, "0002 0000 0102030405060708")), server(v6(140, 0, "0002 0000 0102030405060708"))}, "node_information_query → 0.001 ms"},
		{"port unreachable", 4, chunks{server(v4(3, 3, "00000000", udp4))},
			"destination_unreachable port_unreachable, of udp 10.0.0.1:8080 → 10.0.0.2:53"},
		{"fragmentation needed", 4, chunks{client(v4(3, 4, "000005dc", udp4))},
			"destination_unreachable fragmentation_needed MTU 1500, of udp 10.0.0.1:8080 → 10.0.0.2:53"},
		{"a redirect", 4, chunks{client(v4(5, 1, "0a0000fe", udp4))}, "redirect for_host 10.0.0.254, of udp 10.0.0.1:8080 → 10.0.0.2:53"},
		{"an exceeded ping", 4, chunks{client(v4(11, 0, "00000000 4500001c 00010000 01010000 0a000001 0a000002 0800 0000 1234 0009"))},
			"time_exceeded ttl_exceeded, of icmp 10.0.0.1 → 10.0.0.2"},
		{"MPLS labels after the quote", 4, chunks{client(v4(11, 0, "00080000", udp4, "2000 0000 0008 01 01 03e81201"))},
			"time_exceeded ttl_exceeded, of udp 10.0.0.1:8080 → 10.0.0.2:53 mpls=16001/1/0/1"},
		{"MPLS labels of a router without a length field", 4, chunks{client(v4(11, 0, "00000000", padded(udp4, 128), "2000 c90d 0008 01 01 03e81201"))},
			"time_exceeded ttl_exceeded, of udp 10.0.0.1:8080 → 10.0.0.2:53 mpls=16001/1/0/1"},
		{"the same bytes with a wrong checksum", 4, chunks{client(v4(11, 0, "00000000", padded(udp4, 128), "2000 c90e 0008 01 01 03e81201"))},
			"time_exceeded ttl_exceeded, of udp 10.0.0.1:8080 → 10.0.0.2:53"},
		{"the same in ICMPv6", 6, chunks{client(v6(3, 0, "00000000", padded(tcp6, 128), "2000 c90d 0008 01 01 03e81201"))},
			"time_exceeded hop_limit_exceeded, of tcp [2001:db8::1]:49152 → [2001:db8::2]:80 mpls=16001/1/0/1"},
		{"a packet too big that quotes extension headers", 6, chunks{client(v6(2, 0, "00000500", tcp6))},
			"packet_too_big MTU 1280, of tcp [2001:db8::1]:49152 → [2001:db8::2]:80"},
		{"a router advertisement", 6, chunks{client(v6(134, 0, "40c00708 00000000 00000000 0101 020000000001 0501 0000 000005dc 0304 40c0 00000e10 00000e10 00000000", "20010db8000000000000000000000000"))},
			"router_advertisement MTU 1500 managed|other prefix=2001:db8::/64"},
		{"a neighbor solicitation", 6, chunks{client(v6(135, 0, "00000000", addr, "0101 020000000001"))}, "neighbor_solicitation 2001:db8::9"},
		{"a neighbor advertisement", 6, chunks{client(v6(136, 0, "60000000", addr))}, "neighbor_advertisement 2001:db8::9 solicited|override"},
		{"a listener report", 6, chunks{client(v6(143, 0, "0000 0001 04000000", addr))}, "multicast_listener_report_v2 2001:db8::9 to_exclude"},
		{"an option of length 0", 6, chunks{client(v6(135, 0, "00000000", addr, "0100 020000000001"))}, "neighbor_solicitation 2001:db8::9, malformed [malformed]; !malformed"},
		{"a type without a name", 6, chunks{client(v6(200, 0, "00000000"))}, "type_200"},
		{"a wrong checksum", 4, chunks{client(v6(10, 0, "00000000"))}, "router_solicitation; !checksum"},
		{"a truncated message", 6, chunks{client(v6(135, 0, "0000"))}, "neighbor_solicitation, malformed [malformed]; !malformed"},
		{"less than a header", 6, chunks{client([]byte{1, 2})}, "!malformed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := dissecttest.Play(t, options(row.version), row.chunks...)
			if got := sketch(r); got != row.want {
				t.Errorf("\n got %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestQuotedEcho(t *testing.T) {
	r := dissecttest.Play(t, options(4), client(v4(11, 0, "00000000 4500001c 00010000 01010000 0a000001 0a000002 0800 0000 1234 0009")))
	row := r.Rows()[0].(*Row)
	if row.QuotedType.V != "echo_request" || row.ID.V != 0x1234 || row.Seq.V != 9 {
		t.Errorf("quoted %q id %x seq %d, want echo_request 1234 9", row.QuotedType.V, row.ID.V, row.Seq.V)
	}
}

// FuzzMessages reads random messages in both directions. It must not panic and must account for
// every byte, and all text must be valid.
func FuzzMessages(f *testing.F) {
	f.Add(v4(8, 0, "1234 0004 6162"), v4(0, 0, "1234 0004 6162"), false)
	f.Add(v4(3, 3, "00000000", udp4), v4(11, 0, "00080000", udp4, "2000 0000 0008 01 01 03e81201"), false)
	f.Add(v6(134, 0, "40c00708 00000000 00000000 0304 40c0 00000e10 00000e10 00000000", addr), v6(2, 0, "00000500", tcp6), true)
	f.Add(v6(143, 0, "0000 0001 04000000", addr), v6(137, 0, "00000000", addr, addr, "0402 0000 00000000 45000000 00000000"), true)
	f.Fuzz(func(t *testing.T, a, b []byte, six bool) {
		o := options(4)
		if six {
			o.IPVersion = 6
		}
		r := dissecttest.Play(t, o, client(a), server(b), client(b), server(a))
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes {
			t.Errorf("%d bytes accounted for of %d", got, r.Bytes)
		}
		for _, e := range r.Rows() {
			h, ok := e.(*Row)
			if !ok {
				continue
			}
			text := h.Summary + h.Target.V + h.Gateway.V + h.LinkAddress.V + h.QuotedProto.V + h.QuotedSrc.V + h.QuotedDst.V + strings.Join(h.Options, "") + strings.Join(h.Groups, "")
			if !utf8.ValidString(text) || h.Summary == "" || len(h.Groups) > maxList || len(h.Options) > maxList {
				t.Errorf("row %+v", h)
			}
		}
	})
}

// TestChecksum compares the sum over 4-byte words with the plain one.
func TestChecksum(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for n := range 70 {
		b := make([]byte, n)
		rnd.Read(b)
		want := uint32(0)
		for i, c := range b {
			want += uint32(c) << (8 * (1 - i%2))
		}
		for want > 0xffff {
			want = want>>16 + want&0xffff
		}
		if got := checksum(b); got != uint16(want) {
			t.Errorf("checksum of %d bytes is %04x, want %04x", n, got, want)
		}
	}
}

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func BenchmarkPing(b *testing.B) {
	data := strings.Repeat("61", 56)
	ping, pong := v4(8, 0, "1234 0004", data), v4(0, 0, "1234 0004", data)
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: dissect.ICMP, IPVersion: 4, ConnectUs: -1})
	b.SetBytes(int64(len(ping) + len(pong)))
	b.ReportAllocs()
	var p dissect.Packet
	for b.Loop() {
		p.No++
		p.Time += 300_000
		c.Datagram(dissect.ToServer, ping, p)
		p.No++
		p.Time += 300_000
		c.Datagram(dissect.ToClient, pong, p)
	}
}
