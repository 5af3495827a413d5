package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/openapi"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// describedCapture is the sampling rate of HTTP captures.
const describedCapture = 6

// leastValue is the shortest value that is searched in a description.
const leastValue = 6

// TestDescriptionsHold describes every HTTP server in the samples and in some public captures. The
// description is valid OpenAPI, matches its traffic, and contains none of its values.
func TestDescriptionsHold(t *testing.T) {
	samples, err := filepath.Glob(filepath.Join("..", "..", "samples", "*.pcap*"))
	if err != nil || len(samples) == 0 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, path := range samples {
		t.Run(filepath.Base(path), func(t *testing.T) { describeServers(t, path) })
	}
	dir := captures.Dir(t)
	n := 0
	for _, line := range lines(t, filepath.Join(dir, "INDEX.tsv"))[1:] {
		name, _, _ := strings.Cut(line, "\t")
		if !strings.HasPrefix(name, "http") {
			continue
		}
		if n++; n%describedCapture == 1 {
			t.Run(name, func(t *testing.T) { describeServers(t, filepath.Join(dir, name)) })
		}
	}
}

// describeServers describes the servers of a capture one by one.
func describeServers(t *testing.T, capture string) {
	ctx := context.Background()
	path := madeOf(t, capture, 0, 0)
	if path == "" {
		return // not a capture
	}
	c, err := forensics.Open(ctx, []string{path}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const one = `protocol IN ('http1', 'http2', 'http3') AND path LIKE '/%' AND method IN ('GET', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'TRACE')`
	for _, ip := range column(t, c, "SELECT DISTINCT dst_ip FROM calls WHERE "+one+" ORDER BY 1 LIMIT 20") {
		out, err := openapi.Ask(ctx, c, openapi.In{Service: ip})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := openapi3.NewLoader().LoadFromData([]byte(out.YAML))
		if err == nil {
			err = doc.Validate(ctx)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", ip, err, out.YAML)
			continue
		}
		rules, err := check.Parse([]byte(`{version: 1, rules: [{name: as described, openapi: api.yaml, calls: 'http && dst.ip == "`+ip+`" && path.startsWith("/") &&
			method in ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"]'}]}`), fstest.MapFS{"api.yaml": {Data: []byte(out.YAML)}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := check.Run(ctx, c, rules, all.Analyzers())
		if err != nil {
			t.Fatal(err)
		}
		if r.Passed != 1 {
			t.Errorf("%s: %+v\n%s", ip, r.Results, out.YAML)
		}
		known := known(t, c, ip, out)
		for _, v := range valuesTo(t, c, ip) {
			if len(v) >= leastValue && strings.Contains(out.YAML, v) && !strings.Contains(known, v) {
				t.Errorf("%s: %q of the traffic is in\n%s", ip, v, out.YAML)
			}
		}
	}
}

// known returns all text that a description may contain: names, types and keywords.
func known(t *testing.T, c *forensics.Case, ip string, out *openapi.Answer) string {
	var b strings.Builder
	fmt.Fprintln(&b, ip, "openapi: 3.0.3 integer boolean string object array number date-time uuid format required properties additionalProperties parameters requestBody schema responses security")
	fmt.Fprintln(&b, "Inferred from recorded calls. Operations without calls are missing; anything always present is marked as required.")
	for _, op := range out.Operations {
		fmt.Fprintln(&b, op.Path)
		for _, s := range op.Statuses {
			fmt.Fprintln(&b, http.StatusText(int(s)))
		}
	}
	for _, sql := range []string{"SELECT DISTINCT h.name FROM (SELECT unnest(headers) AS h FROM calls)", "SELECT DISTINCT response_content_type FROM calls UNION SELECT DISTINCT request_content_type FROM calls",
		"SELECT DISTINCT split_part(unnest(string_split(query_string, '&')), '=', 1) FROM calls"} {
		for _, name := range column(t, c, sql) {
			fmt.Fprintln(&b, name)
		}
	}
	for _, body := range bodiesTo(t, c, ip) {
		walk(body, func(name string) { fmt.Fprintln(&b, name) }, func(string) {})
	}
	return b.String()
}

// valuesTo returns the values in calls to a server: in queries, headers, cookies and JSON.
func valuesTo(t *testing.T, c *forensics.Case, ip string) (out []string) {
	where := " FROM calls WHERE dst_ip = '" + ip + "'"
	out = column(t, c, "SELECT DISTINCT split_part(unnest(string_split(query_string, '&')), '=', 2)"+where)
	out = append(out, column(t, c, "SELECT DISTINCT trim(v) FROM (SELECT unnest(string_split(h.value, ';')) AS v FROM (SELECT unnest(headers) AS h"+where+"))")...)
	out = append(out, column(t, c, "SELECT DISTINCT split_part(v, '=', 2) FROM (SELECT unnest(string_split(h.value, ';')) AS v FROM (SELECT unnest(headers) AS h"+where+") WHERE lower(h.name) = 'cookie')")...)
	for _, body := range bodiesTo(t, c, ip) {
		walk(body, func(string) {}, func(v string) { out = append(out, v) })
	}
	return out
}

func bodiesTo(t *testing.T, c *forensics.Case, ip string) (out []any) {
	for _, text := range column(t, c, "SELECT DISTINCT text FROM bodies WHERE text IS NOT NULL AND sha256 IN (SELECT request_body_sha256 FROM calls WHERE dst_ip = '"+ip+"' UNION SELECT response_body_sha256 FROM calls WHERE dst_ip = '"+ip+"')") {
		d := json.NewDecoder(bytes.NewReader([]byte(text)))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			out = append(out, v)
		}
	}
	return out
}

// walk visits the names of fields and the texts and numbers of a JSON value.
func walk(v any, name, value func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for n, x := range v {
			name(n)
			walk(x, name, value)
		}
	case []any:
		for _, x := range v {
			walk(x, name, value)
		}
	case string:
		value(v)
	case json.Number:
		value(v.String())
	}
}

func column(t *testing.T, c *forensics.Case, sql string) (out []string) {
	t.Helper()
	r, err := c.Query(context.Background(), forensics.Query{SQL: sql, Limit: 1 << 20})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for _, row := range r.Rows {
		if s, ok := row[0].(string); ok {
			out = append(out, s)
		}
	}
	return out
}
