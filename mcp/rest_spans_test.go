package mcp

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// TestSpansOverHTTP reads the spans of a sample as a collector does.
func TestSpansOverHTTP(t *testing.T) {
	web := httptest.NewServer(serving(t, Options{}, bundled(t, "shop.pcapng")).Handler(HTTPOptions{}))
	defer web.Close()
	for kfl, want := range map[string]int{"postgresql": 126, "nats": 0, "http &&": -1} {
		res, err := http.Get(web.URL + "/mcp/spans?kfl=" + url.QueryEscape(kfl))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if want < 0 {
			if res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s", kfl, res.Status)
			}
			continue
		}
		got := 0
		in := bufio.NewReader(res.Body)
		for {
			line, err := in.ReadString('\n')
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			read, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces([]byte(strings.TrimSpace(line)))
			if err != nil {
				t.Fatal(err)
			}
			got += read.SpanCount()
		}
		if got != want || res.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %d spans, want %d; %s", kfl, got, want, res.Header.Get("Content-Type"))
		}
	}
}
