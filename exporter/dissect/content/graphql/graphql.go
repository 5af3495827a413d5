// Package graphql reads GraphQL operations: over HTTP (GET and POST, batches, persisted queries,
// uploads, event streams) and over WebSocket (graphql-transport-ws, graphql-ws).
//
// It shows the operation and the names of its top-level fields, never variables or values of
// arguments. Errors in an answer with status 200 make the call fail.
package graphql

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "graphql",
	Doc:      "GraphQL operations",
	Versions: "GraphQL over HTTP; graphql-transport-ws and graphql-ws",
	Depth:    "operation, top-level fields, errors, batches, persisted queries, subscriptions",
	Inside:   []string{"http", "ws"},
}

// Operation is the requested operation, and its errors.
type Operation struct {
	Type      table.Opt[string] `col:"graphql_type" enc:"dict" doc:"query, mutation or subscription; persisted if only the hash of the document was sent; connection for the start of a WebSocket session; unknown if the document of a WebSocket message does not parse. Not null in every GraphQL call"`
	Name      table.Opt[string] `col:"graphql_operation" enc:"dict" doc:"name of the operation"`
	Fields    []string          `col:"graphql_fields" doc:"top-level fields of the operation, by their names in the schema, at most 32; those of fragments too"`
	Persisted table.Opt[string] `col:"graphql_persisted_hash" doc:"SHA-256 of the document that the request names instead of sending it (persisted query), or in addition"`
	Batch     table.Opt[int32]  `col:"graphql_batch" doc:"number of operations in a batch; the columns show the first, graphql_errors counts all"`
	Errors    table.Opt[int32]  `col:"graphql_errors" doc:"number of errors in the answer; null if no answer was read"`
	ErrorCode table.Opt[string] `col:"graphql_error_code" enc:"dict" doc:"extensions.code of the first error that has one, such as UNAUTHENTICATED"`
	Error     table.Opt[string] `col:"graphql_error" doc:"message of the first error"`
	Events    table.Opt[int64]  `col:"graphql_events" doc:"results that the server sent for a subscription"`

	executed bool // an error names a field, or there are results
}

// Read implements content.Reader.
func Read(x *content.Exchange, o *Operation) bool {
	var ops []request
	switch {
	case x.Socket:
		return readSocket(x, o)
	case x.Method.V == "GET":
		ops = fromQuery(x.Query.V)
	case x.Method.V != "POST":
	case x.Request.JSON():
		ops = fromJSON(x.Request.Bytes())
	case x.Request.Type == "application/graphql":
		ops = only(request{document: string(x.Request.Bytes())})
	case x.Request.Type == "multipart/form-data":
		ops = fromJSON(upload(x.Request.Bytes()))
	}
	if len(ops) == 0 {
		return false
	}
	o.asked(ops)
	o.answers(x)
	o.name(x, ops[0].name(), "")
	o.result(x)
	return true
}

// request is one operation of a request.
type request struct {
	document  string
	operation string // its name, if the document has several
	hash      string
	op        operation // in the document
}

func (r *request) name() string { return r.op.kind + " " + r.op.name }

// valid reads the document. It reports whether the request is one of GraphQL.
func (r *request) valid() bool {
	if r.document == "" {
		r.op.kind, r.op.name = "persisted", r.operation
		return len(r.hash) == 64
	}
	var ok bool
	r.op, ok = parse(r.document, r.operation)
	return ok
}

// only is a list of one valid request, or of none.
func only(r request) []request {
	if !r.valid() {
		return nil
	}
	return []request{r}
}

// fromQuery reads the parameters of a GET.
func fromQuery(query string) []request {
	if !strings.Contains(query, "query=") && !strings.Contains(query, "extensions=") || len(query) > content.MaxRequest {
		return nil
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		return nil
	}
	return only(request{document: v.Get("query"), operation: v.Get("operationName"), hash: hash([]byte(v.Get("extensions")))})
}

// fromJSON reads an operation, or a batch of them.
func fromJSON(body []byte) (list []request) {
	if content.Kind(body) != '[' {
		return only(fromObject(body))
	}
	for each := range content.Elements(body) {
		if r := fromObject(each); len(list) < 1000 && (len(list) > 0 || r.valid()) {
			list = append(list, r)
		} else {
			break
		}
	}
	return list
}

func fromObject(object []byte) (r request) {
	for name, v := range content.Members(object) {
		switch name {
		case "query":
			r.document = content.String(v)
			if r.document == "" && content.Kind(v) != '"' && content.Kind(v) != 'n' {
				return request{} // other languages have objects here
			}
		case "operationName":
			r.operation = content.String(v)
		case "extensions":
			r.hash = hash(v)
		case "documentId", "id": // persisted documents of GraphQL over HTTP, and of Relay
			if id := strings.TrimPrefix(content.String(v), "sha256:"); r.hash == "" && len(id) == 64 {
				r.hash = id
			}
		}
	}
	return r
}

// hash is extensions.persistedQuery.sha256Hash.
func hash(extensions []byte) string {
	h := content.String(content.Member(content.Member(extensions, "persistedQuery"), "sha256Hash"))
	if strings.Trim(h, "0123456789abcdefABCDEF") != "" {
		return ""
	}
	return h
}

// upload is the part operations of a form, as the GraphQL multipart request specification has it.
func upload(form []byte) []byte {
	i := bytes.Index(form, []byte(`name="operations"`))
	if i < 0 || i > 4096 {
		return nil
	}
	_, value, _ := bytes.Cut(form[i:], []byte("\r\n\r\n"))
	value, _, _ = bytes.Cut(value, []byte("\r\n--"))
	return value
}

// asked sets the columns of the request.
func (o *Operation) asked(ops []request) {
	first := &ops[0]
	o.Type, o.Name, o.Fields = content.Some(first.op.kind), content.Some(first.op.name), first.op.fields
	o.Persisted = content.Some(first.hash)
	if len(ops) > 1 {
		o.Batch = table.Some(int32(len(ops)))
	}
}

// name sets summary and endpoint.
func (o *Operation) name(x *content.Exchange, what, end string) {
	what = strings.TrimSpace(what)
	endpoint := strings.TrimSpace(x.EndpointOf() + " " + what)
	if o.Name.V == "" && len(o.Fields) > 0 {
		endpoint += " " + o.Fields[0]
	}
	if len(o.Fields) > 0 {
		what += " {" + strings.Join(o.Fields[:min(len(o.Fields), 8)], ", ")
		if len(o.Fields) > 8 {
			what += ", …"
		}
		what += "}"
	}
	if o.Batch.OK {
		what += fmt.Sprintf(" and %d more", o.Batch.V-1)
	}
	x.Name(what+end, endpoint)
}
