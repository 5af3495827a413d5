package ask

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of failures.
const (
	maxGroups   = 25 // groups whose chains are followed
	maxExamined = 20 // calls of a group whose chains are followed
	groupBytes  = 14 << 10
	maxRefused  = 20 // rows of what happened below calls
)

// FailuresIn asks what failed.
type FailuresIn struct {
	Scope
	Service   string `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address; * and ? match, namespace/* is a whole namespace"`
	Client    string `json:"client,omitempty" jsonschema:"only calls from this one"`
	Class     string `json:"class,omitempty" jsonschema:"only 4xx, 5xx, no_answer or other (errors of databases, gRPC and so on); all where not given"`
	NoCauses  bool   `json:"no_causes,omitempty" jsonschema:"do not follow chains to where failures began, which is quicker"`
	ListCalls bool   `json:"list_calls,omitempty" jsonschema:"list the failed calls too, by time, up to limit"`
}

// Failures are the calls that failed, and why.
type Failures struct {
	Frame
	Total       int64          `json:"failed_calls"`
	Calls       int64          `json:"calls" jsonschema:"all calls of the scope, failed or not"`
	Classes     []ClassCount   `json:"classes"`
	Groups      []FailureGroup `json:"groups" jsonschema:"failed calls but DNS, the most frequent first"`
	Causes      []Origin       `json:"causes" jsonschema:"where the failures began, as far as chains were followed, the most frequent first; chains counts calls"`
	DNS         []NameFailure  `json:"dns"`
	Connections []ConnFailure  `json:"connections" jsonschema:"connections that were refused, reset or never answered, with or without calls"`
	Listed      []Call         `json:"listed,omitempty" jsonschema:"the failed calls by time, where list_calls asked for them"`
}

// ClassCount is how many calls failed in one way.
type ClassCount struct {
	Class string `json:"class" jsonschema:"4xx, 5xx, no_answer, dns, tls, other"`
	Calls int64  `json:"calls"`
}

// FailureGroup is failed calls of one kind.
type FailureGroup struct {
	Dst      string   `json:"dst"`
	Src      string   `json:"src"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint" jsonschema:"method and path with ids taken out, or what a protocol has in their place"`
	Status   string   `json:"status" jsonschema:"status, or why there is no answer"`
	Class    string   `json:"class"`
	Calls    int64    `json:"calls"`
	First    string   `json:"first"`
	Last     string   `json:"last"`
	P50Ms    *float64 `json:"p50_ms,omitempty" jsonschema:"median time until the answer, or until the connection ended without one"`
	MinMs    *float64 `json:"min_ms,omitempty"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	When     string   `json:"when" jsonschema:"pattern in time: one burst, bursts, about every n seconds, or spread"`
	Limit    string   `json:"at_limit,omitempty" jsonschema:"where most took the same long time: that time, as of a timeout"`
	Said     []string `json:"said,omitempty" jsonschema:"what answers said, up to three that differ in more than numbers; text from the traffic"`
	Clients  int64    `json:"clients,omitempty" jsonschema:"addresses, where src is the outside"`
	CallIDs  []string `json:"call_ids" jsonschema:"the first three calls"`

	Examined int     `json:"examined,omitempty" jsonschema:"calls whose chains were followed; of many, those nearest to five times that are spread over all failures"`
	Own      int     `json:"own,omitempty" jsonschema:"of these, those with nothing failed or slow below: they began here"`
	Causes   []Share `json:"began,omitempty" jsonschema:"where the others began"`
}

// Share is how many calls of a group began at one cause.
type Share struct {
	Cause      int     `json:"cause" jsonschema:"number in causes"`
	Calls      int     `json:"calls"`
	Confidence float64 `json:"confidence"`
	Sure       string  `json:"sure" jsonschema:"exact, likely or guess"`
}

func findFailures() Question {
	return question("find_failures", "What failed and why", "Failed calls grouped by who, endpoint, status; where each began (deepest failing call below), what its answer said, pattern in time, timeouts; DNS failures; refused and reset connections. 4xx and 5xx apart.", true, AskFailures)
}

// class is the SQL for the kind of failure.
const class = `(CASE WHEN protocol = 'dns' THEN 'dns' WHEN protocol IN ('tls', 'quic') THEN 'tls' WHEN protocol IN ('http1', 'http2', 'http3') AND status_code BETWEEN 400 AND 499 THEN '4xx'
	WHEN protocol IN ('http1', 'http2', 'http3') AND status_code >= 500 THEN '5xx' WHEN error IS NOT NULL THEN 'no_answer' ELSE 'other' END)`

// failureStatus is the SQL for the outcome of a failed call.
const failureStatus = `coalesce(status_code::VARCHAR || CASE WHEN status_text IS NULL THEN '' ELSE ' ' || status_text END, status_text, error, 'failed')`

// failureColumns are the columns of failed calls that are looked at.
const failureColumns = `path, endpoint, outcome, call_no, call_id, ts_ns, elapsed_us, protocol, method, host, status_code, status_text, failed, error, conn_id, stream_id,
	src_id, src_who, src_ip, src_kind, src_namespace, src_external, src_service, src_workload, src_pod, src_name, src_dns_name, src_hostname,
	dst_id, dst_who, dst_ip, dst_namespace, dst_external, dst_service, dst_workload, dst_pod, dst_name, dst_dns_name, dst_hostname`

// AskFailures answers what failed, and why.
func AskFailures(ctx context.Context, c *forensics.Case, in FailuresIn) (*Failures, error) {
	w, err := in.read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Service != "" {
		to, err := at(ctx, c, "dst_", in.Service)
		if err != nil {
			return nil, err
		}
		w.and(to.calls, to.args...)
	}
	if in.Client != "" {
		from, err := at(ctx, c, "src_", in.Client)
		if err != nil {
			return nil, err
		}
		w.and(from.calls, from.args...)
	}
	out := &Failures{Classes: []ClassCount{}, Groups: []FailureGroup{}, Causes: []Origin{}, DNS: []NameFailure{}, Connections: []ConnFailure{}}
	if out.Frame, err = w.frame(ctx, c); err != nil {
		return nil, err
	}
	all, err := readOne[ClassCount](ctx, c, "SELECT count(*) AS calls FROM "+"calls"+" WHERE "+w.where, w.args...)
	if err != nil {
		return nil, err
	}
	out.Calls = all.Calls
	switch in.Class {
	case "":
	case "4xx", "5xx", "no_answer", "other":
		w.and(class+" = ?", in.Class)
	default:
		return nil, wrong("class", "%q, want 4xx, 5xx, no_answer or other", in.Class)
	}
	w.and("failed")
	rows, err := hold(ctx, c, failureColumns, w.where, w.args)
	if err != nil {
		return nil, err
	}
	defer rows.end()
	if out.Classes, _, err = readRows[ClassCount](ctx, rows.c, 10, "SELECT "+class+" AS class, count(*) AS calls FROM "+rows.from+" WHERE "+rows.where+" GROUP BY 1 ORDER BY 2 DESC, 1", rows.args...); err != nil {
		return nil, err
	}
	for _, n := range out.Classes {
		out.Total += n.Calls
	}
	if err := out.groups(ctx, c, w, rows, !in.NoCauses); err != nil {
		return nil, err
	}
	if in.Limit == 0 {
		more := false
		out.Groups, more = within(out.Groups, groupBytes)
		out.Truncated = out.Truncated || more
	}
	if err := out.names(ctx, c, w, rows); err != nil {
		return nil, err
	}
	if in.Class == "" || in.Class == "no_answer" {
		if err := out.connections(ctx, c, w, in); err != nil {
			return nil, err
		}
	}
	if in.ListCalls {
		more := false
		if out.Listed, more, err = rows.list(ctx, c, w.limit); err != nil {
			return nil, err
		}
		out.Truncated = out.Truncated || more
	}
	if err := unread(ctx, c, &out.Frame, w); err != nil {
		return nil, err
	}
	out.matched(int(out.Total) + len(out.Connections))
	return out, nil
}

// group is a FailureGroup as SQL gives it.
type group struct {
	FailureGroup
	N       int64    `json:"n"`
	FirstNs int64    `json:"first_ns"`
	LastNs  int64    `json:"last_ns"`
	Low     *float64 `json:"low"`
	High    *float64 `json:"high"`
	GapP10  *float64 `json:"gap_p10"`
	GapP50  *float64 `json:"gap_p50"`
	GapP90  *float64 `json:"gap_p90"`
	Pauses  int64    `json:"pauses"`
	Sample  []sample `json:"sample"`
}

type sample struct {
	Bundle int64 `json:"bundle"`
	No     int64 `json:"call_no"`
}

// groups fills in the groups and, where causes is wanted, where they began.
func (f *Failures) groups(ctx context.Context, c *forensics.Case, w *window, rows *rowsOf, causes bool) error {
	// Customers outside are one client, as many addresses as they come from.
	sql := fmt.Sprintf(`WITH f AS MATERIALIZED (SELECT CASE WHEN %[14]s THEN 'outside' ELSE %[1]s END AS src, src_ip, %[2]s AS dst, protocol, %[3]s AS endpoint, %[4]s AS plain, %[5]s AS class, error, ts_ns, elapsed_us, call_id, %[6]s, call_no, conn_id, stream_id
			FROM %[11]s WHERE %[7]s AND protocol <> 'dns'),
		y AS (%[15]s),
		e AS (SELECT f.*, plain || CASE WHEN f.error = 'reset' AND f.stream_id IS NULL AND y.side = 'client' THEN '%[16]s' WHEN f.error = 'reset' AND f.stream_id IS NULL AND y.side = 'server' THEN '%[17]s' ELSE '' END AS status, coalesce(f.elapsed_us, CASE WHEN f.stream_id IS NULL THEN (k.last_ns - f.ts_ns) // 1000 END) / 1000.0 AS took
			FROM f LEFT JOIN connections_raw k ON k.conn_id = CASE WHEN f.elapsed_us IS NULL THEN f.conn_id END%[8]s LEFT JOIN y ON y.conn_id = CASE WHEN f.error = 'reset' THEN f.conn_id END%[18]s),
		m AS (SELECT quantile_disc(ts_ns, [0.1, 0.3, 0.5, 0.7, 0.9]) AS at, count(*) AS total FROM e),
		o AS (SELECT e.*, list_min(list_transform(m.at, a -> abs(a - ts_ns))) AS far, m.total, (ts_ns - lag(ts_ns) OVER g) / 1e6 AS gap, row_number() OVER (PARTITION BY src, dst, protocol, endpoint, status, class ORDER BY list_min(list_transform(m.at, a -> abs(a - ts_ns))), ts_ns, bundle, call_no) AS nth FROM e, m
			WINDOW g AS (PARTITION BY src, dst, protocol, endpoint, status, class ORDER BY ts_ns, bundle, call_no))
		SELECT src, dst, protocol, endpoint, status, class, count(DISTINCT CASE WHEN src = 'outside' THEN src_ip END) AS clients, count(*) AS calls, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns,
			round(quantile_disc(took, 0.5), 3) AS p50_ms, round(min(took), 3) AS min_ms, round(max(took), 3) AS max_ms, quantile_disc(took, 0.2) AS low, quantile_disc(took, 0.8) AS high,
			quantile_disc(gap, 0.1) AS gap_p10, quantile_disc(gap, 0.5) AS gap_p50, quantile_disc(gap, 0.9) AS gap_p90, count(*) FILTER (gap > 10000) AS pauses,
			list_transform(arg_min(call_id, (ts_ns, bundle, call_no), 3), x -> lower(hex(x))) AS call_ids,
			arg_min({'bundle': bundle, 'call_no': call_no}, (ts_ns, bundle, call_no), %[9]d) FILTER (nth <= %[9]d AND (far <= %[12]d OR nth = 1 OR total <= %[13]d)) AS sample
		FROM o GROUP BY ALL ORDER BY calls DESC, first_ns, src, dst, endpoint, status LIMIT %[10]d`,
		who("src_"), who("dst_"), endpoint, failureStatus, class, bundleOf(c, ""), rows.where, sameBundle(c, "k", "f"), maxExamined, w.limit+1, rows.from, nearTime, maxSeeds,
		nameless("src_"), resetBy(c, "l.conn_id IN (SELECT conn_id FROM f WHERE error = 'reset')"), resetWords("client"), resetWords("server"), sameBundle(c, "y", "f"))
	list, more, err := readRows[group](ctx, rows.c, w.limit, sql, rows.args...)
	if err != nil {
		return err
	}
	f.Truncated = f.Truncated || more
	var some []rowKey
	for i := range list {
		g := &list[i]
		g.First, g.Last = stamp(g.FirstNs), stamp(g.LastNs)
		g.When, g.Limit = g.when(), g.limit()
		for _, x := range g.Sample {
			some = append(some, rowKey{x.Bundle, x.No})
		}
	}
	text, err := answers(ctx, c, some)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Said = list[i].differing(text)
	}
	if causes && len(list) > 0 {
		if err := f.causes(ctx, c, list); err != nil {
			return err
		}
	}
	for _, g := range list {
		f.Groups = append(f.Groups, g.FailureGroup)
	}
	return nil
}

// differing are up to three of the texts that differ in more than digits.
func (g *group) differing(text map[rowKey]string) []string {
	var out, forms []string
	for _, x := range g.Sample {
		said := text[rowKey{x.Bundle, x.No}]
		form := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, said)
		if said != "" && !slices.Contains(forms, form) && len(out) < 3 {
			out, forms = append(out, said), append(forms, form)
		}
	}
	return out
}

// when puts the pattern in time in words.
func (g *group) when() string {
	length := g.LastNs - g.FirstNs
	switch {
	case g.Calls == 1:
		return "once"
	case g.Calls == 2:
		return "twice, " + lengthOf(length) + " apart"
	case g.GapP50 == nil || g.GapP10 == nil || g.GapP90 == nil:
		return "spread"
	case g.Calls >= 5 && *g.GapP50 >= 100 && *g.GapP90-*g.GapP10 <= 0.2**g.GapP50:
		return fmt.Sprintf("about every %s, over %s", lengthOf(int64(*g.GapP50*1e6)), lengthOf(length))
	case g.Pauses == 0 && length <= 60_000_000_000:
		return fmt.Sprintf("one burst of %s", lengthOf(length))
	case g.Pauses == 0:
		return fmt.Sprintf("without a pause of 10 s, over %s", lengthOf(length))
	case g.Pauses*3 <= g.Calls:
		return fmt.Sprintf("%d bursts over %s, at least 10 s apart", g.Pauses+1, lengthOf(length))
	}
	return "spread over " + lengthOf(length)
}

// limits are times that people set as timeouts, in milliseconds.
var limits = [...]float64{100, 150, 200, 250, 300, 400, 500, 600, 750, 800, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 15_000, 20_000, 25_000, 30_000, 45_000, 60_000, 90_000, 120_000, 180_000, 300_000}

// limit says that most calls took the same time, and names it.
func (g *group) limit() string {
	if g.Calls < 3 || g.P50Ms == nil || g.Low == nil || g.High == nil || *g.P50Ms < 90 || *g.High-*g.Low > 0.1**g.P50Ms {
		return ""
	}
	for _, l := range limits {
		if *g.P50Ms >= 0.985*l && *g.P50Ms <= 1.05*l {
			return fmt.Sprintf("most took %s to %s: a timeout of %s, likely", lengthOf(int64(*g.Low*1e6)), lengthOf(int64(*g.High*1e6)), lengthOf(int64(l*1e6)))
		}
	}
	return fmt.Sprintf("most took %s to %s, as at a limit", lengthOf(int64(*g.Low*1e6)), lengthOf(int64(*g.High*1e6)))
}

// causes follows chains of the groups' calls to where they began.
func (f *Failures) causes(ctx context.Context, c *forensics.Case, list []group) error {
	k, err := newChains(ctx, c)
	if err != nil {
		return err
	}
	var keys []rowKey
	of := map[rowKey]int{}
	for i, g := range list[:min(len(list), maxGroups)] {
		for _, s := range g.Sample {
			key := rowKey{s.Bundle, s.No}
			keys, of[key] = append(keys, key), i
		}
	}
	seeds, err := k.load(keys)
	if err != nil {
		return err
	}
	// Only what failed or took most of the time can be where it began.
	children, cut, err := k.below(seeds, maxLevels, maxNodes, func(s *step) bool {
		return s.broken() || s.link != nil && (s.end-s.Start)*10 >= (s.link.parent.end-s.link.parent.Start)*8
	})
	if err != nil {
		return err
	}
	// A failed call may itself be one of those asked about: then it is not in children.
	for _, s := range seeds {
		if l := k.parentOf(s); l != nil {
			children[l.parent] = append(children[l.parent], s)
		}
	}
	told := slices.Clone(seeds)
	for _, list := range children {
		told = append(told, list...)
	}
	if err := k.tell(told); err != nil {
		return err
	}
	var all []originOf
	per := make([][]originOf, len(list))
	var ends []rowKey
	for _, s := range seeds {
		i := of[s.key()]
		list[i].Examined++
		b := blameOf(s, children)
		if b.at == s {
			list[i].Own++
		} else {
			per[i] = append(per[i], originOf{b, s})
		}
		all = append(all, originOf{b, s})
		ends = append(ends, b.at.key())
	}
	text, err := answers(ctx, c, ends)
	if err != nil {
		return err
	}
	f.Causes = sumOrigins(all, text)
	f.Causes = f.Causes[:min(len(f.Causes), maxOrigins)]
	for i := range f.Causes {
		f.Causes[i].Number = i + 1
	}
	for i := range list {
		own := sumOrigins(per[i], text)
		for _, o := range own[:min(len(own), maxOrigins)] {
			if n := slices.IndexFunc(f.Causes, func(c Origin) bool { return c.same(o) }); n >= 0 && len(list[i].Causes) < 3 {
				list[i].Causes = append(list[i].Causes, Share{n + 1, o.Chains, o.Confidence, o.Sure})
			}
		}
	}
	if cut || k.cut {
		f.note("there were too many calls around the failures: some causes may be missing")
	}
	if k.skewed {
		f.note("calls were recorded by clocks whose difference is not known; %s is assumed, and what is nearer than that has no known order", lengthOf(clockUnsure))
	}
	if len(list) > maxGroups {
		f.note("causes were looked for in the %d largest groups", maxGroups)
	}
	return nil
}
