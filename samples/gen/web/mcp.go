package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeMCP records an assistant's client with a server of the Model Context Protocol over HTTP.
func makeMCP(ctx context.Context, out string) error {
	l, err := lab.New("mcp", "", lab.At("client", "10.1.11.5"), lab.At("mcp", "10.1.11.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("mcp", "mcp-server", "10.1.11.20:8000"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "mcp.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "mcp-client", "http://10.1.11.20:8000/mcp", filepath.Join(out, "mcp.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

type weatherAsk struct {
	City   string `json:"city"`
	APIKey string `json:"api_key,omitempty"`
}

// mcpServer has tools, a resource and a prompt.
func mcpServer(ctx context.Context, args []string) error {
	s := mcp.NewServer(&mcp.Implementation{Name: "weather", Version: "2.1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "forecast", Description: "weather of tomorrow"}, func(ctx context.Context, r *mcp.CallToolRequest, in weatherAsk) (*mcp.CallToolResult, any, error) {
		if in.City == "" {
			return nil, nil, errors.New("which city")
		}
		if in.City == "slow" {
			for i := range 3 {
				if err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i)}); err != nil {
					return nil, nil, err
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "rain in " + in.City}}}, nil, nil
	})
	s.AddResource(&mcp.Resource{URI: "file:///stations.txt", Name: "stations"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "file:///stations.txt", Text: "north, south"}}}, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "packing"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "what do I pack?"}}}}, nil
	})
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	return lab.Listen(ctx, args[0], h)
}

// mcpClient uses everything once, and what is not there.
func mcpClient(ctx context.Context, args []string) error {
	var s lab.Said
	c := mcp.NewClient(&mcp.Implementation{Name: "helpdesk", Version: "0.3"}, nil)
	session, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: args[0]}, nil)
	if err != nil {
		return err
	}
	s.Line("initialize\thelpdesk 0.3 weather 2.1\tok")
	s.Line("notifications/initialized\t\tok")
	tools, err := session.ListTools(ctx, nil)
	if err != nil || len(tools.Tools) != 1 {
		return fmt.Errorf("listing tools: %d, %w", len(tools.Tools), err)
	}
	s.Line("tools/list\t\tok")
	for _, call := range []struct{ tool, city string }{{"forecast", "Bergen"}, {"forecast", ""}, {"forecast", "slow"}, {"delete_everything", "Bergen"}} {
		p := &mcp.CallToolParams{Name: call.tool, Arguments: weatherAsk{City: call.city, APIKey: lab.Password}}
		p.SetProgressToken("t")
		answer, err := session.CallTool(ctx, p)
		result := mcpResult(err)
		if err == nil && answer.IsError {
			result = "tool failed"
		}
		s.Line("tools/call\t%s\t%s", call.tool, result)
	}
	for _, uri := range []string{"file:///stations.txt", "file:///nothing"} {
		_, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
		s.Line("resources/read\t%s\t%s", uri, mcpResult(err))
	}
	_, err = session.GetPrompt(ctx, &mcp.GetPromptParams{Name: "packing"})
	s.Line("prompts/get\tpacking\t%s", mcpResult(err))
	if err := session.Close(); err != nil {
		return err
	}
	s.Line("listen\t\tok")
	s.Line("end\t\tok")
	return s.Write(args[1])
}

// mcpResult is the error code of an answer, ok for none.
func mcpResult(err error) string {
	var wire *jsonrpc.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &wire):
		return fmt.Sprint(wire.Code)
	}
	return strings.ReplaceAll(err.Error(), "\t", " ")
}
