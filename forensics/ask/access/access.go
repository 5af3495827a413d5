// Package access answers who accessed what: audit_access lists every access to a service or
// database in full, and get_pair what two said to each other, with what was sent as it was on
// the wire. Credentials are masked.
package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// AccessIn asks who had access to something.
type AccessIn struct {
	ask.Scope
	Service   string `json:"service,omitempty" jsonschema:"what was accessed: service, database, workload, pod, host or address; * and ? match"`
	Client    string `json:"client,omitempty" jsonschema:"only access by this one"`
	Direction string `json:"direction,omitempty" jsonschema:"to: calls that service got (the default); from: calls it made; both"`
	External  bool   `json:"external,omitempty" jsonschema:"only calls to the outside, which is all external calls where no service is given"`
	PII       bool   `json:"pii,omitempty" jsonschema:"only calls that carry personal data: cards, SSNs, IBANs, mail addresses, telephone numbers"`
	Cursor    string `json:"cursor,omitempty" jsonschema:"next of the last answer, for the calls after those; the summaries are given with the first page"`
}

// Access is all access to something.
type Access struct {
	ask.Frame
	Total       int64               `json:"total_calls"`
	Failed      int64               `json:"failed"`
	Clients     []AccessClient      `json:"clients" jsonschema:"who, the most calls first"`
	Servers     []AccessServer      `json:"servers" jsonschema:"what was accessed, the most calls first"`
	Pairs       []AccessPair        `json:"pairs" jsonschema:"who accessed what, the most calls first"`
	Hours       []AccessHour        `json:"hours" jsonschema:"by hour of UTC"`
	Calls       []AccessCall        `json:"calls" jsonschema:"every call, by time, in pages"`
	Next        string              `json:"next,omitempty" jsonschema:"cursor for more calls"`
	Unread      []UnreadConn        `json:"unread" jsonschema:"connections without calls that could be read: encrypted, of unknown protocol, or empty; so that nothing is left out"`
	UnreadTotal int64               `json:"unread_connections"`
	Kinds       []search.PlaceCount `json:"pii_kinds,omitempty" jsonschema:"where pii was asked for: kinds of personal data and calls that carry them"`
}

// AccessClient is one client.
type AccessClient struct {
	Client  string   `json:"client"`
	Pods    []string `json:"pods,omitempty" jsonschema:"up to five"`
	Users   []string `json:"users,omitempty" jsonschema:"users that the protocol names, up to five"`
	Calls   int64    `json:"calls"`
	Failed  int64    `json:"failed"`
	Rows    int64    `json:"rows,omitempty" jsonschema:"rows of databases"`
	Bytes   int64    `json:"bytes"`
	First   string   `json:"first"`
	Last    string   `json:"last"`
	New     bool     `json:"only_in_window,omitempty" jsonschema:"had no access in the rest of the case"`
	Others  int64    `json:"calls_in_rest" jsonschema:"calls in the rest of the case"`
	CallIDs []string `json:"call_ids"`
}

// AccessServer is one thing that was accessed.
type AccessServer struct {
	Server    string   `json:"server"`
	External  bool     `json:"external,omitempty"`
	Protocols []string `json:"protocols"`
	Calls     int64    `json:"calls"`
	Bytes     int64    `json:"bytes"`
}

// AccessHour is an hour.
type AccessHour struct {
	Hour    string `json:"hour"`
	Calls   int64  `json:"calls"`
	Failed  int64  `json:"failed"`
	Clients int64  `json:"clients"`
	Bytes   int64  `json:"bytes"`
}

// AccessCall is one call in full, bodies aside.
type AccessCall struct {
	ask.Call
	Pod     string   `json:"pod,omitempty" jsonschema:"of the client"`
	Process string   `json:"process,omitempty"`
	User    string   `json:"user,omitempty" jsonschema:"whom the credentials name"`
	Auth    string   `json:"auth,omitempty" jsonschema:"kind of credentials"`
	What    string   `json:"what" jsonschema:"method and path with query, SQL statement, Redis command; text from the traffic, secrets masked"`
	Params  string   `json:"params,omitempty" jsonschema:"of the SQL statement"`
	Rows    *int64   `json:"rows,omitempty"`
	Sent    int64    `json:"request_bytes"`
	Got     int64    `json:"response_bytes"`
	PII     []string `json:"pii,omitempty" jsonschema:"kinds of personal data in it and where"`
}

// UnreadConn is connections between two of which no call is known.
type UnreadConn struct {
	Client      string   `json:"client"`
	Server      string   `json:"server"`
	Port        int64    `json:"port"`
	Why         string   `json:"why"`
	Connections int64    `json:"connections"`
	Sent        int64    `json:"sent_bytes" jsonschema:"payload of the client"`
	Got         int64    `json:"received_bytes"`
	First       string   `json:"first"`
	Last        string   `json:"last"`
	CallIDs     []string `json:"call_ids" jsonschema:"handshakes of some, where there are rows of them"`
	Packets     string   `json:"packets" jsonschema:"first packets of the first three"`
}

// AuditQuestion is audit_access, which AskAccess answers.
func AuditQuestion() ask.Question {
	return ask.New("audit_access", "All access, in full", "Every call to a service or database in a window, by pages: who, when, what, result, rows, bytes; sums by client and hour; clients seen only then; connections that could not be read. pii: calls with personal data. external: all calls outside.", false, AskAccess)
}

// accessOf is one answer under way.
type accessOf struct {
	ctx  context.Context
	c    *forensics.Case
	in   AccessIn
	w    *ask.Window
	ends string // condition on calls, without the window
	args []any
	conn string // the same on connections
	rows *ask.Held
	pii  *piiFound
	out  *Access
}

// AskAccess answers who had access to something.
func AskAccess(ctx context.Context, c *forensics.Case, in AccessIn) (*Access, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Service == "" && in.Client == "" && !in.External && !in.PII && in.KFL == "" {
		return nil, ask.Wrong("service", "what was accessed is missing: service, client, external, pii or kfl")
	}
	a := &accessOf{ctx: ctx, c: c, in: in, w: w, out: &Access{Clients: []AccessClient{}, Servers: []AccessServer{}, Pairs: []AccessPair{}, Hours: []AccessHour{}, Calls: []AccessCall{}, Unread: []UnreadConn{}}}
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
	a.rows = ask.Unheld(c, w.Where, w.Args)
	if in.Cursor == "" {
		if a.rows, err = ask.Hold(ctx, c, accessColumns, w.Where, w.Args); err != nil {
			return nil, err
		}
		defer a.rows.Release()
	}
	if err := a.total(); err != nil {
		return nil, err
	}
	if in.Cursor == "" {
		for _, f := range []func() error{a.clients, a.servers, a.pairs, a.hours, a.unread} {
			if err := f(); err != nil {
				return nil, err
			}
		}
	}
	if err := a.calls(after); err != nil {
		return nil, err
	}
	a.out.Match(int(a.out.Total + a.out.UnreadTotal))
	return a.out, nil
}

// accessColumns are the columns that calls are summed by.
const accessColumns = `call_no, call_id, ts_ns, src_id, dst_id, protocol, failed, error, postgresql_user, redis_user, postgresql_rows, request_bytes, response_bytes`

// scope makes the conditions for the two ends.
func (a *accessOf) scope() error {
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
		default:
			return ask.Wrong("direction", "%q, want to, from or both", ask.Clip(a.in.Direction, 40))
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

func (a *accessOf) total() error {
	n, err := ask.One[struct {
		N int64 `json:"n"`
		F int64 `json:"f"`
	}](a.ctx, a.rows.Case, "SELECT count(*) AS n, count(*) FILTER (failed) AS f FROM "+a.rows.From+" WHERE "+a.rows.Where, a.rows.Args...)
	a.out.Total, a.out.Failed = n.N, n.F
	return err
}

// user is the SQL for whom a protocol names.
const user = `coalesce(postgresql_user, redis_user)`

func (a *accessOf) clients() error {
	w := a.w
	all := w.Asked && a.in.KFL == "" && !a.in.PII // whether the rest of the case can be compared
	list, more, err := ask.Rows[AccessClient](a.ctx, a.rows.Case, w.Limit, fmt.Sprintf(`WITH g AS (SELECT %[1]s, src_id, postgresql_user AS u, redis_user AS v, count(*) AS n, count(*) FILTER (failed) AS f, coalesce(sum(postgresql_rows), 0) AS r, sum(request_bytes + response_bytes) AS y,
			min(ts_ns) AS t0, max(ts_ns) AS t1, arg_min({'t': ts_ns, 'i': call_id}, ts_ns, 3) AS ids FROM %[2]s WHERE %[3]s GROUP BY ALL),
		e AS (SELECT %[1]s, endpoint_id, %[4]s AS who, coalesce(pod, '') AS pod FROM endpoints_raw)
		SELECT coalesce(e.who, '') AS client, list_sort(list_filter(list(DISTINCT e.pod), p -> p <> ''))[1:5] AS pods, list_sort(list_filter(list(DISTINCT coalesce(u, v, '')), x -> x <> ''))[1:5] AS users, sum(n)::BIGINT AS calls, sum(f)::BIGINT AS failed,
			sum(r)::BIGINT AS rows, sum(y)::BIGINT AS bytes, make_timestamp_ns(min(t0)) AS first, make_timestamp_ns(max(t1)) AS last, list_transform(list_sort(flatten(list(ids)))[1:3], x -> lower(hex(x.i))) AS call_ids
		FROM g LEFT JOIN e ON e.endpoint_id = g.src_id%[5]s GROUP BY 1 ORDER BY calls DESC, 1 LIMIT %[6]d`, terms.BundleOf(a.c, ""), a.rows.From, a.rows.Where, terms.Who(""), terms.SameBundle(a.c, "e", "g"), w.Limit+1), a.rows.Args...)
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
			a.out.Note("there is no access in the rest of the case, so nothing can be said of unusual clients")
		}
	}
	a.out.Clients = ask.Fit(w, &a.out.Frame, list, 5)
	return nil
}

func (a *accessOf) servers() error {
	list, more, err := ask.Rows[AccessServer](a.ctx, a.rows.Case, a.w.Limit, fmt.Sprintf(`WITH g AS (SELECT %[1]s, dst_id, protocol, count(*) AS n, sum(request_bytes + response_bytes) AS y FROM %[2]s WHERE %[3]s GROUP BY ALL)
		SELECT coalesce(%[4]s, '') AS server, coalesce(bool_or(e.external), false) AS external, list_sort(list(DISTINCT protocol)) AS protocols, sum(n)::BIGINT AS calls, sum(y)::BIGINT AS bytes
		FROM g LEFT JOIN endpoints_raw e ON e.endpoint_id = g.dst_id%[5]s GROUP BY 1 ORDER BY calls DESC, 1 LIMIT %[6]d`, terms.BundleOf(a.c, ""), a.rows.From, a.rows.Where, terms.Who("e."), terms.SameBundle(a.c, "e", "g"), a.w.Limit+1), a.rows.Args...)
	a.out.Truncated = a.out.Truncated || more
	a.out.Servers = ask.Fit(a.w, &a.out.Frame, list, 10)
	return err
}

func (a *accessOf) hours() error {
	const hour = 3_600_000_000_000
	list, more, err := ask.Rows[AccessHour](a.ctx, a.rows.Case, 200, fmt.Sprintf(`SELECT make_timestamp_ns(ts_ns // %d * %[1]d) AS hour, count(*) AS calls, count(*) FILTER (failed) AS failed, count(DISTINCT src_id) AS clients, sum(request_bytes + response_bytes)::BIGINT AS bytes
		FROM %s WHERE %s GROUP BY 1 ORDER BY 1 LIMIT 201`, int64(hour), a.rows.From, a.rows.Where), a.rows.Args...)
	a.out.Truncated = a.out.Truncated || more
	a.out.Hours = ask.Fit(a.w, &a.out.Frame, list, 8)
	return err
}

// unread lists connections of which no call is known.
func (a *accessOf) unread() error {
	if a.in.PII || a.in.KFL != "" {
		return ask.NoteUnread(a.ctx, a.c, &a.out.Frame, a.w)
	}
	sql := fmt.Sprintf(`WITH b AS (SELECT %[1]s, conn_id, max(src_payload_bytes) AS sent, max(dst_payload_bytes) AS got, min(first_packet) AS packet, min(state) AS state FROM flows_raw WHERE first_ns <= ? AND last_ns >= ? GROUP BY 1, 2),
		h AS (SELECT %[1]s, conn_id, min(call_id) AS id FROM calls_raw WHERE protocol IN ('tls', 'quic', 'tcp', 'udp') AND ts_ns <= ? GROUP BY 1, 2),
		k AS (SELECT %[2]s AS client, %[3]s AS server, dst_port AS port, CASE WHEN k.key_state IN ('none', 'unverified') THEN 'encrypted' || coalesce(' (' || k.encryption || ')', '') || ', no key opens it' WHEN k.protocol IS NULL AND k.calls > 0 THEN 'a protocol that is not read'
			WHEN k.calls = 0 THEN 'no call on it' || coalesce(', ' || b.state, '') END AS why, b.sent, b.got, b.packet, k.first_ns, k.last_ns, h.id FROM connections k JOIN b ON b.conn_id = k.conn_id%[4]s LEFT JOIN h ON h.conn_id = k.conn_id%[5]s
			WHERE k.first_ns <= ? AND k.last_ns >= ? AND (%[6]s))
		SELECT client, server, port, why, count(*) AS connections, sum(sent)::BIGINT AS sent_bytes, sum(got)::BIGINT AS received_bytes, make_timestamp_ns(min(first_ns)) AS first, make_timestamp_ns(max(last_ns)) AS last,
			coalesce(list_transform(list_filter(arg_min(id, (first_ns, packet), 3), x -> x IS NOT NULL), x -> lower(hex(x))), []) AS call_ids, array_to_string(arg_min(packet, (first_ns, packet), 3), ',') AS packets
		FROM k WHERE why IS NOT NULL GROUP BY ALL ORDER BY connections DESC, client, server, port, why LIMIT %[7]d`,
		terms.BundleOf(a.c, ""), terms.Who("src_"), terms.Who("dst_"), terms.SameBundle(a.c, "b", "k"), terms.SameBundle(a.c, "h", "k"), terms.Qualified(a.conn), ask.MaxRows)
	w := a.w
	list, more, err := ask.Rows[UnreadConn](a.ctx, a.c, ask.MaxRows, sql, w.To, w.From, w.To, w.To, w.From)
	if err != nil {
		return err
	}
	for _, u := range list {
		a.out.UnreadTotal += u.Connections
	}
	a.out.Truncated = a.out.Truncated || more
	a.out.Unread = ask.Fit(w, &a.out.Frame, list, 8)
	if a.out.UnreadTotal > 0 {
		a.out.Note("%d {connection has|connections have} no calls that could be read: see unread", a.out.UnreadTotal)
	}
	return nil
}

// calls lists one page of calls.
func (a *accessOf) calls(after ask.Cursor) error {
	type row struct {
		AccessCall
		Bundle    int64    `json:"bundle"`
		No        int64    `json:"call_no"`
		Ns        int64    `json:"ts_ns"`
		Header    string   `json:"header"`
		Statement string   `json:"statement"`
		Query     string   `json:"query"`
		Command   string   `json:"command"`
		Path      string   `json:"path"`
		Texts     []string `json:"texts"`
	}
	page, more, err := ask.Pick(a.ctx, a.rows.Case, a.rows.From, a.rows.Where+strings.ReplaceAll(after.After(" AND "), "bundle", bundleName(a.c)), "ts_ns, bundle, call_no", a.w.Limit, a.rows.Args...)
	if err != nil {
		return err
	}
	var rows []row
	err = ask.ByRuns(a.c, page, func(where, nos string) error {
		some, _, err := ask.Rows[row](a.ctx, a.c, ask.MaxLoaded, fmt.Sprintf(`SELECT %s, %s, call_no, ts_ns, coalesce(src_pod, '') AS pod, coalesce(src_process, '') AS process, coalesce(%s, '') AS user, coalesce(auth_kind, '') AS auth, coalesce(left(postgresql_query, 2000), '') AS statement,
			array_to_string(postgresql_params[1:20], ', ') AS params, postgresql_rows AS rows, request_bytes, response_bytes, coalesce(list_filter(headers, h -> h.kind = 'request' AND lower(h.name) = 'authorization')[1].value, '') AS header,
			coalesce(left(query_string, 2000), '') AS query, coalesce(redis_command, '') AS command, coalesce(method || ' ', '') || coalesce(left(path, 1000), host, '') AS path FROM calls k WHERE %s`, terms.CallColumns(), terms.BundleOf(a.c, ""), user, where), nos)
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	rows = ask.Arrange(page, rows, func(r row) ask.Key { return ask.Key{Bundle: r.Bundle, No: r.No} })
	policy := a.c.Policy()
	for i := range rows {
		r := &rows[i]
		r.Summary = ask.Clip(r.Summary, 120)
		switch {
		case r.Statement != "":
			r.What, r.Summary = ask.Clip(ask.OneLine(policy.SQL(r.Statement)), 400), r.Protocol
			r.Params = ask.Clip(strings.Join(policy.Params(r.Statement, strings.Split(r.Params, ", ")), ", "), 200)
		case r.Command != "":
			r.What = ask.Masked(policy, "command", r.Command, 300)
		case r.Query != "":
			r.What = ask.Clip(r.Path+"?"+policy.Query(r.Query), 400)
		default:
			r.What = ask.Clip(r.Path, 400)
		}
		if r.User == "" {
			r.User = userOf(r.Header)
		}
		if a.pii != nil {
			r.PII = a.pii.of(ask.Key{Bundle: r.Bundle, No: r.No})
		}
		a.out.Calls = append(a.out.Calls, r.AccessCall)
	}
	kept := a.out.Calls
	if a.in.Limit == 0 {
		kept, _ = ask.FitBytes(kept, ask.DefaultBytes/2)
	}
	a.out.Calls = kept
	if more || len(kept) < len(rows) {
		last := rows[len(kept)-1]
		a.out.Next, a.out.Truncated = ask.Cursor{TS: last.Ns, Bundle: last.Bundle, No: last.No}.String(), true
	}
	return nil
}

// bundleName is the column bundle, or what stands for it in a case of one.
func bundleName(c *forensics.Case) string {
	if c.Several() {
		return "bundle"
	}
	return "0"
}

// userOf is whom an Authorization header names: the user of Basic, the subject of a JWT.
func userOf(header string) string {
	scheme, value, ok := strings.Cut(header, " ")
	if !ok || len(value) > 8<<10 {
		return ""
	}
	switch strings.ToLower(scheme) {
	case "basic":
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			return ""
		}
		name, _, _ := strings.Cut(string(text), ":")
		return ask.Clip(strings.ToValidUTF8(name, "?"), 100)
	case "bearer":
		parts := strings.Split(value, ".")
		if len(parts) != 3 {
			return ""
		}
		text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
		if err != nil {
			return ""
		}
		var claims struct {
			Sub   string `json:"sub"`
			Email string `json:"email"`
			Name  string `json:"preferred_username"`
			App   string `json:"client_id"`
		}
		if json.Unmarshal(text, &claims) != nil {
			return ""
		}
		for _, s := range []string{claims.Sub, claims.Name, claims.Email, claims.App} {
			if s != "" {
				return ask.Clip(s, 100) + " (as the token says)"
			}
		}
	}
	return ""
}
