package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/sensitive"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// maxPersonal is the highest number of calls with personal data in an answer.
const maxPersonal = 100_000

// piiIndex records the kinds of personal data in each call.
type piiIndex struct {
	kinds map[ask.Key]map[string]bool // "kind in place"
}

func (p *piiIndex) of(key ask.Key) []string { return slices.Sorted(maps.Keys(p.kinds[key])) }

func (p *piiIndex) add(key ask.Key, kind string) {
	if p.kinds[key] == nil {
		p.kinds[key] = map[string]bool{}
	}
	p.kinds[key][kind] = true
}

// personal narrows the window to calls that carry personal data.
func (a *accessAnswer) personal() error {
	// Detectors cannot find masked data, so they read unmasked texts. The answer shows only the
	// calls and the kinds.
	w := *a.w
	if w.KFL != "" {
		w.Where = a.c.AsMasked(w.Where)
	}
	found, cut, err := findPersonal(a.ctx, a.c.Unmasked(), &w)
	if err != nil {
		return err
	}
	a.pii = found
	if cut {
		a.out.Note("more than %d calls carry personal data; only the first are listed", maxPersonal)
		a.out.Truncated = true
	}
	a.out.Note("personal data is recognized by its form: payment cards, SSNs, IBANs, email addresses and phone numbers; names and street addresses cannot be recognized")
	counts := map[string]int64{}
	bundles := map[int64][]int64{}
	for key, kinds := range found.kinds {
		bundles[key.Bundle] = append(bundles[key.Bundle], key.No)
		for k := range kinds {
			counts[k]++
		}
	}
	a.out.Kinds = []search.PlaceCount{}
	for k, n := range counts {
		a.out.Kinds = append(a.out.Kinds, search.PlaceCount{Place: k, Calls: n})
	}
	slices.SortFunc(a.out.Kinds, func(x, y search.PlaceCount) int { return strings.Compare(x.Place, y.Place) })
	var conds []string
	var args []any
	for b := range int64(len(a.c.Bundles())) {
		if list := bundles[b]; len(list) > 0 {
			slices.Sort(list)
			conds = append(conds, fmt.Sprintf("%s = %d AND call_no IN (SELECT no FROM %s)", bundleName(a.c), b, terms.Zip("no")))
			args = append(args, terms.Numbers(list))
		}
	}
	if len(conds) == 0 {
		conds = []string{"false"}
	}
	a.w.And(strings.Join(conds, " OR "), args...)
	return ask.NoteUnread(a.ctx, a.c, &a.out.Frame, a.w)
}

// findPersonal finds the calls of a window that carry personal data. It returns true if some are missing.
func findPersonal(ctx context.Context, c *forensics.Case, w *ask.Window) (*piiIndex, bool, error) {
	out := &piiIndex{kinds: map[ask.Key]map[string]bool{}}
	s := sensitive.Search{Case: c}
	s.Within(w.From, w.To)
	cut := false
	s.Found = func(ctx context.Context, hits []sensitive.Hit) error {
		hits = slices.DeleteFunc(hits, func(h sensitive.Hit) bool {
			return !slices.ContainsFunc(s.Matches(h.Set), func(m redact.Match) bool { return personalKinds()[m.Kind] })
		})
		within, err := callsWithin(ctx, c, w, hits)
		if err != nil {
			return err
		}
		for _, h := range hits {
			key := ask.Key{Bundle: h.Bundle, No: h.CallNo}
			if !within[key] {
				continue
			}
			for _, m := range s.Matches(h.Set) {
				switch {
				case !personalKinds()[m.Kind]:
				case out.kinds[key] == nil && len(out.kinds) >= maxPersonal:
					cut = true
				default:
					out.add(key, m.Kind+" in "+sensitive.PlaceName(int(h.Place)))
				}
			}
		}
		return nil
	}
	err := s.Run(ctx)
	return out, cut || s.Full, err
}

// callsWithin returns the calls of hits that are in a window.
func callsWithin(ctx context.Context, c *forensics.Case, w *ask.Window, hits []sensitive.Hit) (map[ask.Key]bool, error) {
	out := map[ask.Key]bool{}
	if len(hits) == 0 {
		return out, nil
	}
	var nos []int64
	for _, h := range hits {
		nos = append(nos, h.CallNo)
	}
	slices.Sort(nos)
	nos = slices.Compact(nos)
	_, err := c.Each(ctx, forensics.Query{SQL: fmt.Sprintf("SELECT %s, call_no FROM calls WHERE %s AND call_no BETWEEN ? AND ? AND call_no IN (SELECT no FROM %s)", terms.BundleOf(c, ""), w.Where, terms.Zip("no")),
		Args: w.Values(nos[0], nos[len(nos)-1], terms.Numbers(nos))}, nil, func(_ []forensics.Column, row []any) error {
		bundle, _ := row[0].(int64)
		no, _ := row[1].(int64)
		out[ask.Key{Bundle: bundle, No: no}] = true
		return nil
	})
	return out, err
}

// personalKinds are the detectors of personal data.
var personalKinds = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for _, d := range redact.Detectors() {
		if d.Class == redact.Personal {
			out[d.Kind] = true
		}
	}
	return out
})
