// Package pairs counts calls by pair of workloads, for Prometheus.
//
// The number of pairs is bounded: calls of later ones are counted in one series whose labels are all "other". No pair
// is forgotten, so counters only grow.
package pairs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of a table.
const (
	MaxPairs = 500 // of workloads and protocol
	maxLabel = 200 // bytes
)

// Other is the label of the series that has the calls of further pairs.
const Other = "other"

// SQL counts the calls of a case by pair. Its arguments are Bounds.
const SQL = counts + grouped

// SQLBut leaves out the calls with some identities, in capital hexadecimal digits: its last argument.
const SQLBut = counts + " WHERE NOT list_contains($10, hex(call_id))" + grouped

const grouped = " GROUP BY ALL ORDER BY n DESC, source, destination, protocol"

const counts = `SELECT coalesce(src_who, '') AS source, coalesce(dst_who, '') AS destination, protocol,
	count(*) AS n,
	count(*) FILTER (outcome = 'client_error') AS client_error, count(*) FILTER (outcome = 'server_error') AS server_error,
	count(*) FILTER (outcome = 'refused') AS refused, count(*) FILTER (outcome = 'no_answer') AS no_answer,
	count(elapsed_us) AS timed,
	coalesce(sum(elapsed_us), 0)::BIGINT AS us,
	count(*) FILTER (elapsed_us <= $1) AS b1, count(*) FILTER (elapsed_us <= $2) AS b2, count(*) FILTER (elapsed_us <= $3) AS b3,
	count(*) FILTER (elapsed_us <= $4) AS b4, count(*) FILTER (elapsed_us <= $5) AS b5, count(*) FILTER (elapsed_us <= $6) AS b6,
	count(*) FILTER (elapsed_us <= $7) AS b7, count(*) FILTER (elapsed_us <= $8) AS b8, count(*) FILTER (elapsed_us <= $9) AS b9
FROM calls`

// failures are the outcomes of failed calls.
var failures = [...]string{"client_error", "server_error", "refused", "no_answer"}

// bounds of the histogram in microseconds.
var bounds = [...]int64{1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000}

// Bounds are the arguments of SQL.
func Bounds() (list []any) {
	for _, us := range bounds {
		list = append(list, us)
	}
	return list
}

// Pair is the names of two workloads and a protocol.
type Pair struct {
	Source      string `json:"src_who"`
	Destination string `json:"dst_who"`
	Protocol    string `json:"protocol"`
}

// Row is the row of a pair that SQL returns.
type Row struct {
	Pair
	Counts
}

// Counts are the counters of a pair.
type Counts struct {
	Calls  int64
	Failed [len(failures)]int64 // calls with each of these outcomes
	Timed  int64
	Micros int64              // of all timed calls together
	Within [len(bounds)]int64 // calls that took up to each of the bounds
}

// RowOf returns a row of SQL.
func RowOf(values []any) (Row, error) {
	var r Row
	texts := []*string{&r.Source, &r.Destination, &r.Protocol}
	numbers := []*int64{&r.Calls}
	for i := range r.Failed {
		numbers = append(numbers, &r.Failed[i])
	}
	numbers = append(numbers, &r.Timed, &r.Micros)
	for i := range r.Within {
		numbers = append(numbers, &r.Within[i])
	}
	if len(values) != len(texts)+len(numbers) {
		return r, fmt.Errorf("counting pairs: a row has %d columns instead of %d", len(values), len(texts)+len(numbers))
	}
	for i, v := range values {
		ok := false
		if i < len(texts) {
			*texts[i], ok = v.(string)
		} else {
			*numbers[i-len(texts)], ok = v.(int64)
		}
		if !ok {
			return r, fmt.Errorf("counting pairs: value %d of a row is %T", i, v)
		}
	}
	return r, nil
}

// Table has the counters of all pairs since it was made. It is safe for concurrent use.
type Table struct {
	mu    sync.Mutex
	pairs map[Pair]*Counts
	gaps  map[string]int64 // by reason
	fails int64            // to count the calls of a cut
}

// New returns an empty table.
func New() *Table { return &Table{pairs: map[Pair]*Counts{}, gaps: map[string]int64{}} }

// Add adds the calls of a cut, and the reasons of its coverage gaps.
func (t *Table) Add(rows []Row, gaps []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range rows {
		t.of(rows[i].Pair).add(&rows[i].Counts)
	}
	for _, reason := range gaps {
		t.gaps[reason]++
	}
}

// Fail counts a failure to count the calls of a cut.
func (t *Table) Fail() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails++
}

// of returns the counters of a pair, or of the others.
func (t *Table) of(p Pair) *Counts {
	p = Pair{label(p.Source), label(p.Destination), label(p.Protocol)}
	if c := t.pairs[p]; c != nil {
		return c
	}
	if len(t.pairs) >= MaxPairs-1 {
		if p = (Pair{Other, Other, Other}); t.pairs[p] != nil {
			return t.pairs[p]
		}
	}
	c := &Counts{}
	t.pairs[p] = c
	return c
}

// label returns a name as a valid label: names come from the network.
func label(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxLabel)], "�")
}

func (c *Counts) add(d *Counts) {
	c.Calls, c.Timed, c.Micros = c.Calls+d.Calls, c.Timed+d.Timed, c.Micros+d.Micros
	for i := range c.Failed {
		c.Failed[i] += d.Failed[i]
	}
	for i := range c.Within {
		c.Within[i] += d.Within[i]
	}
}

var (
	labels       = []string{"source", "destination", "protocol"}
	callsDesc    = prometheus.NewDesc("pcapsule_live_calls_total", "Finished calls by workload of the client, workload of the server and protocol.", labels, nil)
	failedDesc   = prometheus.NewDesc("pcapsule_live_failed_calls_total", "Finished calls that failed, also by outcome.", append(labels, "outcome"), nil)
	durationDesc = prometheus.NewDesc("pcapsule_live_call_duration_seconds", "Time from the first byte of a request to the last one of its response.", labels, nil)
	gapsDesc     = prometheus.NewDesc("pcapsule_live_gaps_total", "Coverage gaps that cuts of the live run stated, by reason: calls may be missing.", []string{"reason"}, nil)
	failsDesc    = prometheus.NewDesc("pcapsule_live_count_failures_total", "Attempts to count calls that failed; the next one counts their calls, too.", nil, nil)
)

// Describe implements prometheus.Collector.
func (t *Table) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsDesc, failedDesc, durationDesc, gapsDesc, failsDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (t *Table) Collect(out chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, p := range t.sorted() {
		c := t.pairs[p]
		count(callsDesc, c.Calls, p.Source, p.Destination, p.Protocol)
		for i, outcome := range failures {
			count(failedDesc, c.Failed[i], p.Source, p.Destination, p.Protocol, outcome)
		}
		buckets := map[float64]uint64{}
		for i, us := range bounds {
			buckets[float64(us)/1e6] = uint64(c.Within[i])
		}
		out <- prometheus.MustNewConstHistogram(durationDesc, uint64(c.Timed), float64(c.Micros)/1e6, buckets, p.Source, p.Destination, p.Protocol)
	}
	for reason, n := range t.gaps {
		count(gapsDesc, n, reason)
	}
	count(failsDesc, t.fails)
}

func (t *Table) sorted() (list []Pair) {
	for p := range t.pairs {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Pair) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Destination, b.Destination), strings.Compare(a.Protocol, b.Protocol))
	})
	return list
}
