// Package search finds text in traffic: in paths, headers, bodies, SQL, Redis commands and all
// other text of calls, in plain or escaped form. A prefilter skips blocks that cannot contain the
// text, so most texts are never examined.
package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// In is the input of search_content.
type In struct {
	ask.Scope
	Text       string   `json:"text,omitempty" jsonschema:"what to find, such as an order number or an email address; also found in the escaped forms of URLs, HTML forms and JSON"`
	Pattern    string   `json:"pattern,omitempty" jsonschema:"instead of text: a regular expression (RE2)"`
	Whole      bool     `json:"whole,omitempty" jsonschema:"whole words only: 12345 is not found in 9123456"`
	IgnoreCase bool     `json:"ignore_case,omitempty"`
	In         []string `json:"in,omitempty" jsonschema:"only in these places (fields: users, topics, names of files, other text of protocols; default all)"`
	Service    string   `json:"service,omitempty" jsonschema:"only calls from or to this service, workload, pod, host or address"`
	Cursor     string   `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer, with the same input"`
}

// Answer is the answer of search_content.
type Answer struct {
	ask.Frame
	Total   int64        `json:"total_calls" jsonschema:"calls that contain it"`
	Places  []PlaceCount `json:"places"`
	Matches []TextMatch  `json:"matches" jsonschema:"by time"`
	Next    string       `json:"next_cursor,omitempty" jsonschema:"cursor of the next page; repeat the same input"`
}

// PlaceCount is the number of calls that contain a text in a place.
type PlaceCount struct {
	Place string `json:"place"`
	Calls int64  `json:"calls"`
}

// TextMatch is a call that contains the text.
type TextMatch struct {
	ask.Call
	Found []FoundText `json:"found"`
}

// FoundText is a place in a call that contains the text.
type FoundText struct {
	Place   string `json:"place"`
	Name    string `json:"name,omitempty" jsonschema:"name of the header, or path of the value in JSON"`
	Excerpt string `json:"excerpt" jsonschema:"text around the match, from the traffic, secrets masked"`
}

// Question is the question search_content.
func Question() ask.Question {
	q := ask.New("search_content", "Find text in traffic", "Finds a text or pattern in any text of calls (paths, headers, bodies, SQL, users, subjects, topics, files of every protocol), with place, masked excerpt and call. With kfl alone: the calls that match it.", true, Ask).
		Allow("in", spotNames()...)
	q.Keyed = "matches"
	return q
}

// Ask answers search_content.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Answer{Places: []PlaceCount{}, Matches: []TextMatch{}}
	var n *Needle
	if in.Text != "" || in.Pattern != "" || in.KFL == "" {
		if n, err = NewNeedle(ctx, in.Text, in.Pattern, in.Whole, in.IgnoreCase); err != nil {
			return nil, err
		}
	}
	if in.Service != "" {
		cond, args := terms.Either(c, in.Service)
		w.And(cond, args...)
	}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	after, err := ask.ReadCursor(c, in.Cursor)
	if err != nil {
		return nil, err
	}
	var list []Find
	var more bool
	if n == nil {
		list, more, err = listCalls(ctx, c, w, after.After("WHERE "), w.Page)
	} else {
		list, more, err = FindText(ctx, c, w, n, in.In, after, w.Page)
	}
	if err != nil {
		return nil, err
	}
	out.count(list, n != nil)
	if err := cmp.Or(out.fill(ctx, c, list, n), ctx.Err()); err != nil {
		return nil, err
	}
	if more && len(list) > 0 {
		last := list[len(list)-1]
		out.Next, out.Truncated = ask.Cursor{TS: last.Start, Bundle: last.Bundle, No: last.No}.String(), true
	}
	if err := ask.NoteUnread(ctx, c, &out.Frame, w); err != nil {
		return nil, err
	}
	if len(list) == 0 && n != nil && !in.IgnoreCase {
		out.Note("the search is case-sensitive; set ignore_case to ignore case")
	}
	out.Match(len(out.Matches))
	return out, nil
}

// listCalls lists the calls of a window.
func listCalls(ctx context.Context, c *forensics.Case, w *ask.Window, after string, limit int) ([]Find, bool, error) {
	return ask.Rows[Find](ctx, c, limit, fmt.Sprintf(`WITH f AS MATERIALIZED (SELECT %s, call_no, ts_ns, 0 AS bits FROM %s WHERE %s)
		SELECT bundle, call_no, ts_ns, bits, (SELECT count(*) FROM f) AS total FROM f %s ORDER BY ts_ns, bundle, call_no LIMIT %d`, terms.BundleOf(c, ""), "calls", w.Where, after, limit+1), w.Args...)
}

func (s *Answer) count(list []Find, places bool) {
	if len(list) == 0 {
		return
	}
	s.Total = list[0].Total
	for i, p := range Spots {
		if places && i < len(list[0].Counts) && list[0].Counts[i] > 0 {
			s.Places = append(s.Places, PlaceCount{p.Name, list[0].Counts[i]})
		}
	}
}

// fill reads the calls and cuts out the text around each match.
func (s *Answer) fill(ctx context.Context, c *forensics.Case, list []Find, n *Needle) error {
	keys := make([]ask.Key, len(list))
	for i, f := range list {
		keys[i] = f.Key()
	}
	cited, err := cite(ctx, c, keys)
	if err != nil {
		return err
	}
	found := map[ask.Key][]FoundText{}
	if n != nil {
		if found, err = excerpts(ctx, c, list, n); err != nil {
			return err
		}
	}
	for _, f := range list {
		m := TextMatch{Call: cited[f.Key()], Found: found[f.Key()]}
		if m.Found == nil {
			m.Found = []FoundText{}
		}
		s.Matches = append(s.Matches, m)
	}
	return nil
}

// cite reads calls by key.
func cite(ctx context.Context, c *forensics.Case, keys []ask.Key) (map[ask.Key]ask.Call, error) {
	type row struct {
		ask.Call
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
	}
	out := map[ask.Key]ask.Call{}
	if len(keys) == 0 {
		return out, nil
	}
	_, nos := ask.Split(keys)
	list, _, err := ask.Rows[row](ctx, c, ask.MaxLoaded, "SELECT "+terms.BundleOf(c, "")+", call_no, "+terms.CallColumns(c)+" FROM calls WHERE call_no IN (SELECT no FROM "+terms.Zip("no")+")", nos)
	for _, r := range list {
		out[ask.Key{Bundle: r.Bundle, No: r.No}] = r.Call
	}
	return out, err
}

// texts are the searchable texts of a call.
type texts struct {
	Bundle int64    `json:"bundle"`
	No     int64    `json:"call_no"`
	List   []string `json:"list"`
	Heads  []Header `json:"headers"`
	Bodies []string `json:"bodies"`
	Types  []string `json:"types"`
}

// excerpts cuts out the text around each match.
func excerpts(ctx context.Context, c *forensics.Case, list []Find, n *Needle) (map[ask.Key][]FoundText, error) {
	var columns []string
	for _, s := range Spots {
		if s.Column == "" {
			columns = append(columns, "''")
		} else {
			columns = append(columns, "left(coalesce("+s.Column+", ''), "+strconv.Itoa(ask.MaskedText)+")")
		}
	}
	bits := map[ask.Key]Find{}
	keys := make([]ask.Key, 0, len(list))
	for _, f := range list {
		bits[f.Key()] = f
		keys = append(keys, f.Key())
	}
	if len(keys) == 0 {
		return nil, nil
	}
	_, nos := ask.Split(keys)
	rows, _, err := ask.Rows[texts](ctx, c, ask.MaxLoaded, fmt.Sprintf(`SELECT %s, call_no, [%s] AS list, headers, [coalesce(request_body_sha256, ''::BLOB), coalesce(response_body_sha256, ''::BLOB)] AS bodies,
		[coalesce(request_content_type, ''), coalesce(response_content_type, '')] AS types FROM calls_raw WHERE call_no IN (SELECT no FROM %s)`, terms.BundleOf(c, ""), strings.Join(columns, ", "), terms.Zip("no")), nos)
	if err != nil {
		return nil, err
	}
	var hashes []string
	for _, r := range rows {
		for i, side := range [2]string{"request", "response"} {
			if bits[ask.Key{Bundle: r.Bundle, No: r.No}].Bits&spotBit(side) != 0 && r.Bodies[i] != "" && !slices.Contains(hashes, r.Bodies[i]) {
				hashes = append(hashes, r.Bodies[i])
			}
		}
	}
	bodies, err := bodiesAround(ctx, c, hashes, n)
	if err != nil {
		return nil, err
	}
	fields, err := fieldsOf(ctx, c, list)
	if err != nil {
		return nil, err
	}
	out := map[ask.Key][]FoundText{}
	for _, r := range rows {
		key := ask.Key{Bundle: r.Bundle, No: r.No}
		if f, ok := bits[key]; ok {
			out[key] = f.cutOut(c.Policy(), r, bodies, n)
			for _, h := range fields[key] {
				if text, _ := c.Policy().Value(h.Name, h.Value).(string); n.find(h.Value) != nil {
					cut, _ := excerpt(c.Policy(), "", text, n)
					out[key] = append(out[key], FoundText{"fields", h.Name, cut})
				}
			}
		}
	}
	return out, nil
}

func spotBit(body string) int64 {
	for i, s := range Spots {
		if s.body == body {
			return 1 << i
		}
	}
	return 0
}

func (f Find) cutOut(p *redact.Policy, r texts, bodies map[string]string, n *Needle) []FoundText {
	var out []FoundText
	for i, s := range Spots {
		if f.Bits&(1<<i) == 0 {
			continue
		}
		switch {
		case s.fields: // see excerpts
		case s.kind != "":
			for _, h := range r.Heads {
				if h.Kind == s.kind && n.find(h.Value) != nil {
					value := p.Header(h.Name, h.Value)
					if value == h.Value {
						value, _ = excerpt(p, "", h.Value, n)
					}
					out = append(out, FoundText{s.Name, h.Name, ask.Clip(value, 2*aroundText)})
				}
			}
		case s.body != "":
			side := 0
			if s.body == "response" {
				side = 1
			}
			text, ok := bodies[r.Bodies[side]]
			if !ok {
				out = append(out, FoundText{Place: s.Name, Excerpt: "[in binary data]"})
				continue
			}
			cut, path := excerpt(p, r.Types[side], text, n)
			out = append(out, FoundText{s.Name, path, cut})
		default:
			kind := ""
			if s.sql {
				kind = "sql"
			}
			text := r.List[i]
			if s.Name == "query" {
				text = p.Query(text)
			}
			cut, path := excerpt(p, kind, text, n)
			out = append(out, FoundText{s.Name, path, cut})
		}
	}
	return out
}

// bodiesAround reads the part of each body with the first match.
func bodiesAround(ctx context.Context, c *forensics.Case, hashes []string, n *Needle) (map[string]string, error) {
	whole, err := ask.BodyTexts(ctx, c, hashes, ask.MaskedText)
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
		p, err := ask.One[part](ctx, c, "SELECT text FROM bodies_raw WHERE sha256 = unhex('"+h+"') AND "+cond+" ORDER BY part LIMIT 1", args...)
		if err != nil {
			return nil, err
		}
		if at := n.find(p.Text); at != nil {
			whole[h] = strings.ToValidUTF8(p.Text[max(0, at[0]-ask.MaskedText/2):min(len(p.Text), at[1]+ask.MaskedText/2)], "")
		}
	}
	return whole, nil
}

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string {
	s := plural.Sprintf("%d {call contains|calls contain} it", a.Total)
	if len(a.Places) > 0 {
		s += plural.Sprintf(", most often in %s", a.Places[0].Place)
	}
	return s + "."
}
