package kfl

import (
	"errors"
	"strings"
	"testing"
)

func TestParseMacros(t *testing.T) {
	got, err := ParseMacros("# ours\nslow := elapsed_time > 2s # long\nhttps: tls and (http or http2)\nquoted: \"host == \\\"a\\\"\"\nsingle: 'host == \"a\"'\n\nblock: >\n  http &&\n  slow\n" +
		"team.mine :=\n  src.ns == \"mine\"\n  || dst.ns == \"mine\"\n// end\nlimit_ms := 500\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"slow": "elapsed_time > 2s", "https": "tls && (http || http2)", "quoted": `host == "a"`, "single": `host == "a"`, "block": "http && slow",
		"team.mine": `src.ns == "mine" || dst.ns == "mine"`, "limit_ms": "500"} {
		text, err := Format(got[name])
		if name == "slow" {
			_, text, _ = strings.Cut(text, "\n") // skip its comment
		}
		if err != nil || text != want {
			t.Errorf("%s is %q, %v, want %q", name, text, err, want)
		}
	}
	if list := CheckMacros(Env{Macros: got}); len(list) > 0 {
		t.Error(list)
	}
	q, err := Compile("block && team.mine && latency_ms > limit_ms", Env{Macros: got})
	if err != nil || len(q.Columns()) == 0 {
		t.Errorf("%v", err)
	}
}

func TestParseMacrosRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		line       int
		macro, msg string
	}{
		{"a line without an assignment", "# x\nslow elapsed_time", 2, "", "missing :="},
		{"an invalid name", "a b := http", 1, "", "invalid macro name"},
		{"a name that is a keyword", "and := http", 1, "", "invalid macro name"},
		{"a name that is an infix word", "contains := http", 1, "", "invalid macro name"},
		{"a repeated name", "a := http\na := dns", 2, "", "defined twice"},
		{"an empty macro", "\na :=", 2, "", "macro a is empty"},
		{"a definition that is not KFL", "a := http &&\n  && dns", 2, "a", "expected a field"},
		{"text before the first macro", "  http", 1, "", "missing :="},
	} {
		_, err := ParseMacros(tt.file)
		var e *Error
		if !errors.As(err, &e) || e.Line != tt.line || e.Macro != tt.macro || !strings.Contains(e.Msg, tt.msg) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	many := strings.Repeat("a", maxMacroFile+1)
	var e *Error
	if _, err := ParseMacros(many); !errors.As(err, &e) || !e.Limit {
		t.Errorf("a large file: %v", err)
	}
}

func TestRecursiveMacros(t *testing.T) {
	macros, err := ParseMacros("a := b && http\nb := dns ||\n  c\nc := a\nhttp := http || grpc\nok := http")
	if err != nil {
		t.Fatal(err)
	}
	list := CheckMacros(Env{Macros: macros})
	if len(list) != 3 {
		t.Fatalf("%d faults: %v", len(list), list)
	}
	if e := list[0]; e.Macro != "c" || e.Source != "a" || !strings.Contains(e.Msg, "macro a refers to itself") {
		t.Errorf("%v in %q", e, e.Source)
	}
	if _, err := Compile("ok", Env{Macros: macros}); err != nil {
		t.Errorf("a macro that uses the field of its name: %v", err)
	}
}

func TestCompleteUsesTheEnvironment(t *testing.T) {
	env := Env{Macros: map[string]string{"slow": "http"}, Columns: map[string]string{"my_column": "BIGINT"}, Findings: testFindings{"weak-tls": nil, "pii": nil}}
	for _, tt := range []struct{ src, want, kind string }{
		{"http && sl", "slow", "macro"}, {"my_c", "my_column", "column"}, {`finding == "we`, "weak-tls", "value"}, {"tcp.ret", "tcp.retransmissions", "field"}, {"tls.cert_n", "tls.cert_not_after", "field"},
	} {
		found := false
		for _, c := range CompleteIn(tt.src, len(tt.src), env) {
			found = found || c.Text == tt.want && c.Kind == tt.kind && c.End == len(tt.src)
		}
		if !found {
			t.Errorf("%q lacks %s %s: %v", tt.src, tt.kind, tt.want, CompleteIn(tt.src, len(tt.src), env))
		}
	}
}

func FuzzParseMacros(f *testing.F) {
	f.Add("a := http\nb: 'x'\n  y")
	f.Add("a: >\n  http")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMacros(s)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		var e *Error
		if errors.As(err, &e) {
			_ = e.Pretty()
		}
		CheckMacros(Env{Macros: m})
	})
}
