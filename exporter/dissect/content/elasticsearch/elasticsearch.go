// Package elasticsearch reads calls of Elasticsearch and OpenSearch: the operation, the index, and
// errors inside an answer with status 200.
package elasticsearch

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "elasticsearch",
	Doc:      "Elasticsearch and OpenSearch",
	Versions: "REST API",
	Depth:    "operation, index, document, hits, errors inside responses",
	Inside:   []string{"http"},
}

// Action is the operation and its index.
type Action struct {
	Operation table.Opt[string] `col:"elasticsearch_operation" enc:"dict" doc:"operation: index, get, delete, search, bulk, or the API of the path without its underscore, such as cluster/health or, of an index itself, indices/create. Not null in every call of Elasticsearch or OpenSearch"`
	Index     table.Opt[string] `col:"elasticsearch_index" enc:"dict" doc:"index, or several with commas, as the path has them"`
	ID        table.Opt[string] `col:"elasticsearch_id" doc:"id of the document"`
	TookMs    table.Opt[int64]  `col:"elasticsearch_took_ms" unit:"ms" doc:"time that the server states for the operation"`
	Hits      table.Opt[int64]  `col:"elasticsearch_hits" doc:"hits.total of a search"`
	Items     table.Opt[int64]  `col:"elasticsearch_items" doc:"operations in the answer of a bulk, or searches in that of a multi-search"`
	Errors    table.Opt[int64]  `col:"elasticsearch_errors" doc:"items of a bulk or multi-search that failed, shards of a search, or documents of an operation by query"`
	ErrorType table.Opt[string] `col:"elasticsearch_error_type" enc:"dict" doc:"type of the first error, such as index_not_found_exception"`
}

// Read implements content.Reader.
func Read(x *content.Exchange, a *Action) bool {
	if x.Socket || !a.target(x) || !answersLike(x, a.Operation.V) {
		*a = Action{}
		return false
	}
	a.answer(x)
	what := "Elasticsearch " + a.Operation.V
	if a.Index.OK {
		what += " " + a.Index.V
	}
	x.Name(what, what)
	switch {
	case a.Items.OK && a.Errors.V > 0:
		x.Add(", " + strconv.FormatInt(a.Errors.V, 10) + " of " + strconv.FormatInt(a.Items.V, 10) + " items failed")
	case a.Errors.V > 0:
		x.Add(", " + strconv.FormatInt(a.Errors.V, 10) + " " + a.parts() + " failed")
	}
	if a.ErrorType.OK {
		x.Add(", " + a.ErrorType.V)
	}
	if a.Errors.V > 0 || a.ErrorType.OK {
		x.Fail(outcome(a.ErrorType.V), a.ErrorType.V)
	}
	return true
}

// parts is what fails without failing the whole operation.
func (a *Action) parts() string {
	if strings.HasSuffix(a.Operation.V, "_by_query") || a.Operation.V == "reindex" {
		return "documents"
	}
	return "shards"
}

// target reads INDEX/_api/ID and _api/….
func (a *Action) target(x *content.Exchange) bool {
	parts := strings.Split(strings.Trim(x.Path.V, "/"), "/")
	if len(parts) > 8 || len(x.Path.V) > 2048 {
		return false
	}
	if !strings.HasPrefix(parts[0], "_") {
		a.Index = content.Some(parts[0])
		parts = parts[1:]
	}
	if len(parts) == 0 {
		op := map[string]string{"PUT": "indices/create", "DELETE": "indices/delete", "GET": "indices/get", "HEAD": "indices/exists"}[x.Method.V]
		a.Operation = table.NonEmpty(op)
		return op != "" && a.Index.OK
	}
	if len(parts[0]) < 2 || parts[0][0] != '_' {
		return false
	}
	op := parts[0][1:]
	switch op {
	case "doc", "create", "update":
		if len(parts) > 1 {
			a.ID = content.Some(parts[1])
		}
		if op == "doc" {
			op = map[string]string{"GET": "get", "HEAD": "get", "DELETE": "delete"}[x.Method.V]
		}
		if op == "" {
			op = "index"
		}
	default:
		for _, p := range parts[1:] {
			if strings.Trim(p, "abcdefghijklmnopqrstuvwxyz_") == "" && len(op) < 64 && !a.Index.OK {
				op += "/" + strings.TrimPrefix(p, "_")
			}
		}
	}
	a.Operation = content.Some(op)
	return true
}

// answersLike reports whether the answer is one of these servers. A path alone proves nothing, but
// their header does, also for an answer that is a table of text (_cat) or has no body (HEAD).
func answersLike(x *content.Exchange, op string) bool {
	if x.Header(httpfield.Response, "X-Elastic-Product") == "Elasticsearch" || strings.HasPrefix(x.Response.Type, "application/vnd.elasticsearch") {
		return true
	}
	if !x.Response.JSON() {
		return false
	}
	has := map[string]bool{}
	for name := range content.Members(x.Response.Bytes()) {
		if has[name] = true; len(has) > 64 {
			break
		}
	}
	switch {
	case has["error"] && has["status"]:
		return content.Member(content.Member(x.Response.Bytes(), "error"), "root_cause") != nil
	case op == "search" || op == "count":
		return has["_shards"]
	case op == "bulk":
		return has["took"] && has["errors"] && has["items"]
	case op == "msearch" || op == "msearch/template":
		return has["took"] && has["responses"]
	case op == "update_by_query" || op == "delete_by_query" || op == "reindex":
		return has["took"] && has["total"] && has["version_conflicts"]
	case op == "indices/create" || op == "indices/delete":
		return has["acknowledged"]
	}
	return has["_index"] && has["_id"] || has["_shards"] || has["cluster_name"]
}

// answer reads counts and errors.
func (a *Action) answer(x *content.Exchange) {
	for name, v := range content.Members(x.Response.Bytes()) {
		switch name {
		case "took":
			a.TookMs = number(v)
		case "hits":
			total := content.Member(v, "total")
			if content.Kind(total) == '{' {
				total = content.Member(total, "value")
			}
			a.Hits = number(total)
		case "_shards":
			if n := number(content.Member(v, "failed")); n.V > 0 {
				a.Errors = n
				for f := range content.Elements(content.Member(v, "failures")) {
					a.failure(content.Member(f, "reason"))
				}
			}
		case "error":
			a.failure(v)
		case "items":
			a.bulk(v)
		case "responses":
			a.searches(v)
		case "failures":
			a.failures(v)
		}
	}
}

// bulk reads the items of a bulk.
func (a *Action) bulk(items []byte) {
	n, failed := int64(0), int64(0)
	for item := range content.Elements(items) {
		n++
		for _, v := range content.Members(item) {
			failed += a.failedIn(v)
		}
	}
	a.Items, a.Errors = table.Some(n), table.Some(failed)
}

// failedIn is 1 if a result has an error, whose type it reads.
func (a *Action) failedIn(result []byte) int64 {
	e := content.Member(result, "error")
	if e == nil {
		return 0
	}
	a.failure(e)
	return 1
}

// searches reads the answers of a multi-search.
func (a *Action) searches(list []byte) {
	n, failed := int64(0), int64(0)
	for v := range content.Elements(list) {
		n++
		failed += a.failedIn(v)
	}
	a.Items, a.Errors = table.Some(n), table.Some(failed)
}

// failures reads what stopped an update, a deletion or a copy of the documents that match a query.
func (a *Action) failures(list []byte) {
	n := int64(0)
	for v := range content.Elements(list) {
		n++
		a.failure(content.Member(v, "cause"))
	}
	a.Errors = table.Some(n)
}

// failure reads the type of an error.
func (a *Action) failure(e []byte) {
	if !a.ErrorType.OK {
		a.ErrorType = content.Some(content.String(content.Member(e, "type")))
	}
}

func number(v []byte) (n table.Opt[int64]) {
	if i, err := strconv.ParseInt(content.Scalar(v), 10, 64); err == nil {
		n = table.Some(i)
	}
	return n
}

// outcome is the outcome of an error inside a 200.
func outcome(typ string) string {
	switch typ {
	case "version_conflict_engine_exception", "mapper_parsing_exception", "document_parsing_exception", "document_missing_exception", "index_not_found_exception",
		"parsing_exception", "query_shard_exception", "illegal_argument_exception", "strict_dynamic_mapping_exception", "security_exception":
		return table.ClientError
	}
	return table.ServerError
}
