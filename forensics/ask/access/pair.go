package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/statements"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of a pair.
const (
	pairCalls = 10
	pairBody  = 2000 // bytes of a body that are shown
)

// PairIn is the input of get_pair.
type PairIn struct {
	ask.Scope
	Src string `json:"src" jsonschema:"one side: service, workload, pod, host or address; * and ? match"`
	Dst string `json:"dst" jsonschema:"the other side"`

	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer, with the same input"`
}

// Pair is the answer of get_pair.
type Pair struct {
	ask.Frame
	Forth  ask.Load     `json:"forth" jsonschema:"calls from src to dst"`
	Back   ask.Load     `json:"back" jsonschema:"calls from dst to src"`
	Kinds  []PairKind   `json:"kinds" jsonschema:"kinds of requests, most frequent first"`
	Calls  []PairCall   `json:"calls" jsonschema:"the last calls, by time, as they were on the wire; default 10"`
	Next   string       `json:"next_cursor,omitempty" jsonschema:"cursor for the calls before these; repeat the same input"`
	Unread []UnreadConn `json:"unread" jsonschema:"connections between the two whose calls could not be read"`
}

// PairKind summarizes calls of one kind.
type PairKind struct {
	Direction string   `json:"direction" jsonschema:"forth or back"`
	Protocol  string   `json:"protocol"`
	Endpoint  string   `json:"endpoint"`
	Status    string   `json:"status,omitempty"`
	Calls     int64    `json:"calls"`
	First     string   `json:"first"`
	Last      string   `json:"last"`
	CallIDs   []string `json:"call_ids"`
}

// PairCall is one call as it was sent. Credentials are masked.
type PairCall struct {
	ask.Call
	Direction string       `json:"direction"`
	SrcPod    string       `json:"src_pod,omitempty"`
	DstPod    string       `json:"dst_pod,omitempty"`
	Target    string       `json:"target,omitempty" jsonschema:"path with query, SQL statement, or command"`
	Request   []PairHeader `json:"request_headers" jsonschema:"in the order and spelling on the wire"`
	Response  []PairHeader `json:"response_headers"`
	Sent      string       `json:"request_body,omitempty" jsonschema:"text from the traffic"`
	Got       string       `json:"response_body,omitempty"`
}

// PairHeader is one header.
type PairHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PairQuestion is the question get_pair.
func PairQuestion() ask.Question {
	q := ask.New("get_pair", "Traffic between two services", "Traffic between two services in both directions: volume, kinds of requests, and the last calls (10, or limit) with headers and bodies as sent, credentials masked.", false, AskPair)
	q.Keyed, q.InTime, q.Rows = "calls", []string{"calls"}, pairCalls
	return q
}

// pairColumns are the columns that the summaries use.
const pairColumns = `proxied_to, path, endpoint, outcome, waited_us, ended_by, call_no, call_id, ts_ns, elapsed_us, protocol, method, host, status_code, status_text, failed, error, request_bytes, response_bytes, src_id, dst_id, src_ip, dst_ip`

// AskPair answers get_pair.
func AskPair(ctx context.Context, c *forensics.Case, in PairIn) (*Pair, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Src == "" || in.Dst == "" {
		return nil, ask.WrongOf("missing input: give src and dst; * matches everything", "src", "dst")
	}
	if in.Limit == 0 {
		w.Page = pairCalls
	}
	before, err := ask.ReadCursor(c, in.Cursor)
	if err != nil {
		return nil, err
	}
	out := &Pair{Kinds: []PairKind{}, Calls: []PairCall{}, Unread: []UnreadConn{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	both := func(a, b string) (string, []any, error) {
		x, err := ask.EndOf(ctx, c, "src_", a)
		if err != nil {
			return "", nil, err
		}
		y, err := ask.EndOf(ctx, c, "dst_", b)
		return "(" + x.Calls + ") AND (" + y.Calls + ")", append(x.Args, y.Args...), err
	}
	forth, x, err := both(in.Src, in.Dst)
	if err != nil {
		return nil, err
	}
	back, y, err := both(in.Dst, in.Src)
	if err != nil {
		return nil, err
	}
	rows, err := ask.LoadCalls(ctx, c, pairColumns, w.Where+" AND (("+forth+") OR ("+back+"))", slices.Concat(w.Args, x, y))
	if err != nil {
		return nil, err
	}
	defer rows.Release()
	if out.Forth, err = ask.One[ask.Load](ctx, rows.Case, "SELECT "+ask.LoadColumns+" FROM "+rows.From+" WHERE "+rows.Where+" AND "+forth, rows.Values(x...)...); err != nil {
		return nil, err
	}
	if out.Back, err = ask.One[ask.Load](ctx, rows.Case, "SELECT "+ask.LoadColumns+" FROM "+rows.From+" WHERE "+rows.Where+" AND "+back, rows.Values(y...)...); err != nil {
		return nil, err
	}
	p := &pairAnswer{ctx: ctx, c: c, w: w, out: out, rows: rows, forth: forth, x: x}
	if err := p.kinds(); err != nil {
		return nil, err
	}
	if err := p.calls(before); err != nil {
		return nil, err
	}
	for _, way := range [2][2]string{{in.Src, in.Dst}, {in.Dst, in.Src}} {
		a := &accessAnswer{ctx: ctx, c: c, in: AccessIn{Service: way[1], Client: way[0]}, w: w, out: &Access{}}
		if err := a.scope(); err != nil {
			return nil, err
		}
		if err := a.unread(); err != nil {
			return nil, err
		}
		out.Unread = append(out.Unread, a.out.Unread...)
	}
	if n := len(out.Unread); n > 0 {
		out.Note("some connections between the two have no readable calls: see unread")
	}
	out.Match(int(out.Forth.Calls+out.Back.Calls) + len(out.Unread))
	return out, nil
}

// pairAnswer collects one answer.
type pairAnswer struct {
	ctx   context.Context
	c     *forensics.Case
	w     *ask.Window
	rows  *ask.CallTable // calls of both directions
	forth string         // condition for calls from src to dst, with arguments x
	x     []any
	out   *Pair
}

func (p *pairAnswer) kinds() error {
	list, more, err := ask.Rows[PairKind](p.ctx, p.rows.Case, p.w.Limit, fmt.Sprintf(`SELECT direction, protocol, %s AS endpoint, `+terms.Status+` AS status, count(*) AS calls,
		make_timestamp_ns(min(ts_ns)) AS first, make_timestamp_ns(max(ts_ns)) AS last, list_transform(arg_min(call_id, (ts_ns, call_id), 3), x -> lower(hex(x))) AS call_ids FROM (SELECT *, CASE WHEN %s THEN 'forth' ELSE 'back' END AS direction FROM %s WHERE %s) GROUP BY ALL ORDER BY calls DESC, direction DESC, protocol, endpoint, status LIMIT %d`, terms.NamedEndpoint, p.forth, p.rows.From, p.rows.Where, p.w.Limit+1), slices.Concat(p.x, p.rows.Args)...)
	p.out.Kinds, p.out.Truncated = list, p.out.Truncated || more
	return err
}

// pairRow is a call with the columns that its answer is made of. Lists are of the request and the response.
type pairRow struct {
	PairCall
	Headers   []search.Header `json:"headers"`
	Bodies    []string        `json:"bodies"`
	Types     []string        `json:"types"`
	Sizes     []int64         `json:"sizes"`
	Statement string          `json:"statement"`
	Command   string          `json:"command"`
	Path      string          `json:"path"`
	Query     string          `json:"query"`
	GRPC      []string        `json:"grpc"`
	Bundle    int64           `json:"bundle"`
	No        int64           `json:"call_no"`
	Ns        int64           `json:"ts_ns"`
}

// page loads the calls of a page, the newest first, and sets the cursor of the next one.
func (p *pairAnswer) page(before ask.Cursor) ([]pairRow, error) {
	page, more, err := ask.Pick(p.ctx, p.rows.Case, p.rows.From, p.rows.Where+strings.ReplaceAll(before.Before(" AND "), "bundle", bundleName(p.c)), "ts_ns DESC, bundle DESC, call_no DESC", p.w.Page, p.rows.Args...)
	if err != nil {
		return nil, err
	}
	var rows []pairRow
	err = ask.ByRuns(p.c, page, func(where string) error {
		some, _, err := ask.Rows[pairRow](p.ctx, p.c, ask.MaxLoaded, fmt.Sprintf(`SELECT %s, %s, call_no, ts_ns, CASE WHEN %s THEN 'forth' ELSE 'back' END AS direction, coalesce(src_pod, '') AS src_pod, coalesce(dst_pod, '') AS dst_pod, coalesce(headers, []) AS headers,
		[coalesce(request_body_sha256, ''::BLOB), coalesce(response_body_sha256, ''::BLOB)] AS bodies, [coalesce(request_content_type, ''), coalesce(response_content_type, '')] AS types,
		[coalesce(request_body_size, 0), coalesce(response_body_size, 0)] AS sizes, coalesce(left(`+statements.Part("", "query")+`, 4000), '') AS statement, coalesce(redis_command, '') AS command, coalesce(left(path, 2000), '') AS path, coalesce(left(query_string, 2000), '') AS query,
		[coalesce(grpc_request_text, ''), coalesce(grpc_response_text, coalesce(`+statements.Part("", "preview")+`, redis_reply, ''))] AS grpc FROM calls k WHERE %s`, terms.CallColumns(p.c), terms.BundleOf(p.c, ""), p.forth, where), p.x...)
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return nil, err
	}
	rows = ask.Arrange(page, rows, func(r pairRow) ask.Key { return ask.Key{Bundle: r.Bundle, No: r.No} })
	if more && len(rows) > 0 {
		last := rows[len(rows)-1]
		p.out.Next, p.out.Truncated = ask.Cursor{TS: last.Ns, Bundle: last.Bundle, No: last.No}.String(), true
	}
	return rows, nil
}

func (p *pairAnswer) calls(before ask.Cursor) error {
	rows, err := p.page(before)
	if err != nil {
		return err
	}
	var hashes []string
	for _, r := range rows {
		for _, h := range r.Bodies {
			if h != "" && !slices.Contains(hashes, h) {
				hashes = append(hashes, h)
			}
		}
	}
	bodies, err := ask.BodyTexts(p.ctx, p.c, hashes, ask.MaskedText)
	if err != nil {
		return err
	}
	for i := range rows {
		p.out.Calls = append(p.out.Calls, rows[i].shown(p.c.Policy(), bodies))
	}
	if !p.w.All { // otherwise the page sorts them by time
		slices.Reverse(p.out.Calls)
	}
	return nil
}

// shown is the call of an answer, masked and shortened.
func (r *pairRow) shown(policy *redact.Policy, bodies map[string]string) PairCall {
	one := r.PairCall
	one.Request, one.Response = []PairHeader{}, []PairHeader{}
	for _, h := range r.Headers {
		header := PairHeader{h.Name, ask.Clip(policy.Header(h.Name, h.Value), 500)}
		switch {
		case strings.HasPrefix(h.Kind, "request"):
			one.Request = append(one.Request, header)
		case strings.HasPrefix(h.Kind, "response"):
			one.Response = append(one.Response, header)
		}
	}
	one.Summary = ask.Clip(one.Summary, 120)
	switch {
	case r.Statement != "":
		one.Target = ask.Clip(ask.OneLine(policy.SQL(r.Statement)), 1000)
	case r.Command != "":
		one.Target = ask.Masked(policy, "command", r.Command, 500)
	case r.Query != "":
		one.Target = ask.Clip(r.Path+"?"+policy.Query(r.Query), 1000)
	default:
		one.Target = ask.Clip(r.Path, 1000)
	}
	one.Sent = shownBody(policy, bodies, r.Bodies[0], r.Types[0], r.GRPC[0], r.Sizes[0])
	one.Got = shownBody(policy, bodies, r.Bodies[1], r.Types[1], r.GRPC[1], r.Sizes[1])
	return one
}

// shownBody returns the part of a body that an answer shows.
func shownBody(p *redact.Policy, bodies map[string]string, hash, contentType, words string, size int64) string {
	text, ok := bodies[hash]
	switch {
	case words != "":
		return ask.Masked(p, "", words, pairBody)
	case ok:
		return ask.Masked(p, contentType, text, pairBody)
	case size > 0:
		return fmt.Sprintf("[%d bytes, not text]", size)
	}
	return ""
}

// Sentence is the answer in one sentence.
func (p *Pair) Sentence() string {
	s := plural.Sprintf("%d {call|calls} from src to dst, of which %d failed", p.Forth.Calls, p.Forth.Failed)
	if p.Forth.P50Ms != nil {
		s += plural.Sprintf(", with a median of %s ms", plural.Digits(*p.Forth.P50Ms, 4))
	}
	return s + plural.Sprintf("; %d {call|calls} back.", p.Back.Calls)
}
