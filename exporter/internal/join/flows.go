package join

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// writeFlows writes the flows that ended in the round.
func (j *Joiner) writeFlows(r *round.Round) (err error) {
	list := j.rows.flows
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Flows) }, func(b *flow.Batch, i int) int64 { return b.Flows[i].At })
	for _, m := range j.order {
		row := j.flowRow(&r.Out[m.Shard].Flows[m.I])
		if row.Turned {
			j.turned++
		}
		j.acc.RowBytes += row.RowBytes
		j.acc.CutBytes += row.CutBytes
		j.acc.GapBytes += row.GapBytes
		j.acc.AnomalyBytes += row.AnomalyBytes
		j.acc.DuplicateBytes += row.DuplicateBytes
		j.acc.PayloadBytes += row.SrcPayloadBytes + row.DstPayloadBytes
		list = append(list, row)
	}
	j.rows.flows, err = pass(j.out, "flows", list)
	return err
}

// flowRow completes the row of a flow.
func (j *Joiner) flowRow(f *flow.FlowRow) *table.Flow {
	row, at := f.Row, j.known.flow(f.Flow)
	j.known.laterOwners(at)
	row.FlowID, row.ConnID = at.no, j.known.conn(at.conn).no
	row.SrcID, row.DstID = ends(at.ids, f.Swapped)
	row.Interface = j.known.links[at.link].Name
	for _, e := range at.said {
		e.flow(row)
	}
	return row
}

// connRow completes the row of a connection.
func (j *Joiner) connRow(c *flow.ConnRow) *table.Connection {
	row, at := c.Row, j.known.conn(c.Conn)
	row.ConnID, row.FlowID = at.no, j.known.flow(at.flow).no
	row.SrcID, row.DstID = ends(at.ids, c.Swapped)
	return row
}

// writeConns writes the connections that ended in the round, and keeps their keys.
func (j *Joiner) writeConns(r *round.Round) (err error) {
	list := j.rows.conns
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Conns) }, func(b *flow.Batch, i int) int64 { return b.Conns[i].At })
	for _, m := range j.order {
		c := &r.Out[m.Shard].Conns[m.I]
		row := j.connRow(c)
		if err := j.keys.keep(row.ClientRandom, c.KeyLines); err != nil {
			return err
		}
		j.countKeys(row)
		j.known.conn(c.Conn).waits = nil
		list = append(list, row)
	}
	j.rows.conns, err = pass(j.out, "connections", list)
	return err
}

// writeEvents writes what happened to TCP connections in the round.
func (j *Joiner) writeEvents(r *round.Round) (err error) {
	list := j.rows.events
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Events) }, func(b *flow.Batch, i int) int64 { return b.Events[i].Row.PacketNo })
	for _, m := range j.order {
		e := &r.Out[m.Shard].Events[m.I]
		e.Row.FlowID = j.known.flow(e.Flow).no
		list = append(list, &e.Row)
	}
	j.rows.events, err = pass(j.out, "tcp_events", list)
	return err
}

// countKeys counts a connection by the state of its keys.
func (j *Joiner) countKeys(c *table.Connection) {
	if !c.Encryption.OK {
		return
	}
	j.keyStates["connections_"+c.KeyState.V]++
	if c.KeyReason.OK {
		j.keyStates["connections_"+c.KeyState.V+"_"+c.KeyReason.V]++
	}
}

// waiting is a call of which a receipt follows.
type waiting struct {
	ticket uint32
	callNo int64
}

// writeReceipts writes what became of responses whose calls have their numbers.
func (j *Joiner) writeReceipts(r *round.Round) error {
	var list []table.Receipt
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Receipts) }, func(b *flow.Batch, i int) int64 { return b.Receipts[i].At })
	for _, m := range j.order {
		e := &r.Out[m.Shard].Receipts[m.I]
		conn := j.known.conn(e.Conn)
		at := slices.IndexFunc(conn.waits, func(w waiting) bool { return w.ticket == e.Ticket })
		if at < 0 {
			continue // a live run shows only later calls
		}
		e.Row.CallNo = conn.waits[at].callNo
		conn.waits = slices.Delete(conn.waits, at, at+1)
		list = append(list, e.Row)
	}
	return write.Append(j.out, "receipts", list)
}
