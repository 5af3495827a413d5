package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/door"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// restAnswerOf decodes the answer to a GET.
func restAnswerOf[T any](t *testing.T, target string) (out T) {
	t.Helper()
	r, err := http.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", target, r.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBucketsCountEachCallOnce compares charts of several widths with the list of calls.
func TestBucketsCountEachCallOnce(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	for _, kfl := range []string{"", "failed", "dns && dst.name != \"x\"", "status_code == 999"} {
		q := "kfl=" + url.QueryEscape(kfl)
		want := restAnswerOf[struct{ Total int64 }](t, web.URL+"/mcp/calls?limit=1&"+q).Total
		bad := restAnswerOf[struct{ Total int64 }](t, web.URL+"/mcp/calls?limit=1&kfl="+url.QueryEscape(strings.TrimPrefix(kfl+" && failed", " && "))).Total
		for _, steps := range []int{1, 7, 1000} {
			b := restAnswerOf[tools.Buckets](t, fmt.Sprintf("%s/mcp/calls/buckets?steps=%d&%s", web.URL, steps, q))
			var sum int64
			for _, x := range b.Buckets {
				if sum += x.Calls; x.No < 0 || x.No >= int64(steps) || x.Failed > x.Calls || b.From+float64(x.No)*b.Length > b.To {
					t.Errorf("%q in %d steps: bucket %+v of %+v", kfl, steps, x, b)
				}
			}
			if sum != want || b.Calls != want || b.Failed != bad {
				t.Errorf("%q in %d steps: %d calls (%d), %d failed, want %d and %d", kfl, steps, sum, b.Calls, b.Failed, want, bad)
			}
		}
	}
	all := restAnswerOf[tools.Buckets](t, web.URL+"/mcp/calls/buckets")
	half := restAnswerOf[tools.Buckets](t, fmt.Sprintf("%s/mcp/calls/buckets?end=%d", web.URL, int64((all.From+all.To)/2)))
	rest := restAnswerOf[tools.Buckets](t, fmt.Sprintf("%s/mcp/calls/buckets?start=%d", web.URL, int64((all.From+all.To)/2)+1))
	if half.Calls == 0 || rest.Calls == 0 || half.Calls+rest.Calls != all.Calls {
		t.Errorf("halves have %d and %d of %d calls", half.Calls, rest.Calls, all.Calls)
	}
}

// TestGroupsHaveTheirFilters asks for the calls of every group by the filter that the group names.
func TestGroupsHaveTheirFilters(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	more := []string{"dst.service", "src.ip", "dst.port", "failed", "redis_command", "redis_db", "postgresql_command", "query_string_text", "response_bytes", "dns_question_class", "request_delivered", "grpc_status"}
	for _, by := range append(more, tools.GroupBy...) {
		g := restAnswerOf[tools.Groups](t, web.URL+"/mcp/calls/groups?limit=1000&by="+by)
		var sum int64
		for i, x := range g.Groups {
			if sum += x.Calls; i > 4 {
				continue
			}
			if n := restAnswerOf[struct{ Total int64 }](t, web.URL+"/mcp/calls?limit=1&kfl="+url.QueryEscape(x.KFL)).Total; n != x.Calls {
				t.Errorf("by %s: %q has %d calls, its filter %s finds %d", by, x.Value, x.Calls, x.KFL, n)
			}
		}
		if sum != 369 || g.More {
			t.Errorf("by %s: %d calls in all, want 369", by, sum)
		}
	}
	for _, by := range []string{"headers", "cites", "no_such_field", "http", "ts"} {
		if r, err := http.Get(web.URL + "/mcp/calls/groups?by=" + by); err != nil || r.StatusCode != http.StatusBadRequest {
			t.Errorf("by %s: %v %v", by, r.Status, err)
		}
	}
	few := restAnswerOf[tools.Groups](t, web.URL+"/mcp/calls/groups?limit=2")
	if len(few.Groups) != 2 || !few.More || few.By != "to" || few.Groups[0].Calls < few.Groups[1].Calls {
		t.Errorf("%+v", few)
	}
}

// TestCallsAreOrdered reads all pages of each order.
func TestCallsAreOrdered(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	for order, key := range map[string]func(tools.ShapedCall) float64{
		"time":    func(c tools.ShapedCall) float64 { return float64(c.Ts) },
		"newest":  func(c tools.ShapedCall) float64 { return -float64(c.Ts) },
		"slowest": func(c tools.ShapedCall) float64 { return -*c.LatencyMs },
		"fastest": func(c tools.ShapedCall) float64 { return *c.LatencyMs },
		"largest": func(c tools.ShapedCall) float64 { return -float64(*c.RespSize) },
	} {
		var list []tools.ShapedCall
		for cursor := ""; ; {
			page := restAnswerOf[struct {
				Calls []tools.ShapedCall
				Next  string `json:"next_cursor"`
			}](t, web.URL+"/mcp/calls?format=full&limit=100&order="+order+"&cursor="+cursor)
			for _, c := range page.Calls {
				if c.LatencyMs != nil && c.RespSize != nil {
					list = append(list, c)
				}
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if len(list) < 300 || !slices.IsSortedFunc(list, func(a, b tools.ShapedCall) int { return int(1e6 * (key(a) - key(b))) }) {
			t.Errorf("order %q: %d calls, not in order", order, len(list))
		}
	}
}

func TestCompletionsReplaceTheWord(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	text := `"ü" == host && status_co > 1`
	got := restAnswerOf[tools.Completions](t, fmt.Sprintf("%s/mcp/kfl/complete?text=%s&pos=%d", web.URL, url.QueryEscape(text), strings.Index(text, " > 1")))
	i := slices.IndexFunc(got.Completions, func(c tools.Completion) bool { return c.Text == "status_code" })
	if i < 0 || text[got.Completions[i].Start:got.Completions[i].End] != "status_co" {
		t.Errorf("%+v", got)
	}
	if all := restAnswerOf[tools.Completions](t, web.URL+"/mcp/kfl/complete?text=zzzz"); len(all.Completions) != 0 {
		t.Errorf("%+v", all)
	}
}

// TestPacketsOfACall saves the packets of one call, which masked answers must not reveal.
func TestPacketsOfACall(t *testing.T) {
	path := bundled(t, "shop.pcapng")
	for _, tc := range []struct {
		o      Options
		id     string
		status int
	}{
		{Options{}, "%2342", http.StatusOK},
		{Options{Policy: redact.Default(), Packets: true}, "%2342", http.StatusOK},
		{Options{Policy: redact.Default()}, "%2342", http.StatusForbidden},
		{Options{}, "%2399999", http.StatusNotFound},
		{Options{}, "a%22b", http.StatusBadRequest},
	} {
		web := httptest.NewServer(serving(t, tc.o, path).Handler(HTTPOptions{}))
		r, err := http.Get(web.URL + "/mcp/calls/" + tc.id + "/pcap")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		web.Close()
		if err != nil || r.StatusCode != tc.status {
			t.Errorf("%s: %d %.200s %v, want %d", tc.id, r.StatusCode, text, err, tc.status)
		}
		if tc.status == http.StatusOK && (!strings.HasPrefix(string(text), "\x0a\x0d\x0d\x0a") || r.Header.Get("Content-Disposition") != `attachment; filename="call-42.pcapng"`) {
			t.Errorf("%.8q %v", text, r.Header)
		}
	}
}

// TestThePageNeedsNoToken reads the page's files, which have nothing of a case, without a token.
func TestThePageNeedsNoToken(t *testing.T) {
	o := HTTPOptions{Tokens: []door.Token{door.NewToken("anna", secret)}}
	web := httptest.NewServer(serving(t, Options{}, bundled(t, "http1.pcapng")).Handler(o))
	defer web.Close()
	for path, want := range map[string]int{"/": 200, "/page/page.js": 200, "/page/page.css": 200, "/connect": 401, "/mcp": 401, "/mcp/calls": 401, "/page/": 401, "/page/page.js/..": 401} {
		r, err := http.Get(web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
	}
	r, err := http.Post(web.URL+"/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != 401 {
		t.Errorf("POST /: %d", r.StatusCode)
	}
	// A name that is not the server's gets no page either.
	req, err := http.NewRequest("GET", web.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "attacker.example"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusForbidden {
		t.Errorf("another host: %d", res.StatusCode)
	}
}

// TestFlowsOfAFilter compares the flows of a filter and a time with SQL.
func TestFlowsOfAFilter(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	all := restAnswerOf[tools.Buckets](t, web.URL+"/mcp/calls/buckets")
	from, middle := int64(all.From), int64((all.From+all.To)/2)
	for query, sql := range map[string]string{
		"":           "SELECT count(*) AS n FROM connections",
		"kfl=failed": "SELECT count(DISTINCT conn_id) AS n FROM calls WHERE failed",
		fmt.Sprintf("start=%d&end=%d", from, middle): fmt.Sprintf("SELECT count(*) AS n FROM connections WHERE first_ns <= %d", (middle+1)*1e6-1),
		fmt.Sprintf("kfl=dns&start=%d", middle):      fmt.Sprintf("SELECT count(DISTINCT conn_id) AS n FROM calls JOIN connections c USING (conn_id) WHERE calls.protocol = 'dns' AND ts_ns >= %[1]d AND c.last_ns >= %[1]d", middle*1e6),
	} {
		got := restAnswerOf[tools.ShapedFlows](t, web.URL+"/mcp/flows?limit=3&"+query)
		r, err := http.Post(web.URL+"/mcp/tools/run_sql", "application/json", strings.NewReader(fmt.Sprintf(`{"sql": %q}`, sql)))
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ Rows [][]int64 }
		if err := json.NewDecoder(r.Body).Decode(&want); err != nil || len(want.Rows) != 1 || got.Total != want.Rows[0][0] || got.Total == 0 {
			t.Errorf("%s: %d flows, SQL says %v, %v", query, got.Total, want.Rows, err)
		}
		r.Body.Close()
	}
	// A time of whole milliseconds around the recording is recorded whole.
	if f := restAnswerOf[tools.ShapedFlows](t, fmt.Sprintf("%s/mcp/flows?start=%d&end=%d", web.URL, from, int64(all.To))); f.Coverage.State != "complete" {
		t.Errorf("%+v", f.Coverage)
	}
}

// TestCallsOfAListHaveNoHeaders compares two forms of the same calls.
func TestCallsOfAListHaveNoHeaders(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	type answer struct{ Calls []map[string]any }
	list, full := restAnswerOf[answer](t, web.URL+"/mcp/calls?format=list"), restAnswerOf[answer](t, web.URL+"/mcp/calls?format=full")
	headers := 0
	for _, c := range full.Calls {
		if _, has := c["headers"]; has {
			headers++
			delete(c, "headers")
		}
	}
	if headers == 0 || !reflect.DeepEqual(list, full) {
		t.Errorf("%d calls with headers; without them, the calls differ", headers)
	}
}

// TestCallForOtherPrograms reads calls of HTTP, of another protocol and without a writer.
func TestCallForOtherPrograms(t *testing.T) {
	o := Options{HTTP: func(x *forensics.Exchange, form string, w io.Writer) error {
		if x.Call.Get("protocol") != "http1" {
			return errors.New("this is not a call of HTTP")
		}
		_, err := fmt.Fprintf(w, "%s %v", form, x.Call.Get("path"))
		return err
	}}
	for _, with := range []bool{true, false} {
		if !with {
			o.HTTP = nil
		}
		web := httptest.NewServer(serving(t, o, bundled(t, "shop.pcapng")).Handler(HTTPOptions{}))
		defer web.Close()
		for path, want := range map[string]string{"http1?format=curl": "200 curl /healthz", "http1": "200 har /healthz", "http1?format=x": "400", "dns": "400"} {
			protocol, query, _ := strings.Cut(path, "?")
			list := restAnswerOf[struct{ Calls []struct{ ID string } }](t, web.URL+"/mcp/calls?limit=1&kfl="+protocol)
			r, err := http.Get(web.URL + "/mcp/calls/" + list.Calls[0].ID + "/http?" + query)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if got := fmt.Sprint(r.StatusCode, " ", string(text)); with && !strings.HasPrefix(got, want) || !with && r.StatusCode != http.StatusBadRequest {
				t.Errorf("%s, with a writer %v: %s", path, with, got)
			}
		}
	}
}

// TestCustodyOverHTTP reads the log of a bundle that was just made.
func TestCustodyOverHTTP(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	c := restAnswerOf[tools.Custody](t, web.URL+"/mcp/custody")
	if len(c.Bundles) != 1 || len(c.Bundles[0].Entries) != 1 || c.Bundles[0].Entries[0].Event != "made" || c.Bundles[0].Damaged != "" {
		t.Errorf("%+v", c)
	}
}
