package kfl

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// gen generates rows and queries from a small stock of values, so that they often match.
type gen struct {
	*rand.Rand
	vars []genVar
	body bool     // a condition on a body is allowed here
	only []string // if set, the only fields
}

type genVar struct {
	name string
	kind kind
}

func pick[T any](g *gen, of ...T) T { return of[g.IntN(len(of))] }

var stockTexts = []string{"", "a", "b", "GET", "checkout", "payment-1", "frontend-abc", "a,b", "100%", "x_y", "é", "日本", "éa-", "A", "5", "05", "-7", "1.5", "1e3", "'", "\"", "\\", "a\nb", "\t", "😀", "K", "10.0.0.1", "%41", "--", "$1", "?", "@"}

var stockInts = []int64{0, 1, -1, 2, 5, 200, 404, 500, 503, 999999, 1 << 31, 1<<53 - 1, 1 << 53, 1<<53 + 1, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, 86_399_999_999_999}

var stockAddresses = []string{"10.0.0.1", "10.200.3.4", "172.16.0.1", "172.31.255.255", "172.32.0.0", "2.0.0.1", "::", "::1", "fe80::1", "fd00:1:2:3:4:5:6:7", "2001:db8::", "2001:db8:0:1::2", "::ffff:10.0.0.1", "1::8", "255.255.255.255", "0.0.0.0"}

var stockRanges = []string{"10.0.0.0/8", "172.16.0.0/12", "0.0.0.0/0", "::/0", "fe80::/10", "2001:db8::/33", "10.0.0.1/32", "::ffff:0:0/96", "::1/128", "192.0.0.0/3", "10.200.0.0/15", "fd00:1:2:3::/65"}

var stockDocs = []string{
	`{"a":1,"b":{"c":"x","d":[1,"a",null,true,2.5]},"e":null}`, `[1,2,{"a":"a"}]`, `"a"`, `5`, `{"a":"5","a":6}`, `{"a":1e400,"b":-0,"c":9007199254740993,"d":123456789012345678901}`,
	`{"a":true,"b":false}`, `not json`, ``, `{"a":[{"c":1},{"c":"x"},[]],"":5,"a/b":7,"~":8}`, `{"a":"\u00e9\ud83d\ude00\n"}`, `{"a":1,}`, `[1,]`, `{"a":NaN,"b":-Infinity,"c":nan}`, ` {"a" : 1 } `, `{"a":01}`, "{\"a\":\"\t\"}",
	"\x00\x01binary a", "\xff\xfeGET", "payment-1 checkout", "a\nb", `{"a":0.1,"b":1E2,"c":-5}`,
}

func (g *gen) text() string {
	if g.IntN(4) == 0 {
		return pick(g, stockTexts...) + pick(g, stockTexts...)
	}
	return pick(g, stockTexts...)
}

func (g *gen) row() *testRow {
	r := row(map[string]any{})
	for _, f := range names().fields {
		if f.kind == srcLabels && g.IntN(3) > 0 {
			p := []pair{}
			for range g.IntN(3) {
				p = append(p, pair{pick(g, "app", "team", "App", ""), g.text()})
			}
			r.set(f.arg, p)
		}
		if f.kind != srcColumn || g.IntN(3) == 0 {
			continue
		}
		switch {
		case f.arg == "summary":
			doc := pick(g, stockDocs...)
			if utf8.ValidString(doc) && !strings.Contains(doc, "\x00") {
				r.text(f.arg, doc)
			}
		case f.typ.text == textIP:
			r.text(f.arg, pick(g, stockAddresses...))
		case f.arg == "protocol":
			r.text(f.arg, pick(g, "http1", "http2", "grpc", "dns", "redis", "tcp", "tls", "udp"))
		case f.arg == "query_string":
			r.text(f.arg, pick(g, "", "a=1", "a=1&a=2&b", "a=%41%zz&%61=x+y", "=&==&a==b", "k=%FF&a=%4", "%%41=a", "a=%00b", "é=日"))
		case strings.HasSuffix(f.arg, "_body_sha256"), strings.HasSuffix(f.arg, "_body_size"):
		case f.typ.text == textHex, f.typ.kind == kBytes:
			r.set(f.arg, []byte(pick(g, "", "\x00", "\xab\xcd", "GET /", "\x4a\x4b")))
		case f.arg == "status_code" || strings.HasSuffix(f.arg, "_port"):
			r.set(f.arg, pick[int64](g, 0, 3, 200, 404, 500, 503, 65535))
		default:
			switch f.typ.kind {
			case kBool:
				r.set(f.arg, g.IntN(2) == 0)
			case kInt, kTime:
				r.set(f.arg, pick(g, stockInts...))
			case kText:
				r.text(f.arg, g.text())
			case kList:
				l := []string{}
				for range g.IntN(4) {
					l = append(l, g.text())
				}
				r.set(f.arg, l)
			}
		}
	}
	if g.IntN(4) > 0 {
		h := []header{}
		for range g.IntN(6) {
			h = append(h, header{pick(g, "Accept", "accept", "Cookie", "cookie", "Set-Cookie", "X-É", "x-Kk", "x-\u212aK", "ACCEP\u0130"), pick(g, g.text(), "a=1; b = 2;; c", "a=5; Path=/", " a = x "),
				pick(g, "request", "response", "request_trailer", "response_trailer", "push")})
		}
		r.set("headers", h)
	}
	for _, side := range []string{"request", "response"} {
		if g.IntN(3) == 0 {
			continue
		}
		b := pick(g, stockDocs...)
		r.body(side, b)
	}
	return r
}

// value returns a value for a column of another table, sometimes absent.
func (g *gen) value(column string, f *field) any {
	if g.IntN(4) == 0 {
		return nil
	}
	switch {
	case f.typ.text == textHex:
		return []byte(pick(g, "\x00", "\xab\xcd"))
	case f.typ.kind == kBool:
		return g.IntN(2) == 0
	case f.typ.kind == kInt, f.typ.kind == kTime:
		return pick(g, stockInts...)
	case f.typ.kind == kList:
		return []string{g.text()}
	}
	return g.text()
}

// fieldOf returns a random name of a field of the kind.
func (g *gen) fieldOf(k kind) string {
	var all []string
	for _, f := range names().fields {
		if g.only != nil {
			if f.typ.kind == k && slices.Contains(g.only, f.name) {
				all = append(all, f.name)
			}
		} else if f.typ.kind == k {
			all = append(append(all, f.name), f.aliases...)
		}
	}
	switch {
	case len(all) > 0:
	case k == kBool:
		kind := pick(g, kInt, kText)
		return "(" + g.leaf(kind) + pick(g, " == ", " < ", " >= ") + g.leaf(kind) + ")"
	default:
		return "nil"
	}
	return pick(g, all...)
}

func (g *gen) varOf(k kind) string {
	var all []string
	for _, v := range g.vars {
		if v.kind == k {
			all = append(all, v.name)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return pick(g, all...)
}

// expr writes an expression of the kind.
func (g *gen) expr(k kind, depth int) string {
	if v := g.varOf(k); v != "" && g.IntN(2) == 0 {
		return v
	}
	if depth <= 0 {
		return g.leaf(k)
	}
	d := depth - 1
	if g.IntN(8) == 0 && k != kMap && k != kBody && k != kJSON && k != kList && k != kBytes {
		return fmt.Sprintf("(%s ? %s : %s)", g.expr(kBool, d), g.expr(k, d), pick(g, g.expr(k, d), "nil"))
	}
	switch k {
	case kInt:
		return pick(g, func() string { return g.leaf(k) }, func() string { return g.leaf(k) },
			func() string {
				return "(" + g.expr(k, d) + pick(g, " + ", " - ", " * ", " / ", " % ") + g.expr(k, d) + ")"
			},
			func() string { return "size(" + g.expr(pick(g, kText, kList, kMap, kBytes), d) + ")" },
			func() string { return "-(" + g.expr(k, d) + ")" },
			func() string {
				return g.expr(kText, d) + `.indexOf(` + parse.Quote(pick(g, "a", "é", "日本", "payment", "-")) + ")"
			},
			func() string { return "int(" + g.expr(pick(g, kText, kFloat), d) + ")" },
			func() string { return g.expr(kTime, d) + "." + pick(g, "getHours()", "getSeconds()", "getDayOfWeek()") })()
	case kFloat:
		return pick(g, func() string { return g.leaf(k) },
			func() string {
				return "(" + g.expr(k, d) + pick(g, " + ", " - ", " * ", " / ") + g.expr(pick(g, kInt, kFloat), d) + ")"
			},
			func() string { return "double(" + g.expr(pick(g, kText, kInt), d) + ")" })()
	case kText:
		return pick(g, func() string { return g.leaf(k) }, func() string { return g.leaf(k) },
			func() string { return "(" + g.expr(k, d) + " + " + g.expr(k, d) + ")" },
			func() string { return g.expr(kMap, d) + "[" + g.key(d) + "]" },
			func() string { return "map_get(" + g.expr(kMap, d) + ", " + g.key(d) + ", " + g.expr(k, d) + ")" },
			func() string { return g.expr(kList, d) + "[" + pick(g, "0", "1", "-1", g.expr(kInt, d)) + "]" },
			func() string { return "string(" + g.expr(kInt, d) + ")" },
			func() string {
				return g.expr(k, d) + pick(g, ".lowerAscii()", ".upperAscii()", ".trim()", `.replace("a", "é")`, `.split(",").join("|")`, ".substring("+g.expr(kInt, d)+")", ".substring(0, 2)", ".substring(1, 1)")
			},
			func() string { return g.expr(kList, d) + ".join(" + parse.Quote(g.text()) + ")" })()
	case kTime:
		return pick(g, func() string { return g.leaf(k) }, func() string { return "(" + g.expr(k, d) + pick(g, " + ", " - ") + g.expr(kDuration, d) + ")" })()
	case kDuration:
		return pick(g, func() string { return g.leaf(k) }, func() string { return "(" + g.expr(kTime, d) + " - " + g.expr(kTime, d) + ")" },
			func() string { return "(" + g.expr(k, d) + " * " + g.expr(kInt, d) + ")" })()
	case kList:
		return pick(g, func() string { return g.leaf(k) }, func() string { return "[" + g.expr(kText, d) + ", " + g.expr(kText, d) + "]" },
			func() string {
				return pick(g, "dns_answers", "request.headers", "src.labels", "pods") + pick(g, ".*", "[*]")
			},
			func() string { return g.over(g.expr(k, d), kText, "filter", kBool, d) }, func() string { return g.over(g.expr(k, d), kText, "map", kText, d) })()
	case kJSON:
		s := g.leaf(k)
		for range g.IntN(3) {
			s += pick(g, ".a", ".b", ".c", "[0]", "[1]", `["a/b"]`, `[""]`, ".d", "[2]", `["~"]`, ".*", "[*]")
		}
		return s
	case kBool:
		return g.condition(d)
	}
	return g.leaf(k)
}

func (g *gen) key(d int) string {
	return pick(g, `"a"`, `"accept"`, `"ACCEPT"`, `"app"`, `"x-é"`, `"x-É"`, `""`, `"X-kK"`, g.expr(kText, min(d, 1)))
}

// over writes a macro over a list.
func (g *gen) over(list string, of kind, macro string, result kind, d int) string {
	if len(g.vars) >= maxVars {
		return g.leaf(kList)
	}
	v := genVar{"v" + strconv.Itoa(len(g.vars)), of}
	g.vars = append(g.vars, v)
	body := g.body
	g.body = false
	s := fmt.Sprintf("%s.%s(%s, %s)", list, macro, v.name, g.expr(result, d))
	g.body = body
	g.vars = g.vars[:len(g.vars)-1]
	return s
}

func (g *gen) condition(d int) string {
	e := func(k kind) string { return g.expr(k, d) }
	order := pick(g, " == ", " != ", " < ", " <= ", " > ", " >= ")
	is := pick(g, " == ", " != ")
	switch g.IntN(27) {
	case 24:
		return pick(g, `"a" in findings`, `finding == "b"`, "findings", `finding in ["a", "b"]`, "!finding")
	case 25:
		return "cidr(" + pick(g, "src.ip", "dst.ip") + ", " + strconv.Quote(pick(g, stockRanges...)) + ")"
	case 26:
		if g.body && len(g.vars) == 0 {
			deep := pick(g, "request", "response") + ".body.json().." + pick(g, "a", "b", "c", "id", "sku")
			return pick(g, deep, "("+deep+order+g.leaf(pick(g, kInt, kText))+")", "("+deep+` contains "a")`, "("+g.leaf(kText)+" in "+deep+")", "("+deep+` in ["a", "b", 5])`)
		}
		return "(" + pick(g, "dns_answers", "src.labels", "request.headers") + ".*" + pick(g, order, " contains ") + g.leaf(kText) + ")"
	case 0, 1, 2:
		return "(" + e(kBool) + pick(g, " && ", " and ", " AND ") + e(kBool) + ")"
	case 3, 4:
		return "(" + e(kBool) + pick(g, " || ", " or ") + e(kBool) + ")"
	case 5:
		return "!(" + e(kBool) + ")"
	case 6:
		return "(" + e(kInt) + order + e(pick(g, kInt, kFloat)) + ")"
	case 7:
		return "(" + e(kText) + order + e(kText) + ")"
	case 8:
		return "(" + e(kFloat) + order + e(pick(g, kInt, kFloat)) + ")"
	case 9:
		return "(" + e(kTime) + order + e(kTime) + ")"
	case 10:
		return "(" + pick(g, "elapsed_time", "ts_ns", "latency_ms", e(kDuration)) + order + e(kDuration) + ")"
	case 11:
		return "(" + e(kText) + pick(g, ".contains(", ".startsWith(", ".endsWith(") + e(kText) + "))"
	case 12:
		return e(kText) + ".matches(" + pick(g, `"^a"`, `"[a-c]+.x"`, `"(?i)k"`, `r"\d"`, `r"^\pL$"`, `"a.b"`, `"(?s)a.b"`, `"$"`, `"(?m)^b$"`, `r"\bGET\b"`, `r"[^\w]"`, `""`) + ")"
	case 13:
		return "(" + e(kText) + pick(g, " in ", " not in ") + e(pick(g, kList, kMap)) + ")"
	case 14:
		return "(" + e(kInt) + pick(g, " in ", " not in ") + "[" + e(kInt) + ", " + e(kInt) + ", 200])"
	case 15:
		return "(" + pick(g, "src.ip", "dst.ip") + pick(g, " in ", " not in ") + pick(g, strconv.Quote(pick(g, stockRanges...)), "["+strconv.Quote(pick(g, stockRanges...))+", "+strconv.Quote(pick(g, stockAddresses...))+"]") + ")"
	case 16:
		return "(" + e(kBool) + is + e(kBool) + ")"
	case 17:
		return g.over(e(kList), kText, pick(g, "exists", "all", "exists_one"), kBool, d)
	case 18:
		return pick(g, g.fieldOf(pick(g, kText, kInt, kList, kMap, kBytes, kBody, kTime)), "has("+g.fieldOf(pick(g, kText, kInt, kList, kBool))+")", e(kMap)+"["+g.key(d)+"]")
	case 19:
		return "(" + g.fieldOf(kBytes) + pick(g, " contains ", " startsWith ", " endsWith ", " == ", " != ") + e(kText) + ")"
	case 20:
		return "(" + g.fieldOf(pick(g, kText, kInt, kList, kBool, kMap)) + is + "nil)"
	}
	if !g.body {
		return "(" + e(kText) + is + e(kText) + ")"
	}
	switch g.IntN(8) {
	case 0:
		return "(" + e(kBody) + pick(g, " contains ", " startsWith ", " endsWith ", " == ", " != ") + e(kText) + ")"
	case 1:
		return e(kBody) + ".matches(" + pick(g, `"a"`, `"^.{3}$"`, `"[0-9]+"`) + ")"
	case 2:
		return "(" + e(kJSON) + order + e(pick(g, kInt, kFloat, kText)) + ")"
	case 3:
		return "(" + e(kJSON) + is + e(pick(g, kJSON, kBool)) + ")"
	case 4:
		return e(kJSON)
	case 5:
		list := e(kJSON)
		g.vars = append(g.vars, genVar{"j", kJSON})
		g.body = false
		s := list + pick(g, ".exists(", ".all(", ".exists_one(") + "j, " + g.condition(0) + " || j" + pick(g, "", ".c") + order + g.leaf(pick(g, kInt, kText)) + ")"
		g.body, g.vars = true, g.vars[:len(g.vars)-1]
		return s
	case 6:
		return "(" + g.leaf(pick(g, kInt, kText)) + " in " + e(kJSON) + ")"
	}
	return "(size(" + e(pick(g, kJSON, kBody)) + ")" + order + e(kInt) + ")"
}

func (g *gen) leaf(k kind) string {
	literal := g.IntN(2) == 0
	switch k {
	case kInt:
		if literal {
			return strconv.FormatInt(pick(g, stockInts...), 10)
		}
	case kFloat:
		return pick(g, "0.5", "1e3", "-2.25", "1e308", "0.0", "latency_ms", "503.0")
	case kText:
		if literal {
			return parse.Quote(g.text())
		}
	case kTime:
		return pick(g, "timestamp", "ts", "now()", `timestamp("2026-01-01T00:00:00Z")`, "hours(-1)")
	case kDuration:
		return pick(g, "5ms", "1h", "-3s", `duration("1d")`, "900ns")
	case kList:
		return pick(g, "dns_questions", "dns_answers", "namespaces", "pods", "conn_l7_detected", `["a", "b"]`, "[]", "src.labels.map(k, k)")
	case kMap:
		return pick(g, "request.headers", "response.headers", "request.cookies", "response.cookies", "query_string", "src.labels", "dst.labels", "local_annotations", "response.trailers")
	case kBody:
		return pick(g, "request.body", "response.body")
	case kJSON:
		if v := g.varOf(kJSON); v != "" {
			return v
		}
		return pick(g, "request.body.json()", "response.body.json()", "request.body.json()", "summary.json()")
	}
	return g.fieldOf(k)
}

// TestGeneratedQueries runs generated queries. None fails or is NULL, the calls that do not match a query
// are those that match its negation, and SQL with literals and the matcher match the same calls as SQL with arguments.
func TestGeneratedQueries(t *testing.T) {
	const rowCount, atOnce = 120, 8
	queryCount := nightly.Of(150, 1000)
	g := &gen{Rand: rand.New(rand.NewPCG(7, 11)), body: true}
	var rows []*testRow
	for i := range rowCount {
		r := g.row()
		r.set("call_no", i)
		r.set("flow_id", int64(g.IntN(40)))
		r.set("conn_id", int64(g.IntN(40)))
		rows = append(rows, r)
	}
	db := duck(t, rows)
	fill(t, db, rows, g.value)
	env := Env{Now: noon, Macros: testMacros(), Findings: testFindings{"a": {1, 5, 7}, "b": {5, 100, 1 << 50}}}
	var queries []*Query
	refused, hits := 0, 0
	for range queryCount {
		src := g.expr(kBool, 1+g.IntN(4))
		q, err := Compile(src, env)
		if err != nil {
			refused++
			if e := err.(*Error); !e.Limit && refused < 10 {
				t.Logf("refused: %s\n%v", src, err)
			}
			continue
		}
		not, err := Compile("!("+src+")", env)
		if err != nil {
			t.Fatalf("!(%s): %v", src, err)
		}
		literal, err := q.SQLIn("duckdb")
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		queries = append(queries, q, not, &Query{src: src, where: frag{sql: literal}})
	}
	for some := range slices.Chunk(queries, 3*atOnce) {
		got, err := answers(db, rowCount, some...)
		if err != nil {
			t.Fatal(err)
		}
		for k := 0; k < len(some); k += 3 {
			for i := range rows {
				if got[k][i] {
					hits++
				}
				if got[k][i] == got[k+1][i] || got[k][i] != got[k+2][i] {
					t.Fatalf("%s\nrow %d: %v, its negation %v, with literals %v", some[k].src, i, got[k][i], got[k+1][i], got[k+2][i])
				}
				if m := some[k].Match(rows[i]); m != got[k][i] {
					t.Fatalf("%s\nrow %d: SQL says %v, the matcher %v", some[k].src, i, got[k][i], m)
				}
			}
		}
	}
	t.Logf("%d queries on %d rows each, %d answers were true, %d queries were refused", len(queries)/3, rowCount, hits, refused)
	if len(queries)/3 < queryCount*9/10 {
		t.Errorf("only %d of %d generated queries compile", len(queries)/3, queryCount)
	}
}

// TestFoldingAgrees: constants are evaluated here and columns by DuckDB, and the results are equal.
func TestFoldingAgrees(t *testing.T) {
	columns := map[string]kind{"host": kText, "method": kText, "path": kText, "summary": kText, "elapsed_us": kInt, "request_bytes": kInt, "conn_id": kInt}
	g := &gen{Rand: rand.New(rand.NewPCG(5, 23)), only: slices.Sorted(maps.Keys(columns))}
	var rows []*testRow
	var constants []*strings.Replacer // names with the literals of a row
	for range 40 {
		var literals []string
		r := row(map[string]any{})
		for _, name := range g.only {
			var v any = g.text()
			literal := parse.Quote(v.(string))
			if columns[name] == kInt {
				v = pick(g, stockInts...)
				literal = fmt.Sprintf("int(%q)", fmt.Sprint(v)) // the least integer has no literal
			}
			literals = append(literals, name, literal)
			r.set(name, v)
		}
		rows, constants = append(rows, r), append(constants, strings.NewReplacer(literals...))
	}
	var queries []*Query
	for tried := 0; len(queries) < 400 && tried < 20_000; tried++ {
		q, err := Compile(g.expr(kBool, 1+g.IntN(4)), Env{Now: noon})
		if err == nil && len(q.Columns()) > 0 && !slices.ContainsFunc(q.Columns(), func(c string) bool { return columns[c] == kNil }) {
			queries = append(queries, q)
		}
	}
	db, run := duck(t, rows), 0
	for some := range slices.Chunk(queries, 20) {
		got, err := answers(db, len(rows), some...)
		if err != nil {
			t.Fatal(err)
		}
		for k, q := range some {
			for i := range rows {
				src := constants[i].Replace(q.src)
				folded, err := Compile(src, Env{Now: noon})
				if err != nil || folded.root.op != opConst {
					continue
				}
				if run++; got[k][i] != (folded.root.num != 0) {
					t.Errorf("%s is %v, but with constants, %s, %v", q.src, got[k][i], src, !got[k][i])
				}
			}
		}
	}
	if run < 8_000 {
		t.Errorf("only %d conditions are constant", run)
	}
}
