package graphql

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// answers counts results and errors of a response over HTTP.
func (o *Operation) answers(x *content.Exchange) {
	if !x.Response.JSON() && x.Response.Type != content.EventStream {
		return
	}
	subscribed := x.Response.Type == content.EventStream
	for v := range x.Answers() {
		if content.Kind(v) == '[' {
			for each := range content.Elements(v) {
				o.answer(each)
			}
			continue
		}
		o.answer(v)
		if subscribed {
			o.Events = table.Some(o.Events.V + 1)
		}
	}
}

// answer reads the errors of one result.
func (o *Operation) answer(result []byte) {
	if p := content.Member(result, "payload"); p != nil {
		result = p // of the event stream protocol in a single connection
	}
	for name, v := range content.Members(result) {
		switch name {
		case "data":
			o.Errors.OK, o.executed = true, o.executed || content.Kind(v) != 'n'
		case "errors":
			o.failed(v)
		}
	}
}

// failed reads a list of errors, or one.
func (o *Operation) failed(errors []byte) {
	if o.Errors.OK = true; content.Kind(errors) == '{' {
		o.failure(errors)
		return
	}
	for each := range content.Elements(errors) {
		o.failure(each)
	}
}

func (o *Operation) failure(e []byte) {
	o.Errors = table.Some(o.Errors.V + 1)
	if !o.Error.OK {
		o.Error = content.Some(content.String(content.Member(e, "message")))
	}
	o.executed = o.executed || content.Member(e, "path") != nil
	if !o.ErrorCode.OK {
		o.ErrorCode = content.Some(content.String(content.Member(content.Member(e, "extensions"), "code")))
	}
}

// result sets the outcome.
func (o *Operation) result(x *content.Exchange) {
	x.Within = true
	if o.Errors.V == 0 {
		return
	}
	if o.Errors.V == 1 {
		x.Add(", 1 error")
	} else {
		x.Add(fmt.Sprintf(", %d errors", o.Errors.V))
	}
	if o.ErrorCode.OK {
		x.Add(": " + o.ErrorCode.V)
	}
	code := o.ErrorCode.V
	if code == "" {
		code = "GraphQL error"
	}
	switch outcome := outcomeOf(o.ErrorCode.V); {
	case outcome == table.OK:
	case !o.ErrorCode.OK && !o.executed && o.Events.V == 0: // it was not executed, GraphQL specification section 7.1
		x.Fail(table.ClientError, code)
	default:
		x.Fail(outcome, code)
	}
}

// outcomeOf is the outcome of an error code. The codes are those of Apollo, which other servers
// use too.
func outcomeOf(code string) string {
	switch strings.ToUpper(code) {
	case "PERSISTED_QUERY_NOT_FOUND", "PERSISTEDQUERYNOTFOUND": // the client sends the document next
		return table.OK
	case "BAD_REQUEST", "BAD_USER_INPUT", "CONFLICT", "FORBIDDEN", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "NOT_FOUND",
		"OPERATION_RESOLUTION_FAILURE", "PERSISTED_QUERY_NOT_SUPPORTED", "RATE_LIMITED", "TOO_MANY_REQUESTS", "UNAUTHENTICATED", "UNAUTHORIZED", "VALIDATION_ERROR":
		return table.ClientError
	}
	return table.ServerError
}
