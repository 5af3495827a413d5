package forensics_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// frame is a packet of a capture with its length on the wire, 0 for all of it.
type frame struct {
	data []byte
	wire int
}

// classic is a pcap file of a link type with a packet every millisecond.
func classic(t *testing.T, link uint32, list ...frame) string {
	t.Helper()
	le := binary.LittleEndian
	var b []byte
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, link} {
		b = le.AppendUint32(b, v)
	}
	for i, f := range list {
		for _, v := range []int{1_700_000_000, 1000 * (i + 1), len(f.data), max(f.wire, len(f.data))} {
			b = le.AppendUint32(b, uint32(v))
		}
		b = append(b, f.data...)
	}
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inIP is an IPv4 packet between 10.0.0.1 and 10.0.0.2.
func inIP(answer bool, proto byte, fragment uint16, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 7, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	if answer {
		b[15], b[19] = 2, 1
	}
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[6:], fragment)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum))
	return append(b, payload...)
}

// talk is a TCP connection to a port, from SYN to FIN, with a message of each side; the answer has two segments.
func talk(port uint16, ask, answer string) (list []frame) {
	seq := [2]uint32{100, 500}
	send := func(side int, flags byte, text string) {
		b := binary.BigEndian.AppendUint16(nil, []uint16{40000, port}[side])
		b = binary.BigEndian.AppendUint16(b, []uint16{port, 40000}[side])
		b = binary.BigEndian.AppendUint32(b, seq[side])
		ack := seq[1-side]
		if flags == 2 {
			ack = 0
		}
		b = binary.BigEndian.AppendUint32(b, ack)
		b = append(b, 0x50, flags, 0x20, 0, 0, 0, 0, 0)
		list = append(list, frame{data: inIP(side == 1, 6, 0, append(b, text...))})
		if seq[side] += uint32(len(text)); flags&3 != 0 {
			seq[side]++
		}
	}
	send(0, 0x02, "")
	send(1, 0x12, "")
	send(0, 0x10, "")
	send(0, 0x18, ask)
	send(1, 0x18, answer[:len(answer)/2])
	send(1, 0x18, answer[len(answer)/2:])
	send(0, 0x11, "")
	send(1, 0x11, "")
	send(0, 0x10, "")
	return list
}

// Each row makes one condition of Coverage.Whole false; the first makes none.
func TestWholeMeansThatNothingWasLeftUnread(t *testing.T) {
	const ask = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100)
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	const raw, user0, wlan = 101, 147, 105
	web := func() []frame { return talk(80, ask, answer) }
	const last = 5 // the packet with the second half of the answer
	cut, mirrored, lost := web(), web(), append(web()[:last], web()[last+1:]...)
	cut[last] = frame{cut[last].data[:60], len(cut[last].data)}
	mirrored[last].data = mirrored[last].data[:60]
	var oneSided []frame
	for i, f := range web() {
		if i > 2 && f.data[15] == 1 {
			oneSided = append(oneSided, f)
		}
	}
	for _, tt := range []struct {
		name  string
		files []string
		o     exporter.Options
		whole bool
	}{
		{"everything was read", []string{classic(t, raw, web()...)}, exporter.Options{}, true},
		{"the snap length cut a packet", []string{classic(t, raw, cut...)}, exporter.Options{}, false},
		{"a mirror cut a packet", []string{classic(t, raw, mirrored...)}, exporter.Options{}, false},
		{"a segment is missing", []string{classic(t, raw, lost...)}, exporter.Options{}, false},
		{"one direction is missing", []string{classic(t, raw, oneSided...)}, exporter.Options{}, false},
		{"a link type is not decoded", []string{classic(t, raw, web()...), classic(t, user0, frame{data: make([]byte, 60)})}, exporter.Options{}, false},
		{"an 802.11 frame is encrypted", []string{classic(t, raw, web()...), classic(t, wlan, frame{data: append([]byte{0x08, 0x41}, make([]byte, 60)...)})}, exporter.Options{}, false},
		{"a fragment is missing", []string{classic(t, raw, append(web(), frame{data: inIP(false, 17, 0x2001, make([]byte, 64))})...)}, exporter.Options{}, false},
		{"a tunnel is not decoded", []string{classic(t, raw, append(web(), frame{data: inIP(false, 47, 0, append([]byte{0, 0, 0x12, 0x34}, make([]byte, 60)...))})...)}, exporter.Options{}, false},
		{"a payload is of no known protocol", []string{classic(t, raw, append(web(), talk(9999, "\x01\x02\x03\x04 what", "\x05\x06\x07\x08 this")...)...)}, exporter.Options{}, false},
		{"a dissector could not parse bytes", []string{classic(t, raw, append(web(), talk(8080, ask, chunked+"zz\r\nthe answer\r\n0\r\n\r\n")...)...)}, exporter.Options{}, false},
		{"the same, parsed", []string{classic(t, raw, append(web(), talk(8080, ask, chunked+"a\r\nthe answer\r\n0\r\n\r\n")...)...)}, exporter.Options{}, true},
		{"a filter excluded packets", []string{classic(t, raw, append(web(), talk(8080, ask, answer)...)...)}, exporter.Options{Filter: "port 80"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Release, tt.o.Repanic = "test", true
			path := filepath.Join(t.TempDir(), "b.pcapsule")
			if _, err := exporter.Run(ctx, tt.files, path, tt.o); err != nil {
				t.Fatal(err)
			}
			c := open(t, path)
			cov, err := c.Coverage(0, 0)
			if err != nil || cov.Whole() != tt.whole || tt.o.Filter != "" && cov.State != forensics.Partial {
				t.Errorf("%+v, want whole %v; %v", cov, tt.whole, err)
			}
			if from, _, _ := c.Window(); !tt.whole && tt.o.Filter == "" {
				if before, err := c.Coverage(from-20, from-10); err != nil || before.Unread {
					t.Errorf("before it: %+v, %v", before, err)
				}
			}
		})
	}
}
