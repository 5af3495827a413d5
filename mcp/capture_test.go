package mcp

import (
	"testing"

	"github.com/pcapsule/pcapsule/samples/leaktest"
)

// writeExchange writes a capture of one TCP connection with one request and its response.
func writeExchange(t testing.TB, path, request, response string) {
	t.Helper()
	leaktest.WriteExchange(t, path, 0, request, response)
}
