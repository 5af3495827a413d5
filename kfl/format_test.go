package kfl

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

func TestFormat(t *testing.T) {
	for _, f := range []struct{ why, src, want string }{
		{"words become operators", `http and not status_code==200 or dns`, `http && !(status_code == 200) || dns`},
		{"infix words become methods", `request.path contains "/api" AND path matches r"^/a"`, `request.path.contains("/api") && path.matches(r"^/a")`},
		{"needless parentheses are removed", `((http) && (dns)) || ((a.b))`, `http && dns || a.b`},
		{"needed parentheses are kept", `(http || dns) && (1 + 2) * 3 == 9 && !(a || b)`, `(http || dns) && (1 + 2) * 3 == 9 && !(a || b)`},
		{"the left side of a minus", `1-(2-3)-4 == 0`, `1 - (2 - 3) - 4 == 0`},
		{"a method on a sum", `(host + path) contains "x"`, `(host + path).contains("x")`},
		{"ternaries", `a?b:c?d:e`, `a ? b : c ? d : e`},
		{"a ternary in a test", `(a ? b : c) ? d : e`, `(a ? b : c) ? d : e`},
		{"braces become brackets", `src.ns in {'a',"b",}`, `src.ns in ['a', "b"]`},
		{"not in", `a NOT IN [1]`, `a not in [1]`},
		{"numbers are kept as written", `elapsed_time > 1h30m && x == -0x1F && y < 10KiB`, `elapsed_time > 1h30m && x == -0x1F && y < 10KiB`},
		{"comments come first", "http // web\n# and\n&& dns", "# web\n# and\nhttp && dns"},
		{"an empty text", "  ", ""},
		{"a long chain is broken", strings.Repeat("host == \"aaaaaaaaaaaaaaaaaaaa\" || ", 4) + "dns", strings.Repeat("host == \"aaaaaaaaaaaaaaaaaaaa\"\n  || ", 4) + "dns"},
	} {
		got, err := Format(f.src)
		if err != nil || got != f.want {
			t.Errorf("%s: %s\ngot  %q, %v\nwant %q", f.why, f.src, got, err, f.want)
		}
		if again, err := Format(got); err != nil || again != got {
			t.Errorf("%s: formatting twice returns %q, %v", f.why, again, err)
		}
	}
	if _, err := Format("http &&"); err == nil {
		t.Error("an invalid query is formatted")
	}
}

// sameMeaning fails if a formatted query has another meaning.
func sameMeaning(t *testing.T, src string, env Env) {
	t.Helper()
	once, err := Format(src)
	if err != nil {
		return
	}
	twice, err := Format(once)
	if err != nil || twice != once {
		t.Fatalf("%q\nformats to %q\nand that to %q, %v", src, once, twice, err)
	}
	a, errA := Compile(src, env)
	b, errB := Compile(once, env)
	if (errA == nil) != (errB == nil) {
		// Formatting may make a query exceed the limits.
		if e, ok := errB.(*Error); errA == nil && ok && e.Limit {
			return
		}
		t.Fatalf("%q: %v\nformatted %q: %v", src, errA, once, errB)
	}
	if errA != nil {
		return
	}
	sqlA, argsA := a.SQL()
	sqlB, argsB := b.SQL()
	if sqlA != sqlB || !reflect.DeepEqual(argsA, argsB) {
		t.Fatalf("%q\nSQL %s %q\nformatted %q\nSQL %s %q", src, sqlA, argsA, once, sqlB, argsB)
	}
}

func TestFormatKeepsMeaning(t *testing.T) {
	for _, m := range meanings {
		sameMeaning(t, m.src, Env{Now: noon, Macros: testMacros()})
	}
}

func TestExplain(t *testing.T) {
	q, err := Compile(`http and src.pod == "web-.*" and timestamp > now() - 5m`, Env{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	const want = `query   http && src.pod == "web-.*" && timestamp > now() - 5m
from    calls (http1, http2, http3)
reads   protocol, src_pod, ts_ns
now     2026-09-21T14:13:20.000000000Z
note    "web-.*" is not a valid name here, so it is used as a pattern, as in matches()
sql     (("protocol" IS NOT NULL AND "protocol" IN (CAST(? AS VARCHAR), CAST(? AS VARCHAR), CAST(? AS VARCHAR))) AND coalesce(regexp_matches("src_pod", CAST(? AS VARCHAR)), FALSE) AND ("ts_ns" IS NOT NULL AND "ts_ns" > 1789999700000000000))
  ?1    "http1"
  ?2    "http2"
  ?3    "http3"
  ?4    "((?-s:web-.*))"
`
	if got := q.Explain(0); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if q, err = Compile("diameter_method == \"x\"", Env{}); err != nil || !strings.Contains(q.Explain(0), "no call can match") {
		t.Errorf("no note for a query that cannot match: %v", err)
	}
}

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		why, src string
		want     []string
		not      string
	}{
		{"the beginning of a field", "stat", []string{"status_code", "status", "status_text"}, "host"},
		{"a dotted field", "http && src.po", []string{"src.pod", "src.port", "src.pod.name"}, "src.ip"},
		{"a method of a text", "host.st", []string{"host.startsWith"}, "host.json"},
		{"a method of a body", "request.body.", []string{"request.body.json", "request.body.contains"}, "request.body.getHours"},
		{"an operator after a field", "http ", []string{"&&", "=="}, "host"},
		{"a field after an operator", "http && ", []string{"host", "now"}, "=="},
		{"a protocol in quotes", `protocol == "re`, []string{"redis"}, "dns"},
		{"nothing in other text", `host == "re`, nil, "redis"},
		{"at the beginning", "", []string{"http", "size", "now"}, "&&"},
	} {
		var got []string
		for _, x := range Complete(c.src, len(c.src)) {
			got = append(got, x.Text)
			if x.Start < 0 || x.Start > x.End || x.End != len(c.src) {
				t.Errorf("%s: position %d to %d", c.why, x.Start, x.End)
			}
		}
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %q lacks %s: %v", c.why, c.src, w, got)
			}
		}
		if slices.Contains(got, c.not) {
			t.Errorf("%s: %q offers %s", c.why, c.src, c.not)
		}
	}
}

func TestColumnsOfABundle(t *testing.T) {
	cols := map[string]string{"protocol": "VARCHAR", "kafka_client_id": "VARCHAR", "tls_version_name": "INTEGER", "zookeeper_path": "VARCHAR", "cites": "STRUCT(first BIGINT, last BIGINT)[]"}
	db := duckdbtest.Open(t)
	if _, err := db.Exec(`CREATE VIEW calls AS SELECT 0 AS row_no, 'x' AS kafka_client_id, 772 AS tls_version_name, '/a' AS zookeeper_path, 'kafka' AS protocol`); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why, src string
		want     bool
	}{
		{"a field of a column", `kafka && kafka_client_id == "x"`, true},
		{"the type of the column counts", `tls_version_name == 772`, true},
		{"a column without a field", `zookeeper_path startsWith "/"`, true},
		{"a field without its column is absent", `host == "h" || request.headers["a"] == "" || request.body contains "x" || size(request.body) >= 0`, false},
	} {
		q, err := Compile(c.src, Env{Columns: cols})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
		} else if got, err := answers(db, 1, q); err != nil || got[0][0] != c.want {
			t.Errorf("%s: %s is %v, %v", c.why, c.src, got, err)
		}
	}
	for _, refused := range []string{`cites == 1`, `tls_version_name == "x"`} {
		if _, err := Compile(refused, Env{Columns: cols}); err == nil {
			t.Errorf("%s compiles", refused)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, m := range meanings {
		f.Add(m.src)
	}
	for _, e := range faults {
		f.Add(e.src)
	}
	for _, src := range []string{`request.body.json().*.a[*]..b == 1`, `request.body.json()..a in ["x"]`, `tcp.rtt > 5ms && tls.cert_expired`, `"x" in findings || finding == "y"`, `cidr(src.ip, "10.0.0.0/8") && limit(5)`, `request.headers.* contains "a"`} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		env := Env{Now: noon, Macros: testMacros(), Findings: testFindings{"x": {1}}}
		q, err := Compile(src, env)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || q != nil || e.Msg == "" || e.Offset < 0 || e.Len < 0 || e.Offset+e.Len > len(e.Source) {
				t.Fatalf("%q: %v, %#v", src, q, err)
			}
			_ = e.Pretty()
		} else {
			where, args := q.SQL()
			if strings.Count(where, "?") < len(args) || where == "" {
				t.Fatalf("%q: SQL %q with %d arguments", src, where, len(args))
			}
			_ = q.Explain(0)
		}
		if e, err := Parse(src); (e == nil) == (err == nil) {
			t.Fatalf("%q: Parse gives %v and %v", src, e, err)
		}
		sameMeaning(t, src, env)
		for _, c := range Complete(src, len(src)/2) {
			if c.Start > c.End {
				t.Fatalf("%q: candidate %+v", src, c)
			}
		}
	})
}
