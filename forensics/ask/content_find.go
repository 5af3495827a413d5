package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of what is looked for.
const (
	minText    = 2    // bytes; less is everywhere
	maxText    = 1000 // bytes
	maxPattern = 1000 // bytes
)

// spot is a place in a call where text can be.
type spot struct {
	name   string
	column string // SQL of a text of calls; empty for bodies and headers
	kind   string // of a header
	body   string // request or response
	sql    bool   // the text is a statement
}

// spots are the places, the cheap ones first. Their order is the order of bits in an answer.
var spots = [...]spot{
	{name: "path", column: "path"}, {name: "query", column: "query_string"}, {name: "host", column: "host"},
	{name: "sql", column: "postgresql_query", sql: true}, {name: "sql.params", column: "array_to_string(postgresql_params, ', ')", sql: true},
	{name: "sql.result", column: "postgresql_preview"}, {name: "sql.error", column: "concat_ws(' ', postgresql_error_message, postgresql_error_detail)"},
	{name: "redis.command", column: "redis_command"}, {name: "redis.reply", column: "redis_reply"},
	{name: "grpc.request", column: "grpc_request_text"}, {name: "grpc.response", column: "grpc_response_text"}, {name: "grpc.message", column: "grpc_message"},
	{name: "dns.answers", column: "array_to_string(dns_answers, ' ')"}, {name: "trace_id", column: "trace_id"}, {name: "request_id", column: "request_id"},
	{name: "request.headers", kind: "request"}, {name: "response.headers", kind: "response"},
	{name: "request.body", body: "request"}, {name: "response.body", body: "response"},
}

// SpotNames lists the places that search_content knows.
func SpotNames() []string {
	out := make([]string, len(spots))
	for i, s := range spots {
		out[i] = s.name
	}
	return out
}

// needle is what is looked for.
type needle struct {
	forms []string // the text, and how it stands where it is escaped; empty for a pattern
	fold  bool     // letters' case does not count
	re    *regexp.Regexp
	test  string // RE2 that a hit must have besides; empty where forms are enough
}

// newNeedle reads what is to be found: text, at word's edges where whole, or a pattern.
func newNeedle(text, pattern string, whole, fold bool) (*needle, error) {
	n := &needle{fold: fold}
	flags := "(?s)"
	if fold {
		flags = "(?si)"
	}
	switch {
	case text != "" && pattern != "":
		return nil, wrong("pattern", "not together with text")
	case pattern != "":
		if len(pattern) > maxPattern {
			return nil, wrong("pattern", "%d bytes, want at most %d", len(pattern), maxPattern)
		}
		re, err := regexp.Compile(flags + "(?:" + pattern + ")")
		if err != nil {
			return nil, wrong("pattern", "%v", err)
		}
		if re.MatchString("") {
			return nil, wrong("pattern", "it is found in every text")
		}
		n.re, n.test = re, re.String()
	case len(text) < minText || len(text) > maxText || !utf8.ValidString(text):
		return nil, wrong("text", "%d bytes, want %d to %d of UTF-8", len(text), minText, maxText)
	default:
		n.forms = forms(text)
		var list []string
		for _, f := range n.forms {
			list = append(list, regexp.QuoteMeta(f))
		}
		expr := "(?:" + strings.Join(list, "|") + ")"
		if whole {
			before, after := "", ""
			if first, _ := utf8.DecodeRuneInString(text); wordRune(first) {
				before = `(?:^|[^0-9A-Za-z_])`
			}
			if last, _ := utf8.DecodeLastRuneInString(text); wordRune(last) {
				after = `(?:$|[^0-9A-Za-z_])`
			}
			expr = before + expr + after
			n.test = flags + expr
		}
		n.re = regexp.MustCompile(flags + expr)
	}
	return n, nil
}

func wordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// forms are the ways in which a text stands in traffic: as it is, in URLs and forms, and
// within JSON.
func forms(text string) []string {
	out := []string{text}
	add := func(s string) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	add(url.QueryEscape(text))
	add(url.PathEscape(text))
	if q, err := json.Marshal(text); err == nil {
		add(string(q[1 : len(q)-1]))
	}
	return out
}

// in is the condition that a column holds the needle.
func (n *needle) in(column string) (string, []any) {
	var cond []string
	var args []any
	if n.fold && n.re != nil && len(n.forms) > 0 {
		for _, f := range n.forms {
			cond, args = append(cond, "contains(lower("+column+"), ?)"), append(args, strings.ToLower(f))
		}
	} else {
		for _, f := range n.forms {
			cond, args = append(cond, "contains("+column+", ?)"), append(args, f)
		}
	}
	sql := strings.Join(cond, " OR ")
	switch {
	case n.test != "" && sql != "": // CASE looks at the pattern only where the text is there; AND would everywhere
		sql, args = "CASE WHEN "+sql+" THEN regexp_matches("+column+", ?) ELSE false END", append(args, "("+n.test+")")
	case n.test != "":
		sql, args = "regexp_matches("+column+", ?)", append(args, "("+n.test+")") // the group: else DuckDB makes LIKE of anchors
	}
	return "(" + sql + ")", args
}

// find is where a text holds the needle, or nil.
func (n *needle) find(s string) []int { return n.re.FindStringIndex(s) }

// finding is one call that holds the needle.
type finding struct {
	Bundle int64 `json:"bundle"`
	No     int64 `json:"call_no"`
	Start  int64 `json:"ts_ns"`
	Bits   int64 `json:"bits"`
	Total  int64 `json:"total"`

	Counts []int64 `json:"counts"` // calls for each of spots
}

func (f finding) key() rowKey { return rowKey{f.Bundle, f.No} }

// findText finds the calls of a window that hold the needle in one of the places, by time.
// The first of the findings has the totals.
func findText(ctx context.Context, c *forensics.Case, w *window, from string, n *needle, in []string, after string, limit int) ([]finding, bool, error) {
	var args []any
	var bits []string
	bodies := ""
	for i, s := range spots {
		if len(in) > 0 && !slices.Contains(in, s.name) {
			continue
		}
		cond, values := "", []any(nil)
		switch {
		case s.body != "":
			if bodies == "" {
				text, more := n.in("text")
				if n.test == "" && !n.fold { // binary bodies; DuckDB has no search in bytes, and a find must begin at an even digit
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
		default:
			cond, values = n.in(s.column)
		}
		bits, args = append(bits, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", cond, 1<<i)), append(args, values...)
	}
	if len(bits) == 0 {
		return nil, false, wrong("in", "no place of that name, want some of %s", strings.Join(SpotNames(), ", "))
	}
	with := "WITH "
	if bodies != "" {
		with = bodies + ", "
	}
	var counts []string
	for i := range spots {
		counts = append(counts, fmt.Sprintf("count(*) FILTER (bits & %d <> 0)", 1<<i))
	}
	sql := fmt.Sprintf(`%s f AS MATERIALIZED (SELECT * FROM (SELECT %s, call_no, ts_ns, %s AS bits FROM %s WHERE %s) WHERE bits <> 0)
		SELECT f.bundle, f.call_no, f.ts_ns, f.bits, t.total, t.counts FROM f, (SELECT count(*) AS total, [%s] AS counts FROM f) t %s ORDER BY f.ts_ns, f.bundle, f.call_no LIMIT %d`,
		with, bundleOf(c, ""), strings.Join(bits, " + "), from, w.where, strings.Join(counts, ", "), after, limit+1)
	return readRows[finding](ctx, c, limit, sql, append(args, w.args...)...)
}
