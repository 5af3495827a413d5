package tls

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// A small capture reader: connections in order of their first packet, with reordered TCP
// segments.

type endpoints struct {
	src, dst     string
	sport, dport uint16
	udp          bool
}

func (e endpoints) back() endpoints { return endpoints{e.dst, e.src, e.dport, e.sport, e.udp} }

type walked struct {
	plainSink
	udp  bool
	dirs [2]tcpDir
	end  endpoints
}

type tcpDir struct {
	begun, fin bool
	next       uint32
	held       []heldSegment
}

type heldSegment struct {
	seq  uint32
	data []byte
	fin  bool
}

// walkCapture dissects a capture as TLS on TCP and DTLS on UDP.
func walkCapture(t testing.TB, path string, keys *secrets.Store) []*walked {
	t.Helper()
	p := Protocol(keys)
	return walkWith(t, path, func() *dissect.Protocol { return p })
}

func walkWith(t testing.TB, path string, protocol func() *dissect.Protocol) []*walked {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var list []*walked
	open := map[endpoints]*walked{}
	var batch pcapng.Batch
	var last dissect.Packet
	for {
		err := r.Next(&batch)
		for i := range batch.Packets {
			last.No++
			last.Time = batch.Packets[i].Time
			e, tcp, body := layers(batch.Packets[i].LinkType, batch.Packets[i].Data)
			if e == nil {
				continue
			}
			w, dir := open[*e], dissect.ToServer
			if w == nil {
				w, dir = open[e.back()], dissect.ToClient
			}
			if w == nil || tcp != nil && tcp[13]&0x12 == 2 && w.dirs[0].fin {
				dir = dissect.ToServer
				w = &walked{udp: e.udp, end: *e}
				eng, err := dissect.NewEngine([]*dissect.Protocol{protocol()}, nil, w, true)
				if err != nil {
					t.Fatal(err)
				}
				transport := dissect.TCP
				if e.udp {
					transport = dissect.UDP
				}
				w.Conn = eng.NewConn(dissect.Info{Transport: transport, ClientPort: e.sport, ServerPort: e.dport, RolesKnown: tcp == nil || tcp[13]&2 != 0, ConnectUs: -1})
				delete(open, e.back())
				open[*e] = w
				list = append(list, w)
			}
			if e.udp {
				w.Conn.Datagram(dir, body, last)
			} else {
				w.segment(dir, tcp, body, last)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range list {
		for d := range w.dirs {
			w.flush(dissect.Dir(d), last, true)
		}
		w.Conn.Close(dissect.EndCapture, last)
	}
	return list
}

func (w *walked) segment(dir dissect.Dir, tcp, body []byte, p dissect.Packet) {
	d := &w.dirs[dir]
	seq := binary.BigEndian.Uint32(tcp[4:])
	p.Seq, p.Ack = seq, binary.BigEndian.Uint32(tcp[8:])
	if tcp[13]&2 != 0 {
		d.begun, d.next = true, seq+1
		return
	}
	if !d.begun {
		d.begun, d.next = true, seq
	}
	fin := tcp[13]&1 != 0
	if len(body) == 0 && !fin {
		return
	}
	d.held = append(d.held, heldSegment{seq, append([]byte(nil), body...), fin})
	w.flush(dir, p, len(d.held) > 40)
}

// flush delivers the bytes that are in order; with force also those after a gap.
func (w *walked) flush(dir dissect.Dir, p dissect.Packet, force bool) {
	d := &w.dirs[dir]
	for len(d.held) > 0 {
		best := 0
		for i := range d.held {
			if int32(d.held[i].seq-d.held[best].seq) < 0 {
				best = i
			}
		}
		h := d.held[best]
		if ahead := int32(h.seq - d.next); ahead > 0 {
			if !force {
				return
			}
			w.Conn.Gap(dir, int64(ahead), p)
			d.next = h.seq
		} else if skip := int(-ahead); skip < len(h.data) {
			h.data = h.data[skip:]
		} else {
			h.data = nil
		}
		d.held = append(d.held[:best], d.held[best+1:]...)
		if len(h.data) > 0 {
			w.Conn.Data(dir, h.data, p)
			d.next += uint32(len(h.data))
		}
		if h.fin && !d.fin {
			d.fin = true
			w.Conn.End(dir, p)
		}
	}
}

// layers finds the endpoints, the TCP header and the payload of a frame.
func layers(link uint16, b []byte) (*endpoints, []byte, []byte) {
	switch {
	case link == 1 && len(b) > 14:
		b = b[14:]
	case link == 0 && len(b) > 4:
		b = b[4:]
	}
	if len(b) < 20 {
		return nil, nil, nil
	}
	e := &endpoints{}
	proto := b[9]
	switch b[0] >> 4 {
	case 4:
		e.src, e.dst = string(b[12:16]), string(b[16:20])
		b = b[int(b[0]&15)*4 : max(20, min(len(b), int(binary.BigEndian.Uint16(b[2:]))))]
	case 6:
		if len(b) < 40 {
			return nil, nil, nil
		}
		proto = b[6]
		e.src, e.dst = string(b[8:24]), string(b[24:40])
		b = b[40:]
	default:
		return nil, nil, nil
	}
	if len(b) < 8 {
		return nil, nil, nil
	}
	e.sport, e.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	switch {
	case proto == 17:
		e.udp = true
		return e, nil, b[8:]
	case proto == 6 && len(b) >= 20 && int(b[12]>>4)*4 <= len(b):
		return e, b, b[int(b[12]>>4)*4:]
	}
	return nil, nil, nil
}
