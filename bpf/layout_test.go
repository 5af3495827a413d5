package bpf

import (
	"encoding/binary"
	"testing"
)

// FuzzDecode decodes any bytes as a packet and as an event. It must not panic or return a
// packet longer than its record.
func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, PacketHeader))
	for k := EventExec; k < EventKinds; k++ {
		b := make([]byte, execSize)
		binary.NativeEndian.PutUint32(b[16:], uint32(k))
		binary.NativeEndian.PutUint32(b[28:], 1<<31)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if data, ok := p.Decode(b); ok && (len(data) != int(p.Cap) || len(data) > len(b)-PacketHeader) {
			t.Errorf("%d bytes of a record of %d, want %d", len(data), len(b), p.Cap)
		}
		var e Event
		if e.Decode(b) && e.Kind.String() == "unknown" {
			t.Errorf("event of kind %d", e.Kind)
		}
	})
}

func TestRunningTotals(t *testing.T) {
	for _, row := range []struct {
		name   string
		totals []uint32
		want   []uint32
		end    uint64
		rest   uint64
	}{
		{"each total yields an increment", []uint32{3, 3, 10}, []uint32{3, 0, 7}, 12, 2},
		{"an older total after a newer one yields nothing", []uint32{5, 4, 6}, []uint32{5, 0, 1}, 6, 0},
		{"totals wrap around", []uint32{1 << 30, 3 << 30, 1<<32 - 1, 4}, []uint32{1 << 30, 0, 0, 0}, 1 << 30, 0},
		{"a step over 2^32", []uint32{1 << 30, 2<<30 + 5, 3 << 30, 1<<32 - 1, 4}, []uint32{1 << 30, 1<<30 + 5, 1<<30 - 5, 1<<30 - 1, 5}, 1<<32 + 9, 5},
	} {
		var r Running
		var sum uint64
		for i, n := range row.totals {
			got := r.New(n)
			sum += uint64(got)
			if got != row.want[i] {
				t.Errorf("%s: total %d: increment %d, want %d", row.name, n, got, row.want[i])
			}
		}
		if rest := r.Rest(row.end); rest != row.rest {
			t.Errorf("%s: %d of %d remain, want %d", row.name, rest, row.end, row.rest)
		}
	}
}
