package patterns

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of the analysis of bodies.
const (
	maxBodies     = 4000   // distinct bodies, taken from all endpoints in turn
	maxBodyText   = 64_000 // bytes of a body; longer ones are skipped
	maxAllText    = 32 << 20
	maxEachBodies = 200 // bodies of one endpoint and side
	maxFields     = 400 // fields of one endpoint and side
	maxDriftDepth = 12
)

// contentType finds bodies that contradict their Content-Type.
func (l *finder) contentType(ctx context.Context) ([]Pattern, error) {
	type row struct {
		ask.Target
		Side    string   `json:"side"`
		Type    string   `json:"content_type"`
		Is      string   `json:"found"`
		Calls   int64    `json:"calls"`
		CallIDs []string `json:"call_ids"`
	}
	side := func(s string) string {
		return fmt.Sprintf("SELECT bn, far, protocol, coalesce(method, '') AS method, %[2]s AS tpl, '%[1]s' AS side, %[1]s_content_type AS content_type, %[1]s_body_sha256 AS sha256, call_id, ts_ns, "+terms.Asked+" AS asked FROM x WHERE protocol IN %[3]s AND %[1]s_body_size BETWEEN 1 AND 1000000", s, terms.PathTemplate, terms.Web)
	}
	kept := "true"
	if len(l.c.Redactions()) > 0 { // a body that was removed is x of the same length
		kept = "NOT regexp_full_match(text, 'x+')"
	}
	// A body is read once for each content type it was sent with.
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, l.k.Ends(l.c, "service")+fmt.Sprintf(`, u AS NOT MATERIALIZED (%s UNION ALL %s),
		d AS (SELECT DISTINCT sha256, content_type FROM u WHERE content_type ILIKE '%%json%%' OR content_type ILIKE 'text/plain%%' OR content_type ILIKE 'text/html%%' OR content_type IS NULL),
		t AS (SELECT sha256, any_value(text) AS text FROM bodies WHERE part = 0 AND complete AND size <= 1000000 AND coalesce(%s, true) AND sha256 IN (SELECT sha256 FROM d) GROUP BY 1),
		b AS (SELECT d.sha256, d.content_type, CASE WHEN content_type ILIKE '%%json%%' AND content_type NOT ILIKE '%%ndjson%%' AND content_type NOT ILIKE '%%json-seq%%' AND content_type NOT ILIKE '%%jsonl%%' AND content_type NOT ILIKE '%%stream%%' THEN
				CASE WHEN text IS NULL THEN 'binary' WHEN NOT json_valid(text) THEN CASE WHEN regexp_matches(text, '^\s*<') THEN 'markup' ELSE 'no JSON' END END
			WHEN content_type ILIKE '%%json%%' THEN NULL WHEN regexp_matches(text, '^\s*[{\[]') AND json_valid(text) THEN 'JSON' END AS found FROM d JOIN t USING (sha256))
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, side, content_type, found, calls, call_ids FROM (SELECT bn, far, protocol, method, tpl, side, coalesce(u.content_type, '') AS content_type, found, bool_or(asked) AS asked, count(*) AS calls, %s
			FROM u JOIN (SELECT * FROM b WHERE found IS NOT NULL) b ON b.sha256 = u.sha256 AND b.content_type IS NOT DISTINCT FROM u.content_type GROUP BY ALL) JOIN dname USING (bn) ORDER BY calls DESC, 1, 4, 5, 6, 7, 8, 9`, side("request"), side("response"), kept, terms.SomeCalls), l.k.Args...)
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		name := ask.Clip(terms.EndpointName(r.Protocol, r.Method, r.Path), 200)
		says := "has no Content-Type"
		if r.Type != "" {
			says = "says " + ask.Clip(r.Type, 80)
		}
		out = append(out, Pattern{Kind: "content_type", Dst: r.Dst, Endpoint: name, Problem: true, Count: r.Calls, Confidence: "exact", CallIDs: r.CallIDs, How: "the body was parsed",
			KFL:   ask.DstKFL(r.Dst, r.Pb, r.Asked, l.known) + " and " + terms.EndpointKFL(r.Protocol, r.Method, r.Path) + " and " + r.Side + "_content_type" + map[bool]string{true: " == " + terms.QuoteKFL(r.Type), false: " == nil"}[r.Type != ""],
			Words: plural.Sprintf("%s of %s at %s %s, but the body is %s (%d {call|calls}).", r.Side, name, r.Dst, says, r.Is, r.Calls)})
	}
	return out, nil
}

// jsonField counts the types and date formats of the JSON values at one path: field names joined
// with dots, [] for elements.
type jsonField struct {
	kinds map[string]*seenKind // JSON type → calls
	dates map[string]*seenKind // format of a date → calls
}

type seenKind struct {
	calls int64
	id    string
	value string
}

// driftBody is one distinct body and the number of calls with it.
type driftBody struct {
	ask.Target
	Side   string `json:"side"`
	Class  string `json:"class"`
	Calls  int64  `json:"calls"`
	CallID string `json:"call_id"`
	Text   string `json:"text"`
}

// drift finds fields of JSON bodies whose type or date format changes within an endpoint. It
// compares responses only within one status class, because errors have another schema.
func (l *finder) drift(ctx context.Context) ([]Pattern, error) {
	const class = "CASE WHEN side = 'request' THEN NULL ELSE status_code // 100 END"
	side := func(s string) string {
		return fmt.Sprintf("SELECT hash(bn, far, protocol, coalesce(method, ''), %[6]s, side, %[2]s) AS e, hash(sha256) AS h, k, ts_ns, side = 'request' AS sent, host = far AS asked FROM (SELECT *, '%[1]s' AS side, %[1]s_body_sha256 AS sha256, %[4]s AS k FROM x WHERE protocol IN %[5]s AND %[1]s_body_size BETWEEN 2 AND %[3]d AND coalesce(%[1]s_content_type ILIKE '%%json%%', true))", s, class, maxBodyText, terms.NumberOf(l.c), terms.Web, terms.PathTemplate)
	}
	// Every call may have its own body, so endpoints and bodies are hashes until few are left. r
	// selects up to maxEachBodies of each endpoint, and of these the first ones in turn.
	rows, more, err := ask.Rows[driftBody](ctx, l.c, maxBodies, l.k.Ends(l.c, "service")+fmt.Sprintf(`, m AS MATERIALIZED (%[1]s UNION ALL %[2]s),
		q AS (SELECT e, min(h, %[3]d) AS list FROM (SELECT e, h FROM m GROUP BY e, h) GROUP BY e),
		r AS MATERIALIZED (SELECT e, unnest(list) AS h, generate_subscripts(list, 1) AS turn FROM q),
		n AS (SELECT turn, sum(n) OVER (ORDER BY turn) - n AS before FROM (SELECT turn, count(*) AS n FROM r GROUP BY turn)),
		g AS MATERIALIZED (SELECT turn, sent, bool_or(asked) AS asked, count(*) AS calls, arg_min(k, (ts_ns, k)) AS k, min(ts_ns) AS t0 FROM m JOIN (SELECT * FROM r WHERE turn IN (SELECT turn FROM n WHERE before < %[4]d)) USING (e, h) GROUP BY e, h, turn, sent),
		i AS (SELECT * FROM (SELECT %[7]s AS k, * FROM x) WHERE k IN (SELECT k FROM g)),
		s AS MATERIALIZED (SELECT bn, far, protocol, coalesce(method, '') AS method, %[6]s AS tpl, side, coalesce(%[8]s || 'xx', '') AS class, CASE WHEN sent THEN request_body_sha256 ELSE response_body_sha256 END AS sha256, asked, calls, call_id, t0
			FROM (SELECT *, CASE WHEN sent THEN 'request' ELSE 'response' END AS side FROM g) JOIN i USING (k) ORDER BY turn, bn, far, protocol, method, tpl, side, class, sha256 LIMIT %[4]d),
		t AS (SELECT sha256, any_value(text) AS text FROM bodies WHERE part = 0 AND complete AND size <= %[5]d AND sha256 IN (SELECT sha256 FROM s) GROUP BY 1)
		SELECT coalesce(nullif(far, ''), dst) AS dst, pb, asked, protocol, method, tpl, side, class, calls, lower(hex(call_id)) AS call_id, text FROM s JOIN t USING (sha256) JOIN dname USING (bn)
		WHERE text IS NOT NULL ORDER BY 1, 4, 5, 6, 7, 8, t0, sha256`, side("request"), side("response"), maxEachBodies, maxBodies+1, maxBodyText, terms.PathTemplate, terms.NumberOf(l.c), class), l.k.Args...)
	if err != nil {
		return nil, err
	}
	if more {
		l.note(fmt.Sprintf("drift: %d distinct bodies were read, at most %d per endpoint", maxBodies, maxEachBodies))
	}
	var out []Pattern
	total := 0
	for i := 0; i < len(rows); {
		first := &rows[i]
		fields := map[string]*jsonField{}
		k := i
		for ; k < len(rows) && rows[k].same(first); k++ {
			if total += len(rows[k].Text); total > maxAllText {
				l.note("drift: only 32 MiB of bodies were read")
				break
			}
			rows[k].walk(fields)
		}
		out = append(out, l.drifts(first, fields)...)
		if total > maxAllText {
			break
		}
		i = k
	}
	return out, nil
}

func (b *driftBody) same(o *driftBody) bool {
	return b.Dst == o.Dst && b.Protocol == o.Protocol && b.Method == o.Method && b.Path == o.Path && b.Side == o.Side && b.Class == o.Class
}

func (b *driftBody) walk(fields map[string]*jsonField) {
	d := json.NewDecoder(strings.NewReader(b.Text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return
	}
	seen := map[string]bool{} // a field counts once per type and body
	b.value("", v, 0, fields, seen)
}

func (b *driftBody) value(at string, v any, depth int, fields map[string]*jsonField, seen map[string]bool) {
	if depth > maxDriftDepth {
		return
	}
	name := ""
	switch v := v.(type) {
	case nil:
		return // null counts as absent, not as another type
	case bool:
		name = "boolean"
	case json.Number:
		name = "number"
	case string:
		name = "string"
	case []any:
		name = "array"
		for _, e := range v {
			b.value(at+"[]", e, depth+1, fields, seen)
		}
	case map[string]any:
		name = "object"
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b.value(strings.TrimPrefix(at+"."+k, "."), v[k], depth+1, fields, seen)
		}
	}
	f := fields[at]
	if f == nil {
		if len(fields) >= maxFields {
			return
		}
		f = &jsonField{kinds: map[string]*seenKind{}, dates: map[string]*seenKind{}}
		fields[at] = f
	}
	b.see(f.kinds, at+"\x00"+name, name, short(v), seen)
	if s, ok := v.(string); ok {
		if form := dateForm(at, s); form != "" {
			b.see(f.dates, at+"\x01"+form, form, s, seen)
		}
	}
}

func (b *driftBody) see(in map[string]*seenKind, mark, name, value string, seen map[string]bool) {
	k := in[name]
	if k == nil {
		k = &seenKind{id: b.CallID, value: ask.Clip(value, 40)}
		in[name] = k
	}
	if !seen[mark] {
		seen[mark] = true
		k.calls += b.Calls
	}
}

func short(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

var (
	dateName  = regexp.MustCompile(`(?i)(^|[._\]])[a-z_]*(date|time|timestamp|[a-z]_at|[a-z]At|_on|expires|created|updated|deadline)$`)
	slashDate = regexp.MustCompile(`^\d{1,4}[/.]\d{1,2}[/.]\d{1,4}([ T]\d{1,2}:\d{2}(:\d{2})?)?$`)
	isoDate   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	isoLike   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}`)
	wordDate  = regexp.MustCompile(`(?i)^(mon|tue|wed|thu|fri|sat|sun)?,? ?\d{0,2} ?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)`)
	epochTime = regexp.MustCompile(`^1\d{9}(\d{3})?$`)
)

// dateForm returns the format of a text that is a date, or "" if it is not a date. A text that looks
// like a date but names no valid day is "impossible".
func dateForm(at, s string) string {
	switch {
	case len(s) < 6 || len(s) > 40:
		return ""
	case isoDate.MatchString(s):
		if _, err := time.Parse("2006-01-02", s); err != nil {
			return "impossible"
		}
		return "date"
	case isoLike.MatchString(s):
		if _, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return "rfc3339"
		}
		if _, err := time.Parse("2006-01-02T15:04:05", strings.Replace(s[:min(19, len(s))], " ", "T", 1)); err != nil && len(s) >= 19 {
			return "impossible"
		}
		return "no time zone or not RFC 3339"
	case slashDate.MatchString(s) && (dateName.MatchString(at) || strings.Contains(s, "/")):
		return "slashes or dots"
	case dateName.MatchString(at) && wordDate.MatchString(s):
		return "words"
	case dateName.MatchString(at) && epochTime.MatchString(s):
		return "seconds as text"
	}
	return ""
}

// drifts returns the findings for the fields of one endpoint, side and status class.
func (l *finder) drifts(b *driftBody, fields map[string]*jsonField) []Pattern {
	var out []Pattern
	names := make([]string, 0, len(fields))
	for n := range fields {
		names = append(names, n)
	}
	slices.Sort(names)
	name := ask.Clip(terms.EndpointName(b.Protocol, b.Method, b.Path), 200)
	add := func(field, what, how string, in map[string]*seenKind) {
		list, all := inOrder(in)
		p := Pattern{Kind: "drift", Dst: b.Dst, Endpoint: name, Problem: true, Count: all - in[list[0]].calls, Confidence: "exact", How: how, KFL: ask.DstKFL(b.Dst, b.Pb, b.Asked, l.known) + " and " + terms.EndpointKFL(b.Protocol, b.Method, b.Path)}
		var parts []string
		for _, kind := range list {
			k := in[kind]
			text := fmt.Sprintf("%s in %d", kind, k.calls)
			if k.value != "" {
				text += fmt.Sprintf(" (%q)", k.value)
			}
			parts = append(parts, text)
			p.CallIDs = append(p.CallIDs, k.id)
			p.Numbers = append(p.Numbers, Number{strings.ReplaceAll(kind, " ", "_"), float64(k.calls)})
		}
		if field == "" {
			field = "the whole body"
		}
		p.Words = fmt.Sprintf("%s in the %s of %s at %s: %s of %s.", what, strings.TrimSpace(b.Side+" "+b.Class), name, b.Dst, strings.Join(parts, ", "), ask.Clip(field, 120))
		out = append(out, p)
	}
	for _, n := range names {
		f := fields[n]
		if len(f.kinds) > 1 {
			add(n, "Type changes", "types of JSON values at the same path, without null; one call is cited for each type", f.kinds)
		}
		if len(f.dates) > 1 || len(f.dates) == 1 && odd(f.dates) {
			add(n, "Date format", "dates in text; expected is RFC 3339 or YYYY-MM-DD, and one format per field", f.dates)
		}
	}
	return out
}

// odd reports whether no date has a standard format.
func odd(dates map[string]*seenKind) bool {
	return dates["rfc3339"] == nil && dates["date"] == nil
}

// inOrder lists kinds, most calls first, and counts the calls of all.
func inOrder(in map[string]*seenKind) ([]string, int64) {
	var list []string
	var all int64
	for k, v := range in {
		list = append(list, k)
		all += v.calls
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(in[b].calls, in[a].calls), strings.Compare(a, b))
	})
	return list, all
}
