package search

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// findBySQL is FindText in SQL, call by call.
func findBySQL(ctx context.Context, c *forensics.Case, w *ask.Window, n *Needle, in []string, after ask.Cursor, limit int) ([]Find, bool, error) {
	var args []any
	var bits []string
	bodies := ""
	for i, s := range Spots {
		if len(in) > 0 && !slices.Contains(in, s.Name) {
			continue
		}
		cond, values := "", []any(nil)
		switch {
		case s.body != "":
			if bodies == "" {
				text, more := n.in("text")
				if n.test == "" && !n.fold {
					text += " OR bytes IS NOT NULL AND contains(hex(bytes), hex(encode(?))) AND regexp_matches(hex(bytes), '(^(?:[0-9A-F]{2})*?' || hex(encode(?)) || ')')"
					more = append(more, n.forms[0], n.forms[0])
				}
				bodies = "WITH b AS MATERIALIZED (SELECT DISTINCT sha256 FROM bodies_raw WHERE " + text + ") "
				args = append(more, args...)
			}
			cond = s.body + "_body_sha256 IN (SELECT sha256 FROM b)"
		case s.kind != "":
			inner, more := n.in("h.value")
			cond, values = "len(list_filter(headers, h -> h.kind = '"+s.kind+"' AND "+inner+")) > 0", more
		case s.fields:
			var either []string
			columns, err := usedFields(ctx, c)
			if err != nil {
				return nil, false, err
			}
			for _, text := range columns {
				one, more := n.in(text)
				either, values = append(either, "coalesce("+one+", false)"), append(values, more...)
			}
			cond = strings.Join(either, " OR ")
		default:
			cond, values = n.in(s.Column)
		}
		bits, args = append(bits, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", cond, 1<<i)), append(args, values...)
	}
	with := "WITH "
	if bodies != "" {
		with = bodies + ", "
	}
	var counts []string
	for i := range Spots {
		counts = append(counts, fmt.Sprintf("count(*) FILTER (bits & %d <> 0)", 1<<i))
	}
	sql := fmt.Sprintf(`%s f AS MATERIALIZED (SELECT * FROM (SELECT %s, call_no, ts_ns, %s AS bits FROM %s WHERE %s) WHERE bits <> 0)
		SELECT f.bundle, f.call_no, f.ts_ns, f.bits, t.total, t.counts FROM f, (SELECT count(*) AS total, [%s] AS counts FROM f) t %s ORDER BY f.ts_ns, f.bundle, f.call_no LIMIT %d`,
		with, terms.BundleOf(c, ""), strings.Join(bits, " + "), "calls", w.Where, strings.Join(counts, ", "), after.After("WHERE f."), limit+1)
	return ask.Rows[Find](ctx, c, limit, sql, append(args, w.Args...)...)
}

// usedFields is SQL for the fields that are not null in all calls, by case.
var usedFields = func() func(context.Context, *forensics.Case) ([]string, error) {
	known := map[*forensics.Case][]string{}
	return func(ctx context.Context, c *forensics.Case) ([]string, error) {
		if known[c] != nil {
			return known[c], nil
		}
		columns, err := fieldsIn(ctx, c, "FROM calls_raw")
		if err != nil {
			return nil, err
		}
		counts := make([]string, len(columns))
		for i, column := range columns {
			counts[i] = "count(" + column.Name + ")"
		}
		type row struct {
			N []int64 `json:"n"`
		}
		used, err := ask.One[row](ctx, c, "SELECT ["+strings.Join(counts, ", ")+"] AS n FROM calls_raw")
		for i, n := range used.N {
			if n > 0 {
				known[c] = append(known[c], textOf(columns[i]))
			}
		}
		return known[c], err
	}
}()

// bundleOfSample exports a sample.
func bundleOfSample(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.ReplaceAll(name, "/", "-")+".pcapsule")
	if _, err := exporter.Run(t.Context(), []string{filepath.Join("..", "..", "..", "samples", name)}, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lookedFor are the needles for all samples.
var lookedFor = []In{
	{Text: "order"}, {Text: "ORDER", IgnoreCase: true}, {Text: "select", IgnoreCase: true}, {Text: "1" + "2"}, {Text: "12", Whole: true}, {Text: ", "}, {Text: "application/json"}, {Text: "a b"}, {Text: "key"},
	{Text: "example.com", Whole: true, IgnoreCase: true}, {Text: "Bearer"}, {Text: "secret"}, {Text: "token"}, {Text: "{\""}, {Text: "not there at all"}, {Text: "gzip", In: []string{"request.headers", "sql"}}, {Text: "\u0000\u0000"},
	{Pattern: `[0-9]{3,}`}, {Pattern: `(GET|SET) \w+`}, {Pattern: `^/`}, {Pattern: `json$`, IgnoreCase: true}, {Pattern: `[a-z]+@[a-z.]+`}, {Pattern: `.{40}`}, {Pattern: `(?i)not found|error`}, {Pattern: `e`, In: []string{"request.body", "response.body"}},
	{Text: "id", Scope: ask.Scope{KFL: "http"}}, {Text: "er", Scope: ask.Scope{KFL: "status_code >= 400 or failed"}}, {Text: "no", Scope: ask.Scope{From: "2s"}}, {Text: "or", Scope: ask.Scope{To: "1s", KFL: "http or redis or postgresql"}},
	{Text: "er", Service: "*"}, {Text: "co", Scope: ask.Scope{Limit: 3}}, {Pattern: `\d`, Scope: ask.Scope{Limit: 2}},
}

func TestFindTextAgreesWithSQL(t *testing.T) {
	made := map[string]string{}
	for _, name := range []string{"shop.pcapng", "http1.pcapng", "http2.pcap", "grpc.pcapng", "postgresql.pcapng", "redis.pcap", "dns.pcap", "tls.pcapng"} {
		made[name] = bundleOfSample(t, name)
	}
	for name, paths := range map[string][]string{
		"shop": {made["shop.pcapng"]}, "http1": {made["http1.pcapng"]}, "several": {made["http1.pcapng"], made["redis.pcap"], made["postgresql.pcapng"], made["http2.pcap"]},
		"others": {made["grpc.pcapng"], made["dns.pcap"], made["tls.pcapng"]}, "overlapping": {made["http1.pcapng"], bundleOfSample(t, "http1.pcapng"), made["redis.pcap"]},
	} {
		for _, masks := range []bool{false, true} {
			if masks && name != "shop" && name != "http1" && name != "overlapping" {
				continue // only HTTP has masked text
			}
			c, err := forensics.Open(t.Context(), paths, forensics.Options{Threads: 2, MaskSecrets: masks})
			if err != nil {
				t.Fatal(err)
			}
			found := map[int]bool{}
			for _, in := range nightly.Some(lookedFor, 14) {
				compareFinds(t, c, fmt.Sprintf("%s, masked %v: %+v", name, masks, in), in, found)
			}
			for i := range paths {
				if copies := name == "overlapping" && i == 1; found[i] == copies {
					t.Errorf("%s: found in bundle %d: %v", name, i, found[i])
				}
			}
			c.Close()
		}
	}
}

// compareFinds searches for one needle in both ways, page by page. It records the bundles that
// contain it.
func compareFinds(t *testing.T, c *forensics.Case, what string, in In, found map[int]bool) {
	t.Helper()
	if first, last, _ := c.Window(); in.To != "" && last-first < 2e9 {
		in.To = "" // the recording is shorter
	}
	w, err := in.Read(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if in.Service != "" {
		cond, args := terms.Either(c, in.Service)
		w.And(cond, args...)
	}
	n, err := NewNeedle(t.Context(), in.Text, in.Pattern, in.Whole, in.IgnoreCase)
	if err != nil {
		t.Fatal(err)
	}
	after := ask.Cursor{Bundle: -1, No: -1}
	for range 3 {
		got, more, err := FindText(t.Context(), c, w, n, in.In, after, w.Limit)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		hasty := &textFinder{ctx: t.Context(), c: c, w: w, n: n, after: after, limit: w.Limit, most: 5} // small batches, as with very many hits
		again, _, err := hasty.find(in.In)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%s: settled at every fifth hit: %v, %+v, want %+v", what, err, again, got)
		}
		want, others, err := findBySQL(t.Context(), c, w, n, in.In, after, w.Limit)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if more != others || len(got) != len(want) {
			t.Fatalf("%s: %d calls, more %v; SQL has %d, more %v", what, len(got), more, len(want), others)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%s: %+v, SQL has %+v", what, got[i], want[i])
			}
			found[int(got[i].Bundle)] = true
		}
		if !more {
			return
		}
		last := got[len(got)-1]
		after = ask.Cursor{TS: last.Start, Bundle: last.Bundle, No: last.No}
	}
}

// TestMaskedTextIsNotFound searches for credentials in a case that masks them.
func TestMaskedTextIsNotFound(t *testing.T) {
	c, err := forensics.Open(t.Context(), []string{bundleOfSample(t, "shop.pcapng")}, forensics.Options{Threads: 2, MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	whole := c.Unmasked()
	type secret struct {
		Value string `json:"value"`
	}
	list, _, err := ask.Rows[secret](t.Context(), whole, 100, "SELECT DISTINCT h.value FROM (SELECT unnest(headers) AS h FROM calls_raw) WHERE lower(h.name) = 'authorization' AND length(h.value) < 900 ORDER BY 1")
	if err != nil || len(list) == 0 {
		t.Fatalf("%d credentials: %v", len(list), err)
	}
	for _, s := range list {
		_, guess, _ := strings.Cut(s.Value, " ")
		in := In{Text: guess, In: []string{"request.headers"}}
		seen, err := Ask(t.Context(), whole, in)
		if err != nil || seen.Total == 0 {
			t.Fatalf("%q is not found without masking: %v", guess, err)
		}
		onlyMasked, err := Ask(t.Context(), c, in)
		if err != nil || onlyMasked.Total != 0 || onlyMasked.Matched != "nothing_matched" {
			t.Errorf("%q is masked, but found in %d calls: %v", guess, onlyMasked.Total, err)
		}
	}
}

// TestEveryTextIsFound searches for a value of each column with text, of protocols of all kinds.
func TestEveryTextIsFound(t *testing.T) {
	for _, name := range []string{"kerberos.pcapng", "smtp.pcapng", "nats.pcapng"} {
		c, err := forensics.Open(t.Context(), []string{bundleOfSample(t, name)}, forensics.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		tables, err := c.Tables()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, table := range tables {
			for _, column := range table.Columns {
				if table.Name != "calls" || column.Type != "VARCHAR" || slices.Contains(derived, column.Name) || strings.HasPrefix(column.Name, "src_") || strings.HasPrefix(column.Name, "dst_") {
					continue
				}
				type row struct {
					Value string `json:"v"`
				}
				r, err := ask.One[row](t.Context(), c, "SELECT coalesce(max("+column.Name+"), '') AS v FROM calls_raw WHERE length("+column.Name+") BETWEEN 2 AND 200")
				if err != nil {
					t.Fatal(err)
				}
				if r.Value == "" {
					continue
				}
				if n++; n%3 > nightly.Of(0, 2) {
					continue
				}
				got, err := Ask(t.Context(), c, In{Text: r.Value})
				if err != nil || got.Total == 0 {
					t.Errorf("%s: %q of %s is not found: %v", name, r.Value, column.Name, err)
					continue
				}
				if len(got.Matches[0].Found) == 0 {
					t.Errorf("%s: %q of %s: no place", name, r.Value, column.Name)
				}
			}
		}
		if c.Close(); n < 10 {
			t.Errorf("%s: only %d columns with text", name, n)
		}
	}
}

// derived are the columns of calls whose text says what pcapsule found out, in its own words or from
// other columns.
var derived = []string{"protocol", "transport", "src_ip", "dst_ip", "error", "outcome", "request_delivered", "response_delivered", "ended_by", "method", "endpoint", "summary", "request_content_type", "response_content_type", "user_agent", "auth_kind", "decrypted_by"}
