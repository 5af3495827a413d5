package forensics_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestAnEmptyAnswerSaysWhy(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	_, last, _ := c.Window()
	for _, v := range []struct{ kfl, want string }{
		{`dst.service == "paymnt"`, `no call matches dst.service == "paymnt"; did you mean "payment"?`},
		{`dst.service == "shop/payment"`, `; write dst.namespace == "shop" and dst.service == "payment"`},
		{`http && dst.service == "shop"`, `no call matches dst.service == "shop"; "shop" is a namespace: use src.namespace or dst.namespace`},
		{`http && dst.service in ["unheard", "shop"]`, `"shop" is a namespace: use src.namespace or dst.namespace`},
		{`src.node == "elsewhere"`, `; in this time src_node is node-1`},
		{`src.hostname == "a"`, `src_hostname has no value in any call in this time`},
		{`http && dst.service == "frontend" && path == "/v1/payments"`, `each of these conditions matches calls, but no call matches all of them: http (179), dst.service == "frontend" (49), path == "/v1/payments" (11)`},
		{`http && ts_ns < 0`, `no call matches ts_ns < 0`},
	} {
		for name, ask := range map[string]func(forensics.Query) (*forensics.Result, error){
			"Query": func(q forensics.Query) (*forensics.Result, error) { return c.Query(ctx, q) },
			"Each": func(q forensics.Query) (*forensics.Result, error) {
				return c.Each(ctx, q, nil, func([]forensics.Column, []any) error { return nil })
			},
		} {
			r, err := ask(forensics.Query{KFL: v.kfl})
			if err != nil {
				t.Errorf("%s: %v", v.kfl, err)
				continue
			}
			if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, v.want) }) {
				t.Errorf("%s of %s: notes %q, want %s", name, v.kfl, r.Notes, v.want)
			}
		}
	}
	for _, condition := range []string{`request.headers["content-type"] == "gett"`, `response.headers["x"] == "1"`, `request.cookies["a"] == "gett"`, `request.query["a"] == "/v1/payment"`, `request.headers.exists(h, h == "gett")`} {
		r, err := c.Query(ctx, forensics.Query{KFL: condition})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"no call matches " + condition}; !slices.Equal(r.Notes, want) {
			t.Errorf("%s: notes %q, want %q: methods and paths are no values of it", condition, r.Notes, want)
		}
	}
	for _, q := range []forensics.Query{{KFL: "http"}, {KFL: "http", Count: true}, {KFL: ""}, {SQL: "SELECT 1 WHERE false"}, {KFL: "kafka", From: last + 1e9, To: last + 2e9}} {
		if r := query(t, c, q); len(r.Notes) > 0 {
			t.Errorf("%+v: notes %q, want none", q, r.Notes)
		}
	}
	if r := query(t, c, forensics.Query{KFL: "kafka", Count: true}); len(r.Notes) != 1 {
		t.Errorf("a count of 0: notes %q, want one", r.Notes)
	}
}

// TestAProtocolOfAnotherRelease asks for a protocol that this release does not dissect, in a bundle with
// calls of it and in one without.
func TestAProtocolOfAnotherRelease(t *testing.T) {
	dir := window(t, "icmp.pcap", 0, 0)
	rewrite(t, dir, "calls/protocol=icmp", func(from string) string {
		return "SELECT * REPLACE ('echoq' AS protocol) FROM " + from
	})
	parts := filepath.Join(dir, "data", "tables", "calls")
	if err := os.Rename(filepath.Join(parts, "protocol=icmp"), filepath.Join(parts, "protocol=echoq")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data/bundle.json", "manifest-sha256.txt"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.NewReplacer("protocol=icmp", "protocol=echoq", `"protocol": "icmp"`, `"protocol": "echoq"`).Replace(string(text)))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := forensics.Query{KFL: `protocol == "echoq"`}
	if r := query(t, open(t, dir), ask); len(r.Rows) == 0 || len(r.Notes) > 0 {
		t.Errorf("%d calls with notes %q, want some without a note", len(r.Rows), r.Notes)
	}
	const note = `"echoq" is not a protocol that this release dissects`
	if r := query(t, open(t, sample(t, "icmp.pcap")), ask); len(r.Rows) > 0 || !slices.Contains(r.Notes, note) {
		t.Errorf("%d calls with notes %q, want none and the note %q", len(r.Rows), r.Notes, note)
	}
}

// TestStatusesThatAreNotOfHTTP asks for the statuses of HTTP in protocols whose failures have others.
func TestStatusesThatAreNotOfHTTP(t *testing.T) {
	for name, want := range map[string]string{
		"grpc.pcapng":  "no call matches status_code >= 400; 4 calls failed with another status or without one: use failed, or grpc_status > 0 (3), because status_code is the HTTP status of gRPC",
		"kafka.pcapng": "no call matches status_code >= 400; 9 calls failed with another status or without one: use failed",
		"redis.pcap":   "no call matches status_code >= 400: status_code has no value in any call in this time; 19 calls failed with another status or without one: use failed",
	} {
		if r := query(t, open(t, sample(t, name)), forensics.Query{KFL: "status_code >= 400"}); len(r.Notes) == 0 || r.Notes[0] != want {
			t.Errorf("%s: notes %q, want %q", name, r.Notes, want)
		}
	}
}

// TestErrorsByStatusNameTheOtherFailures asks for errors of HTTP where others failed too.
func TestErrorsByStatusNameTheOtherFailures(t *testing.T) {
	c := open(t, sample(t, "apis.pcapng"))
	const note = "4 other calls in this time failed with another status or without one: use failed, or grpc_status > 0 (1), because status_code is the HTTP status of gRPC"
	for condition, want := range map[string][]string{
		"status_code >= 400":                         {note},
		"http and status_code > 399":                 {"3 other calls in this time failed with another status or without one: use failed"},
		`status_code >= 400 and method == "GET"`:     nil,
		"status_code >= 200":                         nil,
		"status_code >= 400 or failed":               nil,
		"http and failed":                            nil,
		`status_code >= 400 and protocol == "http1"`: {"3 other calls in this time failed with another status or without one: use failed"},
	} {
		for _, q := range []forensics.Query{{KFL: condition}, {KFL: condition, Count: true}} {
			if r := query(t, c, q); !slices.Equal(r.Notes, want) {
				t.Errorf("%s: notes %q, want %q", condition, r.Notes, want)
			}
		}
	}
}

func TestAnEmptyAnswerToSQLSaysWhy(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	for _, v := range []struct{ sql, want string }{
		{"SELECT * FROM calls WHERE dst_service = 'paymnt'", "no row of calls has dst_service = 'paymnt'; did you mean 'payment'?"},
		{"SELECT count(*), sum(elapsed_us) FROM calls WHERE 'htp' = protocol", "no row of calls has protocol = 'htp'; did you mean 'http1'?"},
		{"SELECT 1 FROM calls c JOIN flows f USING (flow_id) WHERE f.dst_service IN ('unheard', 'shop') AND c.method = 'GET'",
			"no row of calls or flows has dst_service = 'unheard' or 'shop'; 'shop' is a namespace: use dst_namespace"},
		{"SELECT call_no FROM calls WHERE src_hostname = 'a'", "src_hostname has no value in any row of calls"},
		{"SELECT call_no FROM calls WHERE src_node = 'elsewhere'", "no row of calls has src_node = 'elsewhere'; src_node is node-1"},
		{"SELECT call_no FROM calls WHERE dst_service = 'payment' AND protocol = 'kafka2'", "no row of calls has protocol = 'kafka2'"},
	} {
		q := forensics.Query{SQL: v.sql, Alone: true}
		if r := query(t, c, q); len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], v.want) {
			t.Errorf("%s: notes %q, want %q", v.sql, r.Notes, v.want)
		}
		r, err := c.Each(ctx, q, nil, func([]forensics.Column, []any) error { return nil })
		if err != nil || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, v.want) }) {
			t.Errorf("all rows of %s: notes %q, %v, want %q", v.sql, r.Notes, err, v.want)
		}
	}
	for _, sql := range []string{
		"SELECT 1 WHERE false",
		"SELECT * FROM calls WHERE dst_service = 'payment' AND call_no < 0",
		"SELECT * FROM (SELECT dst_service AS s FROM calls) WHERE s = 'paymnt'",
		"SELECT count(*) FROM calls WHERE dst_service <> 'paymnt'",
		"SELECT * FROM calls WHERE dst_service = lower('PAYMNT')",
	} {
		if r := query(t, c, forensics.Query{SQL: sql, Alone: true}); slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "no row") }) {
			t.Errorf("%s: notes %q, want none about its texts", sql, r.Notes)
		}
	}
}
