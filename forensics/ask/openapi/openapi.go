// Package openapi writes the OpenAPI 3.0 description of a service from its calls: paths,
// parameters, statuses and the shapes of bodies, without any value of the traffic.
package openapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Limits of what a description is made of.
const (
	maxOperations = 500
	maxSamples    = 40       // distinct bodies of one operation and status
	maxSample     = 1 << 20  // bytes of a body that is looked into
	maxTexts      = 16 << 20 // bytes of bodies that are read at once
)

// In asks for a description of a service's interface.
type In struct {
	ask.Scope
	Service string `json:"service" jsonschema:"the service, workload, pod or host; namespace/name narrows"`
}

// Answer is a service's HTTP interface as its calls show it.
type Answer struct {
	ask.Frame
	Service    string      `json:"service"`
	Operations []Operation `json:"operations"`
	YAML       string      `json:"yaml,omitempty" jsonschema:"OpenAPI 3.0.3: what was seen, with schemas inferred from bodies and no value of the traffic in it"`
}

// Document returns the description, which tools for OpenAPI read.
func (o *Answer) Document() (string, []string) { return o.YAML, o.Notes }

// Operation is one method of one path.
type Operation struct {
	Method   string   `json:"method"`
	Path     string   `json:"path" jsonschema:"with {parameters} where parts differ from call to call"`
	Calls    int64    `json:"calls"`
	Statuses []int64  `json:"statuses"`
	Example  []string `json:"call_ids" jsonschema:"the first three calls"`
}

// Question is generate_openapi, which Ask answers.
func Question() ask.Question {
	return ask.New("generate_openapi", "OpenAPI description from calls",
		"OpenAPI 3 description of a service, inferred from its recorded HTTP calls: paths with parameters, query and header parameters, request and response schemas, statuses, authentication.", false, Ask)
}

// operation gathers what is known of one method of one path.
type operation struct {
	Operation
	parts    map[int]*part // of the path, by position
	query    map[string]*parameter
	headers  map[string]*parameter
	auth     map[string]int64
	request  map[string]*shape           // by content type
	response map[int64]map[string]*shape // by status and content type
	withBody int64
}

// parameter is a query parameter or a header.
type parameter struct {
	calls int64
	value shape
}

// part is what the values of one part of a path all were.
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

// Ask describes a service.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	if in.Service == "" {
		return nil, ask.Wrong("service", "empty, want the name of a service")
	}
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	cond, args, err := ask.EndByID(ctx, c, "dst_", in.Service)
	if err != nil {
		return nil, err
	}
	w.And(cond, args...)
	w.And("protocol IN ('http1', 'http2', 'http3') AND path IS NOT NULL AND method IS NOT NULL AND status_code IS NOT NULL")
	out := &Answer{Service: in.Service, Operations: []Operation{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	// No value of a header or a query is read where this is asked, so nothing need be masked
	// for it; but a condition that somebody wrote must not find what is.
	bare := c
	if w.KFL == "" {
		bare = c.Unmasked()
	}
	ops, asked, more, err := operationsOf(ctx, bare, w)
	if err != nil {
		return nil, err
	}
	out.Truncated = more
	err = partsOf(ctx, bare, w, ops)
	if err == nil && asked {
		err = queriesOf(ctx, c, w, ops)
	}
	if err == nil {
		err = headersOf(ctx, bare, w, ops)
	}
	if err == nil {
		err = bodiesOf(ctx, bare, w, ops)
	}
	if err != nil {
		return nil, err
	}
	// Several endpoints may be one operation.
	list := slices.SortedFunc(maps.Values(ops), func(a, b *operation) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	list = slices.Compact(list)
	for _, op := range list {
		out.Operations = append(out.Operations, op.Operation)
	}
	if len(list) == 0 {
		out.Note("no HTTP call to %s: get_service_map lists the services, and what is encrypted without keys has no calls", ask.Clip(in.Service, 100))
		out.Match(0)
		return out, nil
	}
	if out.YAML, err = writeOpenAPI(in.Service, list); err != nil {
		return nil, err
	}
	out.Note("made of %d operations that were called; what nobody called is not in it, and what was always there is called required", len(list))
	out.Match(len(list))
	return out, nil
}

// operationsOf reads the operations that were called most, and their statuses; asked says
// that some were called with a query.
func operationsOf(ctx context.Context, c *forensics.Case, w *ask.Window) (ops map[string]*operation, asked, more bool, err error) {
	type row struct {
		Key     string   `json:"key"`
		Method  string   `json:"method"`
		Path    string   `json:"path"`
		Total   int64    `json:"total"`
		CallIDs []string `json:"call_ids"`
		Status  int64    `json:"status"`
		Type    string   `json:"type"`
		Auth    string   `json:"auth"`
		Calls   int64    `json:"calls"`
		Body    int64    `json:"body"`
		Queries int64    `json:"queries"`
	}
	rows, more, err := ask.Rows[row](ctx, c, 20*maxOperations, fmt.Sprintf(`WITH g AS (SELECT endpoint AS key, any_value(method) AS method, any_value(%s) AS path, status_code AS status, coalesce(lower(trim(split_part(response_content_type, ';', 1))), '') AS type,
			coalesce(auth_kind, '') AS auth, count(*) AS calls, count(*) FILTER (request_body_size > 0) AS body, count(*) FILTER (query_string <> '') AS queries, arg_min({'t': ts_ns, 'i': call_id}, ts_ns, 3) AS ids
			FROM calls WHERE %s GROUP BY key, status, type, auth),
		o AS (SELECT key, any_value(method) AS method, any_value(path) AS path, sum(calls)::BIGINT AS total, list_transform(list_sort(flatten(list(ids)))[1:3], x -> lower(hex(x.i))) AS call_ids FROM g GROUP BY key ORDER BY total DESC, key LIMIT %d)
		SELECT o.key, o.method, o.path, total, call_ids, status, type, auth, calls, body, queries FROM o JOIN g ON g.key = o.key ORDER BY total DESC, o.key, status, type, auth`,
		terms.PathTemplate, w.Where, maxOperations+1), w.Args...)
	ops = map[string]*operation{}
	same := map[string]*operation{} // by method and path
	for _, r := range rows {
		op := ops[r.Key]
		if op == nil {
			if len(ops) == maxOperations {
				more = true
				break
			}
			path := named(generalized(r.Path))
			if op = same[r.Method+" "+path]; op == nil {
				op = &operation{Operation: Operation{Method: r.Method, Path: path, Example: r.CallIDs, Statuses: []int64{}}, parts: map[int]*part{},
					query: map[string]*parameter{}, headers: map[string]*parameter{}, auth: map[string]int64{}, request: map[string]*shape{}, response: map[int64]map[string]*shape{}}
				same[r.Method+" "+path] = op
			}
			op.Calls += r.Total
			ops[r.Key] = op
		}
		op.status(r.Status, r.Type)
		op.withBody += r.Body
		if r.Status < 400 {
			op.auth[r.Auth] += r.Calls
		}
		asked = asked || r.Queries > 0
	}
	return ops, asked, more, err
}

// status adds a status that was answered, with the type of the body where there was one.
func (op *operation) status(code int64, contentType string) {
	if !slices.Contains(op.Statuses, code) {
		op.Statuses = append(op.Statuses, code)
		slices.Sort(op.Statuses)
		op.response[code] = map[string]*shape{}
	}
	if contentType != "" && op.response[code][contentType] == nil {
		op.response[code][contentType] = &shape{}
	}
}

// named gives each {id} of a path a name from the part before it: /orders/{id}/items/{id}
// becomes /orders/{orderId}/items/{itemId}.
func named(path string) string {
	parts := strings.Split(path, "/")
	seen := map[string]int{}
	for i, p := range parts {
		if p != "{id}" {
			continue
		}
		name := "id"
		if i > 0 {
			if before := word(parts[i-1]); before != "" {
				name = strings.TrimSuffix(before, "s") + "Id"
			}
		}
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s%d", name, seen[name])
		}
		parts[i] = "{" + name + "}"
	}
	return strings.Join(parts, "/")
}

// word is a part of a path as the beginning of a name.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
	if s == "" || strings.HasSuffix(s, "Id") {
		return ""
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// partsOf reads whether the parts of paths were integers or UUIDs in all calls.
func partsOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key     string `json:"key"`
		At      int64  `json:"idx"`
		Fewest  int64  `json:"fewest"`
		Most    int64  `json:"most"`
		Integer bool   `json:"is_integer"`
		UUID    bool   `json:"is_uuid"`
	}
	rows, more, err := ask.Rows[row](ctx, c, 100*maxOperations, `WITH p AS (SELECT DISTINCT endpoint AS key, string_split(path, '/') AS parts FROM calls WHERE `+w.Where+`),
		u AS (SELECT key, len(parts) AS n, unnest(parts) AS part, unnest(range(len(parts))) AS idx FROM p)
		SELECT key, idx, min(n) AS fewest, max(n) AS most, bool_and(regexp_full_match(part, '0|[1-9][0-9]{0,17}')) AS is_integer,
			bool_and(regexp_full_match(lower(part), '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')) AS is_uuid FROM u GROUP BY key, idx ORDER BY key, idx`, w.Args...)
	if err != nil || more {
		return err // without all rows no part has a type
	}
	for _, r := range rows {
		op := ops[r.Key]
		if op == nil {
			continue
		}
		p := op.parts[int(r.At)]
		if p == nil {
			p = &part{integer: true, uuid: true}
			op.parts[int(r.At)] = p
		}
		aligned := r.Fewest == r.Most && int(r.Most) == strings.Count(op.Path, "/")+1
		p.integer = p.integer && r.Integer && aligned
		p.uuid = p.uuid && r.UUID && aligned
	}
	return nil
}

// queriesOf reads the names of the parameters of queries, and what their values look like.
func queriesOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Name  string `json:"name"`
		Value string `json:"value"`
		Calls int64  `json:"calls"`
	}
	rows, _, err := ask.Rows[row](ctx, c, 100*maxOperations, `WITH q AS MATERIALIZED (SELECT endpoint AS key, query_string AS q, count(*) AS n FROM calls WHERE `+w.Where+` AND query_string <> '' GROUP BY 1, 2),
		p AS (SELECT key, n, unnest(list_distinct(list_transform(string_split(q, '&'), x -> split_part(x, '=', 1)))) AS name FROM (FROM q ORDER BY n DESC, key, q LIMIT 20000)),
		v AS (SELECT key, unnest(string_split(q, '&')) AS x FROM (FROM q ORDER BY key, q LIMIT 5000))
		SELECT key, name, value, calls FROM (SELECT key, url_decode(name) AS name, '' AS value, sum(n)::BIGINT AS calls FROM p WHERE name <> '' GROUP BY 1, 2
		UNION ALL SELECT DISTINCT key, url_decode(split_part(x, '=', 1)) AS name, url_decode(split_part(x, '=', 2)) AS value, 0 AS calls FROM v) ORDER BY calls = 0, key, name, value`, w.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		switch op := ops[r.Key]; {
		case op == nil:
		case r.Calls > 0 && isData(r.Name):
		case r.Calls > 0:
			count(op.query, r.Name, r.Calls, 100)
		case r.Calls == 0 && op.query[r.Name] != nil:
			op.query[r.Name].value.addText(r.Value)
		}
	}
	return nil
}

// count adds calls with a parameter, of which most are kept.
func count(into map[string]*parameter, name string, calls int64, most int) {
	if into[name] == nil {
		if len(into) >= most {
			return
		}
		into[name] = &parameter{}
	}
	into[name].calls += calls
}

// standard are headers that every client or proxy sends, so that no description names them.
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

func headersOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Name  string `json:"name"`
		Calls int64  `json:"calls"`
	}
	// Most calls of an operation have the same headers: they are taken apart once.
	rows, _, err := ask.Rows[row](ctx, c, 100*maxOperations, `WITH h AS (SELECT endpoint AS key, list_transform(list_filter(headers, h -> h.kind = 'request'), h -> h.name) AS names, count(*) AS n
			FROM calls WHERE `+w.Where+` GROUP BY 1, 2),
		u AS (SELECT key, unnest(list_distinct(list_transform(names, x -> lower(x)))) AS name, n FROM h)
		SELECT key, name, sum(n)::BIGINT AS calls FROM u GROUP BY 1, 2 ORDER BY key, name`, w.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if op := ops[r.Key]; op != nil && !standard(r.Name) {
			count(op.headers, r.Name, r.Calls, 50)
		}
	}
	return nil
}

// bodiesOf looks into distinct JSON bodies, the earliest first.
func bodiesOf(ctx context.Context, c *forensics.Case, w *ask.Window, ops map[string]*operation) error {
	type row struct {
		Key    string `json:"key"`
		Side   string `json:"side"`
		Status int64  `json:"status"`
		Type   string `json:"type"`
		Hash   string `json:"hash"`
		Size   int64  `json:"size"`
		Bodies int64  `json:"bodies"`
	}
	rows, _, err := ask.Rows[row](ctx, c, 4*maxSamples*maxOperations, fmt.Sprintf(`WITH b AS (SELECT endpoint AS key, ts_ns, unnest([
				{'side': 'request', 'status': 0, 'type': CASE WHEN request_body_size > 0 THEN lower(trim(split_part(request_content_type, ';', 1))) END, 'hash': CASE WHEN request_body_size <= %[3]d THEN request_body_sha256 END, 'size': least(request_body_size, %[3]d)},
				{'side': 'response', 'status': status_code, 'type': CASE WHEN response_body_size > 0 THEN lower(trim(split_part(response_content_type, ';', 1))) END, 'hash': CASE WHEN response_body_size <= %[3]d THEN response_body_sha256 END, 'size': least(response_body_size, %[3]d)}]) AS b
			FROM calls WHERE %[1]s),
		g AS (SELECT key, b.side AS side, b.status AS status, b.type AS type, b.hash AS hash, max(b.size) AS size, min(ts_ns) AS first FROM b WHERE b.type IS NOT NULL GROUP BY ALL)
		SELECT key, side, status, type, coalesce(hash, '') AS hash, size, count(*) OVER (PARTITION BY key, side, status, type) AS bodies FROM g
		QUALIFY row_number() OVER (PARTITION BY key, side, status, type ORDER BY first, hash) <= %[2]d ORDER BY key, side, status, type, hash`,
		w.Where, maxSamples, maxSample), w.Args...)
	if err != nil {
		return err
	}
	for len(rows) > 0 {
		n, room := 0, int64(maxTexts)
		for n < len(rows) && n < 500 && (n == 0 || rows[n].Size <= room) {
			room -= rows[n].Size
			n++
		}
		some := rows[:n]
		rows = rows[n:]
		texts, err := textsOf(ctx, c, some, func(r row) string { return r.Hash })
		if err != nil {
			return err
		}
		for _, r := range some {
			op := ops[r.Key]
			if op == nil {
				continue
			}
			into := op.request
			if r.Side == "response" {
				into = op.response[r.Status]
			}
			if into == nil {
				continue
			}
			if into[r.Type] == nil {
				into[r.Type] = &shape{}
			}
			text, ok := texts[r.Hash]
			if ok && strings.HasSuffix(r.Type, "json") {
				into[r.Type].addJSON(text)
			}
			into[r.Type].partial = into[r.Type].partial || !ok || r.Bodies > maxSamples
		}
	}
	return nil
}

// textsOf reads whole text bodies of one part by their hashes.
func textsOf[T any](ctx context.Context, c *forensics.Case, list []T, hash func(T) string) (map[string]string, error) {
	type row struct {
		Hash string `json:"hash"`
		Text string `json:"text"`
	}
	var marks []string
	var args []any
	for _, r := range list {
		if hash(r) == "" {
			continue
		}
		raw, err := hex.DecodeString(hash(r))
		if err != nil {
			return nil, err
		}
		marks, args = append(marks, "?"), append(args, raw)
	}
	if len(marks) == 0 {
		return nil, nil
	}
	rows, _, err := ask.Rows[row](ctx, c, len(marks), `SELECT sha256 AS hash, any_value(text) AS text FROM bodies WHERE sha256 IN (`+strings.Join(marks, ", ")+`)
		AND part = 0 AND complete AND text IS NOT NULL GROUP BY sha256 ORDER BY sha256`, args...)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range rows {
		out[r.Hash] = r.Text
	}
	return out, nil
}
