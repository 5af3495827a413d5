package finding

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Described is what an analyzer declares, and in a case, how much it could examine.
type Described struct {
	Finding    string   `json:"finding"`
	Title      string   `json:"title"`
	Doc        string   `json:"reports"`
	Kinds      []string `json:"kinds,omitempty"`
	Techniques []string `json:"techniques"` // of MITRE ATT&CK; empty: it is about configuration, not about one technique
	CVEs       []string `json:"cves,omitempty"`
	Unproved   string   `json:"not_proved,omitempty"`
	Examines   string   `json:"examines"`           // what it needs to see; empty: the recording itself
	Examined   *int64   `json:"examined,omitempty"` // how much of that the case has; null without a case
}

// Describe returns what analyzers declare.
func Describe(analyzers []Analyzer) (list []Described) {
	for _, a := range analyzers {
		list = append(list, Described{Finding: a.Name, Title: a.Title, Doc: a.Doc, Kinds: a.Kinds, Techniques: append([]string{}, a.Techniques...), CVEs: a.CVEs, Unproved: a.Unproved, Examines: a.Basis.What})
	}
	return list
}

// Examine is Describe with how much each analyzer could examine in a case: the largest number of what one of the needs of
// its basis counts. What was seen at several vantages counts several times among connections.
func Examine(ctx context.Context, c *forensics.Case, analyzers []Analyzer) ([]Described, error) {
	first, last, _ := c.Window()
	l := &Look{Case: c, From: first, To: last, Calls: "calls_raw", Where: "true"}
	defer l.Unmasked()() // masking would take longer than all else
	t := tableau{l: l, stated: statedRows(c), proxied: true}
	for _, a := range analyzers {
		for _, n := range a.Basis.Is {
			counted, err := n.counted()
			if err != nil {
				return nil, fmt.Errorf("analyzer %s: %w", a.Name, err)
			}
			t.add(counted)
		}
	}
	t.join()
	counts, err := t.counts(ctx)
	if err != nil {
		return nil, err
	}
	list := Describe(analyzers)
	for i, a := range analyzers {
		if a.Basis.What == "" {
			continue
		}
		most := int64(0)
		for _, n := range a.Basis.Is {
			n, _ = n.counted()
			most = max(most, counts[n])
		}
		list[i].Examined = &most
	}
	return list, nil
}

// counted is the need with the number of rows in place of the condition for it.
func (n Need) counted() (Need, error) {
	have, ok := strings.CutSuffix(n.Have, " >= 1")
	switch {
	case n.Where != "":
		n.Where, have = "", "count(*) FILTER (WHERE "+n.Where+")"
	case n.Have == "count(*) > 0":
		have = "count(*)"
	case !ok:
		return n, fmt.Errorf("a need of a basis counts rows; %q does not", n.Have)
	}
	n.Have = have
	return n, nil
}

// counts runs the query of needs that count.
func (t *tableau) counts(ctx context.Context) (map[Need]int64, error) {
	out := map[Need]int64{}
	if len(t.parts) == 0 {
		return out, nil
	}
	sql, args := t.sql()
	r, err := t.l.Case.Query(ctx, forensics.Query{SQL: sql, Args: args, Named: true})
	if err != nil {
		return nil, fmt.Errorf("counting what analyzers examine: %w", err)
	}
	at := 0
	for _, p := range t.parts {
		for _, n := range p.needs {
			if len(r.Rows) == 1 {
				out[n], _ = r.Rows[0][at].(int64)
			}
			at++
		}
	}
	return out, nil
}
