// Package web records HTTP, gRPC, TLS and what is inside them.
package web

import "github.com/pcapsule/pcapsule/samples/gen/lab"

// Scenarios are the captures of this package.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{
		{Name: "http1", Make: makeHTTP1},
		{Name: "http2", Make: makeHTTP2},
		{Name: "grpc", Make: makeGRPC},
		{Name: "tls", Make: makeTLS},
		{Name: "web", Make: makeWeb},
		{Name: "socketio", Make: makeSocketIO},
		{Name: "mcp", Make: makeMCP},
		{Name: "apis", Make: makeAPIs},
		{Name: "socks", Make: makeSOCKS},
		{Name: "proxy", Make: makeProxy},
		{Name: "jsonrpc", Make: makeJSONRPC},
		{Name: "fastcgi", Make: makeFastCGI},
		{Name: "dubbo", Make: makeDubbo},
		{Name: "thrift", Make: makeThrift},
		{Name: "thrift-header", Make: makeThriftHeader},
	}
}

// Parts are the servers and clients of this package, by the role that a process plays.
func Parts() map[string]lab.Part {
	return map[string]lab.Part{
		"http1-server":   http1Server,
		"http1-client":   http1Client,
		"http2-server":   http2Server,
		"http2-client":   http2Client,
		"grpc-server":    GrpcServer,
		"grpc-client":    grpcClient,
		"tls-server":     tlsServer,
		"tls-client":     tlsClient,
		"mcp-server":     mcpServer,
		"mcp-client":     mcpClient,
		"jsonrpc-server": jsonrpcServer,
		"jsonrpc-client": jsonrpcClient,
		"apis-server":    apisServer,
		"apis-client":    apisClient,
	}
}
