package mcp

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

// maxValues is MCP's limit on the values of a completion.
const maxValues = 100

// complete suggests values for the variables of resource templates and the arguments of prompts.
func (s *Server) complete(ctx context.Context, req *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	var values []string
	err := s.withCase(ctx, callerOf(req), func(ctx context.Context, a *invocation) (err error) {
		values, err = a.values(ctx, req.Params.Argument.Name, req.Params.Argument.Value)
		return err
	})
	if err != nil {
		return nil, err
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

// values returns the values of an argument that begin with text, or none if the argument is
// unknown.
func (s *invocation) values(ctx context.Context, argument, text string) ([]string, error) {
	begins := escapeLike(text) + "%"
	switch argument {
	case "table":
		list, err := s.c.Tables()
		var out []string
		for _, t := range list {
			if strings.HasPrefix(t.Name, text) {
				out = append(out, t.Name)
			}
		}
		return out, err
	case "call_id":
		return s.column(ctx, `SELECT lower(hex(call_id)) FROM calls WHERE lower(hex(call_id)) LIKE ? ESCAPE '\' ORDER BY ts_ns, call_no`, begins)
	case "flow_id":
		if s.several() {
			return s.column(ctx, `SELECT v FROM (SELECT bundle || '#' || flow_id AS v, first_ns FROM flows) WHERE v LIKE ? ESCAPE '\' ORDER BY first_ns, v`, begins)
		}
		return s.column(ctx, `SELECT flow_id::VARCHAR FROM flows WHERE flow_id::VARCHAR LIKE ? ESCAPE '\' ORDER BY flow_id`, begins)
	case "namespace":
		return s.column(ctx, `SELECT DISTINCT namespace FROM endpoints WHERE namespace LIKE ? ESCAPE '\' ORDER BY 1`, begins)
	case "service", "other_service":
		return s.column(ctx, `SELECT DISTINCT v FROM (SELECT unnest([service, workload, name]) AS v FROM endpoints) WHERE v LIKE ? ESCAPE '\' ORDER BY 1`, begins)
	case "trace_id":
		return s.column(ctx, `SELECT DISTINCT trace_id FROM calls WHERE trace_id LIKE ? ESCAPE '\' ORDER BY 1`, begins)
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
func (s *invocation) column(ctx context.Context, sql string, args ...any) ([]string, error) {
	r, err := s.c.Query(ctx, forensics.Query{SQL: fmt.Sprintf("%s LIMIT %d", sql, maxValues+1), Args: args, Limit: maxValues + 1})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, row := range r.Rows {
		out = append(out, clip(text(row[0]), 200))
	}
	return out, nil
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
