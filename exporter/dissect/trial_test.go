package dissect_test

import (
	"errors"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type trialRow struct{ table.Call }

// trial is a protocol that three datagrams with "t" prove; others begin with "o" and need one.
type trial struct {
	dissect.Stateless
	c *dissect.Conn
	n int
	x dissect.Exchange
}

func (k *trial) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 { // the end
		return 0, nil
	}
	if in.Data[0] != 't' {
		return 0, errors.New("no t")
	}
	k.x.Request(in, 0, len(in.Data))
	if k.n++; k.n == 3 {
		k.c.Confirm()
	}
	return len(in.Data), nil
}

func (k *trial) Gap(*dissect.Input, int64) bool { return false }

func (k *trial) Close(dissect.End) {
	row := &trialRow{}
	row.Summary, row.Complete = "trial", true
	k.c.Emit(&k.x, row)
}

func begins(c byte) func(dissect.Dir, []byte) dissect.Verdict {
	return func(_ dissect.Dir, b []byte) dissect.Verdict {
		if b[0] == c {
			return dissect.Likely
		}
		return dissect.No
	}
}

func never(dissect.Dir, []byte) dissect.Verdict { return dissect.No }

// TestTrial states that a protocol that DetectLast finds likely has rows only after Confirm, that its withdrawal is
// no anomaly, and that the datagram that refutes it may begin another protocol.
func TestTrial(t *testing.T) {
	tried := &dissect.Protocol{Name: "trial", Transports: []dissect.Transport{dissect.UDP}, Detect: never, DetectLast: begins('t'), Row: &trialRow{},
		New: func(c *dissect.Conn) dissect.Dissector { return &trial{c: c} }}
	other := otherProtocol()
	for _, c := range []struct {
		name, sends, want string
	}{
		{"three prove it", "ttt", "trial"},
		{"two do not", "tt", "unknown"},
		{"after another datagram", "xttt", "trial unknown"},
		{"the third one is another protocol", "tto", "other unknown"},
		{"once refuted, it is not tried again", "txttt", "unknown"},
	} {
		var list []dissecttest.Chunk
		for _, b := range c.sends {
			list = append(list, dissecttest.Client(string(b)))
		}
		r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.UDP, End: dissect.EndTimeout, Protocols: []*dissect.Protocol{tried, other}}, list...)
		got := ""
		for _, row := range r.Rows() {
			name := row.Base().Protocol
			if _, ok := row.(*dissect.Unknown); ok {
				name = "unknown"
			}
			if got != "" {
				got += " "
			}
			got += name
		}
		if got != c.want || len(r.Anomalies) > 0 || r.Held != 0 || r.Conn.RowBytes != r.Bytes {
			t.Errorf("%s: %q, want %q; anomalies %v, %d held, %d of %d bytes", c.name, got, c.want, r.Anomalies, r.Held, r.Conn.RowBytes, r.Bytes)
		}
	}
}

type otherRow struct{ table.Call }

type otherConn struct {
	dissect.Stateless
	c *dissect.Conn
}

func (k *otherConn) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 { // the end
		return 0, nil
	}
	var x dissect.Exchange
	x.Request(in, 0, len(in.Data))
	row := &otherRow{}
	row.Summary, row.Complete = "other", true
	k.c.Emit(&x, row)
	return len(in.Data), nil
}

func (k *otherConn) Gap(*dissect.Input, int64) bool { return false }

func (k *otherConn) Close(dissect.End) {}

// otherProtocol is a protocol whose datagrams begin with "o".
func otherProtocol() *dissect.Protocol {
	return &dissect.Protocol{Name: "other", Transports: []dissect.Transport{dissect.UDP}, Detect: begins('o'), Row: &otherRow{},
		New: func(c *dissect.Conn) dissect.Dissector { return &otherConn{c: c} }}
}
