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
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of the search for personal data.
const (
	maxPersonal = 100_000 // calls with personal data in an answer
	maxValues   = 500_000 // distinct texts of a column
)

// personalPattern matches every text with personal data, and some others. It is faster than the
// detectors, which then check the texts that it matches.
const personalPattern = `@|[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9](?:[ -]?[0-9]){11}|\+[0-9]|\([0-9]{3}\)|[0-9]{3}[-. ][0-9]{3}[-. ][0-9]{4}|[A-Z]{2}[0-9]{2}[ ]?[A-Z0-9]{4}`

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

// findPersonal finds the calls of a window that carry personal data. It checks equal texts once.
func findPersonal(ctx context.Context, c *forensics.Case, w *ask.Window) (*piiIndex, bool, error) {
	out := &piiIndex{kinds: map[ask.Key]map[string]bool{}}
	cut := false
	bodies := map[string][]string{}
	_, err := c.Each(ctx, forensics.Query{SQL: "SELECT lower(hex(sha256)) AS h, text FROM bodies_raw WHERE text IS NOT NULL AND regexp_matches(text, ?) ORDER BY h, part", Args: []any{"(" + personalPattern + ")"}}, nil,
		func(_ []forensics.Column, row []any) error {
			hash, _ := row[0].(string)
			text, _ := row[1].(string)
			for _, kind := range personalIn(text) {
				if !slices.Contains(bodies[hash], kind) {
					bodies[strings.Clone(hash)] = append(bodies[hash], kind)
				}
			}
			return nil
		})
	if err != nil {
		return nil, false, err
	}
	rows, texts, err := loadTexts(ctx, c, w)
	if err != nil {
		return nil, false, err
	}
	defer rows.Release()
	for _, side := range [2]string{"request", "response"} {
		col := side + "_body_sha256"
		_, err := rows.Case.Each(ctx, forensics.Query{SQL: fmt.Sprintf("SELECT %s, call_no, lower(hex(%s)) AS h FROM %s WHERE %s AND %[2]s IS NOT NULL ORDER BY ts_ns, bundle, call_no", terms.BundleOf(c, ""), col, rows.From, rows.Where), Args: rows.Args}, nil,
			func(_ []forensics.Column, row []any) error {
				hash, _ := row[2].(string)
				for _, kind := range bodies[hash] {
					cut = out.addRow(row, kind+" in "+side+".body") || cut
				}
				return nil
			})
		if err != nil {
			return nil, false, err
		}
	}
	for _, s := range texts {
		seen := map[string][]string{}
		_, err := rows.Case.Each(ctx, forensics.Query{SQL: fmt.Sprintf("SELECT %s, call_no, %s AS v FROM %s WHERE %s AND regexp_matches(%[2]s, ?) ORDER BY ts_ns, bundle, call_no", terms.BundleOf(c, ""), s.column, rows.From, rows.Where), Args: rows.Values("(" + personalPattern + ")")}, nil,
			func(_ []forensics.Column, row []any) error {
				text, _ := row[2].(string)
				kinds, ok := seen[text]
				if !ok {
					kinds = personalIn(text)
					if len(seen) < maxValues {
						seen[strings.Clone(text)] = kinds
					}
				}
				for _, kind := range kinds {
					cut = out.addRow(row, kind+" in "+s.name) || cut
				}
				return nil
			})
		if err != nil {
			return nil, false, err
		}
	}
	return out, cut, nil
}

// textColumn is a text column of calls that may contain personal data.
type textColumn struct{ name, column string }

// loadTexts loads the columns that may contain personal data, if there are not too many rows.
func loadTexts(ctx context.Context, c *forensics.Case, w *ask.Window) (*ask.CallTable, []textColumn, error) {
	var list []textColumn
	columns := []string{"call_no, ts_ns, request_body_sha256, response_body_sha256"}
	for i := range search.Spots {
		s := &search.Spots[i]
		if s.Column == "" || s.Name == "trace_id" || s.Name == "request_id" || s.Name == "dns.answers" || s.Name == "host" {
			continue
		}
		list = append(list, textColumn{s.Name, s.Column})
	}
	fields, err := search.FieldText(ctx, c, "FROM calls WHERE "+w.Where, w.Args...)
	if err != nil {
		return nil, nil, err
	}
	if fields != "" {
		list = append(list, textColumn{"fields", fields})
	}
	for i, t := range list {
		columns = append(columns, fmt.Sprintf("%s AS text%d", t.column, i))
	}
	rows, err := ask.LoadCalls(ctx, c, strings.Join(columns, ", "), w.Where, w.Args)
	if err == nil && rows.InMemory {
		for i := range list {
			list[i].column = fmt.Sprintf("text%d", i)
		}
	}
	return rows, list, err
}

// addRow records a kind for the call of a row. It returns true if there are too many calls.
func (p *piiIndex) addRow(row []any, kind string) bool {
	bundle, _ := row[0].(int64)
	no, _ := row[1].(int64)
	key := ask.Key{Bundle: bundle, No: no}
	if p.kinds[key] == nil && len(p.kinds) >= maxPersonal {
		return true
	}
	p.add(key, kind)
	return false
}

// personalIn lists the kinds of personal data in a text.
func personalIn(text string) []string {
	var out []string
	for _, m := range redact.Find(text) {
		if personalKinds()[m.Kind] && !slices.Contains(out, m.Kind) {
			out = append(out, m.Kind)
		}
	}
	return out
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
