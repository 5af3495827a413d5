package pcapng

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"testing"
)

// oneTime makes a capture of one packet with a time, and returns the packet and the damage.
func oneTime(t *testing.T, res byte, secs int64, ticks uint64) (Packet, []Damage) {
	t.Helper()
	le := binary.LittleEndian
	block := func(b []byte, kind uint32, body []byte) []byte {
		b = le.AppendUint32(le.AppendUint32(b, kind), uint32(12+len(body)))
		return le.AppendUint32(append(b, body...), uint32(12+len(body)))
	}
	b := block(nil, 0x0a0d0d0a, append([]byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 8)...))
	options := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, res, 0, 0, 0, 14, 0, 8, 0}, le.AppendUint64(nil, uint64(secs))...)
	b = block(b, 1, append(options, 0, 0, 0, 0))
	var body []byte
	for _, v := range []uint32{0, uint32(ticks >> 32), uint32(ticks), 4, 4} {
		body = le.AppendUint32(body, v)
	}
	b = block(b, 6, append(body, "data"...))
	r, err := NewReader(bytes.NewReader(b), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var batch Batch
	if err := r.Next(&batch); err != nil && err != io.EOF || len(batch.Packets) != 1 {
		t.Fatalf("%d packets, %v", len(batch.Packets), err)
	}
	p := batch.Packets[0]
	i := r.Interfaces()[0]
	at, _, err := ReadPacketAt(bytes.NewReader(b), &i, p.Offset, nil)
	if err != nil || at.Time != p.Time || at.TimeOK != p.TimeOK {
		t.Errorf("read again: %d %t, %v; want %d %t", at.Time, at.TimeOK, err, p.Time, p.TimeOK)
	}
	return p, r.Damage()
}

// The time of a packet is within a range that later calculations can use, whatever a file says.
func TestTimesThatDoNotFitAreSaturated(t *testing.T) {
	const first, last = 0, int64(lastTime)
	for _, tt := range []struct {
		name  string
		res   byte
		secs  int64
		ticks uint64
		want  int64
		ok    bool
	}{
		{"an ordinary time", 6, 0, 1700000000_000001, 1700000000_000001000, true},
		{"1970", 9, 0, 0, 0, true},
		{"the last time", 9, 0, lastTime, last, true},
		{"one nanosecond later", 9, 0, lastTime + 1, last, false},
		{"year 2262", 9, 0, math.MaxInt64, last, false},
		{"all ones", 9, 0, math.MaxUint64, last, false},
		{"all ones in microseconds", 6, 0, math.MaxUint64, last, false},
		{"all ones in seconds", 0, 0, math.MaxUint64, last, false},
		{"all ones in seconds, as a power of two", 0x80, 0, math.MaxUint64, last, false},
		{"all ones in the finest units", 0x7f, 0, math.MaxUint64, 0, true},
		{"a second before 1970", 6, -1, 0, first, false},
		{"the smallest offset", 6, math.MinInt64, 5, first, false},
		{"the largest offset", 6, math.MaxInt64, 5, last, false},
		{"an offset before 1677", 6, -9223372036, 5, first, false},
		{"an offset that brings a time back", 0, -1 << 40, 1<<40 + 5, 5e9, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, damage := oneTime(t, tt.res, tt.secs, tt.ticks)
			if p.Time != tt.want || p.TimeOK != tt.ok {
				t.Errorf("time %d, ok %t; want %d, %t", p.Time, p.TimeOK, tt.want, tt.ok)
			}
			if tt.ok != (len(damage) == 0) {
				t.Errorf("damage %v", damage)
			}
			for _, d := range damage {
				if d.Kind != DamageTime || d.Length != 0 || !strings.Contains(d.Detail, "ticks (if_tsresol") {
					t.Errorf("damage %v", d)
				}
			}
		})
	}
}
