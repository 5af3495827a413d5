package mcp

import (
	"cmp"
	"context"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/mcp/tools"
)

// callsRoute returns the route of calls, whose rows have all columns of the table if format is raw.
func callsRoute(s *Server, rt route) route {
	rt = typed(s, rt, false, func(ctx context.Context, a *tools.Invocation, x *question) (tools.ShapedCalls, error) {
		return a.ShapeCalls(ctx, x.get("kfl"), x.number("start"), x.number("end"), x.get("order"), x.page())
	})
	raw := &jsonschema.Schema{Type: "object", Description: "format=raw: every column of table calls", Required: []string{"call_id"},
		Properties: map[string]*jsonschema.Schema{"call_id": {Type: "string"}}}
	rt.answer.Properties["calls"] = &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{tools.Schema[tools.ShapedCall](rt.Path), raw}}}
	return rt
}

func restFlows(ctx context.Context, a *tools.Invocation, x *question) (tools.ShapedFlows, error) {
	return a.ShapeFlows(ctx, tools.FlowFilter{Transport: x.get("l4proto"), IP: x.get("ip"), Namespace: x.get("ns"), Pod: x.get("pod"), Service: x.get("svc"), ChartFilter: chartFilter(x)}, x.page())
}

func restSummary(ctx context.Context, a *tools.Invocation, _ *question) (tools.ShapedSummary, error) {
	return a.ShapeSummary(ctx)
}

func restDatabases(ctx context.Context, a *tools.Invocation, _ *question) (tools.Databases, error) {
	return a.Databases(ctx)
}

// page returns the page that a request selects, of 100 rows by default.
func (x *question) page() tools.ShapedPage {
	return tools.ShapedPage{Limit: int(cmp.Or(x.number("limit"), 100)), Cursor: x.get("cursor"), Format: x.get("format")}
}
