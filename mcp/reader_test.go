package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/reader"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// readerFilters are filters for calls of any protocol, about all kinds of columns.
var readerFilters = []string{"", "failed", `status_code >= 400 or outcome == "no_answer"`, `src.name != "" && dst.port > 1024`, `summary contains "a"`, `headers.size() > 0`, `request.headers["user-agent"] contains "o"`,
	`flow.retransmissions >= 0`, `connection.encryption == "tls"`, `request.body contains "a"`, `response.body.json().id > 0`, `tls.cert_subject != ""`, `response_delivered == "yes"`, `dst.ip in cidr("10.0.0.0/8")`,
	`path matches "^/[a-z]"`, `elapsed_us > 1000us`, `anomalies > 0`, `query_string contains "="`}

// TestReaderAnswersAsTheServer compares the answers that the viewer gives without a database with those of the server, masked.
func TestReaderAnswersAsTheServer(t *testing.T) {
	samples := []string{"shop.pcapng", "redis.pcap", "postgresql.pcapng"}
	if nightly.On() {
		list, err := filepath.Glob("../samples/*.pcap*")
		if err != nil || len(list) < 50 {
			t.Fatal(list, err)
		}
		samples = nil
		for _, path := range list {
			samples = append(samples, filepath.Base(path))
		}
	}
	for _, sample := range samples {
		t.Run(sample, func(t *testing.T) { compareReader(t, bundled(t, sample)) })
	}
}

func compareReader(t *testing.T, path string) {
	s := serving(t, Options{Policy: redact.Default()}, path)
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	r, err := reader.Open(path, path)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	same := func(method, address, body string) (answer map[string]any) {
		t.Helper()
		asked++
		req, err := http.NewRequest(method, web.URL+address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		want, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		got := r.Ask(t.Context(), address, []byte(body))
		if got.Status != resp.StatusCode {
			t.Errorf("%s: the reader has status %d, the server %d\n%.300s\n%.300s", address, got.Status, resp.StatusCode, got.Body, want)
			return nil
		}
		if resp.StatusCode != http.StatusOK {
			return nil
		}
		var server map[string]any
		for text, to := range map[string]*map[string]any{string(want): &server, string(got.Body): &answer} {
			if err := json.Unmarshal([]byte(text), to); err != nil {
				t.Fatal(address, err)
			}
			delete(*to, "next_cursor")
		}
		if at := difference("", server, answer); at != "" {
			t.Errorf("%s %s: %s", address, body, at)
		}
		return answer
	}
	same("GET", "/mcp/cases", "")
	same("GET", "/mcp/flows?limit=500&format=full", "")
	same("GET", "/mcp/flows?l4proto=udp", "")
	for _, filter := range readerFilters {
		q := "kfl=" + url.QueryEscape(filter)
		same("GET", "/mcp/calls?format=full&limit=300&"+q, "")
		same("GET", "/mcp/calls?format=list&limit=300&"+q, "")
		same("GET", "/mcp/calls/buckets?steps=50&"+q, "")
	}
	for _, by := range []string{"to", "from", "endpoint", "outcome", "status_code", "protocol", "host", "user_agent", "dst.port", "failed", "redis_command", "src.ip", "nothing"} {
		same("GET", "/mcp/calls/groups?limit=20&by="+by, "")
	}
	for _, order := range []string{"newest", "slowest", "fastest", "largest"} {
		same("GET", "/mcp/calls?limit=40&order="+order, "")
	}
	same("GET", "/mcp/kfl/complete?text=dst.", "")
	same("GET", "/mcp/calls?kfl=nosuch%20==%201", "")
	all := same("GET", "/mcp/calls?limit=1000", "")
	calls, _ := all["calls"].([]any)
	if len(calls) == 0 {
		return
	}
	first, _ := calls[0].(map[string]any)
	last, _ := calls[len(calls)-1].(map[string]any)
	same("GET", fmt.Sprintf("/mcp/calls?start=%.0f&end=%.0f", first["ts"], last["ts"]), "")
	same("GET", fmt.Sprintf("/mcp/calls/buckets?start=%.0f", last["ts"]), "")
	for i := 0; i < len(calls); i += max(1, len(calls)/nightly.Of(12, 60)) {
		c, _ := calls[i].(map[string]any)
		id := fmt.Sprint(c["id"])
		same("POST", "/mcp/tools/get_api_call_details", fmt.Sprintf(`{"id": %q, "max_payload_size": 16384}`, id))
		list := same("GET", "/mcp/calls/"+id+"/packets?limit=50", "")
		rows, _ := list["list"].([]any)
		if len(rows) > 0 {
			p, _ := rows[len(rows)-1].(map[string]any)
			same("GET", fmt.Sprintf("/mcp/calls/%s/packet?packet_no=%.0f", id, p["packet_no"]), "")
		}
	}
	t.Logf("%d questions", asked)
}

// difference says where two answers differ, or is empty.
func difference(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for name := range w {
			if d := difference(at+"."+name, w[name], g[name]); d != "" {
				return d
			}
		}
		for name := range g {
			if _, ok := w[name]; !ok {
				return fmt.Sprintf("%s.%s: the server has none, the reader %v", at, name, g[name])
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok {
			break
		}
		if len(w) != len(g) {
			return fmt.Sprintf("%s: %d and %d items\n%.600v\n%.600v", at, len(w), len(g), w, g)
		}
		for i := range w {
			if d := difference(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("%s: the server has %.300v, the reader %.300v", at, want, got)
	}
	return ""
}
