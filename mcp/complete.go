package mcp

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// maxValues is MCP's limit on the values of a completion.
const maxValues = 100

// complete suggests values for the variables of resource templates and the arguments of prompts.
func (s *Server) complete(ctx context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	var values []string
	err := s.withCase(ctx, callerOf(req), func(ctx context.Context, a *tools.Invocation) (err error) {
		values, err = suggest(ctx, a, req.Params.Argument.Name, req.Params.Argument.Value)
		return err
	})
	if err != nil {
		return nil, coded(err)
	}
	total := len(values)
	values = append([]string{}, values[:min(total, maxValues)]...)
	noteAnswer(ctx, len(values), 0, nil)
	out := &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: total, HasMore: total > maxValues}}
	if total > maxValues {
		out.Completion.Total = 0 // unknown: there is at least one more
	}
	return out, nil
}

// suggest returns the values of an argument that begin with text, or none if the argument is
// unknown.
func suggest(ctx context.Context, s *tools.Invocation, argument, text string) ([]string, error) {
	begins := escapeLike(text) + "%"
	switch argument {
	case "table":
		list, err := s.Case.Tables()
		var out []string
		for _, t := range list {
			if strings.HasPrefix(t.Name, text) {
				out = append(out, t.Name)
			}
		}
		return out, err
	case "call_id":
		return column(ctx, s, `SELECT lower(hex(call_id)) FROM calls WHERE lower(hex(call_id)) LIKE ? ESCAPE '\' ORDER BY ts_ns, call_no`, begins)
	case "flow_id":
		if len(s.Case.Bundles()) > 1 {
			return column(ctx, s, `SELECT v FROM (SELECT bundle || '#' || flow_id AS v, first_ns FROM flows) WHERE v LIKE ? ESCAPE '\' ORDER BY first_ns, v`, begins)
		}
		return column(ctx, s, `SELECT flow_id::VARCHAR FROM flows WHERE flow_id::VARCHAR LIKE ? ESCAPE '\' ORDER BY flow_id`, begins)
	case "namespace":
		return column(ctx, s, `SELECT DISTINCT namespace FROM endpoints WHERE namespace LIKE ? ESCAPE '\' ORDER BY 1`, begins)
	case "service", "other_service":
		return column(ctx, s, `SELECT DISTINCT v FROM (SELECT unnest([service, workload, name]) AS v FROM endpoints) WHERE v LIKE ? ESCAPE '\' ORDER BY 1`, begins)
	case "trace_id":
		return column(ctx, s, `SELECT DISTINCT trace_id FROM calls WHERE trace_id LIKE ? ESCAPE '\' ORDER BY 1`, begins)
	case "kfl":
		var out []string
		for _, c := range kfl.Complete(text, len(text)) {
			out = append(out, text[:c.Start]+c.Text+text[c.End:])
		}
		return out, nil
	}
	return nil, nil
}

// column returns the only column of a query.
func column(ctx context.Context, s *tools.Invocation, sql string, args ...any) ([]string, error) {
	r, err := s.Case.Query(ctx, forensics.Query{SQL: fmt.Sprintf("%s LIMIT %d", sql, maxValues+1), Args: args, Limit: maxValues + 1})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, row := range r.Rows {
		value, _ := row[0].(string)
		out = append(out, ask.Clip(value, 200))
	}
	return out, nil
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
