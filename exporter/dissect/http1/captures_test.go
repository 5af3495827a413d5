package http1

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// captures is the folder of shared captures; the test is skipped where it is absent.
func captures(t testing.TB) string {
	if dir := os.Getenv("PCAPSULE_CAPTURES"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			dir = filepath.Join(filepath.Dir(dir), "shared", "captures")
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Skip("needs shared captures")
	return ""
}

// stream is one TCP connection, put in order as simply as is right for tests.
type stream struct {
	conn  *dissect.Conn
	next  [2]uint32
	known [2]bool
	early [2]map[uint32]piece
	isn   [2]uint32
	fin   [2]uint32
	last  dissect.Packet
}

type piece struct {
	data []byte
	lost int // bytes that the snap length cut off
	p    dissect.Packet
}

func (s *stream) segment(dir dissect.Dir, tcp *layers.TCP, data []byte, lost int, p dissect.Packet) {
	s.last = p
	if tcp.SYN {
		if s.known[dir] {
			return
		}
		s.next[dir], s.known[dir], s.isn[dir] = tcp.Seq+1, true, tcp.Seq
		p.Seq++
	}
	if o := dir.Other(); tcp.ACK && s.known[o] {
		s.acked(o, tcp.Ack, p)
	}
	if len(data)+lost > 0 {
		if !s.known[dir] {
			s.next[dir], s.known[dir] = p.Seq, true
		}
		if d := int32(s.next[dir] - p.Seq); d > 0 && int(d) < len(data) {
			data, p.Seq = data[d:], p.Seq+uint32(d)
		}
		if int32(p.Seq-s.next[dir]) >= 0 && len(s.early[dir]) < 4096 {
			if old := s.early[dir][p.Seq]; len(old.data) < len(data) {
				s.early[dir][p.Seq] = piece{slices.Clone(data), lost, p}
			}
		}
		s.drain(dir)
	}
	if tcp.FIN {
		s.fin[dir] = tcp.Seq + uint32(len(data)+lost)
		if s.fin[dir] == s.next[dir] {
			s.conn.End(dir, p)
		}
	}
}

// acked gives up waiting for bytes that the other side has received.
func (s *stream) acked(dir dissect.Dir, ack uint32, p dissect.Packet) {
	for int32(ack-s.next[dir]) > 0 {
		s.drain(dir)
		to := ack
		for seq := range s.early[dir] {
			if int32(seq-s.next[dir]) > 0 && int32(seq-to) < 0 {
				to = seq
			}
		}
		n := int32(to - s.next[dir])
		if n <= 0 {
			return
		}
		if to == ack && (len(s.early[dir]) == 0 && s.fin[dir] != 0 || n == 1 || n > 1<<24) {
			return
		}
		s.conn.Gap(dir, int64(n), p)
		s.next[dir] = to
	}
}

func (s *stream) drain(dir dissect.Dir) {
	for {
		q, ok := s.early[dir][s.next[dir]]
		if !ok {
			for seq, e := range s.early[dir] { // overlaps what was given already
				if d := int32(s.next[dir] - seq); d > 0 {
					delete(s.early[dir], seq)
					if int(d) < len(e.data) {
						e.data, e.p.Seq = e.data[d:], s.next[dir]
						s.early[dir][s.next[dir]] = e
						q, ok = e, true
						break
					}
				}
			}
			if !ok {
				return
			}
		}
		delete(s.early[dir], s.next[dir])
		s.next[dir] += uint32(len(q.data) + q.lost)
		s.conn.Data(dir, q.data, q.p)
		if q.lost > 0 {
			s.conn.Gap(dir, int64(q.lost), q.p)
		}
		if s.fin[dir] != 0 && s.fin[dir] == s.next[dir] {
			s.conn.End(dir, q.p)
		}
	}
}

func (s *stream) close(why dissect.End) {
	for dir := range s.next {
		for len(s.early[dir]) > 0 {
			to := slices.MinFunc(slices.Collect(maps.Keys(s.early[dir])), func(a, b uint32) int { return int(int32(a - b)) })
			if n := int32(to - s.next[dir]); n > 0 {
				s.conn.Gap(dissect.Dir(dir), int64(n), s.last)
			}
			s.next[dir] = to
			s.drain(dissect.Dir(dir))
		}
	}
	s.conn.Close(why, s.last)
}

// readCapture plays a capture's TCP connections to an engine that knows HTTP alone.
func readCapture(t testing.TB, path string) *dissecttest.Result {
	r := &dissecttest.Result{}
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, r, true)
	if err != nil {
		t.Fatal(err)
	}
	var order []*stream
	streams := map[string]*stream{}
	var no int64
	eachPacket(t, path, func(pk gopacket.Packet) {
		no++
		tcp, _ := pk.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if tcp == nil || pk.NetworkLayer() == nil {
			return
		}
		data, lost := tcp.Payload, 0
		if ip, ok := pk.NetworkLayer().(*layers.IPv4); ok {
			lost = max(int(ip.Length)-int(ip.IHL)*4-int(tcp.DataOffset)*4-len(data), 0)
		}
		nf := pk.NetworkLayer().NetworkFlow()
		ports := gopacket.NewFlow(layers.EndpointTCPPort, []byte{byte(tcp.SrcPort >> 8), byte(tcp.SrcPort)}, []byte{byte(tcp.DstPort >> 8), byte(tcp.DstPort)})
		key, back := fmt.Sprint(nf, ports), fmt.Sprint(nf.Reverse(), ports.Reverse())
		s, dir := streams[key], dissect.ToServer
		if s == nil {
			if s = streams[back]; s != nil {
				dir = dissect.ToClient
			}
		}
		if s != nil && tcp.SYN && !tcp.ACK && tcp.Seq != s.isn[dir] {
			s.close(dissect.EndReuse)
			delete(streams, key)
			delete(streams, back)
			s = nil
		}
		p := dissect.Packet{No: no, Time: pk.Metadata().Timestamp.UnixNano(), Seq: tcp.Seq, Ack: tcp.Ack}
		if s == nil {
			dir = dissect.ToServer
			s = &stream{conn: e.NewConn(dissect.Info{ClientPort: uint16(tcp.SrcPort), ServerPort: uint16(tcp.DstPort), RolesKnown: tcp.SYN, ConnectUs: -1})}
			s.early[0], s.early[1] = map[uint32]piece{}, map[uint32]piece{}
			if tcp.SYN && tcp.ACK {
				s.conn.Info.ClientPort, s.conn.Info.ServerPort = s.conn.Info.ServerPort, s.conn.Info.ClientPort
				dir, key = dissect.ToClient, back
			}
			streams[key] = s
			order = append(order, s)
		}
		s.segment(dir, tcp, data, lost, p)
	})
	for _, s := range order {
		s.close(dissect.EndCapture)
	}
	r.Held = e.Held()
	return r
}

func eachPacket(t testing.TB, path string, f func(gopacket.Packet)) {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in := bufio.NewReader(file)
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			t.Skip(err)
		}
		in = bufio.NewReader(z)
	}
	magic, _ := in.Peek(4)
	var next func() ([]byte, gopacket.CaptureInfo, error)
	var link layers.LinkType
	if string(magic) == "\x0a\x0d\x0d\x0a" {
		r, err := pcapgo.NewNgReader(in, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Skip(err)
		}
		next, link = r.ReadPacketData, r.LinkType()
	} else {
		r, err := pcapgo.NewReader(in)
		if err != nil {
			t.Skip(err)
		}
		next, link = r.ReadPacketData, r.LinkType()
	}
	for {
		data, ci, err := next()
		if err == io.EOF || err != nil {
			return
		}
		if link == 12 || link == 14 || link == 228 { // raw IP as some systems number it
			link = layers.LinkTypeRaw
		}
		pk := gopacket.NewPacket(data, link, gopacket.DecodeOptions{NoCopy: true})
		pk.Metadata().CaptureInfo = ci
		f(pk)
	}
}

type truth struct {
	Requests int            `json:"http_request_count"`
	Methods  map[string]int `json:"http_methods"`
	Statuses map[string]int `json:"http_statuses"`
}

// skips are captures that this file's simple reading cannot play.
var skips = map[string]string{
	"tcp/arkime-wireshark-retrans.pcap": "tshark counts two responses again that were sent again",
	"http1/dpkt-nb6-http.pcap":          "one of its connections lies in PPP in L2TP, which only the exporter unwraps",
	"pcapng/pcpp-pcapng-example.pcapng": "its interfaces have several link types",
}

func fewer(got, want map[string]int) bool {
	for k, n := range want {
		if got[k] < n {
			return true
		}
	}
	return false
}

// TestCaptures compares methods and statuses with what tshark counts. More than that
// is right: tshark gives up at gaps, at odd start lines and on ports it does not know.
func TestCaptures(t *testing.T) {
	dir := captures(t)
	for _, folder := range []string{"http1", "websocket", "tcp", "mixed", "pcapng"} {
		files, _ := filepath.Glob(filepath.Join(dir, "truth", folder, "*.json"))
		for _, f := range files {
			name := folder + "/" + strings.TrimSuffix(filepath.Base(f), ".json")
			if strings.HasSuffix(f, ".keys.json") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				var want truth
				if err := json.Unmarshal(b, &want); err != nil {
					t.Fatal(err)
				}
				delete(want.Methods, "M-SEARCH") // SSDP, which is not HTTP over TCP
				r := readCapture(t, filepath.Join(dir, name))
				got := truth{Methods: map[string]int{}, Statuses: map[string]int{}}
				for _, row := range r.Rows() {
					if h, ok := row.(*Row); ok {
						if h.Method.OK {
							got.Methods[h.Method.V]++
							got.Requests++
						}
						if h.StatusCode.OK {
							got.Statuses[strconv.Itoa(int(h.StatusCode.V))]++
						}
						for _, code := range strings.Split(h.Interim.V, ",") {
							if code != "" {
								got.Statuses[code]++
							}
						}
					}
				}
				if why := skips[name]; why != "" {
					t.Skip(why)
				}
				if fewer(got.Methods, want.Methods) || fewer(got.Statuses, want.Statuses) {
					t.Errorf("methods %v, want %v; statuses %v, want %v", got.Methods, want.Methods, got.Statuses, want.Statuses)
					t.Log(strings.ReplaceAll(sketch(r), "; ", "\n"))
				}
				if r.Held != 0 {
					t.Errorf("%d bytes held", r.Held)
				}
			})
		}
	}
}
