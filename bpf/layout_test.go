package bpf

import (
	"encoding/binary"
	"testing"
)

// FuzzDecode reads any bytes as a packet and as an event: a value or none, never a panic,
// and no packet longer than its record.
func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, PacketHeader))
	for k := EventExec; k < eventKinds; k++ {
		b := make([]byte, execSize)
		binary.NativeEndian.PutUint32(b[16:], uint32(k))
		binary.NativeEndian.PutUint32(b[28:], 1<<31)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if data, ok := p.Decode(b); ok && (len(data) != int(p.Cap) || len(data) > len(b)-PacketHeader) {
			t.Errorf("%d bytes of %d, said to be %d", len(data), len(b), p.Cap)
		}
		var e Event
		if e.Decode(b) && e.Kind.String() == "unknown" {
			t.Errorf("event of kind %d", e.Kind)
		}
	})
}
