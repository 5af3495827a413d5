package derive_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// scene is a capture of conversations over Ethernet and IPv4.
type scene struct {
	t    *testing.T
	buf  bytes.Buffer
	w    *pcapng.Writer
	at   int64
	port uint16

	mirrored bool // each packet is captured a second time
}

// mirror adds an interface that captures each packet too.
func (s *scene) mirror() {
	s.mirrored = true
	s.addInterface("eth1")
}

func (s *scene) addInterface(name string) {
	if _, err := s.w.AddInterface(pcapng.Interface{LinkType: 1, SnapLen: 262144, TsResol: 9, FCSLen: -1, Name: name}); err != nil {
		s.t.Fatal(err)
	}
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano(), port: 40000}
	w, err := pcapng.NewWriter(&s.buf, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	s.addInterface("eth0")
	return s
}

// say is what one side sends, in segments of at most mss bytes.
type say struct {
	server bool
	data   []byte
	mss    int
	again  bool // each segment is sent again
	lost   bool // no segment was captured
}

// talk adds a TCP conversation.
func (s *scene) talk(port uint16, list ...say) {
	s.port++
	seq := [2]uint32{1000, 9_000_000}
	end := func(from int) (src, dst [4]byte, sp, dp uint16) {
		c, v := [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}
		if from == 0 {
			return c, v, s.port, port
		}
		return v, c, port, s.port
	}
	send := func(from int, flags byte, data []byte) {
		src, dst, sp, dp := end(from)
		s.tcp(src, dst, sp, dp, seq[from], seq[1-from], flags, data)
		seq[from] += uint32(len(data))
		if flags&3 != 0 {
			seq[from]++
		}
	}
	send(0, 2, nil)
	send(1, 0x12, nil)
	send(0, 0x10, nil)
	for _, m := range list {
		from := 0
		if m.server {
			from = 1
		}
		mss := m.mss
		if mss == 0 {
			mss = 1400
		}
		for d := m.data; len(d) > 0; {
			n := min(mss, len(d))
			if m.lost {
				seq[from] += uint32(n)
				d = d[n:]
				continue
			}
			send(from, 0x18, d[:n])
			if m.again {
				seq[from] -= uint32(n)
				send(from, 0x18, d[:n])
			}
			d = d[n:]
		}
		send(1-from, 0x10, nil)
	}
	send(0, 0x11, nil)
	send(1, 0x11, nil)
	send(0, 0x10, nil)
}

func (s *scene) tcp(src, dst [4]byte, sp, dp uint16, seq, ack uint32, flags byte, data []byte) {
	h := make([]byte, 20, 20+len(data))
	binary.BigEndian.PutUint16(h, sp)
	binary.BigEndian.PutUint16(h[2:], dp)
	binary.BigEndian.PutUint32(h[4:], seq)
	if flags != 2 {
		binary.BigEndian.PutUint32(h[8:], ack)
	}
	h[12], h[13] = 5<<4, flags
	binary.BigEndian.PutUint16(h[14:], 65000)
	h = append(h, data...)
	binary.BigEndian.PutUint16(h[16:], sum(h, pseudo(src, dst, 6, len(h))))
	s.ip(src, dst, 6, h)
}

// datagrams adds a conversation over UDP.
func (s *scene) datagrams(port uint16, list ...say) {
	s.port++
	client, server := [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}
	for _, m := range list {
		if m.server {
			s.udp(server, client, port, s.port, m.data)
		} else {
			s.udp(client, server, s.port, port, m.data)
		}
	}
}

// udp adds one datagram.
func (s *scene) udp(src, dst [4]byte, sp, dp uint16, data []byte) {
	h := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(h, sp)
	binary.BigEndian.PutUint16(h[2:], dp)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(data)))
	h = append(h, data...)
	binary.BigEndian.PutUint16(h[6:], sum(h, pseudo(src, dst, 17, len(h))))
	s.ip(src, dst, 17, h)
}

func (s *scene) ip(src, dst [4]byte, proto byte, data []byte) {
	h := make([]byte, 34, 34+len(data))
	copy(h, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00")
	ip := h[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(data)))
	binary.BigEndian.PutUint16(ip[4:], uint16(s.at))
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], sum(ip[:20], 0))
	h = append(h, data...)
	s.at += 1_000_003
	for i := range int32(2) {
		if i == 1 && !s.mirrored {
			break
		}
		if err := s.w.WritePacket(&pcapng.Packet{Kind: pcapng.KindEnhanced, Interface: i, Time: s.at + int64(i)*1000, TimeOK: true, OrigLen: uint32(len(h)), Data: h}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
}

func pseudo(src, dst [4]byte, proto byte, n int) uint32 {
	b := append(append(append([]byte{}, src[:]...), dst[:]...), 0, proto, byte(n>>8), byte(n))
	return uint32(^sum(b, 0))
}

func sum(b []byte, n uint32) uint16 {
	for i := 0; i < len(b); i += 2 {
		n += uint32(b[i]) << 8
		if i+1 < len(b) {
			n += uint32(b[i+1])
		}
	}
	for n>>16 > 0 {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

// save writes the capture.
func (s *scene) save() string {
	if err := s.w.Flush(); err != nil {
		s.t.Fatal(err)
	}
	name := filepath.Join(s.t.TempDir(), "scene.pcapng")
	if err := os.WriteFile(name, s.buf.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}
