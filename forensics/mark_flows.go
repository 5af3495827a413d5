package forensics

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// findFlows looks up the flows of marked packets.
func (c *Case) findFlows(ctx context.Context, m *marks) error {
	for b := range m.bundles {
		one := &m.bundles[b]
		delete(one.flows, -1)
		for _, s := range one.set.spans() {
			rows, err := c.db.Query(ctx, "SELECT packet_no, flow_id FROM packets_raw WHERE flow_id IS NOT NULL AND packet_no BETWEEN ? AND ?"+c.ofBundle(b), s.first, s.last)
			if err != nil {
				return err
			}
			for rows.Next() {
				if n := rows.Int(0); one.set.has(n) {
					one.flow(rows.Int(1), n)
				}
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

func markRow(b *bundleMarks, calls *numbers, rows *duck.Rows, at map[string]int) error {
	number := func(name string) int64 {
		if at[name] < 0 {
			return -1
		}
		return rows.Int(at[name])
	}
	switch {
	case at["cites"] >= 0:
		v, err := rows.Value(at["cites"])
		if err != nil {
			return err
		}
		return b.cite(number("flow_id"), number("conn_id"), v)
	case at["packet_no"] >= 0:
		n := number("packet_no")
		if flow := number("flow_id"); flow >= 0 {
			b.flow(flow, n)
		}
		return b.set.add(n, n)
	case at["call_no"] >= 0:
		return calls.add(number("call_no"), number("call_no"))
	case at["flow_id"] >= 0:
		b.whole[number("flow_id")] = true
		return nil
	}
	return usagef("the query needs a column cites, packet_no, call_no or flow_id")
}

func (b *bundleMarks) flow(flow, packet int64) {
	s := b.flows[flow]
	if s == nil {
		s = &span{first: packet, last: packet, conn: -1}
		b.flows[flow] = s
	}
	s.first, s.last = min(s.first, packet), max(s.last, packet)
}

// markNumbers marks the packets that calls cite, by call number.
func (c *Case) markNumbers(ctx context.Context, m *marks, calls []numbers) error {
	for b := range calls {
		if calls[b].n == 0 {
			continue
		}
		var list []int64
		for w, word := range calls[b].words {
			for ; word != 0; word &= word - 1 {
				list = append(list, int64(w*64+bits.TrailingZeros64(word)))
			}
		}
		cond := "call_no IN (SELECT unnest(?))"
		if c.several() {
			cond += fmt.Sprintf(" AND bundle = %d", b)
		}
		before := m.calls
		if err := c.markRows(ctx, &plan{db: c.db}, m, "SELECT "+c.citeColumns()+" FROM calls_raw WHERE "+cond, []any{list}); err != nil {
			return err
		}
		m.calls = before
	}
	return nil
}

// widen adds the packets for context and vantage.
func (c *Case) widen(ctx context.Context, m *marks, sel *Selection) error {
	for b := range m.bundles {
		one := &m.bundles[b]
		if sel.Vantage == BothVantage {
			if err := c.sightings(ctx, b, one); err != nil {
				return err
			}
		}
		wanted := map[int64]*span{}
		for flow := range one.whole {
			wanted[flow] = &span{last: maxPackets}
		}
		for flow, s := range one.flows {
			switch {
			case one.whole[flow]:
			case sel.Context == WholeConnections:
				wanted[flow] = &span{last: maxPackets}
			case sel.Context == WithContext:
				wanted[flow] = &span{last: s.last}
			case s.conn == -2: // another sighting
				wanted[flow] = s
			}
		}
		if err := c.markFlows(ctx, b, one, wanted); err != nil {
			return err
		}
	}
	return nil
}

// sightings adds the other flows of the same connections.
func (c *Case) sightings(ctx context.Context, b int, one *bundleMarks) error {
	var flows []int64
	for flow := range one.flows {
		flows = append(flows, flow)
	}
	for flow := range one.whole {
		flows = append(flows, flow)
	}
	and := c.ofBundle(b)
	rows, err := c.db.Query(ctx, "SELECT a.flow_id, o.flow_id FROM flows_raw a JOIN flows_raw o ON o.conn_id = a.conn_id AND o.flow_id <> a.flow_id"+
		strings.ReplaceAll(and, "bundle", "o.bundle")+" WHERE a.flow_id IN (SELECT unnest(?))"+strings.ReplaceAll(and, "bundle", "a.bundle"), flows)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		seen, other := rows.Int(0), rows.Int(1)
		if one.whole[seen] {
			one.whole[other] = true
		} else if s := one.flows[seen]; s != nil && one.flows[other] == nil {
			one.flows[other] = &span{first: s.first, last: s.last, conn: -2}
		}
	}
	return rows.Err()
}

func (c *Case) ofBundle(b int) string {
	if !c.several() || b == anyBundle {
		return ""
	}
	return fmt.Sprintf(" AND bundle = %d", b)
}

// markFlows marks the packets of flows within a range of numbers.
func (c *Case) markFlows(ctx context.Context, b int, one *bundleMarks, wanted map[int64]*span) error {
	if len(wanted) == 0 {
		return nil
	}
	var flows []int64
	last := int64(0)
	for flow, s := range wanted {
		flows = append(flows, flow)
		last = max(last, s.last)
	}
	slices.Sort(flows)
	rows, err := c.db.Query(ctx, "SELECT packet_no, flow_id FROM packets_raw WHERE packet_no <= ? AND flow_id IN (SELECT unnest(?))"+c.ofBundle(b), last, flows)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		n := rows.Int(0)
		if s := wanted[rows.Int(1)]; s != nil && n >= s.first && n <= s.last {
			if err := one.set.add(n, n); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}
