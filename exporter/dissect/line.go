package dissect

import (
	"iter"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Line is the order of a connection's requests. If the capture began while requests may have been pending, the first
// call with a response is kept until its pair is more likely right: until the client sends its next request.
type Line struct{ inorder.Line }

// Sent records a request that the client sent after it had received the bytes up to ack. oldest is the oldest request
// without an answer, nil if there is none or if responses may be missing.
func (l *Line) Sent(c *Conn, ack uint32, oldest *inorder.Request) inorder.Request {
	at := inorder.Place{Ack: ack, Blind: c.Info.Transport.Blind()}
	if in := c.engine.innermost(); len(in.Data) > 0 && in.Dir == ToServer {
		at.Seq = in.Seq(0)
	}
	q := l.Line.Sent(at, c.now.Time, oldest)
	c.settle(q.Same)
	return q
}

// place adds what the server had received when it sent the byte at seq; 0: unknown.
func (c *Conn) place(seq uint32) inorder.Place {
	p := inorder.Place{Seq: seq}
	if in := c.engine.innermost(); len(in.Data) > 0 && in.Dir == ToClient {
		p.Ack = in.Packet(min(max(int(int32(seq-in.Seq(0))), 0), len(in.Data)-1)).Ack
	}
	return p
}

// Excludes reports whether the response at seq cannot answer q.
func (l *Line) Excludes(c *Conn, seq uint32, q *inorder.Request) bool {
	return q.Excludes(c.place(seq))
}

// Find finds the request for the response at seq, as inorder.Line does. end ends the requests that can no longer be
// answered.
func (l *Line) Find(c *Conn, seq uint32, waiting iter.Seq2[int, *inorder.Request], end func(inorder.Match)) inorder.Match {
	m := l.Line.Find(c.place(seq), waiting)
	if m.Unknown {
		c.Anomaly("pairing_unknown", inorder.Unknown, 0)
	}
	end(m)
	if m.Doubtful {
		c.root().known().doubtful = table.Some(seq)
	}
	if m.Guessed {
		c.Anomaly("pairing_guessed", inorder.Guessed, 0)
	}
	return m
}

// Answered records that the response at seq was assigned to a request, or that it answers none that was captured.
// oldest is the oldest request without an answer, nil if there is none.
func (l *Line) Answered(c *Conn, seq uint32, assigned bool, oldest *inorder.Request) {
	switch {
	case assigned:
	case oldest != nil && l.Strays(c.place(seq), oldest):
		c.Anomaly("unreceived_request", inorder.Unreceived, 0)
	case (oldest == nil || l.Excludes(c, seq, oldest)) && l.Excess(c.now.Time):
		c.settle(true)
	}
	l.Line.Answered(seq, assigned)
}

// settle emits the first call of a Line, if it waits. wrong says that its response may be that to another request.
func (c *Conn) settle(wrong bool) {
	if wrong {
		c.Anomaly("pairing_unknown", inorder.Excess, 0)
	}
	r := c.root()
	if r.facts == nil {
		return
	}
	r.facts.doubtful.OK = false
	r.release(func(u *untaken) bool {
		if u.doubtful && wrong {
			b := u.Row.Base()
			b.Error, b.Outcome, b.Complete, b.Failed = table.Some(string(LossGap)), table.Unread, false, table.Failed(table.Unread)
			b.WaitedUs, b.Summary = table.Opt[int64]{}, outcomeInstead(b, "response may be that to an earlier request")
			n := min(c.callAnom, 1) // the anomaly belongs to this row, not to the next one
			b.Anomalies, c.callAnom = b.Anomalies+n, c.callAnom-n
		}
		return u.doubtful
	})
}
