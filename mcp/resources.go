package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// resource is one kind of resource. Its content is a tool's answer.
type resource struct {
	uri, name, title, doc string // uri may be a template with one variable
	tool                  string
	args                  func(part string) any
}

// resourceList lists the resources; to add one, add a line here. Resources without a tool or
// question are omitted.
func (s *Server) resourceList() []resource {
	none := func(string) any { return struct{}{} }
	list := []resource{
		{"pcapsule://cases", "cases", "Open bundles", "The open bundles: time span, packets, calls by protocol, inputs with hashes, coverage gaps.", "list_cases", none},
		{"pcapsule://schema", "schema", "Tables", "The tables of a case with their column names.", "describe_schema", none},
		{"pcapsule://schema/{table}", "table", "Columns of a table", "The columns of one table with type, unit and meaning.", "describe_schema",
			func(part string) any { return tools.DescribeSchemaIn{Table: part} }},
		{"pcapsule://calls", "calls", "First calls", "The first calls of the case; use list_api_calls to filter them and read on.", "list_api_calls", none},
		{"pcapsule://calls/{call_id}", "call", "One call in full", "One call: both endpoints, headers, bodies, times, flow, packets.", "get_api_call",
			func(part string) any { return tools.GetAPICallIn{ID: part} }},
		{"pcapsule://flows", "flows", "Traffic summary", "Totals over all flows: top talkers, by namespace, external addresses, TCP health.", "get_l4_flow_summary", none},
		{"pcapsule://flows/{flow_id}", "flow", "One flow", "One flow with its first calls and packets; flow_id as in table flows.", tools.Flow, func(part string) any { return tools.FlowIn{ID: part} }},
	}
	for _, m := range []struct{ uri, name, title, doc, tool string }{
		{"pcapsule://map", "map", "Service map", "Which services communicate, how much, and how reliably.", "get_service_map"},
		{"pcapsule://findings", "findings", "Findings", "What the analyzers found in the traffic, with severity and evidence.", "list_findings"},
	} {
		if slices.ContainsFunc(s.o.Questions, func(q ask.Question) bool { return q.Name == m.tool }) {
			list = append(list, resource{m.uri, m.name, m.title, m.doc, m.tool, none})
		}
	}
	return list
}

func (s *Server) addResources() {
	for _, r := range s.resourceList() {
		if strings.Contains(r.uri, "{") {
			s.sdk.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: r.uri, Name: r.name, Title: r.title, Description: r.doc, MIMEType: "application/json"}, s.reader(r))
			continue
		}
		s.sdk.AddResource(&mcp.Resource{URI: r.uri, Name: r.name, Title: r.title, Description: r.doc, MIMEType: "application/json"}, s.reader(r))
	}
	if s.o.Report != nil {
		s.sdk.AddResource(&mcp.Resource{URI: "pcapsule://report", Name: "report", Title: "Report", Description: "The report on the case, with its evidence; of a long one, the beginning.", MIMEType: "text/markdown"}, s.readReport)
	}
	if c, release, err := s.cases.Acquire(); err == nil {
		s.listResources(c)
		release()
	}
}

// listResources adds one resource for each open bundle, and notifies clients that the list
// changed.
func (s *Server) listResources(c *forensics.Case) {
	s.listed.Lock()
	defer s.listed.Unlock()
	s.sdk.RemoveResources(s.bundles...)
	s.bundles = nil
	for _, b := range c.Bundles() {
		uri := fmt.Sprintf("pcapsule://cases/%d", b.Index)
		path := b.Path
		s.bundles = append(s.bundles, uri)
		s.sdk.AddResource(&mcp.Resource{URI: uri, Name: fmt.Sprintf("case %d", b.Index), Title: path, Description: "One open bundle.", MIMEType: "application/json"},
			s.reader(resource{uri: uri, tool: tools.Bundle, args: func(string) any { return tools.BundleIn{Path: path} }}))
	}
}

// resourceBytes limits the size of a resource, which has no cursor.
const resourceBytes = 256 << 10

// reader answers resources/read for one kind of resource.
func (s *Server) reader(r resource) mcp.ResourceHandler {
	prefix, _, _ := strings.Cut(r.uri, "{")
	return func(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		part, err := url.PathUnescape(strings.TrimPrefix(req.Params.URI, prefix))
		if err != nil {
			return nil, mcp.ResourceNotFoundError(req.Params.URI)
		}
		var raw json.RawMessage
		err = s.withCase(ctx, callerOf(req), func(ctx context.Context, a *tools.Invocation) error {
			a.Max = resourceBytes
			args, err := json.Marshal(r.args(part))
			if err != nil {
				return err
			}
			v, err := s.env.OfResource(r.tool).Answer(ctx, a, args)
			if err != nil {
				return err
			}
			raw, err = s.finished(ctx, a, v)
			return err
		})
		noteAnswer(ctx, tools.RowsIn(raw), len(raw), err)
		if errors.Is(err, forensics.ErrNotFound) {
			return nil, mcp.ResourceNotFoundError(req.Params.URI)
		}
		if err != nil {
			return nil, coded(err)
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: "application/json", Text: string(raw),
			Meta: mcp.Meta{"pcapsule/trust": tools.TrustNote}}}}, nil
	}
}

// coded gives an error its code of JSON-RPC. The SDK would send it with code 0.
func coded(err error) error {
	code := int64(jsonrpc.CodeInternalError)
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusNotFound:
		code = jsonrpc.CodeInvalidParams
	case http.StatusServiceUnavailable:
		code = codeBusy
	}
	return &jsonrpc.Error{Code: code, Message: err.Error()}
}

// beginning is the part of a report that a resource has: whole lines, and what is left out.
func beginning(report string) string {
	if len(report) <= resourceBytes {
		return report
	}
	n := strings.LastIndexByte(report[:resourceBytes-200], '\n') + 1
	return report[:n] + fmt.Sprintf("\nThese are the first %d of %d bytes of the report. pcapsule report writes all of it; the questions answer each part.\n", n, len(report))
}

// readReport answers resources/read for the report.
func (s *Server) readReport(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	var text, kind string
	slow := &Server{o: s.o, sdk: s.sdk, cases: s.cases, env: s.env, long: s.long, short: s.short, aside: s.aside, own: s.own}
	slow.o.Deadline = max(s.o.Deadline, forensics.LongTime)
	err := slow.withCase(ctx, callerOf(req), func(ctx context.Context, a *tools.Invocation) (err error) {
		text, kind, err = s.o.Report(ctx, a.Case)
		text = beginning(s.hideIn(text, s.o.Policy.Sentence))
		return err
	})
	noteAnswer(ctx, 0, len(text), err)
	if err != nil {
		return nil, coded(err)
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: kind, Text: text, Meta: mcp.Meta{"pcapsule/trust": tools.TrustNote}}}}, nil
}
