package chain

import (
	"encoding/hex"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// calls opens the rows of calls. Chains read the same time ranges repeatedly.
func (k *Builder) calls() (*forensics.Rows, error) {
	if k.rows == nil {
		var err error
		if k.rows, err = k.C.Rows(k.Ctx, "calls"); err != nil {
			return nil, err
		}
	}
	return k.rows, nil
}

// numbersOf returns numeric columns of a row group.
func numbersOf(g *forensics.RowGroup, names ...string) ([]*forensics.RowColumn, error) {
	out := make([]*forensics.RowColumn, len(names))
	for i, name := range names {
		var err error
		if out[i], err = g.Column(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stepNames are the columns of a step, in the order in which stepAt reads them.
var stepNames = [...]string{"call_no", "call_id", "ts_ns", "elapsed_us", "clock_id", "src_id", "dst_id", "conn_id", "protocol", "failed", "error", "trace_id", "span_id", "request_id", "waited_us"}

// stepAt reads a row as a step.
func stepAt(bundle int, cols []*forensics.RowColumn, row int) Step {
	number := func(i int) int64 {
		n, _ := cols[i].Number(row)
		return n
	}
	text := func(i int) string { return string(cols[i].Text(row)) }
	s := Step{Bundle: int64(bundle), No: number(0), ID: hex.EncodeToString(cols[1].Text(row)), Start: number(2), Clock: number(4), SrcID: number(5), DstID: number(6), ConnID: number(7),
		Protocol: text(8), Failed: number(9) != 0, Error: text(10), Trace: text(11), Span: strings.ToLower(text(12)), Request: text(13)}
	if took, ok := cols[3].Number(row); ok {
		s.Took = &took
	}
	if waited, ok := cols[14].Number(row); ok {
		s.waited = &waited
	}
	return s
}

// stepsAt reads the given rows of a group, except copies.
func (k *Builder) stepsAt(bundle int, g *forensics.RowGroup, rows []int) ([]Step, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	cols, err := numbersOf(g, stepNames[:]...)
	if err != nil {
		return nil, err
	}
	out := make([]Step, 0, len(rows))
	for _, row := range rows {
		s := stepAt(bundle, cols, row)
		if k.rows.Copy(bundle, s.No) {
			continue
		}
		s.SrcID, s.DstID = k.rows.End(bundle, s.No, forensics.Client, s.SrcID), k.rows.End(bundle, s.No, forensics.Server, s.DstID)
		out = append(out, s)
	}
	return out, nil
}

func inStepOrder(a, b Step) int { return InTime(&a, &b) }

// ofNumbers reads calls by key, sorted by time.
func (k *Builder) ofNumbers(keys []ask.Key) ([]Step, error) {
	rows, err := k.calls()
	if err != nil {
		return nil, err
	}
	wanted := make([][]int64, len(k.C.Bundles()))
	for _, key := range keys {
		if key.Bundle >= 0 && key.Bundle < int64(len(wanted)) {
			wanted[key.Bundle] = append(wanted[key.Bundle], key.No)
		}
	}
	for _, nos := range wanted {
		slices.Sort(nos)
	}
	var out []Step
	err = rows.Each(k.Ctx, func(bundle int, g *forensics.RowGroup) error {
		nos := wanted[bundle]
		if low, high, _, ok := g.Bounds("call_no"); ok {
			from, _ := slices.BinarySearch(nos, low)
			if nos = nos[from:]; len(nos) == 0 || nos[0] > high {
				return nil
			}
		}
		if len(nos) == 0 {
			return nil
		}
		col, err := g.Column("call_no")
		if err != nil {
			return err
		}
		var found []int
		for row := range g.Rows {
			if no, ok := col.Number(row); ok && no >= nos[0] {
				if _, is := slices.BinarySearch(nos, no); is {
					found = append(found, row)
				}
			}
		}
		some, err := k.stepsAt(bundle, g, found)
		out = append(out, some...)
		return err
	})
	slices.SortFunc(out, inStepOrder)
	return out, err
}

// stretch is a time range at an endpoint.
type stretch struct{ lo, hi int64 }

// placed are the stretches of the endpoints in one bundle.
type placed struct {
	rows     *forensics.Rows
	bundle   int
	at       map[int64][]stretch
	from, to int64 // from the first to the last time
}

func placedAt(rows *forensics.Rows, bundles, ids, los, his []int64) map[int64]*placed {
	out := map[int64]*placed{}
	for i, b := range bundles {
		p := out[b]
		if p == nil {
			p = &placed{rows: rows, bundle: int(b), at: map[int64][]stretch{}, from: math.MaxInt64, to: math.MinInt64}
			out[b] = p
		}
		p.at[ids[i]] = append(p.at[ids[i]], stretch{los[i], his[i]})
		p.from, p.to = min(p.from, los[i]), max(p.to, his[i])
	}
	return out
}

// during reports whether one side of a call is at the endpoints in a stretch that fits. The columns are those of the
// side's id and of call_no.
func (p *placed) during(side int, id, no *forensics.RowColumn, row int, fits func(stretch) bool) bool {
	own, _ := id.Number(row)
	n, _ := no.Number(row)
	return slices.ContainsFunc(p.at[p.rows.End(p.bundle, n, side, own)], fits)
}

// meets reports whether a row group may have calls of the endpoints at one side, whose ids are in a column.
func (p *placed) meets(g *forensics.RowGroup, column string) bool {
	low, high, _, ok := g.Bounds(column)
	if !ok || p.rows.OtherEnds() {
		return true
	}
	for id := range p.at {
		if id >= low && id <= high {
			return true
		}
	}
	return false
}

// madeIn returns the rows of calls that endpoints made in their stretches.
func (p *placed) madeIn(g *forensics.RowGroup) ([]int, error) {
	if g.From > p.to || g.To < p.from || !p.meets(g, "src_id") {
		return nil, nil
	}
	cols, err := numbersOf(g, "ts_ns", "src_id", "call_no")
	if err != nil {
		return nil, err
	}
	var out []int
	for row := range g.Rows {
		ts, ok := cols[0].Number(row)
		if !ok || ts < p.from || ts > p.to {
			continue
		}
		if p.during(forensics.Client, cols[1], cols[2], row, func(s stretch) bool { return ts >= s.lo && ts <= s.hi }) {
			out = append(out, row)
		}
	}
	return out, nil
}

// openIn returns the rows of calls that were open at endpoints in their stretches. A call without
// a known end counts as open for a limited time.
func (p *placed) openIn(g *forensics.RowGroup) ([]int, error) {
	low, high, nulls, ok := g.Bounds("elapsed_us")
	most := int64(longCall)
	if ok && low <= high && high < longCall/1000 {
		most = max(0, high) * 1000
	} else if ok && low > high {
		most = 0
	}
	if nulls {
		most = max(most, openEnded)
	}
	if g.From > p.to || g.To < p.from-longCall || g.To < p.from-most || !p.meets(g, "dst_id") {
		return nil, nil
	}
	cols, err := numbersOf(g, "ts_ns", "dst_id", "elapsed_us", "call_no")
	if err != nil {
		return nil, err
	}
	var out []int
	for row := range g.Rows {
		ts, ok := cols[0].Number(row)
		if !ok || ts > p.to || ts < p.from-longCall {
			continue
		}
		end := ts + openEnded
		if took, ok := cols[2].Number(row); ok {
			end = ts + took*1000
		}
		if end < p.from {
			continue
		}
		if p.during(forensics.Server, cols[1], cols[3], row, func(s stretch) bool { return ts <= s.hi && end >= s.lo }) {
			out = append(out, row)
		}
	}
	return out, nil
}
