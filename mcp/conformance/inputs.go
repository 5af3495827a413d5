package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// states signs the state that a client passes from one round to the next.
type states struct{ key []byte }

func (s states) sign(text string) string {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(text))
	return text + "." + hex.EncodeToString(h.Sum(nil))
}

// open returns the signed state; an invalid signature is a protocol error.
func (s states) open(state string) (string, error) {
	i := strings.LastIndexByte(state, '.')
	if i < 0 || !hmac.Equal([]byte(s.sign(state[:i])), []byte(state)) {
		return "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "requestState was not issued by this server"}
	}
	return state[:i], nil
}

// accepted returns a field of a form that the user accepted, or "".
func accepted(in sdk.InputResponseMap, request, field string) string {
	r, ok := in[request].(*sdk.ElicitResult)
	if !ok || r == nil || r.Action != "accept" {
		return ""
	}
	text, _ := r.Content[field].(string)
	return text
}

// confirmed reports whether the user accepted a form.
func confirmed(in sdk.InputResponseMap, request string) bool {
	r, ok := in[request].(*sdk.ElicitResult)
	return ok && r != nil && r.Action == "accept"
}

// sampled returns the answer of the client's model.
func sampled(in sdk.InputResponseMap, request string) (string, bool) {
	//lint:ignore SA1019 tested
	r, ok := in[request].(*sdk.CreateMessageWithToolsResult)
	if !ok || r == nil {
		return "", false
	}
	for _, c := range r.Content {
		if t, ok := c.(*sdk.TextContent); ok {
			return t.Text, true
		}
	}
	return "", true
}

func wanted(state string, in sdk.InputRequestMap) (*sdk.CallToolResult, any, error) {
	return &sdk.CallToolResult{InputRequests: in, RequestState: state}, nil, nil
}

// addInputs adds tools that ask for more input before they answer.
func addInputs(m *sdk.Server) {
	const name = "test_input_required_result_"
	s := states{[]byte(rand.Text())}
	add(m, name+"elicitation", "asks for a name", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		if who := accepted(req.Params.InputResponses, "user_name", "name"); who != "" {
			return textResult("Hello, " + who + "!")
		}
		return wanted("", sdk.InputRequestMap{"user_name": form("What is your name?", "name")})
	})
	add(m, name+"sampling", "asks the client's model", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		if text, ok := sampled(req.Params.InputResponses, "capital_question"); ok {
			return textResult("The model said: " + text)
		}
		return wanted("", sdk.InputRequestMap{"capital_question": question("What is the capital of France?")})
	})
	add(m, name+"list_roots", "asks for roots", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		//lint:ignore SA1019 tested
		if r, ok := req.Params.InputResponses["client_roots"].(*sdk.ListRootsResult); ok && r != nil {
			text := fmt.Sprintf("%d roots:", len(r.Roots))
			for _, root := range r.Roots {
				text += " " + root.URI
			}
			return textResult(text)
		}
		//lint:ignore SA1019 tested
		return wanted("", sdk.InputRequestMap{"client_roots": &sdk.ListRootsParams{}})
	})
	for _, kind := range []string{"request_state", "tampered_state"} {
		add(m, name+kind, "carries a signed state", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
			if req.Params.RequestState != "" || confirmed(req.Params.InputResponses, "confirm") {
				if _, err := s.open(req.Params.RequestState); err != nil {
					return nil, nil, err
				}
				if confirmed(req.Params.InputResponses, "confirm") {
					return textResult("state-ok")
				}
			}
			return wanted(s.sign(kind), sdk.InputRequestMap{"confirm": form("Please confirm", "ok")})
		})
	}
	add(m, name+"multiple_inputs", "makes three requests at once", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		in := req.Params.InputResponses
		who := accepted(in, "user_name", "name")
		greeting, greeted := sampled(in, "greeting")
		//lint:ignore SA1019 tested
		roots, rooted := in["client_roots"].(*sdk.ListRootsResult)
		if who != "" && greeted && rooted && roots != nil {
			return textResult(fmt.Sprintf("%s, %s; %d roots", greeting, who, len(roots.Roots)))
		}
		return wanted(s.sign("multiple"), sdk.InputRequestMap{"user_name": form("What is your name?", "name"), "greeting": question("Generate a greeting"),
			//lint:ignore SA1019 tested
			"client_roots": &sdk.ListRootsParams{}})
	})
	add(m, name+"multi_round", "asks twice", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		if req.Params.RequestState == "" {
			return wanted(s.sign("1"), sdk.InputRequestMap{"step1": form("Step 1: What is your name?", "name")})
		}
		state, err := s.open(req.Params.RequestState)
		if err != nil {
			return nil, nil, err
		}
		if state == "1" {
			return wanted(s.sign("2 "+accepted(req.Params.InputResponses, "step1", "name")), sdk.InputRequestMap{"step2": form("Step 2: What is your favourite colour?", "color")})
		}
		return textResult(strings.TrimPrefix(state, "2 ") + " likes " + accepted(req.Params.InputResponses, "step2", "color"))
	})
	add(m, name+"capabilities", "requests what the client's capabilities allow", func(_ context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
		if len(req.Params.InputResponses) > 0 {
			return textResult("thank you")
		}
		in := sdk.InputRequestMap{}
		if c := req.ClientCapabilities(); c != nil {
			if c.Elicitation != nil {
				in["user_name"] = form("What is your name?", "name")
			}
			//lint:ignore SA1019 tested
			if c.Sampling != nil {
				in["greeting"] = question("Generate a greeting")
			}
			//lint:ignore SA1019 tested
			if c.RootsV2 != nil {
				//lint:ignore SA1019 tested
				in["client_roots"] = &sdk.ListRootsParams{}
			}
		}
		if len(in) == 0 {
			return textResult("the client has no capabilities")
		}
		return wanted("", in)
	})
}
