package mcp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/leaktest"
)

// leaks fails the test if a text contains a secret.
func leaks(t *testing.T, where, text string, secrets []leaktest.Secret) {
	t.Helper()
	if shown := leaktest.Shown(text, secrets); shown != "" {
		t.Errorf("%s shows %s", where, shown)
	}
}

// hostileSQL transforms secrets in SQL.
var hostileSQL = []string{
	"select * exclude (cites) from calls", "select path from calls", "select reverse(path) p from calls", "select upper(path) p, lower(path) q from calls", "select hex(path::blob) p from calls",
	"select base64(path::blob) p from calls", "select url_encode(path) p from calls", "select summary from calls", "select reverse(summary) p from calls", "select user_agent u from calls",
	"select h.value v from (select unnest(headers) h from calls)", "select reverse(h.value) v from (select unnest(headers) h from calls)", "select to_json(headers) j from calls", "select headers::varchar h from calls",
	"select text from bodies", "select reverse(text) t from bodies", "select base64(text::blob) t from bodies", "select hex(text::blob) t from bodies", "select string_agg(text, ' ') t from bodies", "select bytes from bodies",
	"select {'a': [text]} s from bodies", "select map {text: 1} m from bodies", "select replace(text, 'it was ', 'x') t from bodies", "select http1_target t from calls", "select reverse(query_string) q from calls",
	"select text as password from bodies", "select 'x' || path || 'y' from calls group by all", "select list(path) l from calls", "select error(path) from calls", "select path::integer from calls",
}

// TestNoTableContainsASecret looks for parts of the secrets in every column of every table,
// because SQL could cut a secret into pieces that masking cannot recognize.
func TestNoTableContainsASecret(t *testing.T) {
	path, secrets := leaktest.Bundle(t)
	c, err := forensics.Open(t.Context(), []string{path}, forensics.Options{MaskSecrets: true, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Tables()
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, s := range secrets {
		for _, v := range s.Forms() {
			parts = append(parts, quote(v[4:len(v)-4]), quote(base64.RawStdEncoding.EncodeToString([]byte(v[3:9]))))
		}
	}
	found := func(c *forensics.Case, table, column string) any {
		sql := fmt.Sprintf(`SELECT count(*) FROM %s WHERE list_has_any([true], list_transform([%s], lambda p: contains(CAST(%q AS VARCHAR), p)))`, table, strings.Join(parts, ", "), column)
		r, err := c.Query(t.Context(), forensics.Query{SQL: sql})
		if err != nil {
			t.Fatalf("%s.%s: %v", table, column, err)
		}
		return r.Rows[0][0]
	}
	asSent := 0
	for _, table := range list {
		for _, col := range table.Columns {
			if !strings.Contains(col.Type, "VARCHAR") && col.Type != "BLOB" {
				continue
			}
			for _, name := range []string{table.Name, table.Name + "_raw"} {
				if name != table.Name && (strings.HasPrefix(col.Name, "src_") || strings.HasPrefix(col.Name, "dst_")) {
					continue
				}
				if n := found(c, name, col.Name); n != int64(0) {
					t.Errorf("%s.%s: %v rows contain a secret", name, col.Name, n)
				}
			}
			if found(c.Unmasked(), table.Name, col.Name) != int64(0) {
				asSent++
			}
		}
	}
	if asSent < 6 {
		t.Errorf("without masking, only %d columns contain secrets", asSent)
	}
}

// quote quotes a string for SQL.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// TestNothingShowsASecret asks every tool, REST path and resource about a case with 40 kinds of
// secrets, each of which also appears in places that do not identify it as a secret.
func TestNothingShowsASecret(t *testing.T) {
	path, secrets := leaktest.Bundle(t)
	s := serving(t, Options{Policy: redact.Default()}, path)
	c := connected(t, s, nil)
	call := func(tool string, args any) {
		r, err := c.CallTool(context.Background(), &sdk.CallToolParams{Name: tool, Arguments: args})
		if err != nil {
			leaks(t, fmt.Sprintf("the error of %s %v", tool, args), err.Error(), secrets)
			return
		}
		for _, x := range r.Content {
			if text, ok := x.(*sdk.TextContent); ok {
				leaks(t, fmt.Sprintf("%s %v", tool, args), text.Text, secrets)
			}
		}
		if whole, err := json.Marshal(r.StructuredContent); err == nil {
			leaks(t, fmt.Sprintf("%s %v", tool, args), string(whole), secrets)
		}
	}
	list, err := c.ListTools(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		for _, args := range []value{{}, {"service": "shop"}, {"limit": 100}, {"id": "#1"}, {"text": "planted"}, {"kfl": "status_code >= 400"}, {"call_id": "#3"}} {
			call(tool.Name, args)
		}
	}
	for i := range 2 * len(secrets) {
		call("get_api_call", value{"id": fmt.Sprintf("#%d", i)})
	}
	for _, sql := range hostileSQL {
		call("run_sql", value{"sql": sql, "max_bytes": 400000, "limit": 500})
	}
	resources, err := c.ListResources(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range resources.Resources {
		r, err := c.ReadResource(context.Background(), &sdk.ReadResourceParams{URI: x.URI})
		if err == nil {
			leaks(t, "resource "+x.URI, r.Contents[0].Text, secrets)
		}
	}
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	defer web.Close()
	for _, rt := range s.routes() {
		if rt.handle == nil {
			continue
		}
		if rt.Method == http.MethodPost {
			for _, body := range []string{"{}", `{"text":"planted"}`, `{"service":"shop"}`, `{"kfl":"status_code >= 400","max_bytes":400000}`} {
				r, err := http.Post(web.URL+rt.Path, "application/json", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				_, _ = b.ReadFrom(r.Body)
				r.Body.Close()
				leaks(t, "POST "+rt.Path+" "+body, b.String(), secrets)
			}
			continue
		}
		target := strings.NewReplacer("{id}", "%230", "{name}", "x").Replace(rt.Path)
		for _, q := range []string{"", "?kfl=" + url.QueryEscape("status_code >= 400"), "?limit=100"} {
			r, err := http.Get(web.URL + target + q)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			_, _ = b.ReadFrom(r.Body)
			r.Body.Close()
			leaks(t, "GET "+target+q, b.String(), secrets)
		}
	}
}

// TestNoAnswerConfirmsAGuess searches for a prefix of each secret, and for a prefix that was never
// sent. The answers must be equal except for the guess itself.
func TestNoAnswerConfirmsAGuess(t *testing.T) {
	path, secrets := leaktest.Bundle(t)
	const busy = 10 * time.Minute // a deadline would be another answer
	masks := connected(t, serving(t, Options{Policy: redact.Default(), Deadline: busy}, path), nil)
	shows := connected(t, serving(t, Options{Deadline: busy}, path), nil)
	answer := func(c *sdk.ClientSession, tool string, args any) string {
		r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
		if err != nil {
			return err.Error()
		}
		whole, err := json.Marshal(r.StructuredContent)
		if err != nil {
			t.Fatal(err)
		}
		return string(whole) + r.Content[0].(*sdk.TextContent).Text
	}
	asks := []struct {
		tool string
		args func(guess string) any
	}{
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("path.contains(%q)", g)} }},
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("summary.contains(%q)", g)} }},
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("query_string.contains(%q)", g)} }},
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("request.body.contains(%q)", g)} }},
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("response.body.contains(%q)", g)} }},
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("request.headers[\"x-echo\"].contains(%q)", g)} }},
		{"list_api_calls", func(g string) any { return value{"kfl": fmt.Sprintf("user_agent.contains(%q)", g)} }},
		{"list_api_calls", func(g string) any {
			return value{"kfl": fmt.Sprintf("postgresql_query.contains(%q) || redis_command.contains(%q)", g, g)}
		}},
		{"list_api_calls", func(g string) any {
			return value{"kfl": fmt.Sprintf("request.body.xml()..password.contains(%q)", g)}
		}},
		{"search_content", func(g string) any { return value{"text": g} }},
		{"search_content", func(g string) any { return value{"pattern": "(?i)" + g} }},
		{"trace_request", func(g string) any { return value{"text": g} }},
		{"list_findings", func(g string) any {
			return value{"kfl": fmt.Sprintf("request.headers[\"authorization\"].contains(%q) || path.contains(%q)", g, g)}
		}},
		{"run_sql", func(g string) any {
			return value{"sql": "select count(*) from calls where contains(calls::varchar, '" + g + "')"}
		}},
		{"run_sql", func(g string) any {
			return value{"sql": "select count(*) from bodies where contains(text, '" + g + "')"}
		}},
	}
	for _, a := range asks {
		const none = "Qj00nothing"
		want, would := answer(masks, a.tool, a.args(none)), false
		for i, secret := range secrets {
			guess := secret.Value[:8]
			if !strings.HasPrefix(guess, "Zq") {
				guess = secret.Value[9:16] // their prefix is public
			}
			if a.tool == "list_findings" && i%6 > 0 {
				continue // slow
			}
			if got := answer(masks, a.tool, a.args(guess)); strip(got, guess) != strip(want, none) {
				t.Errorf("%s %v for %s: %.300s, and without a secret: %.300s", a.tool, a.args(guess), secret.Kind, got, want)
				break
			}
			if !would {
				would = strip(answer(shows, a.tool, a.args(guess)), guess) != strip(answer(shows, a.tool, a.args(none)), none)
			}
		}
		if !would {
			t.Errorf("%s %v: a server without masking does not confirm it either: %.300s", a.tool, a.args("guess"), answer(shows, a.tool, a.args(secrets[12].Value[:8])))
		}
	}
}

// numbers matches what may differ between equal answers: durations and lengths.
var numbers = regexp.MustCompile(`"(elapsed_ms|elapsed_us|elapsed|bytes|took_ms)":[0-9.]+|"next_cursor":"[^"]*"`)

// strip removes from an answer what depends on the guess.
func strip(answer, guess string) string {
	return numbers.ReplaceAllString(strings.ReplaceAll(answer, guess, "GUESS"), "")
}
