// Package sensitive finds personal data and secrets in bodies, URLs, headers, statements, commands, results and all other text
// of calls. The finding sensitive-data and the question audit_access use it, so they agree about which calls carry what.
//
// It uses the detectors of forensics/redact, and leaves out numbers that only look like a card. Authorization and cookies
// are left out, because other analyzers cover them. Each distinct text of a row group is searched once; only calls with a hit
// are read.
package sensitive

import (
	"bytes"
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// place is a place in calls with text.
type place struct {
	text  forensics.TextPlace
	short int // texts of at most this many characters are skipped
	name  string
}

// places are the columns with texts of calls, and their names in findings.
var places = sync.OnceValue(func() []place {
	return slices.Concat([]place{
		{forensics.TextPlace{Columns: []string{"query_string"}}, 0, "URL"},
		{forensics.TextPlace{Columns: []string{"path"}}, 8, "path"},
	}, statementPlaces(), []place{
		{forensics.TextPlace{Columns: []string{"redis_command"}}, 0, "Redis command"},
		{forensics.TextPlace{Columns: []string{"redis_reply"}}, 8, "Redis reply"},
		{forensics.TextPlace{Columns: []string{"headers"}, Headers: true}, 5, "headers"},
	}, fieldPlaces())
})

// inFields is the name of all other columns of single protocols with text. They are one place in findings.
const inFields = "fields"

// algorithms are columns with names of algorithms, many of which look like addresses of e-mail: RFC 4251 section 6 has
// NAME@DOMAIN for those of a vendor.
var algorithms = []string{"ssh_client_algorithms", "ssh_server_algorithms", "ssh_kex", "ssh_host_key_algorithm", "ssh_cipher", "ssh_mac", "ssh_compression"}

func fieldPlaces() (list []place) {
	const short = 5 // no detector finds something in so few characters
	elsewhere := slices.Concat([]string{"redis_command", "redis_reply"}, table.DatabaseColumns("query"), table.DatabaseColumns("params"), table.DatabaseColumns("preview"))
	for _, c := range table.ProtocolColumns() {
		switch {
		case slices.Contains(elsewhere, c.Name), slices.Contains(algorithms, c.Name):
		case c.Kind == table.Text:
			list = append(list, place{forensics.TextPlace{Columns: []string{c.Name}}, short, inFields})
		case c.Kind == table.TextList:
			list = append(list, place{forensics.TextPlace{Columns: []string{c.Name}, Join: ", "}, short, inFields})
		}
	}
	return list
}

// statementPlaces are those of databases.
func statementPlaces() (list []place) {
	for _, d := range statements.Databases {
		list = append(list,
			place{forensics.TextPlace{Columns: []string{d.Column("query")}}, 0, "SQL"},
			place{forensics.TextPlace{Columns: []string{d.Column("params")}, Join: " | "}, 0, "SQL parameters"},
			place{forensics.TextPlace{Columns: []string{d.Column("preview")}}, 0, "SQL result"})
	}
	return list
}

// bodyPlaces follow places in the numbering.
var bodyPlaces = []string{"request body", "response body"}

// PlaceName is the name of a place of hits.
func PlaceName(i int) string {
	if n := len(places()); i >= n {
		return bodyPlaces[i-n]
	}
	return places()[i].name
}

// ignoredHeaders are headers without such data, or with credentials as intended.
var ignoredHeaders = map[string]bool{
	"host": true, ":authority": true, "user-agent": true, "accept": true, "accept-encoding": true, "accept-language": true,
	"content-type": true, "content-length": true, "content-encoding": true, "date": true, "connection": true, "server": true,
	"vary": true, "cache-control": true, "etag": true, "last-modified": true, "traceparent": true, "tracestate": true,
	"cookie": true, "set-cookie": true, "transfer-encoding": true, "keep-alive": true,
	"expires": true, "age": true, "x-request-id": true, "x-correlation-id": true, ":method": true, ":scheme": true,
	":path": true, ":status": true, "te": true, "grpc-status": true, "grpc-timeout": true, "grpc-encoding": true,
	"grpc-accept-encoding": true, "origin": true, "pragma": true,
}

// Limits of the memory of a search.
const (
	maxBodies   = 500_000  // bodies with a hit
	maxSetBytes = 16 << 20 // bytes of distinct sets; beyond that only the kinds are stored
	maxHits     = 250_000  // hits that are handled at once
)

// Hit is a place of a call with sensitive data.
type Hit struct {
	Bundle int64
	CallNo int64
	Set    uint32 // number of the set of matches in the text
	Place  int32
}

// Search finds the calls with sensitive data.
type Search struct {
	Case     *forensics.Case // unmasked
	From, To int64           // nanoseconds since 1970 UTC; 0 means from the beginning of the case, or to its end
	// Found handles hits, some at a time; their calls may be outside the requested scope. The slice is reused.
	Found func(context.Context, []Hit) error
	Full  bool // too much was found, so some is missing

	hits []Hit // not yet handled

	sets      [][]redact.Match // distinct sets of matches in a text: one match per kind and masked form
	known     map[string]uint32
	usedBytes int                 // bytes of sets
	bodies    map[[32]byte]uint32 // set of each body, by hash

	mu     sync.Mutex
	judges []*judge
}

// Within limits a search to a time, if the case has more.
func (s *Search) Within(from, to int64) {
	if first, last, ok := s.Case.Window(); ok {
		if from > first {
			s.From = from
		}
		if to < last {
			s.To = to
		}
	}
}

// Run searches.
func (s *Search) Run(ctx context.Context) error {
	s.known, s.bodies = map[string]uint32{}, map[[32]byte]uint32{}
	for _, look := range []func(context.Context) error{s.inCalls, s.inBodies, s.flush} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	return nil
}

// flush hands on the hits that are not yet handled.
func (s *Search) flush(ctx context.Context) error {
	if len(s.hits) == 0 {
		return nil
	}
	list := s.hits
	s.hits = s.hits[:0]
	return s.Found(ctx, list)
}

// Matches are those of a set, one for each kind and masked form.
func (s *Search) Matches(set uint32) []redact.Match { return s.sets[set] }

// judge searches texts in one goroutine. It numbers its sets separately for each row group.
type judge struct {
	forensics.EveryText
	memo      *forensics.TextMemo // 0: nothing was found in a text
	number    uint64
	calls     bool // it searches calls, not bodies
	sets      [][]redact.Match
	known     map[string]uint64
	usedBytes int        // bytes of sets
	hashes    [][32]byte // of bodies
}

// judge makes a judge for the texts of calls or of bodies.
func (s *Search) judge(calls bool) forensics.TextJudge {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &judge{memo: forensics.NewTextMemo(memoBytes), number: uint64(len(s.judges)), calls: calls, known: map[string]uint64{}}
	s.judges = append(s.judges, j)
	return j
}

// undecided is the verdict for a header's value before its name is known.
const undecided forensics.TextVerdict = 1

// Text implements forensics.TextJudge. A verdict is the number of the judge and of a set.
func (j *judge) Text(place int, text []byte) forensics.TextVerdict {
	if !j.calls {
		return j.body(place, text)
	}
	p := &places()[place]
	if p.short > 0 && utf8.RuneCount(text) <= p.short {
		return 0
	}
	if p.text.Headers {
		if keyLike(text) || len(redact.FindBytes(text)) > 0 {
			return undecided
		}
		return 0
	}
	return j.find(text)
}

// memoBytes is the memory of a judge for the verdicts on texts of earlier row groups, and leastMemo the length from which on
// it takes longer to search a text than to look it up.
const (
	memoBytes = 4 << 20
	leastMemo = 32
)

// find searches a text. Texts with a match are few, so they are searched again.
func (j *judge) find(text []byte) (set forensics.TextVerdict) {
	search := func() forensics.TextVerdict {
		set = j.set(likely(text, redact.FindBytes(text)))
		return min(set, 1)
	}
	if len(text) < leastMemo {
		search()
	} else if j.memo.Of(0, text, search) > 0 && set == 0 {
		search()
	}
	return set
}

// Header implements forensics.TextJudge. The name may reveal the kind of the value.
func (j *judge) Header(_ int, name, value, _ []byte, _ forensics.TextVerdict) forensics.TextVerdict {
	switch lower := strings.ToLower(string(name)); {
	case lower == "authorization" || lower == "proxy-authorization":
		return j.set(redact.FindEncoded(string(value))) // user and password
	case ignoredHeaders[lower]:
		return 0
	}
	text := slices.Concat(name, []byte(": "), value)
	return j.set(likely(text, redact.FindBytes(text)))
}

// Numbers of cards that may be something else.
const (
	longNumber = 17 // digits; most random numbers of 64 bits have 19, and one in forty of these is like that of a card
	maxName    = 40 // bytes before a number that may name it
)

// named says that a number is that of a card, and quoted that it is a text.
var (
	named  = regexp.MustCompile(`(?i)card|credit|debit|maestro|unionpay|visa|(\b|_)(pan|cc)(\b|_)`)
	quoted = regexp.MustCompile(`["'\x60>=]$`)
)

// likely leaves out numbers that are like those of cards, but as long as a number of 64 bits, such as that of a trace, if they
// are neither text nor named.
func likely(text []byte, list []redact.Match) []redact.Match {
	return slices.DeleteFunc(list, func(m redact.Match) bool {
		if m.Kind != "card" || m.End-m.Start < longNumber || bytes.ContainsAny(text[m.Start:m.End], " -") {
			return false
		}
		before := text[max(0, m.Start-maxName):m.Start]
		return !quoted.Match(before) && !named.Match(before)
	})
}

// keyLike reports whether a value may be a key whose name identifies it: it begins with at least 40
// characters of base64.
func keyLike(value []byte) bool {
	for len(value) > 40 && strings.IndexByte(" \t\"'\\", value[0]) >= 0 {
		value = value[1:]
	}
	if len(value) < 40 {
		return false
	}
	for _, c := range value[:40] {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '+' && c != '/' && c != '=' {
			return false
		}
	}
	return true
}

// set returns the number of a set of matches.
func (j *judge) set(list []redact.Match) forensics.TextVerdict {
	if len(list) == 0 {
		return 0
	}
	list = distinct(list)
	key := keyOf(list)
	at, ok := j.known[key]
	if !ok && j.usedBytes >= maxSetBytes {
		list = kindsOf(list)
		key = keyOf(list)
		at, ok = j.known[key]
	}
	if !ok {
		at = uint64(len(j.sets))
		j.sets = append(j.sets, list)
		j.known[key] = at
		j.usedBytes += sizeOfSet(key, list)
	}
	return forensics.TextVerdict((j.number+1)<<32 | at)
}

// kindsOf keeps one match per kind, without its masked form.
func kindsOf(list []redact.Match) []redact.Match {
	kinds := slices.Clone(list)
	for i := range kinds {
		kinds[i].Masked = ""
	}
	return distinct(kinds)
}

// sizeOfSet is the approximate memory of a set in bytes.
func sizeOfSet(key string, list []redact.Match) int { return 2*len(key) + 64*len(list) + 100 }

func keyOf(list []redact.Match) string {
	var b strings.Builder
	for _, m := range list {
		b.WriteString(m.Kind)
		b.WriteByte(0)
		b.WriteString(m.Masked)
		b.WriteByte(0)
	}
	return b.String()
}

// distinct keeps one match per kind and masked form.
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

// of splits a verdict into its judge and its set.
func (s *Search) of(v forensics.TextVerdict) (*judge, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judges[v>>32-1], uint64(v) & (1<<32 - 1)
}

// number returns the number of a set. Row groups come in order, so the numbers are reproducible.
func (s *Search) number(list []redact.Match) uint32 {
	key := keyOf(list)
	if at, ok := s.known[key]; ok {
		return at
	}
	if s.usedBytes >= 2*maxSetBytes {
		list = kindsOf(list)
		key = keyOf(list)
		if at, ok := s.known[key]; ok {
			return at
		}
	}
	at := uint32(len(s.sets))
	s.sets = append(s.sets, list)
	s.known[key] = at
	s.usedBytes += sizeOfSet(key, list)
	return at
}

// inCalls searches the texts of calls.
func (s *Search) inCalls(ctx context.Context) error {
	t := forensics.Texts{Table: "calls", From: s.From, To: s.To, Numbers: []string{"call_no", "ts_ns"},
		Judge: func() forensics.TextJudge { return s.judge(true) }}
	for _, p := range places() {
		t.Places = append(t.Places, p.text)
	}
	t.Group = func(bundle int, g *forensics.TextGroup) error {
		fields := map[int32][]redact.Match{} // by row
		first := int32(slices.IndexFunc(places(), func(p place) bool { return p.name == inFields }))
		for i := 0; i < len(g.Hits); {
			h := g.Hits[i]
			j, at := s.of(h.Verdict)
			list := j.sets[at]
			for i++; i < len(g.Hits) && g.Hits[i].Row == h.Row && g.Hits[i].Place == h.Place; i++ { // several headers
				_, at := s.of(g.Hits[i].Verdict)
				list = distinct(slices.Concat(list, j.sets[at]))
			}
			if h.Place >= first {
				fields[h.Row] = distinct(slices.Concat(fields[h.Row], list))
				continue
			}
			if err := s.addHit(ctx, bundle, g, h, s.number(list)); err != nil {
				return err
			}
		}
		for _, row := range slices.Sorted(maps.Keys(fields)) {
			h := forensics.TextHit{Row: row, Place: first}
			if err := s.addHit(ctx, bundle, g, h, s.number(fields[row])); err != nil {
				return err
			}
		}
		from, _ := s.of(g.Hits[0].Verdict) // one judge searches a row group
		from.clearSets()
		return nil
	}
	return s.Case.Texts(ctx, t)
}

// clearSets clears the sets of a row group.
func (j *judge) clearSets() {
	j.sets, j.hashes, j.usedBytes = nil, j.hashes[:0], 0
	clear(j.known)
}

// addHit stores a hit in the requested time until hits are handed on.
func (s *Search) addHit(ctx context.Context, bundle int, g *forensics.TextGroup, h forensics.TextHit, set uint32) error {
	if ns := g.Numbers[1][h.Row]; s.From != 0 && ns < s.From || s.To != 0 && ns > s.To {
		return nil
	}
	s.hits = append(s.hits, Hit{Bundle: int64(bundle), CallNo: g.Numbers[0][h.Row], Set: set, Place: h.Place})
	if len(s.hits) < maxHits {
		return nil
	}
	return s.flush(ctx)
}
