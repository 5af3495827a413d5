package quic

import (
	"bytes"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// pieces cuts b into datagrams; each begins with a byte for direction and length.
func pieces(b []byte, most int) (list []datagram) {
	for len(b) > 2 && len(list) < most {
		n := min((int(b[0]&0x7f)<<8|int(b[1]))%1500, len(b)-2)
		list = append(list, datagram{dir: dissect.Dir(b[0] >> 7), data: b[2 : 2+n]})
		b = b[2+n:]
	}
	return list
}

func joined(list ...datagram) (b []byte) {
	for _, d := range list {
		b = append(append(b, byte(d.dir)<<7|byte(len(d.data)>>8), byte(len(d.data))), d.data...)
	}
	return b
}

// FuzzDatagrams reads random bytes in both directions. It must not panic and must account for
// every byte.
func FuzzDatagrams(f *testing.F) {
	k := begin(f, "blob")
	k.send(oneRTT, client, streamFrame(0, 0, "one", true))
	f.Add(joined(k.list...))
	f.Add(joined(datagram{data: vector(f, "v1 client-packet")}, datagram{dir: 1, data: vector(f, "v1 retry")}, datagram{dir: 1, data: vector(f, "v2 server-packet")}))
	f.Add(joined(datagram{data: []byte("\x0d01234567Q039\x01CHLO\x01\x00\x00\x00SNI\x00\x03\x00\x00\x00abc")}))
	f.Add(joined(datagram{dir: 1, data: []byte{0x80, 0, 0, 0, 0, 2, 9, 9, 1, 1, 0, 0, 0, 1, 0x1a, 0x2a, 0x3a, 0x4a}}))
	store := k.store()
	f.Fuzz(func(t *testing.T, b []byte) {
		list := pieces(b, 200)
		play(t, list, protocols(store, &blob{gaps: 1})...)
		if len(list) > 0 {
			list[0].data = vector(t, "v1 client-packet")
			list[0].dir = dissect.ToServer
			play(t, list, protocols(nil, &blob{gaps: 1})...)
		}
	})
}

// FuzzFrames reads random frames in packets that authenticate.
func FuzzFrames(f *testing.F) {
	f.Add(byte(0), []byte{}, []byte{})
	f.Add(byte(7), bytes.Join([][]byte{{2, 0, 60}, streamFrame(0, 0, "one two three four five six", true)}, nil), vector(f, "v1 server-frames"))
	f.Add(byte(1), joined(datagram{data: vector(f, "v1 client-frames")}), joined(datagram{dir: 1, data: frame(frameAck, 2, 0, 0, 2)}))
	f.Add(byte(3), joined(datagram{data: append(frame(frameNewID, 1, 0), 4, 1, 2, 3, 4)}, datagram{data: frame(frameResetStream, 0, 8, 3)}), joined(datagram{dir: 1, data: frame(frameCloseApp, 9, 0)}))
	f.Add(byte(3), joined(datagram{data: streamFrame(2, 9, "later", false)}, datagram{data: streamFrame(2, 3, "longer", true)}), joined(datagram{dir: 1, data: frame(frameDatagramLen, 0)}))
	f.Fuzz(func(t *testing.T, how byte, a, b []byte) {
		k := newFake(t, all...)
		if how&1 != 0 {
			k.hellos()
		}
		if how&2 != 0 {
			k.extensions(map[bool]string{true: "blob", false: "other"}[how&4 == 0])
		}
		for _, d := range append(pieces(a, 60), pieces(b, 60)...) {
			levels := [...]kind{oneRTT, initial, handshakePacket, zeroRTT, oneRTT, oneRTT, oneRTT, oneRTT}
			level, r := oneRTT, role(d.dir)
			if len(d.data) > 0 {
				level = levels[d.data[0]>>5&7]
			}
			if level == zeroRTT {
				r = client
			}
			k.send(level, r, bytes.Clone(d.data))
		}
		k.play(&blob{gaps: 1, lazy: int(how >> 4)})
	})
}
