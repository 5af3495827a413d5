// Package indicators finds traffic that matches lists of indicators of compromise.
//
// The lists belong to the case, not to a bundle: they change, and are no evidence from packets. First the
// different values of the case are compared with the lists, then the rows with values that match are
// counted. So the time depends on the traffic, not on the length of the lists. One finding is one
// indicator, one client and one server, and says where the value was seen. A match at a time when the
// indicator is not valid is a finding of severity info.
package indicators

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/indicator"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Limits of one answer.
const (
	maxValues  = 2_000_000 // different values that are compared
	maxMatches = 2_000     // values that match
	maxHosts   = 1_000     // hosts of URLs that one query names
)

// Analyzer returns the analyzer indicator.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "indicator", Basis: finding.OfFlows, Title: "matches of lists of indicators",
		Doc:      "Traffic that matches the lists of --indicators: addresses, domains and the names below them, URLs, mail addresses, hashes of files and certificates, JA3, JA3S, JA4, HASSH, user agents.",
		Unproved: "that the list is right, and that the traffic was harmful: an address, a name or a program may have several users",
		Kinds:    []string{"address", "domain", "url", "email", "hash", "file", "certificate", "ja3", "ja3s", "ja4", "hassh", "user-agent"},
		Lacks: func(c *forensics.Case) string {
			if c.Indicators() == nil {
				return "no indicators were given: use --indicators FILE when the bundle is opened"
			}
			return ""
		},
		Steps: []finding.Step{{Find: find}}}
}

// match is an indicator that was seen between two ends.
type match struct {
	row   finding.Row
	of    indicator.Indicator
	valid bool
	seen  map[string]int64 // number by place
	worst int              // rank of the severity
	sure  bool
}

// key identifies a match.
type key struct {
	no       int
	src, dst string
	valid    bool
}

// search is one run.
type search struct {
	l       *finding.Look
	set     *indicator.Set
	matches map[key]*match
	cut     bool
}

func find(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // findings show the value of the list, not that of the traffic
	s := &search{l: l, set: l.Case.Indicators(), matches: map[key]*match{}}
	for _, step := range []func(context.Context) error{s.flows, s.calls, s.urls, s.certificates, s.files} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s.report()
	for _, f := range s.set.Sources {
		text := plural.Sprintf("compared with %d {indicator|indicators} of %s (SHA-256 %s)", f.Count, f.File, f.SHA256)
		for i, k := range f.Skipped {
			lead := ", "
			if i == 0 {
				lead = "; left out: "
			}
			text += fmt.Sprintf("%s%d %s (first in line %d)", lead, k.Count, k.Reason, k.Line)
		}
		l.Note("%s", text)
	}
	if s.cut {
		l.Note("there are more matches than an answer has: narrow the time or the filter")
	}
	return nil
}

// report adds the findings.
func (s *search) report() {
	for _, k := range slices.SortedFunc(maps.Keys(s.matches), func(a, b key) int {
		x, y := s.matches[a], s.matches[b]
		return cmp.Or(cmp.Compare(x.worst, y.worst), cmp.Compare(x.row.FirstNs, y.row.FirstNs), cmp.Compare(a.no, b.no), cmp.Compare(a.src, b.src), cmp.Compare(a.dst, b.dst))
	}) {
		m := s.matches[k]
		i := m.of
		var seen []string
		for _, what := range slices.Sorted(maps.Keys(m.seen)) {
			seen = append(seen, fmt.Sprintf("%s (%d)", what, m.seen[what]))
		}
		value := i.Value
		if i.Port != 0 {
			value = fmt.Sprintf("%s, port %d", value, i.Port)
		}
		what := fmt.Sprintf("%s and %s: %s of the list %s", m.row.Src, m.row.Dst, value, i.Source.File)
		if i.Name != "" {
			what += " (" + ask.Clip(i.Name, 100) + ")"
		}
		what += " was seen as " + strings.Join(seen, ", ")
		listed := &finding.Listed{Kind: i.Kind.String(), Value: i.Value, Port: int64(i.Port), Name: i.Name, File: i.Source.File, Feed: i.Feed, Line: int64(i.Line), Valid: m.valid, Seen: slices.Sorted(maps.Keys(m.seen))}
		if i.From != 0 {
			listed.From = when.Stamp(i.From)
		}
		if i.Until != 0 {
			listed.Until = when.Stamp(i.Until)
		}
		f := finding.Finding{Kind: listed.Kind, Severity: severity[m.worst], Confidence: finding.Likely, Listed: listed, Evidence: seen, Key: listed.Kind + "\x00" + value}
		if m.sure {
			f.Confidence = finding.Exact
		}
		if !m.valid {
			f.Severity, f.Key = finding.Info, f.Key+"\x00not valid"
			what += ", when the indicator was not valid (" + validity(listed) + ")"
		}
		f.What = what
		s.l.Add(m.row, f)
	}
}

func validity(l *finding.Listed) string {
	return strings.TrimSpace(strings.TrimSuffix("from "+l.From+" ", "from  ") + strings.TrimSuffix("until "+l.Until, "until "))
}

var severity = []string{finding.High, finding.Medium, finding.Low, finding.Info}

// seen is a group of rows with a value that matches.
type seen struct {
	finding.Row
	K     int64 `json:"k"` // index in wanted.hits
	Valid bool  `json:"valid"`
}

// add counts what was seen at a place.
func (s *search) add(r *seen, i indicator.Indicator, what, severe string, sure bool) {
	k := key{i.No, r.Src, r.Dst, r.Valid}
	m := s.matches[k]
	if m == nil {
		m = &match{row: r.Row, of: i, valid: r.Valid, seen: map[string]int64{}, worst: finding.Rank(finding.Info)}
		m.row.Count, m.row.CallIDs, m.row.FlowIDs = 0, nil, nil
		s.matches[k] = m
	}
	m.row.Count += r.Count
	m.row.FirstNs, m.row.LastNs = min(m.row.FirstNs, r.FirstNs), max(m.row.LastNs, r.LastNs)
	m.row.CallIDs, m.row.FlowIDs = union(m.row.CallIDs, r.CallIDs), union(m.row.FlowIDs, r.FlowIDs)
	m.seen[what] += r.Count
	m.worst, m.sure = min(m.worst, finding.Rank(severe)), m.sure || sure
}

// union appends what is not in a list. Only the first elements of long lists are compared.
func union(list, more []string) []string {
	if list == nil {
		return more
	}
	have := map[string]bool{}
	for _, x := range list {
		have[x] = true
	}
	for _, x := range more {
		if !have[x] {
			list = append(list, x)
		}
	}
	return list
}

// wanted are values that match, for a query that counts their rows.
type wanted struct {
	values []any
	hits   []indicator.Indicator // by row of SQL
}

// add adds a value and its indicators. It returns false if there are too many.
func (w *wanted) add(text string, hits []indicator.Indicator) bool {
	if len(w.values)+len(hits) > maxMatches {
		return false
	}
	for _, h := range hits {
		w.values, w.hits = append(w.values, text), append(w.hits, h)
	}
	return true
}

// sql is a table with the columns v, k, f, u and p: a value, its number, when it is valid, and its port or 0.
func (w *wanted) sql() string {
	var k, f, u, p, v strings.Builder
	for i, h := range w.hits {
		if i > 0 {
			for _, b := range []*strings.Builder{&k, &f, &u, &p, &v} {
				b.WriteString(", ")
			}
		}
		until := h.Until
		if until == 0 {
			until = 1<<63 - 1
		}
		fmt.Fprint(&k, i)
		fmt.Fprintf(&f, "%d::BIGINT", h.From)
		fmt.Fprintf(&u, "%d::BIGINT", until)
		fmt.Fprint(&p, h.Port)
		v.WriteString("?")
	}
	return "SELECT unnest([" + v.String() + "]) AS v, unnest([" + k.String() + "]) AS k, unnest([" + f.String() + "]) AS f, unnest([" + u.String() + "]) AS u, unnest([" + p.String() + "]) AS p"
}
