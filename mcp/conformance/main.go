// Command conformance is a server for the official conformance suite of the Model Context Protocol. It
// combines the product's HTTP handling with the tools, resources and prompts that the suite
// requires. It is a test program, not part of the product; scripts/conformance.sh runs it.
package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/mcp"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(addr string) error {
	m := sdk.NewServer(&sdk.Implementation{Name: "pcapsule-conformance", Version: "1"}, &sdk.ServerOptions{
		CompletionHandler: func(context.Context, *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{"one", "two"}, Total: 2}}, nil
		},
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
	})
	addContents(m)
	addInputs(m)
	addClients(m)
	addChanges(m)
	addResources(m)
	addPrompts(m)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go touch(m)
	fmt.Printf("http://%s/mcp\n", ln.Addr())
	srv := &http.Server{Handler: mcp.Handler(m, mcp.HTTPOptions{}), ReadHeaderTimeout: 10 * time.Second}
	return srv.Serve(ln)
}

// watched is a resource that changes every 2 s.
const watched = "test://watched-resource"

func touch(m *sdk.Server) {
	for range time.Tick(2 * time.Second) {
		_ = m.ResourceUpdated(context.Background(), &sdk.ResourceUpdatedNotificationParams{URI: watched}) // there may be no subscriber
	}
}

func textContent(text string) []sdk.Content { return []sdk.Content{&sdk.TextContent{Text: text}} }

func textResult(text string) (*sdk.CallToolResult, any, error) {
	return &sdk.CallToolResult{Content: textContent(text)}, nil, nil
}

// handler is the function of a tool without typed arguments.
type handler = func(ctx context.Context, req *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error)

func add(m *sdk.Server, name, doc string, h handler) {
	sdk.AddTool(m, &sdk.Tool{Name: name, Description: doc}, h)
}

// A picture of one pixel, and an empty sound.
const (
	pixel   = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
	silence = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
)

func bytesOf(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err) // one of the two above
	}
	return b
}
