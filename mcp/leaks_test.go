package mcp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// secret is a kind of secret: how a call carries it with its name or in its form.
type secret struct {
	kind, value string
	head        string // a header line
	query       string // of the URL
	contentType string
	body        string
}

// secretKinds are 40 kinds of secrets, each with a value of its own.
func secretKinds() []secret {
	v := func(n int) string { return fmt.Sprintf("Zq%02dxK7-planted_%02dvV", n, n) }
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ"
	list := []secret{
		{kind: "authorization bearer", head: "Authorization: Bearer %s"}, {kind: "proxy authorization", head: "Proxy-Authorization: Bearer %s"},
		{kind: "authorization of another scheme", head: "Authorization: Token %s"}, {kind: "x-api-key", head: "X-Api-Key: %s"},
		{kind: "api-key", head: "Api-Key: %s"}, {kind: "x-auth-token", head: "X-Auth-Token: %s"}, {kind: "csrf token", head: "X-Csrf-Token: %s"},
		{kind: "cookie", head: "Cookie: a=b; sid=%s"}, {kind: "client secret header", head: "X-Client-Secret: %s"}, {kind: "session header", head: "X-Session-Id: %s"},
		{kind: "webhook signature", head: "X-Hub-Signature-256: sha256=%s"}, {kind: "vault token", head: "X-Vault-Token: %s"},
		{kind: "query token", query: "access_token=%s"}, {kind: "query api key", query: "api_key=%s"}, {kind: "query password", query: "user=a&password=%s"},
		{kind: "query signature", query: "sig=%s"}, {kind: "query nested", query: "user%%5Bpassword%%5D=%s"}, {kind: "query session", query: "jsessionid=%s"},
		{kind: "json password", contentType: "application/json", body: `{"user":"a","password":"%s"}`},
		{kind: "json nested secret", contentType: "application/json", body: `{"a":[{"client_secret":"%s"}]}`},
		{kind: "json in json", contentType: "application/json", body: `{"message":"{\"api_key\":\"%s\"}"}`},
		{kind: "headers in json", contentType: "application/json", body: `{"headers":{"Authorization":"Bearer %s"}}`},
		{kind: "list of headers in json", contentType: "application/json", body: `{"headers":[{"name":"X-Api-Key","value":"%s"}]}`},
		{kind: "json private key", contentType: "application/json", body: `{"private_key":"%s"}`},
		{kind: "json refresh token", contentType: "application/json", body: `{"refresh_token":"%s"}`},
		{kind: "form password", contentType: "application/x-www-form-urlencoded", body: "user=a&password=%s"},
		{kind: "form secret", contentType: "application/x-www-form-urlencoded", body: "client_secret=%s&x=1"},
		{kind: "multipart", contentType: "multipart/form-data; boundary=XX", body: "--XX\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n%s\r\n--XX--\r\n"},
		{kind: "xml element", contentType: "application/xml", body: "<a><password>%s</password></a>"},
		{kind: "xml attribute", contentType: "application/xml", body: `<a><login password="%s"/></a>`},
		{kind: "text assignment", contentType: "text/plain", body: "db_password=%s and more"},
		{kind: "text colon", contentType: "text/plain", body: "secret: %s"},
		{kind: "yaml", contentType: "text/yaml", body: "a:\n  api_key: %s\n"},
		{kind: "jwt", value: jwt, contentType: "text/plain", body: "see %s"},
		{kind: "github token", value: "ghp_16C7e42F292c6912E7710c838347Ae178B4a", contentType: "text/plain", body: "see %s"},
		{kind: "gitlab token", value: "glpat-Zq1234567890plantedV", contentType: "text/plain", body: "see %s"},
		{kind: "slack token", value: "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", contentType: "text/plain", body: "see %s"},
		{kind: "aws access key", value: "AKIAZQPLANTED7EXAMPL", contentType: "text/plain", body: "see %s"},
		{kind: "stripe key", value: "sk_live_51HplantedZq0123456789abcdef", contentType: "text/plain", body: "see %s"},
		{kind: "card", value: "4111111111111111", contentType: "text/plain", body: "see %s"},
		{kind: "basic", value: "Zq77plantedPass", head: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:Zq77plantedPass"))},
		{kind: "url password", value: "Zq78plantedPass", contentType: "text/plain", body: "postgres://u:%s@db/x"},
	}
	for i := range list {
		if list[i].value == "" {
			list[i].value = v(i)
		}
	}
	return list
}

// leaky makes a bundle in which every secret is sent with its name once, and again where
// nothing tells that it is one: in a path, a header, a text, in base64 and in hexadecimal.
func leaky(t *testing.T) (path string, secrets []secret) {
	t.Helper()
	dir := t.TempDir()
	secrets = secretKinds()
	var inputs []string
	for i, s := range secrets {
		query, head, body, kind := "", "X-None: 1", `{"n":1}`, "application/json"
		if s.query != "" {
			query = "?" + fmt.Sprintf(s.query, s.value)
		}
		if s.head != "" {
			if head = s.head; strings.Contains(head, "%s") {
				head = fmt.Sprintf(head, s.value)
			}
		}
		if s.body != "" {
			body, kind = fmt.Sprintf(s.body, s.value), s.contentType
		}
		in := filepath.Join(dir, fmt.Sprintf("%03d.pcap", 2*i))
		writeExchangeFrom(t, in, 2*i, fmt.Sprintf("POST /api/v%d%s HTTP/1.1\r\nHost: shop\r\n%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", i%3, query, head, kind, len(body), body),
			"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
		echo := fmt.Sprintf("it was %s, or %s, or %x", s.value, base64.StdEncoding.EncodeToString([]byte(s.value)), s.value)
		at := filepath.Join(dir, fmt.Sprintf("%03d.pcap", 2*i+1))
		writeExchangeFrom(t, at, 2*i+1, fmt.Sprintf("GET /seen/%s/x?note=%s HTTP/1.1\r\nHost: shop\r\nX-Echo: %s\r\nUser-Agent: agent %s\r\n\r\n", url.PathEscape(s.value), url.QueryEscape(s.value), s.value, s.value),
			fmt.Sprintf("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(echo), echo))
		inputs = append(inputs, in, at)
	}
	path = filepath.Join(dir, "leaky.pcapsule")
	if _, err := exporter.Run(context.Background(), inputs, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	return path, secrets
}

// formsOf are ways in which an answer would give a secret away.
func formsOf(v string) map[string]string {
	back := []byte(v)
	slices.Reverse(back)
	return map[string]string{"as it is": v, "backwards": string(back), "in hexadecimal": hex.EncodeToString([]byte(v)), "in HEX": strings.ToUpper(hex.EncodeToString([]byte(v))),
		"in base64": base64.RawStdEncoding.EncodeToString([]byte(v))[:len(v)], "in small letters": strings.ToLower(v), "in capitals": strings.ToUpper(v)}
}

// leaks names the secrets that a text shows.
func leaks(t *testing.T, where, text string, secrets []secret) {
	t.Helper()
	for _, s := range secrets {
		for form, v := range formsOf(s.value) {
			if strings.Contains(text, v) {
				t.Errorf("%s shows %s %s: …%s…", where, s.kind, form, around(text, v))
				return // one a place is enough
			}
		}
	}
}

// strangerSQL turns secrets over in SQL.
var strangerSQL = []string{
	"select * exclude (cites) from calls", "select path from calls", "select reverse(path) p from calls", "select upper(path) p, lower(path) q from calls", "select hex(path::blob) p from calls",
	"select base64(path::blob) p from calls", "select url_encode(path) p from calls", "select summary from calls", "select reverse(summary) p from calls", "select user_agent u from calls",
	"select h.value v from (select unnest(headers) h from calls)", "select reverse(h.value) v from (select unnest(headers) h from calls)", "select to_json(headers) j from calls", "select headers::varchar h from calls",
	"select text from bodies", "select reverse(text) t from bodies", "select base64(text::blob) t from bodies", "select hex(text::blob) t from bodies", "select string_agg(text, ' ') t from bodies", "select bytes from bodies",
	"select {'a': [text]} s from bodies", "select map {text: 1} m from bodies", "select replace(text, 'it was ', 'x') t from bodies", "select http1_target t from calls", "select reverse(query_string) q from calls",
	"select text as password from bodies", "select 'x' || path || 'y' from calls group by all", "select list(path) l from calls", "select error(path) from calls", "select path::integer from calls",
}

// TestNoTableHoldsASecret looks for parts of the secrets in every column of every table, where
// SQL could cut them into pieces that nobody would know again.
func TestNoTableHoldsASecret(t *testing.T) {
	path, secrets := leaky(t)
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
		for _, v := range formsOf(s.value) {
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
					t.Errorf("%s.%s: %v rows hold a secret", name, col.Name, n)
				}
			}
			if found(c.Unmasked(), table.Name, col.Name) != int64(0) {
				asSent++
			}
		}
	}
	if asSent < 6 {
		t.Errorf("as they were sent only %d columns hold secrets", asSent)
	}
}

// quote quotes a text for SQL.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// TestNothingShowsASecret asks every tool, REST path and resource about a case that holds
// 40 kinds of secrets, each also where nothing tells that it is one.
func TestNothingShowsASecret(t *testing.T) {
	path, secrets := leaky(t)
	s := serving(t, Options{Policy: redact.Default(), Tools: AllTools}, path)
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
	for _, sql := range strangerSQL {
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
		if rt.handle == nil || rt.Method != http.MethodGet {
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
