package collection

import (
	"fmt"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// Words says of a bundle what was checked, or why nothing of it counts.
func (b *Bundle) Words() string {
	if b.Problem != "" {
		return "NOT READ: " + b.Problem
	}
	text := "verified"
	if b.Outside {
		return text + "; outside the period"
	}
	switch {
	case b.SealDetail != "":
		text += "; " + b.SealDetail
	}
	if n := len(b.Summary.Nodes); n > 0 {
		text = strings.Join(b.Summary.Nodes[:min(n, 3)], ", ") + ", " + text
	}
	return fmt.Sprintf("%s to %s, ", dateOf(b.Summary.First), dateOf(b.Summary.Last)) + text
}

// Coverage has a sentence for each node.
func (s *State) Coverage() (out []string) {
	for _, n := range s.Nodes {
		var days, over, missing, lost int64
		var gaps []string
		reasons := map[string]bool{}
		for _, d := range s.Days {
			if d.Node != n || d.State == NotOver {
				continue
			}
			over++
			missing += d.Missing
			lost += d.Lost
			if d.State == Whole {
				days++
			}
			for _, r := range d.Reasons {
				if !reasons[r] {
					reasons[r], gaps = true, append(gaps, strings.ReplaceAll(r, "_", " "))
				}
			}
		}
		text := plural.Sprintf("%s: %d of %d {day|days}", nodeName(n), days, over)
		if missing > 0 {
			text += ", missing " + Length(missing)
		}
		if lost > 0 {
			text += plural.Sprintf(", %d {packet|packets} lost", lost)
		}
		if len(gaps) > 0 {
			text += " (" + strings.Join(gaps, ", ") + ")"
		}
		out = append(out, text)
	}
	return out
}

// Words says whether an exception is accepted.
func (e *Exception) Words() string {
	if e.Accepted == nil {
		return "not accepted"
	}
	return e.Accepted.Words()
}

// Words says what an acceptance is worth on the day of the report.
func (a *Acceptance) Words() string {
	text := "accepted by " + a.Owner + " until " + a.Until + ": " + a.Reason
	switch a.State {
	case Expired:
		text = "acceptance by " + a.Owner + " " + a.Detail + ": " + a.Reason
	case Replaced:
		text = "replaced by a later entry"
	case Invalid:
		text = "not valid: " + a.Detail
	case NotSeen:
		text += "; " + a.Detail
	}
	if a.Overdue {
		text += "; the remedy was due on " + a.Due
	}
	return text
}

// Span writes a gap's time for people.
func (g Gap) Span() string {
	at := func(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05") }
	return at(g.From) + " to " + at(g.To)
}
