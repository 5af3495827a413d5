package redact

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

func pair(name, value string) wire.Struct {
	return wire.Struct{{Name: "name", Value: name}, {Name: "value", Value: value}}
}

func header(name, value string) wire.Struct {
	return append(pair(name, value), wire.Field{Name: "kind", Value: "request"})
}

// utf16Text returns a text of ASCII in UTF-16, little endian.
func utf16Text(s string) (wide string) {
	for _, c := range s {
		wide += string(c) + "\x00"
	}
	return wide
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
		{"bytes in UTF-16", "bytes", []byte(utf16Text(`{"password":"a"}`)), []byte(utf16Text(`{"password":"[masked]"}`))},
		{"bytes in UTF-16 with a mark", "bytes", []byte("\xfe\xff\x00p\x00i\x00n\x00=\x00a"), []byte("\xfe\xff\x00p\x00i\x00n\x00=" + "\x00[\x00m\x00a\x00s\x00k\x00e\x00d\x00]")},
		{"bytes in UTF-16 without secrets", "bytes", []byte(utf16Text("user: a")), []byte(utf16Text("user: a"))},
		{"MessagePack", "bytes", []byte("\x82\xa8password\xa3abc\xa4user\xa1b"), []byte("\x82\xa8password\xa3[masked]\xa4user\xa1b")},
		{"CBOR", "bytes", []byte("\xa2hpasswordghunter2dusercann"), []byte("\xa2hpassword" + "g[masked]dusercann")},
		{"CBOR with a long value", "bytes", []byte("\xa1etoken\x58\x20" + strings.Repeat("\x01", 32)), []byte("\xa1etoken\x58\x20[masked]")},
		{"CBOR without secrets", "bytes", []byte("\xa1fstatusghunter2\x00"), []byte("\xa1fstatusghunter2\x00")},
		{"a column with a secret name", "password", int64(7), "[masked]"},
		{"a session id of TLS", "session_id", []byte{1, 2}, []byte{1, 2}},
		{"bytes", "bytes", []byte("\x01token=abc"), []byte("\x01token=[masked]")},
		{"a map", "m", wire.Map{{Key: "token", Value: "a"}, {Key: "x", Value: "b"}}, wire.Map{{Key: "token", Value: "[masked]"}, {Key: "x", Value: "b"}}},
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

// TestRepliesOfRedis has replies that only their commands identify as secret.
func TestRepliesOfRedis(t *testing.T) {
	for _, tt := range []struct{ command, reply, want, removed string }{
		{"GET user:1:pin", "4821", "[masked]", "4821"},
		{"HGET user:1 password", "open sesame", "[masked]", "open sesame"},
		{"HMGET user:1 password name", "[abc, ann]", "[masked]", "rest"},
		{"LRANGE user:1:token 0 -1", "[abc]", "[masked]", "rest"},
		{"HGETALL user:1", "{name: ann, password: abc}", "{name: ann, password: [masked]", "abc}"},
		{"SET user:1:pin 4821", "OK", "OK", ""},
		{"GET user:1:token", "(nil)", "(nil)", ""},
		{"AUTH", "new", "new", ""},
		{"GET user:1:name", "ann", "ann", ""},
	} {
		columns, row := []string{"redis_command", "redis_reply"}, []any{tt.command, tt.reply}
		if got := Default().Row(columns, row); got[1] != tt.want {
			t.Errorf("%s: %v, want %s", tt.command, got[1], tt.want)
		}
		if got := (&task{p: Default()}).reply(tt.command, tt.reply); got != tt.want {
			t.Errorf("the reply to %s: %s, want %s", tt.command, got, tt.want)
		}
		r, removed := &Removal{Policy: Default()}, ""
		f := r.Finder(func(_, value, _ string, rest bool) {
			if removed = value; rest {
				removed = "rest"
			}
		})
		if f.Row(columns[1:], row[1:]); removed != "" && tt.removed != "abc}" {
			t.Errorf("%s without its command: %s", tt.reply, removed)
		}
		removed = ""
		if f.reply(tt.command, tt.reply); removed != tt.removed {
			t.Errorf("%s: %s is removed, want %s", tt.command, removed, tt.removed)
		}
	}
}

// TestColumnsOfTablesAreNotSecrets reads the names of all columns: a policy masks by name, and a name
// that only looks secret would take its column out of every masked answer.
func TestColumnsOfTablesAreNotSecrets(t *testing.T) {
	var columns []string
	for _, s := range table.All() {
		for _, c := range s.Columns {
			columns = append(columns, c.Name)
		}
	}
	for _, c := range table.ProtocolColumns() {
		columns = append(columns, c.Name)
	}
	if len(columns) < 1200 {
		t.Fatalf("%d columns", len(columns))
	}
	k := task{p: Default()}
	for _, name := range columns {
		if !isOurs(name) && k.secretColumn(name) {
			t.Errorf("column %s is masked because of its name: add it to ours, or rename it", name)
		}
	}
	if !k.secretColumn("api_key") {
		t.Error("no name is secret")
	}
}

// TestPasswordsOfAddresses has each form of an address with a password in the texts of each kind.
func TestPasswordsOfAddresses(t *testing.T) {
	p := Default()
	for _, form := range []string{"CONNECT bob:%s@host:443", "CONNECT bob:%s@host:443 HTTP/1.1", "bob:%s@10.0.0.7:443", "ann:%s@tcp(db:3306)/x", "ann:%s@unix(/tmp/my.sock)/x", "ann:%s@/x", "sqlserver://u:%s@h", "redis://:%s@h", "rediss://:%s@h:6379/0",
		"amqp://u:%s@h", "mongodb+srv://u:%s@h/x", "postgresql+psycopg2://u:%s@h/x", "jdbc:mysql://u:%s@h/x", "bob:%s@[2001:db8::1]:443", "bob:%s!@host:443", "bob:a/%s==@host:443", "oracle://u:%s@h", "smtp://u:%s@h:25",
		"redis://u:a@%s@h/0", "redis://u:%s@a@h:1", "amqp://u:a/%s@h:5672/v", "amqp://u:%s/a@h", "redis://u:a#%s@h", "redis://u:a?%s@h", "redis://u:ä%s@h", "redis://u:a:%s@[2001:db8::1]:6379", "redis://u:a%%40%s@h", "sip:bob:%s@host", "sips:bob:%s@host:5061;transport=tcp", "ann:ä%s@tcp(db:3306)/x"} {
		const secret = "Zq7Rk2Lw9Xv4"
		for kind, text := range map[string]string{"": "opening " + form + " failed", "plain": form, "application/json": `{"x": "` + form + `"}`, "sql": "INSERT INTO t (a) VALUES ('" + form + "')",
			"application/x-www-form-urlencoded": "a=1&b=" + form, "command": "SET a " + form, "text/yaml": "a:\n  b: " + form + "\n", "text/xml": "<a>" + form + "</a>", "text/csv": "a,b\n1," + form + "\n"} {
			if got, _ := p.Text(kind, strings.Replace(text, "%s", secret, 1)); strings.Contains(got, secret) {
				t.Errorf("%s in %q: %s", form, kind, got)
			}
		}
		for _, column := range []string{"http1_target", "path", "summary", "message", "host", "authority", "error_message", "query_string", "redis_command", "postgresql_query", "text", "endpoint"} {
			if got := p.Value(column, strings.Replace(form, "%s", secret, 1)); strings.Contains(got.(string), secret) {
				t.Errorf("%s in column %s: %s", form, column, got)
			}
		}
	}
	for _, text := range []string{"sip:bob@host:5060", "git@github.com:22", "ann@example.com:443", "at 12:30:45@host:80", "image:1.2@sha256:0123456789abcdef0123456789abcdef", "user:ann@host", "http://host:80/a@b:1",
		"http://[2001:db8::1]:80/x@y", "http://[::1]/a:b@c", "docker://alpine:3.19@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "http://localhost:PORT/users/@me", "http://host:{port}/a@b", "http://host:$PORT/a@b",
		"https://cdn.example.com:8443/@scope/p@1.0", "@scope/name@1.2.3", "ssh://git@host/x", "git@github.com:org/repo", "12:30:15@UTC", "file://C:/a@b", "sip:bob@host:5060;transport=tcp", "sips:bob@host", "'http://h:x/y','bob@h'", "https://host:443 bob@h"} {
		if got, _ := p.Text("", text); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
}
