// Package failures answers what failed and why: groups of failed calls with their origins, names
// that could not be resolved, and connections that were refused or reset.
package failures

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Limits of the search for causes.
const (
	maxGroups   = 25 // groups whose chains are followed
	maxExamined = 20 // calls of a group whose chains are followed
)

// In is the input of find_failures.
type In struct {
	ask.Scope
	Service   string `json:"service,omitempty" jsonschema:"only calls to this service, workload, pod, host or address; * and ? match, namespace/* is a whole namespace"`
	Client    string `json:"client,omitempty" jsonschema:"only calls from this client"`
	Class     string `json:"class,omitempty" jsonschema:"4xx, 5xx: HTTP, else the outcome"`
	NoCauses  bool   `json:"no_causes,omitempty" jsonschema:"do not trace failures to their origin; faster"`
	ListCalls bool   `json:"list_calls,omitempty" jsonschema:"also list the failed calls, by time"`
	Cursor    string `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer, with the same input"`
}

// Answer is the answer of find_failures.
type Answer struct {
	ask.Frame
	Happened    *Happened         `json:"happened,omitempty"`
	Total       int64             `json:"failed_calls"`
	Datagrams   int64             `json:"unanswered_datagrams,omitempty" jsonschema:"of the failed calls, datagrams without an answer: packets do not show when their caller gave up"`
	Unanswered  []ask.Fate        `json:"unanswered,omitempty" jsonschema:"of the failed calls, those without a response by what became of their request"`
	Calls       int64             `json:"calls" jsonschema:"all calls in scope, failed or not"`
	Classes     []ClassCount      `json:"classes"`
	Groups      []FailureGroup    `json:"groups" jsonschema:"failed calls except DNS, most frequent first"`
	Causes      []chain.Origin    `json:"causes" jsonschema:"origins of the failures, as far as chains were followed, most frequent first; chains counts calls"`
	DNS         []NameFailure     `json:"dns"`
	Connections []ConnFailure     `json:"connections" jsonschema:"connections that were refused, reset or never answered, with or without calls"`
	ICMP        []ask.Undelivered `json:"icmp_errors" jsonschema:"packets that could not be delivered, as ICMP errors report, by their sender and destination; they are no calls and not in failed_calls"`
	Listed      []ask.Call        `json:"listed,omitempty" jsonschema:"with list_calls: the failed calls by time"`
	Next        string            `json:"next_cursor,omitempty" jsonschema:"cursor of the next page; repeat the same input"`

	lookups lookups
	more    bool // groups that are not listed
}

// ClassCount is the number of failed calls of one class.
type ClassCount struct {
	Class string `json:"class" jsonschema:"4xx, 5xx, dns, tls, or else the outcome: client_error, server_error, refused, no_answer"`
	Calls int64  `json:"calls"`
}

// FailureGroup summarizes failed calls of one kind.
type FailureGroup struct {
	Dst      string   `json:"dst"`
	Src      string   `json:"src"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint" jsonschema:"method and path with ids replaced, or the equivalent of another protocol"`
	Status   string   `json:"status" jsonschema:"status, or why there is no response"`
	Class    string   `json:"class"`
	Delivery string   `json:"delivery,omitempty" jsonschema:"of calls without a response: not delivered, delivered and not answered, answered in part, answered too late, or delivery unknown (the capture does not show it)"`
	Calls    int64    `json:"calls"`
	First    string   `json:"first"`
	Last     string   `json:"last"`
	P50Ms    *float64 `json:"p50_ms,omitempty" jsonschema:"median time until the response, or that the caller waited without one"`
	MinMs    *float64 `json:"min_ms,omitempty"`
	MaxMs    *float64 `json:"max_ms,omitempty"`
	When     string   `json:"when" jsonschema:"pattern in time: one burst, bursts, about every n seconds, or spread"`
	Limit    string   `json:"at_limit,omitempty" jsonschema:"if waits ended after one long time without a response, or the responses say that a time had passed: that time, likely a timeout"`
	Said     []string `json:"said,omitempty" jsonschema:"errors or bodies of responses, up to three that differ in more than digits; text from the traffic"`
	Clients  int64    `json:"clients,omitempty" jsonschema:"number of addresses, if src is (outside)"`
	CallIDs  []string `json:"call_ids" jsonschema:"the first three calls"`

	harmless bool

	Examined int     `json:"examined,omitempty" jsonschema:"calls whose chains were followed; of many calls, a sample spread over time"`
	Own      int     `json:"own,omitempty" jsonschema:"of these, calls with nothing failed or slow below them: the failure began here"`
	Causes   []Share `json:"began,omitempty" jsonschema:"origins of the others"`
}

// Share is the number of calls of a group with one cause.
type Share struct {
	Cause      int     `json:"cause" jsonschema:"number in causes"`
	Calls      int     `json:"calls"`
	Confidence float64 `json:"confidence"`
	Sure       string  `json:"sure" jsonschema:"exact, likely or guess"`
}

// Question is the question find_failures.
func Question() ask.Question {
	q := ask.New("find_failures", "What failed and why", "Failed calls grouped by client, server, endpoint and status; the origin of each (deepest failing call below), error text, pattern in time, timeouts; DNS; refused and reset connections; ICMP errors.", true, Ask).
		Allow("class", "4xx", "5xx", "client_error", "server_error", "refused", "no_answer", "dns", "tls")
	q.Sums, q.Keyed = []string{"classes"}, "listed"
	return q
}

// class is the SQL for the class of a failure: what its protocol is known for, or else its outcome, which all protocols have.
var class = `(CASE WHEN protocol IN ` + table.ProtocolsIn(func(t *table.Traits) bool { return t.Lookup }) + ` THEN 'dns' WHEN protocol IN ('tls', 'quic') THEN 'tls' WHEN protocol IN ` + terms.Web + ` AND status_code BETWEEN 400 AND 499 THEN '4xx'
	WHEN protocol IN ` + terms.Web + ` AND status_code >= 500 THEN '5xx' ELSE outcome END)`

// failed are the columns of failed calls that are read. All clients outside count as one client.
var failed = `call_no, call_id, ts_ns, protocol, host, src_ip, endpoint, coalesce(error = '` + table.Undelivered + `', false) AS reported, ` + terms.Who("src_") + ` AS client, ` + terms.Client("src_") + ` AS src,
	` + terms.Server + ` AS dst, ` + class + ` AS class, ` + terms.Fate + ` AS delivery, ` + terms.FailureStatus + ` AS status, ` + terms.Took + ` / 1000.0 AS took, NOT ` + terms.WaitSeen + ` AS blind, coalesce(` + terms.Unanswered + `, false) AS waited, coalesce(` + terms.SaysTimeout + `, false) AS told, ` + harmless + ` AS harmless`

// harmless is the SQL condition for failures that are part of normal use: a client asks whether a server has something.
var harmless = func() string {
	text := "(outcome = 'client_error' AND CASE protocol"
	for _, t := range table.AllTraits() {
		if t.Harmless != "" {
			text += " WHEN '" + t.Protocol + "' THEN coalesce(" + t.Harmless + ", false)"
		}
	}
	return text + " ELSE false END)"
}()

// classRow is a ClassCount as SQL returns it, and what the calls of the class need.
type classRow struct {
	ClassCount
	Blind   int64 `json:"blind"`   // datagrams; see ask.Waits
	Lookups int64 `json:"lookups"` // look-ups in DNS
	Unknown int64 `json:"unknown"` // of these, for names that do not exist
}

// Ask answers find_failures.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	scope := *w
	if in.Service != "" {
		to, err := ask.EndOf(ctx, c, "dst_", in.Service)
		if err != nil {
			return nil, err
		}
		w.And(to.Calls, to.Args...)
	}
	if in.Client != "" {
		from, err := ask.EndOf(ctx, c, "src_", in.Client)
		if err != nil {
			return nil, err
		}
		w.And(from.Calls, from.Args...)
	}
	after, err := ask.ReadCursor(c, in.Cursor)
	if err != nil {
		return nil, err
	}
	out := &Answer{Classes: []ClassCount{}, Groups: []FailureGroup{}, Causes: []chain.Origin{}, DNS: []NameFailure{}, Connections: []ConnFailure{}, ICMP: []ask.Undelivered{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	all, err := ask.One[struct {
		Calls     int64 `json:"calls"`
		Cancelled int64 `json:"cancelled"`
	}](ctx, c, "SELECT count(call_no) AS calls, count(*) FILTER (outcome = 'cancelled') AS cancelled FROM calls WHERE "+w.Where, w.Args...)
	if err != nil {
		return nil, err
	}
	out.Calls = all.Calls
	if n := all.Cancelled; n > 0 {
		out.Note("%d {call was|calls were} cancelled by the client before {it|they} could be answered (outcome cancelled); {it is|they are} not counted as failed", n)
	}
	if in.Class == "" {
		if err := out.noteUnreceived(ctx, c, w); err != nil {
			return nil, err
		}
	}
	if in.Class != "" {
		rest, _, err := ask.Rows[ClassCount](ctx, c, 10, "SELECT "+class+" AS class, count(*) AS calls FROM calls WHERE "+w.Where+" AND failed AND "+class+" <> ? GROUP BY 1 ORDER BY 2 DESC, 1", w.Values(in.Class)...)
		if err != nil {
			return nil, err
		}
		for _, r := range rest {
			out.Note("%d failed {call|calls} of class %s {is|are} not listed", r.Calls, r.Class)
		}
		w.And(class+" = ?", in.Class)
	}
	unfailed := *w
	w.And("failed")
	rows, err := ask.LoadCalls(ctx, c, failed, w.Where, w.Args)
	if err != nil {
		return nil, err
	}
	defer rows.Release()
	if !rows.InMemory {
		rows.From, rows.Where = "(SELECT "+terms.Key(c, "")+failed+" FROM calls WHERE "+rows.Where+")", "true"
	}
	classes, _, err := ask.Rows[classRow](ctx, rows.Case, 10, `SELECT class, count(*) AS calls, count(*) FILTER (blind) AS blind,
		count(*) FILTER (protocol = 'dns') AS lookups, count(*) FILTER (protocol = 'dns' AND contains(status, 'NXDOMAIN')) AS unknown FROM `+rows.From+" GROUP BY 1 ORDER BY 2 DESC, 1", rows.Args...)
	if err != nil {
		return nil, err
	}
	var sum classRow
	for _, n := range classes {
		out.Classes = append(out.Classes, n.ClassCount)
		out.Total += n.Calls
		sum.Blind, sum.Lookups, sum.Unknown = sum.Blind+n.Blind, sum.Lookups+n.Lookups, sum.Unknown+n.Unknown
	}
	if out.Unanswered, err = ask.FatesOf(ctx, c, w.Where, w.Args...); err != nil {
		return nil, err
	}
	out.Datagrams = sum.Blind
	out.NoteDatagrams(sum.Blind)
	broken, err := ask.Exists(ctx, c, "flows_raw", "transport = 'tcp' AND "+terms.NotCompleted)
	if err != nil {
		return nil, err
	}
	if out.Total > sum.Lookups {
		if err := out.groups(ctx, c, w, rows, !in.NoCauses, broken); err != nil {
			return nil, err
		}
	}
	if sum.Lookups > 0 {
		if err := out.names(ctx, w, rows, sum.Unknown > 0); err != nil {
			return nil, err
		}
	}
	if in.Class == "" || in.Class == "refused" || in.Class == "no_answer" {
		if err := out.unreached(ctx, c, w, &scope, in, broken); err != nil {
			return nil, err
		}
	}
	if err := out.happened(ctx, c, &unfailed); err != nil {
		return nil, err
	}
	if in.Class == "" && in.Service == "" && in.Client == "" && in.KFL == "" { // a window belongs to a connection, not to calls
		if err := out.receivers(ctx, c, w); err != nil {
			return nil, err
		}
	}
	if in.ListCalls {
		if out.Listed, out.Next, err = rows.List(ctx, c, after, w.Page); err != nil {
			return nil, err
		}
		out.Truncated = out.Truncated || out.Next != ""
	}
	if err := ask.NoteUnread(ctx, c, &out.Frame, w); err != nil {
		return nil, err
	}
	found := int(out.Total) + len(out.Connections) + len(out.ICMP)
	if found == 0 && in.Class != "" {
		out.Happened = nil // other classes may have failed
	} else if out.Happened != nil {
		found++ // requests that became slower
	}
	out.Match(found)
	return out, nil
}

// unreached lists the connections and packets that did not reach their server.
func (a *Answer) unreached(ctx context.Context, c *forensics.Case, w, scope *ask.Window, in In, broken bool) error {
	if err := a.connections(ctx, c, w, scope, in, broken); err != nil {
		return err
	}
	if in.Class != "" {
		scope.And(terms.ReportClass+" = ?", in.Class)
	}
	var err error
	var more bool
	a.ICMP, more, err = ask.UndeliveredTo(ctx, c, scope, in.Service, in.Client)
	a.Truncated = a.Truncated || more
	return err
}

// noteUnreceived says how many responses to calls of the question did not arrive.
func (a *Answer) noteUnreceived(ctx context.Context, c *forensics.Case, w *ask.Window) error {
	n, err := ask.Count(ctx, c, "SELECT count(*) AS n FROM anomalies WHERE kind = 'unreceived_response'")
	if err != nil || n == 0 {
		return err
	}
	n, err = ask.Count(ctx, c, "SELECT count(*) AS n FROM calls WHERE NOT failed AND response_delivered = '"+table.NotDelivered+"' AND "+w.Where, w.Args...)
	if err == nil && n > 0 {
		a.Note("%d {response|responses} {was|were} sent and never acknowledged by the caller: the server answered, and the answer did not arrive whole (response_delivered == \"no\"); {its call|their calls} did not fail otherwise, so {it is|they are} not counted as failed", n)
	}
	return err
}

// group is a FailureGroup as SQL returns it.
type group struct {
	FailureGroup
	N       int64     `json:"n"`
	FirstNs int64     `json:"first_ns"`
	LastNs  int64     `json:"last_ns"`
	Tenths  []float64 `json:"tenths"` // the lowest time in milliseconds, the p10, p20 and so on, the highest
	Waited  bool      `json:"waited"` // no call had a response, and the packets show how long its callers waited
	Told    bool      `json:"told"`   // each response says that a time had passed
	Normal  bool      `json:"harmless"`
	below   []int64   // how long each examined call waited for one that got no response, in nanoseconds
	GapP10  *float64  `json:"gap_p10"`
	GapP50  *float64  `json:"gap_p50"`
	GapP90  *float64  `json:"gap_p90"`
	Pauses  int64     `json:"pauses"`
	Sample  []sample  `json:"sample"`
}

type sample struct {
	Bundle int64 `json:"bundle"`
	No     int64 `json:"call_no"`
}

// groups sets the groups and, if causes is true, their origins. broken is whether the case has connections that were not
// completed.
func (f *Answer) groups(ctx context.Context, c *forensics.Case, w *ask.Window, rows *ask.CallTable, causes, broken bool) error {
	sql := fmt.Sprintf(`WITH e AS (SELECT * FROM %[1]s WHERE protocol <> 'dns'),
		m AS (SELECT quantile_disc(ts_ns, [0.1, 0.3, 0.5, 0.7, 0.9]) AS at, count(*) AS total FROM e),
		n AS (SELECT src, src_ip, dst, protocol, endpoint, status, class, delivery, ts_ns, took, waited, told, harmless, call_id, %[2]s, call_no, list_min(list_transform(m.at, a -> abs(a - ts_ns))) AS far, m.total FROM e, m),
		o AS (SELECT n.*, (ts_ns - lag(ts_ns) OVER g) / 1e6 AS gap, row_number() OVER (PARTITION BY src, dst, protocol, endpoint, status, class, delivery ORDER BY far, ts_ns, bundle, call_no) AS nth FROM n
			WINDOW g AS (PARTITION BY src, dst, protocol, endpoint, status, class, delivery ORDER BY ts_ns, bundle, call_no))
		SELECT src, dst, protocol, endpoint, status, class, delivery, count(DISTINCT CASE WHEN src = '`+terms.AnyOutside+`' THEN src_ip END) AS clients, count(*) AS calls, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns,
			round(quantile_disc(took, 0.5), 3) AS p50_ms, round(min(took), 3) AS min_ms, round(max(took), 3) AS max_ms, quantile_disc(took, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) AS tenths, bool_and(waited) AS waited, bool_and(told) AS told, bool_and(harmless) AS harmless,
			quantile_disc(gap, 0.1) AS gap_p10, quantile_disc(gap, 0.5) AS gap_p50, quantile_disc(gap, 0.9) AS gap_p90, count(*) FILTER (gap > 10000) AS pauses,
			list_transform(arg_min(call_id, (ts_ns, bundle, call_no), 3), x -> lower(hex(x))) AS call_ids,
			arg_min({'bundle': bundle, 'call_no': call_no}, (ts_ns, bundle, call_no), %[3]d) FILTER (nth <= %[3]d AND (far <= %[4]d OR nth = 1 OR total <= %[5]d)) AS sample
		FROM o GROUP BY ALL ORDER BY calls DESC, first_ns, src, dst, endpoint, status, delivery LIMIT %[6]d`, rows.From, terms.BundleOf(c, ""), maxExamined, chain.NearTime, chain.MaxSeeds, w.Limit+1)
	list, more, err := ask.Rows[group](ctx, rows.Case, w.Limit, sql, rows.Args...)
	if err != nil {
		return err
	}
	f.Truncated, f.more = f.Truncated || more, more
	var some []ask.Key
	var protocols []string
	for i := range list {
		g := &list[i]
		protocols = ask.AddName(protocols, g.Protocol)
		g.First, g.Last = when.Stamp(g.FirstNs), when.Stamp(g.LastNs)
		g.When = g.when()
		for _, x := range g.Sample {
			some = append(some, ask.Key{Bundle: x.Bundle, No: x.No})
		}
	}
	text, err := ask.Answers(ctx, c, some, protocols...)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Said = list[i].differing(text)
	}
	if causes && len(list) > 0 {
		if err := f.causes(ctx, c, list, text, broken); err != nil {
			return err
		}
	}
	for _, g := range list {
		g.Limit, g.harmless = g.limit(), g.Normal
		f.Groups = append(f.Groups, g.FailureGroup)
	}
	return nil
}

// differing returns up to three texts that differ in more than digits.
func (g *group) differing(text map[ask.Key]string) []string {
	var out, forms []string
	for _, x := range g.Sample {
		said := text[ask.Key{Bundle: x.Bundle, No: x.No}]
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

// origins sums the origins of chains, in all and for each group. groups has the group of each root, text the answers to
// the roots.
func (f *Answer) origins(ctx context.Context, c *forensics.Case, list []group, text map[ask.Key]string, roots []chain.Root, groups []int) error {
	per := make([][]chain.Root, len(list))
	var ends []ask.Key
	for n, r := range roots {
		i := groups[n]
		list[i].Examined++
		if r.Blame.At == r.Root {
			list[i].Own++
		} else {
			if ns, ok := r.Unanswered(); ok {
				list[i].below = append(list[i].below, ns)
			}
			per[i] = append(per[i], r)
			ends = append(ends, r.Blame.At.Key())
		}
	}
	more, err := ask.Answers(ctx, c, ends)
	if err != nil {
		return err
	}
	maps.Copy(text, more)
	f.Causes = chain.SumOrigins(roots, text)
	f.Causes = f.Causes[:min(len(f.Causes), chain.MaxOrigins)]
	for i := range f.Causes {
		f.Causes[i].Number = i + 1
	}
	for i := range list {
		own := chain.SumOrigins(per[i], text)
		for _, o := range own[:min(len(own), chain.MaxOrigins)] {
			if n := slices.IndexFunc(f.Causes, func(c chain.Origin) bool { return c.Same(o) }); n >= 0 && len(list[i].Causes) < 3 {
				list[i].Causes = append(list[i].Causes, Share{n + 1, o.Chains, o.Confidence, o.Sure})
			}
		}
	}
	return nil
}

// causes follows the chains of the groups' calls to their origins.
func (f *Answer) causes(ctx context.Context, c *forensics.Case, list []group, text map[ask.Key]string, broken bool) error {
	k, err := chain.New(ctx, c)
	if err != nil {
		return err
	}
	k.AllConnected = !broken
	var keys []ask.Key
	of := map[ask.Key]int{}
	for i, g := range list[:min(len(list), maxGroups)] {
		for _, s := range g.Sample {
			key := ask.Key{Bundle: s.Bundle, No: s.No}
			keys, of[key] = append(keys, key), i
		}
	}
	seeds, err := k.Load(keys)
	if err != nil {
		return err
	}
	// Only a failed or slow call can be the origin.
	children, cut, err := k.Below(seeds, chain.MaxLevels, chain.MaxNodes, func(s *chain.Step) bool {
		return s.Broken() || s.Link != nil && (s.End-s.Start)*10 >= (s.Link.Parent.End-s.Link.Parent.Start)*8
	})
	if err != nil {
		return err
	}
	// A failed call may itself be one of the seeds; then it is not in children.
	for _, s := range seeds {
		if l := k.ParentOf(s); l != nil {
			children[l.Parent] = append(children[l.Parent], s)
		}
	}
	steps := slices.Clone(seeds)
	for _, list := range children {
		steps = append(steps, list...)
	}
	if err := k.LoadDetails(steps); err != nil {
		return err
	}
	roots := make([]chain.Root, len(seeds))
	groups := make([]int, len(seeds))
	for i, s := range seeds {
		roots[i], groups[i] = chain.Root{Blame: chain.BlameOf(s, children), Root: s}, of[s.Key()]
	}
	if err := f.origins(ctx, c, list, text, roots, groups); err != nil {
		return err
	}
	if cut || k.Cut {
		f.Note("there were too many calls around the failures, so some causes may be missing")
	}
	if k.Skewed {
		f.Note("calls were recorded by clocks with an unknown difference; %s is assumed, and the order of calls closer than that is unknown", chain.LengthOf(chain.ClockUnsure))
	}
	if len(list) > maxGroups {
		f.Note("causes were searched only in the %d largest groups", maxGroups)
	}
	return nil
}

// Sentence is the answer in a few sentences: what happened to users, then the numbers.
func (a *Answer) Sentence() string {
	s := plural.Sprintf("%d of %d {call|calls} failed", a.Total, a.Calls)
	switch {
	case a.Happened != nil && a.Total == 0:
		s = strings.TrimSuffix(a.Happened.What, ".")
	case a.Happened != nil:
		s = a.Happened.What + " In all, " + s
		if h := a.Happened; h.Users && h.Origin != h.Service && h.Failed < a.Total {
			s += ", hops included"
		}
	case len(a.Groups) > 0:
		g := &a.Groups[0]
		s += plural.Sprintf("; most often %s %s by %s: %s, %d {time|times}", g.Dst, g.Endpoint, g.Src, g.Status, g.Calls)
	}
	shut, reset := int64(0), int64(0)
	for _, c := range a.Connections {
		if c.What == "reset" {
			reset += c.Connections
		} else {
			shut += c.Connections
		}
	}
	if shut > 0 {
		s += plural.Sprintf("; %d {connection was|connections were} refused or not answered", shut)
	}
	if reset > 0 {
		s += plural.Sprintf("; %d {connection was|connections were} reset", reset)
	}
	return s + "."
}
