package rtp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/media"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// rtp is a packet with 4 bytes of media.
func rtp(kind byte, sequence uint16, time, source uint32) string {
	b := append([]byte{0x80, kind}, binary.BigEndian.AppendUint16(nil, sequence)...)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, time), source)
	return string(b) + "\xd5\xd5\xd5\xd5"
}

// run is a stream whose packets have these sequence numbers.
func run(side func(string) dissecttest.Chunk, kind byte, source uint32, sequence ...uint16) (list chunks) {
	for _, n := range sequence {
		list = append(list, side(rtp(kind, n, uint32(n)*160, source)))
	}
	return list
}

// words are numbers of 32 bits.
func words(list ...uint32) string {
	var b []byte
	for _, w := range list {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return string(b)
}

var (
	described = words(0x81ca0005, 7) + "\x01\x08ann@home" + "\x00\x00\x00\x00\x00\x00"
	sent      = words(0x80c80006, 7, 0xe0000001, 0x80000000, 160, 100, 16000) + described
	received  = words(0x81c90007, 9, 7, 0x10000005, 0x00010064, 33, 0x00018000, 0, 0x81cb0001, 9)
)

var whole = append(run(client, 8, 7, 1, 2, 3, 4, 5, 6, 7, 8), client(sent), server(received))

var samples = []dissecttest.Sample{
	{Name: "a stream with reports", Rows: 3, Chunks: whole},
	{Name: "both sides", Rows: 2, Chunks: append(run(client, 8, 7, 65530, 65531, 65532, 65533, 65534, 65535, 0, 1), run(server, 0, 8, 1, 2)...)},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"rtp_codec", "rtp_payload_types", "rtp_duplicates", "rtp_reordered", "rtp_restarts", "rtp_first_sequence", "rtp_reports", "rtp_sent_packets", "rtp_sent_bytes", "rtp_cname", "rtp_reported_lost", "rtp_reported_fraction_lost", "rtp_reported_highest", "rtp_reported_jitter", "rtp_round_trip_us", "rtp_bye"}
	line := func(source, packets, lost, duplicates, reordered, restarts, first int) string {
		return fmt.Sprintf("RTP PCMA/8000 0x%08X, %d packets, %d lost rtp_codec=PCMA/8000 rtp_payload_types=[8:%d] rtp_duplicates=%d rtp_reordered=%d rtp_restarts=%d rtp_first_sequence=%d", source, packets, lost, packets, duplicates, reordered, restarts, first)
	}
	unread := func(n int) string { return fmt.Sprintf("%d bytes sent, 0 received outcome=unread", n) }
	list := []dissecttest.Conversation{
		{Name: "a stream with reports", Chunks: whole, Want: []string{line(7, 8, 0, 0, 0, 0, 1),
			"RTCP 0x00000007, 1 report rtp_reports=1 rtp_sent_packets=100 rtp_sent_bytes=16000 rtp_cname=ann@home",
			"RTCP 0x00000009, 1 report, 5 lost of 0x00000007 rtp_reports=1 rtp_reported_lost=5 rtp_reported_fraction_lost=16 rtp_reported_highest=65636 rtp_reported_jitter=33 rtp_round_trip_us=1 rtp_bye=true"}},
		{Name: "lost, twice, late, and after 65535", Chunks: run(client, 8, 7, 65529, 65530, 65531, 65532, 65533, 65534, 65535, 2, 1, 1, 4, 100), Want: []string{line(7, 12, 97, 1, 1, 0, 65529)}},
		{Name: "an older packet comes after the first", Chunks: run(client, 8, 7, 10, 11, 12, 13, 14, 15, 9, 16), Want: []string{line(7, 8, 0, 0, 1, 0, 10)}},
		{Name: "the numbers begin again", Chunks: run(client, 8, 7, 10, 11, 12, 13, 14, 15, 40000, 40001, 40002), Want: []string{line(7, 9, 0, 0, 0, 1, 10)}},
		{Name: "one stray packet", Chunks: run(client, 8, 7, 10, 11, 12, 13, 14, 15, 40000, 16, 17), Want: []string{line(7, 9, 0, 0, 0, 0, 10)}},
		{Name: "too few packets prove nothing", Chunks: run(client, 8, 7, 1, 2, 3, 4, 5), Want: []string{unread(80)}},
		{Name: "numbers that do not follow prove nothing", Chunks: run(client, 8, 7, 1, 2, 3, 4, 5, 500, 501, 502), Want: []string{unread(128)}},
		{Name: "a time that stands still proves nothing", Chunks: chunks{client(rtp(8, 1, 5, 7)), client(rtp(8, 2, 5, 7)), client(rtp(8, 3, 5, 7)), client(rtp(8, 4, 5, 7)), client(rtp(8, 5, 5, 7)), client(rtp(8, 6, 5, 7)), client(rtp(8, 7, 5, 7))}, Want: []string{unread(112)}},
		{Name: "each packet of another source proves nothing", Chunks: chunks{client(rtp(8, 1, 5, 1)), client(rtp(8, 2, 6, 2)), client(rtp(8, 3, 7, 3)), client(rtp(8, 4, 8, 4)), client(rtp(8, 5, 9, 5)), client(rtp(8, 6, 10, 6))}, Want: []string{unread(96)}},
		{Name: "another message in a proven stream", Chunks: append(run(client, 8, 7, 1, 2, 3, 4, 5, 6), client("\x00\x01\x00\x00")), Anomalies: 1, Want: []string{line(7, 6, 0, 0, 0, 0, 1)}},
	}
	for i := range list { // the head of an unknown payload is not of interest
		c := &list[i]
		if !strings.Contains(c.Want[0], "unread") {
			dissecttest.Converse(t, Protocol(), columns, *c)
			continue
		}
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), c.Chunks...)
		if rows := r.Rows(); len(rows) != 1 || !strings.HasSuffix(dissecttest.Line(rows[0]), c.Want[0]) || len(r.Anomalies) > 0 {
			t.Errorf("%s: %d rows, the first is %s; anomalies %v", c.Name, len(rows), dissecttest.Line(rows[0]), r.Anomalies)
		}
	}
}

// TestJitter compares with RFC 3550 appendix A.8 by hand: packets of 20 ms, the fourth of which comes 8 ms late.
func TestJitter(t *testing.T) {
	s := newStream(packet{kind: 8})
	for i, ms := range []int64{0, 20, 40, 68, 80} {
		s.add(packet{kind: 8, sequence: uint16(i), time: uint32(i) * 160, arrivedNs: ms * 1e6})
	}
	// D is 0, 0, 64, -64 units: 0, 0, 64/16, 4 + (64-4)/16, all times 16 and rounded as in the RFC.
	if j := s.types[0].jitter[0]; j.now != 124 || j.max != 124 || j.sum != 64+124 {
		t.Errorf("jitter %+v", j)
	}
	if got := s.measured(); got != 0 { // too short
		t.Errorf("clock rate %d", got)
	}
	for i := range 100 {
		s.add(packet{kind: 8, sequence: uint16(i + 5), time: uint32(i+5) * 160, arrivedNs: int64(i+5) * 20e6})
	}
	if got := s.measured(); got != 8000 {
		t.Errorf("clock rate %d, want 8000", got)
	}
	before := s.types[0].jitter[0].max
	s.add(packet{kind: 8, sequence: 105, time: 1 << 30, arrivedNs: 105 * 20e6})
	if s.types[0].jitter[0].max > before {
		t.Error("a jump of the timestamp counts as jitter")
	}
}

// TestNameIDs states how a stream finds its call: by the address of either side, else by a port whose codec has
// the measured clock rate.
func TestNameIDs(t *testing.T) {
	for _, c := range []struct {
		name string
		o    media.Offer
		want string
	}{
		{"the receiver's address", media.Offer{Address: "192.0.2.2", Port: 4000, PayloadType: 96, Format: "opus/48000/2", Call: "c"}, "opus/48000/2 c address"},
		{"the sender's address", media.Offer{Address: "192.0.2.1", Port: 5000, PayloadType: 96, Format: "opus/48000/2", Call: "c"}, "opus/48000/2 c address"},
		{"a translated address", media.Offer{Address: "10.0.0.1", Port: 4000, PayloadType: 96, Format: "L16/8000", Call: "c"}, "L16/8000 c port"},
		{"a translated address, another clock", media.Offer{Address: "10.0.0.1", Port: 4000, PayloadType: 96, Format: "opus/48000/2", Call: "c"}, "  "},
		{"another payload type", media.Offer{Address: "192.0.2.2", Port: 4000, PayloadType: 97, Format: "opus/48000/2", Call: "c"}, "  "},
	} {
		s := newStream(packet{kind: 96})
		for i := range 20 {
			s.add(packet{kind: 96, sequence: uint16(i), time: uint32(i) * 160, arrivedNs: int64(i) * 20e6})
		}
		row := &Row{late: s, PayloadType: table.Some(int32(96))}
		row.SrcIP, row.SrcPort, row.DstIP, row.DstPort = "192.0.2.1", 5000, "192.0.2.2", 4000
		names := dissect.NewIDNames(10)
		media.Put(names, c.o)
		row.NameIDs(names)
		if got := row.Codec.V + " " + row.Dialog.V + " " + row.By.V; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name, head string
		want       dissect.Verdict
	}{
		{"reports with a name", sent, dissect.Yes},
		{"a report alone", words(0x81c90007, 9, 7, 0, 0, 0, 0, 0), dissect.Likely},
		{"a description first", described, dissect.No},
		{"a length beyond the end", words(0x81c90008, 9, 7, 0, 0, 0, 0, 0), dissect.No},
		{"more blocks than bytes", words(0x82c90007, 9, 7, 0, 0, 0, 0, 0), dissect.No},
		{"media", rtp(8, 1, 2, 3), dissect.No},
	} {
		if got := detect(dissect.ToServer, []byte(c.head)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for head, want := range map[string]dissect.Verdict{rtp(8, 1, 2, 3): dissect.Likely, rtp(72, 1, 2, 3): dissect.No, "\x40" + rtp(8, 1, 2, 3)[1:]: dissect.No, "\x8f" + rtp(8, 1, 2, 3)[1:]: dissect.No, rtp(8, 1, 2, 3)[:12]: dissect.No} {
		if got := detectLast(dissect.ToServer, []byte(head)); got != want {
			t.Errorf("%x: %v, want %v", head, got, want)
		}
	}
}
