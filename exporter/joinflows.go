package exporter

import (
	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func (j *joining) writeFlows(r *round) error {
	flows := j.flowRows[:0]
	for _, m := range j.sorted(r, func(b *flow.Batch) int { return len(b.Flows) }, func(b *flow.Batch, i int) int64 { return b.Flows[i].At }) {
		f := &r.out[m.shard].Flows[m.i]
		row := f.Row
		c := f.Flow.Conn
		j.laterOwners(f.Flow)
		row.FlowID, row.ConnID, row.SrcID, row.DstID = f.Flow.No, c.Joined.ConnNo, f.Flow.SrcID, f.Flow.DstID
		if f.Swapped {
			row.SrcID, row.DstID = row.DstID, row.SrcID
		}
		row.Interface = j.read.linkName(f.Flow.Interface)
		j.acc.RowBytes += row.RowBytes
		j.acc.CutBytes += row.CutBytes
		j.acc.GapBytes += row.GapBytes
		j.acc.AnomalyBytes += row.AnomalyBytes
		j.acc.DuplicateBytes += row.DuplicateBytes
		j.acc.PayloadBytes += row.SrcPayloadBytes + row.DstPayloadBytes
		if flows = append(flows, *row); len(flows) == cap(flows) {
			if err := columnar.Append(j.out.plain["flows"], flows); err != nil {
				return err
			}
			flows = flows[:0]
		}
	}
	if err := columnar.Append(j.out.plain["flows"], flows); err != nil {
		return err
	}
	clear(j.flowRows)
	var conns []table.Connection
	for _, m := range j.sorted(r, func(b *flow.Batch) int { return len(b.Conns) }, func(b *flow.Batch, i int) int64 { return b.Conns[i].At }) {
		c := &r.out[m.shard].Conns[m.i]
		row := c.Row
		row.ConnID, row.FlowID = c.Conn.Joined.ConnNo, c.Conn.FirstFlow().No
		row.SrcID, row.DstID = c.Conn.Joined.SrcID, c.Conn.Joined.DstID
		if c.Swapped {
			row.SrcID, row.DstID = row.DstID, row.SrcID
		}
		if err := j.keys.useConn(c.Conn); err != nil {
			return err
		}
		j.countKeys(row)
		conns = append(conns, *row)
	}
	if err := columnar.Append(j.out.plain["connections"], conns); err != nil {
		return err
	}
	var events []table.TCPEvent
	for _, m := range j.sorted(r, func(b *flow.Batch) int { return len(b.Events) }, func(b *flow.Batch, i int) int64 { return b.Events[i].Row.PacketNo }) {
		e := &r.out[m.shard].Events[m.i]
		e.Row.FlowID = e.Flow.No
		events = append(events, e.Row)
	}
	return columnar.Append(j.out.plain["tcp_events"], events)
}

// countKeys counts a connection by the state of its keys.
func (j *joining) countKeys(c *table.Connection) {
	if !c.Encryption.OK {
		return
	}
	j.keyStates["connections_"+c.KeyState.V]++
	if c.KeyReason.OK {
		j.keyStates["connections_"+c.KeyState.V+"_"+c.KeyReason.V]++
	}
}
