package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

func text(uri, text string) *sdk.ResourceContents {
	return &sdk.ResourceContents{URI: uri, MIMEType: "text/plain", Text: text}
}

// addContents adds a tool for each kind of content.
func addContents(m *sdk.Server) {
	image := &sdk.ImageContent{Data: bytesOf(pixel), MIMEType: "image/png"}
	for _, t := range []struct {
		name, doc string
		content   []sdk.Content
	}{
		{"test_simple_text", "answers with text", textContent("This is a simple text response for testing.")},
		{"test_image_content", "answers with a picture", []sdk.Content{image}},
		{"test_audio_content", "answers with a sound", []sdk.Content{&sdk.AudioContent{Data: bytesOf(silence), MIMEType: "audio/wav"}}},
		{"test_embedded_resource", "answers with a resource", []sdk.Content{&sdk.EmbeddedResource{Resource: text("test://embedded-resource", "This is an embedded resource content.")}}},
		{"test_multiple_content_types", "answers with three kinds of content", []sdk.Content{&sdk.TextContent{Text: "Multiple content types test:"}, image,
			&sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: "test://mixed-content-resource", MIMEType: "application/json", Text: `{"test":"data","value":123}`}}}},
	} {
		add(m, t.name, t.doc, func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
			return &sdk.CallToolResult{Content: t.content}, nil, nil
		})
	}
	add(m, "test_error_handling", "fails", func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
		return nil, nil, errors.New("this tool intentionally returns an error for testing")
	})
	add(m, "test_tool_with_progress", "reports its progress", func(ctx context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		token := req.Params.GetProgressToken()
		for _, at := range []float64{0, 50, 100} {
			if err := req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: token, Progress: at, Total: 100, Message: fmt.Sprintf("Completed step %v of 100", at)}); err != nil {
				return nil, nil, err
			}
			time.Sleep(20 * time.Millisecond)
		}
		return textResult(fmt.Sprint(token))
	})
	add(m, "test_reconnection", "closes its stream, and answers on the next one", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		if req.Extra != nil && req.Extra.CloseSSEStream != nil {
			req.Extra.CloseSSEStream(sdk.CloseSSEStreamArgs{RetryAfter: 20 * time.Millisecond})
		}
		time.Sleep(150 * time.Millisecond)
		return textResult("Reconnection test completed successfully.")
	})
	const keywords = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,
		"$defs":{"address":{"$anchor":"addressDef","type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
		"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},"contactMethod":{"type":"string","enum":["phone","email"]},"phone":{"type":"string"},"email":{"type":"string"}},
		"allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
		"if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},"then":{"required":["phone"]},"else":{"required":["email"]}}`
	sdk.AddTool(m, &sdk.Tool{Name: "json_schema_2020_12_tool", Description: "has a schema with keywords of draft 2020-12", InputSchema: json.RawMessage(keywords)},
		func(_ context.Context, req *sdk.CallToolRequest, _ json.RawMessage) (*sdk.CallToolResult, any, error) {
			return textResult(string(req.Params.Arguments))
		})
	const header = `{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"count":{"type":"integer"}}}`
	sdk.AddTool(m, &sdk.Tool{Name: "test_x_mcp_header", Description: "has an argument that is also a header", InputSchema: json.RawMessage(header)},
		func(_ context.Context, _ *sdk.CallToolRequest, in struct {
			Region string `json:"region"`
			Count  int    `json:"count"`
		}) (*sdk.CallToolResult, any, error) {
			return textResult("region " + in.Region)
		})
}

// addResources adds the resources.
func addResources(m *sdk.Server) {
	read := func(c *sdk.ResourceContents) sdk.ResourceHandler {
		return func(_ context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
			one := *c
			one.URI = req.Params.URI
			return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{&one}}, nil
		}
	}
	m.AddResource(&sdk.Resource{URI: "test://static-text", Name: "static text", MIMEType: "text/plain"}, read(text("", "This is the content of the static text resource.")))
	m.AddResource(&sdk.Resource{URI: "test://static-binary", Name: "static picture", MIMEType: "image/png"}, read(&sdk.ResourceContents{MIMEType: "image/png", Blob: bytesOf(pixel)}))
	m.AddResource(&sdk.Resource{URI: watched, Name: "watched", MIMEType: "text/plain"}, read(text("", "It changes every two seconds.")))
	m.AddResourceTemplate(&sdk.ResourceTemplate{URITemplate: "test://template/{id}/data", Name: "template", MIMEType: "application/json"},
		func(_ context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
			id := strings.TrimSuffix(strings.TrimPrefix(req.Params.URI, "test://template/"), "/data")
			body, err := json.Marshal(map[string]any{"id": id, "templateTest": true, "data": "Data for ID: " + id})
			return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: req.Params.URI, MIMEType: "application/json", Text: string(body)}}}, err
		})
}

// addPrompts adds prompts of each kind.
func addPrompts(m *sdk.Server) {
	user := func(c sdk.Content) *sdk.PromptMessage { return &sdk.PromptMessage{Role: "user", Content: c} }
	line := func(text string) *sdk.PromptMessage { return user(&sdk.TextContent{Text: text}) }
	want := func(name, doc string) *sdk.PromptArgument {
		return &sdk.PromptArgument{Name: name, Description: doc, Required: true}
	}
	prompt := func(p *sdk.Prompt, say func(args map[string]string) []*sdk.PromptMessage) {
		m.AddPrompt(p, func(_ context.Context, req *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
			return &sdk.GetPromptResult{Description: p.Description, Messages: say(req.Params.Arguments)}, nil
		})
	}
	prompt(&sdk.Prompt{Name: "test_simple_prompt", Description: "has no arguments"}, func(map[string]string) []*sdk.PromptMessage {
		return []*sdk.PromptMessage{line("This is a simple prompt for testing.")}
	})
	prompt(&sdk.Prompt{Name: "test_prompt_with_arguments", Description: "has two", Arguments: []*sdk.PromptArgument{want("arg1", "the first"), want("arg2", "the second")}},
		func(a map[string]string) []*sdk.PromptMessage {
			return []*sdk.PromptMessage{line(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", a["arg1"], a["arg2"]))}
		})
	prompt(&sdk.Prompt{Name: "test_prompt_with_embedded_resource", Description: "has a resource", Arguments: []*sdk.PromptArgument{want("resourceUri", "which")}},
		func(a map[string]string) []*sdk.PromptMessage {
			return []*sdk.PromptMessage{user(&sdk.EmbeddedResource{Resource: text(a["resourceUri"], "Embedded resource content for testing.")}), line("Please process the embedded resource above.")}
		})
	prompt(&sdk.Prompt{Name: "test_prompt_with_image", Description: "has a picture"}, func(map[string]string) []*sdk.PromptMessage {
		return []*sdk.PromptMessage{user(&sdk.ImageContent{Data: bytesOf(pixel), MIMEType: "image/png"}), line("Please analyze the image above.")}
	})
	m.AddPrompt(&sdk.Prompt{Name: "test_input_required_result_prompt", Description: "asks for more input"}, func(_ context.Context, req *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		if context := accepted(req.Params.InputResponses, "user_context", "context"); context != "" {
			return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{line("Context: " + context)}}, nil
		}
		return &sdk.GetPromptResult{InputRequests: sdk.InputRequestMap{"user_context": form("What is the context?", "context")}}, nil
	})
}
