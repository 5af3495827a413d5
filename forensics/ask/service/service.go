// Package service answers questions about one service: a full description (describe_service), and
// what happened to it around a moment (get_timeline).
package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// ServiceIn is the input of describe_service: a service, or a label for all services that have it.
type ServiceIn struct {
	ask.Scope
	Service string `json:"service,omitempty" jsonschema:"service, workload, pod, host or address; namespace/name narrows, * and ? match"`
	Labels  string `json:"labels,omitempty" jsonschema:"instead: all services with a label, such as team=payments, and the calls between them"`
}

// Service is the answer of describe_service.
type Service struct {
	ask.Frame
	Names      []string       `json:"names" jsonschema:"what the name matches, as namespace/name"`
	What       string         `json:"what" jsonschema:"summary of its traffic"`
	In         ask.Load       `json:"in" jsonschema:"calls received"`
	Out        ask.Load       `json:"out" jsonschema:"calls made"`
	Contact    ask.Contact    `json:"connections_to_it" jsonschema:"connections to it, with or without calls; if it accepted none, nothing shows that it is a service"`
	Callers    []ServicePeer  `json:"callers" jsonschema:"its callers"`
	Asks       []ServicePeer  `json:"asks" jsonschema:"what it calls, with health"`
	Endpoints  []ServicePath  `json:"endpoints" jsonschema:"its endpoints"`
	Handshakes []Handshake    `json:"handshakes" jsonschema:"how long connections take to open"`
	Replicas   []Replica      `json:"replicas" jsonschema:"its pods and their share of the calls received"`
	Balance    float64        `json:"balance,omitempty" jsonschema:"calls of the busiest pod divided by the mean; 1 is even"`
	Churn      []Churn        `json:"churn" jsonschema:"connections that it opens per minute"`
	NoID       *Uncorrelated  `json:"without_correlation,omitempty" jsonschema:"absent if no HTTP or gRPC request was received"`
	Repeats    []Repeat       `json:"repeats" jsonschema:"equal requests, each within 100 ms of the previous one"`
	Adds       []AddedHeader  `json:"adds_headers" jsonschema:"request headers in the calls it makes that the calls it receives lack"`
	Journey    []Transition   `json:"journey" jsonschema:"order in which users call endpoints"`
	Blocking   []Blocking     `json:"sync_blocking" jsonschema:"endpoints that wait for one call after the other"`
	Services   []TeamService  `json:"services,omitempty" jsonschema:"with labels: the services"`
	Talks      []Conversation `json:"talks,omitempty" jsonschema:"with labels: calls between them and with others"`
}

// ServicePeer is one peer of a service.
type ServicePeer struct {
	Peer      string   `json:"peer"`
	Protocol  string   `json:"protocol"`
	External  bool     `json:"external,omitempty"`
	Calls     int64    `json:"calls"`
	Failed    int64    `json:"failed"`
	Faults    int64    `json:"faults,omitempty" jsonschema:"of the failed, not caused by the caller"`
	Health    string   `json:"health" jsonschema:"ok, slow (p99 of 1 s or more), degraded (5 % or more of the calls failed and their caller did not cause it), failing (half or more), or unknown (handshakes and payload that was not read)"`
	Why       string   `json:"why,omitempty"`
	P50Ms     *float64 `json:"p50_ms,omitempty"`
	P99Ms     *float64 `json:"p99_ms,omitempty"`
	Endpoints []string `json:"endpoints" jsonschema:"most used, up to three"`
	CallIDs   []string `json:"call_ids"`

	request bool // not handshakes or payload that was not read
}

// ServicePath is one endpoint of a service.
type ServicePath struct {
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Calls    int64    `json:"calls"`
	Failed   int64    `json:"failed"`
	P50Ms    *float64 `json:"p50_ms,omitempty"`
	P90Ms    *float64 `json:"p90_ms,omitempty"`
	P99Ms    *float64 `json:"p99_ms,omitempty"`
	Statuses []string `json:"statuses" jsonschema:"outcome × calls, most calls first"`
	CallIDs  []string `json:"call_ids"`
	FailedID []string `json:"failed_call_ids,omitempty" jsonschema:"the first failed calls"`
}

// DescribeQuestion is the question describe_service.
func DescribeQuestion() ask.Question {
	return ask.New("describe_service", "Describe one service", "Describes a service from its traffic: callers, dependencies and their health, endpoints, latency, handshakes, errors, replicas, connection churn, repeated requests, missing correlation ids, user journeys, sequential waiting. labels: the services of a team.", true, AskService)
}

// AskService answers describe_service.
func AskService(ctx context.Context, c *forensics.Case, in ServiceIn) (*Service, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if (in.Service == "") == (in.Labels == "") {
		return nil, ask.WrongOf("missing input: give service or labels, not both", "service", "labels")
	}
	s := &serviceAnswer{ctx: ctx, c: c, w: w, out: &Service{Names: []string{}, Callers: []ServicePeer{}, Asks: []ServicePeer{}, Endpoints: []ServicePath{}, Handshakes: []Handshake{}, Replicas: []Replica{}, Churn: []Churn{},
		Repeats: []Repeat{}, Adds: []AddedHeader{}, Journey: []Transition{}, Blocking: []Blocking{}}}
	if s.out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	if in.Labels != "" {
		return s.team(in.Labels)
	}
	t := &timelineAnswer{ctx: ctx, c: c, w: w, asked: in.Service}
	if t.list, err = targets(ctx, c, in.Service); err != nil {
		return nil, err
	}
	s.t = t
	s.to, s.from = t.received(), t.isTarget("src_id")
	s.name()
	columns := serviceColumns + ", " + s.to + " AS incoming, " + s.from + " AS outgoing"
	if s.rows, err = ask.LoadCalls(ctx, c, columns, w.Where+" AND ("+s.to+" OR "+s.from+")", w.Args); err != nil {
		return nil, err
	}
	if s.in, s.made = s.to, s.from; s.rows.InMemory {
		s.in, s.made = "incoming", "outgoing"
	}
	defer s.rows.Release()
	steps := []func() error{s.loads, s.alias, s.contact, s.peers, s.endpoints, s.handshakes, s.replicas, s.churn, s.uncorrelated, s.repeats, s.headers, s.journey, s.blocking}
	for _, f := range steps {
		if err := f(); err != nil {
			return nil, err
		}
	}
	s.words()
	n, err := ask.WaitsOf(ctx, s.rows.Case, s.rows.From, s.rows.Where+" AND "+terms.IsRequest, s.rows.Args...)
	if err != nil {
		return nil, err
	}
	s.out.NoteWaits(n)
	if err := ask.NoteUnread(ctx, c, &s.out.Frame, w); err != nil {
		return nil, err
	}
	s.out.Match(int(s.out.In.Calls+s.out.Out.Calls+s.out.Contact.Connections) + len(s.out.Callers) + len(s.out.Asks) + len(s.out.Handshakes))
	return s.out, nil
}

// serviceColumns are the columns that the facts about a service use.
const serviceColumns = `path, endpoint, outcome, waited_us, ended_by, call_no, call_id, ts_ns, elapsed_us, transport, protocol, method, query_string, host, status_code, status_text, failed, error, request_bytes, response_bytes, request_body_sha256, request_id, trace_id, idempotency_key,
	src_id, src_who, src_kind, src_pod, src_node, dst_id, dst_who, dst_pod, dst_node`

// serviceAnswer collects one answer.
type serviceAnswer struct {
	ctx      context.Context
	c        *forensics.Case
	w        *ask.Window
	t        *timelineAnswer
	to, from string         // conditions for rows of any table: to and from the service
	in, made string         // the same for rows
	rows     *ask.CallTable // calls in both directions
	out      *Service
}

func (s *serviceAnswer) name() {
	for _, p := range s.t.list {
		name := p.Who
		if name == "" { // it had no traffic
			name = strings.TrimPrefix(p.Namespace+"/"+cmp.Or(p.Workload, p.Pod), "/")
		}
		if !slices.Contains(s.out.Names, name) && len(s.out.Names) < maxPods {
			s.out.Names = append(s.out.Names, name)
		}
	}
}

// alias notes the names under which the pods behind the service make calls, if they make none under its own.
func (s *serviceAnswer) alias() error {
	if s.out.Out.Calls > 0 {
		return nil
	}
	cond, args := terms.End("", s.t.asked)
	list, _, err := ask.Rows[struct {
		Name string `json:"name"`
	}](s.ctx, s.c, ask.MaxNames, fmt.Sprintf(`SELECT DISTINCT %s AS name FROM calls WHERE %s AND NOT %s AND (src_namespace, src_pod) IN (SELECT (namespace, pod) FROM endpoints WHERE pod IS NOT NULL AND %s) ORDER BY 1`,
		terms.Who("src_"), s.w.Where, s.from, cond), s.w.Values(args...)...)
	if len(list) > 0 {
		names := make([]string, len(list))
		for i, n := range list {
			names[i] = n.Name
		}
		s.out.Note("its pods make their calls under another name: %s", strings.Join(names, ", "))
	}
	return err
}

// loads counts both directions, without handshakes and unknown payload.
func (s *serviceAnswer) loads() error {
	type row struct {
		Made bool `json:"made"`
		ask.Load
	}
	// A call from the service to itself counts in both directions.
	list, _, err := ask.Rows[row](s.ctx, s.rows.Case, 2, fmt.Sprintf("SELECT made, %[1]s FROM (SELECT unnest(list_filter([CASE WHEN %[2]s THEN false END, CASE WHEN %[3]s THEN true END], x -> x IS NOT NULL)) AS made, failed, error, outcome, waited_us, elapsed_us, request_bytes, response_bytes FROM %[4]s WHERE %[5]s AND (%[2]s OR %[3]s) AND %[6]s) GROUP BY 1",
		ask.LoadColumns, s.in, s.made, s.rows.From, s.rows.Where, terms.IsRequest), s.rows.Args...)
	for _, r := range list {
		if r.Made {
			s.out.Out = r.Load
		} else {
			s.out.In = r.Load
		}
	}
	return err
}

func (s *serviceAnswer) contact() (err error) {
	s.out.Contact, err = ask.ContactOf(s.ctx, s.c, s.w, s.t.isTarget("dst_id"))
	return err
}

// peerRow is a ServicePeer as SQL returns it, before its health is rated.
type peerRow struct {
	ServicePeer
	Request bool `json:"request"` // not handshakes or payload that was not read
}

// rated rates the health of a peer. Of what is not a request, only failures are known.
func (r *peerRow) rated() ServicePeer {
	p := r.ServicePeer
	p.request = r.Request
	if p.Health, p.Why = ask.Health(p.Calls, p.Faults, p.P99Ms); p.Health == ask.Healthy && !r.Request {
		p.Health = ask.Unknown
	}
	return p
}

func (s *serviceAnswer) peers() error {
	for _, side := range [2]struct {
		own, other, who string
		to              *[]ServicePeer
	}{{s.in, "src_", terms.Client(""), &s.out.Callers}, {s.made, "dst_", terms.Who(""), &s.out.Asks}} {
		sql := fmt.Sprintf(`WITH e AS MATERIALIZED (SELECT %[1]s, endpoint_id, %[2]s AS who, external FROM endpoints_raw),
			f AS MATERIALIZED (SELECT e.who AS peer, k.protocol, e.external, k.endpoint, CASE WHEN k.protocol IN `+named+` THEN k.host END AS host, k.failed AS bad,
				%[9]s AS ill, CASE WHEN %[7]s THEN `+terms.Took+` END AS elapsed_us, k.call_no + %[10]s AS nth, k.call_id, %[7]s AS request FROM %[4]s k LEFT JOIN e ON e.endpoint_id = k.%[3]sid%[11]s WHERE %[5]s AND %[6]s),
			n AS (SELECT peer, protocol, endpoint, host, count(*) AS n FROM f GROUP BY ALL), m AS (SELECT peer, protocol, %[12]s AS endpoint, sum(n) AS n FROM n GROUP BY ALL),
			t AS (SELECT peer, protocol, arg_max(endpoint, (n, endpoint), 3) AS endpoints FROM m GROUP BY ALL)
			SELECT f.peer, f.protocol, coalesce(bool_or(external), false) AS external, count(*) AS calls, count(*) FILTER (bad) AS failed, count(*) FILTER (ill) AS faults, bool_or(request) AS request,
				round(quantile_disc(elapsed_us, 0.5) / 1000.0, 3) AS p50_ms, round(quantile_disc(elapsed_us, 0.99) / 1000.0, 3) AS p99_ms, any_value(t.endpoints) AS endpoints,
				list_transform(arg_min(call_id, (nth, call_id), 3), x -> lower(hex(x))) AS call_ids
			FROM f JOIN t ON t.peer = f.peer AND t.protocol = f.protocol GROUP BY 1, 2 ORDER BY calls DESC, 1, 2 LIMIT %[8]d`,
			terms.BundleOf(s.c, ""), side.who, side.other, s.rows.From, s.rows.Where, terms.Qualified(side.own), terms.IsRequest, s.w.Limit+1, terms.Fault, bundleOffset(s.c), terms.SameBundle(s.c, "e", "k"), terms.NamedEndpoint)
		list, more, err := ask.Rows[peerRow](s.ctx, s.rows.Case, s.w.Limit, sql, s.rows.Args...)
		if err != nil {
			return err
		}
		s.out.Truncated = s.out.Truncated || more
		peers := make([]ServicePeer, len(list))
		for i := range list {
			peers[i] = list[i].rated()
		}
		*side.to = ask.Fit(s.w, &s.out.Frame, peers)
	}
	return nil
}

// bundleOffset is the SQL that makes call numbers unique and ordered in a case.
func bundleOffset(c *forensics.Case) string {
	if !c.Several() {
		return "0"
	}
	return "(k.bundle::BIGINT << 40)"
}

// named are the protocols whose rows have a name but no path.
var named = table.ProtocolsIn(func(t *table.Traits) bool { return t.Lookup || t.Carrier })

func (s *serviceAnswer) endpoints() error {
	sql := fmt.Sprintf(`WITH f AS (SELECT protocol, %s AS endpoint, failed AS bad, %s AS status, `+terms.Took+` AS elapsed_us, ts_ns, call_id FROM %s WHERE %s AND %s AND %s),
		n AS (SELECT protocol, endpoint, status, count(*) AS n FROM f GROUP BY ALL), t AS (SELECT protocol, endpoint, list(status || ' × ' || n ORDER BY n DESC, status)[1:6] AS statuses FROM n GROUP BY ALL)
		SELECT f.protocol, f.endpoint, count(*) AS calls, count(*) FILTER (bad) AS failed, round(quantile_disc(elapsed_us, 0.5) / 1000.0, 3) AS p50_ms, round(quantile_disc(elapsed_us, 0.9) / 1000.0, 3) AS p90_ms,
			round(quantile_disc(elapsed_us, 0.99) / 1000.0, 3) AS p99_ms, any_value(t.statuses) AS statuses, list_transform(arg_min(call_id, (ts_ns, call_id), 3), x -> lower(hex(x))) AS call_ids,
			list_transform(arg_min(call_id, (ts_ns, call_id), 3) FILTER (bad), x -> lower(hex(x))) AS failed_call_ids
		FROM f JOIN t ON t.protocol = f.protocol AND t.endpoint = f.endpoint GROUP BY 1, 2 ORDER BY calls DESC, 1, 2 LIMIT %d`,
		terms.NamedEndpoint, strings.Replace(terms.FailureStatus, "'failed'", "'ok'", 1), s.rows.From, s.rows.Where, s.in, terms.IsRequest, s.w.Limit+1)
	list, more, err := ask.Rows[ServicePath](s.ctx, s.rows.Case, s.w.Limit, sql, s.rows.Args...)
	if err != nil {
		return err
	}
	s.out.Truncated = s.out.Truncated || more
	s.out.Endpoints = ask.Fit(s.w, &s.out.Frame, list)
	return nil
}

// words writes the summary of the service.
func (s *serviceAnswer) words() {
	o := s.out
	if len(o.Names) == 0 && o.In.Calls > 0 {
		o.Names = []string{s.t.asked}
	}
	if len(o.Names) == 0 {
		return // nothing has the name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", strings.Join(o.Names[:min(3, len(o.Names))], ", "))
	tried := o.Contact.Connections > 0 && o.Contact.Accepted() == 0
	switch {
	case o.In.Calls == 0 && o.Out.Calls == 0 && tried && len(o.Callers)+len(o.Asks) == 0:
		b.WriteString(" is not shown to be a service: " + o.Contact.Words() + "; none was accepted")
	case o.In.Calls == 0:
		b.WriteString(map[bool]string{true: " had", false: " got"}[o.Out.Calls == 0] + map[bool]string{true: " no readable calls", false: " no calls that match the filter"}[s.w.KFL == ""])
		if words := o.Contact.Words(); words != "" {
			b.WriteString("; " + words)
		}
	case tried && o.In.Failed == o.In.Calls:
		b.WriteString(plural.Sprintf(" was sent %d {call|calls} by %s and answered none", o.In.Calls, firstThree(o.requesters(), func(p ServicePeer) string { return p.Peer })))
	default:
		b.WriteString(plural.Sprintf(" got %d {call|calls} (%d failed) from %s", o.In.Calls, o.In.Failed, firstThree(o.requesters(), func(p ServicePeer) string { return p.Peer })))
		fmt.Fprintf(&b, ", mostly %s", firstThree(o.Endpoints, func(p ServicePath) string { return p.Endpoint }))
	}
	for _, kind := range []struct {
		is   func(ServicePeer) bool
		verb string
	}{
		{func(p ServicePeer) bool { return statements.Has(p.Protocol) }, "uses the database"},
		{func(p ServicePeer) bool { return table.TraitsOf(p.Protocol).Store }, "stores data in"},
		{func(p ServicePeer) bool { return p.External && !table.TraitsOf(p.Protocol).Lookup }, "calls external hosts:"},
		{func(p ServicePeer) bool {
			t := table.TraitsOf(p.Protocol)
			return !p.External && !t.Lookup && !t.Store && !t.Carrier && t.Statements == nil
		}, "asks"},
	} {
		var list []ServicePeer
		for _, p := range o.Asks {
			if kind.is(p) && (p.request || p.Protocol != "icmp") { // an ICMP error is no call
				list = append(list, p)
			}
		}
		if len(list) > 0 {
			fmt.Fprintf(&b, "; it %s %s", kind.verb, firstThree(list, func(p ServicePeer) string {
				return p.Peer + " (" + strings.Join(p.Endpoints[:min(2, len(p.Endpoints))], ", ") + ")"
			}))
		}
	}
	for _, p := range o.Asks {
		if p.Why != "" {
			fmt.Fprintf(&b, "; %s is %s: %s", p.Peer, p.Health, p.Why)
		}
	}
	o.What = ask.Clip(b.String(), 1200)
}

// requesters are the callers that sent requests.
func (s *Service) requesters() []ServicePeer {
	return slices.DeleteFunc(slices.Clone(s.Callers), func(p ServicePeer) bool { return !p.request })
}

// firstThree names the first three and counts the rest.
func firstThree[T any](list []T, name func(T) string) string {
	var names []string
	for _, v := range list {
		if n := name(v); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	more := ""
	if len(names) > 3 {
		more = fmt.Sprintf(" and %d more", len(names)-3)
		names = names[:3]
	}
	return strings.Join(names, ", ") + more
}

// Sentence is the answer in one sentence.
func (s *Service) Sentence() string { return s.What + "." }
