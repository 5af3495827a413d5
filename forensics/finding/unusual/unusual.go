// Package unusual finds changes in the behaviour of workloads: new destinations and clients, and
// unusually high volumes.
//
// The baseline is the time before the requested window. Without a window, the last quarter of the
// recording is compared with the first three. A workload that is itself new is ignored.
package unusual

import (
	"context"
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/internal/stats"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Analyzer returns the analyzer unusual.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "unusual", Basis: finding.OfFlows, Title: "new destinations and unusual volumes",
		Doc: "Pairs of workloads with traffic in the window but not before it, and pairs whose bytes or connections per hour are at least five times as high as before; the time before the window is the baseline.", Steps: []finding.Step{{Find: find}}}
}

// Conditions of a confidence above a guess.
const (
	enoughBefore = 6   // connections before the window, for a volume that depends on their sizes
	sureTimes    = 2.0 // the connections per hour are at least this many times as many, at the lower end of the interval
)

func find(ctx context.Context, l *finding.Look) error {
	first, last, ok := l.Case.Window()
	if !ok {
		return nil
	}
	from, to := l.From, min(l.To, last)
	if from > last || to < first {
		return nil // nothing was recorded in the window
	}
	whole := from <= first
	if whole {
		from = to - (to-first)/4
	}
	if to <= from { // the question is about one instant
		return nil
	}
	if from-first < 1e9 {
		l.Note("less than 1 second was recorded before %s: too little for a baseline", when.Stamp(from))
		return nil
	}
	if whole {
		l.Note("nothing was recorded before the window: the time from %s on, its last quarter, is compared with the time before", when.Stamp(from))
	}
	// The rest of an evicted flow is another flow, so in the window only that one counts.
	base, asked := float64(from-first)/3.6e12, float64(to-from)/3.6e12 // hours
	rows, err := l.Rows(ctx, l.NamedFlows(`(close_reason <> 'evicted' OR first_ns < $1) AND `+l.OnceIf(fmt.Sprintf("first_ns <= %d", to), ask.Earliest))+`,
		w AS (SELECT `+terms.Who("src_")+` AS src, dst, proxy, dst_outside, beyond, first_ns, last_ns, `+terms.FlowID(l.Case)+` AS flow_id, src_bytes + dst_bytes AS bytes, src_bytes,
				first_ns >= $1 AS now FROM f),
		known AS (SELECT src FROM w WHERE NOT now GROUP BY 1 HAVING count(*) >= 5),
		p AS (SELECT src, dst, `+finding.Ways+`, count(*) FILTER (now) AS n, count(*) FILTER (NOT now) AS before, coalesce(sum(bytes) FILTER (now), 0) AS bytes,
			coalesce(sum(bytes) FILTER (NOT now), 0) AS bytes_before, coalesce(sum(src_bytes) FILTER (now), 0) AS sent, min(first_ns) FILTER (now) AS first_ns, max(last_ns) FILTER (now) AS last_ns,
			arg_min(flow_id, (first_ns, flow_id), 3) FILTER (now) AS flow_ids FROM w GROUP BY src, dst)
		SELECT src, dst, CASE WHEN before = 0 THEN 'new' WHEN n >= 10 AND bytes > 100000 AND bytes / $2 > 5 * bytes_before / $3 THEN 'bytes' ELSE 'connections' END AS detail, via, outside, beyond,
			n AS count, before AS "of", bytes::DOUBLE AS number, bytes_before::DOUBLE AS number2, first_ns, last_ns, flow_ids, ['sent ' || sent || ' bytes'] AS evidence
		FROM p WHERE n > 0 AND src IN (SELECT src FROM known)
			AND (before = 0 OR n >= 10 AND bytes > 100000 AND bytes / $2 > 5 * bytes_before / $3 OR n >= 20 AND n / $2 > 5 * before / $3)
		ORDER BY before = 0 DESC, outside OR beyond DESC, count DESC, src, dst`, from, asked, base)
	if err != nil {
		return err
	}
	rest, crowds := finding.Crowds(rows, func(r finding.Row) bool { return r.Detail == "new" })
	for _, r := range crowds {
		l.Add(r, finding.Finding{Kind: "new", Severity: finding.Medium, Confidence: finding.Exact,
			What: plural.Sprintf("%s had traffic with %d {destination|destinations} since %s, in %d {connection|connections} with %.0f bytes, but with none of them from %s until then", r.Src, r.Of, when.Stamp(from), r.Count, r.Number, when.Stamp(first))})
	}
	for _, r := range rest {
		f := finding.Finding{Kind: r.Detail, Severity: finding.Low, Confidence: finding.Exact}
		switch r.Detail {
		case "new":
			f.What = plural.Sprintf("%s had no traffic with %s from %s to %s, but since then %d {connection|connections} with %.0f bytes", r.Src, r.Dst, when.Stamp(first), when.Stamp(from), r.Count, r.Number)
			// A pair that always has this many connections would have none before with this probability.
			if math.Pow(asked/(asked+base), float64(r.Count)) > stats.Level {
				f.Confidence = finding.Likely
				f.What += "; too few connections to be sure that the pair is new"
			}
			if r.Outside {
				f.Severity = finding.Medium
			}
		default:
			f.Severity = finding.Medium
			f.What = plural.Sprintf("%s to %s: %d {connection|connections} and %.0f bytes in %.1f hours, compared with %d and %.0f in %.1f hours before: unusual %s", r.Src, r.Dst, r.Count, r.Number, asked, r.Of, r.Number2, base, r.Detail)
			switch rate := stats.RateRatio(float64(r.Of), base, float64(r.Count), asked, 1); {
			case r.Detail == "bytes" && r.Of < enoughBefore:
				f.Confidence = finding.Guess
				f.What += ", but too few connections before to be sure"
			case r.Detail == "connections":
				f.What += fmt.Sprintf(" (%s times as many per hour, 95 %% interval %s to %s)", plural.Digits(float64(r.Count)/asked/(float64(r.Of)/base), 3), plural.Digits(rate.Low, 3), plural.Digits(rate.High, 3))
				if rate.Low < sureTimes {
					f.Confidence = finding.Guess
					f.What += ", but too few to be sure"
				}
			}
		}
		l.Add(r, f)
	}
	return nil
}
