package finding

import "fmt"

// Examples is how many findings of a cause a reader is shown.
const Examples = 3

// Cause is findings of one kind and severity: 44 names that do not resolve are one problem with 44 examples.
type Cause struct {
	Title      string // of the analyzer
	Findings   []Finding
	Count      int64  // calls, connections or places behind all of them
	First      string // of all of them
	Last       string
	Confidence string // the least certain
}

// Causes groups the findings of an answer by what is wrong, in their order. Accepted findings are apart from open ones, and
// from those with another reason.
func (o *Out) Causes() (list []Cause) {
	titles := map[string]string{}
	for _, s := range o.Summary {
		titles[s.Finding] = s.Title
	}
	at := map[[4]string]int{}
	for _, f := range o.Findings {
		key := [4]string{f.Finding, f.Kind, f.Severity}
		if f.Accepted.Valid() {
			key[3] = f.Accepted.Reason + "\x00" + f.Accepted.By + "\x00" + f.Accepted.Until
		}
		i, ok := at[key]
		if !ok {
			i = len(list)
			at[key] = i
			list = append(list, Cause{Title: titles[f.Finding], First: f.First, Last: f.Last, Confidence: f.Confidence})
		}
		list[i].add(f)
	}
	return list
}

func (c *Cause) add(f Finding) {
	c.Findings = append(c.Findings, f)
	c.Count += f.Count
	if f.First != "" && (c.First == "" || f.First < c.First) {
		c.First = f.First
	}
	c.Last = max(c.Last, f.Last)
	if certainty[f.Confidence] > certainty[c.Confidence] {
		c.Confidence = f.Confidence
	}
}

// certainty orders confidences, the least certain last.
var certainty = map[string]int{Exact: 0, Likely: 1, Guess: 2}

// IDs lists the ids of the first findings, and how many more there are.
func (c *Cause) IDs(most int) (ids []string) {
	for i, f := range c.Findings {
		if i == most {
			return append(ids, fmt.Sprintf("and %d more", len(c.Findings)-most))
		}
		ids = append(ids, f.ID)
	}
	return ids
}
