// Package compare answers what changed between two periods: endpoints that became slower, failed
// more often, appeared or disappeared. Every difference has a 95 % interval. Statistical tests,
// corrected for the number of comparisons, decide what counts as a change; that nothing changed is
// only said of what enough calls show.
package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
)

// In is the input of compare_periods.
type In struct {
	ask.Scope
	BaselineFrom string `json:"baseline_from,omitempty" jsonschema:"start of the baseline; same forms as from"`
	BaselineTo   string `json:"baseline_to,omitempty" jsonschema:"end of the baseline"`
	Shift        string `json:"shift,omitempty" jsonschema:"without a baseline: compare with the same window this much earlier; default 24h, or the time before it if that day was not recorded"`
	Service      string `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address"`
	Client       string `json:"client,omitempty" jsonschema:"only calls from this client"`
}

// Answer is the answer of compare_periods.
type Answer struct {
	ask.Frame
	Verdict   []string `json:"verdict" jsonschema:"what changed, in sentences: all calls, then changes, the most important first, then what may have changed, then what is unknown"`
	Period    Period   `json:"period" jsonschema:"the later window, from and to of the input"`
	Baseline  Period   `json:"baseline"`
	Tests     int      `json:"tests" jsonschema:"comparisons that had enough calls to show a change; p values are adjusted for their number in each list (Holm)"`
	Total     *Change  `json:"total,omitempty" jsonschema:"all calls"`
	Services  []Change `json:"services" jsonschema:"changed first, then those that may have changed, then most calls"`
	Endpoints []Change `json:"endpoints"`
	Pairs     []Change `json:"pairs" jsonschema:"clients and their servers"`
	New       []News   `json:"new" jsonschema:"only in the period: endpoints, dependencies, external destinations, statuses"`
	Vanished  []News   `json:"vanished" jsonschema:"only in the baseline"`
}

// Period is one of the two windows.
type Period struct {
	From     string       `json:"from"`
	To       string       `json:"to"`
	Coverage ask.Coverage `json:"coverage"`
	Calls    int64        `json:"calls"`
	Failed   int64        `json:"failed"`
}

// Change compares a service, an endpoint, a pair or all calls in both windows. In each pair of numbers the
// baseline comes first.
type Change struct {
	Src       string     `json:"src,omitempty"`
	Dst       string     `json:"dst,omitempty"`
	Endpoint  string     `json:"endpoint,omitempty"`
	Calls     [2]int64   `json:"calls"`
	PerMinute [2]float64 `json:"calls_per_minute"`
	Failed    [2]int64   `json:"failed"`
	ErrorRate [2]float64 `json:"error_rate"`
	P50Ms     []float64  `json:"p50_ms,omitempty" jsonschema:"of pairs and of all calls, percentiles are within 2.5 %"`
	P90Ms     []float64  `json:"p90_ms,omitempty"`
	P99Ms     []float64  `json:"p99_ms,omitempty"`
	Latency   *Effect    `json:"latency,omitempty" jsonschema:"Mann-Whitney test; absent if a window has no call with a latency"`
	Slower    *float64   `json:"slower_in,omitempty" jsonschema:"share of pairs of calls in which the call of the period is slower; 0.5 means no difference"`
	Slowest   *Slowest   `json:"slowest,omitempty" jsonschema:"the slowest tenth or hundredth, if its share changed and the other latencies did not change the same way"`
	Errors    *Effect    `json:"errors,omitempty" jsonschema:"Fisher's exact test"`
	Volume    *Effect    `json:"volume,omitempty"`
	Changed   []string   `json:"changed" jsonschema:"slower, faster, slowest_slower, slowest_faster, more_errors, fewer_errors, more_calls, fewer_calls; empty if no change is certain"`
	Maybe     []string   `json:"maybe,omitempty" jsonschema:"the same for large differences that may be chance: too few calls to be sure"`
	Mix       string     `json:"mix,omitempty" jsonschema:"if the whole changed otherwise than its endpoints, because their share of the calls changed"`
	Words     string     `json:"words,omitempty"`
	KFL       string     `json:"kfl,omitempty"`

	of     sample
	weight float64
}

// News is something that exists in only one of the two windows.
type News struct {
	Kind    string   `json:"kind" jsonschema:"endpoint, dependency, destination or status"`
	Src     string   `json:"src,omitempty"`
	Dst     string   `json:"dst"`
	What    string   `json:"what,omitempty"`
	Calls   int64    `json:"calls"`
	CallIDs []string `json:"call_ids" jsonschema:"the first calls"`
}

// Question is the question compare_periods.
func Question() ask.Question {
	return ask.New("compare_periods", "Compare two periods", "Compares a window with a baseline (or the same time on the day before): volume, errors and latency by service, endpoint and pair, with effects, 95 % intervals and a verdict; what is new and what vanished.", true, Ask)
}

// Ask answers compare_periods.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	t, w, err := in.times(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := w.Narrow(c, in.Service, in.Client, ""); err != nil {
		return nil, err
	}
	out := &Answer{}
	if out.Frame, err = (&ask.Window{From: t.from[1], To: t.to[1], Notes: w.Notes, Now: w.Now}).Frame(ctx, c); err != nil {
		return nil, err
	}
	for i, p := range []*Period{&out.Baseline, &out.Period} {
		cov, err := c.Coverage(t.from[i], t.to[i])
		if err != nil {
			return nil, err
		}
		*p = Period{From: when.Stamp(t.from[i]), To: when.Stamp(t.to[i]), Coverage: ask.CoverageOf(cov)}
	}
	known, err := ask.Nodes(ctx, c, "service")
	if err != nil {
		return nil, err
	}
	rows, err := t.read(ctx, c, w, false, &out.Frame)
	if err != nil {
		return nil, err
	}
	parts, err := t.read(ctx, c, w, true, &out.Frame)
	if err != nil {
		return nil, err
	}
	edges, err := t.pairs(ctx, c, w, &out.Frame)
	if err != nil {
		return nil, err
	}
	addBins(rows, parts)
	services, endpoints, pairs := t.changes(rows, known), t.changes(parts, known), t.changes(edges, known)
	for _, s := range services {
		out.Baseline.Calls, out.Period.Calls = out.Baseline.Calls+s.Calls[0], out.Period.Calls+s.Calls[1]
		out.Baseline.Failed, out.Period.Failed = out.Baseline.Failed+s.Failed[0], out.Period.Failed+s.Failed[1]
	}
	total := t.total(services)
	for _, list := range [][]Change{total, services, endpoints, pairs} {
		out.Tests += judge(list)
	}
	explain(&total[0], endpoints)
	for i := range services {
		explain(&services[i], slices.DeleteFunc(slices.Clone(endpoints), func(e Change) bool { return e.Dst != services[i].Dst }))
	}
	if err := out.news(ctx, c, w, t, parts, edges); err != nil {
		return nil, err
	}
	n, err := ask.WaitsOf(ctx, c, "calls", w.Where+" AND "+terms.IsRequest, w.Args...)
	if err != nil {
		return nil, err
	}
	out.NoteWaits(n)
	out.Total = &total[0]
	out.writeVerdict(services, endpoints, pairs)
	if out.unrecorded() { // what the other window has is neither new nor more
		services, endpoints, pairs, out.New, out.Vanished, out.Total = []Change{}, []Change{}, []Change{}, []News{}, []News{}, nil
	}
	out.Services, out.Endpoints, out.Pairs = ask.Fit(w, &out.Frame, services), ask.Fit(w, &out.Frame, endpoints), ask.Fit(w, &out.Frame, pairs)
	out.New, out.Vanished = ask.Fit(w, &out.Frame, out.New), ask.Fit(w, &out.Frame, out.Vanished)
	out.Match(int(min(out.Baseline.Calls+out.Period.Calls, 1)))
	return out, nil
}

// times are two windows: the baseline and the period.
type times struct{ from, to [2]int64 }

func (t *times) minutes(i int) float64 { return max(float64(t.to[i]-t.from[i]+1)/60e9, 1e-9) }

// times reads the two windows, and one window that covers both and has no other time condition.
func (in *In) times(ctx context.Context, c *forensics.Case) (*times, *ask.Window, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	first, last, _ := c.Window()
	t := &times{from: [2]int64{0, w.From}, to: [2]int64{0, w.To}}
	length := w.To - w.From
	switch {
	case in.BaselineFrom != "" || in.BaselineTo != "":
		if in.BaselineFrom == "" {
			return nil, nil, ask.Wrong("baseline_from", "missing: give the start of the baseline")
		}
		if t.from[0], err = ask.ParseTime("baseline_from", in.BaselineFrom, first, first, last); err != nil {
			return nil, nil, err
		}
		if t.to[0], err = ask.ParseTime("baseline_to", in.BaselineTo, t.from[0]+length, first, last); err != nil {
			return nil, nil, err
		}
	case in.From == "" && in.Shift == "":
		// Without any times, compare the halves of the recording.
		middle := first + (last-first)/2
		t.from, t.to = [2]int64{first, middle + 1}, [2]int64{middle, last}
		w.Notes = append(w.Notes, "no times were given: the first half of the recording is the baseline, the second the period")
	default:
		shift := 24 * time.Hour
		if in.Shift != "" {
			if shift, err = time.ParseDuration(in.Shift); err != nil || shift <= 0 {
				return nil, nil, ask.Malformed("shift", "a duration such as 24h", in.Shift)
			}
		}
		t.from[0], t.to[0] = w.From-int64(shift), w.To-int64(shift)
		switch {
		case in.Shift == "" && t.to[0] < first && first < w.From:
			t.from[0], t.to[0] = max(first, w.From-length), w.From-1
			w.Notes = append(w.Notes, "the day before was not recorded, so the baseline is the time before the period")
		case t.to[0] < w.From:
		case in.Shift != "":
			return nil, nil, ask.Wrong("shift", "%s is shorter than the period, %s, so the baseline would overlap it", shift, time.Duration(length))
		default:
			t.to[0] = w.From - 1
			w.Notes = append(w.Notes, "the period is longer than 24h, so the baseline is the 24h before it")
		}
	}
	for i := range t.to { // a time at which one ends and the other starts is not in both
		if t.to[i] == t.from[1-i] && t.from[i] < t.to[i] {
			t.to[i]--
		}
	}
	if t.from[0] > t.to[0] {
		return nil, nil, ask.After("baseline_from", t.from[0], "baseline_to", t.to[0])
	}
	if t.from[0] <= t.to[1] && t.from[1] <= t.to[0] {
		return nil, nil, ask.Wrong("baseline_to", "the baseline, %s to %s, and the period overlap", when.Stamp(t.from[0]), when.Stamp(t.to[0]))
	}
	both := ask.Scope{KFL: in.KFL, Limit: in.Limit, All: in.All}
	v, err := both.Read(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	v.Notes = w.Notes
	v.And("ts_ns BETWEEN ? AND ? OR ts_ns BETWEEN ? AND ?", t.from[0], t.to[0], t.from[1], t.to[1])
	return t, v, nil
}

// later is the SQL condition for a call of the period, as opposed to the baseline.
func (t *times) later() string {
	return fmt.Sprintf("(ts_ns BETWEEN %d AND %d)", t.from[1], t.to[1])
}

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string { return strings.Join(a.Verdict[:min(1, len(a.Verdict))], "") }
