package tools

import (
	"context"
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// ChartFilter selects the calls of a chart: a KFL filter and a time range in milliseconds since
// 1970 UTC, both ends inclusive; 0 leaves an end open.
type ChartFilter struct {
	KFL      string
	From, To int64
}

func (f ChartFilter) window(ctx context.Context, a *Invocation, limit int) (*ask.Window, error) {
	scope := ask.Scope{KFL: f.KFL, Limit: limit}
	if f.From != 0 {
		scope.From = when.Stamp(f.From * int64(time.Millisecond))
	}
	if f.To != 0 {
		// A millisecond includes all its nanoseconds.
		scope.To = when.Stamp((f.To+1)*int64(time.Millisecond) - 1)
	}
	return scope.Read(ctx, a.Case)
}

// Buckets are calls over time.
type Buckets struct {
	From     float64      `json:"from_ms" jsonschema:"start of the time range, milliseconds since 1970 UTC"`
	To       float64      `json:"to_ms" jsonschema:"end of the time range"`
	Length   float64      `json:"length_ms" jsonschema:"length of a bucket"`
	Buckets  []Bucket     `json:"buckets" jsonschema:"the buckets with calls, by time"`
	Calls    int64        `json:"calls"`
	Failed   int64        `json:"failed"`
	Gaps     []Gap        `json:"gaps" jsonschema:"coverage gaps within the time range"`
	Coverage ask.Coverage `json:"coverage"`
}

// Bucket is the calls that began in one step of time.
type Bucket struct {
	No     int64    `json:"no" jsonschema:"the bucket begins at from_ms + no * length_ms"`
	Calls  int64    `json:"calls"`
	Failed int64    `json:"failed"`
	P50    *float64 `json:"p50_ms" jsonschema:"median duration; null: no call has one"`
	P99    *float64 `json:"p99_ms"`
}

// Gap is a coverage gap on a chart.
type Gap struct {
	From   float64 `json:"from_ms"`
	To     float64 `json:"to_ms"`
	Reason string  `json:"reason"`
	Lost   int64   `json:"packets,omitempty" jsonschema:"packets known to be lost"`
	Source string  `json:"source,omitempty" jsonschema:"interface, node or file"`
}

// DefaultBuckets is the number of buckets if a client does not choose one; MaxBuckets is the most.
const (
	DefaultBuckets = 120
	MaxBuckets     = 1000
)

// Buckets counts the calls that match a filter in equal steps of time.
func (a *Invocation) Buckets(ctx context.Context, f ChartFilter, steps int64) (Buckets, error) {
	w, err := f.window(ctx, a, MaxBuckets)
	if err != nil {
		return Buckets{}, err
	}
	each := max(1, (w.To-w.From)/steps+1)
	sql := fmt.Sprintf(`SELECT (ts_ns - %[1]d) // %[2]d AS no, count(*) AS calls, count(*) FILTER (failed) AS failed,
		quantile_disc(elapsed_us, 0.5) / 1000 AS p50_ms, quantile_disc(elapsed_us, 0.99) / 1000 AS p99_ms
		FROM %[3]s WHERE %[4]s GROUP BY 1 ORDER BY 1`, w.From, each, callsOf(w), w.Where)
	out := Buckets{From: millis(w.From), To: millis(w.To), Length: millis(each), Gaps: []Gap{}}
	if out.Buckets, _, err = ask.Rows[Bucket](ctx, a.Case, MaxBuckets+1, sql, w.Args...); err != nil {
		return out, err
	}
	for _, b := range out.Buckets {
		out.Calls, out.Failed = out.Calls+b.Calls, out.Failed+b.Failed
	}
	cov, err := a.Case.Coverage(w.From, w.To)
	if err != nil {
		return out, err
	}
	for _, h := range cov.Holes {
		out.Gaps = append(out.Gaps, Gap{millis(h.From), millis(h.To), h.Reason, h.Packets, h.Source})
	}
	out.Coverage = ask.CoverageOf(cov)
	return out, nil
}

// callsOf returns the relation that a window reads. A filter may use columns of the ends.
func callsOf(w *ask.Window) string {
	if w.KFL != "" {
		return "calls"
	}
	return "calls_raw"
}

func millis(ns int64) float64 { return float64(ns) / 1e6 }

// Groups are calls by the values of one field.
type Groups struct {
	By       string       `json:"by"`
	Groups   []Group      `json:"groups" jsonschema:"the groups with most calls first"`
	More     bool         `json:"truncated" jsonschema:"there are more groups"`
	Coverage ask.Coverage `json:"coverage"`
}

// Group is the calls with one value of a field.
type Group struct {
	Value  string   `json:"value" jsonschema:"empty: the calls without a value"`
	Calls  int64    `json:"calls"`
	Failed int64    `json:"failed"`
	P50    *float64 `json:"p50_ms"`
	P99    *float64 `json:"p99_ms"`
	First  string   `json:"first" jsonschema:"start of the first call, RFC 3339"`
	Last   string   `json:"last"`
	KFL    string   `json:"kfl,omitempty" jsonschema:"KFL filter for the calls of this group; none if its value is masked"`
}

// GroupBy lists the usual fields to group calls by.
var GroupBy = []string{"to", "from", "endpoint", "outcome", "status_code", "protocol", "method", "host", "namespace", "user_agent"}

// GroupCalls counts the calls that match a filter by the values of one field.
func (a *Invocation) GroupCalls(ctx context.Context, f ChartFilter, by string, limit int) (Groups, error) {
	field, err := ask.GroupingBy(by)
	if err != nil {
		return Groups{}, store.BadRequest("%v", err)
	}
	w, err := f.window(ctx, a, limit)
	if err != nil {
		return Groups{}, err
	}
	sql := fmt.Sprintf(`SELECT coalesce(%[1]s::VARCHAR, '') AS value, count(*) AS calls, count(*) FILTER (failed) AS failed,
		quantile_disc(elapsed_us, 0.5) / 1000 AS p50_ms, quantile_disc(elapsed_us, 0.99) / 1000 AS p99_ms,
		make_timestamp_ns(min(ts_ns)) AS first, make_timestamp_ns(max(ts_ns)) AS last
		FROM calls WHERE %[2]s GROUP BY 1 ORDER BY calls DESC, value LIMIT %[3]d`, quote.Ident(field.Column), w.Where, limit+1)
	out := Groups{By: by}
	if out.Groups, _, err = ask.Rows[Group](ctx, a.Case, limit+1, sql, w.Args...); err != nil {
		return out, err
	}
	if out.More = len(out.Groups) > limit; out.More {
		out.Groups = out.Groups[:limit]
	}
	for i := range out.Groups {
		g := &out.Groups[i]
		if a.Policy != nil {
			g.Value, _ = a.Policy.Value(field.Column, g.Value).(string)
		}
		g.KFL = field.KFL(g.Value)
	}
	cov, err := a.Case.Coverage(w.From, w.To)
	out.Coverage = ask.CoverageOf(cov)
	return out, err
}

// Completions are the completions at a place of a KFL filter.
type Completions struct {
	Completions []Completion `json:"completions"`
}

// Completion replaces the bytes from Start to End of the filter with Text.
type Completion struct {
	Text  string `json:"text"`
	Kind  string `json:"kind" jsonschema:"field, word, macro, column, function, method, operator or value"`
	Doc   string `json:"doc,omitempty"`
	Start int    `json:"start" jsonschema:"bytes of UTF-8 before the replaced text"`
	End   int    `json:"end"`
}

// maxCompletions is how many completions an answer lists.
const maxCompletions = 50

// CompleteKFL completes a KFL filter at byte pos with its names and those of the case.
func (a *Invocation) CompleteKFL(ctx context.Context, text string, pos int) Completions {
	out := Completions{Completions: []Completion{}}
	for _, c := range kfl.CompleteIn(text, pos, a.Case.Language(ctx, nil)) {
		if len(out.Completions) == maxCompletions {
			break
		}
		out.Completions = append(out.Completions, Completion{c.Text, c.Kind, ask.Clip(c.Doc, 200), c.Start, c.End})
	}
	return out
}
