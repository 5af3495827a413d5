package service

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Limits of a timeline.
const (
	beforeMoment = 2 * time.Minute
	afterMoment  = 10 * time.Second
	maxBuckets   = 24
	maxEvents    = 60
	maxPods      = 50
)

// TimelineIn is the input of get_timeline.
type TimelineIn struct {
	ask.Scope
	Workload string `json:"workload,omitempty" jsonschema:"pod, workload, service, host or address; namespace/name narrows, * and ? match; without it the whole case"`
	At       string `json:"at,omitempty" jsonschema:"the moment; without at and from, the last crash is found automatically"`
	Before   string `json:"before,omitempty" jsonschema:"how long before at, such as 2m (the default) or 30s"`
	After    string `json:"after,omitempty" jsonschema:"how long after at, default 10s"`
}

// Timeline is the answer of get_timeline.
type Timeline struct {
	ask.Frame
	Who      []string        `json:"who" jsonschema:"pods, hosts and so on that match the name"`
	Crash    *Crash          `json:"crash,omitempty" jsonschema:"the crash that was found"`
	At       string          `json:"at,omitempty" jsonschema:"the moment that at_s counts from"`
	From     string          `json:"from"`
	To       string          `json:"to"`
	Calls    int64           `json:"calls" jsonschema:"calls made or received in the window"`
	Failed   int64           `json:"failed"`
	Events   []TimelineEvent `json:"events" jsonschema:"Kubernetes, processes, kernel, TCP and failed connections, by time"`
	Activity []Activity      `json:"activity" jsonschema:"calls by direction, peer, endpoint and outcome, most calls first"`
	External []Activity      `json:"external" jsonschema:"of these, calls to or from outside"`
	Rate     []RateBucket    `json:"rate" jsonschema:"calls and connections over the window"`
	Listed   []TimelineCall  `json:"listed" jsonschema:"calls by time; if there are too many, external calls and those nearest before the moment"`
}

// Crash is the abnormal end of a process or pod.
type Crash struct {
	Time       string   `json:"time"`
	Pod        string   `json:"pod,omitempty"`
	What       string   `json:"what" jsonschema:"description"`
	Signs      []string `json:"signs" jsonschema:"the events behind this, by time"`
	Confidence float64  `json:"confidence"`
	Sure       string   `json:"sure" jsonschema:"exact, likely or guess"`
}

// TimelineEvent is one event other than a call.
type TimelineEvent struct {
	Time    string  `json:"time"`
	AtS     float64 `json:"at_s" jsonschema:"seconds from the moment, negative before it"`
	Kind    string  `json:"kind" jsonschema:"k8s, process, kernel, tcp, connection or alert (said by another program)"`
	Event   string  `json:"event"`
	What    string  `json:"what" jsonschema:"text that may come from the traffic"`
	Times   int64   `json:"times,omitempty" jsonschema:"if more than once"`
	Packets string  `json:"packets,omitempty"`
}

// Activity summarizes calls of one kind.
type Activity struct {
	Direction string   `json:"direction" jsonschema:"in or out"`
	Peer      string   `json:"peer" jsonschema:"the peer"`
	External  bool     `json:"external,omitempty"`
	Protocol  string   `json:"protocol"`
	Endpoint  string   `json:"endpoint"`
	Status    string   `json:"status,omitempty"`
	Calls     int64    `json:"calls"`
	Failed    int64    `json:"failed,omitempty"`
	P50Ms     *float64 `json:"p50_ms,omitempty"`
	MaxMs     *float64 `json:"max_ms,omitempty"`
	Bytes     int64    `json:"bytes"`
	First     string   `json:"first"`
	Last      string   `json:"last"`
	CallIDs   []string `json:"call_ids"`
}

// RateBucket is one time step of the window.
type RateBucket struct {
	Time   string `json:"time" jsonschema:"start"`
	In     int64  `json:"in" jsonschema:"calls received"`
	Out    int64  `json:"out" jsonschema:"calls made"`
	Failed int64  `json:"failed"`
	Bytes  int64  `json:"bytes"`
	Opened int64  `json:"opened" jsonschema:"connections that began"`
	Closed int64  `json:"closed" jsonschema:"connections that ended"`
}

// TimelineCall is a call in a timeline.
type TimelineCall struct {
	ask.Call
	AtS       float64 `json:"at_s"`
	Direction string  `json:"direction" jsonschema:"in or out"`
	External  bool    `json:"external,omitempty" jsonschema:"the peer is outside"`
}

// TimelineQuestion is the question get_timeline.
func TimelineQuestion() ask.Question {
	q := ask.New("get_timeline", "What happened around a moment", "Everything about a pod or workload around a moment, such as the two minutes before a crash (found automatically): calls in and out, external calls, Kubernetes events, process exits, OOM kills, TCP problems, rates.", true, AskTimeline)
	q.InTime = []string{"events", "listed"}
	return q
}

// target is an endpoint that a name matches.
type target struct {
	Bundle    int64  `json:"bundle"`
	ID        int64  `json:"endpoint_id"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	UID       string `json:"uid"`
	Workload  string `json:"workload"`
	Name      string `json:"name"`
	Who       string `json:"who"`
	Process   string `json:"process"`
	IP        string `json:"ip"`
	Node      string `json:"node"`
}

// targets resolves a name to rows of endpoints, and to pods that Kubernetes lists but that had no
// traffic.
func targets(ctx context.Context, c *forensics.Case, name string) ([]target, error) {
	cond, args := terms.End("", name)
	list, more, err := ask.Rows[target](ctx, c, ask.MaxIDs, fmt.Sprintf(`SELECT %s, endpoint_id, coalesce(namespace, '') AS namespace, coalesce(pod, '') AS pod, coalesce(pod_uid, '') AS uid, coalesce(workload, '') AS workload, name,
		%s AS who, coalesce(process, '') AS process, ip, coalesce(node, '') AS node FROM endpoints_raw WHERE %s ORDER BY bundle, endpoint_id LIMIT %d`, terms.BundleOf(c, ""), terms.Who(""), cond, ask.MaxIDs+1), args...)
	if err != nil {
		return nil, err
	}
	if more {
		return nil, ask.Wrong("workload", "%q matches more than %d addresses", ask.Clip(name, 100), ask.MaxIDs)
	}
	ns, rest, ok := strings.Cut(name, "/")
	if !ok {
		ns, rest = "*", name
	}
	silent, _, err := ask.Rows[target](ctx, c, ask.MaxIDs, fmt.Sprintf(`SELECT DISTINCT %s, -1 AS endpoint_id, coalesce(namespace, '') AS namespace, name AS pod, coalesce(uid, '') AS uid, coalesce(owner, '') AS workload, name, '' AS process,
		coalesce(addresses[1], '') AS ip, coalesce(node, '') AS node FROM workloads_raw WHERE kind = 'pod' AND coalesce(namespace, '') LIKE ? ESCAPE '\' AND (name LIKE ? ESCAPE '\' OR coalesce(owner, '') LIKE ? ESCAPE '\')
		ORDER BY bundle, namespace, name, uid LIMIT %d`, terms.BundleOf(c, ""), ask.MaxIDs), terms.Pattern(ns), terms.Pattern(rest), terms.Pattern(rest))
	for _, s := range silent {
		if !slices.ContainsFunc(list, func(t target) bool {
			return t.UID != "" && t.UID == s.UID || t.Pod == s.Pod && t.Namespace == s.Namespace && t.Pod != ""
		}) {
			list = append(list, s)
		}
	}
	return list, err
}

// timelineAnswer collects one timeline.
type timelineAnswer struct {
	ctx   context.Context
	c     *forensics.Case
	in    TimelineIn
	w     *ask.Window
	asked string // the name, or empty
	whole bool   // the target is the whole case: all calls, events and connections
	list  []target
	at    int64
	out   *Timeline
}

// AskTimeline answers get_timeline.
func AskTimeline(ctx context.Context, c *forensics.Case, in TimelineIn) (*Timeline, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	before, err := length("before", in.Before, beforeMoment)
	if err != nil {
		return nil, err
	}
	after, err := length("after", in.After, afterMoment)
	if err != nil {
		return nil, err
	}
	first, last, _ := c.Window()
	t := &timelineAnswer{ctx: ctx, c: c, in: in, w: w, asked: in.Workload, whole: in.Workload == "", out: &Timeline{Who: []string{}, Events: []TimelineEvent{}, Activity: []Activity{}, External: []Activity{}, Rate: []RateBucket{}, Listed: []TimelineCall{}}}
	if t.at, err = ask.ParseTime("at", in.At, 0, first, last); err != nil {
		return nil, err
	}
	if !t.whole {
		if t.list, err = targets(ctx, c, in.Workload); err != nil {
			return nil, err
		}
	}
	from, to := w.From, w.To
	if in.At == "" {
		if err := t.crash(from, to); err != nil {
			return nil, err
		}
		if t.out.Crash == nil && in.From == "" && in.To == "" {
			t.at = last
		}
	}
	if t.at != 0 && in.From == "" && in.To == "" && (in.At != "" || !t.whole) {
		begin, end := max(1, t.at-int64(before)), t.at+min(int64(after), math.MaxInt64-t.at)
		if from, to = max(first, begin), min(last, end); from > to {
			from, to = begin, end // outside the recording; the coverage of the answer shows it
		}
	}
	if t.at == 0 {
		t.at = to
	}
	return t.answer(from, to)
}

// length parses a duration.
func length(field, text string, missing time.Duration) (time.Duration, error) {
	if text == "" {
		return missing, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, ask.Malformed(field, "a duration such as 2m or 30s", text)
	}
	return d, nil
}

func (t *timelineAnswer) answer(from, to int64) (*Timeline, error) {
	scope := t.in.Scope
	scope.From, scope.To = when.Stamp(from), when.Stamp(to)
	w, err := scope.Read(t.ctx, t.c)
	if err != nil {
		return nil, err
	}
	t.w = w
	if t.out.Frame, err = w.Frame(t.ctx, t.c); err != nil {
		return nil, err
	}
	out := t.out
	out.At, out.From, out.To = when.Stamp(t.at), when.Stamp(from), when.Stamp(to)
	for _, p := range t.list {
		name := p.Pod
		if name == "" {
			name = p.Name
		}
		if p.Namespace != "" {
			name = p.Namespace + "/" + name
		}
		out.Who = append(out.Who, name)
	}
	slices.Sort(out.Who)
	out.Who = slices.Compact(out.Who)
	out.Who = out.Who[:min(maxPods, len(out.Who))]
	if out.Crash == nil && t.in.At == "" && t.in.From == "" && t.in.To == "" {
		out.Note("no sign of a crash was found (exit, OOM kill, BackOff, restart), so the moment is the end of the recording")
	}
	for _, f := range []func() error{t.calls, t.events, t.rate} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	if len(t.list) == 0 && out.Calls == 0 && !t.whole {
		out.Notes = append(out.Notes, ask.UnknownName(t.ctx, t.c, t.in.Workload))
	}
	if err := ask.NoteUnread(t.ctx, t.c, &out.Frame, w); err != nil {
		return nil, err
	}
	out.Match(int(out.Calls) + len(out.Events))
	return out, nil
}

// isTarget is the condition that one end of a row, column src_id or dst_id, is the target.
func (t *timelineAnswer) isTarget(column string) string {
	if t.whole { // all calls are received
		return strconv.FormatBool(column == "dst_id")
	}
	by := map[int64][]int64{}
	var bundles []int64
	for _, p := range t.list {
		if p.ID < 0 {
			continue
		}
		if by[p.Bundle] == nil {
			bundles = append(bundles, p.Bundle)
		}
		by[p.Bundle] = append(by[p.Bundle], p.ID)
	}
	var any []string
	for _, b := range bundles {
		cond := column + " IN (" + terms.Numbers(by[b]) + ")"
		if t.c.Several() {
			cond = fmt.Sprintf("bundle = %d AND %s", b, cond)
		}
		any = append(any, "("+cond+")")
	}
	if dialled := terms.Dialled(strings.TrimSuffix(column, "id"), t.asked); dialled != "" {
		any = append(any, dialled)
	}
	if len(any) == 0 {
		return "false"
	}
	return "(" + strings.Join(any, " OR ") + ")"
}

// received is the condition that rows of calls went to the target. A name that no endpoint has may be that of a host that
// clients called.
func (t *timelineAnswer) received() string {
	if t.whole {
		return t.isTarget("dst_id")
	}
	if called := terms.Called(t.asked); len(t.list) == 0 && called != "" {
		return "(" + t.isTarget("dst_id") + " OR " + called + ")"
	}
	return t.isTarget("dst_id")
}

// calls summarizes and lists the calls of the target. Those of the whole case are only counted, by rate.
func (t *timelineAnswer) calls() error {
	if t.whole {
		return nil
	}
	out, w := t.out, t.w
	in, made := t.received(), t.isTarget("src_id")
	// A call from the target to itself counts as a call made.
	activity := fmt.Sprintf(`SELECT direction, peer, external, protocol, endpoint, status, count(*) AS calls, count(*) FILTER (failed) AS failed, round(quantile_disc(elapsed_us, 0.5) / 1000.0, 3) AS p50_ms,
		round(max(elapsed_us) / 1000.0, 3) AS max_ms, sum(request_bytes + response_bytes)::BIGINT AS bytes, make_timestamp_ns(min(ts_ns)) AS first, make_timestamp_ns(max(ts_ns)) AS last,
		list_transform(arg_min(call_id, (ts_ns, call_id), 3), x -> lower(hex(x))) AS call_ids FROM (SELECT CASE WHEN %[1]s THEN 'out' ELSE 'in' END AS direction, CASE WHEN %[1]s THEN %[2]s ELSE %[3]s END AS peer,
			CASE WHEN %[1]s THEN dst_external ELSE src_external END AS external, protocol, %[4]s AS endpoint, `+terms.Status+` AS status,
			failed, error, `+terms.Took+` AS elapsed_us, request_bytes, response_bytes, ts_ns, call_id FROM %[5]s WHERE %[6]s AND (%[1]s OR %[7]s))
		GROUP BY ALL ORDER BY bool_or(protocol = 'dns'), calls DESC, first, direction, peer, endpoint, status`, made, terms.Who("dst_"), terms.Client("src_"), terms.NamedEndpoint, "calls", w.Where, in)
	list, more, err := ask.Rows[Activity](t.ctx, t.c, ask.MaxAll, activity+fmt.Sprintf(" LIMIT %d", ask.MaxAll+1), w.Args...)
	if err != nil {
		return err
	}
	for _, a := range list {
		out.Calls, out.Failed = out.Calls+a.Calls, out.Failed+a.Failed
		if a.External {
			out.External = append(out.External, a)
		}
	}
	out.Truncated = out.Truncated || more
	out.Activity = ask.Fit(w, &out.Frame, list)
	out.External = ask.Fit(w, &out.Frame, out.External)
	near := fmt.Sprintf("abs(ts_ns - %d) + CASE WHEN ts_ns > %[1]d THEN %d ELSE 0 END", t.at, int64(time.Hour))
	calls, more, err := ask.Rows[TimelineCall](t.ctx, t.c, w.Limit, fmt.Sprintf(`SELECT * FROM (SELECT %[1]s, round((ts_ns - %[2]d) / 1e9, 3) AS at_s, CASE WHEN %[3]s THEN 'out' ELSE 'in' END AS direction,
		coalesce(CASE WHEN %[3]s THEN dst_external ELSE src_external END, false) AS external FROM %[4]s WHERE %[5]s AND (%[3]s OR %[6]s) ORDER BY external DESC, %[7]s, call_id LIMIT %[8]d)`,
		terms.CallColumns(t.c), t.at, made, "calls", w.Where, in, near, w.Limit), w.Args...)
	if err != nil {
		return err
	}
	out.Truncated = out.Truncated || more || out.Calls > int64(len(calls))
	for i := range calls {
		calls[i].Summary = ask.Clip(calls[i].Summary, 120)
	}
	// External calls and those nearest to the moment come first.
	out.Listed = calls
	if w.All {
		return nil
	}
	slices.SortStableFunc(out.Listed, func(a, b TimelineCall) int { return strings.Compare(a.Time, b.Time) })
	return nil
}

// rate counts calls and connections per time step.
func (t *timelineAnswer) rate() error {
	w := t.w
	each := max(int64(time.Second), (w.To-w.From)/maxBuckets+1)
	each = (each + int64(time.Second) - 1) / int64(time.Second) * int64(time.Second)
	if t.whole {
		each = roundStep((w.To-w.From)/maxBuckets + 1)
	}
	in, made := t.received(), t.isTarget("src_id")
	conns := "(" + t.isTarget("dst_id") + " OR " + made + ")"
	every, args := w.Connections(t.c, "connections_raw", false)
	sql := fmt.Sprintf(`WITH k AS (SELECT (ts_ns - %[1]d) // %[2]d AS b, count(*) FILTER (NOT %[3]s) AS i, count(*) FILTER (%[3]s) AS o, count(*) FILTER (failed) AS f, sum(request_bytes + response_bytes)::BIGINT AS y
			FROM %[4]s WHERE %[5]s AND (%[3]s OR %[6]s) GROUP BY 1),
		a AS (SELECT (first_ns - %[1]d) // %[2]d AS b, count(*) AS n FROM %[9]s WHERE %[7]s AND first_ns BETWEEN %[1]d AND %[8]d GROUP BY 1),
		z AS (SELECT (last_ns - %[1]d) // %[2]d AS b, count(*) AS n FROM %[9]s WHERE %[7]s AND last_ns BETWEEN %[1]d AND %[8]d GROUP BY 1),
		s AS (SELECT range AS b FROM range(0, (%[8]d - %[1]d) // %[2]d + 1))
		SELECT make_timestamp_ns(%[1]d + s.b * %[2]d) AS time, coalesce(k.i, 0) AS "in", coalesce(k.o, 0) AS out, coalesce(k.f, 0) AS failed, coalesce(k.y, 0) AS bytes, coalesce(a.n, 0) AS opened, coalesce(z.n, 0) AS closed
		FROM s LEFT JOIN k ON k.b = s.b LEFT JOIN a ON a.b = s.b LEFT JOIN z ON z.b = s.b ORDER BY s.b`, w.From, each, made, "calls", w.Where, in, conns, w.To, every)
	var err error
	t.out.Rate, _, err = ask.Rows[RateBucket](t.ctx, t.c, maxBuckets+2, sql, slices.Concat(w.Args, args, args)...)
	for _, b := range t.out.Rate {
		if t.whole {
			t.out.Calls, t.out.Failed = t.out.Calls+b.In, t.out.Failed+b.Failed
		}
	}
	return err
}

// roundStep is the shortest time of at least each that is 1, 2 or 5 times a power of ten milliseconds, in nanoseconds.
func roundStep(each int64) int64 {
	step := int64(time.Millisecond)
	for {
		for _, n := range []int64{1, 2, 5} {
			if n*step >= each || step > math.MaxInt64/50 {
				return n * step
			}
		}
		step *= 10
	}
}

// Sentence is the answer in one sentence.
func (t *Timeline) Sentence() string {
	if t.Crash != nil {
		return t.Crash.What + " at " + t.Crash.Time + plural.Sprintf("; %d {call|calls} around it, of which %d failed.", t.Calls, t.Failed)
	}
	return plural.Sprintf("No crash was seen; %d {call|calls} from %s to %s, of which %d failed.", t.Calls, t.From, t.To, t.Failed)
}
