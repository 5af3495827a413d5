package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// addClients adds tools that send requests to the client while they answer, which needs sessions.
func addClients(m *sdk.Server) {
	add(m, "test_tool_with_logging", "logs", func(ctx context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		for _, line := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			//lint:ignore SA1019 part of the earlier revisions
			if err := req.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "info", Data: line}); err != nil {
				return nil, nil, err
			}
			time.Sleep(20 * time.Millisecond)
		}
		return textResult("Tool with logging executed successfully")
	})
	add(m, "test_logging_tool", "logs if allowed", func(ctx context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		//lint:ignore SA1019 tested: the message may be dropped
		if err := req.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "info", Data: "test_logging_tool ran"}); err != nil {
			return nil, nil, err
		}
		return textResult("logged, or not")
	})
	sdk.AddTool(m, &sdk.Tool{Name: "test_sampling", Description: "asks the client's model"}, func(ctx context.Context, req *sdk.CallToolRequest, in struct {
		Prompt string `json:"prompt"`
	}) (*sdk.CallToolResult, any, error) {
		//lint:ignore SA1019 part of the earlier revisions
		r, err := req.Session.CreateMessage(ctx, question(in.Prompt))
		if err != nil {
			return nil, nil, err
		}
		answer := ""
		if t, ok := r.Content.(*sdk.TextContent); ok {
			answer = t.Text
		}
		return textResult("LLM response: " + answer)
	})
	sdk.AddTool(m, &sdk.Tool{Name: "test_elicitation", Description: "asks the user "}, func(ctx context.Context, req *sdk.CallToolRequest, in struct {
		Message string `json:"message"`
	}) (*sdk.CallToolResult, any, error) {
		return elicit(ctx, req, in.Message, json.RawMessage(`{"type":"object","properties":{"username":{"type":"string","description":"User's response"},"email":{"type":"string","description":"User's email address"}},"required":["username","email"]}`))
	})
	add(m, "test_elicitation_sep1034_defaults", "asks the user , with defaults", func(ctx context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		return elicit(ctx, req, "Please review", json.RawMessage(`{"type":"object","properties":{
			"name":{"type":"string","default":"John Doe"},"age":{"type":"integer","default":30},"score":{"type":"number","default":95.5},
			"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},"verified":{"type":"boolean","default":true}}}`))
	})
	add(m, "test_elicitation_sep1330_enums", "asks the user  to choose", func(ctx context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		return elicit(ctx, req, "Please choose", json.RawMessage(`{"type":"object","properties":{
			"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
			"titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First"},{"const":"value2","title":"Second"},{"const":"value3","title":"Third"}]},
			"legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],"enumNames":["Option One","Option Two","Option Three"]},
			"untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},
			"titledMulti":{"type":"array","items":{"anyOf":[{"const":"value1","title":"First"},{"const":"value2","title":"Second"},{"const":"value3","title":"Third"}]}}}}`))
	})
	add(m, "test_streaming_elicitation", "streams only its result", func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
		return textResult("no request was sent to the client")
	})
	add(m, "test_missing_capability", "needs a client with a model", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		//lint:ignore SA1019 tested
		if c := req.ClientCapabilities(); c != nil && c.Sampling != nil {
			return textResult("the client has a model")
		}
		//lint:ignore SA1019 tested
		data, err := json.Marshal(sdk.MissingRequiredClientCapabilityData{RequiredCapabilities: &sdk.ClientCapabilities{Sampling: &sdk.SamplingCapabilities{}}})
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, &jsonrpc.Error{Code: sdk.CodeMissingRequiredClientCapabilities, Message: "the client has no model", Data: data}
	})
}

func elicit(ctx context.Context, req *sdk.CallToolRequest, message string, schema any) (*sdk.CallToolResult, any, error) {
	r, err := req.Session.Elicit(ctx, &sdk.ElicitParams{Message: message, RequestedSchema: schema})
	if err != nil {
		return nil, nil, err
	}
	content, err := json.Marshal(r.Content)
	if err != nil {
		return nil, nil, err
	}
	return textResult(fmt.Sprintf("Elicitation result: action=%s, content=%s", r.Action, content))
}

// question is a request to the client's model.
//
//lint:ignore SA1019 part of the earlier revisions
func question(text string) *sdk.CreateMessageParams {
	//lint:ignore SA1019 part of the earlier revisions
	return &sdk.CreateMessageParams{MaxTokens: 100, Messages: []*sdk.SamplingMessage{{Role: "user", Content: &sdk.TextContent{Text: text}}}}
}

// form is a request to the user for one string.
func form(message, field string) *sdk.ElicitParams {
	return &sdk.ElicitParams{Message: message, RequestedSchema: &jsonschema.Schema{Type: "object",
		Properties: map[string]*jsonschema.Schema{field: {Type: "string"}}, Required: []string{field}}}
}

// addChanges adds tools that change the lists of tools and prompts.
func addChanges(m *sdk.Server) {
	add(m, "test_trigger_tool_change", "changes the list of tools", func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
		add(m, "test_came_later", "added later", func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
			return textResult("here")
		})
		return textResult("changed")
	})
	add(m, "test_trigger_prompt_change", "changes the list of prompts", func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
		m.AddPrompt(&sdk.Prompt{Name: "test_came_later", Description: "added later"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
			return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{}}, nil
		})
		return textResult("changed")
	})
}
