// Package contenttest makes HTTP exchanges for the tests of readers of content.
package contenttest

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// HTTP is an exchange as http1 makes it. The request is its method, path and query; the headers are those of the request,
// and after an empty line those of the response, a line each.
func HTTP(request, headers, body string, status int32, response string) content.Exchange {
	method, target, _ := strings.Cut(request, " ")
	path, query, asked := strings.Cut(target, "?")
	c := &table.Call{Method: table.Some(method), Path: table.Some(path), Query: table.Opt[string]{V: query, OK: asked}, StatusCode: table.Some(status), Outcome: table.HTTPOutcome(status),
		Summary: fmt.Sprintf("%s %s → %d", method, path, status), Complete: true}
	kind := "request"
	for line := range strings.SplitSeq(headers, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			kind = "response"
			continue
		}
		c.Headers = append(c.Headers, table.Header{Name: name, Value: value, Kind: kind})
		switch {
		case name == "Host":
			c.Host = table.Some(value)
		case name == "Content-Type" && kind == "request":
			c.RequestContentType = table.Some(value)
		case name == "Content-Type":
			c.ResponseContentType = table.Some(value)
		}
	}
	return content.NewExchange(c, Body(body), Body(response))
}

// Body is a body that was kept.
func Body(s string) content.Body {
	return content.Body{Size: int64(len(s)), Get: func() []byte { return []byte(s) }}
}
