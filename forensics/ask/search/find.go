package search

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// spot is a place in a call that can contain text.
type spot struct {
	Name    string
	Column  string   // SQL for the text in table calls; empty for bodies and headers
	columns []string // columns that the text consists of
	join    string   // separator between the columns
	kind    string   // kind of a header
	body    string   // request or response
	sql     bool     // the text is an SQL statement
	fields  bool     // all other columns with text: those of single protocols
}

// Spots are the places, cheapest first. Their order is the order of the bits in Find.Bits.
var Spots = [...]spot{
	one("path", "path"), one("query", "query_string"), one("host", "host"),
	{Name: "sql", Column: statements.Part("", "query"), columns: table.DatabaseColumns("query"), sql: true},
	{Name: "sql.params", Column: "array_to_string(" + statements.Part("", "params") + ", ', ')", columns: table.DatabaseColumns("params"), join: ", ", sql: true},
	{Name: "sql.result", Column: statements.Part("", "preview"), columns: table.DatabaseColumns("preview")},
	{Name: "sql.error", Column: "concat_ws(' ', " + strings.Join(statements.ErrorColumns(), ", ") + ")", columns: statements.ErrorColumns(), join: " "},
	one("redis.command", "redis_command"), one("redis.reply", "redis_reply"),
	one("grpc.request", "grpc_request_text"), one("grpc.response", "grpc_response_text"), one("grpc.message", "grpc_message"),
	{Name: "dns.answers", Column: "array_to_string(dns_answers, ' ')", columns: []string{"dns_answers"}, join: " "},
	one("trace_id", "trace_id"), one("request_id", "request_id"),
	{Name: "fields", fields: true},
	{Name: "request.headers", kind: "request"}, {Name: "response.headers", kind: "response"},
	{Name: "request.body", body: "request"}, {Name: "response.body", body: "response"},
}

// one returns the spot for a column.
func one(name, column string) spot {
	return spot{Name: name, Column: column, columns: []string{column}}
}

// spotNames lists the places that search_content knows.
func spotNames() []string {
	out := make([]string, len(Spots))
	for i, s := range Spots {
		out[i] = s.Name
	}
	return out
}

// Find is one call that contains the needle.
type Find struct {
	Bundle int64 `json:"bundle"`
	No     int64 `json:"call_no"`
	Start  int64 `json:"ts_ns"`
	Bits   int64 `json:"bits"`
	Total  int64 `json:"total"`

	Counts []int64 `json:"counts"` // number of calls for each of Spots
}

// Key is the key of its call.
func (f Find) Key() ask.Key { return ask.Key{Bundle: f.Bundle, No: f.No} }

// FindText finds the calls of a window that contain the needle in one of the places. It returns
// the first limit of them after a cursor, by time. The first Find has the totals.
//
// It searches the texts without SQL. If the window filters by more than time, SQL then selects
// among the calls that contain the needle.
func FindText(ctx context.Context, c *forensics.Case, w *ask.Window, n *Needle, in []string, after ask.Cursor, limit int) ([]Find, bool, error) {
	f := &textFinder{ctx: ctx, c: c, w: w, n: n, after: after, limit: limit, most: maxPending}
	return f.find(in)
}

func (f *textFinder) find(in []string) ([]Find, bool, error) {
	f.asked = f.w.Narrowed || ask.Overlapping(f.c)
	if f.c.Masked() {
		var err error
		if f.masker, err = f.c.Masker(f.ctx); err != nil {
			return nil, false, err
		}
	}
	if err := f.selectPlaces(in); err != nil {
		return nil, false, err
	}
	if err := cmp.Or(f.scan(), f.ctx.Err()); err != nil {
		return nil, false, err
	}
	list, more := f.first, len(f.first) > f.limit
	list = list[:min(len(list), f.limit)]
	out := make([]Find, len(list))
	for i, h := range list {
		out[i] = Find{Bundle: h.bundle, No: h.no, Start: h.ts, Bits: int64(h.bits), Total: f.total, Counts: f.counts[:]}
	}
	return out, more, nil
}

// textFinder searches for a needle.
type textFinder struct {
	ctx    context.Context
	c      *forensics.Case
	w      *ask.Window
	n      *Needle
	masker *redact.Masker // nil: nothing is masked
	after  ask.Cursor
	limit  int
	most   int  // hits that are collected before they are counted
	asked  bool // SQL selects the calls of the window

	places []forensics.TextPlace
	bits   []forensics.TextVerdict // bit of each place, except headers
	kinds  map[string]forensics.TextVerdict
	sides  int // index in places from which on they are hashes of bodies
	bodies [2]forensics.TextVerdict
	hashes map[[32]byte]bool // hashes of the bodies that contain the needle

	pending []textHit // not yet counted
	rows    []uint32  // bits of each row in a row group
	scope   *callSet  // calls of the window, once they are read
	counts  [len(Spots)]int64
	total   int64
	first   []textHit // hits after the cursor, by time; up to one more than limit
}

// textHit is a call that contains the needle.
type textHit struct {
	ts, bundle, no int64
	bits           uint32
}

func inTimeOrder(a, b textHit) int {
	return cmp.Or(cmp.Compare(a.ts, b.ts), cmp.Compare(a.bundle, b.bundle), cmp.Compare(a.no, b.no))
}

// Limits of a search.
const (
	maxPending = 1 << 18 // hits that are collected before they are counted
	maxSubset  = 1 << 14 // hits that SQL selects by their numbers
	maxHashes  = 1 << 21 // bodies that contain the needle
)

// selectPlaces selects the places to search by name, or all of them if in is empty.
func (f *textFinder) selectPlaces(in []string) error {
	f.kinds, f.hashes = map[string]forensics.TextVerdict{}, map[[32]byte]bool{}
	any := false
	for i, s := range Spots {
		if len(in) > 0 && !slices.Contains(in, s.Name) {
			continue
		}
		any = true
		bit := forensics.TextVerdict(1) << i
		switch {
		case s.kind != "":
			if len(f.kinds) == 0 {
				f.places, f.bits = append(f.places, forensics.TextPlace{Columns: []string{"headers"}, Headers: true}), append(f.bits, 1)
			}
			f.kinds[s.kind] = bit
		case s.fields:
			for _, c := range fieldColumns() {
				f.places, f.bits = append(f.places, placeOf(c)), append(f.bits, bit)
			}
		case s.body == "request":
			f.bodies[0] = bit
		case s.body == "response":
			f.bodies[1] = bit
		case s.join == "": // of several columns, a call has one
			for _, column := range s.columns {
				f.places, f.bits = append(f.places, forensics.TextPlace{Columns: []string{column}}), append(f.bits, bit)
			}
		default:
			f.places, f.bits = append(f.places, forensics.TextPlace{Columns: s.columns, Join: s.join}), append(f.bits, bit)
		}
	}
	if !any {
		return ask.Wrong("in", "unknown place; use some of %s", strings.Join(spotNames(), ", "))
	}
	return nil
}

// scan searches bodies, and then calls.
func (f *textFinder) scan() error {
	if f.bodies != [2]forensics.TextVerdict{} {
		walk := forensics.Texts{Table: "bodies", Places: []forensics.TextPlace{{Columns: []string{"text"}}}, Fixed: []string{"sha256"}, Judge: f.inBodies, Group: f.noteBodies}
		if f.n.test == "" && !f.n.fold { // binary bodies are searched for the text as it is
			walk.Places = append(walk.Places, forensics.TextPlace{Columns: []string{"bytes"}})
		}
		if err := f.c.Texts(f.ctx, walk); err != nil {
			return err
		}
	}
	if f.sides = len(f.places); len(f.hashes) > 0 {
		for i, side := range [2]string{"request", "response"} {
			if f.bodies[i] != 0 {
				f.places, f.bits = append(f.places, forensics.TextPlace{Columns: []string{side + "_body_sha256"}}), append(f.bits, f.bodies[i])
			}
		}
	}
	if len(f.places) > 0 {
		walk := forensics.Texts{Table: "calls", Places: f.places, From: f.w.Since, To: f.w.Until, Numbers: []string{"call_no", "ts_ns"}, Judge: f.inCalls, Group: f.noteCalls}
		if err := f.c.Texts(f.ctx, walk); err != nil {
			return err
		}
	}
	return f.settle(true)
}
