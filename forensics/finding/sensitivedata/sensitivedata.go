// Package sensitivedata reports the personal data and secrets that package sensitive finds in calls, with masked evidence.
package sensitivedata

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/sensitive"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of the memory of a search.
const (
	maxGroups   = 20_000 // groups of kind and place
	maxEvidence = 5
	maxForms    = 1000 // masked forms of a group that are counted separately
)

// Analyzer returns the analyzer sensitive-data.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "sensitive-data", Basis: finding.OfRequests, Title: "personal data and secrets in traffic",
		Kinds: kinds(),
		Doc:   "Cards (Luhn), magnetic stripes, card verification codes and PIN blocks in fields named so, social security numbers, IBANs (check digits), email and SIP addresses, phone numbers, tokens, cloud keys and private keys in bodies, URLs, headers, SQL, Redis and all other text of the protocols, with masked evidence.", Steps: []finding.Step{{Find: find}}}
}

// kinds lists what can be found.
func kinds() (list []string) {
	for _, d := range redact.Detectors() {
		list = append(list, d.Kind)
	}
	return list
}

// group is one kind of data in one place.
type group struct {
	kind, src, dst, what, place string
	sealed                      bool // it was encrypted on the wire
}

// sums adds up the calls with hits.
type sums struct {
	sensitive.Search
	l      *finding.Look
	groups map[group]*sum
}

type sum struct {
	row    finding.Row
	first  []cited
	via    []string         // proxies
	masked map[string]int64 // masked form → calls; forms beyond maxForms are left out
}

// cited is a call behind a finding.
type cited struct {
	ns int64
	id string
}

func find(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()()
	s := &sums{l: l, groups: map[group]*sum{}}
	s.Case, s.Found = l.Case, s.count
	s.Within(l.From, l.To)
	err := s.Run(ctx)
	// Report what was counted, even if the time ran out.
	s.report()
	return err
}

// evidence returns the most frequent masked forms with their number of calls.
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

// severe returns the severity of a kind.
func severe(kind string) string {
	switch kind {
	case "email", "phone", "sip_address":
		return finding.Low
	case "jwt", "bearer", "basic", "url_password":
		return finding.Medium
	}
	return finding.High
}

// sealedLast orders values sent in clear text before encrypted ones.
func sealedLast(a, b group) int {
	switch {
	case a.sealed == b.sealed:
		return 0
	case b.sealed:
		return -1
	}
	return 1
}

// report adds the groups as findings, in a fixed order.
func (s *sums) report() {
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
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(a.kind, b.kind), cmp.Compare(a.src, b.src), cmp.Compare(a.dst, b.dst), cmp.Compare(a.what, b.what), cmp.Compare(a.place, b.place), sealedLast(a, b))
	})
	for _, g := range list {
		x := s.groups[g]
		slices.SortFunc(x.first, earlier)
		slices.Sort(x.via)
		x.row.Via = strings.Join(x.via, ", ")
		for _, c := range x.first {
			x.row.CallIDs = append(x.row.CallIDs, c.id)
		}
		f := finding.Finding{Kind: g.kind, Severity: severe(g.kind), Confidence: finding.Likely, Src: g.src, Dst: g.dst, Evidence: x.evidence(g.kind), Key: g.kind + "\x00" + g.place + "\x00" + g.what,
			What: fmt.Sprintf("%s (%s) in the %s of %s, %s to %s", g.kind, classes[g.kind], g.place, strings.TrimSpace(g.what), g.src, g.dst)}
		if g.sealed {
			f.Encrypted, f.Key, f.What = true, f.Key+"\x00encrypted", f.What+", encrypted on the wire"
		}
		s.l.Add(x.row, f)
	}
	if s.Full {
		s.l.Note("too many matches, so some are missing: narrow the time or the filter")
	}
}
