package compare

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// logBins is the number of bins per factor of e of latency: each bin is 2.5 % wide.
const logBins = 40

// changeRow is a Change as SQL returns it.
type changeRow struct {
	ask.Target
	Src   string    `json:"src"`
	N0    int64     `json:"n0"`
	N1    int64     `json:"n1"`
	F0    int64     `json:"f0"`
	F1    int64     `json:"f1"`
	P0    []float64 `json:"p0"`
	P1    []float64 `json:"p1"`
	Bins  []int64   `json:"bins"`
	H0    []int64   `json:"h0"`
	H1    []int64   `json:"h1"`
	First int64     `json:"first_key"`
}

// maxChanges is the highest number of services or endpoints that are compared.
const maxChanges = 2000

// read reads both windows of every service, or of every endpoint with a histogram of its latency.
func (t *times) read(ctx context.Context, c *forensics.Case, w *ask.Window, endpoints bool, f *ask.Frame) ([]changeRow, error) {
	keys, group, order := "bn, far", "bn, far", "1"
	if endpoints {
		keys, group, order = "bn, far, protocol, coalesce(method, '') AS method, "+terms.PathTemplate+" AS tpl", "bn, far, protocol, method, tpl", "1, protocol, method, tpl"
	}
	names := strings.TrimPrefix(strings.Replace(group, "bn, far", "", 1), ", ")
	if names != "" {
		names += ", "
	}
	bins, list, join := "", "", ""
	if endpoints {
		bins = fmt.Sprintf(`, b AS (SELECT %[1]s, (ln(elapsed_us + 1) * %[2]d)::INTEGER AS bin, count(*) FILTER (NOT later) AS c0, count(*) FILTER (later) AS c1 FROM y WHERE elapsed_us IS NOT NULL GROUP BY ALL),
			h AS (SELECT %[1]s, list(bin::BIGINT ORDER BY bin) AS bins, list(c0 ORDER BY bin) AS h0, list(c1 ORDER BY bin) AS h1 FROM b GROUP BY ALL)`, group, logBins)
		list, join = ", bins, h0, h1", fmt.Sprintf("LEFT JOIN h USING (%s)", group)
	}
	sql := w.Ends(c, "service") + fmt.Sprintf(`, y AS NOT MATERIALIZED (SELECT %[1]s, %[2]s AS later, failed, `+terms.Took+` AS elapsed_us, `+terms.Asked+` AS named, %[8]s AS k FROM x WHERE %[3]s),
		g AS (SELECT %[4]s, bool_or(named) AS asked, count(*) FILTER (NOT later) AS n0, count(*) FILTER (later) AS n1, count(*) FILTER (failed AND NOT later) AS f0, count(*) FILTER (failed AND later) AS f1, min(k) AS first_key,
			quantile_disc(elapsed_us, [0.5, 0.9, 0.99]) FILTER (NOT later) AS p0, quantile_disc(elapsed_us, [0.5, 0.9, 0.99]) FILTER (later) AS p1 FROM y GROUP BY ALL)%[5]s
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, %[6]s n0, n1, f0, f1, first_key, p0, p1%[9]s FROM g %[10]s JOIN dname USING (bn) ORDER BY n0 + n1 DESC, %[7]s`,
		keys, t.later(), terms.IsRequest, group, bins, names, order, terms.NumberOf(c), list, join)
	rows, more, err := ask.Rows[changeRow](ctx, c, maxChanges, sql, w.Args...)
	if err != nil {
		return nil, err
	}
	if more {
		f.Truncated = true
		f.Note("only the %d with the most calls were compared", maxChanges)
	}
	return rows, nil
}

// pairs reads both windows of every client and server, with a histogram of latency. Pairs with calls in
// one window only are news, and have a limit of their own.
func (t *times) pairs(ctx context.Context, c *forensics.Case, w *ask.Window, f *ask.Frame) ([]changeRow, error) {
	sql := w.Ends(c, "service") + fmt.Sprintf(`, b AS (SELECT an, bn, far, (ln(`+terms.Took+` + 1) * %[1]d)::INTEGER AS bin, bool_or(`+terms.Asked+`) AS named, min(%[2]s) AS k, count(*) FILTER (NOT %[3]s) AS c0, count(*) FILTER (%[3]s) AS c1,
			count(*) FILTER (failed AND NOT %[3]s) AS f0, count(*) FILTER (failed AND %[3]s) AS f1 FROM x WHERE %[4]s GROUP BY ALL),
		g AS (SELECT an, bn, far, bool_or(named) AS asked, min(k) AS first_key, sum(c0)::BIGINT AS n0, sum(c1)::BIGINT AS n1, sum(f0)::BIGINT AS f0, sum(f1)::BIGINT AS f1,
			list(bin::BIGINT ORDER BY bin) FILTER (bin IS NOT NULL) AS bins, list(c0 ORDER BY bin) FILTER (bin IS NOT NULL) AS h0, list(c1 ORDER BY bin) FILTER (bin IS NOT NULL) AS h1 FROM b GROUP BY ALL)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pb, asked, n0, n1, f0, f1, first_key, bins, h0, h1 FROM g JOIN sname USING (an) JOIN dname USING (bn)
		QUALIFY row_number() OVER (PARTITION BY n0 = 0 OR n1 = 0 ORDER BY n0 + n1 DESC, src, dst) <= %[5]d ORDER BY n0 + n1 DESC, 1, 2`,
		logBins, terms.NumberOf(c), t.later(), terms.IsRequest, maxChanges)
	rows, more, err := ask.Rows[changeRow](ctx, c, 2*maxChanges, sql, w.Args...)
	f.Truncated = f.Truncated || more
	return rows, err
}

// addBins gives services the sums of the histograms of their endpoints.
func addBins(services, endpoints []changeRow) {
	of := map[string][]*changeRow{}
	for i := range endpoints {
		of[endpoints[i].Dst] = append(of[endpoints[i].Dst], &endpoints[i])
	}
	for i := range services {
		s := &services[i]
		s.Bins, s.H0, s.H1 = sum(of[s.Dst])
	}
}

// sum adds histograms.
func sum(list []*changeRow) (at, h0, h1 []int64) {
	bins := map[int64][2]int64{}
	for _, r := range list {
		for k, b := range r.Bins {
			bins[b] = [2]int64{bins[b][0] + r.H0[k], bins[b][1] + r.H1[k]}
		}
	}
	for _, b := range slices.Sorted(maps.Keys(bins)) {
		at, h0, h1 = append(at, b), append(h0, bins[b][0]), append(h1, bins[b][1])
	}
	return at, h0, h1
}

// changes converts rows.
func (t *times) changes(rows []changeRow, known map[string]ask.Node) []Change {
	out := make([]Change, len(rows))
	for i := range rows {
		out[i] = rows[i].change(t, known)
	}
	return out
}

// total is all calls.
func (t *times) total(services []Change) []Change {
	var all changeRow
	var parts []*changeRow
	for _, s := range services {
		all.N0, all.N1, all.F0, all.F1 = all.N0+s.Calls[0], all.N1+s.Calls[1], all.F0+s.Failed[0], all.F1+s.Failed[1]
		parts = append(parts, &changeRow{Bins: s.of.bins, H0: s.of.counts[0], H1: s.of.counts[1]})
	}
	all.Bins, all.H0, all.H1 = sum(parts)
	return []Change{all.compared(t)}
}

func (r *changeRow) change(t *times, known map[string]ask.Node) Change {
	ch := r.compared(t)
	ch.KFL = ask.DstKFL(r.Dst, r.Pb, r.Asked, known)
	switch {
	case r.Protocol != "":
		ch.Endpoint = ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		ch.KFL += " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path)
	case r.Src != "":
		ch.KFL = ask.SrcKFL(r.Src, known) + " and " + ch.KFL + terms.NotCarriers
	default:
		ch.KFL += terms.NotCarriers
	}
	return ch
}

// compared are the numbers and effects of a row.
func (r *changeRow) compared(t *times) Change {
	minutes := [2]float64{t.minutes(0), t.minutes(1)}
	ch := Change{Src: r.Src, Dst: r.Dst, Calls: [2]int64{r.N0, r.N1}, Failed: [2]int64{r.F0, r.F1}, ErrorRate: [2]float64{ask.Share(r.F0, r.N0), ask.Share(r.F1, r.N1)}, Changed: []string{},
		PerMinute: [2]float64{plural.Significant(float64(r.N0)/minutes[0], 4), plural.Significant(float64(r.N1)/minutes[1], 4)}}
	ch.of = sample{calls: ch.Calls, failed: ch.Failed, bins: r.Bins, counts: [2][]int64{r.H0, r.H1}}
	if len(r.P0) == 3 && len(r.P1) == 3 {
		ch.of.p50 = []float64{r.P0[0], r.P1[0]}
	} else if n := ch.of.timed(); n[0] > 0 && n[1] > 0 {
		for _, q := range [...]float64{0.5, 0.9, 0.99} {
			a, _ := ch.of.quantile(0, n[0], q)
			b, _ := ch.of.quantile(1, n[1], q)
			r.P0, r.P1 = append(r.P0, a), append(r.P1, b)
		}
	}
	if len(r.P0) == 3 && len(r.P1) == 3 {
		for i, list := range []*[]float64{&ch.P50Ms, &ch.P90Ms, &ch.P99Ms} {
			*list = []float64{ask.Round(r.P0[i] / 1000), ask.Round(r.P1[i] / 1000)}
		}
	}
	var larger float64
	if ch.Latency, larger = ch.of.latency(); ch.Latency != nil {
		ch.Slower = &larger
	}
	ch.Slowest, ch.Errors, ch.Volume = ch.of.slowest(), ch.of.errors(), ch.of.volume(minutes)
	return ch
}
