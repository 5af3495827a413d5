package proof_test

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestOneWayCapture: a question is not called unanswered if the capture lacks all that one side sends, as TCP shows.
func TestOneWayCapture(t *testing.T) {
	question := func(id byte, ipid uint16) []byte {
		return frames.UDP(ipid, 1, 3, 40000, 53, []byte("\x07"+string(rune(id))+"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"))
	}
	ntp := frames.UDP(9, 1, 4, 40001, 123, slices.Concat([]byte{0x23, 0, 6, 0xec}, make([]byte, 36), []byte("timestamp")[:8]))
	ping := frames.IPv4(1, 5, 0, 1, 2, []byte{8, 0, 0xf7, 0xfe, 0, 0, 0, 1})
	tcp := threeCalls("a", 100, 1)
	var up, down [][]byte
	for _, p := range tcp {
		if p[15] == 1 {
			up = append(up, p)
		} else {
			down = append(down, p)
		}
	}
	asked := [][]byte{question(1, 1), question(1, 2), question(2, 3), ntp, ping}
	for _, row := range []struct {
		name  string
		links [][][]byte // packets of each interface
		want  string
	}{
		{"one direction", [][][]byte{slices.Concat(up, asked)}, "cut cut cut cut cut"},
		{"questions first", [][][]byte{slices.Concat(asked, up)}, "cut cut cut cut cut"},
		{"both directions", [][][]byte{slices.Concat(tcp, asked)}, "no_answer no_answer no_answer no_answer no_answer"},
		{"one answer", [][][]byte{slices.Concat(up, down[:1], asked)}, "no_answer no_answer no_answer no_answer no_answer"},
		{"no TCP", [][][]byte{asked}, "no_answer no_answer no_answer no_answer no_answer"},
		{"an interface for each direction", [][][]byte{slices.Concat(up, asked), down}, "no_answer no_answer no_answer no_answer no_answer"},
		{"another interface has both", [][][]byte{slices.Concat(up, asked), {frames.UDP(1, 7, 8, 1, 2, []byte("a")), frames.UDP(1, 8, 7, 2, 1, []byte("b"))}}, "cut cut cut cut cut"},
		{"another interface has one", [][][]byte{asked, up}, "no_answer no_answer no_answer no_answer no_answer"},
	} {
		w := frames.NewFile(slices.Repeat([]uint16{1}, len(row.links))...)
		for link, list := range row.links {
			for i, p := range list {
				w.Add(link, int64(i)*10_000, frames.Ethernet(0x800, nil, p), 0)
			}
			w.Add(link, 30e6, frames.Ethernet(0x800, nil, frames.UDP(1, 20, 21, 1, 2, []byte("later"))), 0)
		}
		got := exportertest.Answers(t, &w.Buf, "select string_agg(outcome, ' ' order by ts_ns) from calls where protocol in ('dns', 'ntp', 'icmp')")
		if got[0] != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got[0], row.want)
		}
	}
}
