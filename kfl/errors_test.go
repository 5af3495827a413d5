package kfl

import (
	"errors"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// faults are invalid queries with the column (from 1), the message and the hint.
var faults = []struct {
	why, src string
	col      int
	msg      string
	hint     string
}{
	{"a misspelt field", `http && stats_code >= 500`, 9, "unknown name stats_code", "did you mean status_code?"},
	{"a misspelt dotted field", `request.header["x"] == ""`, 1, "unknown name request.header", "did you mean request.headers?"},
	{"a misspelt part", `src.podd == "x"`, 1, "unknown name src.podd", "did you mean src.pod?"},
	{"a misspelt word", `htpp`, 1, "unknown name htpp", "did you mean http?"},
	{"letters in the wrong order", `protcool == "x"`, 1, "unknown name protcool", "did you mean protocol?"},
	{"a macro is near", `secur`, 1, "unknown name secur", "did you mean secure?"},
	{"nothing near", `xyzzyplugh`, 1, "unknown name xyzzyplugh", ""},
	{"only the beginning of names", `src == "x"`, 1, "src is not a complete field name", "src.container"},
	{"a status in quotes", `status_code == "200"`, 1, "cannot compare a number with text", "write 200 without quotes"},
	{"a text without quotes", `postgresql_error_code == 23505`, 1, "cannot compare text with a number", `write "23505" in quotes`},
	{"a time in quotes", `timestamp > "2026-01-01"`, 1, "cannot compare a time with text", `write timestamp("2026-01-01")`},
	{"a time of day in quotes", `timestamp > "09:24:50"`, 1, "cannot compare a time with text", "with the date"},
	{"true in quotes", `failed == "true"`, 1, "cannot compare a condition with text", "write true without quotes"},
	{"a name without quotes", `http && dst.service == payment`, 24, "unknown name payment", `write http && dst.service == "payment"`},
	{"a word with a dash", `dst.service == order-service`, 16, "unknown name order", `write dst.service == "order-service"`},
	{"a field of an end without its end", `service == payment`, 1, "unknown name service", `write (src.service == "payment" || dst.service == "payment")`},
	{"a field of both ends that must not be", `port != 80`, 1, "unknown name port", `write (src.port != 80 && dst.port != 80)`},
	{"a field with its protocol", `http.method == "GET"`, 6, "http, a condition, has no member method", `write http && method == "GET"`},
	{"a column with its protocol", `kafka.request_size > 3`, 7, "kafka, a condition, has no member request_size", `write kafka_request_size > 3`},
	{"Wireshark's field and no quotes", `http.request.method == GET`, 6, "has no member request", `write http && method == "GET"`},
	{"a member that nothing has", `http.respnse == 1`, 6, "http, a condition, has no member respnse", ""},
	{"a list compared", `dns_questions == "a"`, 1, "cannot compare a list of text with text", `"x" in list`},
	{"a list that contains", `dns_questions.contains("a")`, 15, "cannot apply contains to a list", `"x" in list`},
	{"a map compared", `request.headers == "a"`, 1, "cannot compare a map with text", `map["k"]`},
	{"a number as a condition", `http && size(host)`, 9, "expected a condition, got a number", "compare it"},
	{"text as a condition", `"x"`, 1, "expected a condition, got text", "compare it"},
	{"one equals sign", `status_code = 200`, 13, "unknown operator =", "write == for equality"},
	{"one ampersand", `http & dns`, 6, "unknown operator &", "write &&"},
	{"SQL's unequal", `host <> "x"`, 6, "unknown operator <>", "write !="},
	{"another language's pattern operator", `host !~ "x"`, 6, "unknown operator !~", "x.matches"},
	{"SQL's like", `host like "x%"`, 6, "unexpected like", "x.contains"},
	{"a misspelt infix word", `path contain "x"`, 6, "unexpected contain", "did you mean contains?"},
	{"an open text", `host == "abc`, 9, "text is not closed", `close it with "`},
	{"an open parenthesis", `(http && dns`, 1, "( is not closed", "close it with )"},
	{"an open list", `host in ["a"`, 9, "[ is not closed", "close it with ]"},
	{"one parenthesis too many", `http)`, 5, "), expected an operator or the end", ""},
	{"an operator at the end", `http &&`, 8, "the query ends here, expected a field", ""},
	{"two comparisons", `1 < status_code < 3`, 17, "a second comparison", "&&"},
	{"typographic quotes", `host == “x”`, 9, "unexpected character", "plain quotes"},
	{"a bad escape", `host == "\d"`, 10, "invalid escape", `r"…"`},
	{"a number with a letter", `status_code == 5x`, 16, "number 5x", "500ms"},
	{"a number too large", `status_code == 99999999999999999999`, 16, "does not fit", ""},
	{"an unknown function", `sise(host) == 1`, 1, "unknown function sise", "size(x)"},
	{"a method as a function", `contains(host, "x")`, 1, "unexpected contains", "x.contains"},
	{"an unknown method", `host.startWith("x")`, 6, "unknown method startWith", "startsWith"},
	{"a function of Wireshark", `lower(host) == "x"`, 1, "unknown function lower", "x.lowerAscii()"},
	{"a function of the older language", `redact("x")`, 1, "unknown function redact", "masking"},
	{"too many arguments", `host.contains("a", "b")`, 1, "wrong number of arguments (2) for contains, expected 1", `x.contains("part")`},
	{"an invalid pattern", `host.matches("(")`, 14, "missing closing )", ""},
	{"a glob for a pattern", `host.matches("*.com")`, 14, "missing argument to repetition operator", ".*"},
	{"a pattern from a field", `host.matches(path)`, 14, "expected quoted text", ""},
	{"an address range for ==", `src.ip == "10.0.0.0/8"`, 1, "address range", "src.ip in"},
	{"a number too large for an address", `src.ip == "10.0.0.256"`, 1, "is not an address", "10.0.0.7"},
	{"a name for an address", `dst_ip != "shop"`, 1, "is not an address", "dst.name"},
	{"a name among addresses", `src.ip in ["10.0.0.7", "shop"]`, 24, "is not an address", "10.0.0.7"},
	{"a port that is too large", `dst.port == 70000`, 1, "70000 is not a port", "0 to 65535"},
	{"a port below 0", `src.port in [80, -1]`, 18, "-1 is not a port", "0 to 65535"},
	{"an order with no port", `65536 > dst.port`, 1, "65536 is not a port", "0 to 65535"},
	{"a bad address range", `src.ip in "10.0.0.0/33"`, 11, "address range", "10.0.0.0/8"},
	{"a range of something else", `host in cidr("10.0.0.0/8")`, 1, "text cannot be in an address range", "src.ip"},
	{"in a text", `"a" in host`, 1, "in needs a list or a map, not text", "contains"},
	{"a duration for something else", `status_code > 5s`, 1, "a number", "only time fields"},
	{"a bad time", `timestamp > timestamp("yesterday")`, 23, "invalid time \"yesterday\"", "timestamp("},
	{"a time that does not fit", `timestamp > timestamp("9999-12-31T23:59:59Z")`, 23, "outside the years 1678 to 2261", ""},
	{"a bad duration", `elapsed_time > duration("5 minutes")`, 25, "duration", "500ms"},
	{"arithmetic on text", `host + 1 == "a"`, 1, "text + a number", "string(x)"},
	{"an order of bools", `failed > true`, 1, "bools have no order", ""},
	{"an order with nil", `host > nil`, 1, "nil has no order", "=="},
	{"two types in a list", `status_code in [1, "2"]`, 20, "cannot compare a number with text", "without quotes"},
	{"an exclamation mark before an infix word", `!host contains "x"`, 1, "cannot apply contains to a condition", "!(…)"},
	{"a body searched for an element", `pods.exists(p, request.body contains p)`, 16, "a body cannot be searched for an element", "literal"},
	{"a part of a body", `request.body.order == 1`, 1, "cannot select a part of a body", "json()"},
	{"a step that is not literal", `request.body.json()[host] == 1`, 21, "expected a key", ""},
	{"JSON of a number", `status_code.json().a == 1`, 1, "cannot apply json() to a number", "bodies and text"},
	{"XML of a text", `host.xml().a == 1`, 1, "cannot apply xml() to text", "only on request.body"},
	{"XML compared with a field of the call", `http && request.body.xml().a == host`, 9, "cannot use anything outside that body", "the same body"},
	{"XML compared with the other body", `request.body.xml().a == response.body.xml().a`, 1, "cannot use anything outside that body", "the same body"},
	{"XML compared with an element of a list", `pods.exists(p, request.body.xml().a == p)`, 16, "cannot use anything outside that body", "literal"},
	{"JSON in an XML element", `string(request.body.xml().a).json().b == 1`, 1, "json() does not work inside an XML body", `.contains("x")`},
	{"a step into XML that is not literal", `request.body.xml()[host] == 1`, 20, "expected a name", "@attribute"},
	{"two dots after an element", `request.body.xml().a..b == 1`, 1, ".. works only on a whole body, not on an XML element", "request.body.xml()..b"},
	{"an element compared with a time", `request.body.xml().a == timestamp`, 1, "cannot compare an XML element with a time", ""},
	{"two dots after text", `host..a == 1`, 1, ".. works only on a whole JSON body, not on text", "request.body.json()..a"},
	{"two names after two dots", `request.body.json()..a.b == 1`, 1, "cannot select a part of all values under a", "one name"},
	{"a star after a number", `status_code.* == 1`, 1, "a number has no members", ""},
	{"a star after a body", `request.body.* == 1`, 1, "cannot select a part of a body", "json()"},
	{"a finding without a case", `finding == "x"`, 1, "findings are not available here", "case"},
	{"an invalid limit", `limit(0)`, 7, "expected a number above 0", "limit(100)"},
	{"cidr of a text", `cidr(host, "10.0.0.0/8")`, 6, "text cannot be in an address range", "src.ip"},
	{"cidr of a bad range", `cidr(src.ip, "10.0.0.0/33")`, 14, "address range", "10.0.0.0/8"},
	{"an error in a macro", `bad && http`, 1, "unknown name nothinglikethis", ""},
	{"a macro that refers to itself", `loop`, 1, "refers to itself", ""},
	{"a byte that is not UTF-8", "host == \"\xff\"", 10, "0xff is not valid UTF-8", "escapes"},
	{"an error on the second line", "http\n&& stats_code", 4, "unknown name stats_code", "status_code"},
}

func TestErrorsHavePlaceAndHint(t *testing.T) {
	env := Env{Macros: map[string]string{"secure": "tls", "bad": "nothinglikethis", "loop": "loop2", "loop2": "loop"}}
	for _, f := range faults {
		t.Run(f.why, func(t *testing.T) {
			_, err := Compile(f.src, env)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: error %v, want one", f.src, err)
			}
			if e.Col != f.col || !strings.Contains(e.Msg, f.msg) || !strings.Contains(e.Hint, f.hint) || f.hint == "" && strings.Contains(e.Hint, "did you mean") {
				t.Errorf("%s\ngot  column %d: %q, hint %q\nwant column %d: %q, hint %q", f.src, e.Col, e.Msg, e.Hint, f.col, f.msg, f.hint)
			}
			if e.Offset < 0 || e.Offset+e.Len > len(e.Source) || e.Limit {
				t.Errorf("%s: position %d+%d of %d, limit %v", f.src, e.Offset, e.Len, len(e.Source), e.Limit)
			}
			if p := e.Pretty(); !strings.Contains(p, "^") || !strings.Contains(p, e.Msg) {
				t.Errorf("%s: pretty form lacks caret or message:\n%s", f.src, p)
			}
		})
	}
}

func TestPrettyMarksThePlace(t *testing.T) {
	_, err := Compile("http &&\n\tstats_code > 1", Env{})
	const want = "line 2, column 2: unknown name stats_code, expected a field, a keyword or a macro\n" +
		"  \tstats_code > 1\n" +
		"  \t^^^^^^^^^^\n" +
		"hint: did you mean status_code?\n"
	if got := err.(*Error).Pretty(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPrettyFitsTheScreen puts a mistake at each place of a long line: the marks are under it, on a narrow terminal too.
func TestPrettyFitsTheScreen(t *testing.T) {
	const mistake, term = "stats_code", `path == "/ä" && `
	for before := range 9 {
		for after := range 9 {
			_, err := Compile(strings.Repeat(term, before)+mistake+" > 1"+strings.Repeat(" && http", after), Env{})
			lines := strings.Split(err.(*Error).Pretty(), "\n")
			line, marks := []rune(lines[1]), lines[2]
			if at := strings.Index(marks, "^"); len(line) > 58 || string(line[at:len(marks)]) != mistake {
				t.Errorf("%d terms before and %d after:\n%s\n%s", before, after, lines[1], marks)
			}
		}
	}
	_, err := Compile(strings.Repeat("x", 500)+" == 1", Env{})
	if lines := strings.Split(err.(*Error).Pretty(), "\n"); len([]rune(lines[1])) != 58 || len(lines[2]) != 58 {
		t.Errorf("a long name:\n%s", strings.Join(lines, "\n"))
	}
}

func TestMacroErrorsNameTheMacro(t *testing.T) {
	_, err := Compile("http && mine", Env{Macros: map[string]string{"mine": "status_code == \"1\""}})
	if e := err.(*Error); e.Macro != "mine" || e.Source != "status_code == \"1\"" || !strings.HasPrefix(e.Error(), "macro mine, line 1, column 1: ") {
		t.Errorf("got %v in %q of %q", e, e.Source, e.Macro)
	}
}

// limits are queries that exceed a limit.
var limits = []struct{ why, src string }{
	{"a text too long", "http || " + strings.Repeat(" ", parse.MaxSource) + "dns"},
	{"parentheses too deep", strings.Repeat("(", parse.MaxDepth+1) + "http" + strings.Repeat(")", parse.MaxDepth+1)},
	{"negations too deep", strings.Repeat("!", 5000) + "http"},
	{"words too deep", strings.Repeat("not ", 5000) + "http"},
	{"a sum too deep", "status_code > 1" + strings.Repeat("+1", 5000)},
	{"members too deep", "request.body.json()" + strings.Repeat(".a", 5000)},
	{"ternaries too deep", strings.Repeat("http ? http : ", 5000) + "http"},
	{"lists too deep", "1 in " + strings.Repeat("[", 5000)},
	{"more expressions than allowed", "http" + strings.Repeat("||dns", parse.MaxNodes)},
	{"macros that double", "m0"},
	{"lists in lists", `pods.exists(a, pods.exists(b, pods.exists(c, pods.exists(d, pods.exists(e, true)))))`},
	{"a pattern too long", `host.matches("` + strings.Repeat("a", maxPattern+1) + `")`},
	{"a pattern that grows", `host.matches("((a{100}){10}|\\pL{1000})")`},
	{"a needle longer than the overlap of parts", `request.body contains "` + strings.Repeat("a", maxNeedle+1) + `"`},
	{"SQL that doubles", "src.labels[" + strings.Repeat("src.labels[", 40) + "host" + strings.Repeat("]", 40) + "] == \"\""},
}

func TestLimits(t *testing.T) {
	env := Env{Macros: map[string]string{}}
	for i := range 40 {
		env.Macros["m"+string(rune('0'+i/10))+string(rune('0'+i%10))] = "m" + string(rune('0'+(i+1)/10)) + string(rune('0'+(i+1)%10)) + " && failed && m" + string(rune('0'+(i+1)/10)) + string(rune('0'+(i+1)%10))
	}
	env.Macros["m0"], env.Macros["m40"] = "m00", "http"
	for _, l := range limits {
		t.Run(l.why, func(t *testing.T) {
			_, err := Compile(l.src, env)
			if e, ok := err.(*Error); !ok || !e.Limit {
				t.Errorf("%.60s…: %v, want a limit", l.src, err)
			}
		})
	}
}
