package inorder

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type noted struct{ kinds []string }

func (*noted) Call(dissect.Emission) {}
func (n *noted) Anomaly(_ *dissect.Conn, a table.Anomaly) {
	n.kinds = append(n.kinds, a.Kind)
}

type waiting struct{ asked Request }

func (w *waiting) Asked() *Request { return &w.asked }
func (w *waiting) Waits() bool     { return true }

// TestOnlySearchedRequestsAreLimited holds any number of requests while their order pairs them. After a
// loss, and if the dissector searches, there is a limit.
func TestOnlySearchedRequestsAreLimited(t *testing.T) {
	for _, c := range []struct {
		name       string
		most       int
		loss       bool
		left       int
		wantNotice bool
	}{
		{"by order", 0, false, 3 * MaxSearched, false},
		{"after a loss, when a response could answer any of them", 0, true, 0, true},
		{"with a limit", 100, false, 100, true},
	} {
		s := &noted{}
		e, err := dissect.NewEngine(nil, nil, s, true)
		if err != nil {
			t.Fatal(err)
		}
		conn := e.NewConn(dissect.Info{ConnectUs: -1})
		q := &Queue[*waiting]{Conn: conn, Most: c.most}
		q.Emit = func(w *waiting, _ string) { q.Remove(w) }
		for range 3 * MaxSearched {
			q.Push(&waiting{}, 100, 10)
		}
		if c.loss {
			q.Resync(dissect.ToClient, dissect.LossGap)
			q.Answer(100)
		}
		if n := len(q.All()); n != c.left || e.Held() < 10*n {
			t.Errorf("%s: %d are left, want %d; %d bytes are held", c.name, n, c.left, e.Held())
		}
		q.Close(dissect.EndFin)
		conn.Close(dissect.EndFin, dissect.Packet{})
		if got := slices.Contains(s.kinds, "limit"); got != c.wantNotice {
			t.Errorf("%s: anomalies %v", c.name, s.kinds)
		}
	}
}
