package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/kfl"
)

var ctx = context.Background()

func shop(t testing.TB) *forensics.Case {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop.pcapsule")
	samples := filepath.Join("..", "..", "samples")
	if _, err := exporter.Run(ctx, []string{filepath.Join(samples, "shop.pcapng")}, dir, exporter.Options{Release: "test", Repanic: true, Kube: []string{filepath.Join(samples, "shop.kube.json")}}); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t testing.TB, c *forensics.Case, files fs.FS, rules string) *check.Report {
	t.Helper()
	r, err := check.Parse([]byte("version: 1\nrules:\n"+rules), files)
	if err != nil {
		t.Fatal(err)
	}
	out, err := check.Run(ctx, c, r, all.Analyzers())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRulesHoldOrDoNot(t *testing.T) {
	c := shop(t)
	files := fstest.MapFS{
		"product.json":  {Data: []byte(`{"type":"object","required":["product"],"properties":{"product":{"required":["id","name"],"properties":{"id":{"type":"integer"},"price":{"$ref":"parts.yaml#/price"}}}}}`)},
		"parts.yaml":    {Data: []byte("price: {type: number}\n")},
		"no-price.json": {Data: []byte(`{"not":{"required":["product"]}}`)},
		"api.yaml": {Data: []byte(`openapi: 3.0.3
info: {title: shop, version: "1"}
paths:
  /v1/products/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses:
        "200": {description: one, content: {application/json: {schema: {type: object}}}}
        "404": {description: none}
`)},
	}
	for _, v := range []struct {
		name, rule string
		status     check.Status
		calls      int64
		broken     int64
		got        string
	}{
		{"every call does", `calls: http && path == "/healthz", every: status_code == 200`, check.Pass, 35, 0, ""},
		{"some do not", `calls: http && path == "/readyz", every: status_code == 200`, check.Fail, 35, 4, "503"},
		{"never, and no call matches", `calls: http && path == "/healthz", never: status_code >= 500`, check.Pass, 35, 0, ""},
		{"never, but a call matches", `calls: http && path == "/v1/payments", never: status_code == 500`, check.Fail, 11, 1, "500"},
		{"absent fields do not match", `calls: dns, every: status_code < 1`, check.Fail, 104, 48, "NXDOMAIN"},
		{"no call at all", `calls: http && path == "/nothing", every: "true"`, check.Fail, 0, 1, "was not tested"},
		{"no call of a misspelt service", `calls: http && dst.service == "paymnt", error_rate: 1%`, check.Fail, 0, 1, `did you mean "payment"?`},
		{"no call, and none needed", `calls: http && path == "/nothing", min_calls: 0, every: "true"`, check.Pass, 0, 0, ""},
		{"a count", `calls: http && path == "/v1/send", count: 3`, check.Pass, 3, 0, ""},
		{"a wrong count", `calls: http && path == "/v1/send", count: {max: 2}`, check.Fail, 3, 1, "3 calls"},
		{"no calls allowed", `calls: kafka, count: 0`, check.Pass, 0, 0, ""},
		{"latency within", `calls: http && path == "/healthz", latency: {p50: 1s, max: 5s}`, check.Pass, 35, 0, ""},
		{"latency above", `calls: http && path == "/v1/payments", latency: {p50: 100ms}`, check.Fail, 11, 6, "p50"},
		{"latency without a response is the time that the caller waited", `calls: http && path == "/v1/charge" && !complete, latency: {p50: 1s}`, check.Pass, 6, 0, ""},
		{"latency without a response, above", `calls: http && path == "/v1/charge" && !complete, latency: {p50: 100ms}`, check.Fail, 6, 6, "p50"},
		{"error rate within", `calls: http && path == "/introspect", error_rate: 10%`, check.Pass, 11, 0, ""},
		{"error rate above", `calls: http && path == "/introspect", error_rate: 0.01`, check.Fail, 11, 1, "401"},
		{"a header that all have", `calls: http && path == "/v1/send", request_headers: [Content-TYPE, host]`, check.Pass, 3, 0, ""},
		{"a header that none has", `calls: http && path == "/v1/send", request_headers: [x-nothing]`, check.Fail, 3, 3, "missing"},
		{"a header with another value", `calls: http && path == "/v1/send", request_headers: {content-type: text/.*}`, check.Fail, 3, 3, "missing"},
		{"a header that must not be", `calls: http && path == "/v1/send", no_request_headers: [content-type]`, check.Fail, 3, 3, "present"},
		{"valid bodies", `calls: http && path.startsWith("/v1/products/") && status_code == 200, response_schema: product.json`, check.Pass, 6, 0, ""},
		{"invalid bodies", `calls: http && path.startsWith("/v1/products/") && status_code == 200, response_schema: no-price.json`, check.Fail, 6, 6, "not"},
		{"an inline schema", `calls: http && path.startsWith("/v1/products/") && status_code == 200, response_schema: {required: [nothing]}`, check.Fail, 6, 6, "nothing"},
		{"a body that is not there", `calls: http && path == "/v1/send", response_schema: {}`, check.Fail, 3, 3, "no body"},
		{"matches OpenAPI", `calls: http && path.startsWith("/v1/products/"), openapi: api.yaml`, check.Pass, 7, 0, ""},
		{"a path that OpenAPI lacks", `calls: http && path.startsWith("/v1/"), openapi: api.yaml`, check.Fail, 40, 33, "no matching operation"},
		{"calls below each", `calls: http && path == "/v1/products" && dst.service == "catalogue", downstream: [{calls: "postgresql && method == 'SELECT'", max: 1000}]`, check.Pass, 3, 0, ""},
		{"too many calls below", `calls: http && path == "/api/checkout", downstream: [{calls: "http && path == '/v1/payments'", exactly: 0}]`, check.Fail, 16, 7, "1"},
		{"calls that access no data", `calls: http && dst.service == "catalogue", downstream: [{calls: postgresql && postgresql_rows == nil, max: 0}]`, check.Pass, 26, 0, ""},
		{"calls that access no data, named", `calls: http && dst.service == "catalogue", downstream: [{calls: "postgresql && postgresql_kind in ['prepare', 'startup']", max: 0}]`, check.Fail, 26, 8, "1"},
		{"no cache", `calls: http && path == "/v1/products/5", cached: {calls: postgresql}`, check.Fail, 3, 1, ""},
		{"a cache that is never used", `calls: http && path == "/v1/products/3", cached: {calls: postgresql}`, check.Fail, 1, 1, "never used"},
		{"retries as they are", `calls: http && path == "/v1/charge", retries: {max: 10}`, check.Pass, 10, 0, ""},
		{"too many retries", `calls: http && path == "/v1/payments", retries: {max: 1}`, check.Fail, 11, 1, "repeats"},
		{"no findings", `calls: http && path == "/healthz", no_findings: [plaintext-credentials, sensitive-data]`, check.Pass, 35, 0, ""},
		{"findings", `calls: http && path == "/v1/payments", no_findings: [sensitive-data]`, check.Fail, 11, 1, "card"},
		{"an unknown analyzer", `calls: http, no_findings: [nonsense]`, check.Errored, 0, 1, "unknown analyzer"},
		{"a missing schema", `calls: http, response_schema: gone.json`, check.Errored, 0, 1, "gone.json"},
		{"a schema from elsewhere", `calls: http && path == "/v1/products", response_schema: {$ref: "http://example.org/x.json"}`, check.Errored, 0, 1, "in the folder of the rules"},
		{"a time without a recording", `from: "2001-01-01T00:00:00Z", to: "2001-01-02T00:00:00Z", every: "true"`, check.NotRecorded, 0, 1, "none"},
	} {
		t.Run(v.name, func(t *testing.T) {
			lines := "  - name: x\n"
			for _, part := range splitTop(v.rule) {
				lines += "    " + part + "\n"
			}
			out := run(t, c, files, lines)
			o := out.Results[0]
			if o.Status != v.status || v.status != check.Errored && o.Calls != v.calls || int64(len(o.Broken))+o.More != v.broken {
				t.Fatalf("%+v", o)
			}
			if v.got != "" && !strings.Contains(o.Broken[0].Got, v.got) {
				t.Errorf("got %q", o.Broken[0].Got)
			}
			for _, b := range o.Broken {
				if b.Call != nil && (len(b.Call.CallID) != 32 || b.Call.Packets == "") {
					t.Errorf("no citation: %+v", b.Call)
				}
			}
		})
	}
}

// TestFewCallsAreNotSure has limits that few calls keep or break: the result says that they are few.
func TestFewCallsAreNotSure(t *testing.T) {
	c := shop(t)
	for rule, want := range map[string]string{
		`calls: http && path == "/introspect", error_rate: 10%`: "1 of 11 calls failed, 9.09 % (95 % interval 0.23 to 41.3 %); too few calls to be sure of at most 10 %",
		`calls: http && path == "/introspect", error_rate: 1%`:  "too few calls to be sure of at most 1 %",
		`calls: http && path == "/introspect", error_rate: 60%`: "(95 % interval 0.23 to 41.3 %)",
		`calls: http && path == "/v1/send", latency: {p99: 9s}`: "(the slowest of 3 calls: too few for a p99)",
	} {
		lines := "  - name: x\n"
		for _, part := range splitTop(rule) {
			lines += "    " + part + "\n"
		}
		got := strings.Join(run(t, c, nil, lines).Results[0].Measured, "; ")
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

// splitTop splits "a: 1, b: {c: 2, d: 3}" into its members; KFL is quoted for YAML.
func splitTop(s string) (out []string) {
	depth, quoted, begin := 0, false, 0
	for i, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("{[(", r):
			depth++
		case strings.ContainsRune("}])", r):
			depth--
		case r == ',' && depth == 0:
			out, begin = append(out, s[begin:i]), i+1
		}
	}
	out = append(out, s[begin:])
	for i, part := range out {
		name, value, _ := strings.Cut(strings.TrimSpace(part), ": ")
		if name == "calls" || name == "every" && value[0] != '"' || name == "never" {
			text, _ := json.Marshal(value)
			value = string(text)
		}
		out[i] = name + ": " + value
	}
	return out
}

func TestRulesThatAreNone(t *testing.T) {
	for _, v := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"another version", "version: 2\nrules: [{name: x, every: \"true\"}]", "version 2"},
		{"no rules", "version: 1", "not 0"},
		{"not YAML", "version: [", ""},
		{"a rule without a name", "version: 1\nrules:\n- every: x", "line 3: a rule without a name"},
		{"an unknown key", "version: 1\nrules:\n- name: x\n  evry: y", "evry"},
		{"no expectation", "version: 1\nrules:\n- name: x\n  calls: http", "has no expectation"},
		{"a name twice", "version: 1\nrules:\n- {name: x, count: 1}\n- {name: x, count: 1}", "line 4"},
		{"a duration without unit", "version: 1\nrules:\n- {name: x, latency: {p99: 5}}", "with a unit"},
		{"an unknown quantile", "version: 1\nrules:\n- {name: x, latency: {p42: 5s}}", "p42"},
		{"bounds that exclude everything", "version: 1\nrules:\n- {name: x, count: {min: 3, max: 2}}", "is greater than"},
		{"a share above all", "version: 1\nrules:\n- {name: x, error_rate: 120%}", "share"},
		{"a wrong expression", "version: 1\nrules:\n- {name: x, request_headers: {a: \"(\"}}", "RE2"},
		{"a file above the rules", "version: 1\nrules:\n- {name: x, openapi: ../../etc/passwd}", "folder of the rules"},
		{"an unknown backoff", "version: 1\nrules:\n- {name: x, retries: {backoff: cubic}}", "cubic"},
		{"an unknown level", "version: 1\nrules:\n- {name: x, level: fatal, count: 1}", "fatal"},
		{"an unknown severity", "version: 1\nrules:\n- {name: x, severity: fatal, count: 1}", "critical, high, medium, low, informational, not \"fatal\""},
		{"no technique", "version: 1\nrules:\n- {name: x, techniques: [attack.t1190], count: 1}", "such as T1190"},
		{"a Sigma rule", "title: x\nlogsource:\n  category: proxy\ndetection:\n  s: {c-uri: a}\n  condition: s\n", "convert it with sigma convert -t pcapsule"},
		{"aliases that explode", "version: 1\nrules:\n- &a {name: &b [x,x,x,x,x,x,x,x,x], count: 1}\n- &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := check.Parse([]byte(v.text), nil)
			if err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestKFLThatDoesNotParseIsASyntaxError(t *testing.T) {
	c := shop(t)
	for _, rule := range []string{
		`{name: x, calls: 'http &&', every: "true"}`,
		`{name: x, calls: http, every: 'status_code =='}`,
		`{name: x, calls: http, never: '('}`,
		`{name: x, calls: http, downstream: [{calls: 'stats_code == 1', max: 1}]}`,
		`{name: x, calls: http, cached: {calls: 'a b'}}`,
	} {
		rules, err := check.Parse([]byte("version: 1\nrules:\n  - "+rule+"\n"), nil)
		if err == nil {
			_, err = check.Run(t.Context(), c, rules, nil)
		}
		var syntax *kfl.Error
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), `rule "x" in line 3`) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestReportsForPipelines(t *testing.T) {
	c := shop(t)
	out := run(t, c, nil, `  - {name: "ready <always> & \u0001", calls: 'http && path == "/readyz"', every: status_code == 200}
  - {name: healthy, calls: 'http && path == "/healthz"', every: status_code == 200}
  - {name: quick, level: warning, calls: 'http && path == "/v1/payments"', latency: {p50: 1ms}}
`)
	if out.Passed != 1 || out.Failed != 1 || out.Warned != 1 {
		t.Fatalf("%+v", out)
	}
	var b bytes.Buffer
	if err := out.WriteJUnit(&b, "rules.yaml"); err != nil {
		t.Fatal(err)
	}
	var suites struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Name    string  `xml:"name,attr"`
				Failure *string `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	cases := suites.Suites[0].Cases
	if suites.Suites[0].Tests != 3 || suites.Suites[0].Failures != 1 || cases[0].Failure == nil || strings.Count(*cases[0].Failure, ".pcapng frame") != 4 || cases[1].Failure != nil || cases[2].Failure != nil {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	if err := out.WriteSARIF(&b, "1.0", "rules.yaml"); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string
		Runs    []struct {
			Results []struct {
				RuleID, Kind, Level string
				RuleIndex           int
				Locations           []any
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, r := range log.Runs[0].Results {
		kinds[r.Kind+" "+r.Level]++
	}
	if log.Version != "2.1.0" || kinds["fail error"] != 4 || kinds["pass none"] != 1 || kinds["fail warning"] != 9 {
		t.Errorf("%v", kinds)
	}
	t.Run("severity, techniques and references", func(t *testing.T) { reportsWhatRulesSay(t, c) })
}

// reportsWhatRulesSay has a rule as the backend of pySigma writes it.
func reportsWhatRulesSay(t *testing.T, c *forensics.Case) {
	rule := `  - {name: Payment, id: 2c03648b-e081-41a5-b9fb-7d854a915091, level: warning, severity: medium, techniques: [T1190, T1558.003],
     references: ["https://example.org/a", "https://example.org/b"], calls: http, min_calls: 0, never: 'path.lowerAscii() == "/v1/payments"'}
  - {name: Long, calls: http, never: 'path == "/v1/send" || path == "` + strings.Repeat("x", 200) + `"'}
`
	out := run(t, c, nil, rule)
	o := out.Results[0]
	if o.Status != check.Fail || len(o.Broken) != 11 || o.ID == "" || o.Severity != "medium" || len(o.Techniques) != 2 || len(o.References) != 2 {
		t.Fatalf("%+v", o)
	}
	if o.Title() != "Payment [severity medium, T1190, T1558.003]" || out.Results[1].Title() != "Long" {
		t.Errorf("%q, %q", o.Title(), out.Results[1].Title())
	}
	if long := out.Results[1].Broken[0].Expected; long != "no call that matches never" {
		t.Errorf("%q", long)
	}
	var junit, sarif, text bytes.Buffer
	if err := errors.Join(out.WriteJUnit(&junit, "rules.yaml"), out.WriteSARIF(&sarif, "1.0", "rules.yaml"), json.NewEncoder(&text).Encode(out)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		in    *bytes.Buffer
		texts []string
	}{
		{&junit, []string{"severity medium, T1190, T1558.003", "see https://example.org/a https://example.org/b"}},
		{&sarif, []string{`"attack.t1558.003"`, `"helpUri": "https://example.org/a"`, `"severity": "medium"`, "2c03648b"}},
		{&text, []string{`"techniques":["T1190","T1558.003"]`, `"severity":"medium"`, `"references":["https://example.org/a","https://example.org/b"]`, "2c03648b"}},
	} {
		for _, x := range want.texts {
			if !strings.Contains(want.in.String(), x) {
				t.Errorf("no %s in %s", x, want.in)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\nrules:\n- {name: x, count: {min: 1, max: 2}, latency: {p99: 5s}, request_headers: [a], openapi: {a: b}}"))
	f.Add([]byte("version: 1\nrules:\n- {name: x, downstream: [{calls: dns, max: 2}], retries: {exactly: 3, backoff: exponential}, cached: {calls: redis}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := check.Parse(text, nil)
		if err == nil && len(r.Rules) == 0 {
			t.Error("no rules and no error")
		}
	})
}
