package proof_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestUndelivered: an ICMP error says what became of the request that it quotes, and of no other.
func TestUndelivered(t *testing.T) {
	query := func(id uint16) []byte {
		return frames.UDP(id, 1, 2, 40000, 53, []byte("\x07"+string(rune(id))+"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"))
	}
	reply := func(id uint16) []byte {
		q := query(id)[28:]
		return frames.UDP(700, 2, 1, 53, 40000, append([]byte{q[0], q[1], 0x81, 0x80}, q[4:]...))
	}
	changed := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] ^= v
		return b
	}
	ping := frames.IPv4(1, 5, 0, 1, 2, []byte{8, 0, 0xf7, 0xfe, 0, 0, 0, 1})
	syn := threeCalls("a", 100, 1)
	const refused = "refused undelivered port_unreachable 1000 0..1"
	for _, row := range []struct {
		name    string
		packets [][]byte
		want    string
	}{
		{"the whole request", [][]byte{query(1), frames.ICMPError(2, 3, 3, query(1))}, refused},
		{"eight bytes behind its IP header, by a router", [][]byte{query(1), frames.ICMPError(9, 3, 13, query(1)[:28])}, "refused undelivered communication_prohibited 1000 0..1"},
		{"twice", [][]byte{query(1), frames.ICMPError(2, 3, 3, query(1)), frames.ICMPError(2, 3, 3, query(1))}, refused},
		{"lost on the way", [][]byte{query(1), frames.ICMPError(9, 11, 0, query(1)[:28])}, "no_answer undelivered ttl_exceeded 1000 0..1"},
		{"too large for a link", [][]byte{query(1), frames.ICMPError(9, 3, 4, query(1)[:28])}, "no_answer undelivered fragmentation_needed 1000 0..1"},
		{"an error that reports no loss", [][]byte{query(1), frames.ICMPError(9, 4, 0, query(1)[:28])}, "cut no_response - 1000 0"},
		{"another request of this conversation", [][]byte{query(1), query(2), frames.ICMPError(2, 3, 3, query(2))}, "no_answer no_response - 2000 0; refused undelivered port_unreachable 1000 1..2"},
		{"the same by IP identification", [][]byte{query(1), query(2), frames.ICMPError(9, 3, 3, query(2)[:28])}, "no_answer no_response - 2000 0; refused undelivered port_unreachable 1000 1..2"},
		{"forged: another identification", [][]byte{query(1), frames.ICMPError(9, 3, 3, query(7)[:28])}, "cut no_response - 1000 0"},
		{"forged: another length", [][]byte{query(1), frames.ICMPError(9, 3, 3, changed(query(1)[:28], 25, 1))}, "cut no_response - 1000 0"},
		{"forged: other bytes", [][]byte{query(1), frames.ICMPError(9, 3, 3, changed(query(1), 40, 1))}, "cut no_response - 1000 0"},
		{"forged: the answer's direction", [][]byte{query(1), frames.ICMPError(9, 3, 3, frames.UDP(1, 2, 1, 53, 40000, query(1)[28:]))}, "cut no_response - 1000 0"},
		{"another port", [][]byte{query(1), frames.ICMPError(2, 3, 3, changed(query(1), 21, 1))}, "cut no_response - 1000 0"},
		{"answered nevertheless", [][]byte{query(1), frames.ICMPError(9, 3, 3, query(1)), reply(1)}, "ok - NOERROR 2000 0,2"},
		{"answered before", [][]byte{query(1), reply(1), frames.ICMPError(9, 3, 3, query(1))}, "ok - NOERROR 1000 0..1"},
		{"an echo request", [][]byte{ping, frames.ICMPError(9, 3, 1, ping)}, "refused undelivered host_unreachable 1000 0..1"},
		{"the first fragment", [][]byte{frames.IPv4(17, 1, 0x2000, 1, 2, query(1)[20:44]), frames.IPv4(17, 1, 3, 1, 2, query(1)[44:]), frames.ICMPError(9, 3, 3, frames.IPv4(17, 1, 0x2000, 1, 2, query(1)[20:44]))},
			"refused undelivered port_unreachable 1000 0..2"},
		{"too short to show its ports", [][]byte{query(1), frames.ICMPError(9, 3, 3, query(1)[:22])}, "cut no_response - 1000 0"},
		{"a SYN", [][]byte{syn[0], frames.ICMPError(9, 3, 3, syn[0][:28])}, "state refused"},
		{"a SYN, by a host that quotes it to its end", [][]byte{syn[0], frames.ICMPError(2, 3, 10, syn[0])}, "state refused"},
		{"forged: a SYN with another number", [][]byte{syn[0], frames.ICMPError(9, 3, 3, changed(syn[0], 27, 1))}, "state syn_sent"},
		{"a SYN that is lost", [][]byte{syn[0], frames.ICMPError(9, 11, 0, syn[0])}, "state syn_sent"},
		{"a SYN that is answered nevertheless", append([][]byte{syn[0], frames.ICMPError(9, 3, 1, syn[0])}, syn[1:3]...), "state established"},
		{"a segment of an open connection", append(append([][]byte{}, syn[:4]...), frames.ICMPError(9, 3, 1, syn[3])), "state established"},
	} {
		for _, tags := range [][]uint16{nil, {7}} {
			w := frames.NewFile(1)
			for i, p := range row.packets {
				w.Add(0, int64(i)*1000, frames.Ethernet(0x800, tags, p), 0)
			}
			const calls = "select string_agg(outcome || ' ' || coalesce(error, '-') || ' ' || coalesce(status_text, '-') || ' ' || coalesce(waited_us, -1) || ' ' || list_reduce(list_transform(cites, lambda c: c.first || case when c.last > c.first then '..' || c.last else '' end), lambda a, b: a || ',' || b), '; ' order by ts_ns) from calls where icmp_quoted_src is null"
			question := calls
			if strings.HasPrefix(row.want, "state") {
				question = "select 'state ' || state from flows where transport = 'tcp'"
			}
			got := exportertest.Answers(t, &w.Buf, question)
			if got[0] != row.want {
				t.Errorf("%s, VLANs %v:\n got %s\nwant %s", row.name, tags, got[0], row.want)
			}
		}
	}
}
