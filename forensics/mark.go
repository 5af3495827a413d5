package forensics

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// maxPackets is the exclusive upper bound of packet numbers in a slice.
const maxPackets = 1 << 36

// marks are the packets of a slice.
type marks struct {
	all     bool // every packet of the window, in addition to the marked ones
	from    int64
	to      int64
	bundles []bundleMarks
	calls   int64
	cited   int64
	notes   []string
	owners  bool
	labels  string // what the comments about calls begin with; empty: there are none
}

// window is the time range in which all packets are marked.
func (m *marks) window() (from, to int64) {
	from, to = m.from, m.to
	if from == 0 {
		from = math.MinInt64
	}
	if to == 0 {
		to = math.MaxInt64
	}
	return from, to
}

type bundleMarks struct {
	set   numbers
	cited numbers         // those of the selected calls, if there are comments about calls
	flows map[int64]*span // cited flows, with their first and last cited packet
	whole map[int64]bool  // flows that were selected as a whole
}

type span struct {
	first, last int64
	conn        int64
}

// numbers is a set of packet numbers.
type numbers struct {
	words []uint64
	n     int64
}

func (s *numbers) add(first, last int64) error {
	if first < 0 || last < first || last >= maxPackets {
		return &bundle.DamagedError{File: "data/tables", What: fmt.Sprintf("a row cites packets %d to %d, which is not a range below %d", first, last, int64(maxPackets))}
	}
	if need := int(last/64) + 1; need > len(s.words) {
		s.words = append(s.words, make([]uint64, max(need, min(2*len(s.words), need+1<<20))-len(s.words))...)
	}
	for i := first; i <= last; {
		if i%64 == 0 && last-i >= 63 {
			s.n += int64(64 - bits.OnesCount64(s.words[i/64]))
			s.words[i/64] = ^uint64(0)
			i += 64
			continue
		}
		if bit := uint64(1) << (i % 64); s.words[i/64]&bit == 0 {
			s.words[i/64] |= bit
			s.n++
		}
		i++
	}
	return nil
}

func (s *numbers) has(i int64) bool {
	return i >= 0 && i/64 < int64(len(s.words)) && s.words[i/64]>>(i%64)&1 != 0
}

// spans returns at most maxSpans ranges that contain all numbers, split at the widest gaps.
func (s *numbers) spans() []span {
	var out []span
	for w, word := range s.words {
		if word == 0 {
			continue
		}
		first, last := int64(w*64+bits.TrailingZeros64(word)), int64(w*64+63-bits.LeadingZeros64(word))
		if n := len(out); n > 0 && first-out[n-1].last < 16384 {
			out[n-1].last = last
		} else {
			out = append(out, span{first: first, last: last})
		}
	}
	for len(out) > maxSpans {
		half := out[:0]
		for i := 0; i < len(out); i += 2 {
			half = append(half, span{first: out[i].first, last: out[min(i+1, len(out)-1)].last})
		}
		out = half
	}
	return out
}

// mark finds the packets of a selection.
func (c *Case) mark(ctx context.Context, sel *Selection) (*marks, error) {
	m := &marks{bundles: make([]bundleMarks, len(c.bundles)), from: sel.From, to: sel.To, owners: sel.Comments == OwnerComments}
	if sel.Comments == CallComments {
		m.labels = c.PacketLabel()
	}
	for i := range m.bundles {
		m.bundles[i] = bundleMarks{flows: map[int64]*span{}, whole: map[int64]bool{}}
	}
	if sel.From != 0 && sel.To != 0 && sel.To < sel.From {
		return nil, usagef("the window ends before it begins")
	}
	asked := 0
	for _, yes := range []bool{sel.KFL != "", sel.SQL != "", len(sel.CallIDs) > 0, len(sel.Frames) > 0} {
		if yes {
			asked++
		}
	}
	var err error
	switch {
	case asked > 1:
		return nil, usagef("KFL, SQL, call ids and frames exclude each other; use only one")
	case asked == 0:
		m.all = true
		return m, nil
	case len(sel.Frames) > 0:
		err = c.markFrames(ctx, m, sel.Frames)
	case sel.SQL != "":
		err = c.markSQL(ctx, m, sel)
	case len(sel.CallIDs) > 0:
		err = c.markIDs(ctx, m, sel)
	default:
		err = c.markCalls(ctx, m, sel)
	}
	for b := range m.bundles {
		if one := &m.bundles[b]; m.labels != "" {
			one.cited = numbers{slices.Clone(one.set.words), one.set.n}
		}
	}
	if err == nil {
		err = c.widen(ctx, m, sel)
	}
	return m, err
}

// markCalls marks the packets that calls of KFL or in a window cite.
func (c *Case) markCalls(ctx context.Context, m *marks, sel *Selection) error {
	v := c.views["calls"]
	if v == nil {
		return usagef("the case has no table calls")
	}
	p := &plan{db: c.db, sel: &selection{view: v}}
	used, err := c.restrict(ctx, p, &Query{KFL: sel.KFL, From: sel.From, To: sel.To})
	if err != nil {
		return err
	}
	m.notes = append(m.notes, p.notes...)
	p.sel.raw = p.sel.view.onlyRaw(used)
	p.names(append(used, "flow_id", "conn_id", "cites"))
	return c.markRows(ctx, p, m, "SELECT "+c.citeColumns()+p.sel.from(), p.sel.args)
}

// markIDs marks the packets that calls with these ids cite. Each must be in the window.
func (c *Case) markIDs(ctx context.Context, m *marks, sel *Selection) error {
	if c.views["calls"] == nil {
		return usagef("the case has no table calls")
	}
	from, to := m.window()
	for _, id := range sel.CallIDs {
		row, err := c.identify(ctx, id)
		if err != nil {
			return err
		}
		if ts, _ := row.Get("ts_ns").(int64); ts < from || ts > to {
			return fmt.Errorf("call %s: %w", id, ErrNotFound)
		}
		m.calls++
		flow, _ := row.Get("flow_id").(int64)
		conn, _ := row.Get("conn_id").(int64)
		if err := m.bundles[bundleOf(row)].cite(flow, conn, row.Get("cites")); err != nil {
			return err
		}
	}
	m.count()
	return nil
}

func (c *Case) citeColumns() string {
	if c.several() {
		return "bundle, flow_id, conn_id, cites"
	}
	return "0, flow_id, conn_id, cites"
}

// markRows marks the packets that the rows of a plan's SQL cite.
func (c *Case) markRows(ctx context.Context, p *plan, m *marks, sql string, args []any) error {
	rows, err := c.run(ctx, p, sql, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		m.calls++
		cites, err := rows.Value(3)
		if err != nil {
			return err
		}
		b := int(rows.Int(0))
		if b < 0 || b >= len(m.bundles) {
			continue
		}
		if err := m.bundles[b].cite(rows.Int(1), rows.Int(2), cites); err != nil {
			return err
		}
	}
	m.count()
	return rows.Err()
}

func (m *marks) count() {
	m.cited = 0
	for i := range m.bundles {
		m.cited += m.bundles[i].set.n
	}
}

func (b *bundleMarks) cite(flow, conn int64, cites any) error {
	for _, r := range readRanges(cites) {
		if err := b.set.add(r.First, r.Last); err != nil {
			return err
		}
		s := b.flows[flow]
		if s == nil {
			s = &span{first: r.First, last: r.Last, conn: conn}
			b.flows[flow] = s
		}
		s.first, s.last = min(s.first, r.First), max(s.last, r.Last)
	}
	return nil
}

// markSQL marks packets by the rows of a query. It uses the first of these columns that the query
// has: cites, packet_no, call_no, flow_id.
func (c *Case) markSQL(ctx context.Context, m *marks, sel *Selection) error {
	if sel.From != 0 || sel.To != 0 {
		return usagef("a time window cannot be combined with SQL; put it into the query")
	}
	db := c.db.Alone() // it may be a stranger's
	facts, err := c.gate(ctx, db, sel.SQL)
	if err != nil {
		return err
	}
	rows, err := c.run(ctx, &plan{db: db, facts: &facts}, sel.SQL, sel.Args)
	if err != nil {
		return err
	}
	defer rows.Close()
	at := map[string]int{"cites": -1, "packet_no": -1, "call_no": -1, "flow_id": -1, "conn_id": -1, "bundle": -1}
	for i, col := range rows.Columns {
		if _, wanted := at[col.Name]; wanted {
			at[col.Name] = i
		}
	}
	if at["bundle"] < 0 && c.several() {
		return usagef("the case has several bundles: the query needs a column bundle")
	}
	calls := make([]numbers, len(c.bundles))
	for rows.Next() {
		b := 0
		if at["bundle"] >= 0 {
			if b = int(rows.Int(at["bundle"])); b < 0 || b >= len(m.bundles) {
				continue
			}
		}
		if err := markRow(&m.bundles[b], &calls[b], rows, at); err != nil {
			return err
		}
		m.calls++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	if err := c.markNumbers(ctx, m, calls); err != nil {
		return err
	}
	m.count()
	if at["flow_id"] < 0 && at["call_no"] < 0 && (sel.Context != OnlyCited || sel.Vantage == BothVantage) {
		return c.findFlows(ctx, m)
	}
	return nil
}
