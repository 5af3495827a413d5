package redact

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

func pair(name, value string) duck.Struct {
	return duck.Struct{{Name: "name", Value: name}, {Name: "value", Value: value}}
}

func header(name, value string) duck.Struct {
	return append(pair(name, value), duck.Field{Name: "kind", Value: "request"})
}

func TestValue(t *testing.T) {
	for _, tt := range []struct {
		name, column string
		in, want     any
	}{
		{"nothing", "x", nil, nil},
		{"a number", "status_code", int64(200), int64(200)},
		{"headers", "headers", []any{header("Authorization", "Bearer x"), header("Host", "a")}, []any{header("Authorization", "Bearer [masked]"), header("Host", "a")}},
		{"a token in a header of its own", "headers", []any{header("X-Trace", "ghp_a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1")}, []any{header("X-Trace", "ghp_[masked]")}},
		{"labels by their names", "src_labels", []any{pair("app", "a"), pair("api-key", "b")}, []any{pair("app", "a"), pair("api-key", "[masked]")}},
		{"a query", "query_string", "a=1&token=2", "a=1&token=[masked]"},
		{"a target", "http1_target", "http://x/y?token=2", "http://x/y?token=[masked]"},
		{"a body", "text", `{"password":"a"}`, `{"password":"[masked]"}`},
		{"a statement", "postgresql_query", "SELECT 1 WHERE password = 'a'", "SELECT 1 WHERE password = '[masked]'"},
		{"a command of Redis", "redis_command", "AUTH a", "AUTH [masked]"},
		{"arguments of a process", "src_command", []any{"app", "--password=a"}, []any{"app", "--password=[masked]"}},
		{"arguments in two words", "command", []any{"app", "--password", "a"}, []any{"app", "--password", "[masked]"}},
		{"a program file", "exe", "/usr/bin/token:x", "/usr/bin/token:x"},
		{"a log text", "message", "cannot log in: password=a", "cannot log in: password=[masked]"},
		{"a column with a secret name", "password", int64(7), "[masked]"},
		{"a session id of TLS", "session_id", []byte{1, 2}, []byte{1, 2}},
		{"bytes", "bytes", []byte("\x01token=abc"), []byte("\x01token=[masked]")},
		{"a map", "m", duck.Map{{Key: "token", Value: "a"}, {Key: "x", Value: "b"}}, duck.Map{{Key: "token", Value: "[masked]"}, {Key: "x", Value: "b"}}},
		{"values of JSON", "v", map[string]any{"a": []any{map[string]any{"secret": 5.0}}}, map[string]any{"a": []any{map[string]any{"secret": "[masked]"}}}},
	} {
		if got := Default().Value(tt.column, tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRow(t *testing.T) {
	got := Default().Row([]string{"postgresql_query", "postgresql_params", "postgresql_columns", "postgresql_preview"},
		[]any{"SELECT id, secret FROM t WHERE token = $1", []any{"abc"}, []any{"id", "secret"}, "1\tx\n2\t\\N"})
	want := []any{"SELECT id, secret FROM t WHERE token = $1", []any{"[masked]"}, []any{"id", "secret"}, "1\t[masked]\n2\t\\N"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestSQL holds that views mask what the functions mask.
func TestSQL(t *testing.T) {
	db, err := duck.Open(context.Background(), duck.Options{MemoryLimit: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ask := func(sql string, arg string) any {
		rows, err := db.Query(context.Background(), sql, arg)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
		v, err := rows.Value(0)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	own, err := Parse([]byte("version: 1\nextends: none\nheaders: ['x-%_*']\nkeys: ['it''s_*']\nmask: xx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Policy{Default(), own} {
		for _, q := range []string{"", "a", "a=1&b=2", "token=1&x=2", "pass%77ord=a&x", "access_token=&b=1", "Api-Key=a;b=c", "/x?token=1", "page_token=a", "a=b=c&&token=1=2", "it's_x=1", "itsx=1"} {
			if got, want := ask("SELECT "+p.QuerySQL("q")+" FROM (SELECT ?::VARCHAR AS q)", q), p.Query(q); got != want {
				t.Errorf("query %s: %v, want %v", q, got, want)
			}
		}
		for _, h := range []string{"Authorization", "X-Auth-User", "x-vault-token", "Host", "x-%_y", "x-aby"} {
			for _, v := range []string{"", "abc", "Bearer abc"} {
				got := ask("SELECT "+p.HeadersSQL("q")+"[1].value FROM (SELECT [{'name': ?, 'value': '"+v+"', 'kind': 'request'}] AS q)", h)
				if want := p.Header(h, v); got != want {
					t.Errorf("header %s: %v, want %v", h, got, want)
				}
			}
		}
	}
}

// TestViewsInGo holds that what a view masks is masked alike in Go, whatever the text.
func TestViewsInGo(t *testing.T) {
	db, err := duck.Open(context.Background(), duck.Options{MemoryLimit: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	own, err := Parse([]byte("version: 1\nextends: none\nheaders: ['x-%_*', 'é*']\nkeys: ['it''s_*', 'tok*en', 'k']\nexcept: ['tok_x_en']\nmask: xx"))
	if err != nil {
		t.Fatal(err)
	}
	pieces := []string{"token", "Api-Key", "pass%77ord", "%", "%4", "%e9", "%C3%A9", "%zz", "%+1", "%26", "=", "=", "&", "&", ";", "#", "?", ".", "[", "]", "-", "_", " ", "\n", "É", "\u212a", "\u0130", "1", "abc", "sid", "page_token", "tok_x_en", "it's_x", "Bearer ", "", "Basic"}
	r := rand.New(rand.NewPCG(3, 5))
	some := func() (s string) {
		for range r.IntN(7) {
			s += pieces[r.IntN(len(pieces))]
		}
		return s
	}
	names := []string{"Authorization", "PROXY-authorization", "x-vault-token", "X-%_Y", "\u212aey", "ÉTÉ", "host", "Cookie", strings.Repeat("x", 300) + "-token"}
	for _, p := range []*Policy{Default(), own} {
		sql := "SELECT " + p.QuerySQL("q") + ", " + p.HeadersSQL("list") + "[1].value FROM (SELECT ?::VARCHAR AS q, [{'name': ?, 'value': ?, 'kind': 'request'}] AS list)"
		for range 1500 {
			query, name, value := some(), names[r.IntN(len(names))], some()
			rows, err := db.Query(context.Background(), sql, query, name, value)
			if err != nil {
				t.Fatal(err)
			}
			row := make([]any, 2)
			if !rows.Next() || rows.Row(row) != nil {
				t.Fatal(rows.Err())
			}
			rows.Close()
			if got := p.QueryView(query); got != row[0] {
				t.Errorf("query %q: %q, SQL has %q", query, got, row[0])
			}
			if got := p.HeaderView(name, value); got != row[1] {
				t.Errorf("header %q: %q: %q, SQL has %q", name, value, got, row[1])
			}
		}
	}
}
