package http2

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// direction is one side of a TCP connection in a capture. It reorders the segments.
type direction struct {
	next  uint32
	known bool
	early map[uint32][]byte
}

type tcpConn struct {
	c      *dissect.Conn
	client netip.AddrPort
	half   [2]direction
	last   dissect.Packet
}

func (k *tcpConn) segment(dir dissect.Dir, tcp *layers.TCP, p dissect.Packet) {
	h := &k.half[dir]
	k.last = p
	if tcp.SYN {
		h.next, h.known = tcp.Seq+1, true
	}
	if len(tcp.Payload) > 0 {
		if !h.known {
			h.next, h.known = tcp.Seq, true
		}
		h.early[tcp.Seq] = slices.Clone(tcp.Payload)
	}
	for again := true; again; {
		again = false
		for seq, data := range h.early {
			if d := int32(h.next - seq); d >= 0 {
				delete(h.early, seq)
				if int(d) < len(data) {
					p.Seq = h.next
					k.c.Data(dir, data[d:], p)
					h.next += uint32(len(data) - int(d))
				}
				again = true
				break
			}
		}
	}
}

// readCapture plays a capture's TCP connections, without gaps at their ends.
func readCapture(t testing.TB, path string) *dissecttest.Result {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := bufio.NewReader(f)
	var src gopacket.PacketDataSource
	var link func() layers.LinkType
	if magic, _ := b.Peek(4); string(magic) == "\x0a\x0d\x0d\x0a" {
		r, err := pcapgo.NewNgReader(b, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		src, link = r, r.LinkType
	} else {
		r, err := pcapgo.NewReader(b)
		if err != nil {
			t.Fatal(err)
		}
		src, link = r, r.LinkType
	}
	out := &dissecttest.Result{}
	e, err := dissect.NewEngine(append(protocols(), http1.Protocol()), nil, out, true)
	if err != nil {
		t.Fatal(err)
	}
	conns := map[[2]netip.AddrPort]*tcpConn{}
	var order []*tcpConn
	for no := int64(1); ; no++ {
		data, ci, err := src.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pk := gopacket.NewPacket(data, link(), gopacket.NoCopy)
		tcp, _ := pk.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if tcp == nil {
			continue
		}
		a, _ := netip.AddrFromSlice(pk.NetworkLayer().NetworkFlow().Src().Raw())
		z, _ := netip.AddrFromSlice(pk.NetworkLayer().NetworkFlow().Dst().Raw())
		from, to := netip.AddrPortFrom(a, uint16(tcp.SrcPort)), netip.AddrPortFrom(z, uint16(tcp.DstPort))
		k := conns[[2]netip.AddrPort{from, to}]
		if k == nil {
			k = &tcpConn{client: from, c: e.NewConn(dissect.Info{ClientPort: from.Port(), ServerPort: to.Port(), RolesKnown: tcp.SYN && !tcp.ACK, Began: [2]bool{tcp.SYN, tcp.SYN}, ConnectUs: -1})}
			k.half[0].early, k.half[1].early = map[uint32][]byte{}, map[uint32][]byte{}
			conns[[2]netip.AddrPort{from, to}], conns[[2]netip.AddrPort{to, from}] = k, k
			order = append(order, k)
		}
		dir := dissect.ToServer
		if from != k.client {
			dir = dissect.ToClient
		}
		k.segment(dir, tcp, dissect.Packet{No: no, Time: ci.Timestamp.UnixNano(), Seq: tcp.Seq, Ack: tcp.Ack})
	}
	for _, k := range order {
		k.c.Close(dissect.EndFin, k.last)
	}
	return out
}

// peerSeesLess lists captures that the reference tool decodes only in part, with the reason.
var peerSeesLess = map[string]string{
	"http2/arkime-http2-nghttp2.pcap":           "it shows no fields of the first HEADERS frame",
	"http2/suricata-http2-errorcode.pcap":       "it does not look into the CONNECT tunnel",
	"http2/suricata-http2-bugfixes.pcap":        "it assumes TLS on port 443",
	"http2/suricata-http2-compression-bug.pcap": "it assumes TLS on port 443",
}

// covers reports whether got has everything in want, and nothing else unless allowed.
func covers(got, want map[string]int, more bool) bool {
	for k, n := range want {
		if got[k] < n {
			return false
		}
	}
	return more || maps.Equal(got, want)
}

// TestCaptures compares requests and statuses with those of a reference tool.
func TestCaptures(t *testing.T) {
	dir := captures.Dir(t)
	paths, _ := filepath.Glob(filepath.Join(dir, "http2", "*.pcap*"))
	more, _ := filepath.Glob(filepath.Join(dir, "grpc", "*.pcap*"))
	for _, path := range append(paths, more...) {
		rel, _ := filepath.Rel(dir, path)
		t.Run(rel, func(t *testing.T) {
			var truth struct {
				Requests map[string]int `json:"http2_requests"`
				Statuses map[string]int `json:"http2_statuses"`
				Frames   map[string]int `json:"frames_with"`
			}
			b, err := os.ReadFile(filepath.Join(dir, "truth", rel+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &truth); err != nil {
				t.Fatal(err)
			}
			if truth.Frames["tls"] > 0 && truth.Frames["http2"] > 0 {
				return // inside TLS, which this package does not decrypt
			}
			requests, statuses := map[string]int{}, map[string]int{}
			r := readCapture(t, path)
			for _, e := range r.Emissions {
				c := e.Row.Base()
				t.Logf("%s %d %s %v req=%d resp=%d", c.Protocol, c.StreamID.V, c.Summary, c.Error, c.RequestBodySize.V, c.ResponseBodySize.V)
				if c.Protocol != "http2" && c.Protocol != "grpc" {
					continue
				}
				if row, ok := e.Row.(*Row); c.Method.OK && !(ok && row.Upgraded) {
					target := c.Path.V
					if c.Query.OK {
						target += "?" + c.Query.V
					}
					requests[c.Method.V+" "+authority(e.Row)+target]++
				}
				if c.StatusCode.OK {
					statuses[fmt.Sprint(c.StatusCode.V)]++
				}
			}
			for _, a := range r.Anomalies {
				t.Logf("anomaly %s %s", a.Kind, a.Detail)
			}
			_, more := peerSeesLess[rel]
			if !covers(requests, truth.Requests, more) {
				t.Errorf("requests %v, want %v", requests, truth.Requests)
			}
			if more && len(requests) == 0 {
				t.Error("no request found")
			}
			if !covers(statuses, truth.Statuses, more) {
				t.Errorf("statuses %v, want %v", statuses, truth.Statuses)
			}
		})
	}
}

func authority(row table.CallRow) string {
	switch r := row.(type) {
	case *Row:
		return r.Authority.V
	case *grpc.Row:
		return r.Authority.V
	}
	return ""
}
