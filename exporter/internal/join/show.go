package join

import (
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Live is a joiner of a live run, whose rows go to new tables from time to time.
type Live struct {
	*Joiner
	clocks []liveClock
}

// liveClock is a clock with the file that it belongs to.
type liveClock struct {
	file int32
	row  table.Clock
}

// NewLive makes j the joiner of a live run.
func NewLive(j *Joiner) *Live {
	j.who.keepRows = true
	return &Live{Joiner: j}
}

// Into sends all later rows to other tables. These contain all bodies of their calls, even those
// that earlier tables have.
func (l *Live) Into(out *write.Tables) {
	l.out = out
	clear(l.bodies.kept)
	l.bodies.ring, l.bodies.at = l.bodies.ring[:0], 0
}

// Join is Joiner.Join.
func (l *Live) Join(r *round.Round) error {
	for i := range r.Facts.Links {
		l.clocks = append(l.clocks, liveClock{r.Facts.Links[i].File, r.Facts.Clocks[i]})
	}
	return l.Joiner.Join(r)
}

// Remember writes the known endpoints and the clocks of a cut's inputs. Rows of any table may refer
// to them.
func (l *Live) Remember(out *write.Tables, c *round.Cut) error {
	var ends []table.Endpoint
	for e := l.who.byUse.Back(); e != nil; e = e.Prev() {
		ends = append(ends, *e.Value.(*endpoint).row)
	}
	if err := write.Append(out, "endpoints", ends); err != nil {
		return err
	}
	listed := map[int32]bool{}
	for i := range c.Inputs {
		listed[c.Inputs[i].FileID] = true
	}
	var clocks []table.Clock
	kept := l.clocks[:0]
	for _, k := range l.clocks {
		if listed[k.file] {
			kept, clocks = append(kept, k), append(clocks, k.row)
		}
	}
	l.clocks = kept
	return write.Append(out, "clocks", clocks)
}

// Show writes the rows of a cut that are not finished: open flows and connections, calls that wait,
// and the rows about the cluster and coverage.
func (l *Live) Show(r *round.Round, out *write.Tables) (calls int64, err error) {
	was := l.out
	l.out = out
	defer func() { l.out = was }()
	var flows []*table.Flow
	var conns []*table.Connection
	for s := range r.Open {
		b := &r.Open[s]
		for i := range b.Calls {
			e := &b.Calls[i]
			c, conn := e.Row.Base(), l.known.conn(e.Conn)
			c.CallNo = bundle.FirstOpenCall + calls
			calls++
			l.place(c, e, conn)
			l.queue(e.Row)
		}
		for i := range b.Flows {
			flows = append(flows, l.flowRow(&b.Flows[i]))
		}
		for i := range b.Conns {
			conns = append(conns, l.connRow(&b.Conns[i]))
		}
	}
	for _, step := range []func() error{l.flushCalls, func() error { return write.AppendRows(out, "flows", flows) },
		func() error { return write.AppendRows(out, "connections", conns) }, func() error { return write.Append(out, "coverage", r.Cut.Coverage) }, l.writeKube} {
		if err := step(); err != nil {
			return calls, err
		}
	}
	made := l.who.made
	l.who.made = l.who.made[:0]
	return calls, write.Append(was, "endpoints", made)
}

// Counters are the counters of the manifest that readers of the tables need.
func (l *Live) Counters(r *round.Round) map[string]map[string]int64 {
	turned := l.turned
	for s := range r.Open {
		for i := range r.Open[s].Flows {
			if r.Open[s].Flows[i].Row.Turned {
				turned++
			}
		}
	}
	m := map[string]map[string]int64{}
	if turned > 0 {
		m["flow"] = map[string]int64{bundle.TurnedFlows: turned}
	}
	return m
}

// LeftOut is the number of open connections that a cut does not show.
func LeftOut(r *round.Round) (n int) {
	for s := range r.Open {
		n += r.Open[s].LeftOut
	}
	return n
}
