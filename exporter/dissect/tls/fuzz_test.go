package tls

import (
	stdtls "crypto/tls"
	"math/rand"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation reads random bytes in both directions, split anywhere, with gaps, over TCP
// and UDP. It must not panic, must account for every byte and hold no memory at the end.
func FuzzConversation(f *testing.F) {
	for i, version := range []uint16{stdtls.VersionTLS10, stdtls.VersionTLS12, stdtls.VersionTLS13} {
		cc, sc := configs(f, version)
		both := [2][]byte{}
		for _, c := range mustTalk(f, cc, sc) {
			both[c.Dir] = append(both[c.Dir], c.Data...)
		}
		f.Add(both[0], both[1], int64(i), byte(i))
	}
	chunks, _ := dtlsTalk(f)
	both := [2][]byte{}
	for _, c := range chunks {
		both[c.Dir] = append(both[c.Dir], c.Data...)
	}
	f.Add(both[0], both[1], int64(9), byte(0x80))
	f.Add([]byte("\x80\x22\x01\x00\x02\x00\x09\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x07\x00\xc0rrrrrrrrrrrrrrrr"), []byte("\x80\x0d\x04\x00\x01\x00\x02\x00\x00\x00\x00\x00\x02id"), int64(3), byte(0))
	f.Fuzz(func(t *testing.T, toServer, toClient []byte, seed int64, end byte) {
		rnd := rand.New(rand.NewSource(seed))
		var c []dissecttest.Chunk
		for len(toServer)+len(toClient) > 0 {
			from, dir := &toServer, dissect.ToServer
			if len(toServer) == 0 || len(toClient) > 0 && rnd.Intn(2) == 0 {
				from, dir = &toClient, dissect.ToClient
			}
			n := 1 + rnd.Intn(min(len(*from), 1+rnd.Intn(1500)))
			k := dissecttest.Chunk{Dir: dir, Data: (*from)[:n]}
			if end&0x80 == 0 && rnd.Intn(12) == 0 {
				k.Gap = int64(1 + rnd.Intn(200))
			}
			c, *from = append(c, k), (*from)[n:]
		}
		var r *dissecttest.Result
		if end&0x80 != 0 {
			r = playUDP(t, dissect.End(end%6), c...)
		} else {
			r = play(t, dissect.End(end%6), c...)
		}
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
		}
		for _, row := range r.Rows() {
			if b := row.Base(); b.Summary == "" || len(b.Cites) == 0 {
				t.Errorf("row without summary or citation: %+v", row)
			}
		}
	})
}

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func benchmark(b *testing.B, version uint16) {
	cc, sc := configs(b, version)
	chunks := mustTalk(b, cc, sc)
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(nil)}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	for _, c := range chunks {
		size += len(c.Data)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		var p dissect.Packet
		c := e.NewConn(dissect.Info{ServerPort: 443, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		for _, k := range chunks {
			p.No++
			p.Time += 1000
			c.Data(k.Dir, k.Data, p)
		}
		c.Close(dissect.EndFin, p)
	}
}

func BenchmarkHandshake12(b *testing.B) { benchmark(b, stdtls.VersionTLS12) }

func BenchmarkHandshake13(b *testing.B) { benchmark(b, stdtls.VersionTLS13) }

// BenchmarkData skips application data in segments.
func BenchmarkData(b *testing.B) {
	cc, sc := configs(b, stdtls.VersionTLS13)
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol(nil)}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 443, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	var p dissect.Packet
	for _, k := range mustTalk(b, cc, sc) {
		c.Data(k.Dir, k.Data, p)
	}
	body := make([]byte, 16384+17)
	stream := append([]byte{recordData, 3, 3, byte(len(body) >> 8), byte(len(body))}, body...)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			n := min(1448, len(rest))
			p.No++
			c.Data(dissect.ToClient, rest[:n], p)
			rest = rest[n:]
		}
	}
}
