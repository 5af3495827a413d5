package all

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type noSink struct{}

func (noSink) Call(dissect.Emission)                {}
func (noSink) Anomaly(*dissect.Conn, table.Anomaly) {}

// FuzzEngine reads random bytes, split anywhere, with all protocols. It must not panic, must
// account for every byte and hold no memory at the end.
func FuzzEngine(f *testing.F) {
	f.Add([]byte("\x00\x30GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\x01\x13HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("\x00\x18PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x09\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x0e*1\r\n$4\r\nPING\r\n\x01\x07+PONG\r\n\x82\x10"))
	f.Add([]byte("\x00\x08\x00\x00\x00\x08\x04\xd2\x16\x2f\x01\x01S\x04\x05\x16\x03\x01\x00\x05"))
	protocols := Protocols(nil)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, transport := range []dissect.Transport{dissect.TCP, dissect.UDP} {
			play(t, protocols, transport, in)
		}
	})
}

// play reads steps of a control byte (direction, gap, end), a length and that many bytes.
func play(t *testing.T, protocols []*dissect.Protocol, transport dissect.Transport, in []byte) {
	e, err := dissect.NewEngine(protocols, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: transport, ClientPort: 40000, ServerPort: 40001, RolesKnown: len(in)%2 == 0, Began: [2]bool{len(in)%2 == 0, len(in)%3 == 0}, ConnectUs: -1})
	sent := int64(0)
	for no := int64(0); len(in) >= 2; no++ {
		kind, n := in[0], min(int(in[1]), len(in)-2)
		p := dissect.Packet{No: no, Time: no * 1000}
		dir := dissect.Dir(kind & 1)
		switch {
		case transport != dissect.TCP:
			c.Datagram(dir, append([]byte(nil), in[2:2+n]...), p)
		case kind&0x80 != 0:
			c.Gap(dir, int64(n)+1, p)
			n = 0
		default:
			c.Data(dir, append([]byte(nil), in[2:2+n]...), p)
		}
		sent += int64(n)
		if kind&0xc0 == 0x40 && transport == dissect.TCP {
			c.End(dir, p)
		}
		in = in[2+n:]
	}
	c.Close(dissect.EndCapture, dissect.Packet{})
	if got := c.RowBytes + c.AnomalyBytes; got != sent {
		t.Fatalf("%s: %d bytes accounted for, want %d", transport, got, sent)
	}
	if e.Held() != 0 {
		t.Fatalf("%s: %d bytes held after the end", transport, e.Held())
	}
}
