package frames

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// SegmentBegin is the time of the first packet of a segment, in nanoseconds since 1970 UTC.
const SegmentBegin = int64(1_772_442_000) * 1e9

// Stamp is a time in side files, given in milliseconds since SegmentBegin.
func Stamp(ms int64) string {
	return time.Unix(0, SegmentBegin+ms*1e6).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// Segment makes a segment like a recorder: cooked packets of sockets, with an interface per
// control group.
type Segment struct {
	t    *testing.T
	w    *pcapng.Writer
	out  bytes.Buffer
	opts pcapng.OptionList

	Comment     string        // on each packet
	PID         uint32        // on each packet
	Taken, Sent pcapng.Socket // on each packet that came in, and that went out
}

// Kinds of knowledge, as packets have them (docs/format/owners.md).
const (
	ByWriter   = 1
	ByLastUser = 2
	ByAcceptor = 3
	ByCreator  = 4
	ByListener = 5
	ByOracle   = 99 // of a future release
)

// Had is the socket of a process, known by kind.
func Had(pid uint32, kind uint8) pcapng.Socket {
	return pcapng.Socket{Cookie: 81, PID: pid, Kind: kind}
}

// NewSegment begins a segment; a header without a ring gets that of a series of sockets.
func NewSegment(t *testing.T, h ring.Header, interfaces ...workload.InterfaceComment) *Segment {
	t.Helper()
	if h.Ring == "" {
		h.Version, h.Ring, h.Node, h.Series, h.Sequence = 1, "3f9c2ab1", "node-a", "sockets", 1
	}
	comment, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	s := &Segment{t: t}
	if s.w, err = pcapng.NewWriter(&s.out, pcapng.Section{Comments: []string{string(comment)}}, pcapng.WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range interfaces {
		c.Ring = h.Ring
		_, err := s.w.AddInterface(pcapng.Interface{Name: "node-a/-/" + c.Cgroup, LinkType: 276, SnapLen: 261000, TsResol: 9, FCSLen: -1,
			Comments: []string{workload.FormatInterfaceComment(c)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// CookedIP is the packet of a socket with its cooked header.
func CookedIP(proto byte, src, dst netip.AddrPort, l4 []byte, out bool) []byte {
	b := make([]byte, 20, 64)
	binary.BigEndian.PutUint16(b, 0x0800)
	binary.BigEndian.PutUint16(b[8:], 0xfffe)
	if out {
		b[10] = 4
	}
	frame := AppendIPv4(nil, proto, 0, 0, 1, 0, len(l4))
	frame = append(append(frame[:len(frame)-8], src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	return append(append(b, frame[14:]...), l4...)
}

// Packet writes a cooked packet ms milliseconds after the beginning; out: the host sent it.
func (s *Segment) Packet(face int32, ms int64, out bool, data []byte) {
	s.t.Helper()
	s.opts.Reset()
	s.opts.Flags(pcapng.Flags(pcapng.DirectionInbound))
	if out {
		s.opts.Reset()
		s.opts.Flags(pcapng.Flags(pcapng.DirectionOutbound))
	}
	if s.Comment != "" {
		s.opts.Comment(s.Comment)
	}
	if s.PID != 0 {
		s.opts.ProcessThread(s.PID, s.PID)
	}
	sock := s.Taken
	if out {
		sock = s.Sent
	}
	if sock.Kind == ByWriter { // as recorders write it
		s.opts.ProcessThread(sock.PID, sock.TID)
		sock.PID, sock.TID = 0, 0
	}
	if sock.Cookie != 0 {
		s.opts.Socket(&sock)
	}
	p := pcapng.Packet{Interface: face, Kind: pcapng.KindEnhanced, Time: SegmentBegin + ms*1e6, TimeOK: true, Data: data, OrigLen: uint32(len(data))}
	if err := s.w.WritePacket(&p, &s.opts); err != nil {
		s.t.Fatal(err)
	}
}

// TCP writes a TCP packet.
func (s *Segment) TCP(face int32, ms int64, out bool, src, dst string, seq, ack uint32, flags byte, payload string) {
	a, b := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	l4 := AppendTCP(nil, 0, 0, a.Port(), b.Port(), seq, ack, flags, 1, []byte(payload))[34:]
	s.Packet(face, ms, out, CookedIP(6, a, b, l4, out))
}

// Exchange writes an HTTP exchange as seen by the server's machine, from ms on: handshake,
// request after 10 ms, answer after 20 ms.
func (s *Segment) Exchange(face int32, ms int64, client, server, path string) {
	s.Answered(face, ms, client, server, path, s.Sent)
}

// Answered is an exchange whose answer another process may have written, to which the socket was passed.
func (s *Segment) Answered(face int32, ms int64, client, server, path string, by pcapng.Socket) {
	ask := "GET " + path + " HTTP/1.1\r\nHost: svc\r\n\r\n"
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	n, m := uint32(len(ask)), uint32(len(answer))
	i := uint32(100 + ms)
	s.TCP(face, ms, false, client, server, i, 0, 2, "")
	s.TCP(face, ms+1, true, server, client, 500, i+1, 0x12, "")
	s.TCP(face, ms+2, false, client, server, i+1, 501, 0x10, "")
	s.TCP(face, ms+10, false, client, server, i+1, 501, 0x18, ask)
	was := s.Sent
	s.Sent = by
	s.TCP(face, ms+20, true, server, client, 501, i+1+n, 0x18, answer)
	s.Sent = was
	s.TCP(face, ms+21, false, client, server, i+1+n, 501+m, 0x11, "")
	s.TCP(face, ms+22, true, server, client, 501+m, i+2+n, 0x11, "")
}

// Bytes returns the finished file.
func (s *Segment) Bytes() []byte {
	s.t.Helper()
	if err := s.w.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return s.out.Bytes()
}

// Write puts the segment and its side files into a folder.
func (s *Segment) Write(dir, name string, sides map[string]string) string {
	s.t.Helper()
	path := filepath.Join(dir, name+".pcapng")
	if err := os.WriteFile(path, s.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	for ending, text := range sides {
		if err := os.WriteFile(filepath.Join(dir, name+"."+ending), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	return path
}

// Process is a line about a process.
func Process(pid int, name, more string) string {
	return fmt.Sprintf(`{"process":"%d@7","pid":%d,"parent_pid":1,"start":%q,"name":%q,"exe":"/bin/%s","args":[%q,"--x"],"uid":33,"user":"www"%s}`+"\n",
		pid, pid, Stamp(-5000), name, name, name, more)
}
