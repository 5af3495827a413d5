package servicemap

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// blastLevels is the number of levels of callers that are followed.
const blastLevels = 3

// Blast lists the callers that would fail without a service.
type Blast struct {
	How       string     `json:"how"`
	From      string     `json:"from,omitempty" jsonschema:"with very many calls, only those from this time on were examined and counted"`
	Calls     int64      `json:"calls" jsonschema:"calls to the service"`
	Explained int64      `json:"explained" jsonschema:"of these, calls that a request to their sender caused"`
	Ambiguous int64      `json:"ambiguous" jsonschema:"of these, calls whose sender was serving several requests at that time; the one that began last was chosen"`
	Endpoints []BlastRow `json:"endpoints" jsonschema:"nearest first, then by share"`
}

// BlastRow is an endpoint whose calls caused calls to the service.
type BlastRow struct {
	Depth      int64    `json:"depth" jsonschema:"1: it calls the service itself"`
	Dst        string   `json:"dst"`
	Endpoint   string   `json:"endpoint"`
	Calls      int64    `json:"calls" jsonschema:"to this endpoint"`
	Touching   int64    `json:"touching" jsonschema:"of these, calls that caused a call to the service"`
	Share      float64  `json:"share"`
	Confidence string   `json:"confidence" jsonschema:"exact: by trace or request ids; likely: by time within the only open request; guess: several were open"`
	CallIDs    []string `json:"call_ids" jsonschema:"the first three of those"`
}

// maxLinked is the highest number of calls that are linked, which takes about 250 MB of memory.
const maxLinked = 500_000

// blast finds the endpoints whose calls caused calls to the targets.
func blast(w *ask.Window, ctx context.Context, c *forensics.Case, targets []string, f *ask.Frame) (*Blast, error) {
	w, since, err := w.Latest(ctx, c, "protocol IN "+terms.Serving, maxLinked)
	if err != nil {
		return nil, err
	}
	aside, end, err := c.Aside(ctx) // a sort keeps its memory until its query ends, so each level is a query of its own
	if err != nil {
		return nil, err
	}
	defer end()
	names := make([]any, len(targets))
	for i, t := range targets {
		names[i] = t
	}
	hit := fmt.Sprintf(", want AS (SELECT unnest([%s]) AS name), hit AS (SELECT bn FROM dname WHERE dst IN (SELECT name FROM want))", strings.TrimSuffix(strings.Repeat("?, ", len(targets)), ", "))
	const hits = "bn IN (SELECT bn FROM hit) OR far IN (SELECT name FROM want)"
	ends := w.Ends(c, "service")
	messages, err := ask.MayHaveMessages(ctx, c)
	if err != nil {
		return nil, err
	}
	with, serving := relation.Serving()
	parents, err := kept(ctx, aside, "par", ends+with+relation.Parents(c, serving, messages)+" SELECT * FROM par", w.Args...)
	if err != nil {
		return nil, err
	}
	if parents == 0 {
		n, err := ask.Count(ctx, c, ends+hit+" SELECT count(*) AS n FROM x WHERE "+relation.Caused+" AND ("+hits+")", append(w.Values(), names...)...)
		noteNoBlast(f, n)
		return nil, err
	}
	all, err := kept(ctx, aside, "c0", ends+hit+", "+relation.Children(c, hits, "")+" SELECT * FROM c0", append(w.Values(), names...)...)
	if err != nil {
		return nil, err
	}
	var levels []string
	for i, from := 1, "c0"; i <= blastLevels; i++ {
		name := fmt.Sprintf("l%d", i)
		n, err := kept(ctx, aside, name, fmt.Sprintf(`SELECT pk AS k, any_value(pup) AS pod, any_value(ptrace) AS trace, any_value(ptraced) AS traced, any_value(preq) AS req, any_value(preqd) AS reqd, any_value(born) AS began, max(grade) AS grade, count(*) AS n, count(*) FILTER (grade = 2) AS vague
			FROM (%s) GROUP BY 1`, relation.Linked(from)))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		levels = append(levels, fmt.Sprintf("SELECT k AS pk, %d AS depth, grade FROM %s", i, name))
		from = name
	}
	if len(levels) == 0 {
		noteNoBlast(f, all)
		return nil, nil
	}
	type row struct {
		Depth    int64    `json:"depth"`
		Dst      string   `json:"dst"`
		Protocol string   `json:"protocol"`
		Method   string   `json:"method"`
		Path     string   `json:"tpl"`
		Calls    int64    `json:"calls"`
		Touching int64    `json:"touching"`
		Grade    int64    `json:"grade"`
		CallIDs  []string `json:"call_ids"`
	}
	sql := ends + fmt.Sprintf(`, hits AS (SELECT pk, min(depth) AS depth, max(grade) AS grade FROM (%s) GROUP BY 1),
		ep AS (SELECT min(h.depth) AS depth, bn, far, protocol, coalesce(method, '') AS method, %s AS tpl, count(*) AS calls, count(h.pk) AS touching, max(h.grade) AS grade,
			list_transform(arg_min(call_id, (ts_ns, call_id), 3) FILTER (h.pk IS NOT NULL), i -> lower(hex(i))) AS call_ids
			FROM x LEFT JOIN hits h ON h.pk = %s WHERE protocol IN %s GROUP BY ALL HAVING count(h.pk) > 0)
		SELECT depth, coalesce(nullif(far, ''), dst) AS dst, protocol, method, tpl, calls, touching, grade, call_ids
		FROM ep JOIN dname USING (bn) ORDER BY depth, touching / calls DESC, touching DESC, 2, 3, 4, 5`, strings.Join(levels, " UNION ALL "), terms.PathTemplate, terms.NumberOf(c), terms.Serving)
	rows, more, err := ask.Rows[row](ctx, aside, w.Limit, sql, w.Values()...)
	if err != nil {
		return nil, err
	}
	type sums struct {
		Explained int64 `json:"n_explained"`
		Vague     int64 `json:"n_vague"`
	}
	linked, err := ask.One[sums](ctx, aside, "SELECT coalesce(sum(n), 0)::BIGINT AS n_explained, coalesce(sum(vague), 0)::BIGINT AS n_vague FROM l1")
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		noteNoBlast(f, all)
		return nil, nil
	}
	out := &Blast{Calls: all, Explained: linked.Explained, Ambiguous: linked.Vague, How: "a call belongs to the request that its sender was serving: the one with the same trace or request id, otherwise the open request that began last; up to three levels of callers", From: since, Endpoints: []BlastRow{}}
	for _, r := range rows {
		out.Endpoints = append(out.Endpoints, BlastRow{r.Depth, r.Dst, ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200), r.Calls, r.Touching, ask.Share(r.Touching, r.Calls),
			relation.Grades[r.Grade], r.CallIDs})
	}
	f.Truncated = f.Truncated || more
	out.Endpoints = ask.Fit(w, f, out.Endpoints)
	return out, nil
}

// kept keeps the rows of SQL as a table, and counts them.
func kept(ctx context.Context, aside *forensics.Case, name, sql string, args ...any) (int64, error) {
	if err := aside.Keep(ctx, name, forensics.Query{SQL: sql, Args: args, Named: true}); err != nil {
		return 0, err
	}
	return ask.Count(ctx, aside, "SELECT count(*) AS n FROM "+name)
}

// noteNoBlast says why no caller's request is known to need a service that got n calls.
func noteNoBlast(f *ask.Frame, n int64) {
	if n == 0 {
		f.Note("there is no blast radius: no service with requests of its own called it")
	} else {
		f.Note("the blast radius is unknown: none of %d {call|calls} to it could be traced to a request that its caller served", n)
	}
}
