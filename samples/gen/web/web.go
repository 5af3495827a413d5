package web

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed node/*.mjs
var webScripts embed.FS

const webPackages = `{"name": "samples", "version": "1.0.0", "private": true, "type": "module", "dependencies": {
"@graphql-yoga/plugin-apq": "3.6.2", "eventsource": "5.1.5", "graphql": "16", "graphql-ws": "6.4.2", "graphql-yoga": "5.24.1",
"jayson": "5.0.0", "socket.io": "4.8.4", "socket.io-client": "4.8.4", "subscriptions-transport-ws": "0.11.0", "ws": "8.23.0"}}
`

// makeWeb records WebSocket, GraphQL, Server-Sent Events and JSON-RPC with a server and a client of Node.
func makeWeb(ctx context.Context, out string) error {
	return recordNode(ctx, out, "web", "server.mjs", "client.mjs")
}

// makeSocketIO records Socket.IO over WebSocket and long polling.
func makeSocketIO(ctx context.Context, out string) error {
	return recordNode(ctx, out, "socketio", "socketio_server.mjs", "socketio_client.mjs")
}

// recordNode records a client of Node with its server. The client notes what it did.
func recordNode(ctx context.Context, out, name, server, client string) error {
	dir, err := webFolder(ctx)
	if err != nil {
		return err
	}
	const ip, port = "10.1.10.20", "8080"
	l, err := lab.New(name, "", lab.At("client", "10.1.10.5"), lab.At("web", ip))
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Start("web", "ready", "node", filepath.Join(dir, server), ip, port); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, name+".pcapng"))
	if err != nil {
		return err
	}
	c, err := l.Start("client", "", "node", filepath.Join(dir, client), ip, port, filepath.Join(out, name+".said.tsv"))
	if err != nil {
		return err
	}
	select {
	case <-c.Done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.Err != nil {
		return c.Err
	}
	return r.Stop()
}

// webFolder is a folder with the scripts and the packages that they need.
func webFolder(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "pcapsule-samples", "web-2")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir + "/node_modules/graphql-yoga"); err != nil {
		if err := os.WriteFile(dir+"/package.json", []byte(webPackages), 0o644); err != nil {
			return "", err
		}
		npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--legacy-peer-deps")
		npm.Dir = dir
		if out, err := npm.CombinedOutput(); err != nil {
			return "", fmt.Errorf("fetching packages of Node: %w: %s", err, out)
		}
	}
	for _, name := range []string{"server.mjs", "client.mjs", "socketio_server.mjs", "socketio_client.mjs"} {
		b, err := webScripts.ReadFile("node/" + name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
