package dns

import (
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	lib "github.com/miekg/dns"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation reads random bytes as datagrams and as a stream. It must not panic, must
// account for every byte and hold no memory at the end, and its text must be valid and limited.
func FuzzConversation(f *testing.F) {
	add := func(q, a []byte, port uint16) {
		f.Add(q, a, int64(1), port, false)
		f.Add(framed(q), framed(a), int64(2), port, true)
	}
	add(query(f, 1, "a.example", lib.TypeA), answer(f, 1, "a.example", lib.TypeA, "a.example. 1 IN CNAME b.example.\nb.example. 1 IN A 10.0.0.1"), 53)
	add(query(f, 2, "x", lib.TypeANY, func(m *lib.Msg) { m.SetEdns0(1232, true) }), answer(f, 2, "x", lib.TypeANY,
		`x. 1 IN HTTPS 1 . alpn="h2" ipv4hint="192.0.2.1"
		x. 1 IN SOA a. b. 1 2 3 4 5
		x. 1 IN TXT "a" "b"
		x. 1 IN NSEC3 1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG
		x. 1 IN NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:a@b!" .
		x. 1 IN LOC 42 21 54 N 71 06 18 W -24m 30m
		@x. 1 IN RRSIG A 5 3 86400 20030322173103 20030220173103 2642 example. oJB1W6WN
		+x. 1 IN SRV 1 2 3 y.`), 53)
	add(query(f, 3, "z", lib.TypeAXFR), answer(f, 3, "z", lib.TypeAXFR, "z. 1 IN SOA a. b. 1 2 3 4 5\nz. 1 IN NS a."), 5353)
	f.Fuzz(func(t *testing.T, toServer, toClient []byte, seed int64, port uint16, stream bool) {
		rnd := rand.New(rand.NewSource(seed))
		o := options(port)
		var c chunks
		if o.Multicast = seed%3 == 0; stream {
			o.Transport = dissect.TCP
		}
		for len(toServer)+len(toClient) > 0 {
			from, dir := &toServer, dissect.ToServer
			if len(toServer) == 0 || len(toClient) > 0 && rnd.Intn(2) == 0 {
				from, dir = &toClient, dissect.ToClient
			}
			n := len(*from)
			if seed%2 == 0 {
				n = 1 + rnd.Intn(n)
			}
			k := dissecttest.Chunk{Dir: dir, Data: (*from)[:n]}
			if stream && rnd.Intn(12) == 0 {
				k.Gap = int64(1 + rnd.Intn(20))
			}
			c, *from = append(c, k), (*from)[n:]
		}
		r := dissecttest.Play(t, o, c...)
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
		}
		for _, row := range r.Rows() {
			checkText(t, row)
		}
	})
}

func checkText(t *testing.T, row any) {
	h, ok := row.(*Row)
	if !ok {
		return
	}
	size := 0
	v := reflect.ValueOf(h).Elem()
	for i := range v.NumField() {
		if !v.Field(i).CanInterface() {
			continue
		}
		list, _ := v.Field(i).Interface().([]string)
		for _, s := range list {
			if size += len(s); !utf8.ValidString(s) {
				t.Errorf("text that is not UTF-8: %q", s)
			}
		}
	}
	if s := h.Summary + h.Host.V; !utf8.ValidString(s) || h.Summary == "" || len(h.Cites) == 0 {
		t.Errorf("row without valid summary or citation: %+v", h)
	}
	if size > 8*maxText {
		t.Errorf("%d bytes of text in a row", size)
	}
	if len(h.Questions) != len(h.Types) || len(h.Answers) != len(h.TTLs) || len(h.Answers) != len(h.AnswerTypes) || len(h.Answers) != len(h.AnswerNames) {
		t.Errorf("lists of unequal length: %+v", h)
	}
}

// FuzzName compares the two readers of names: both must find the same end.
func FuzzName(f *testing.F) {
	f.Add([]byte("\x03www\x07example\x03com\x00"))
	f.Add([]byte("\x01a\xc0\x0c"))
	f.Add([]byte("\x00\xc0\x0c\xc0\x0d\x01.\xc0\x0c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		data := append(make([]byte, headerSize), b...)
		m := message{data: data}
		for off := headerSize; off < len(data); off++ {
			s, end := m.name(off)
			if want := skipName(data, off); want != end {
				t.Fatalf("name at %d ends at %d and %d: %q", off, want, end, data)
			}
			if text := m.str(s); end >= 0 && (!utf8.Valid(text) || len(text) == 0 || len(text) > 4*maxNameWire) {
				t.Fatalf("name %q", text)
			}
			m.text = m.text[:0]
			m.nKnown = 0
		}
	})
}

// TestHostileMessages checks the limits with messages that are expensive to read.
func TestHostileMessages(t *testing.T) {
	header := func(an int) []byte {
		return []byte{0, 1, 0x81, 0x80, 0, 1, byte(an >> 8), byte(an), 0, 0, 0, 0}
	}
	long := ""
	for range 3 {
		long += "\x3f" + strings.Repeat("\x01", 63)
	}
	long += "\x00"
	many := append(header(4000), long+"\x00\x01\x00\x01"...)
	for range 4000 {
		many = append(many, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x02\xc0\x0c"...)
	}
	loop := append(header(0), "\xc0\x0c\x00\x01\x00\x01"...)
	ahead := append(header(0), "\xc0\x0e\x01a\x00\x00\x01\x00\x01"...)
	for _, row := range []struct {
		name string
		msg  []byte
		want string
	}{
		{"a long name in thousands of records is limited", many, "!limit"},
		{"a pointer to itself is not a name", loop, "!malformed"},
		{"a pointer ahead is not a name", ahead, "!malformed"},
	} {
		r := dissecttest.Play(t, options(53), server(row.msg))
		if got := sketch(r); !strings.HasSuffix(got, row.want) {
			t.Errorf("%s: got %.300s", row.name, got)
		}
		for _, h := range r.Rows() {
			checkText(t, h)
		}
	}
}

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct{ name, records string }{
		{"address", "api.shop.svc.cluster.local. 30 IN A 10.96.12.7"},
		{"aliases", "api.shop.svc.cluster.local. 30 IN CNAME edge.example.net.\nedge.example.net. 20 IN A 10.0.0.9\nedge.example.net. 20 IN A 10.0.0.10"},
		{"no name", "@cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 2 3 4 5"},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := query(b, 7, "api.shop.svc.cluster.local", lib.TypeA)
			a := answer(b, 7, "api.shop.svc.cluster.local", lib.TypeA, c.records)
			e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
			if err != nil {
				b.Fatal(err)
			}
			conn := e.NewConn(dissect.Info{Transport: dissect.UDP, ServerPort: 53, ConnectUs: -1})
			b.SetBytes(int64(len(q) + len(a)))
			b.ReportAllocs()
			var p dissect.Packet
			for b.Loop() {
				p.No++
				p.Time += 1000
				conn.Datagram(dissect.ToServer, q, p)
				p.No++
				conn.Datagram(dissect.ToClient, a, p)
			}
		})
	}
}
