package ask

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of what a description is made of.
const (
	maxOperations = 500
	maxSamples    = 40      // distinct bodies of one operation and status
	maxSample     = 1 << 20 // bytes of a body that is looked into
)

// OpenAPIIn asks for a description of a service's interface.
type OpenAPIIn struct {
	Scope
	Service string `json:"service" jsonschema:"the service, workload, pod or host; namespace/name narrows"`
}

// OpenAPI is a service's HTTP interface as its calls show it.
type OpenAPI struct {
	Frame
	Service    string      `json:"service"`
	Operations []Operation `json:"operations"`
	YAML       string      `json:"yaml,omitempty" jsonschema:"OpenAPI 3.0.3: what was seen, with schemas inferred from bodies and no value of the traffic in it"`
}

// Operation is one method of one path.
type Operation struct {
	Method   string   `json:"method"`
	Path     string   `json:"path" jsonschema:"with {parameters} where parts differ from call to call"`
	Calls    int64    `json:"calls"`
	Statuses []int64  `json:"statuses"`
	Example  []string `json:"call_ids" jsonschema:"the first three calls"`
}

func openAPI() Question {
	return question("generate_openapi", "OpenAPI description from calls",
		"OpenAPI 3 description of a service, inferred from its recorded HTTP calls: paths with parameters, query and header parameters, request and response schemas, statuses, authentication.", false, AskOpenAPI)
}

// operation gathers what is known of one method of one path.
type operation struct {
	Operation
	template string // with {id}
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

// AskOpenAPI describes a service.
func AskOpenAPI(ctx context.Context, c *forensics.Case, in OpenAPIIn) (*OpenAPI, error) {
	if in.Service == "" {
		return nil, wrong("service", "empty, want the name of a service")
	}
	w, err := in.read(ctx, c)
	if err != nil {
		return nil, err
	}
	cond, args := endIs(c, "dst_", in.Service)
	w.and(cond, args...)
	w.and("protocol IN ('http1', 'http2', 'http3') AND path IS NOT NULL AND method IS NOT NULL AND status_code IS NOT NULL")
	out := &OpenAPI{Service: in.Service, Operations: []Operation{}}
	if out.Frame, err = w.frame(ctx, c); err != nil {
		return nil, err
	}
	ops, more, err := operationsOf(ctx, c, w)
	if err != nil {
		return nil, err
	}
	out.Truncated = more
	for _, f := range []func(context.Context, *forensics.Case, *window, map[string]*operation) error{statusesOf, queriesOf, headersOf, bodiesOf} {
		if err := f(ctx, c, w, ops); err != nil {
			return nil, err
		}
	}
	for _, k := range sortedNames(ops) {
		out.Operations = append(out.Operations, ops[k].Operation)
	}
	slices.SortFunc(out.Operations, func(a, b Operation) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	if len(ops) == 0 {
		out.note("no HTTP call to %s: get_service_map lists the services, and what is encrypted without keys has no calls", clip(in.Service, 100))
		out.matched(0)
		return out, nil
	}
	if out.YAML, err = writeOpenAPI(in.Service, out.Operations, ops); err != nil {
		return nil, err
	}
	out.note("made of %d operations that were called; what nobody called is not in it, and what was always there is called required", len(ops))
	out.matched(len(ops))
	return out, nil
}

// opKey is the SQL for the operation of a call.
func opKey() string { return `method || ' ' || ` + template("path") }

func operationsOf(ctx context.Context, c *forensics.Case, w *window) (map[string]*operation, bool, error) {
	type row struct {
		Key     string   `json:"key"`
		Method  string   `json:"method"`
		Path    string   `json:"path"`
		Calls   int64    `json:"calls"`
		CallIDs []string `json:"call_ids"`
	}
	rows, more, err := readRows[row](ctx, c, maxOperations, `SELECT `+opKey()+` AS key, any_value(method) AS method, `+template("any_value(path)")+` AS path, count(*) AS calls, `+someCalls+
		` FROM calls WHERE `+w.where+` GROUP BY 1 ORDER BY calls DESC, key`, w.args...)
	if err != nil {
		return nil, false, err
	}
	ops := map[string]*operation{}
	for _, r := range rows {
		ops[r.Key] = &operation{template: r.Path, Operation: Operation{Method: r.Method, Path: named(r.Path), Calls: r.Calls, Example: r.CallIDs, Statuses: []int64{}},
			query: map[string]*parameter{}, headers: map[string]*parameter{}, auth: map[string]int64{}, request: map[string]*shape{}, response: map[int64]map[string]*shape{}}
	}
	return ops, more, nil
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

func statusesOf(ctx context.Context, c *forensics.Case, w *window, ops map[string]*operation) error {
	type row struct {
		Key    string `json:"key"`
		Status int64  `json:"status"`
		Type   string `json:"type"`
		Auth   string `json:"auth"`
		Calls  int64  `json:"calls"`
		Body   int64  `json:"body"`
	}
	rows, _, err := readRows[row](ctx, c, 20*maxOperations, `SELECT `+opKey()+` AS key, status_code AS status, coalesce(lower(trim(split_part(response_content_type, ';', 1))), '') AS type,
		coalesce(auth_kind, '') AS auth, count(*) AS calls, count(*) FILTER (request_body_size > 0) AS body FROM calls WHERE `+w.where+` GROUP BY ALL ORDER BY ALL`, w.args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		op := ops[r.Key]
		if op == nil {
			continue
		}
		if !slices.Contains(op.Statuses, r.Status) {
			op.Statuses = append(op.Statuses, r.Status)
			op.response[r.Status] = map[string]*shape{}
		}
		if r.Type != "" && op.response[r.Status][r.Type] == nil {
			op.response[r.Status][r.Type] = &shape{}
		}
		op.withBody += r.Body
		if r.Status < 400 {
			op.auth[r.Auth] += r.Calls
		}
	}
	return nil
}

func queriesOf(ctx context.Context, c *forensics.Case, w *window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Name  string `json:"name"`
		Value string `json:"value"`
		Calls int64  `json:"calls"`
	}
	rows, _, err := readRows[row](ctx, c, 50*maxOperations, `WITH q AS (SELECT `+opKey()+` AS key, query_string AS q, count(*) AS n FROM calls WHERE `+w.where+
		` AND query_string <> '' AND status_code < 400 GROUP BY 1, 2 ORDER BY n DESC, key, q LIMIT 20000),
		p AS (SELECT key, n, unnest(list_distinct(list_transform(string_split(q, '&'), x -> split_part(x, '=', 1)))) AS name, q FROM q)
		SELECT key, url_decode(name) AS name, '' AS value, sum(n)::BIGINT AS calls FROM p WHERE name <> '' GROUP BY 1, 2 ORDER BY key, name`, w.args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if op := ops[r.Key]; op != nil && len(op.query) < 100 {
			op.query[r.Name] = &parameter{calls: r.Calls}
		}
	}
	values, _, err := readRows[row](ctx, c, 50*maxOperations, `WITH q AS (SELECT DISTINCT `+opKey()+` AS key, query_string AS q FROM calls WHERE `+w.where+
		` AND query_string <> '' AND status_code < 400 ORDER BY key, q LIMIT 5000),
		p AS (SELECT key, unnest(string_split(q, '&')) AS x FROM q)
		SELECT DISTINCT key, url_decode(split_part(x, '=', 1)) AS name, url_decode(split_part(x, '=', 2)) AS value, 1 AS calls FROM p ORDER BY ALL`, w.args...)
	if err != nil {
		return err
	}
	for _, r := range values {
		if op := ops[r.Key]; op != nil && op.query[r.Name] != nil {
			op.query[r.Name].value.addText(r.Value)
		}
	}
	return nil
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

func headersOf(ctx context.Context, c *forensics.Case, w *window, ops map[string]*operation) error {
	type row struct {
		Key   string `json:"key"`
		Name  string `json:"name"`
		Calls int64  `json:"calls"`
	}
	rows, _, err := readRows[row](ctx, c, 100*maxOperations, `WITH h AS (SELECT `+opKey()+` AS key, unnest(list_distinct(list_transform(list_filter(headers, h -> h.kind = 'request'), h -> lower(h.name)))) AS name
		FROM calls WHERE `+w.where+` AND status_code < 400)
		SELECT key, name, count(*) AS calls FROM h GROUP BY 1, 2 ORDER BY key, name`, w.args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if op := ops[r.Key]; op != nil && !standard(r.Name) && len(op.headers) < 50 {
			op.headers[r.Name] = &parameter{calls: r.Calls}
		}
	}
	return nil
}

// bodiesOf looks into distinct JSON bodies, the earliest first.
func bodiesOf(ctx context.Context, c *forensics.Case, w *window, ops map[string]*operation) error {
	type row struct {
		Key    string `json:"key"`
		Side   string `json:"side"`
		Status int64  `json:"status"`
		Type   string `json:"type"`
		Hash   string `json:"hash"`
	}
	sample := func(side, status string) string {
		return fmt.Sprintf(`SELECT %s AS key, '%s' AS side, %s AS status, lower(trim(split_part(%s_content_type, ';', 1))) AS type, %s_body_sha256 AS hash, min(ts_ns) AS first
			FROM calls WHERE %s AND %s_body_size BETWEEN 1 AND %d AND %s_content_type IS NOT NULL %s GROUP BY 1, 2, 3, 4, 5
			QUALIFY row_number() OVER (PARTITION BY key, status, type ORDER BY min(ts_ns), hash) <= %d`, opKey(), side, status, side, side, w.where, side, maxSample, side,
			map[string]string{"request": "AND status_code < 400", "response": ""}[side], maxSamples)
	}
	rows, _, err := readRows[row](ctx, c, 4*maxSamples*maxOperations, `SELECT key, side, status, type, hash FROM (`+sample("request", "0")+` UNION ALL `+sample("response", "status_code")+
		`) ORDER BY ALL`, w.values(w.args...)...)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(rows, 64) {
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
			if text, ok := texts[r.Hash]; ok && (strings.HasSuffix(r.Type, "json")) {
				into[r.Type].addJSON(text)
			}
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
		raw, err := hex.DecodeString(hash(r))
		if err != nil {
			return nil, err
		}
		marks, args = append(marks, "?"), append(args, raw)
	}
	rows, _, err := readRows[row](ctx, c, len(marks), `SELECT sha256 AS hash, any_value(text) AS text FROM bodies WHERE sha256 IN (`+strings.Join(marks, ", ")+`)
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
