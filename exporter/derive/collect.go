package derive

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Policy finds the values to remove. Package forensics/redact implements it.
type Policy interface {
	// Search returns functions that pass what they find to found: the rule, the value, the whole
	// header or line that holds it, and whether the rest of the message must be removed too. One
	// goroutine uses them.
	Search(found func(rule, value, whole string, rest bool)) Search
	WholeBody(contentType string) bool // whether bodies of this type go as a whole
	RemovesBodies() bool               // whether it does so with any
	KeepComments() bool                // on packets
	Addresses() bool                   // whether addresses become pseudonyms
}

// Search searches rows, texts and headers, and payloads, in which only values with a recognizable
// form are found.
type Search struct {
	Row     func(columns []string, row []any)
	Text    func(contentType, text string)
	Header  func(name, value string)
	Payload func(text string)
}

// secrets are the results of a policy: values that are searched everywhere, and values that are
// removed from single messages only.
type secrets struct {
	rules  []string
	ruleNo map[string]int32
	search *searcher

	short  map[int64]map[brief]int32       // values by the packet of their message
	blank  map[int64]int32                 // packets whose payload goes, with the rule
	rest   map[int64]int32                 // packets of messages from which goes what no row shows
	conns  map[int64]bool                  // connections of these, and of encoded bodies with a secret
	bodies map[table.Hash]map[string]int32 // short values by their body
	coded  map[table.Hash]bool             // bodies with a secret, which were sent in an encoding
	fresh  int                             // values that were not known before
	found  map[string]bool                 // tables with something that the policy finds
	clean  *cleanRows                      // rows without such

	changing map[table.Hash]bool // bodies with something that goes
	was      map[table.Hash]bool // all bodies
	digested int                 // values whose digests are searched
	summed   int                 // bodies

	opaque  map[int64]bool // connections whose payload no dissector reads
	handled map[int64]bool // packets of rest in which that was replaced

	addresses map[int64]map[netip.Addr]bool // that tables show, by the packet of their message
	unread    map[int64]bool                // packets with payload that no dissector reads
}

func newSecrets() *secrets {
	return &secrets{ruleNo: map[string]int32{}, search: newSearcher(), short: map[int64]map[brief]int32{}, blank: map[int64]int32{},
		bodies: map[table.Hash]map[string]int32{}, coded: map[table.Hash]bool{}, addresses: map[int64]map[netip.Addr]bool{}, found: map[string]bool{}, clean: newCleanRows(), unread: map[int64]bool{},
		changing: map[table.Hash]bool{}, was: map[table.Hash]bool{},
		rest: map[int64]int32{}, conns: map[int64]bool{}, opaque: map[int64]bool{}, handled: map[int64]bool{}}
}

func (s *secrets) rule(name string) int32 {
	n, ok := s.ruleNo[name]
	if !ok {
		n = int32(len(s.rules))
		s.rules = append(s.rules, name)
		s.ruleNo[name] = n
	}
	return n
}

// any reports whether anything must be removed.
func (s *secrets) any() bool {
	return len(s.search.values)+len(s.short)+len(s.blank)+len(s.rest)+len(s.bodies) > 0
}

// brief is a value that is too short to be searched everywhere, and the line that holds it.
type brief struct{ value, whole string }

func put[K, V comparable](m map[K]map[V]int32, k K, v V, rule int32) {
	if m[k] == nil {
		m[k] = map[V]int32{}
	}
	m[k][v] = rule
}

// maxCited is the number of packets of one message that are changed by themselves.
const maxCited = 1 << 20

// eachNo calls do for each packet of a citation.
func eachNo(c table.Cites, do func(no int64)) {
	n := 0
	for _, r := range c {
		for no := r.First; no <= r.Last && n < maxCited; no++ {
			do(no)
			n++
		}
	}
}

// found is a value in a row.
type found struct {
	rule, value, whole string
	rest               bool
}

// collect searches the tables of a bundle. Bodies come before calls, because a short value in a
// body goes from all calls that carried it.
func collect(ctx context.Context, tables map[string][]string, p Policy, s *secrets) error {
	first, then := map[string][]string{}, map[string][]string{}
	for name, files := range tables {
		if name == "bodies" {
			first[name] = files
		} else {
			then[name] = files
		}
	}
	var mu sync.Mutex
	visitor := func(name string) func(*row) error {
		var list []found
		search := p.Search(func(rule, value, whole string, rest bool) { list = append(list, found{rule, value, whole, rest}) })
		return func(r *row) error {
			list = list[:0]
			hash := s.clean.hash(r)
			mu.Lock()
			known := s.clean.have(hash)
			mu.Unlock()
			if !known {
				search.Row(r.names, r.values)
			}
			mu.Lock()
			defer mu.Unlock()
			s.found[name] = s.found[name] || len(list) > 0
			if len(list) == 0 {
				s.clean.add(hash)
			}
			s.row(r, list)
			if err := s.search.fits(); err != nil {
				return err
			}
			return s.addressRow(r)
		}
	}
	if err := walkTables(ctx, first, visitor); err != nil {
		return err
	}
	return walkTables(ctx, then, visitor)
}

// row adds the findings of one row.
func (s *secrets) row(r *row, list []found) {
	body, isBody := r.hash("sha256")
	isBody = isBody && r.table == "bodies"
	if isBody && len(list) > 0 && text(r, "encoding") != "" {
		s.coded[body] = true
	}
	if isBody {
		s.was[body] = true
	}
	if isBody && len(list) > 0 {
		s.changing[body] = true
		if t := text(r, "text"); sha256.Sum256([]byte(t)) == body {
			s.digests(t, &s.summed)
		}
	}
	for _, f := range list {
		rule := s.rule(f.rule)
		switch {
		case f.rest:
			eachNo(r.cites(), func(no int64) { s.rest[no] = rule })
			s.traced(r)
		case isBlank(f.value):
		case everywhere(f.value):
			if s.search.add(f.value, f.whole, rule) {
				s.fresh++
				s.digests(f.value, &s.digested)
			}
		case isBody:
			put(s.bodies, body, f.value, rule)
		default:
			eachNo(r.cites(), func(no int64) { put(s.short, no, brief{f.value, f.whole}, rule) })
		}
	}
	if r.table != "calls" {
		return
	}
	if conn, ok := r.int64("conn_id"); ok && text(r, "outcome") == table.Unread && text(r, "protocol") == text(r, "transport") {
		s.opaque[conn] = true
	}
	for _, side := range []string{"request_body_sha256", "response_body_sha256"} {
		if h, ok := r.hash(side); ok {
			s.was[h] = true
			if s.coded[h] {
				s.traced(r)
			}
			if s.changing[h] {
				s.digestsOf(r)
			}
			for v, rule := range s.bodies[h] {
				eachNo(r.cites(), func(no int64) { put(s.short, no, brief{v, ""}, rule) })
			}
		}
	}
}

// digestsOf removes the digests in the headers of a call whose body changes.
func (s *secrets) digestsOf(r *row) {
	rule := s.rule(digestRule)
	digestsIn(r, func(value, whole string) {
		if everywhere(value) {
			if s.search.add(value, whole, rule) {
				s.fresh++
			}
			return
		}
		eachNo(r.cites(), func(no int64) { put(s.short, no, brief{value, whole}, rule) })
	})
}

// traced records that the connection of a row must be traced.
func (s *secrets) traced(r *row) {
	if conn, ok := r.int64("conn_id"); ok {
		s.conns[conn] = true
	}
}

func text(r *row, name string) string {
	if i, ok := r.columns[name]; ok {
		s, _ := r.values[i].(string)
		return s
	}
	return ""
}
