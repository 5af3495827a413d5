package sensitivedata

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/sensitive"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// count reads the ends and endpoints of the calls with hits, and adds them up.
func (s *sums) count(ctx context.Context, list []sensitive.Hit) error {
	var nos, codes, bundles []int64
	first, last := list[0].CallNo, list[0].CallNo
	for _, h := range list {
		nos, codes, bundles = append(nos, h.CallNo), append(codes, int64(h.Place)<<32|int64(h.Set)), append(bundles, h.Bundle)
		first, last = min(first, h.CallNo), max(last, h.CallNo)
	}
	hits, on, args := "unnest(?::BIGINT[]) AS hit_no, unnest(?::BIGINT[]) AS hit_code", "hit_no = call_no", []any{nos, codes}
	if s.l.Case.Several() {
		hits, on, args = hits+", unnest(?::BIGINT[]) AS hit_bundle", on+" AND hit_bundle = bundle", append(args, bundles)
	}
	times := "min(ts_ns, 3)"
	if s.l.All() {
		times = "list(ts_ns)"
	}
	sql := "WITH n AS (SELECT " + hits + `), ` + s.l.Names() + `,
		m AS MATERIALIZED (SELECT ` + s.l.Key() + `, coalesce(endpoint, '') AS what, ts_ns, call_id, hit_code, decrypted_by IS NOT NULL AS sealed FROM ` + s.l.Calls + ` JOIN n ON ` + on + ` WHERE ` + s.l.Where + ` AND call_no BETWEEN ? AND ?),
		r AS (SELECT ` + s.l.Sent() + `, what, hit_code, sealed, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, ` + s.l.Some() + `, ` + times + ` AS times FROM m GROUP BY ALL)
		SELECT src, dst, what, hit_code, sealed, n, first_ns, last_ns, ids, times, coalesce(proxy, '') FROM (` + s.l.Named("r") + `)
		ORDER BY first_ns, src, dst, what, hit_code, sealed, last_ns, n`
	args = append(append(args, s.l.Args...), first, last)
	_, err := s.l.Case.Each(ctx, forensics.Query{SQL: sql, Args: args}, nil, func(_ []forensics.Column, row []any) error {
		code, _ := row[3].(int64)
		g := group{place: sensitive.PlaceName(int(code >> 32))}
		g.src, _ = row[0].(string)
		g.dst, _ = row[1].(string)
		g.what, _ = row[2].(string)
		g.sealed, _ = row[4].(bool)
		r, calls := rowOf(row[5:])
		r.Via, _ = row[10].(string)
		s.add(g, uint32(code), r, calls)
		return nil
	})
	return err
}

// rowOf parses columns of a group: calls, first and last time, first call_ids and their
// times.
func rowOf(row []any) (r finding.Row, calls []cited) {
	r.Count, _ = row[0].(int64)
	r.FirstNs, _ = row[1].(int64)
	r.LastNs, _ = row[2].(int64)
	ids, _ := row[3].([]any)
	times, _ := row[4].([]any)
	for i, id := range ids {
		raw, _ := id.([]byte)
		c := cited{id: hex.EncodeToString(raw)}
		if i < len(times) {
			c.ns, _ = times[i].(int64)
		}
		calls = append(calls, c)
	}
	return r, calls
}

// add counts the calls of r, whose text at g has a set of matches: once per kind, and once per
// masked form.
func (s *sums) add(g group, set uint32, r finding.Row, calls []cited) {
	var kinds []string
	for _, m := range s.Matches(set) {
		g.kind = m.Kind
		x := s.groups[g]
		if x == nil {
			if len(s.groups) >= maxGroups {
				s.Full = true
				return
			}
			x = &sum{row: finding.Row{FirstNs: r.FirstNs, LastNs: r.LastNs}, masked: map[string]int64{}}
			s.groups[g] = x
		}
		if _, known := x.masked[m.Masked]; m.Masked != "" && (known || len(x.masked) < maxForms) {
			x.masked[m.Masked] += r.Count
		}
		if !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
			x.row.Count += r.Count
			if r.Via != "" && !slices.Contains(x.via, r.Via) {
				x.via = append(x.via, r.Via)
			}
			x.row.FirstNs, x.row.LastNs = min(x.row.FirstNs, r.FirstNs), max(x.row.LastNs, r.LastNs)
			x.cite(calls, s.l.All())
		}
	}
}

// cite stores the first calls, or all of them.
func (x *sum) cite(calls []cited, all bool) {
	x.first = append(x.first, calls...)
	if !all && len(x.first) > 3 {
		slices.SortFunc(x.first, earlier)
		x.first = x.first[:3]
	}
}

func earlier(a, b cited) int { return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.id, b.id)) }
