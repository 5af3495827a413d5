package ask

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// maxNews is how much of each kind is read.
const maxNews = 500

// newsRow is a thing that one of two times lacks, as SQL gives it.
type newsRow struct {
	News
	N0 int64 `json:"n0"`
	N1 int64 `json:"n1"`
}

// news finds what only one of the two times has.
func (o *Compare) news(ctx context.Context, c *forensics.Case, w *window, t *times) error {
	o.New, o.Vanished = []News{}, []News{}
	if o.Baseline.Calls == 0 || o.Period.Calls == 0 {
		o.note("one of the two times has no calls: everything would be new or vanished, so neither is listed")
		return nil
	}
	status := `CASE WHEN protocol IN ('http1', 'http2', 'http3') THEN coalesce(status_code::VARCHAR, error, 'no answer') ELSE coalesce(status_text, error, CASE WHEN failed THEN 'failed' ELSE 'ok' END) END`
	const far = "coalesce(nullif(far, ''), dst) AS dst"
	for _, q := range []struct{ kind, keys, columns string }{
		{"endpoint", "bn, far, " + endpoint + " AS what", "'endpoint' AS kind, " + far + ", what"},
		{"dependency", "an, bn, far", "CASE WHEN pb = 'outside' THEN 'destination' ELSE 'dependency' END AS kind, src, " + far},
		{"status", "bn, far, protocol || ' ' || " + status + " AS what", "'status' AS kind, " + far + ", what"},
	} {
		join := "JOIN dname USING (bn)"
		if q.kind == "dependency" {
			join += " JOIN sname USING (an)"
		}
		rows, more, err := readRows[newsRow](ctx, c, maxNews, w.ends(c, "service")+fmt.Sprintf(`SELECT %s, n0, n1, n0 + n1 AS calls, call_ids FROM (SELECT %s, count(*) FILTER (NOT %[3]s) AS n0, count(*) FILTER (%[3]s) AS n1, %s FROM x WHERE %s GROUP BY ALL HAVING n0 = 0 OR n1 = 0)
			%s ORDER BY calls DESC, 1, 2, 3`, q.columns, q.keys, t.later(), someCalls, isRequest, join), w.args...)
		if err != nil {
			return err
		}
		o.Truncated = o.Truncated || more
		for _, r := range rows {
			r.What = clip(r.What, 200)
			if r.N0 == 0 {
				o.New = append(o.New, r.News)
			} else {
				o.Vanished = append(o.Vanished, r.News)
			}
		}
	}
	order := map[string]int{"destination": 0, "dependency": 1, "endpoint": 2, "status": 3}
	for _, list := range [][]News{o.New, o.Vanished} {
		slices.SortStableFunc(list, func(a, b News) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(order[a.Kind], order[b.Kind]))
		})
	}
	return nil
}

// tell puts the largest changes into sentences.
func (o *Compare) tell(services, endpoints []Change) {
	o.Verdict = []string{}
	say := func(format string, args ...any) { o.Verdict = append(o.Verdict, fmt.Sprintf(format, args...)) }
	switch {
	case o.Period.Calls == 0 && o.Baseline.Calls == 0:
		say("Neither time has calls.")
		return
	case o.Baseline.Calls == 0:
		say("The baseline has no calls (%s): nothing to compare with.", told(o.Baseline.Coverage.State))
		return
	case o.Period.Calls == 0:
		say("The period has no calls (%s), the baseline has %d.", told(o.Period.Coverage.State), o.Baseline.Calls)
		return
	}
	say("%d calls, before %d; %.2f %% failed, before %.2f %%.", o.Period.Calls, o.Baseline.Calls, 100*share(o.Period.Failed, o.Period.Calls), 100*share(o.Baseline.Failed, o.Baseline.Calls))
	changed := 0
	for _, list := range [][]Change{services, endpoints} {
		for i, ch := range list {
			if len(ch.Changed) == 0 || i >= 5 {
				break
			}
			changed++
			if ch.Words != "" {
				say("%s: %s.", strings.TrimSpace(ch.Dst+" "+ch.Endpoint), ch.Words)
			}
		}
	}
	if changed == 0 {
		say("No change of weight in latency, errors or volume among %d comparisons.", o.Tests)
	}
	count := map[string]int{}
	for _, n := range o.New {
		count["new "+n.Kind]++
	}
	for _, n := range o.Vanished {
		count["vanished "+n.Kind]++
	}
	var kinds []string
	for k := range count {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		say("%s: %d.", k, count[k])
	}
	if o.Period.Coverage.State != "complete" || o.Baseline.Coverage.State != "complete" {
		o.note("not all of both times was recorded: volumes are not comparable; see coverage of each")
	}
	if o.Tests > 1 {
		o.note("%d comparisons were made; p values are adjusted (Holm), and a change is named only where it also has weight: latency by at least %.0f %%, errors by a percentage point, volume by half", o.Tests, 100*(minRatio-1))
	}
}

func told(state string) string {
	if state == "none" {
		return "not recorded"
	}
	return "coverage " + state
}
