package ask

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// SearchIn asks where a text stands.
type SearchIn struct {
	Scope
	Text       string   `json:"text,omitempty" jsonschema:"what to find, such as an order's number or a mail address; also as URLs, forms and JSON write it"`
	Pattern    string   `json:"pattern,omitempty" jsonschema:"instead of text: a regular expression (RE2)"`
	Whole      bool     `json:"whole,omitempty" jsonschema:"12345 is not found in 9123456"`
	IgnoreCase bool     `json:"ignore_case,omitempty"`
	In         []string `json:"in,omitempty" jsonschema:"only in these places: path, query, host, sql, sql.params, sql.result, sql.error, redis.command, redis.reply, grpc.request, grpc.response, grpc.message, dns.answers, trace_id, request_id, request.headers, response.headers, request.body, response.body; all where not given"`
	Service    string   `json:"service,omitempty" jsonschema:"only calls that this service, workload, pod, host or address made or got"`
	Cursor     string   `json:"cursor,omitempty" jsonschema:"next of the last answer, for the calls after those"`
}

// Search is where a text stands.
type Search struct {
	Frame
	Total   int64        `json:"total_calls" jsonschema:"calls that hold it"`
	Places  []PlaceCount `json:"places"`
	Matches []TextMatch  `json:"matches" jsonschema:"by time"`
	Next    string       `json:"next,omitempty" jsonschema:"cursor for more"`
}

// PlaceCount is how many calls hold a text in a place.
type PlaceCount struct {
	Place string `json:"place"`
	Calls int64  `json:"calls"`
}

// TextMatch is a call that holds the text.
type TextMatch struct {
	Call
	Found []FoundText `json:"found"`
}

// FoundText is a place in a call where the text stands.
type FoundText struct {
	Place   string `json:"place"`
	Name    string `json:"name,omitempty" jsonschema:"of a header; of a JSON text, the path of the value"`
	Excerpt string `json:"excerpt" jsonschema:"text around the find, from the traffic, secrets masked"`
}

func searchContent() Question {
	return question("search_content", "Find text in traffic", "Where a text or pattern stands: paths, queries, headers, bodies, SQL, Redis, gRPC; with place, masked excerpt and call. With kfl alone: the calls it holds for.", true, AskSearch)
}

// AskSearch answers where a text stands in the traffic.
func AskSearch(ctx context.Context, c *forensics.Case, in SearchIn) (*Search, error) {
	w, err := in.read(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, name := range in.In {
		if !slices.Contains(SpotNames(), name) {
			return nil, wrong("in", "%q, want some of %s", name, strings.Join(SpotNames(), ", "))
		}
	}
	out := &Search{Places: []PlaceCount{}, Matches: []TextMatch{}}
	var n *needle
	if in.Text != "" || in.Pattern != "" || in.KFL == "" {
		if n, err = newNeedle(in.Text, in.Pattern, in.Whole, in.IgnoreCase); err != nil {
			return nil, err
		}
	}
	if in.Service != "" {
		cond, args := either(c, in.Service)
		w.and(cond, args...)
	}
	if out.Frame, err = w.frame(ctx, c); err != nil {
		return nil, err
	}
	after, err := readCursor(c, in.Cursor)
	if err != nil {
		return nil, err
	}
	var list []finding
	var more bool
	if n == nil {
		list, more, err = holds(ctx, c, w, after.sql("WHERE "), w.limit)
	} else {
		list, more, err = findText(ctx, c, w, n, in.In, after, w.limit)
	}
	if err != nil {
		return nil, err
	}
	out.count(list, n != nil)
	if err := out.fill(ctx, c, list, n); err != nil {
		return nil, err
	}
	if more && len(list) > 0 {
		last := list[len(list)-1]
		out.Next, out.Truncated = position{last.Start, last.Bundle, last.No}.String(), true
	}
	if err := unread(ctx, c, &out.Frame, w); err != nil {
		return nil, err
	}
	if len(list) == 0 && n != nil && !in.IgnoreCase {
		out.note("letters' case counts; ignore_case finds the text in any case")
	}
	out.matched(len(out.Matches))
	return out, nil
}

// holds lists the calls of a window.
func holds(ctx context.Context, c *forensics.Case, w *window, after string, limit int) ([]finding, bool, error) {
	return readRows[finding](ctx, c, limit, fmt.Sprintf(`WITH f AS MATERIALIZED (SELECT %s, call_no, ts_ns, 0 AS bits FROM %s WHERE %s)
		SELECT bundle, call_no, ts_ns, bits, (SELECT count(*) FROM f) AS total FROM f %s ORDER BY ts_ns, bundle, call_no LIMIT %d`, bundleOf(c, ""), "calls", w.where, after, limit+1), w.args...)
}

func (s *Search) count(list []finding, places bool) {
	if len(list) == 0 {
		return
	}
	s.Total = list[0].Total
	for i, p := range spots {
		if places && i < len(list[0].Counts) && list[0].Counts[i] > 0 {
			s.Places = append(s.Places, PlaceCount{p.name, list[0].Counts[i]})
		}
	}
}

// fill reads the calls and cuts out the text around each find.
func (s *Search) fill(ctx context.Context, c *forensics.Case, list []finding, n *needle) error {
	keys := make([]rowKey, len(list))
	for i, f := range list {
		keys[i] = f.key()
	}
	cited, err := cite(ctx, c, keys)
	if err != nil {
		return err
	}
	found := map[rowKey][]FoundText{}
	if n != nil {
		if found, err = excerpts(ctx, c, list, n); err != nil {
			return err
		}
	}
	for _, f := range list {
		m := TextMatch{Call: cited[f.key()], Found: found[f.key()]}
		if m.Found == nil {
			m.Found = []FoundText{}
		}
		s.Matches = append(s.Matches, m)
	}
	return nil
}

// cite reads calls by their numbers.
func cite(ctx context.Context, c *forensics.Case, keys []rowKey) (map[rowKey]Call, error) {
	type row struct {
		Call
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
	}
	out := map[rowKey]Call{}
	if len(keys) == 0 {
		return out, nil
	}
	_, nos := split(keys)
	list, _, err := readRows[row](ctx, c, maxLoaded, "SELECT "+bundleOf(c, "")+", call_no, "+callColumns()+" FROM calls WHERE call_no IN (SELECT no FROM "+zip("no")+")", nos)
	for _, r := range list {
		out[rowKey{r.Bundle, r.No}] = r.Call
	}
	return out, err
}

// texts are the texts of a call in which something can be found.
type texts struct {
	Bundle int64          `json:"bundle"`
	No     int64          `json:"call_no"`
	List   []string       `json:"list"`
	Heads  []headerOfCall `json:"headers"`
	Bodies []string       `json:"bodies"`
	Types  []string       `json:"types"`
}

type headerOfCall struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Kind  string `json:"kind"`
}

// excerpts cuts out the text around each find.
func excerpts(ctx context.Context, c *forensics.Case, list []finding, n *needle) (map[rowKey][]FoundText, error) {
	var columns []string
	for _, s := range spots {
		if s.column == "" {
			columns = append(columns, "''")
		} else {
			columns = append(columns, "left(coalesce("+s.column+", ''), "+strconv.Itoa(maskedText)+")")
		}
	}
	bits := map[rowKey]finding{}
	keys := make([]rowKey, 0, len(list))
	for _, f := range list {
		bits[f.key()] = f
		keys = append(keys, f.key())
	}
	if len(keys) == 0 {
		return nil, nil
	}
	_, nos := split(keys)
	rows, _, err := readRows[texts](ctx, c, maxLoaded, fmt.Sprintf(`SELECT %s, call_no, [%s] AS list, headers, [coalesce(request_body_sha256, ''::BLOB), coalesce(response_body_sha256, ''::BLOB)] AS bodies,
		[coalesce(request_content_type, ''), coalesce(response_content_type, '')] AS types FROM calls_raw WHERE call_no IN (SELECT no FROM %s)`, bundleOf(c, ""), strings.Join(columns, ", "), zip("no")), nos)
	if err != nil {
		return nil, err
	}
	var hashes []string
	for _, r := range rows {
		for i, side := range [2]string{"request", "response"} {
			if bits[rowKey{r.Bundle, r.No}].Bits&spotBit(side) != 0 && r.Bodies[i] != "" && !slices.Contains(hashes, r.Bodies[i]) {
				hashes = append(hashes, r.Bodies[i])
			}
		}
	}
	bodies, err := bodiesAround(ctx, c, hashes, n)
	if err != nil {
		return nil, err
	}
	out := map[rowKey][]FoundText{}
	for _, r := range rows {
		key := rowKey{r.Bundle, r.No}
		if f, ok := bits[key]; ok {
			out[key] = f.cutOut(c.Policy(), r, bodies, n)
		}
	}
	return out, nil
}

func spotBit(body string) int64 {
	for i, s := range spots {
		if s.body == body {
			return 1 << i
		}
	}
	return 0
}

func (f finding) cutOut(p *redact.Policy, r texts, bodies map[string]string, n *needle) []FoundText {
	var out []FoundText
	for i, s := range spots {
		if f.Bits&(1<<i) == 0 {
			continue
		}
		switch {
		case s.kind != "":
			for _, h := range r.Heads {
				if h.Kind == s.kind && n.find(h.Value) != nil {
					value := p.Header(h.Name, h.Value)
					if value == h.Value {
						value, _ = excerpt(p, "", h.Value, n)
					}
					out = append(out, FoundText{s.name, h.Name, clip(value, 2*aroundText)})
				}
			}
		case s.body != "":
			side := 0
			if s.body == "response" {
				side = 1
			}
			text, ok := bodies[r.Bodies[side]]
			if !ok {
				out = append(out, FoundText{Place: s.name, Excerpt: "[in bytes that are not text]"})
				continue
			}
			cut, path := excerpt(p, r.Types[side], text, n)
			out = append(out, FoundText{s.name, path, cut})
		default:
			kind := ""
			if s.sql {
				kind = "sql"
			}
			text := r.List[i]
			if s.name == "query" {
				text = p.Query(text)
			}
			cut, path := excerpt(p, kind, text, n)
			out = append(out, FoundText{s.name, path, cut})
		}
	}
	return out
}

// bodiesAround reads the text around the first find in bodies.
func bodiesAround(ctx context.Context, c *forensics.Case, hashes []string, n *needle) (map[string]string, error) {
	whole, err := bodyTexts(ctx, c, hashes, maskedText)
	if err != nil {
		return nil, err
	}
	for _, h := range hashes {
		if text, ok := whole[h]; ok && n.find(text) != nil || len(h) != 64 {
			continue
		}
		cond, args := n.in("text")
		type part struct {
			Text string `json:"text"`
		}
		p, err := readOne[part](ctx, c, "SELECT text FROM bodies_raw WHERE sha256 = unhex('"+h+"') AND "+cond+" ORDER BY part LIMIT 1", args...)
		if err != nil {
			return nil, err
		}
		if at := n.find(p.Text); at != nil {
			whole[h] = strings.ToValidUTF8(p.Text[max(0, at[0]-maskedText/2):min(len(p.Text), at[1]+maskedText/2)], "")
		}
	}
	return whole, nil
}
