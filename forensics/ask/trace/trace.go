// Package trace answers trace_request: the path of a request through all services. It starts from a
// call, an id or a text, and shows the own time of each hop and the origin of a failure.
package trace

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of a trace.
const (
	maxStretches = 6  // time ranges to sample from if there are more calls
	maxTimes     = 12 // time ranges in which chains are built, unless limit is higher

	maxSharing  = 1000 // calls with one request id; with more, it does not identify a request
	upwardsFrom = 0.3  // confidence below which a parent is shown but not followed
	childFrom   = 0.15 // confidence below which a call is not counted as a child
	maxHops     = 32
)

// In is the input of trace_request.
type In struct {
	ask.Scope
	CallID    string `json:"call_id,omitempty" jsonschema:"a call of the chain, as other answers cite it"`
	TraceID   string `json:"trace_id,omitempty" jsonschema:"id of traceparent, b3, X-Amzn-Trace-Id or uber-trace-id"`
	RequestID string `json:"request_id,omitempty" jsonschema:"X-Request-Id or X-Correlation-Id"`
	Text      string `json:"text,omitempty" jsonschema:"an order number, user, email address and so on, found as a whole word in any text of a call; without these four inputs, kfl selects the calls"`
}

// Answer is the answer of trace_request.
type Answer struct {
	ask.Frame
	Found   int64          `json:"calls_found" jsonschema:"calls that match the input"`
	Traced  int            `json:"calls_traced" jsonschema:"of these, calls whose chains are built: all, or a sample spread evenly over time"`
	Total   int            `json:"total_chains"`
	Chains  []Chain        `json:"chains" jsonschema:"one for each outermost call, by time"`
	Origins []chain.Origin `json:"origins" jsonschema:"origins of failures in all chains, most frequent first"`
	Hops    []Hop          `json:"hops" jsonschema:"where the time of all chains went, most time first; what came after a message queue is last"`
}

// Chain is one outermost call with all its descendants.
type Chain struct {
	What      string        `json:"what" jsonschema:"summary in one sentence"`
	Time      string        `json:"time"`
	ElapsedMs float64       `json:"elapsed_ms"`
	Calls     int           `json:"calls" jsonschema:"calls in the chain"`
	Origin    *chain.Origin `json:"origin,omitempty" jsonschema:"origin of its failure, if it failed"`
	Steps     []Step        `json:"steps" jsonschema:"the calls, each followed by its children, by time"`
}

// Step is one call in a chain.
type Step struct {
	ask.Call
	Step       int      `json:"step" jsonschema:"number in the chain, from 1"`
	Parent     int      `json:"parent,omitempty" jsonschema:"step of the parent call; 0 for the outermost call"`
	Failed     bool     `json:"failed,omitempty"`
	AtMs       float64  `json:"at_ms" jsonschema:"start, relative to the start of the chain"`
	SelfMs     float64  `json:"self_ms" jsonschema:"elapsed time without the calls it waited for"`
	QueueMs    float64  `json:"queue_ms,omitempty" jsonschema:"time between publishing the message and getting it, in a broker; nobody waits for it"`
	Confidence float64  `json:"confidence,omitempty" jsonschema:"confidence in the parent, 0 to 1"`
	Sure       string   `json:"sure,omitempty" jsonschema:"exact, likely or guess"`
	How        string   `json:"how,omitempty" jsonschema:"evidence for the parent"`
	Asked      bool     `json:"asked,omitempty" jsonschema:"this call matches the input"`
	Said       string   `json:"said,omitempty" jsonschema:"error or body of the response of a failed call; text from the traffic"`
	Note       string   `json:"note,omitempty"`
	Rivals     []string `json:"rivals,omitempty" jsonschema:"call_ids of possible parents of an outermost call"`
}

// Hop sums the steps with the same ends and endpoint over all chains.
type Hop struct {
	Src      string   `json:"src"`
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Calls    int      `json:"calls"`
	Async    bool     `json:"async,omitempty" jsonschema:"after a message queue: the outermost call did not wait for it, so that it has no share of its time"`
	QueueMs  float64  `json:"queue_ms,omitempty" jsonschema:"median time of the messages in the queue"`
	SelfMs   float64  `json:"self_ms" jsonschema:"own time, sum over all calls"`
	Share    float64  `json:"share" jsonschema:"share of the time of all chains; parallel calls count separately"`
	P50Ms    float64  `json:"p50_ms" jsonschema:"median elapsed time of a call"`
	CallIDs  []string `json:"call_ids" jsonschema:"the three calls with the most own time"`
}

// Question is the question trace_request.
func Question() ask.Question {
	q := ask.New("trace_request", "Trace a request", "Chain of calls for a call, trace id, request id or text such as an order number: parents and children with evidence and confidence, where the time went, the origin of a failure and its error text.", true, Ask)
	q.Nested = true
	return q
}

// Ask answers trace_request.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Answer{Chains: []Chain{}, Origins: []chain.Origin{}, Hops: []Hop{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	k, err := chain.New(ctx, c)
	if err != nil {
		return nil, err
	}
	seeds, err := in.seeds(k, w, out)
	if err != nil {
		return nil, err
	}
	if err := out.build(k, w, seeds, in.Text != ""); err != nil {
		return nil, err
	}
	if err := out.unfollowed(k); err != nil {
		return nil, err
	}
	if err := ask.NoteUnread(ctx, c, &out.Frame, w); err != nil {
		return nil, err
	}
	out.Match(len(out.Chains))
	return out, nil
}

// seeds finds the calls that match the input.
func (in In) seeds(k *chain.Builder, w *ask.Window, out *Answer) ([]*chain.Step, error) {
	given := 0
	for _, s := range [...]string{in.CallID, in.TraceID, in.RequestID, in.Text} {
		if s != "" {
			given++
		}
	}
	if given > 1 || given == 0 && in.KFL == "" {
		return nil, ask.WrongOf("give one of call_id, trace_id, request_id and text, or kfl alone", "call_id", "trace_id", "request_id", "text", "kfl")
	}
	var keys []ask.Key
	var err error
	switch {
	case in.CallID != "":
		var x *forensics.Exchange
		if x, err = k.C.Call(k.Ctx, in.CallID, forensics.CallOptions{MaxBody: 1}); err != nil {
			return nil, err
		}
		no, _ := x.Call.Get("call_no").(int64)
		keys, out.Found = []ask.Key{{Bundle: int64(x.Bundle), No: no}}, 1
	case in.Text != "":
		var n *search.Needle
		if n, err = search.NewNeedle(k.Ctx, in.Text, "", true, false); err != nil {
			return nil, err
		}
		var list []search.Find
		list, _, err = search.FindText(k.Ctx, k.C, w, n, nil, ask.Cursor{No: -1}, chain.MaxSeeds)
		for _, f := range list {
			keys, out.Found = append(keys, f.Key()), f.Total
		}
	default:
		if in.TraceID != "" {
			w.And("trace_id = ?", strings.ToLower(in.TraceID))
		}
		if in.RequestID != "" {
			w.And("request_id = ?", in.RequestID)
		}
		keys, out.Found, err = spread(k, w)
	}
	if err != nil {
		return nil, err
	}
	seeds, err := k.Load(keys)
	if in.Limit <= ask.DefaultRows {
		seeds = fewTimes(seeds)
	}
	for _, s := range seeds {
		s.Hit = true
	}
	out.Traced = len(seeds)
	if out.Found > int64(len(seeds)) {
		out.Note("%d {call matches|calls match}; chains are built for %d of them", out.Found, len(seeds))
	}
	return seeds, err
}

// fewTimes keeps the calls of the first time ranges if there are more than can be shown: a common
// text occurs throughout the recording.
func fewTimes(seeds []*chain.Step) []*chain.Step {
	slices.SortFunc(seeds, chain.InTime)
	times := 0
	for i, s := range seeds {
		if i == 0 || s.Start-seeds[i-1].Start > chain.NearTime {
			if times++; times > maxTimes {
				return seeds[:i]
			}
		}
	}
	return seeds
}

// spread returns calls of a window. If there are many, it takes a run of calls from each of
// maxStretches time ranges, spread evenly.
func spread(k *chain.Builder, w *ask.Window) ([]ask.Key, int64, error) {
	list, _, err := ask.Rows[search.Find](k.Ctx, k.C, chain.MaxSeeds, fmt.Sprintf(`WITH f AS MATERIALIZED (SELECT %s, call_no, ts_ns FROM %s WHERE %s),
		n AS (SELECT *, row_number() OVER (ORDER BY ts_ns, bundle, call_no) - 1 AS nth, count(*) OVER () AS total FROM f)
		SELECT bundle, call_no, ts_ns, total FROM n WHERE total <= %[4]d OR nth %% (total // %[5]d) < %[4]d // %[5]d ORDER BY ts_ns, bundle, call_no LIMIT %[4]d`, terms.BundleOf(k.C, ""), "calls", w.Where, chain.MaxSeeds, maxStretches), w.Args...)
	var keys []ask.Key
	var total int64
	for _, f := range list {
		keys, total = append(keys, f.Key()), f.Total
	}
	return keys, total, err
}

// build makes the chains of the seeds.
func (t *Answer) build(k *chain.Builder, w *ask.Window, seeds []*chain.Step, byText bool) error {
	if err := k.Above(seeds); err != nil {
		return err
	}
	more, err := t.sharing(k, seeds)
	if err != nil {
		return err
	}
	if err := k.Above(more); err != nil {
		return err
	}
	var roots []*chain.Step
	for _, s := range slices.Concat(seeds, more) {
		if r := outermost(s); !slices.Contains(roots, r) {
			roots = append(roots, r)
		}
	}
	slices.SortFunc(roots, chain.InTime)
	children, cut, err := k.Below(roots, chain.MaxLevels, chain.MaxNodes, nil)
	if err != nil {
		return err
	}
	for p, list := range children {
		children[p] = slices.DeleteFunc(list, func(s *chain.Step) bool { return s.Link.Confidence < childFrom })
	}
	all := roots
	for _, r := range roots {
		all = append(all, flatten(r, children)...)
	}
	if err := k.LoadDetails(all); err != nil {
		return err
	}
	if cut || k.Cut {
		t.Note("there were too many calls at the time, so chains may be incomplete")
		t.Truncated = true
	}
	if k.Skewed {
		t.Note("calls were recorded by clocks with an unknown difference; %s is assumed, and the order of calls closer than that is unknown", chain.LengthOf(chain.ClockUnsure))
	}
	if byText && len(roots) > 1 {
		t.Note("the chains contain the same text; any other link between them, such as a queue, was not seen")
	}
	return t.writeChains(k, w.Limit, roots, children)
}

// outermost returns the call at the top of a chain; it follows only parents with enough confidence.
func outermost(s *chain.Step) *chain.Step {
	for range chain.MaxLevels {
		if s.Link == nil || s.Link.Confidence < upwardsFrom {
			break
		}
		s = s.Link.Parent
	}
	return s
}

// sharing loads the calls that share a trace id or request id with the seeds.
func (t *Answer) sharing(k *chain.Builder, seeds []*chain.Step) ([]*chain.Step, error) {
	var traces, requests []string
	for _, s := range seeds {
		for n := 0; s != nil && n < chain.MaxLevels; n++ {
			if s.Trace != "" && !slices.Contains(traces, s.Trace) {
				traces = append(traces, s.Trace)
			}
			if s.Request != "" && !slices.Contains(requests, s.Request) {
				requests = append(requests, s.Request)
			}
			if s.Link == nil || s.Link.Confidence < upwardsFrom {
				break
			}
			s = s.Link.Parent
		}
	}
	if len(traces)+len(requests) == 0 || len(seeds) > chain.MaxSeeds/4 {
		return nil, nil // with many seeds, chains by time suffice
	}
	var args []any
	list := func(column string, values []string) string {
		if len(values) == 0 {
			return ""
		}
		for _, v := range values {
			args = append(args, v)
		}
		return column + " IN (?" + strings.Repeat(", ?", len(values)-1) + ")"
	}
	conds := slices.DeleteFunc([]string{list("trace_id", traces), list("request_id", requests)}, func(s string) bool { return s == "" })
	type row struct {
		Bundle  int64  `json:"bundle"`
		No      int64  `json:"call_no"`
		Trace   string `json:"trace_id"`
		Request string `json:"request_id"`
	}
	rows, _, err := ask.Rows[row](k.Ctx, k.C, chain.MaxNodes, fmt.Sprintf("SELECT %s, call_no, coalesce(trace_id, '') AS trace_id, coalesce(request_id, '') AS request_id FROM calls_raw WHERE %s ORDER BY ts_ns, bundle, call_no LIMIT %d",
		terms.BundleOf(k.C, ""), strings.Join(conds, " OR "), chain.MaxNodes+1), args...)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, r := range rows {
		count[r.Request]++
	}
	var keys []ask.Key
	for _, r := range rows {
		if r.Trace != "" && slices.Contains(traces, r.Trace) || count[r.Request] <= maxSharing {
			keys = append(keys, ask.Key{Bundle: r.Bundle, No: r.No})
		}
	}
	return k.Load(keys)
}

// unfollowed records connections of the chains' services that could not be read.
func (t *Answer) unfollowed(k *chain.Builder) error {
	seen := map[string]bool{}
	var ids []int64
	first, last := int64(math.MaxInt64), int64(0)
	for _, s := range k.Steps {
		if s.Link == nil || s.Src == nil {
			continue
		}
		first, last = min(first, s.Start), max(last, s.End)
		for _, p := range k.Same[s.Src.Key] {
			if id := fmt.Sprint(p.Bundle, p.ID); !seen[id] {
				seen[id] = true
				ids = append(ids, p.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	type open struct {
		Src string `json:"src"`
		Dst string `json:"dst"`
		N   int64  `json:"n"`
	}
	slices.Sort(ids)
	list, _, err := ask.Rows[open](k.Ctx, k.C, 5, fmt.Sprintf(`SELECT %s AS src, %s || ':' || dst_port AS dst, count(*) AS n FROM connections WHERE protocol IS NULL AND transport = 'tcp' AND calls > 0
		AND src_id IN (SELECT no FROM %s) AND first_ns <= ? AND last_ns >= ? GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 6`, terms.Who("src_"), terms.Who("dst_"), terms.Zip("no")), terms.Numbers(ids), last, first)
	for _, o := range list {
		t.Note("%s had %d {connection|connections} to %s at the time with payload that no dissector read (perhaps a queue): the chains do not include {it|them}", o.Src, o.N, o.Dst)
	}
	return err
}

// Sentence is the answer in one sentence.
func (t *Answer) Sentence() string {
	if t.Total == 1 && len(t.Chains) == 1 {
		return t.Chains[0].What + "."
	}
	s := plural.Sprintf("%d {call matches|calls match}, in %d {chain|chains}", t.Found, t.Total)
	if len(t.Origins) > 0 {
		o := &t.Origins[0]
		s += plural.Sprintf("; the failure of %d {chain|chains} began at %s %s (%s)", o.Chains, o.Dst, o.Endpoint, cmp.Or(o.Status, o.What))
	}
	return s + "."
}
