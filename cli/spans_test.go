package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestSpansToACollector sends spans to a server that reads them with the collector's own library.
func TestSpansToACollector(t *testing.T) {
	got, refuse := 0, false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(r.Body)
		in := ptraceotlp.NewExportRequest()
		if err == nil {
			err = in.UnmarshalProto(body)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Tenant") != "a b" {
			t.Errorf("%s %v: %v", r.URL, r.Header, err)
		}
		got += in.Traces().SpanCount()
		raw, _ := ptraceotlp.NewExportResponse().MarshalProto()
		_, _ = w.Write(raw)
	}))
	defer s.Close()
	t.Setenv(otlpHeaders, "x-tenant=a%20b")
	run := func() (int, string) {
		var out, stderr bytes.Buffer
		code := Main([]string{"query", filepath.Join("..", "samples", "http1.pcapng"), "http", "--format", "otlp", "--endpoint", s.URL}, strings.NewReader(""), &out, &stderr)
		if out.Len() > 0 {
			t.Errorf("it prints %.200s", out.String())
		}
		return code, stderr.String()
	}
	if code, text := run(); code != exit.Done || got == 0 || got%2 != 0 || !strings.Contains(text, "spans") {
		t.Errorf("%d %s; %d spans", code, text, got)
	}
	refuse = true
	if code, text := run(); code != exit.Other || !strings.Contains(text, "403") || !strings.Contains(text, otlpHeaders) {
		t.Errorf("refused: %d %s", code, text)
	}
}
