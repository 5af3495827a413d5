package mcp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/samples/leaktest"
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
	for _, s := range nightly.Some(secrets, 12) {
		forms := s.Forms()
		for _, form := range nightly.Some(slices.Sorted(maps.Keys(forms)), 1) { // "as it is" comes first
			v := forms[form]
			parts = append(parts, quote.SQL(v[4:len(v)-4]), quote.SQL(base64.RawStdEncoding.EncodeToString([]byte(v[3:9]))))
		}
	}
	// found returns the columns of a table that contain a part, with the number of such rows.
	found := func(c *forensics.Case, table string, columns []string) (list []string) {
		var values []string
		for _, column := range columns {
			values = append(values, fmt.Sprintf("{'column': %s, 'value': CAST(%q AS VARCHAR)}", quote.SQL(column), column))
		}
		sql := fmt.Sprintf(`SELECT format('%s.{}: {} rows', v.column, count(*)) FROM (SELECT unnest([%s]) AS v FROM %s)
			WHERE list_has_any([true], list_transform([%s], lambda p: contains(v.value, p))) GROUP BY v.column`, table, strings.Join(values, ", "), table, strings.Join(parts, ", "))
		r, err := c.Query(t.Context(), forensics.Query{SQL: sql, Limit: 1000})
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		for _, row := range r.Rows {
			list = append(list, row[0].(string))
		}
		return list
	}
	asSent := 0
	for _, table := range list {
		var columns, raw []string
		for _, col := range table.Columns {
			if strings.Contains(col.Type, "VARCHAR") || col.Type == "BLOB" {
				columns = append(columns, col.Name)
				if !strings.HasPrefix(col.Name, "src_") && !strings.HasPrefix(col.Name, "dst_") {
					raw = append(raw, col.Name)
				}
			}
		}
		if len(columns) == 0 {
			continue
		}
		for _, what := range slices.Concat(found(c, table.Name, columns), found(c, table.Name+"_raw", raw)) {
			t.Errorf("%s contain a secret", what)
		}
		asSent += len(found(c.Unmasked(), table.Name, columns))
	}
	if asSent < 6 {
		t.Errorf("without masking, only %d columns contain secrets", asSent)
	}
}

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
	for n, tool := range list.Tools {
		call(tool.Name, value{})
		for i, args := range []value{{"service": "shop"}, {"limit": 100}, {"id": "#1"}, {"text": "planted"}, {"kfl": "status_code >= 400"}, {"call_id": "#3"}} {
			if nightly.On() || i == n%6 {
				call(tool.Name, args)
			}
		}
	}
	for i := 0; i < 2*len(secrets); i += nightly.Of(9, 1) {
		call("get_api_call", value{"call_id": fmt.Sprintf("#%d", i)})
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
	bodies := []string{`{"text":"planted"}`, `{"service":"shop"}`, `{"kfl":"status_code >= 400","max_bytes":400000}`}
	for i, rt := range s.routes() {
		if rt.handle == nil {
			continue
		}
		if rt.Method == http.MethodPost {
			// The tools above have answered all of them with the same functions.
			for _, body := range []string{"{}", bodies[i%len(bodies)]} {
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

// TestNoAnswerConfirmsAGuess searches for prefixes of the secrets, and for prefixes that were never
// sent. The answers must be equal except for the guesses themselves. A condition is true if any of
// its guesses occurs, so one question tests all secrets, and a few are also guessed alone.
func TestNoAnswerConfirmsAGuess(t *testing.T) {
	path, secrets := leaktest.Bundle(t)
	const busy = 10 * time.Minute // a deadline would be another answer
	masks := connected(t, serving(t, Options{Policy: redact.Default(), Deadline: busy}, path), nil)
	shows := connected(t, serving(t, Options{Deadline: busy}, path), nil)
	var guesses, nothing []string // of equal lengths
	for i, secret := range secrets {
		guess := secret.Value[:8]
		if !strings.HasPrefix(guess, "Zq") {
			guess = secret.Value[9:16] // their prefix is public
		}
		guesses, nothing = append(guesses, guess), append(nothing, fmt.Sprintf("Qj%02dnone", i)[:len(guess)])
	}
	for n, a := range nightly.Some(guessing, 7) {
		without := map[string]string{} // answers to what was never sent
		confirmed := func(c *sdk.ClientSession, few []int) (bool, string) {
			var some, never []string
			for _, i := range few {
				some, never = append(some, guesses[i]), append(never, nothing[i])
			}
			if len(few) == 1 {
				never[0] = nothing[0][:min(len(nothing[0]), len(never[0]))]
			}
			key := fmt.Sprint(c == masks, never)
			if without[key] == "" {
				without[key] = answered(t, c, a.tool, a.args(never))
			}
			said := answered(t, c, a.tool, a.args(some))
			return strip(said, some) != strip(without[key], never), fmt.Sprintf("%.300s, and without a secret: %.300s", said, without[key])
		}
		var rounds [][]int
		if a.atOnce > 0 {
			rounds = append(rounds, nil)
		}
		for i := range secrets {
			if a.atOnce > 0 && i%a.atOnce == 0 {
				rounds[0] = append(rounds[0], i)
			}
			if a.atOnce == 0 || a.atOnce == 1 && i%alone == n%alone {
				rounds = append(rounds, []int{i})
			}
		}
		rounds = nightly.Some(rounds, 1)
		would := false
		for _, few := range rounds {
			if yes, how := confirmed(masks, few); yes {
				t.Errorf("%s confirms one of %d secrets from %s on: %s", a.tool, len(few), secrets[few[0]].Kind, how)
			}
			if !would {
				would, _ = confirmed(shows, few)
			}
		}
		if !would {
			t.Errorf("%s %v: a server without masking does not confirm it either", a.tool, a.args(guesses))
		}
	}
}

// alone is the sampling rate of secrets that are guessed alone where one question can test all.
const alone = 10

// guessing are questions whose answers could confirm guesses.
var guessing = []struct {
	tool   string
	atOnce int // one question guesses every atOnce-th secret; 0: each is guessed alone
	args   func(guesses []string) any
}{
	{"list_api_calls", 1, kflOf("path.contains(%q)")},
	{"list_api_calls", 1, kflOf("summary.contains(%q)")},
	{"list_api_calls", 1, kflOf("query_string.contains(%q)")},
	{"list_api_calls", 1, kflOf("request.body.contains(%q)")},
	{"list_api_calls", 1, kflOf("response.body.contains(%q)")},
	{"list_api_calls", 1, kflOf(`request.headers["x-echo"].contains(%q)`)},
	{"list_api_calls", 1, kflOf("user_agent.contains(%q)")},
	{"list_api_calls", 1, kflOf("postgresql_query.contains(%[1]q) || redis_command.contains(%[1]q)")},
	{"list_api_calls", 1, kflOf("request.body.xml()..password.contains(%q)")},
	{"search_content", 0, func(g []string) any { return value{"text": g[0]} }},
	{"search_content", 1, func(g []string) any { return value{"pattern": "(?i)(" + strings.Join(g, "|") + ")"} }},
	{"trace_request", 0, func(g []string) any { return value{"text": g[0]} }},
	{"list_findings", 6, kflOf(`request.headers["authorization"].contains(%[1]q) || path.contains(%[1]q)`)},
	{"run_sql", 1, sqlOf("select count(*) from (select calls::varchar as v from calls) where ", "contains(v, '%s')")},
	{"run_sql", 1, sqlOf("select count(*) from bodies where ", "contains(text, '%s')")},
}

func kflOf(condition string) func([]string) any {
	return func(guesses []string) any { return value{"kfl": either(condition, " || ", guesses)} }
}

func sqlOf(query, condition string) func([]string) any {
	return func(guesses []string) any { return value{"sql": query + either(condition, " or ", guesses)} }
}

// either joins a condition about each guess.
func either(condition, or string, guesses []string) string {
	var list []string
	for _, g := range guesses {
		list = append(list, fmt.Sprintf(condition, g))
	}
	return strings.Join(list, or)
}

// answered returns the answer of a tool, as data and as text.
func answered(t *testing.T, c *sdk.ClientSession, tool string, args any) string {
	t.Helper()
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

// numbers matches what may differ between equal answers: durations and lengths.
var numbers = regexp.MustCompile(`"(elapsed_ms|elapsed_us|elapsed|bytes|took_ms)":[0-9.]+|"next_cursor":"[^"]*"`)

// strip removes from an answer what depends on the guesses.
func strip(answer string, guesses []string) string {
	for _, g := range guesses {
		answer = strings.ReplaceAll(answer, g, "GUESS")
	}
	return numbers.ReplaceAllString(answer, "")
}
