package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestScriptsForARingWorkWithBundles makes the requests of a script for a ring: boundaries,
// snapshot, dissection, calls, packets.
func TestScriptsForARingWorkWithBundles(t *testing.T) {
	o := Options{}
	o.Open = opener(o)
	one := serving(t, o, bundled(t, "http1.pcapng"))
	two := serving(t, o, bundled(t, "http1.pcapng"), bundled(t, "redis.pcap"))
	for _, tt := range []struct {
		server *Server
		nodes  int
	}{{one, 1}, {two, 2}} {
		web := httptest.NewServer(tt.server.Handler(HTTPOptions{}))
		defer web.Close()
		get := func(method, path, body string, status int) (v value) {
			t.Helper()
			req, err := http.NewRequest(method, web.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			raw, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != status {
				t.Fatalf("%s %s: %d %s, want %d", method, path, res.StatusCode, raw, status)
			}
			_ = json.Unmarshal(raw, &v) // packets are not JSON
			return v
		}
		if v := get("GET", "/mcp/data-boundaries", "", 200); len(v["nodes"].([]any)) != tt.nodes || v["cluster"].(value)["newest_ts"].(float64) == 0 {
			t.Errorf("%v", v)
		}
		if v := get("GET", "/mcp/snapshots", "", 200); v["total"] != float64(tt.nodes) {
			t.Errorf("%v", v)
		}
		if v := get("POST", "/delayed_dissection.DelayedDissection/Start", `{"snapshot_name": "http1"}`, 200); v["status"] != "completed" || v["db"] != "http1/main" {
			t.Errorf("%v", v)
		}
		want := fmt.Sprint(get("GET", "/mcp/dissections?snapshot=http1", "", 200)["dissections"].([]any)[0].(value)["stats"].(value)["entries_created"])
		if got := fmt.Sprint(get("GET", "/mcp/calls?db=http1/main&limit=1000", "", 200)["total"]); got != want {
			t.Errorf("%s calls in http1/main, want %s", got, want)
		}
		call := get("GET", "/mcp/calls?db=http1/main&limit=1", "", 200)["calls"].([]any)[0].(value)
		if v := get("POST", "/mcp/tools/get_api_call_details", fmt.Sprintf(`{"id": %q, "node_id": "x", "include_payload": true}`, call["id"]), 200); v["packets"] != call["packets"] {
			t.Errorf("%v", v)
		}
		get("GET", "/mcp/snapshots/http1/pcap", "", 200)
		get("GET", "/mcp/raw-capture", "", 200)
		get("GET", "/mcp/dissection", "", 200)
		for _, x := range []struct {
			method, path, body string
			status             int
		}{
			{"POST", "/mcp/snapshots", "{}", 409}, {"DELETE", "/mcp/snapshots/http1", "", 409}, {"DELETE", "/mcp/snapshots/nosuch", "", 404}, {"GET", "/mcp/calls?db=live", "", 409},
			{"GET", "/mcp/calls?db=nosuch/main", "", 404}, {"GET", "/mcp/calls?limit=0", "", 400}, {"GET", "/mcp/calls?limit=", "", 400}, {"GET", "/mcp/calls?format=", "", 400},
			{"POST", "/mcp/ask/get_overview", "null", 400}, {"POST", "/mcp/ask/get_overview", `{"max_bytes": 1}`, 400},
			{"POST", "/delayed_dissection.DelayedDissection/GetStatus", "", 400}, {"PUT", "/mcp/calls", "", 405},
			{"POST", "/mcp/tools/get_api_call_details", `{"id": "#0", "nosuch": 1}`, 400},
		} {
			get(x.method, x.path, x.body, x.status)
		}
	}
}
