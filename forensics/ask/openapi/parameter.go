package openapi

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// part is the type that all values of one part of a path had.
type part struct{ integer, uuid bool }

func (p *part) schema() *schemaObject {
	switch {
	case p != nil && p.integer:
		return &schemaObject{Type: "integer"}
	case p != nil && p.uuid:
		return &schemaObject{Type: "string", Format: "uuid"}
	}
	return &schemaObject{Type: "string"}
}

// narrow adds the type that all values of one endpoint had at a position of the path.
func (op *operation) narrow(at int, integer, uuid bool) {
	p := op.parts[at]
	if p == nil {
		p = &part{integer: true, uuid: true}
		op.parts[at] = p
	}
	p.integer = p.integer && integer
	p.uuid = p.uuid && uuid
}

// partsOf determines which parts of paths were integers or UUIDs in all calls.
func partsOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key     string `json:"key"`
		At      int64  `json:"idx"`
		Fewest  int64  `json:"fewest"`
		Most    int64  `json:"most"`
		Integer bool   `json:"is_integer"`
		UUID    bool   `json:"is_uuid"`
	}
	rows, more, err := ask.Rows[row](ctx, c, 100*maxOperations, `WITH p AS (SELECT DISTINCT `+key+`, string_split(path, '/') AS parts FROM calls WHERE `+w.Where+`),
		u AS (SELECT key, len(parts) AS n, unnest(parts) AS part, unnest(range(len(parts))) AS idx FROM p)
		SELECT key, idx, min(n) AS fewest, max(n) AS most, bool_and(regexp_full_match(part, '0|[1-9][0-9]{0,17}')) AS is_integer,
			bool_and(regexp_full_match(lower(part), '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')) AS is_uuid FROM u GROUP BY key, idx ORDER BY key, idx`, w.Args...)
	if err != nil || more {
		return err // with an incomplete result no part has a type
	}
	for _, r := range rows {
		op := ops[r.Key]
		if op == nil {
			continue
		}
		aligned := r.Fewest == r.Most && int(r.Most) == strings.Count(op.Path, "/")+1
		op.narrow(int(r.At), r.Integer && aligned, r.UUID && aligned)
	}
	return nil
}

// queriesOf reads the names of query parameters and the shapes of their values, from the most
// frequent query strings.
func queriesOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Query string `json:"query"`
		Calls int64  `json:"calls"`
	}
	rows, _, err := ask.Rows[row](ctx, c, maxQueries, `SELECT `+key+`, query_string AS query, count(*) AS calls FROM calls WHERE `+w.Where+` AND query_string <> ''
		GROUP BY 1, 2 ORDER BY calls DESC, 1, 2`, w.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if op := ops[r.Key]; op != nil {
			op.asked(r.Query, r.Calls)
		}
	}
	return nil
}

// asked adds the parameters of a query string that a number of calls had.
func (op *operation) asked(query string, calls int64) {
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescaped(name), unescaped(value)
		if name == "" || isData(name) {
			continue
		}
		if !seen[name] {
			count(op.query, name, calls, 100)
		}
		if p := op.query[name]; p != nil {
			p.repeated = p.repeated || seen[name]
			p.empty = p.empty || value == ""
			p.value.addText(value)
		}
		seen[name] = true
	}
}

// unescaped decodes a name or a value of a query string; one that is not valid stays as it is.
func unescaped(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}

// count adds calls with a parameter. It keeps at most most parameters.
func count(into map[string]*parameter, name string, calls int64, most int) {
	if into[name] == nil {
		if len(into) >= most {
			return
		}
		into[name] = &parameter{}
	}
	into[name].calls += calls
}

// standard reports whether a header is sent by every client or proxy and so is not described.
func standard(name string) bool {
	switch name {
	case "host", "user-agent", "accept", "accept-encoding", "accept-language", "content-type", "content-length", "connection", "transfer-encoding", "authorization",
		"cookie", "traceparent", "tracestate", "baggage", "te", "origin", "referer", "cache-control", "pragma", "via", "forwarded", "keep-alive", "upgrade", "expect", "date",
		"if-none-match", "if-modified-since", "range", "priority", "dnt", "upgrade-insecure-requests":
		return true
	}
	for _, p := range []string{":", "x-forwarded-", "x-b3-", "sec-", "proxy-", "x-envoy-", "x-amzn-", "grpc-", "x-real-ip", "b3", "uber-trace-id"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// headersOf reads the names of request headers, except names that are data.
func headersOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Name  string `json:"name"`
		Calls int64  `json:"calls"`
	}
	// Most calls of an operation have the same headers, so each set is parsed once.
	rows, _, err := ask.Rows[row](ctx, c, 100*maxOperations, `WITH h AS (SELECT `+key+`, list_transform(list_filter(headers, h -> h.kind = 'request'), h -> h.name) AS names, count(*) AS n
			FROM calls WHERE `+w.Where+` GROUP BY 1, 2),
		u AS (SELECT key, unnest(list_distinct(list_transform(names, x -> lower(x)))) AS name, n FROM h)
		SELECT key, name, sum(n)::BIGINT AS calls FROM u GROUP BY 1, 2 ORDER BY key, name`, w.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if op := ops[r.Key]; op != nil && !standard(r.Name) && !isData(r.Name) {
			count(op.headers, r.Name, r.Calls, 50)
		}
	}
	return nil
}

// cookiesOf reads the names of cookies, except names that are data.
func cookiesOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Name  string `json:"name"`
		Calls int64  `json:"calls"`
	}
	rows, _, err := ask.Rows[row](ctx, c, 100*maxOperations, `WITH h AS (SELECT `+key+`, list_filter(headers, h -> h.kind = 'request' AND lower(h.name) = 'cookie') AS cookies FROM calls WHERE `+w.Where+`),
		u AS (SELECT key, unnest(list_distinct(flatten(list_transform(cookies, h -> list_transform(list_filter(string_split(h.value, ';'), x -> contains(x, '=')), x -> trim(split_part(x, '=', 1))))))) AS name FROM h WHERE len(cookies) > 0)
		SELECT key, name, count(*) AS calls FROM u WHERE name <> '' GROUP BY 1, 2 ORDER BY key, name`, w.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if op := ops[r.Key]; op != nil && !isData(r.Name) {
			count(op.cookies, r.Name, r.Calls, 50)
		}
	}
	return nil
}

// credential matches the names of cookies that authenticate the client.
//
// LIMIT: a session cookie of another name is described as a parameter.
var credential = regexp.MustCompile(`(?i)sess|auth|token|jwt|login|remember|identity|(^|[^a-z])(sso|sid)([^a-z]|$)|sid$`)

// isKeyParameter reports whether a query parameter of this name carries a key or a token.
func isKeyParameter(name string) bool {
	return table.IsKeyHeader(strings.ReplaceAll(name, "_", "-"))
}

// isCredential reports whether a cookie of this name authenticates the client. A CSRF token does
// not.
func isCredential(name string) bool {
	lower := strings.ToLower(name)
	return credential.MatchString(name) && !strings.Contains(lower, "csrf") && !strings.Contains(lower, "xsrf")
}
