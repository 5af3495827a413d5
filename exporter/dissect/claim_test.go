package dissect

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// numbered is a protocol with messages of two bytes: M or A, and a digit. Its first message may
// also be another protocol's. A row is complete after an A.
type numbered struct {
	Stateless
	c *Conn
}

type numberedRow struct{ table.Call }

func (n *numbered) Read(in *Input) (int, error) {
	at := 0
	for ; at+2 <= len(in.Data); at += 2 {
		b := in.Data[at:]
		if b[0] != 'M' && b[0] != 'A' || b[1] < '0' || b[1] > '9' {
			return at, errors.New("no message")
		}
		x := &Exchange{}
		x.Request(in, at, at+2)
		row := &numberedRow{}
		row.Summary, row.Complete = string(b[:2]), b[0] == 'A'
		n.c.Emit(x, row)
	}
	return at, nil
}
func (n *numbered) Gap(*Input, int64) bool { return false }
func (n *numbered) Close(End) {
	row := &numberedRow{}
	row.Summary = "left over at the end"
	n.c.Emit(&Exchange{}, row)
}

// words is a protocol of lines that begin with a lower-case word.
type wordsRow struct{ table.Call }

type words struct {
	Stateless
	c *Conn
}

func (w *words) Read(in *Input) (int, error) {
	i := bytes.IndexByte(in.Data, '\n')
	if i < 0 {
		return 0, nil
	}
	x := &Exchange{}
	x.Request(in, 0, i+1)
	row := &wordsRow{}
	row.Summary, row.Complete = string(in.Data[:i]), true
	w.c.Emit(x, row)
	return i + 1, nil
}
func (*words) Gap(*Input, int64) bool { return false }
func (*words) Close(End)              {}

func claimEngine(t *testing.T, sink Sink, ports ...uint16) *Engine {
	t.Helper()
	e, err := NewEngine([]*Protocol{
		{Name: "numbered", Doc: "test", Transports: []Transport{TCP, UDP}, Row: &numberedRow{}, Ports: ports,
			New: func(c *Conn) Dissector { return &numbered{c: c} },
			Detect: func(_ Dir, b []byte) Verdict {
				if len(b) >= 2 && (b[0] == 'M' || b[0] == 'A') {
					return Likely
				}
				return No
			}},
		{Name: "words", Doc: "test", Transports: []Transport{TCP}, Row: &wordsRow{}, New: func(c *Conn) Dissector { return &words{c: c} },
			Detect: func(_ Dir, b []byte) Verdict {
				if len(b) > 0 && b[0] >= 'a' && b[0] <= 'z' {
					return Yes
				}
				return No
			}},
	}, nil, sink, true)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestClaim(t *testing.T) {
	for _, tc := range []struct {
		name  string
		port  uint16
		parts []string
		want  string
		kinds string
	}{
		{"a contradiction in the first segment returns all its bytes", 1, []string{"M1hello\n", "again\n"}, "again; tcp payload: \"M1hello\", 8 bytes sent, 0 received; ", "withdrawn"},
		{"the next message is read by the matching protocol", 1, []string{"M1", "hello\n"}, "hello; tcp payload: 4d31, 2 bytes sent, 0 received; ", "withdrawn"},
		{"a complete row proves the claim, and what was held back follows", 1, []string{"M1", "M2A3", "hello\n", "M4"}, "M1; M2; A3; M4; left over at the end; ", "malformed"},
		{"the end of the connection proves nothing, and no row is lost", 1, []string{"M1", "M2"}, "M1; M2; left over at the end; ", ""},
		{"the number of rows held back is limited", 1, []string{"M1M2M3M4M5M6M7M8M9", "hello\n"}, "M1; M2; M3; M4; M5; M6; M7; M8; M9; left over at the end; ", "malformed"},
		{"the port confirms the claim", 7, []string{"M1", "hello\n"}, "M1; left over at the end; ", "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := &recordingSink{}
			e := claimEngine(t, g, 7)
			c := e.NewConn(Info{RolesKnown: true, Began: [2]bool{true, true}, ServerPort: tc.port, ConnectUs: -1})
			sent := int64(0)
			for i, s := range tc.parts {
				c.Data(ToServer, []byte(s), Packet{No: int64(i), Time: int64(i)})
				sent += int64(len(s))
			}
			c.Close(EndFin, Packet{No: 9})
			got, kinds := "", ""
			for _, e := range g.calls {
				got += e.Row.Base().Summary + "; "
			}
			for _, a := range g.anomalies {
				kinds += a.Kind
			}
			if got != tc.want || kinds != tc.kinds {
				t.Errorf("rows %q, anomalies %q, want %q and %q", got, kinds, tc.want, tc.kinds)
			}
			if n := c.RowBytes + c.AnomalyBytes; n != sent || e.Held() != 0 {
				t.Errorf("%d of %d bytes accounted for, %d held", n, sent, e.Held())
			}
			for i, e := range g.calls {
				if e.Row.Base().Ordinal != int64(i) {
					t.Errorf("row %d has the ordinal %d", i, e.Row.Base().Ordinal)
				}
			}
		})
	}
}

func TestCutDatagramWithdrawsNoClaim(t *testing.T) {
	g := &recordingSink{}
	c := claimEngine(t, g).NewConn(Info{Transport: UDP, ConnectUs: -1})
	c.Datagram(ToServer, []byte("M1"), Packet{})
	c.Datagram(ToClient, []byte("hello"), Packet{No: 1, Cut: 4})
	for _, a := range g.anomalies {
		if a.Kind == "withdrawn" {
			t.Errorf("%s", a.Detail)
		}
	}
	c.Close(EndTimeout, Packet{No: 2})
}

func TestWithdrawnDatagramClaimIsPayload(t *testing.T) {
	g := &recordingSink{}
	c := claimEngine(t, g).NewConn(Info{Transport: UDP, ConnectUs: -1})
	c.Datagram(ToServer, []byte("M1"), Packet{})
	c.Datagram(ToClient, []byte("hello"), Packet{No: 1})
	c.Close(EndTimeout, Packet{No: 2})
	if len(g.calls) != 1 || g.calls[0].Row.Base().Summary != "udp payload: 4d31, 2 bytes sent, 5 received" {
		t.Errorf("rows %v, want one of unknown payload", g.calls)
	}
}
