// Package access answers who accessed what. audit_access lists every call to a service or
// database; get_pair shows the traffic between two endpoints as it was on the wire. Credentials
// are masked.
package access

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// AccessIn is the input of audit_access.
type AccessIn struct {
	ask.Scope
	Service   string `json:"service,omitempty" jsonschema:"what was accessed: service, database, workload, pod, host or address; * and ? match"`
	Client    string `json:"client,omitempty" jsonschema:"only calls from this client"`
	Direction string `json:"direction,omitempty" jsonschema:"to: calls to service (the default); from: calls that it made; both"`
	External  bool   `json:"external,omitempty" jsonschema:"only calls to destinations outside; without service, all of them"`
	PII       bool   `json:"pii,omitempty" jsonschema:"only calls that carry personal data: cards, SSNs, IBANs, email addresses, phone numbers"`
	Cursor    string `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer, with the same input"`
}

// Access is the answer of audit_access.
type Access struct {
	ask.Frame
	Total       int64               `json:"total_calls"`
	Failed      int64               `json:"failed"`
	Accesses    int64               `json:"accesses" jsonschema:"calls that access data; of databases and caches, logins, prepared statements and commands about the connection do not"`
	Clients     []AccessClient      `json:"clients" jsonschema:"clients, most calls first"`
	Users       []AccessUser        `json:"users" jsonschema:"users that credentials or the protocol name, most calls first; no user is a row with an empty name"`
	Servers     []AccessServer      `json:"servers" jsonschema:"what was accessed, most calls first"`
	Pairs       []AccessPair        `json:"pairs" jsonschema:"client and server, most calls first"`
	Hours       []AccessHour        `json:"hours" jsonschema:"by hour, UTC"`
	Calls       []AccessCall        `json:"calls" jsonschema:"every call, by time, paged"`
	Next        string              `json:"next_cursor,omitempty" jsonschema:"cursor of the next page; repeat the same input"`
	Unread      []UnreadConn        `json:"unread" jsonschema:"connections without readable calls: encrypted, unknown protocol, or empty"`
	UnreadTotal int64               `json:"unread_connections"`
	Kinds       []search.PlaceCount `json:"pii_kinds,omitempty" jsonschema:"with pii: kinds of personal data and the number of calls with each"`
}

// AccessClient summarizes the calls of one client.
type AccessClient struct {
	Client  string   `json:"client"`
	Pods    []string `json:"pods,omitempty" jsonschema:"up to five"`
	Users   []string `json:"users,omitempty" jsonschema:"users named by the protocol, up to five"`
	Calls   int64    `json:"calls"`
	Failed  int64    `json:"failed"`
	Access  int64    `json:"accesses" jsonschema:"calls that access data"`
	Rows    int64    `json:"rows,omitempty" jsonschema:"database rows"`
	Bytes   int64    `json:"bytes"`
	First   string   `json:"first"`
	Last    string   `json:"last"`
	New     bool     `json:"only_in_window,omitempty" jsonschema:"no calls outside this window"`
	Others  int64    `json:"calls_outside_window" jsonschema:"calls outside this window"`
	CallIDs []string `json:"call_ids"`
}

// AccessUser summarizes the calls of one user.
type AccessUser struct {
	User    string   `json:"user" jsonschema:"empty if the call names none"`
	Calls   int64    `json:"calls"`
	Failed  int64    `json:"failed"`
	First   string   `json:"first"`
	Last    string   `json:"last"`
	CallIDs []string `json:"call_ids"`
}

// AccessServer summarizes the calls to one server.
type AccessServer struct {
	Server    string   `json:"server"`
	External  bool     `json:"external,omitempty"`
	Protocols []string `json:"protocols"`
	Calls     int64    `json:"calls"`
	Bytes     int64    `json:"bytes"`
}

// AccessHour summarizes the calls of one hour.
type AccessHour struct {
	Hour    string `json:"hour"`
	Calls   int64  `json:"calls"`
	Failed  int64  `json:"failed"`
	Clients int64  `json:"clients"`
	Bytes   int64  `json:"bytes"`
}

// AuditQuestion is the question audit_access.
func AuditQuestion() ask.Question {
	q := ask.New("audit_access", "List every access", "Every call to a service or database in a window, paged: client, time, request, result, rows, bytes; totals by client, user and hour; clients seen only in the window; connections that could not be read. pii: calls with personal data. external: all calls outside.", false, AskAccess).
		Allow("direction", "to", "from", "both")
	q.Keyed = "calls"
	return q
}

// accessAnswer collects one answer.
type accessAnswer struct {
	ctx  context.Context
	c    *forensics.Case
	in   AccessIn
	w    *ask.Window
	ends string // condition for calls, without the window
	args []any
	conn string // the same for connections
	rows *ask.CallTable
	pii  *piiIndex
	out  *Access
}

// AskAccess answers audit_access.
func AskAccess(ctx context.Context, c *forensics.Case, in AccessIn) (*Access, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Service == "" && in.Client == "" && !in.External && !in.PII && in.KFL == "" {
		return nil, ask.WrongOf("missing input: give service, client, external, pii or kfl", "service", "client", "external", "pii", "kfl")
	}
	a := &accessAnswer{ctx: ctx, c: c, in: in, w: w, out: &Access{Clients: []AccessClient{}, Users: []AccessUser{}, Servers: []AccessServer{}, Pairs: []AccessPair{}, Hours: []AccessHour{}, Calls: []AccessCall{}, Unread: []UnreadConn{}}}
	if err := a.scope(); err != nil {
		return nil, err
	}
	after, err := ask.ReadCursor(c, in.Cursor)
	if err != nil {
		return nil, err
	}
	if a.out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	w.And(a.ends, a.args...)
	if in.PII {
		if err := a.personal(); err != nil {
			return nil, err
		}
	}
	a.rows = ask.CaseCalls(c, w.Where, w.Args)
	if in.Cursor == "" {
		if a.rows, err = ask.LoadCalls(ctx, c, accessColumns(), w.Where, w.Args); err != nil {
			return nil, err
		}
		defer a.rows.Release()
	}
	if err := a.total(); err != nil {
		return nil, err
	}
	if in.Cursor == "" {
		for _, f := range []func() error{a.clients, a.users, a.servers, a.pairs, a.hours} {
			if err := f(); err != nil {
				return nil, err
			}
		}
	}
	if err := a.unread(); err != nil {
		return nil, err
	}
	if err := a.calls(after); err != nil {
		return nil, err
	}
	a.out.Match(int(a.out.Total + a.out.UnreadTotal))
	return a.out, nil
}

// accessColumns are the columns that the summaries use.
func accessColumns() string {
	return `call_no, call_id, ts_ns, src_id, dst_id, protocol, failed, error, request_bytes, response_bytes, ` + terms.NamedUser() + " AS named_user, (" + accesses + ") AS accesses, " + statements.Columns("rows")
}

// scope builds the conditions for both ends.
func (a *accessAnswer) scope() error {
	var conds, conns []string
	add := func(x ask.End) {
		conds, conns = append(conds, "("+x.Calls+")"), append(conns, "("+x.Conns+")")
		a.args = append(a.args, x.Args...)
	}
	if name := a.in.Service; name != "" {
		to, err := ask.EndOf(a.ctx, a.c, "dst_", name)
		if err != nil {
			return err
		}
		from, err := ask.EndOf(a.ctx, a.c, "src_", name)
		if err != nil {
			return err
		}
		switch a.in.Direction {
		case "", "to":
			add(to)
		case "from":
			add(from)
		case "both":
			add(ask.End{Calls: "(" + to.Calls + ") OR (" + from.Calls + ")", Conns: "(" + to.Conns + ") OR (" + from.Conns + ")", Args: append(to.Args, from.Args...)})
		}
	}
	if a.in.Client != "" {
		from, err := ask.EndOf(a.ctx, a.c, "src_", a.in.Client)
		if err != nil {
			return err
		}
		add(from)
	}
	if a.in.External {
		add(ask.End{Calls: "coalesce(dst_external, false)", Conns: "coalesce(dst_external, false)"})
	}
	if len(conds) == 0 {
		conds, conns = []string{"true"}, []string{"true"}
	}
	a.ends, a.conn = strings.Join(conds, " AND "), strings.Join(conns, " AND ")
	return nil
}

func (a *accessAnswer) total() error {
	n, err := ask.One[struct {
		N int64 `json:"n"`
		F int64 `json:"f"`
		D int64 `json:"d"`
	}](a.ctx, a.rows.Case, "SELECT count(*) AS n, count(*) FILTER (failed) AS f, count(*) FILTER ("+a.data()+") AS d FROM "+a.rows.From+" WHERE "+a.rows.Where, a.rows.Args...)
	a.out.Total, a.out.Failed, a.out.Accesses = n.N, n.F, n.D
	if n.D < n.N {
		a.out.Note("%d of %d {call|calls} access data; the others are logins, prepared statements, handshakes and the like", n.D, n.N)
	}
	return err
}

// accesses is the SQL condition that a call accesses data.
var accesses = terms.IsRequest + " AND " + statements.Accesses

// data is accesses for a.rows.
func (a *accessAnswer) data() string {
	if a.rows.InMemory {
		return "accesses"
	}
	return accesses
}

func (a *accessAnswer) clients() error {
	w := a.w
	all := w.Asked && a.in.KFL == "" && !a.in.PII // whether the rest of the case can be compared
	user := terms.NamedUser()
	if a.rows.InMemory {
		user = "named_user"
	}
	list, more, err := ask.Rows[AccessClient](a.ctx, a.rows.Case, w.Limit, fmt.Sprintf(`WITH g AS (SELECT %[1]s, src_id, %[7]s AS u, count(*) AS n, count(*) FILTER (failed) AS f, count(*) FILTER (%[9]s) AS d, coalesce(sum(%[8]s), 0) AS r, sum(request_bytes + response_bytes) AS y,
			min(ts_ns) AS t0, max(ts_ns) AS t1, min({'t': ts_ns, 'i': call_id}, 3) AS ids FROM %[2]s WHERE %[3]s GROUP BY ALL),
		e AS (SELECT %[1]s, endpoint_id, %[4]s AS who, coalesce(pod, '') AS pod FROM endpoints_raw)
		SELECT coalesce(e.who, '') AS client, list_sort(list_filter(list(DISTINCT e.pod), p -> p <> ''))[1:5] AS pods, list_sort(list_filter(list(DISTINCT coalesce(u, '')), x -> x <> ''))[1:5] AS users, sum(n)::BIGINT AS calls, sum(f)::BIGINT AS failed, sum(d)::BIGINT AS accesses,
			sum(r)::BIGINT AS rows, sum(y)::BIGINT AS bytes, make_timestamp_ns(min(t0)) AS first, make_timestamp_ns(max(t1)) AS last, list_transform(list_sort(flatten(list(ids)))[1:3], x -> lower(hex(x.i))) AS call_ids
		FROM g LEFT JOIN e ON e.endpoint_id = g.src_id%[5]s GROUP BY 1 ORDER BY calls DESC, 1 LIMIT %[6]d`, terms.BundleOf(a.c, ""), a.rows.From, a.rows.Where, terms.Who(""), terms.SameBundle(a.c, "e", "g"), w.Limit+1, user, statements.Part("", "rows"), a.data()), a.rows.Args...)
	if err != nil {
		return err
	}
	a.out.Truncated = a.out.Truncated || more
	if all {
		type rest struct {
			Client string `json:"client"`
			N      int64  `json:"n"`
		}
		others, _, err := ask.Rows[rest](a.ctx, a.c, ask.MaxIDs, fmt.Sprintf(`WITH g AS (SELECT %[1]s, src_id, count(*) AS n FROM %[2]s WHERE (ts_ns < %[3]d OR ts_ns > %[4]d) AND (%[5]s) GROUP BY ALL)
			SELECT coalesce(%[6]s, '') AS client, sum(n)::BIGINT AS n FROM g LEFT JOIN endpoints_raw e ON e.endpoint_id = g.src_id%[7]s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %[8]d`, terms.BundleOf(a.c, ""), "calls", w.From, w.To, a.ends, terms.Who("e."), terms.SameBundle(a.c, "e", "g"), ask.MaxIDs), a.args...)
		if err != nil {
			return err
		}
		by := map[string]int64{}
		for _, o := range others {
			by[o.Client] = o.N
		}
		for i := range list {
			list[i].Others = by[list[i].Client]
			list[i].New = len(by) > 0 && list[i].Others == 0
		}
		if len(by) == 0 {
			a.out.Note("there are no calls outside this window, so unusual clients cannot be identified")
		}
	}
	a.out.Clients = ask.Fit(w, &a.out.Frame, list)
	return nil
}

func (a *accessAnswer) servers() error {
	list, more, err := ask.Rows[AccessServer](a.ctx, a.rows.Case, a.w.Limit, fmt.Sprintf(`WITH g AS (SELECT %[1]s, dst_id, protocol, count(*) AS n, sum(request_bytes + response_bytes) AS y FROM %[2]s WHERE %[3]s GROUP BY ALL)
		SELECT coalesce(%[4]s, '') AS server, coalesce(bool_or(e.external), false) AS external, list_sort(list(DISTINCT protocol)) AS protocols, sum(n)::BIGINT AS calls, sum(y)::BIGINT AS bytes
		FROM g LEFT JOIN endpoints_raw e ON e.endpoint_id = g.dst_id%[5]s GROUP BY 1 ORDER BY calls DESC, 1 LIMIT %[6]d`, terms.BundleOf(a.c, ""), a.rows.From, a.rows.Where, terms.Who("e."), terms.SameBundle(a.c, "e", "g"), a.w.Limit+1), a.rows.Args...)
	a.out.Truncated = a.out.Truncated || more
	a.out.Servers = ask.Fit(a.w, &a.out.Frame, list)
	return err
}

func (a *accessAnswer) hours() error {
	const hour = 3_600_000_000_000
	list, more, err := ask.Rows[AccessHour](a.ctx, a.rows.Case, ask.MaxAll, fmt.Sprintf(`SELECT make_timestamp_ns(ts_ns // %d * %[1]d) AS hour, count(*) AS calls, count(*) FILTER (failed) AS failed, count(DISTINCT (e.ip, %s)) AS clients, sum(request_bytes + response_bytes)::BIGINT AS bytes
		FROM (SELECT * FROM %s WHERE %s) r LEFT JOIN endpoints_raw e ON e.endpoint_id = r.src_id%s GROUP BY 1 ORDER BY 1 LIMIT %d`, int64(hour), terms.Who("e."), a.rows.From, a.rows.Where, terms.SameBundle(a.c, "e", "r"), ask.MaxAll+1), a.rows.Args...)
	a.out.Truncated = a.out.Truncated || more
	a.out.Hours = ask.Fit(a.w, &a.out.Frame, list)
	return err
}

// Sentence is the answer in one sentence, of what each page has.
func (a *Access) Sentence() string {
	s := plural.Sprintf("%d {access|accesses} to data in %d {call|calls}, of which %d failed", a.Accesses, a.Total, a.Failed)
	if a.UnreadTotal > 0 {
		s += plural.Sprintf("; %d {connection|connections} could not be read", a.UnreadTotal)
	}
	return s + "."
}
