package latency

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// CapacityIn is the input of get_capacity.
type CapacityIn struct {
	ask.Scope
	Service string `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address"`
	Path    string `json:"path,omitempty" jsonschema:"only calls with this path; * matches any text"`
	By      string `json:"by,omitempty" jsonschema:"what a row is (default endpoint)"`
	Bucket  string `json:"bucket,omitempty" jsonschema:"length of a step, such as 1h; default 1h if the window has at least six hours, otherwise a twelfth of it"`
	Series  bool   `json:"series,omitempty" jsonschema:"also list all steps of each row"`
}

// Capacity is the answer of get_capacity.
type Capacity struct {
	ask.Frame
	BucketSeconds float64  `json:"bucket_seconds"`
	Buckets       int64    `json:"buckets" jsonschema:"whole steps in the window; one that lacks at most a hundredth is whole"`
	Calls         int64    `json:"calls" jsonschema:"requests, without handshakes and unknown payload"`
	Rows          []Volume `json:"rows" jsonschema:"most calls first"`
}

// Volume is the volume of one endpoint or service.
type Volume struct {
	Dst           string       `json:"dst"`
	Endpoint      string       `json:"endpoint,omitempty"`
	Calls         int64        `json:"calls"`
	Partial       int64        `json:"partial_calls,omitempty" jsonschema:"of these, calls in the last step if the window ends before it does; mean, peak, trend and headroom leave them out"`
	PerBucket     float64      `json:"mean_per_bucket"`
	Peak          int64        `json:"peak_calls" jsonschema:"calls in the busiest step"`
	PeakAt        string       `json:"peak_at,omitempty"`
	PeakPerSecond float64      `json:"peak_per_second" jsonschema:"mean over the busiest step"`
	PeakToMean    float64      `json:"peak_to_mean"`
	TrendPercent  *float64     `json:"trend_percent_per_bucket,omitempty" jsonschema:"slope of the least-squares line, relative to the mean; absent if it may be chance"`
	Trend         string       `json:"trend" jsonschema:"growing, falling, steady, or unknown: too few steps or calls to be sure"`
	BusyShare     float64      `json:"in_flight_mean" jsonschema:"mean number of calls in flight: rate times mean time (Little's law)"`
	PeakBusy      float64      `json:"in_flight_peak" jsonschema:"the same for the busiest step"`
	QuietP99Ms    *float64     `json:"quiet_p99_ms,omitempty" jsonschema:"p99 in the quieter half of the steps"`
	BusyP99Ms     *float64     `json:"busy_p99_ms,omitempty" jsonschema:"p99 in the tenth of the steps with the most calls"`
	Headroom      string       `json:"headroom" jsonschema:"shrinking: latency rises with load; none_seen: it does not, so no limit is visible; or unknown: too few calls, or a load that hardly varies"`
	Words         string       `json:"words"`
	RequestP50    int64        `json:"request_bytes_p50"`
	RequestMax    int64        `json:"request_bytes_max"`
	ResponseP50   int64        `json:"response_bytes_p50"`
	ResponseP99   int64        `json:"response_bytes_p99"`
	ResponseMax   int64        `json:"response_bytes_max"`
	MB            float64      `json:"mb" jsonschema:"payload in both directions, million bytes"`
	Series        []VolumeStep `json:"series,omitempty"`
	KFL           string       `json:"kfl"`
}

// VolumeStep is one time step of a row.
type VolumeStep struct {
	From  string  `json:"from"`
	Calls int64   `json:"calls"`
	MB    float64 `json:"mb"`
	P99Ms float64 `json:"p99_ms"`
}

// CapacityQuestion is the question get_capacity.
func CapacityQuestion() ask.Question {
	return ask.New("get_capacity", "Traffic volume and growth", "Volumes and sizes by endpoint or service and time step (1 h by default): peaks, trend, calls in flight, whether latency rises with load (headroom).", false, AskCapacity).
		Allow("by", "endpoint", "service")
}

// loadRow is a Volume as SQL returns it, with its steps in order.
type loadRow struct {
	ask.Target
	Calls       int64     `json:"calls"`
	RequestP50  int64     `json:"request_p50"`
	RequestMax  int64     `json:"request_max"`
	ResponseP   []int64   `json:"response_p"`
	ResponseMax int64     `json:"response_max"`
	Bytes       int64     `json:"bytes"`
	Steps       []int64   `json:"steps"`
	Counts      []int64   `json:"counts"`
	StepBytes   []int64   `json:"step_bytes"`
	Busy        []float64 `json:"busy"`
	P99         []float64 `json:"p99"`
}

// AskCapacity answers get_capacity.
func AskCapacity(ctx context.Context, c *forensics.Case, in CapacityIn) (*Capacity, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Bucket == "" {
		in.Bucket = time.Hour.String()
		if span := w.To - w.From + 1; span < 6*int64(time.Hour) {
			in.Bucket = time.Duration(max(1, (span+11)/12)).String()
		} else if hours := span / int64(time.Hour); hours >= maxSteps { // one packet with a wrong timestamp makes such a window
			in.Bucket = (time.Duration(hours/(maxSteps-1)+1) * time.Hour).String()
		}
	}
	step, err := bucket(w, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := w.Narrow(c, in.Service, "", in.Path); err != nil {
		return nil, err
	}
	out := &Capacity{BucketSeconds: ask.Round(float64(step) / 1e9), Buckets: (w.To - w.From + 1 + step/100) / step}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	keys, group, names := "bn, far, protocol, coalesce(method, '') AS method, "+terms.PathTemplate+" AS tpl", "bn, far, protocol, method, tpl", "protocol, method, tpl, "
	if in.By == "service" {
		keys, group, names = "bn, far", "bn, far", ""
	}
	sql := w.Ends(c, "service") + fmt.Sprintf(`, y AS NOT MATERIALIZED (SELECT %[1]s, (ts_ns - %[2]d) // %[3]d AS step, `+terms.Took+` AS elapsed_us, request_bytes, response_bytes, `+terms.Asked+` AS named FROM x WHERE %[4]s),
		s AS (SELECT %[5]s, step, count(*) AS n, sum(request_bytes + response_bytes)::BIGINT AS bytes, coalesce(sum(elapsed_us), 0) * 1000.0 / %[3]d AS busy, coalesce(quantile_disc(elapsed_us, 0.99), 0) / 1000.0 AS p99 FROM y GROUP BY ALL),
		l AS (SELECT %[5]s, list(step ORDER BY step) AS steps, list(n ORDER BY step) AS counts, list(bytes ORDER BY step) AS step_bytes, list(busy ORDER BY step) AS busy, list(p99 ORDER BY step) AS p99 FROM s GROUP BY ALL),
		g AS (SELECT %[5]s, bool_or(named) AS asked, count(*) AS calls, quantile_disc(request_bytes, 0.5) AS request_p50, max(request_bytes) AS request_max, quantile_disc(response_bytes, [0.5, 0.99]) AS response_p, max(response_bytes) AS response_max, sum(request_bytes + response_bytes)::BIGINT AS bytes FROM y GROUP BY ALL)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, %[6]s calls, request_p50, request_max, response_p, response_max, bytes, steps, counts, step_bytes, busy, p99
		FROM g JOIN l USING (%[5]s) JOIN dname USING (bn) ORDER BY calls DESC, %[6]s 1`, keys, w.From, step, terms.IsRequest, group, names)
	rows, more, err := ask.Rows[loadRow](ctx, c, w.Limit, sql, w.Args...)
	if err != nil {
		return nil, err
	}
	out.Truncated = more
	known, err := ask.Nodes(ctx, c, "service")
	if err != nil {
		return nil, err
	}
	list := make([]Volume, len(rows))
	for i := range rows {
		list[i] = rows[i].load(w.From, step, max(1, out.Buckets), in.Series)
		list[i].KFL = ask.DstKFL(rows[i].Dst, rows[i].Pb, rows[i].Asked, known)
		if in.By == "service" {
			list[i].KFL += terms.NotCarriers
		} else {
			list[i].Endpoint = ask.Clip(terms.EndpointName(rows[i].Protocol, rows[i].Method, rows[i].Path), 200)
			list[i].KFL += " and " + terms.EndpointKFL(rows[i].Protocol, rows[i].Method, rows[i].Path)
		}
	}
	if out.Calls, err = ask.Count(ctx, c, fmt.Sprintf("SELECT count(*) AS n FROM %s WHERE %s AND %s", "calls", w.Where, terms.IsRequest), w.Args...); err != nil {
		return nil, err
	}
	if out.Coverage.State != "complete" {
		out.Note("the window was not recorded completely: a step without calls may not have been recorded")
	}
	out.Rows = ask.Fit(w, &out.Frame, list)
	out.Match(len(out.Rows))
	return out, nil
}

// load converts one row. Steps without calls count as 0. An incomplete last step counts in the totals and the series alone.
func (r *loadRow) load(from, step, buckets int64, series bool) Volume {
	l := Volume{Dst: r.Dst, Calls: r.Calls, RequestP50: r.RequestP50, RequestMax: r.RequestMax, ResponseMax: r.ResponseMax, MB: float64(r.Bytes) / 1e6}
	if len(r.ResponseP) == 2 {
		l.ResponseP50, l.ResponseP99 = r.ResponseP[0], r.ResponseP[1]
	}
	if series {
		for i, s := range r.Steps[:min(len(r.Steps), maxSteps)] {
			l.Series = append(l.Series, VolumeStep{when.Stamp(from + s*step), r.Counts[i], float64(r.StepBytes[i]) / 1e6, r.P99[i]})
		}
	}
	if last := len(r.Steps) - 1; last >= 0 && r.Steps[last] >= buckets {
		l.Partial = r.Counts[last]
		r.Steps, r.Counts, r.Busy, r.P99 = r.Steps[:last], r.Counts[:last], r.Busy[:last], r.P99[:last]
	}
	counts := make([]float64, buckets)
	var busy, all float64
	for i, s := range r.Steps {
		counts[max(0, s)] += float64(r.Counts[i])
		all += float64(r.Counts[i])
		busy += r.Busy[i]
		if r.Counts[i] > l.Peak {
			l.Peak, l.PeakAt, l.PeakBusy = r.Counts[i], when.Stamp(from+s*step), ask.Round(r.Busy[i])
		}
	}
	mean := all / float64(buckets)
	l.PerBucket, l.PeakPerSecond, l.BusyShare = ask.Round(mean), ask.Round(float64(l.Peak)/(float64(step)/1e9)), ask.Round(busy/float64(buckets))
	if mean > 0 {
		l.PeakToMean = ask.Round(float64(l.Peak) / mean)
	}
	l.trend(counts, mean)
	l.headroom(r)
	l.Words = l.words(mean)
	return l
}

// words is the row in words.
func (l *Volume) words(mean float64) string {
	if l.Peak == 0 {
		return plural.Sprintf("%d {call|calls} in the last step, which is incomplete, and none before.", l.Partial)
	}
	more := ""
	if l.Partial > 0 {
		more = plural.Sprintf("; %d more {call|calls} in the last step, which is incomplete", l.Partial)
	}
	return fmt.Sprintf("%s per step on average, %d at most (%s per second, from %s on)%s; %s; %s.", plural.Amount(mean, 4, "call", "calls"), l.Peak, plural.Digits(l.PeakPerSecond, 3), l.PeakAt, more,
		map[string]string{"growing": "growing", "falling": "falling", "steady": "no trend", "unknown": "too few steps or calls to be sure of a trend"}[l.Trend],
		map[string]string{"none_seen": "latency does not rise with load", "shrinking": "latency rises with load", "unknown": "too few calls, or too even a load, to see whether latency rises with load"}[l.Headroom])
}

// minTrend is the lowest number of steps for a trend.
const minTrend = 6

// largeTrend is a change over all steps, relative to their mean, that must be excluded to call them steady.
const largeTrend = 0.5

// trend fits a line to the steps. There is a trend if the slope differs from 0 by more than two and
// a half standard errors, and none if this far from the slope the change over all steps is not large.
func (l *Volume) trend(counts []float64, mean float64) {
	l.Trend = "unknown"
	n := float64(len(counts))
	if len(counts) < minTrend || mean == 0 {
		return
	}
	var sxy, sxx float64
	middle := (n - 1) / 2
	for i, y := range counts {
		sxy += (float64(i) - middle) * (y - mean)
		sxx += (float64(i) - middle) * (float64(i) - middle)
	}
	slope := sxy / sxx
	rest := 0.0
	for i, y := range counts {
		d := y - mean - slope*(float64(i)-middle)
		rest += d * d
	}
	percent := ask.Round(100 * slope / mean)
	margin := 2.5 * math.Sqrt(rest/(n-2)/sxx)
	if math.Abs(slope) <= margin {
		if (math.Abs(slope)+margin)*(n-1) <= largeTrend*mean {
			l.Trend = "steady"
		}
		return
	}
	l.Trend = "steady"
	l.TrendPercent = &percent
	switch {
	case math.Abs(percent) < 0.5:
	case slope > 0:
		l.Trend = "growing"
	default:
		l.Trend = "falling"
	}
}

// headroom compares the p99 of busy steps with that of quiet ones.
func (l *Volume) headroom(r *loadRow) {
	l.Headroom = "unknown"
	order := byCount(r.Counts)
	if len(order) < minTrend || r.Calls-l.Partial < 10*int64(len(order)) {
		return
	}
	var quiet, busy []float64
	for i, at := range order {
		if i < len(order)/2 {
			quiet = append(quiet, r.P99[at])
		}
		if i >= len(order)-max(1, len(order)/10) {
			busy = append(busy, r.P99[at])
		}
	}
	q, b := middleOf(quiet), middleOf(busy)
	l.QuietP99Ms, l.BusyP99Ms = &q, &b
	switch {
	case float64(r.Counts[order[len(order)-1]]) <= 1.2*float64(r.Counts[order[0]]):
	case b > 1.5*q:
		l.Headroom = "shrinking"
	default:
		l.Headroom = "none_seen"
	}
}

// Sentence is the answer in one sentence.
func (a *Capacity) Sentence() string {
	s := plural.Sprintf("%d {call|calls} in %d {step|steps} of %s s", a.Calls, a.Buckets, plural.Digits(a.BucketSeconds, 4))
	if len(a.Rows) > 0 {
		s += "; most to " + strings.TrimSpace(a.Rows[0].Dst+" "+a.Rows[0].Endpoint) + ": " + a.Rows[0].Words
	}
	return strings.TrimSuffix(s, ".") + "."
}
