package compare

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxNews is the highest number of rows of each kind.
const maxNews = 500

// newsRow is a News as SQL returns it, with the calls in both windows.
type newsRow struct {
	Kind  string `json:"kind"`
	Src   string `json:"src"`
	Dst   string `json:"dst"`
	What  string `json:"what"`
	N0    int64  `json:"n0"`
	N1    int64  `json:"n1"`
	First int64  `json:"first_key"`
}

// news finds what exists in only one of the two windows.
func (o *Answer) news(ctx context.Context, c *forensics.Case, w *ask.Window, t *times, endpoints, pairs []changeRow) error {
	o.New, o.Vanished = []News{}, []News{}
	if o.Baseline.Calls == 0 || o.Period.Calls == 0 {
		o.Note("one of the two windows has no calls: everything would be new or vanished, so neither is listed")
		return nil
	}
	var all []newsRow
	for _, r := range endpoints {
		if (r.N0 == 0 || r.N1 == 0) && len(all) < maxNews {
			all = append(all, newsRow{"endpoint", "", r.Dst, terms.EndpointName(r.Protocol, r.Method, r.Path), r.N0, r.N1, r.First})
		}
	}
	edges := 0
	for _, r := range pairs {
		if (r.N0 == 0 || r.N1 == 0) && edges < maxNews {
			edges++
			all = append(all, newsRow{map[bool]string{true: "destination", false: "dependency"}[r.Pb == "outside"], r.Src, r.Dst, "", r.N0, r.N1, r.First})
		}
	}
	all, err := o.withoutOpen(ctx, c, t, all)
	if err != nil {
		return err
	}
	counts := fmt.Sprintf("count(*) FILTER (NOT %[1]s) AS n0, count(*) FILTER (%[1]s) AS n1, min(%[2]s) AS first_key", t.later(), terms.NumberOf(c))
	const far = "coalesce(nullif(far, ''), dst) AS dst"
	for _, sql := range []string{
		fmt.Sprintf(`SELECT 'status' AS kind, %s, protocol || ' ' || CASE WHEN protocol IN `+terms.Web+` THEN coalesce(status_code::VARCHAR, error, 'no answer') ELSE coalesce(status_text, error, CASE WHEN failed THEN 'failed' ELSE 'ok' END) END AS what, n0, n1, first_key
			FROM (SELECT bn, far, protocol, status_code, CASE WHEN protocol NOT IN `+terms.Web+` THEN status_text END AS status_text, CASE WHEN status_code IS NULL THEN error END AS error, failed, %s FROM x WHERE %s GROUP BY ALL HAVING n0 = 0 OR n1 = 0)
			JOIN dname USING (bn) ORDER BY n0 + n1 DESC, 1, 2, 3`, far, counts, terms.IsRequest),
	} {
		rows, more, err := ask.Rows[newsRow](ctx, c, maxNews, w.Ends(c, "service")+sql, w.Args...)
		if err != nil {
			return err
		}
		o.Truncated = o.Truncated || more
		all = append(all, rows...)
	}
	keys := make([]int64, len(all))
	for i, r := range all {
		keys[i] = r.First
	}
	ids, err := idsOf(ctx, c, keys)
	if err != nil {
		return err
	}
	for _, r := range all {
		n := News{r.Kind, r.Src, r.Dst, ask.Clip(r.What, 200), r.N0 + r.N1, []string{ids[r.First]}}
		if r.N0 == 0 {
			o.New = append(o.New, n)
		} else {
			o.Vanished = append(o.Vanished, n)
		}
	}
	order := map[string]int{}
	for i, k := range kinds {
		order[k.one] = i
	}
	for _, list := range [][]News{o.New, o.Vanished} {
		slices.SortStableFunc(list, func(a, b News) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(order[a.Kind], order[b.Kind]))
		})
	}
	return nil
}

// withoutOpen removes pairs without calls in the period whose connections stayed open: they are quiet, not gone.
func (o *Answer) withoutOpen(ctx context.Context, c *forensics.Case, t *times, all []newsRow) ([]newsRow, error) {
	gone := func(r *newsRow) bool { return r.N1 == 0 && r.Src != "" }
	if !slices.ContainsFunc(all, func(r newsRow) bool { return gone(&r) }) {
		return all, nil
	}
	open, _, err := ask.Rows[newsRow](ctx, c, ask.MaxAll, fmt.Sprintf("SELECT DISTINCT %s AS src, %s AS dst FROM %s k LEFT JOIN (SELECT %sflow_id AS f, state FROM flows_raw) l ON l.f = k.flow_id%s WHERE k.calls > 0 AND (k.last_ns >= %d OR l.state IN ('established', 'midstream'))",
		terms.Client("k.src_"), terms.Who("k.dst_"), ask.EachOnce(c, "connections", fmt.Sprintf("first_ns < %d", t.from[1])), terms.Key(c, ""), terms.SameBundle(c, "l", "k"), t.from[1]))
	if err != nil {
		return nil, err
	}
	var quiet []string
	left := slices.DeleteFunc(all, func(r newsRow) bool {
		if !gone(&r) || !slices.ContainsFunc(open, func(p newsRow) bool { return p.Src == r.Src && p.Dst == r.Dst }) {
			return false
		}
		quiet = ask.AddName(quiet, r.Src+" to "+r.Dst)
		return true
	})
	if len(quiet) > 0 {
		o.Note("%d {pair|pairs} made no call in the period and {has|have} not vanished, because {its|their} connections stayed open: %s", len(quiet), strings.Join(ask.SomeNames(quiet), ", "))
	}
	return left, nil
}

// kinds are the kinds of news with their plurals, in the order of a list.
var kinds = []struct{ one, many string }{{"destination", "destinations"}, {"dependency", "dependencies"}, {"endpoint", "endpoints"}, {"status", "statuses"}}

// countKinds lists how many of each kind there are: "1 dependency, 2 endpoints".
func countKinds(list []News) string {
	count := map[string]int64{}
	for _, n := range list {
		count[n.Kind]++
	}
	var parts []string
	for _, k := range kinds {
		if n := count[k.one]; n > 0 {
			parts = append(parts, plural.Count(n, k.one, k.many))
		}
	}
	return strings.Join(parts, ", ")
}

// unrecorded reports whether nothing was recorded in one of the windows.
func (o *Answer) unrecorded() bool {
	return o.Baseline.Coverage.State == "none" || o.Period.Coverage.State == "none"
}

// without says why a window has no calls.
func without(state string) string {
	if state == "none" {
		return "was not recorded"
	}
	return "has no calls (coverage " + state + ")"
}

// idsOf reads the ids of calls by the numbers of terms.NumberOf.
func idsOf(ctx context.Context, c *forensics.Case, keys []int64) (map[int64]string, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var list strings.Builder
	for i, k := range keys {
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprint(&list, k)
	}
	rows, _, err := ask.Rows[struct {
		Key int64  `json:"k"`
		ID  string `json:"id"`
	}](ctx, c, len(keys), fmt.Sprintf("SELECT %[1]s AS k, lower(hex(call_id)) AS id FROM calls_raw WHERE %[1]s IN (%[2]s) ORDER BY 1", terms.NumberOf(c), list.String()))
	out := make(map[int64]string, len(rows))
	for _, r := range rows {
		out[r.Key] = r.ID
	}
	return out, err
}
