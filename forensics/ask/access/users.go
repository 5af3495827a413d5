package access

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
)

// authorization is the SQL for the Authorization header of a call.
const authorization = `coalesce(list_filter(headers, h -> h.kind = 'request' AND lower(h.name) = 'authorization')[1].value, '')`

// maxCredentials is the highest number of distinct users and credentials in an answer.
const maxCredentials = 200_000

// users summarizes the calls by the user that they name. It reads all calls, not those of a page.
func (a *accessAnswer) users() error {
	type group struct {
		User   string   `json:"user"`
		Header string   `json:"header"`
		Calls  int64    `json:"calls"`
		Failed int64    `json:"failed"`
		First  int64    `json:"first"`
		Last   int64    `json:"last"`
		IDs    []string `json:"ids"`
	}
	groups, more, err := ask.Rows[group](a.ctx, a.c, maxCredentials, fmt.Sprintf(`SELECT coalesce(%s, '') AS user, %s AS header, count(*) AS calls, count(*) FILTER (failed) AS failed, min(ts_ns) AS first, max(ts_ns) AS last, list_transform(min({'t': ts_ns, 'i': call_id}, 3), x -> lpad(x.t::VARCHAR, 20, '0') || lower(hex(x.i))) AS ids
		FROM calls WHERE %s GROUP BY 1, 2 ORDER BY ALL LIMIT %d`, terms.NamedUser(), authorization, a.w.Where, maxCredentials+1), a.w.Args...)
	if err != nil {
		return err
	}
	by := map[string]*group{}
	var list []*group
	for i := range groups {
		g := &groups[i]
		g.User = cmp.Or(g.User, userOf(g.Header))
		had := by[g.User]
		if had == nil {
			by[g.User], list = g, append(list, g)
			continue
		}
		had.Calls, had.Failed, had.First, had.Last = had.Calls+g.Calls, had.Failed+g.Failed, min(had.First, g.First), max(had.Last, g.Last)
		had.IDs = append(had.IDs, g.IDs...)
	}
	slices.SortFunc(list, func(x, y *group) int { return cmp.Or(cmp.Compare(y.Calls, x.Calls), cmp.Compare(x.User, y.User)) })
	out := make([]AccessUser, 0, len(list))
	for _, g := range list {
		u := AccessUser{User: g.User, Calls: g.Calls, Failed: g.Failed, First: when.Stamp(g.First), Last: when.Stamp(g.Last)}
		slices.Sort(g.IDs)
		for _, id := range g.IDs[:min(3, len(g.IDs))] {
			u.CallIDs = append(u.CallIDs, id[20:]) // after the time
		}
		out = append(out, u)
	}
	a.out.Truncated = a.out.Truncated || more
	a.out.Users = ask.Fit(a.w, &a.out.Frame, out)
	return nil
}
