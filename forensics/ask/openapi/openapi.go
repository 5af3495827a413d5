// Package openapi writes an OpenAPI 3.0 description of a service from its calls: paths, parameters,
// statuses and schemas of bodies. It contains no values from the traffic.
package openapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of the input of a description.
const (
	maxOperations = 500
	maxNamed      = 10       // methods in a note
	maxSamples    = 40       // distinct bodies of one operation and status
	maxSample     = 1 << 20  // bytes of a body that is analyzed
	maxTexts      = 16 << 20 // bytes of bodies that are read at a time
	maxQueries    = 20_000   // distinct query strings of all operations
)

// In is the input of generate_openapi.
type In struct {
	ask.Scope
	Service string `json:"service" jsonschema:"the service, workload, pod or host; namespace/name narrows"`
}

// Answer is the answer of generate_openapi: the HTTP interface of a service as seen in its calls.
type Answer struct {
	ask.Frame
	Service    string      `json:"service"`
	Operations []Operation `json:"operations"`
	YAML       string      `json:"yaml,omitempty" jsonschema:"OpenAPI 3.0.3, with schemas inferred from bodies and without values from the traffic"`
}

// Document returns the description as YAML for OpenAPI tools.
func (o *Answer) Document() (string, []string) { return o.YAML, o.Notes }

// Operation is one method of one path.
type Operation struct {
	Method   string   `json:"method"`
	Path     string   `json:"path" jsonschema:"with {parameters} for parts that vary between calls"`
	Calls    int64    `json:"calls"`
	Statuses []int64  `json:"statuses"`
	Example  []string `json:"call_ids" jsonschema:"the first three calls"`
}

// Question is the question generate_openapi.
func Question() ask.Question {
	return ask.New("generate_openapi", "OpenAPI description from calls",
		"OpenAPI 3 description of a service, inferred from its recorded HTTP calls: paths with parameters, query and header parameters, request and response schemas, statuses, authentication.", false, Ask)
}

// operation collects the facts about one method of one path.
type operation struct {
	Operation
	parts    map[int]*part // parts of the path, by position
	query    map[string]*parameter
	headers  map[string]*parameter
	cookies  map[string]*parameter
	auth     map[string]int64
	request  map[string]*shape           // by content type
	response map[int64]map[string]*shape // by status and content type
	withBody int64
}

// parameter is a query parameter or a header.
type parameter struct {
	calls    int64
	value    shape
	repeated bool // a call had it more than once
	empty    bool // a call had it without a value
}

// Ask answers generate_openapi.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	if in.Service == "" {
		return nil, ask.Wrong("service", "missing: give the name of a service")
	}
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	cond, args, err := ask.ServerByID(ctx, c, in.Service)
	if err != nil {
		return nil, err
	}
	w.And(cond, args...)
	w.And("protocol IN " + terms.Web + " AND path IS NOT NULL AND method IS NOT NULL")
	out := &Answer{Service: in.Service, Operations: []Operation{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	// The query below reads no header or query values, so it needs no masking. But a KFL
	// filter of the input must not match masked values.
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
		err = cookiesOf(ctx, bare, w, ops)
	}
	if err == nil {
		err = bodiesOf(ctx, bare, w, ops)
	}
	if err != nil {
		return nil, err
	}
	// Several templates may be one operation.
	list := slices.SortedFunc(maps.Values(ops), func(a, b *operation) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	list = slices.Compact(list)
	var described []*operation
	var others []string // their methods
	for _, op := range list {
		out.Operations = append(out.Operations, op.Operation)
		if op.expressible() {
			described = append(described, op)
		} else {
			others = append(others, op.Method)
		}
	}
	if len(list) == 0 {
		out.Note("it received no HTTP calls; encrypted traffic without keys has no calls")
		out.Match(0)
		return out, nil
	}
	if out.YAML, err = writeOpenAPI(in.Service, described); err != nil {
		return nil, err
	}
	if len(others) > 0 {
		methods := slices.Compact(slices.Sorted(slices.Values(others)))
		out.Note("%d {operation is|operations are} left out of the document, because OpenAPI cannot describe {its method or path|their methods or paths}: %s", len(others), strings.Join(methods[:min(len(methods), maxNamed)], ", "))
	}
	out.Note("describes %d {operation|operations} seen in the traffic; operations without calls are missing, and anything always present is marked as required", len(described))
	out.Match(len(list))
	return out, nil
}

// operationsOf reads the most called operations and their statuses. asked is true if some calls had
// a query string.
func operationsOf(ctx context.Context, c *forensics.Case, w *ask.Window) (ops map[string]*operation, asked, more bool, err error) {
	type row struct {
		Key     string   `json:"key"`
		Method  string   `json:"method"`
		Path    string   `json:"path"`
		Total   int64    `json:"total"`
		CallIDs []string `json:"call_ids"`
		Status  *int64   `json:"status"` // nil: no response
		Type    string   `json:"type"`
		Auth    string   `json:"auth"`
		Calls   int64    `json:"calls"`
		Body    int64    `json:"body"`
		Queries int64    `json:"queries"`
	}
	rows, more, err := ask.Rows[row](ctx, c, 20*maxOperations, `WITH g AS (SELECT `+key+`, any_value(method) AS method, any_value(`+template+`) AS path, status_code AS status, coalesce(lower(trim(split_part(response_content_type, ';', 1))), '') AS type,
			coalesce(auth_kind, '') AS auth, count(*) AS calls, count(*) FILTER (request_body_size > 0) AS body, count(*) FILTER (query_string <> '') AS queries, min({'t': ts_ns, 'i': call_id}, 3) AS ids
			FROM calls WHERE `+w.Where+` GROUP BY key, status, type, auth),
		o AS (SELECT key, any_value(method) AS method, any_value(path) AS path, sum(calls)::BIGINT AS total, list_transform(list_sort(flatten(list(ids)))[1:3], x -> lower(hex(x.i))) AS call_ids FROM g GROUP BY key ORDER BY total DESC, key LIMIT `+strconv.Itoa(maxOperations+1)+`)
		SELECT o.key, o.method, o.path, total, call_ids, status, type, auth, calls, body, queries FROM o JOIN g ON g.key = o.key ORDER BY total DESC, o.key, status, type, auth`, w.Args...)
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
					query: map[string]*parameter{}, headers: map[string]*parameter{}, cookies: map[string]*parameter{}, auth: map[string]int64{}, request: map[string]*shape{}, response: map[int64]map[string]*shape{}}
				same[r.Method+" "+path] = op
			}
			op.Calls += r.Total
			ops[r.Key] = op
		}
		op.withBody += r.Body
		if r.Status != nil {
			op.status(*r.Status, r.Type)
		}
		if r.Status != nil && *r.Status < 400 {
			op.auth[r.Auth] += r.Calls
		}
		asked = asked || r.Queries > 0
	}
	return ops, asked, more, err
}

// status adds the status of a response, with the content type of its body if it had one.
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

// named names each {id} of a path for the part before it: /orders/{id}/items/{id} becomes
// /orders/{orderId}/items/{itemId}.
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

// word converts a part of a path to the beginning of a name.
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

// bodiesOf analyzes distinct JSON bodies, earliest first.
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
	rows, _, err := ask.Rows[row](ctx, c, 4*maxSamples*maxOperations, fmt.Sprintf(`WITH b AS (SELECT `+key+`, ts_ns, unnest([
				{'side': 'request', 'status': 0, 'type': CASE WHEN request_body_size > 0 THEN coalesce(nullif(lower(trim(split_part(request_content_type, ';', 1))), ''), '*/*') END, 'hash': CASE WHEN request_body_size <= %[3]d THEN request_body_sha256 END, 'size': least(request_body_size, %[3]d)},
				{'side': 'response', 'status': coalesce(status_code, 0), 'type': CASE WHEN response_body_size > 0 THEN coalesce(nullif(lower(trim(split_part(response_content_type, ';', 1))), ''), '*/*') END, 'hash': CASE WHEN response_body_size <= %[3]d THEN response_body_sha256 END, 'size': least(response_body_size, %[3]d)}]) AS b
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

// textsOf reads text bodies that are stored in one part, by hash.
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

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string {
	return plural.Sprintf("%s has %d {operation|operations} in this traffic.", a.Service, len(a.Operations))
}
