package serve_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
)

// TestTailOfAnotherServer asks servers that are not pcapsule serve, and one that refuses.
func TestTailOfAnotherServer(t *testing.T) {
	page := "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>" + strings.Repeat("<p>text</p>\n", 200)
	for _, c := range []struct {
		status             int
		kind, server, text string
		want               string
	}{
		{404, "text/html; charset=utf-8", "nginx", page, "the server answered 404 Not Found (nginx, text/html; charset=utf-8), which is no stream of calls"},
		{200, "text/html", "", page, "the server answered 200 OK (text/html), which is no stream of calls"},
		{502, "text/plain", "", "no upstream\nsecond line\n", "the server answered 502 Bad Gateway (no upstream), which"},
		{204, "", "", "", "the server answered 204 No Content (empty), which"},
		{401, "application/json", "", `{"error":"a token is required"}`, "the server refused: 401 Unauthorized: a token is required\n"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			if c.server != "" {
				w.Header().Set("Server", c.server)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.text))
		}))
		_, said := clitest.At(t, 1000, "tail", "http", "--server", srv.URL)
		srv.Close()
		if !strings.Contains(said, c.want) || strings.Count(said, "\n") > 2 || strings.Contains(said, "<") {
			t.Errorf("%d: %s; want %s", c.status, said, c.want)
		}
	}
}
