package proof_test

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestAnsweredElsewhere has questions of DNS and STUN, and answers from ends that were asked or not.
func TestAnsweredElsewhere(t *testing.T) {
	type packet struct {
		from, to byte
		id       byte // of an answer: with 0x80
		name     string
		port     uint16 // of the client
		s        int64
	}
	query := func(p packet) []byte {
		return slices.Concat([]byte{7, p.id & 0x7f, 1 | p.id&0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, byte(len(p.name))}, []byte(p.name), []byte{0, 0, 1, 0, 1})
	}
	binding := func(p packet) []byte {
		return slices.Concat([]byte{p.id >> 7, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, p.id & 0x7f}, make([]byte, 11))
	}
	const answer = 0x80
	for name, row := range map[string]struct {
		packets []packet
		want    int // anomalies
	}{
		"another address":                 {[]packet{{1, 2, 1, "a", 5000, 0}, {3, 1, 1 | answer, "a", 5000, 1}}, 2},
		"another address, then the right": {[]packet{{1, 2, 1, "a", 5000, 0}, {3, 1, 1 | answer, "a", 5000, 1}, {2, 1, 1 | answer, "a", 5000, 2}}, 2},
		"the right, then another address": {[]packet{{1, 2, 1, "a", 5000, 0}, {2, 1, 1 | answer, "a", 5000, 1}, {3, 1, 1 | answer, "a", 5000, 2}}, 1},
		"the right address":               {[]packet{{1, 2, 1, "a", 5000, 0}, {2, 1, 1 | answer, "a", 5000, 1}}, 0},
		"two servers were asked":          {[]packet{{1, 2, 1, "a", 5000, 0}, {1, 3, 1, "a", 5000, 0}, {3, 1, 1 | answer, "a", 5000, 1}, {2, 1, 1 | answer, "a", 5000, 1}}, 0},
		"another id":                      {[]packet{{1, 2, 1, "a", 5000, 0}, {3, 1, 2 | answer, "a", 5000, 1}}, 0},
		"another client port":             {[]packet{{1, 2, 1, "a", 5000, 0}, {3, 1, 1 | answer, "a", 5001, 1}}, 0},
		"another client":                  {[]packet{{1, 2, 1, "a", 5000, 0}, {3, 4, 1 | answer, "a", 5000, 1}}, 0},
		"an hour later":                   {[]packet{{1, 2, 1, "a", 5000, 0}, {3, 1, 1 | answer, "a", 5000, 3600}}, 0},
	} {
		for protocol, message := range map[string]func(packet) []byte{"dns": query, "stun": binding} {
			w := frames.NewFile(1)
			for i, p := range row.packets {
				port := map[string]uint16{"dns": 53, "stun": 3478}[protocol]
				src, dst := p.port, port
				if p.id&answer != 0 {
					src, dst = port, p.port
				}
				w.Add(0, p.s*1e6+int64(i), frames.Ethernet(0x800, nil, frames.UDP(uint16(i+1), p.from, p.to, src, dst, message(p))), 0)
			}
			got := exportertest.Answers(t, &w.Buf, "select count(*)::varchar from anomalies where kind = 'answered_elsewhere'")
			if want := string(rune('0' + row.want)); got[0] != want {
				t.Errorf("%s, %s: %s anomalies, want %s", protocol, name, got[0], want)
			}
		}
	}
}
