package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/nightly"
)

// getJSON returns the status and the JSON object of an answer.
func getJSON(t *testing.T, target string) (int, map[string]any) {
	t.Helper()
	r, err := http.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %d, not JSON: %s", target, r.StatusCode, text)
	}
	return r.StatusCode, out
}

func TestInvalidParametersAreRefused(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	refused := func(path, query, want string) {
		t.Helper()
		status, out := getJSON(t, web.URL+path+"?"+query)
		if text, _ := out["error"].(string); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s?%s: %d %v, want 400 with %q", path, query, status, out["error"], want)
		}
	}
	seen := 0
	for _, rt := range s.routes() {
		if rt.handle == nil || rt.Method != http.MethodGet {
			continue
		}
		refused(rt.Path, "nothing=1", `parameter "nothing": unknown`)
		refused(rt.Path, "a=%zz", "query string")
		for _, p := range rt.Params {
			if strings.Contains(rt.Path, "{"+p.Name+"}") {
				continue
			}
			seen++
			refused(rt.Path, p.Name+"=1&"+p.Name+"=1", "given 2 times")
			refused(rt.Path, p.Name+"z=1", "did you mean "+p.Name)
			if p.Type == "integer" {
				refused(rt.Path, p.Name+"=x", "must be a whole number")
				refused(rt.Path, p.Name+"=-1", "must be a whole number")
				refused(rt.Path, p.Name+"=99999999999999999999", "must be a whole number")
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d parameters were tried", seen)
	}
	refused("/mcp/calls", "kfl="+url.QueryEscape("nonsense =="), "")
	refused("/mcp/calls", "format=full2", "must be one of compact, list, full, raw")
	refused("/mcp/calls", "cursor=abc", "cursor")
}

// TestRESTListsHaveEachRowOnce reads lists with pages of several sizes; the total counts all pages.
func TestUnknownPathsAndMethodsAreAnsweredAsOtherErrors(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	for _, tc := range []struct {
		method, path string
		status       int
		want, allow  string
	}{
		{"GET", "/mcp/cals", http.StatusNotFound, "did you mean /mcp/calls?", ""},
		{"POST", "/mcp/ask/get-overview", http.StatusNotFound, "did you mean /mcp/ask/get_overview?", ""},
		{"GET", "/a/wholly/different/thing", http.StatusNotFound, "GET /mcp lists the paths", ""},
		{"DELETE", "/mcp/calls", http.StatusMethodNotAllowed, "the method of /mcp/calls must be GET, HEAD", "GET, HEAD"},
		{"GET", "/mcp/ask/get_overview", http.StatusMethodNotAllowed, "the method of /mcp/ask/get_overview must be POST", "POST"},
	} {
		r, err := http.NewRequest(tc.method, web.URL+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var out restFailure
		err = json.NewDecoder(answer.Body).Decode(&out)
		answer.Body.Close()
		if err != nil || answer.StatusCode != tc.status || !strings.Contains(out.Error, tc.want) || out.Trust == "" || answer.Header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: %d %+v %v, Allow %q, want %d with %q", tc.method, tc.path, answer.StatusCode, out, err, answer.Header.Get("Allow"), tc.status, tc.want)
		}
	}
}

func TestRESTListsHaveEachRowOnce(t *testing.T) {
	for _, bundles := range [][]string{{bundled(t, "http1.pcapng")}, {bundled(t, "http1.pcapng"), bundled(t, "shop.pcapng")}} {
		s := serving(t, Options{}, bundles...)
		web := httptest.NewServer(s.Handler(HTTPOptions{}))
		defer web.Close()
		for _, list := range []struct{ path, rows string }{{"/mcp/calls?kfl=http", "calls"}, {"/mcp/flows?l4proto=tcp", "flows"},
			{"/mcp/resolve/workloads?name_regex=.", "workloads"}, {"/mcp/resolve/ips?name_regex=.", "ips"}} {
			var want []string
			for _, limit := range nightly.Some([]int{1000, 3, 7}, 2) {
				var got []string
				for cursor := ""; ; {
					status, out := getJSON(t, fmt.Sprintf("%s%s&limit=%d&cursor=%s", web.URL, list.path, limit, cursor))
					rows, _ := out[list.rows].([]any)
					if status != http.StatusOK || len(rows) > limit || want != nil && out["total"] != float64(len(want)) {
						t.Fatalf("%s, limit %d: %d, %d rows, total %v of %d", list.path, limit, status, len(rows), out["total"], len(want))
					}
					for _, r := range rows {
						one, err := json.Marshal(r)
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, string(one))
					}
					if cursor, _ = out["next_cursor"].(string); cursor == "" {
						break
					}
				}
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) || len(got) < 4 {
					t.Errorf("%s, limit %d: %d rows, want %d", list.path, limit, len(got), len(want))
				}
			}
		}
	}
}

func TestALongBodyGets413(t *testing.T) {
	web := httptest.NewServer(serving(t, Options{}, bundled(t, "http1.pcapng")).Handler(HTTPOptions{}))
	defer web.Close()
	for _, path := range []string{"/mcp/ask/get_overview", "/mcp/snapshots"} {
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"} {
			r, err := http.Post(web.URL+path, kind, strings.NewReader(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != http.StatusUnsupportedMediaType {
				t.Errorf("%s with a body of type %q: %d, want 415", path, kind, r.StatusCode)
			}
		}
		r, err := http.Post(web.URL+path, "application/json", strings.NewReader(`{"kfl":"`+strings.Repeat("x", maxRESTBody)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		if r.Body.Close(); err != nil || r.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), "at most 65536 bytes") {
			t.Errorf("%s: %d %s, %v", path, r.StatusCode, text, err)
		}
	}
}
