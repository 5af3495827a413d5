package service

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// TeamService is one service with the label of the question.
type TeamService struct {
	Service   string   `json:"service"`
	Pods      int64    `json:"pods"`
	Calls     int64    `json:"calls" jsonschema:"calls received"`
	Failed    int64    `json:"failed"`
	P50Ms     *float64 `json:"p50_ms,omitempty"`
	P99Ms     *float64 `json:"p99_ms,omitempty"`
	Protocols []string `json:"protocols"`
	Made      int64    `json:"made" jsonschema:"calls made"`
}

// Conversation summarizes the calls between two services of which at least one has the label.
type Conversation struct {
	Src      string   `json:"src"`
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Calls    int64    `json:"calls"`
	Failed   int64    `json:"failed"`
	Within   bool     `json:"within" jsonschema:"both have the label"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	CallIDs  []string `json:"call_ids"`
}

// team describes the services with a label.
func (s *serviceAnswer) team(label string) (*Service, error) {
	name, value, ok := strings.Cut(label, "=")
	if !ok || name == "" {
		return nil, ask.Wrong("labels", "must be a label such as team=payments, not %q", ask.Clip(label, 100))
	}
	has := func(p string) string {
		return fmt.Sprintf("coalesce(len(list_filter(%slabels, l -> l.name = ? AND l.value = ?)) > 0, false)", p)
	}
	out := s.out
	list, more, err := ask.Rows[TeamService](s.ctx, s.c, s.w.Limit, fmt.Sprintf(`WITH e AS MATERIALIZED (SELECT %[1]s, endpoint_id, %[2]s AS service, coalesce(pod, name) AS pod FROM endpoints_raw WHERE %[3]s),
		i AS (SELECT e.service, count(*) AS calls, count(*) FILTER (failed) AS failed, round(quantile_disc(`+terms.Took+`, 0.5) / 1000.0, 3) AS p50_ms, round(quantile_disc(`+terms.Took+`, 0.99) / 1000.0, 3) AS p99_ms, list_sort(list(DISTINCT protocol)) AS protocols
			FROM %[4]s k JOIN e ON e.endpoint_id = k.dst_id%[5]s WHERE %[6]s AND %[7]s GROUP BY 1),
		o AS (SELECT e.service, count(*) AS made FROM %[4]s k JOIN e ON e.endpoint_id = k.src_id%[5]s WHERE %[6]s AND %[7]s GROUP BY 1),
		p AS (SELECT service, count(DISTINCT pod) AS pods FROM e GROUP BY 1)
		SELECT p.service, p.pods, coalesce(i.calls, 0) AS calls, coalesce(i.failed, 0) AS failed, i.p50_ms, i.p99_ms, coalesce(i.protocols, []) AS protocols, coalesce(o.made, 0) AS made
		FROM p LEFT JOIN i ON i.service = p.service LEFT JOIN o ON o.service = p.service ORDER BY calls DESC, 1 LIMIT %[8]d`,
		terms.BundleOf(s.c, ""), terms.Who(""), has(""), "calls", terms.SameBundle(s.c, "e", "k"), s.w.Where, terms.IsRequest, s.w.Limit+1), append([]any{name, value}, s.w.Values(s.w.Args...)...)...)
	if err != nil {
		return nil, err
	}
	out.Truncated = more
	out.Services = ask.Fit(s.w, &out.Frame, list)
	labeled := fmt.Sprintf("(SELECT %s endpoint_id FROM endpoints_raw WHERE %s)", terms.Key(s.c, ""), has(""))
	side := func(id string) string { return "(" + terms.Key(s.c, "") + id + ") IN " + labeled }
	talks, more, err := ask.Rows[Conversation](s.ctx, s.c, s.w.Limit, fmt.Sprintf(`SELECT src, dst, protocol, count(*) AS calls, count(*) FILTER (bad) AS failed, bool_and(a AND b) AS within, round(quantile_disc(elapsed_us, 0.5) / 1000.0, 3) AS p50_ms,
		list_transform(arg_min(call_id, (ts_ns, call_id), 3), x -> lower(hex(x))) AS call_ids
		FROM (SELECT %s AS src, %s AS dst, protocol, failed AS bad, `+terms.Took+` AS elapsed_us, call_id, ts_ns, %s AS a, %s AS b FROM %s WHERE %s AND %s) WHERE a OR b GROUP BY 1, 2, 3 ORDER BY within DESC, calls DESC, 1, 2, 3 LIMIT %d`,
		terms.Who("src_"), terms.Who("dst_"), side("src_id"), side("dst_id"), "calls", s.w.Where, terms.IsRequest, s.w.Limit+1), append([]any{name, value, name, value}, s.w.Args...)...)
	if err != nil {
		return nil, err
	}
	out.Truncated = out.Truncated || more
	out.Talks = ask.Fit(s.w, &out.Frame, talks)
	for _, t := range out.Services {
		out.Names = append(out.Names, t.Service)
		out.In.Calls, out.In.Failed, out.Out.Calls = out.In.Calls+t.Calls, out.In.Failed+t.Failed, out.Out.Calls+t.Made
	}
	out.In.ErrorRate = ask.Share(out.In.Failed, out.In.Calls)
	if len(list) > 0 {
		out.What = ask.Clip(plural.Sprintf("%d {service has|services have} the label %s: %s", len(list), label, strings.Join(out.Names, ", ")), 600)
	}
	out.Match(len(list))
	return out, nil
}
