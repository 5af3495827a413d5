package dissect

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// recordingSink is a Sink that keeps what it receives.
type recordingSink struct {
	calls     []Emission
	anomalies []table.Anomaly
}

func (g *recordingSink) Call(e Emission)                  { g.calls = append(g.calls, e) }
func (g *recordingSink) Anomaly(_ *Conn, a table.Anomaly) { g.anomalies = append(g.anomalies, a) }

// probeConn starts a connection with the dissector that new makes; every head matches its
// protocol.
func probeConn(t *testing.T, sink Sink, repanic bool, new func(c *Conn) Dissector) *Conn {
	t.Helper()
	p := &Protocol{Name: "probe", Doc: "test", Transports: []Transport{TCP}, Row: &probeRow{},
		Detect: func(Dir, []byte) Verdict { return Yes }, New: new}
	e, err := NewEngine([]*Protocol{p}, nil, sink, repanic)
	if err != nil {
		t.Fatal(err)
	}
	return e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
}

type waiting struct{ endProbe }

func (*waiting) Read(*Input) (int, error) { return 0, nil }

func TestShortSegmentsCostMoreThanTheirBytes(t *testing.T) {
	c := probeConn(t, noSink{}, true, func(*Conn) Dissector { return &waiting{} })
	for i := range 1000 {
		c.Data(ToServer, []byte("x"), Packet{No: int64(i)})
	}
	if got := c.engine.Held(); got < 1000*segCost {
		t.Errorf("%d bytes charged for 1000 segments, want %d each at least", got, segCost)
	}
	c.Close(EndCapture, Packet{})
	if got := c.engine.Held(); got != 0 {
		t.Errorf("%d bytes held after the end", got)
	}
}

func TestForgottenBodyReturnsItsBudget(t *testing.T) {
	c := probeConn(t, noSink{}, true, func(c *Conn) Dissector {
		c.NewBody("", "").Write(make([]byte, 100_000))
		return &endProbe{}
	})
	c.Data(ToServer, []byte("x"), Packet{})
	c.Close(EndCapture, Packet{})
	if got := c.engine.Held(); got != 0 {
		t.Errorf("%d bytes held after the end", got)
	}
}

func TestFalseLengthUsesNoMemory(t *testing.T) {
	c := probeConn(t, noSink{}, true, func(*Conn) Dissector { return &endProbe{} })
	c.Data(ToServer, []byte("x"), Packet{})
	for range 10_000 {
		c.NewBody("", "").Expect(1 << 40)
	}
	if got := c.engine.Held(); got > engineBudget {
		t.Errorf("%d bytes held, want at most %d", got, engineBudget)
	}
}

// panicking panics at the third byte of what it reads.
type panicking struct{ endProbe }

func (*panicking) Read(in *Input) (int, error) {
	if len(in.Data) > 2 {
		panic("third byte")
	}
	return 0, nil
}

func TestPanicIsAnAnomalyWithItsBytes(t *testing.T) {
	g := &recordingSink{}
	c := probeConn(t, g, false, func(*Conn) Dissector { return &panicking{} })
	c.Data(ToServer, []byte("ab"), Packet{})
	c.Data(ToServer, []byte("cd"), Packet{No: 1})
	c.Data(ToServer, []byte("efg"), Packet{No: 2})
	c.Close(EndFin, Packet{No: 3})
	if got := c.RowBytes + c.AnomalyBytes; got != 7 {
		t.Errorf("%d bytes accounted for, want 7", got)
	}
	if len(g.anomalies) != 1 || g.anomalies[0].Kind != "panic" {
		t.Errorf("anomalies %v, want one panic", g.anomalies)
	}
	if got := c.engine.Held(); got != 0 {
		t.Errorf("%d bytes held after the end", got)
	}
}

func TestBombsOfOneMomentAreBounded(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(make([]byte, 20<<20))
	w.Close()
	g := &recordingSink{}
	c := probeConn(t, g, true, func(*Conn) Dissector { return &endProbe{} })
	c.Data(ToServer, []byte("x"), Packet{})
	var total, kept int64
	for range 10 {
		b := c.NewBody("", "gzip")
		b.Write(z.Bytes())
		b.Complete = true
		b.Finish()
		total += b.decoded
		kept += int64(len(b.Decoded))
		if b.Codings != "" && sha256.Sum256(b.Bytes()) != b.Hash {
			t.Error("Bytes returns other bytes than were hashed")
		}
	}
	if total > maxSpanDecoded+10*int64(z.Len()) || kept > maxKept+10*int64(z.Len()) {
		t.Errorf("%d bytes came out and %d were kept, want at most %d and %d", total, kept, maxSpanDecoded, maxKept)
	}
	if len(g.anomalies) == 0 {
		t.Error("no anomaly says that bodies were not decoded")
	}
	c.Data(ToServer, []byte("x"), Packet{No: decodeSpan})
	b := c.NewBody("", "gzip")
	b.Write(z.Bytes())
	if b.Finish(); b.decoded != 20<<20 {
		t.Errorf("%d bytes came out a moment later, want all", b.decoded)
	}
}

// restless asks for an upgrade to its own protocol instead of reading.
type restless struct {
	endProbe
	c *Conn
}

func (r *restless) Read(*Input) (int, error) {
	r.c.Upgrade("probe", nil)
	return 0, nil
}

// Shed says that it gave something up, and gave nothing up.
func (*restless) Shed() bool { return true }

func TestUpgradesThatConsumeNothingEnd(t *testing.T) {
	g := &recordingSink{}
	c := probeConn(t, g, false, func(c *Conn) Dissector { return &restless{c: c} })
	c.Data(ToServer, []byte("abc"), Packet{})
	c.Data(ToClient, []byte("de"), Packet{No: 1})
	c.Close(EndFin, Packet{No: 2})
	if got := c.RowBytes + c.AnomalyBytes; got != 5 {
		t.Errorf("%d bytes accounted for, want 5", got)
	}
	if len(g.anomalies) == 0 || g.anomalies[0].Kind != "panic" {
		t.Errorf("anomalies %v, want a panic", g.anomalies)
	}
}

func TestSheddingThatFreesNothingEnds(t *testing.T) {
	c := probeConn(t, noSink{}, true, func(c *Conn) Dissector { return &endProbe{} })
	c.engine.SetBudget(100)
	c.d = &restless{}
	if n := c.Keep(1000); n != 0 {
		t.Errorf("%d bytes were kept, want none", n)
	}
}
