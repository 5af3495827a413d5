package recording

import (
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// frame is a UDP datagram between hosts, by the last bytes of their addresses.
func frame(dst, src, to, from byte) pcapng.Packet {
	b := []byte{2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to, 0, 7, 0, 7, 0, 8, 0, 0}
	return pcapng.Packet{LinkType: 1, Data: b, OrigLen: uint32(len(b)), TimeOK: true, Time: 1}
}

// TestMachinesAgree has the first packets of two files with names of one rotation.
func TestMachinesAgree(t *testing.T) {
	list := []pcapng.Interface{{LinkType: 1}}
	group := frame(9, 8, 1, 2)
	group.Data[0] = 1
	of := func(p ...pcapng.Packet) start { return look(0, p, list) }
	host := of(frame(1, 7, 1, 2), frame(7, 1, 2, 1), frame(1, 8, 1, 3), group)
	for _, tt := range []struct {
		why  string
		next start
		want bool
	}{
		{"the same machine with another peer", of(frame(1, 9, 1, 4), frame(9, 1, 4, 1)), true},
		{"another machine", of(frame(2, 9, 1, 4), frame(9, 2, 4, 1), frame(2, 8, 1, 3)), false},
		{"a mirror port, with packets of all", of(frame(2, 9, 1, 4), frame(9, 2, 4, 1), frame(3, 4, 5, 6)), true},
		{"one direction only", of(frame(1, 9, 1, 4)), false},
		{"no packets", of(), false},
	} {
		if got := host.agrees(&tt.next); got != tt.want {
			t.Errorf("%s: %v", tt.why, got)
		}
	}
	if len(host.local) != 1 {
		t.Errorf("local addresses %x", host.local)
	}
}
