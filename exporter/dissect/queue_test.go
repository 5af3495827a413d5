package dissect

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

type notedKinds struct{ kinds []string }

func (*notedKinds) Call(Emission) {}
func (n *notedKinds) Anomaly(_ *Conn, a table.Anomaly) {
	n.kinds = append(n.kinds, a.Kind)
}

type inLine struct {
	asked QueuedRequest
	name  string
}

func (w *inLine) Asked() *QueuedRequest { return &w.asked }
func (w *inLine) Waits() bool           { return true }

// newQueue is a queue of a connection whose engine may hold limit bytes; 0 is the default.
func newQueue(t *testing.T, s Sink, limit int) (*Engine, *Queue[*inLine]) {
	t.Helper()
	e, err := NewEngine(nil, nil, s, true)
	if err != nil {
		t.Fatal(err)
	}
	if limit > 0 {
		e.SetBudget(limit)
	}
	q := &Queue[*inLine]{Conn: e.NewConn(Info{ConnectUs: -1})}
	q.Emit = func(w *inLine, _ string) { q.Remove(w) }
	return e, q
}

// TestOnlyMemoryLimitsRequests holds any number of requests, also after a loss.
func TestOnlyMemoryLimitsRequests(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		name string
		loss bool
		left int
	}{
		{"by order", false, n},
		{"after a loss, when a response could answer any of them", true, 0},
	} {
		s := &notedKinds{}
		e, q := newQueue(t, s, 0)
		for range n {
			q.Push(&inLine{}, 100, 10)
		}
		if c.loss {
			q.Resync(ToClient, LossGap)
			q.Answer(101)
		}
		if n := len(q.All()); n != c.left || e.Held() < 10*n {
			t.Errorf("%s: %d are left, want %d; %d bytes are held", c.name, n, c.left, e.Held())
		}
		q.Close(EndFin)
		if slices.Contains(s.kinds, "limit") {
			t.Errorf("%s: anomalies %v", c.name, s.kinds)
		}
	}
}

// TestResponsesToGivenUpRequestsAreCounted gives requests of one pipeline up at every place and sends
// all responses: each of the other requests gets its own.
func TestResponsesToGivenUpRequestsAreCounted(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	for given := range 1 << len(names) {
		for late := range len(names) + 1 { // how many requests are sent after the others were given up
			_, q := newQueue(t, &notedKinds{}, 0)
			busy := map[*inLine]bool{}
			q.Busy = func(w *inLine) bool { return busy[w] }
			var want []string
			shed := func() {
				for q.Shed() {
				}
			}
			for i, name := range names {
				w := &inLine{name: name}
				if q.Push(w, 100, 10); given>>i&1 == 0 {
					busy[w] = true
					want = append(want, name)
				} else {
					want = append(want, "")
				}
				if i >= late {
					shed()
				}
			}
			shed()
			var got []string
			for i := range names {
				seq := uint32(100 + 10*i)
				f := q.Answer(seq)
				if again := q.Answer(seq); again != f {
					t.Fatalf("given up %b: asked again, response %d answers another request", given, i)
				}
				if f == nil {
					got = append(got, "")
					continue
				}
				got = append(got, f.name)
				q.Remove(f)
			}
			if !slices.Equal(got, want) || q.Ahead() {
				t.Errorf("given up %b, %d sent before: the responses answer %q, want %q", given, late, got, want)
			}
		}
	}
}

// TestLossEndsTheCount tries responses after a loss: those to given-up requests may be among the lost.
func TestLossEndsTheCount(t *testing.T) {
	_, q := newQueue(t, &notedKinds{}, 0)
	q.Push(&inLine{name: "a"}, 100, 10)
	q.Shed()
	q.Push(&inLine{name: "b"}, 100, 10)
	q.Resync(ToClient, LossGap)
	if f := q.Answer(150); f != nil {
		t.Errorf("a response after a loss answers %s, though it may answer a", f.name)
	}
	if q.Ahead() {
		t.Error("responses to given-up requests are still counted")
	}
	q.Push(&inLine{name: "c"}, 200, 10)
	if f := q.Answer(200); f == nil || f.name != "c" {
		t.Error("the client waited, but the next response does not answer its request")
	}
}

// TestIntermediateResponseIsNotTheLast counts two responses to one given-up request.
func TestIntermediateResponseIsNotTheLast(t *testing.T) {
	_, q := newQueue(t, &notedKinds{}, 0)
	q.Push(&inLine{name: "a"}, 100, 10)
	q.Shed()
	q.Push(&inLine{name: "b"}, 100, 10)
	if q.Answer(100) != nil {
		t.Fatal("the response to a answers b")
	}
	q.Another()
	if q.Answer(110) != nil {
		t.Fatal("the second response to a answers b")
	}
	if q.Another(); q.Answer(120) != nil {
		t.Fatal("the third response to a answers b")
	}
	if f := q.Answer(130); f == nil || f.name != "b" {
		t.Error("the response to b does not answer it")
	}
	q.Another()
	if q.Ahead() {
		t.Error("a response that answered a request is counted as one to a given-up request")
	}
}

// TestNumbersThatOnlyIdentify has requests whose Ack is above the Seq of their responses. On TCP the client had those responses
// already. On QUIC and SCTP the numbers name a connection and an association.
func TestNumbersThatOnlyIdentify(t *testing.T) {
	for transport, answered := range map[Transport]bool{TCP: false, QUIC: true, Association: true} {
		_, q := newQueue(t, &notedKinds{}, 0)
		q.Conn.Info.Transport = transport
		for _, seq := range []uint32{100, 200} {
			w := &inLine{}
			q.Push(w, 1<<30, 10)
			if got := q.Answer(seq); (got == w) != answered {
				t.Errorf("%s: the response at %d is to %v", transport, seq, got)
			}
			q.Remove(w)
		}
	}
}
