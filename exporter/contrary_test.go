package exporter

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// wired is a segment in a frame of Ethernet.
type wired struct {
	server         bool
	text           string
	mac            byte   // last byte of the destination's address; 0: its own
	vlan           uint16 // 0: none
	snap, gre, hop bool
	options        []byte
	repeats        bool   // sent, but not counted: the sender does not know of it
	acks           uint32 // bytes of the other side that it acknowledges; 0: all that it counted
}

// wiredFrames are the segments of a connection to port 80, one each 10 ms, with its handshake, over IPv4 or IPv6.
func wiredFrames(six bool, list []wired) []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	var out []byte
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, 1} {
		out = le.AppendUint32(out, v)
	}
	sent := [2]uint32{100, 500}
	at := uint32(0)
	put := func(w wired, flags byte) {
		side := 0
		if w.server {
			side = 1
		}
		ports := [2]uint16{40000, 80}
		t := be.AppendUint16(nil, ports[side])
		t = be.AppendUint16(t, ports[1-side])
		t = be.AppendUint32(t, sent[side])
		ack := sent[1-side]
		if w.acks > 0 {
			ack = [2]uint32{501, 101}[side] + w.acks
		}
		if flags == 2 {
			ack = 0
		}
		t = be.AppendUint32(t, ack)
		t = append(t, byte(5+len(w.options)/4)<<4, flags, 0x20, 0, 0, 0, 0, 0)
		t = append(append(t, w.options...), w.text...)
		p := inIPv4(side, 6, t)
		kind := []byte{8, 0}
		if six {
			p, kind = inIPv6(side, t, w.hop), []byte{0x86, 0xdd}
		}
		if w.gre {
			p = inIPv4(side, 47, append([]byte{0, 0, 8, 0}, p...))
		}
		f := []byte{2, 0, 0, 0, 0, byte(2 - side), 2, 0, 0, 0, 0, byte(1 + side)}
		if w.mac != 0 {
			f[5] = w.mac
		}
		if w.vlan != 0 {
			f = be.AppendUint16(append(f, 0x81, 0), w.vlan)
		}
		if w.snap {
			f = append(be.AppendUint16(f, uint16(8+len(p))), 0xaa, 0xaa, 3, 0, 0, 0)
		}
		f = append(append(f, kind...), p...)
		at += 10000
		for _, v := range []uint32{1_700_000_000, at, uint32(len(f)), uint32(len(f))} {
			out = le.AppendUint32(out, v)
		}
		out = append(out, f...)
		if !w.repeats {
			sent[side] += uint32(len(w.text))
		}
		if flags&2 != 0 {
			sent[side]++
		}
	}
	put(wired{}, 2)
	put(wired{server: true}, 0x12)
	put(wired{}, 0x10)
	for _, w := range list {
		put(w, 0x18)
	}
	return out
}

// TestRandomAddresses has connections in which a tool gave each packet other MAC addresses, and whose last segment is never
// acknowledged.
func TestRandomAddresses(t *testing.T) {
	const request, answer = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	const head, record, frame = 24, 16, 14
	for calls := range 12 {
		var list []wired
		for range calls {
			list = append(list, wired{text: request}, wired{server: true, text: answer}, wired{})
		}
		list = append(list, wired{text: request, mac: 0x99}, wired{server: true, acks: uint32(calls * len(request))})
		data := wiredFrames(false, list)
		for _, random := range []bool{false, true} {
			rnd := rand.New(rand.NewPCG(uint64(calls), 1))
			for at := head; random && at < len(data); at += record + int(binary.LittleEndian.Uint32(data[at+8:])) {
				for i := range frame - 2 {
					data[at+record+i] = byte(rnd.Uint32()) &^ 1
				}
			}
			path := filepath.Join(t.TempDir(), "a.pcap")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			want := "0"
			if calls > 0 && !random {
				want = "1"
			}
			if got := strings.Join(answersOf(t, []string{path}, Options{}, "select count(*) from anomalies where kind = 'contrary_segment'"), ""); got != want {
				t.Errorf("%d calls, random addresses %v: %s marks, want %s", calls, random, got, want)
			}
		}
	}
}

// contrary are the public captures with marks, and their number. The one of Arkime was edited by hand: its third frame
// has the source address 20:02:4f:3d:00:00 in place of c2:02:4f:3d:00:00, comes 28 years later, and is never acknowledged.
var contrary = map[string]string{"other/arkime-y2038-bgp.pcap": "1"}

// TestCapturesAreNotContrary has the public captures, in which nobody forged a segment: marks there would be false.
func TestCapturesAreNotContrary(t *testing.T) {
	dir := captures.Dir(t)
	var list []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); ext == ".pcap" || ext == ".pcapng" || ext == ".cap" {
			list = append(list, path)
		}
		return err
	})
	if err != nil || len(list) == 0 {
		t.Fatal("no captures: ", err)
	}
	read := 0
	for _, path := range nightly.Some(list, 12) {
		out := filepath.Join(t.TempDir(), "x.pcapsule")
		if _, err := Run(t.Context(), []string{path}, out, Options{Release: "test"}); err != nil {
			continue // not a capture, which other tests examine
		}
		read++
		name, _ := filepath.Rel(dir, path)
		if got := strings.Join(bundletest.Ask(t, out, "select count(*) from anomalies where kind = 'contrary_segment'"), ""); got != cmp.Or(contrary[filepath.ToSlash(name)], "0") {
			t.Errorf("%s has %s marks", name, got)
		}
	}
	if read == 0 {
		t.Error("no capture was read")
	}
}

func inIPv4(side int, proto byte, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, proto, 0, 0, 10, 0, 0, byte(1 + side), 10, 0, 0, byte(2 - side)}
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum))
	return append(b, payload...)
}

func inIPv6(side int, payload []byte, hop bool) []byte {
	next := byte(6)
	if hop {
		next, payload = 0, append([]byte{6, 0, 1, 4, 0, 0, 0, 0}, payload...)
	}
	b := []byte{0x60, 0, 0, 0, 0, 0, next, 64}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	for _, n := range []byte{byte(1 + side), byte(2 - side)} {
		b = append(append(b, 0xfd), append(make([]byte, 14), n)...)
	}
	return append(b, payload...)
}

// TestContrarySegments has a second request that comes on another way, unlike the first one. Only if its receiver, which acknowledges
// the first one, never acknowledges it, it has a mark.
func TestContrarySegments(t *testing.T) {
	const request, evil, answer = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	md5 := append([]byte{1, 1, 19, 18}, bytes.Repeat([]byte{7}, 16)...)
	stamps := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1}
	good := []wired{{text: request}, {server: true, text: answer}, {}}
	after := func(w wired, more ...wired) []wired {
		w.text = evil
		return append(append(slices.Clone(good), w), more...)
	}
	unheard, heard := wired{server: true, acks: uint32(len(request))}, wired{server: true, text: answer}
	for _, c := range []struct {
		name string
		six  bool
		list []wired
		want string
	}{
		{"other MAC address", false, after(wired{mac: 0x99}, unheard), "1"},
		{"VLAN", false, after(wired{vlan: 7}, unheard), "1"},
		{"SNAP", false, after(wired{snap: true}, unheard), "1"},
		{"GRE", false, after(wired{gre: true}, unheard), "1"},
		{"option of TCP", false, after(wired{options: md5}, unheard), "1"},
		{"time stamps that no other segment has", false, after(wired{options: stamps}, unheard), "1"},
		{"IPv6 option", true, after(wired{hop: true}, unheard), "1"},
		{"the same way", false, after(wired{}, unheard), "0"},
		{"the same way, IPv6", true, after(wired{}, unheard), "0"},
		{"another MAC address, but acknowledged, as after a failover", false, after(wired{mac: 0x99}, heard), "0"},
		{"a VLAN, but acknowledged", false, after(wired{vlan: 7}, heard), "0"},
		{"a failover, and the last segment is on its way", false, after(wired{mac: 0x99}, heard, wired{mac: 0x99, text: request}), "0"},
		{"SACK is in some segments only", false, after(wired{options: []byte{1, 1, 5, 10, 0, 0, 2, 0, 0, 0, 2, 9}}, unheard), "0"},
		{"nothing shows what the receiver got", false, slices.DeleteFunc(after(wired{mac: 0x99}), func(w wired) bool { return w.server }), "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.pcap")
			if err := os.WriteFile(path, wiredFrames(c.six, c.list), 0o600); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(answersOf(t, []string{path}, Options{}, "select count(*) from anomalies where kind = 'contrary_segment' and packet_no = 6"), "")
			if got != c.want {
				t.Errorf("%s marks, want %s", got, c.want)
			}
		})
	}
}
