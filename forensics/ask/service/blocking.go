package service

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Limits of the search for calls that wait for each other.
const (
	blockingEach = 8  // calls of an endpoint whose children are examined
	blockingMost = 10 // endpoints
)

// Blocking is an endpoint that waits for its own calls one after another.
type Blocking struct {
	Endpoint   string   `json:"endpoint"`
	Examined   int      `json:"examined" jsonschema:"calls whose children were examined"`
	MedianMs   float64  `json:"median_ms"`
	WaitShare  float64  `json:"wait_share" jsonschema:"share of the time spent waiting for exactly one call, median"`
	InSequence int      `json:"in_sequence" jsonschema:"calls it makes one after the other, median"`
	SavesMs    float64  `json:"side_by_side_saves_ms" jsonschema:"time it could save at most if they ran in parallel, median"`
	Asks       []string `json:"asks"`
	Confidence float64  `json:"confidence"`
	Sure       string   `json:"sure"`
	CallIDs    []string `json:"call_ids"`
}

func (s *serviceAnswer) blocking() error {
	type row struct {
		ask.Key
		Method string `json:"method"`
		Path   string `json:"path"`
	}
	// The slower calls of each endpoint, close in time so that few row groups are read.
	list, _, err := ask.Rows[row](s.ctx, s.rows.Case, blockingEach*blockingMost, fmt.Sprintf(`WITH f AS MATERIALIZED (SELECT %s AS endpoint, %s, call_no, ts_ns, elapsed_us, coalesce(method, '') AS method, left(path, 500) AS path FROM %s WHERE %s AND %s AND %s AND path IS NOT NULL AND elapsed_us > 1000 AND NOT failed),
		e AS (SELECT endpoint, median(elapsed_us) AS m, count(*) AS n FROM f GROUP BY 1 HAVING n >= 2 ORDER BY m DESC, endpoint LIMIT %d),
		r AS (SELECT f.*, row_number() OVER (PARTITION BY f.endpoint ORDER BY f.ts_ns DESC, call_no) AS nth FROM f JOIN e ON e.endpoint = f.endpoint WHERE f.elapsed_us >= e.m * 0.8)
		SELECT bundle, call_no, method, path FROM r WHERE nth <= %d ORDER BY ts_ns, bundle, call_no`, terms.Endpoint, terms.BundleOf(s.c, ""), s.rows.From, s.rows.Where, s.in, isWeb, blockingMost, blockingEach), s.rows.Args...)
	if err != nil || len(list) == 0 {
		return err
	}
	k, err := chain.New(s.ctx, s.c)
	if err != nil {
		return err
	}
	keys := make([]ask.Key, len(list))
	for i, r := range list {
		keys[i] = r.Key
	}
	seeds, err := k.Load(keys)
	if err != nil {
		return err
	}
	children, _, err := k.Below(seeds, 1, chain.MaxNodes, nil)
	if err != nil {
		return err
	}
	for _, r := range list { // all that EndpointOf needs
		if step := k.Steps[r.Key]; step != nil && step.Key() == r.Key {
			step.Method, step.Path = r.Method, r.Path
		}
	}
	s.out.Blocking = ask.Fit(s.w, &s.out.Frame, blockingIn(seeds, children))
	return nil
}

// waitTimes returns the time that a call waited for exactly one of its children, the number of
// children that ran one after another, and the time beyond the longest of them.
func waitTimes(s *chain.Step, children []*chain.Step) (alone int64, sequence int, saves int64) {
	at := s.Start
	longest := int64(0)
	for _, c := range children {
		if c.Protocol == "dns" {
			continue
		}
		from, to := max(c.Start, s.Start), min(c.End, s.End)
		if to <= from {
			continue
		}
		if c.Start >= at {
			sequence++
			alone += to - from
		} else if to > at {
			alone -= at - max(from, s.Start)
		}
		at = max(at, to)
		longest = max(longest, to-from)
	}
	alone = max(0, alone)
	return alone, sequence, max(0, alone-longest)
}

func blockingIn(seeds []*chain.Step, children map[*chain.Step][]*chain.Step) []Blocking {
	type sums struct {
		took, share, saves []float64
		sequence           []int
		asks, ids          []string
		confidence         float64
	}
	by := map[string]*sums{}
	var order []string
	for _, s := range seeds {
		name := chain.EndpointOf(s)
		one := by[name]
		if one == nil {
			one = &sums{confidence: 1}
			by[name] = one
			order = append(order, name)
		}
		alone, sequence, saves := waitTimes(s, children[s])
		one.took, one.saves, one.sequence = append(one.took, chain.Millis(s.End-s.Start)), append(one.saves, chain.Millis(saves)), append(one.sequence, sequence)
		one.share = append(one.share, float64(alone)/float64(max(1, s.End-s.Start)))
		if len(one.ids) < 3 {
			one.ids = append(one.ids, s.ID)
		}
		for _, c := range children[s] {
			if c.Protocol != "dns" && !slices.Contains(one.asks, c.Dst.Who) && len(one.asks) < 10 {
				one.asks = append(one.asks, c.Dst.Who)
			}
			one.confidence = min(one.confidence, c.Link.Confidence)
		}
	}
	out := []Blocking{}
	for _, name := range order {
		one := by[name]
		b := Blocking{Endpoint: name, Examined: len(one.took), MedianMs: ask.Median(one.took), WaitShare: ask.Round(ask.Median(one.share)), SavesMs: ask.Median(one.saves), Asks: one.asks, Confidence: one.confidence, Sure: chain.Sure(one.confidence), CallIDs: one.ids}
		slices.Sort(one.sequence)
		b.InSequence = one.sequence[len(one.sequence)/2]
		if b.InSequence >= 2 && b.WaitShare >= 0.5 {
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, func(a, b Blocking) int {
		return cmp.Or(cmp.Compare(b.SavesMs, a.SavesMs), strings.Compare(a.Endpoint, b.Endpoint))
	})
	return out
}
