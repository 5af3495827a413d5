// Package sensitivedata finds personal data and secrets in what was said: bodies, URLs,
// headers, statements, commands and results.
//
// Forms are those of forensics/redact, with check digits where they have some, so that a
// number that only looks like a card is none. Evidence is masked. Credentials where they
// belong, in Authorization and cookies, are left to the analyzers of credentials. Each
// distinct text is looked through once.
package sensitivedata

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of what is kept while looking.
const (
	maxBodies   = 200_000 // bodies with a hit
	maxGroups   = 20_000  // kinds at places
	maxEvidence = 5
	maxForms    = 1000
	batch       = 500 // hashes in one query

	sliceCalls  = 250_000 // with a text, looked through at once
	glanceCalls = 100_000 // with a text, looked through where all analyzers are asked
)

// Analyzer finds them.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "sensitive-data", Title: "personal data and secrets in traffic",
		Doc: "Cards (Luhn), social security numbers, IBANs (check digits), mail addresses, telephone numbers, tokens, cloud keys and private keys in bodies, URLs, headers, SQL and Redis, with masked evidence.", Find: find}
}

// group is one kind at one place.
type group struct{ kind, src, dst, what, place string }

type sum struct {
	row    finding.Row
	masked map[string]int64 // masked form → calls; a form beyond maxForms is left out
}

type search struct {
	l      *finding.Look
	groups map[group]*sum
	bodies map[string][]redact.Match // by hash: one hit of each kind and masked form
	full   bool
}

func find(ctx context.Context, l *finding.Look) error {
	whole, err := l.Case.Unmasked(ctx)
	if err != nil {
		return err
	}
	masked := l.Case
	l.Case = whole
	defer func() { l.Case = masked }()
	s := &search{l: l, groups: map[group]*sum{}, bodies: map[string][]redact.Match{}}
	if err := s.texts(ctx); err != nil {
		return err
	}
	if err := s.inBodies(ctx); err != nil {
		return err
	}
	s.report()
	return nil
}

// quiet are headers that hold nothing of the kind, or hold credentials as they should.
const quiet = `'host', ':authority', 'user-agent', 'accept', 'accept-encoding', 'accept-language', 'content-type', 'content-length', 'content-encoding', 'date', 'connection', 'server', 'vary',
	'cache-control', 'etag', 'last-modified', 'traceparent', 'tracestate', 'authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'transfer-encoding', 'keep-alive', 'expires', 'age',
	'x-request-id', 'x-correlation-id', ':method', ':scheme', ':path', ':status', 'te', 'grpc-status', 'grpc-timeout', 'grpc-encoding', 'grpc-accept-encoding', 'origin', 'pragma'`

// places are texts of calls: a column or what is made of one, and what it is called.
var places = []struct{ sql, where, name string }{
	{"query_string", "query_string <> ''", "URL"},
	{"path", "path IS NOT NULL AND length(path) > 8", "path"},
	{"postgresql_query", "postgresql_query IS NOT NULL", "SQL"},
	{"array_to_string(postgresql_params, ' | ')", "len(postgresql_params) > 0", "SQL parameters"},
	{"postgresql_preview", "postgresql_preview IS NOT NULL", "SQL result"},
	{"redis_command", "redis_command IS NOT NULL", "Redis command"},
	{"redis_reply", "length(redis_reply) > 8", "Redis reply"},
	{"array_to_string(list_transform(list_filter(headers, h -> lower(h.name) NOT IN (" + quiet + ") AND length(h.value) > 5), h -> h.name || ': ' || h.value), chr(10))", "len(headers) > 0", "headers"},
}

// texts looks through the texts of calls, some at a time: grouped all at once they could
// need more memory than the case may use.
func (s *search) texts(ctx context.Context) error {
	for _, p := range places {
		edges, err := s.slices(ctx, p.where, p.name)
		if err != nil {
			return err
		}
		for i := range len(edges) - 1 {
			where := fmt.Sprintf("%s AND ts_ns >= %d AND ts_ns < %d", p.where, edges[i], edges[i+1])
			sql := s.l.Groups("coalesce(method || ' ', '') || coalesce("+template+", '') AS what, "+p.sql+" AS text", where) +
				` SELECT src, dst, what, text, sum(n)::BIGINT, min(first_ns), max(last_ns), ` + s.l.IDs() + ` FROM g WHERE text <> '' GROUP BY ALL`
			_, err := s.l.Case.Each(ctx, forensics.Query{SQL: sql, Args: s.l.Args}, nil, func(_ []forensics.Column, row []any) error {
				text, _ := row[3].(string)
				src, _ := row[0].(string)
				dst, _ := row[1].(string)
				what, _ := row[2].(string)
				s.add(group{src: src, dst: dst, what: what, place: p.name}, distinct(redact.Find(text)), sums(row[4:]))
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// slices are times, one more than slices, between which there are about sliceCalls calls
// with a text, the latest of them where the answer is about more than this analyzer.
func (s *search) slices(ctx context.Context, where, name string) ([]int64, error) {
	n, err := s.number(ctx, "count(*)", where)
	if err != nil || n <= sliceCalls {
		return []int64{math.MinInt64, math.MaxInt64}, err
	}
	from := 0
	pieces := int((n + sliceCalls - 1) / sliceCalls)
	if !s.l.Alone && n > glanceCalls {
		// At least one piece: what came last.
		pieces = int((n + glanceCalls - 1) / glanceCalls)
		from = pieces - 1
	}
	edges := []int64{}
	for i := max(from, 1); i < pieces; i++ {
		at, err := s.number(ctx, fmt.Sprintf("quantile_disc(ts_ns, %.9f)", float64(i)/float64(pieces)), where)
		if err != nil {
			return nil, err
		}
		edges = append(edges, at)
	}
	if from == 0 {
		edges = append([]int64{math.MinInt64}, edges...)
	} else {
		s.l.Note("%s: only the latest %d calls of %d with one, from %s on, were looked through; name sensitive-data alone, or ask for less time, to look through all", name, n/int64(pieces), n, ask.Stamp(edges[0]))
	}
	return slices.Compact(append(edges, math.MaxInt64)), nil
}

// number is one number about the calls that meet a condition.
func (s *search) number(ctx context.Context, what, where string) (int64, error) {
	rows, err := s.l.Rows(ctx, "SELECT coalesce("+what+", 0) AS count FROM calls WHERE "+s.l.Where+" AND "+where, s.l.Args...)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Count, nil
}

// template keeps what tells endpoints apart; ids are left to grouping of a coarser kind.
const template = `array_to_string(list_transform(string_split(path, '/'), x -> CASE WHEN regexp_matches(x, '^[0-9]+$|[0-9]{3}|^[0-9a-fA-F-]{16,}$|@') THEN '{id}' ELSE x END), '/')`

// distinct keeps one hit of each kind and masked form.
func distinct(list []redact.Match) []redact.Match {
	if len(list) < 2 {
		return list
	}
	seen := map[[2]string]bool{}
	return slices.DeleteFunc(list, func(m redact.Match) bool {
		k := [2]string{m.Kind, m.Masked}
		twice := seen[k] || len(seen) >= 50
		seen[k] = true
		return twice
	})
}

// add counts the calls of r, whose text at g holds some: once for each kind, however many
// of it there are, and once for each masked form.
func (s *search) add(g group, list []redact.Match, r finding.Row) {
	var kinds []string
	for _, m := range list {
		g.kind = m.Kind
		x := s.groups[g]
		if x == nil {
			if len(s.groups) >= maxGroups {
				s.full = true
				return
			}
			x = &sum{row: finding.Row{FirstNs: r.FirstNs, LastNs: r.LastNs}, masked: map[string]int64{}}
			s.groups[g] = x
		}
		if _, known := x.masked[m.Masked]; known || len(x.masked) < maxForms {
			x.masked[m.Masked] += r.Count
		}
		if !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
			x.row.Count += r.Count
			x.row.LastNs = max(x.row.LastNs, r.LastNs)
			x.add(r)
		}
	}
}

// evidence are the masked forms in most calls, and in how many.
func (x *sum) evidence(kind string) []string {
	forms := slices.SortedFunc(maps.Keys(x.masked), func(a, b string) int {
		return cmp.Or(cmp.Compare(x.masked[b], x.masked[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, f := range forms[:min(maxEvidence, len(forms))] {
		out = append(out, fmt.Sprintf("%d × %s %s", x.masked[f], kind, f))
	}
	return out
}

// add keeps the calls of the earliest groups, or all.
func (x *sum) add(r finding.Row) {
	x.row.CallIDs = append(x.row.CallIDs, r.CallIDs...)
	x.row.FirstNs = min(x.row.FirstNs, r.FirstNs)
}

// inBodies looks through the asked calls' bodies, then finds who sent those with hits.
func (s *search) inBodies(ctx context.Context) error {
	asked := `WITH c AS (SELECT request_body_sha256 AS h FROM calls WHERE ` + s.l.Where + ` UNION SELECT response_body_sha256 FROM calls WHERE ` + s.l.Where + `)
		SELECT sha256, text FROM bodies WHERE text IS NOT NULL AND sha256 IN (SELECT h FROM c)`
	args := append(slices.Clone(s.l.Args), s.l.Args...)
	if s.l.Where == "true" {
		asked, args = "SELECT sha256, text FROM bodies WHERE text IS NOT NULL", nil
	}
	_, err := s.l.Case.Each(ctx, forensics.Query{SQL: asked, Args: args}, nil, func(_ []forensics.Column, row []any) error {
		text, _ := row[1].(string)
		hits := redact.Find(text)
		if len(hits) == 0 {
			return nil
		}
		hash, _ := row[0].([]byte)
		if _, known := s.bodies[string(hash)]; !known && len(s.bodies) >= maxBodies {
			s.full = true
			return nil
		}
		s.bodies[string(hash)] = distinct(append(s.bodies[string(hash)], hits...))
		return nil
	})
	if err != nil {
		return err
	}
	var hashes []string
	for h := range s.bodies {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	for some := range slices.Chunk(hashes, batch) {
		for _, side := range []string{"request", "response"} {
			if err := s.carriers(ctx, some, side); err != nil {
				return err
			}
		}
	}
	return nil
}

// carriers finds the calls that carried bodies with hits.
func (s *search) carriers(ctx context.Context, hashes []string, side string) error {
	marks, args := strings.TrimSuffix(strings.Repeat("?, ", len(hashes)), ", "), slices.Clone(s.l.Args)
	for _, h := range hashes {
		args = append(args, []byte(h))
	}
	sql := s.l.Groups("coalesce(method || ' ', '') || coalesce("+template+", '') AS what, "+side+"_body_sha256 AS hash", side+"_body_sha256 IN ("+marks+")") +
		` SELECT src, dst, what, hash, sum(n)::BIGINT, min(first_ns), max(last_ns), ` + s.l.IDs() + ` FROM g GROUP BY ALL`
	_, err := s.l.Case.Each(ctx, forensics.Query{SQL: sql, Args: args}, nil, func(_ []forensics.Column, row []any) error {
		hash, _ := row[3].([]byte)
		g := group{place: side + " body"}
		g.src, _ = row[0].(string)
		g.dst, _ = row[1].(string)
		g.what, _ = row[2].(string)
		s.add(g, s.bodies[string(hash)], sums(row[4:]))
		return nil
	})
	return err
}

// sums reads the last columns of a group: calls, first and last time, first call_ids.
func sums(row []any) (r finding.Row) {
	r.Count, _ = row[0].(int64)
	r.FirstNs, _ = row[1].(int64)
	r.LastNs, _ = row[2].(int64)
	ids, _ := row[3].([]any)
	for _, id := range ids {
		raw, _ := id.([]byte)
		r.CallIDs = append(r.CallIDs, hex.EncodeToString(raw))
	}
	return r
}

// severe says how bad a kind is.
func severe(kind string) string {
	switch kind {
	case "email", "phone":
		return finding.Low
	case "jwt", "bearer", "basic", "url_password":
		return finding.Medium
	}
	return finding.High
}

// report makes findings of the groups, in an order that is always the same.
func (s *search) report() {
	classes := map[string]string{}
	for _, d := range redact.Detectors() {
		classes[d.Kind] = d.Class
	}
	var list []group
	for g := range s.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b group) int {
		x, y := s.groups[a].row, s.groups[b].row
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(a.kind, b.kind), cmp.Compare(a.src, b.src), cmp.Compare(a.dst, b.dst), cmp.Compare(a.what, b.what), cmp.Compare(a.place, b.place))
	})
	for _, g := range list {
		x := s.groups[g]
		s.l.Add(x.row, finding.Finding{Severity: severe(g.kind), Confidence: "likely", Src: g.src, Dst: g.dst, Evidence: x.evidence(g.kind), Key: g.kind + "\x00" + g.place + "\x00" + g.what,
			What: fmt.Sprintf("%s (%s) in the %s of %s, %s to %s", g.kind, classes[g.kind], g.place, strings.TrimSpace(g.what), g.src, g.dst)})
	}
	if s.full {
		s.l.Note("more hits than are kept: narrow the question")
	}
}
