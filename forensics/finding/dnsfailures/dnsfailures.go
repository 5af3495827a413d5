// Package dnsfailures finds DNS questions without an answer or with an error, by the outcome of
// their calls. A multicast question needs no answer (RFC 6762 section 5). A question that the end
// of the capture cut off may have got an answer, so it does not count.
//
// Failures caused by a resolver's search list are not findings if the same client gets an answer for
// the name without the domain or with another: a note counts them.
//
// More than ten names below one registered domain are one finding: a tunnel, or a program with a wrong setting, asks for
// hundreds.
package dnsfailures

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer dns-failure.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "dns-failure", Basis: finding.OfDNS, Title: "failed DNS look-ups",
		Doc:   "SERVFAIL, REFUSED and other errors, and unanswered questions, by client and name, more than ten names below one domain together; NXDOMAIN if the name never had an answer and does not come from a search list.",
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls("'dns'", finding.Any(questions+" AND failed"))}, Find: find}}}
}

// questions is the SQL condition for calls with a question.
const questions = `protocol = 'dns' AND len(dns_questions) > 0`

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("method, lower(dns_questions[1]) AS name, CASE WHEN failed THEN coalesce(status_text, error, 'no_response') WHEN status_text = 'NOERROR' THEN 'NOERROR' END AS result", questions)+`,
		good AS (SELECT DISTINCT src, name FROM g WHERE result = 'NOERROR'),
		bad AS (SELECT * FROM g WHERE result <> 'NOERROR'),
		searched AS (`+terms.Searched("(SELECT * FROM bad WHERE result = 'NXDOMAIN')", "good", "src, ")+`)
		SELECT src, dst, name AS detail, result AS other, [method] AS evidence, `+l.Sums()+`,
			max((result = 'NXDOMAIN' AND (src, name) IN (SELECT (src, name) FROM searched))::INTEGER)::DOUBLE AS number
		FROM bad GROUP BY src, dst, method, name, result ORDER BY count DESC, src, dst, detail, other, evidence`, l.Args...)
	if err != nil {
		return err
	}
	searched := int64(0)
	var failed []finding.Row
	for _, r := range rows {
		if r.Number > 0 {
			searched += r.Count
			continue
		}
		failed = append(failed, r)
	}
	for _, r := range byDomain(failed) {
		severity := finding.Medium
		if r.Other == "NXDOMAIN" {
			severity = finding.Low
		}
		name, f := r.Detail, finding.Finding{Kind: r.Other, Severity: severity, Confidence: finding.Exact, Evidence: []string{}}
		op := r.Evidence[0]
		if r.Of > 0 {
			name, f.Evidence = plural.Sprintf("%d {name|names} below %s", r.Of, r.Detail), r.Evidence[1:]
			f.Key = r.Detail + "\x00" + r.Other + "\x00" + op + "\x00names"
		}
		f.What = plural.Sprintf("%s asked %s for %s: %s, %d {time|times}", r.Src, r.Dst, name, ask.Outcome(r.Other), r.Count)
		if op != "QUERY" { // an update or a notification asks for nothing
			if f.Key == "" {
				f.Key = r.Detail + "\x00" + r.Other + "\x00" + op
			}
			f.What = plural.Sprintf("%s sent %s for %s to %s: %s, %d {time|times}", r.Src, op, name, r.Dst, ask.Outcome(r.Other), r.Count)
		}
		l.Add(r, f)
	}
	if searched > 0 {
		l.Note("%d NXDOMAIN {answer|answers} {comes|come} from search lists: the name itself was resolved", searched)
	}
	return nil
}

// manyNames is the highest number of names below one domain that are listed separately.
const manyNames = 10

// byDomain merges the rows of one client, server, operation and result whose names are below one registered domain, if
// they are more than manyNames. In the merged row, at the place of the first, Detail is the domain, Of the number of
// names, Count a sum, and Evidence has the operation and the first three names.
func byDomain(rows []finding.Row) (list []finding.Row) {
	key := func(r *finding.Row) [5]string {
		return [5]string{r.Src, r.Dst, r.Evidence[0], r.Other, terms.Domain(r.Detail)}
	}
	names := map[[5]string]int64{}
	for i := range rows {
		names[key(&rows[i])]++
	}
	at := map[[5]string]int{}
	for _, r := range rows {
		k := key(&r)
		i, merged := at[k]
		switch {
		case names[k] <= manyNames:
			list = append(list, r)
		case !merged:
			at[k] = len(list)
			r.Of, r.Evidence, r.Detail = names[k], []string{r.Evidence[0], r.Detail}, k[4]
			list = append(list, r)
		default:
			one := &list[i]
			one.Count += r.Count
			one.FirstNs, one.LastNs = min(one.FirstNs, r.FirstNs), max(one.LastNs, r.LastNs)
			one.CallIDs = append(one.CallIDs, r.CallIDs...)
			if len(one.Evidence) < 4 {
				one.Evidence = append(one.Evidence, r.Detail)
			}
		}
	}
	return list
}
