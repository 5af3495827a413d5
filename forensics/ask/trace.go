package ask

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of a trace.
const (
	maxSeeds     = 120  // calls that chains are built around
	maxStretches = 6    // times from which these are taken where there are more
	maxTimes     = 12   // stretches of time that chains are built in, where limit asks for no more
	maxNodes     = 4000 // calls in all chains of an answer
	maxSharing   = 1000 // calls that one request id may have before it is no id of a request
	upwardsFrom  = 0.3  // confidence below which a parent is stated but not followed
	childFrom    = 0.15 // confidence below which a call is not counted as a child
	maxHops      = 32
	maxOrigins   = 20
)

// TraceIn asks for the whole way of requests through the services.
type TraceIn struct {
	Scope
	CallID    string `json:"call_id,omitempty" jsonschema:"a call of the chain, as other answers cite it"`
	TraceID   string `json:"trace_id,omitempty" jsonschema:"id of traceparent, b3, X-Amzn-Trace-Id or uber-trace-id"`
	RequestID string `json:"request_id,omitempty" jsonschema:"X-Request-Id or X-Correlation-Id"`
	Text      string `json:"text,omitempty" jsonschema:"id of an order, a user, a mail address and so on, found as a whole word in paths, queries, headers, bodies, SQL and Redis; with none of these four, kfl says which calls"`
}

// Trace is the way of requests through the services.
type Trace struct {
	Frame
	Found   int64        `json:"calls_found" jsonschema:"calls that were asked for"`
	Traced  int          `json:"calls_traced" jsonschema:"of these, those that the chains are built around: all, or some evenly spread over the time"`
	Total   int          `json:"total_chains"`
	Chains  []TraceChain `json:"chains" jsonschema:"by time; one for each outermost call"`
	Origins []Origin     `json:"origins" jsonschema:"where trouble began, over all chains, the most frequent first"`
	Hops    []TraceHop   `json:"hops" jsonschema:"where time went over all chains, the most first"`
}

// TraceChain is one outermost call with all calls that were made because of it.
type TraceChain struct {
	What      string      `json:"what" jsonschema:"in one sentence"`
	Time      string      `json:"time"`
	ElapsedMs float64     `json:"elapsed_ms"`
	Calls     int         `json:"calls" jsonschema:"calls in the chain"`
	Origin    *Origin     `json:"origin,omitempty" jsonschema:"where its trouble began, if it had any"`
	Steps     []TraceStep `json:"steps" jsonschema:"the calls, each followed by those it made, in order of time"`
}

// TraceStep is one call in a chain.
type TraceStep struct {
	Call
	Step       int      `json:"step" jsonschema:"number in the chain, from 1"`
	Parent     int      `json:"parent,omitempty" jsonschema:"step that made this call; 0 for the outermost"`
	AtMs       float64  `json:"at_ms" jsonschema:"start, counted from the start of the chain"`
	SelfMs     float64  `json:"self_ms" jsonschema:"elapsed time less that of the calls it waited for"`
	Confidence float64  `json:"confidence,omitempty" jsonschema:"that the parent is right, 0 to 1"`
	Sure       string   `json:"sure,omitempty" jsonschema:"exact, likely or guess"`
	How        string   `json:"how,omitempty" jsonschema:"evidence for the parent"`
	Asked      bool     `json:"asked,omitempty" jsonschema:"this call was asked for itself"`
	Said       string   `json:"said,omitempty" jsonschema:"what the answer of a failed call said; text from the traffic"`
	Note       string   `json:"note,omitempty"`
	Rivals     []string `json:"rivals,omitempty" jsonschema:"call_ids of other calls that may be the parent of an outermost one"`
}

// Origin is where trouble began.
type Origin struct {
	Number     int      `json:"number,omitempty" jsonschema:"in its list, from 1"`
	Chains     int      `json:"chains,omitempty" jsonschema:"chains, or calls, that it explains"`
	Src        string   `json:"src"`
	Dst        string   `json:"dst"`
	Protocol   string   `json:"protocol"`
	Endpoint   string   `json:"endpoint"`
	Status     string   `json:"status,omitempty"`
	What       string   `json:"what" jsonschema:"failed, no_answer, slow (it did not fail but took the time), sealed (an encrypted connection that took the time), or own (nothing below it failed)"`
	ElapsedMs  float64  `json:"elapsed_ms" jsonschema:"how long it took, or was waited for"`
	Said       string   `json:"said,omitempty" jsonschema:"what its answer said; text from the traffic"`
	Way        string   `json:"way" jsonschema:"services from the outermost call to it"`
	Confidence float64  `json:"confidence"`
	Sure       string   `json:"sure" jsonschema:"exact, likely or guess"`
	Packets    string   `json:"packets,omitempty" jsonschema:"of the first"`
	CallIDs    []string `json:"call_ids" jsonschema:"up to three; none where a connection came to nothing and carried no call"`
}

// TraceHop is a step of chains, summed over all of them.
type TraceHop struct {
	Src      string   `json:"src"`
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Calls    int      `json:"calls"`
	SelfMs   float64  `json:"self_ms" jsonschema:"time spent there itself, all calls together"`
	Share    float64  `json:"share" jsonschema:"of the time of all chains; calls side by side count each"`
	P50Ms    float64  `json:"p50_ms" jsonschema:"median elapsed time of a call"`
	CallIDs  []string `json:"call_ids" jsonschema:"the three with the most time of their own"`
}

func traceRequest() Question {
	return question("trace_request", "The whole way of a request", "Chain of calls behind a call, trace id, request id or text such as an order's number: parents and children with evidence and confidence, where time went, where failure began, what it said.", true, AskTrace)
}

// AskTrace answers which way requests took through the services.
func AskTrace(ctx context.Context, c *forensics.Case, in TraceIn) (*Trace, error) {
	w, err := in.read(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Trace{Chains: []TraceChain{}, Origins: []Origin{}, Hops: []TraceHop{}}
	if out.Frame, err = w.frame(ctx, c); err != nil {
		return nil, err
	}
	k, err := newChains(ctx, c)
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
	if err := unread(ctx, c, &out.Frame, w); err != nil {
		return nil, err
	}
	out.matched(len(out.Chains))
	return out, nil
}

// seeds finds the calls that were asked for.
func (in TraceIn) seeds(k *chains, w *window, out *Trace) ([]*step, error) {
	given := 0
	for _, s := range [...]string{in.CallID, in.TraceID, in.RequestID, in.Text} {
		if s != "" {
			given++
		}
	}
	if given > 1 || given == 0 && in.KFL == "" {
		return nil, wrong("", "one of call_id, trace_id, request_id and text, or kfl alone, says what is traced")
	}
	var keys []rowKey
	var err error
	switch {
	case in.CallID != "":
		var x *forensics.Exchange
		if x, err = k.c.Call(k.ctx, in.CallID, forensics.CallOptions{MaxBody: 1}); err != nil {
			return nil, err
		}
		no, _ := x.Call.Get("call_no").(int64)
		keys, out.Found = []rowKey{{int64(x.Bundle), no}}, 1
	case in.Text != "":
		var n *needle
		if n, err = newNeedle(in.Text, "", true, false); err != nil {
			return nil, err
		}
		var list []finding
		list, _, err = findText(k.ctx, k.c, w, n, nil, position{no: -1}, maxSeeds)
		for _, f := range list {
			keys, out.Found = append(keys, f.key()), f.Total
		}
	default:
		if in.TraceID != "" {
			w.and("trace_id = ?", strings.ToLower(in.TraceID))
		}
		if in.RequestID != "" {
			w.and("request_id = ?", in.RequestID)
		}
		keys, out.Found, err = spread(k, w)
	}
	if err != nil {
		return nil, err
	}
	seeds, err := k.load(keys)
	if in.Limit <= defaultRows {
		seeds = fewTimes(seeds)
	}
	for _, s := range seeds {
		s.hit = true
	}
	out.Traced = len(seeds)
	if out.Found > int64(len(seeds)) {
		out.note("%d calls were asked for; chains are built around %d of them", out.Found, len(seeds))
	}
	return seeds, err
}

// fewTimes keeps the calls of the first times, where there are more than chains can be
// shown of: calls with a text that many have are scattered over the whole recording.
func fewTimes(seeds []*step) []*step {
	slices.SortFunc(seeds, inTime)
	times := 0
	for i, s := range seeds {
		if i == 0 || s.Start-seeds[i-1].Start > nearTime {
			if times++; times > maxTimes {
				return seeds[:i]
			}
		}
	}
	return seeds
}

// spread takes calls of a window; where there are many, some in a row at each of
// maxStretches times, which are evenly spread over the calls.
func spread(k *chains, w *window) ([]rowKey, int64, error) {
	list, _, err := readRows[finding](k.ctx, k.c, maxSeeds, fmt.Sprintf(`WITH f AS MATERIALIZED (SELECT %s, call_no, ts_ns FROM %s WHERE %s),
		n AS (SELECT *, row_number() OVER (ORDER BY ts_ns, bundle, call_no) - 1 AS nth, count(*) OVER () AS total FROM f)
		SELECT bundle, call_no, ts_ns, total FROM n WHERE total <= %[4]d OR nth %% (total // %[5]d) < %[4]d // %[5]d ORDER BY ts_ns, bundle, call_no LIMIT %[4]d`, bundleOf(k.c, ""), "calls", w.where, maxSeeds, maxStretches), w.args...)
	var keys []rowKey
	var total int64
	for _, f := range list {
		keys, total = append(keys, f.key()), f.Total
	}
	return keys, total, err
}

// build makes the chains around seeds.
func (t *Trace) build(k *chains, w *window, seeds []*step, byText bool) error {
	if err := k.above(seeds); err != nil {
		return err
	}
	more, err := t.sharing(k, seeds)
	if err != nil {
		return err
	}
	if err := k.above(more); err != nil {
		return err
	}
	var roots []*step
	for _, s := range slices.Concat(seeds, more) {
		if r := outermost(s); !slices.Contains(roots, r) {
			roots = append(roots, r)
		}
	}
	slices.SortFunc(roots, inTime)
	children, cut, err := k.below(roots, maxLevels, maxNodes, nil)
	if err != nil {
		return err
	}
	for p, list := range children {
		children[p] = slices.DeleteFunc(list, func(s *step) bool { return s.link.confidence < childFrom })
	}
	all := roots
	for _, r := range roots {
		all = append(all, flatten(r, children)...)
	}
	if err := k.tell(all); err != nil {
		return err
	}
	if cut || k.cut {
		t.note("there were too many calls at the time: chains may lack some of theirs")
		t.Truncated = true
	}
	if k.skewed {
		t.note("calls were recorded by clocks whose difference is not known; %s is assumed, and what is nearer than that has no known order", lengthOf(clockUnsure))
	}
	if byText && len(roots) > 1 {
		t.note("the chains hold the same text; what ties them to each other beyond that, such as a queue, was not seen")
	}
	return t.tell(k, w.limit, roots, children)
}

// outermost is the call at the top of a call's chain, as far as parents are sure enough.
func outermost(s *step) *step {
	for range maxLevels {
		if s.link == nil || s.link.confidence < upwardsFrom {
			break
		}
		s = s.link.parent
	}
	return s
}

// sharing loads the calls that have the trace id or request id of one of a chain.
func (t *Trace) sharing(k *chains, seeds []*step) ([]*step, error) {
	var traces, requests []string
	for _, s := range seeds {
		for n := 0; s != nil && n < maxLevels; n++ {
			if s.Trace != "" && !slices.Contains(traces, s.Trace) {
				traces = append(traces, s.Trace)
			}
			if s.Request != "" && !slices.Contains(requests, s.Request) {
				requests = append(requests, s.Request)
			}
			if s.link == nil || s.link.confidence < upwardsFrom {
				break
			}
			s = s.link.parent
		}
	}
	if len(traces)+len(requests) == 0 || len(seeds) > maxSeeds/4 {
		return nil, nil // with many calls asked for, each brings its chain by time
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
	rows, _, err := readRows[row](k.ctx, k.c, maxNodes, fmt.Sprintf("SELECT %s, call_no, coalesce(trace_id, '') AS trace_id, coalesce(request_id, '') AS request_id FROM calls_raw WHERE %s ORDER BY ts_ns, bundle, call_no LIMIT %d",
		bundleOf(k.c, ""), strings.Join(conds, " OR "), maxNodes+1), args...)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, r := range rows {
		count[r.Request]++
	}
	var keys []rowKey
	for _, r := range rows {
		if r.Trace != "" && slices.Contains(traces, r.Trace) || count[r.Request] <= maxSharing {
			keys = append(keys, rowKey{r.Bundle, r.No})
		}
	}
	return k.load(keys)
}

// unfollowed notes connections of the chains' services on which more may have gone on.
func (t *Trace) unfollowed(k *chains) error {
	seen := map[string]bool{}
	var ids []int64
	first, last := int64(math.MaxInt64), int64(0)
	for _, s := range k.steps {
		if s.link == nil || s.src == nil {
			continue
		}
		first, last = min(first, s.Start), max(last, s.end)
		for _, p := range k.same[s.src.Key] {
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
	list, _, err := readRows[open](k.ctx, k.c, 5, fmt.Sprintf(`SELECT %s AS src, %s || ':' || dst_port AS dst, count(*) AS n FROM connections WHERE protocol IS NULL AND transport = 'tcp' AND calls > 0
		AND src_id IN (SELECT no FROM %s) AND first_ns <= ? AND last_ns >= ? GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 6`, who("src_"), who("dst_"), zip("no")), numbers(ids), last, first)
	for _, o := range list {
		t.note("%s had %d connections to %s at the time, in a protocol that is not read (a queue, perhaps): what it sent there is not in the chains", o.Src, o.N, o.Dst)
	}
	return err
}
