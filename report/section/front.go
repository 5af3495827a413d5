package section

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// The questions of the first page.
const (
	headWhat    = "What happened"
	headWhom    = "To whom"
	headSince   = "Since when"
	headSure    = "How certain"
	headNext    = "What to do next"
	headMissing = "What was not recorded"
)

// front writes the first page: what happened, to whom, since when, how certain, and what was not
// recorded. Findings, causes and failures come before statistics.
func (b *builder) front() {
	if b.err != nil {
		return
	}
	b.facts()
	b.byAuthor()
	if !b.any || b.accts.Packets == 0 {
		b.state(value.Statement{ID: "packets", Head: headWhat, Text: fmt.Sprintf("There are no packets in %s.", plural.Count(int64(len(b.r.Bundles)), "bundle", "bundles"))})
		b.state(value.Statement{ID: "not-recorded", Head: headMissing, Text: b.cov.NotRecorded()})
		return
	}
	failures, findings := answer{"failures on this page", b.failureFront}, answer{"findings on this page", b.findingFront}
	list := []answer{{"traffic on this page", b.trafficFront}, failures, findings}
	switch b.in.Template.Focus {
	case "failures":
		list = []answer{failures, findings}
	case "findings":
		list = []answer{findings, failures}
	}
	if b.unmatchedFilter() {
		list = []answer{{"calls on this page", b.unmatched}}
	}
	for _, a := range list {
		if b.err == nil {
			a.write()
		}
		b.tolerate(a.name)
	}
	b.next()
	missing := value.Statement{ID: "not-recorded", Head: headMissing, Text: b.cov.NotRecorded(), Bad: b.r.Blank || len(b.cov.losses()) > 0}
	if !b.r.Blank {
		missing.Figures = []value.Number{value.Count("coverage gaps", b.cov.Gaps), value.Count("connections not decrypted", b.cov.Sealed), value.Count("flows with missing bytes", b.cov.Missing)}
	}
	b.state(missing)
	b.sortStatements()
}

// sortStatements sorts the first page by its questions.
func (b *builder) sortStatements() {
	rank := func(s value.Statement) int {
		if s.ID == "happened" && b.in.Template.Focus != "findings" {
			return -1
		}
		return slices.Index(heads, s.Head)
	}
	slices.SortStableFunc(b.r.Statements, func(x, y value.Statement) int { return rank(x) - rank(y) })
}

// answer is a part of the first page.
type answer struct {
	name  string
	write func()
}

var heads = []string{headWhat, headWhom, headSince, headSure, headNext, headMissing}

func (b *builder) state(s value.Statement) {
	s.Text = oneStop(s.Text)
	b.r.Statements = append(b.r.Statements, s)
}

// facts are the figures in the head of the page.
func (b *builder) facts() {
	if !b.any {
		b.r.Facts = []value.Number{value.Count("packets", 0)}
		return
	}
	if b.r.Blank { // a count of 0 would claim an absence
		b.r.Facts = []value.Number{{Label: "length of the window", Text: value.Duration(time.Duration(b.last - b.first))}, {Label: "recorded in this window", Text: "nothing", Bad: true}}
		return
	}
	if b.whole {
		packets, bytes := noun(b.accts.Packets, "packet", "packets"), "on the wire"
		if b.several { // bundles may overlap
			packets, bytes = "packets of all bundles", "bytes of all bundles"
		}
		b.r.Facts = append(b.r.Facts, value.Number{Label: "from first to last packet", Text: value.Duration(time.Duration(b.last - b.first))}, value.Count(packets, b.accts.Packets),
			value.Number{Label: bytes, Text: value.Bytes(b.accts.Bytes), Value: &b.accts.Bytes})
	} else {
		b.r.Facts = append(b.r.Facts, value.Number{Label: "length of the window", Text: value.Duration(time.Duration(b.last - b.first))})
	}
	failed := value.Count("failed ("+cmp.Or(value.Percent(b.failed, b.calls), "none")+")", b.failed)
	failed.Bad = b.failed > 0
	gaps := value.Count(noun(b.cov.Gaps, "coverage gap known", "coverage gaps known"), b.cov.Gaps)
	gaps.Bad = b.cov.Gaps > 0
	b.r.Facts = append(b.r.Facts, value.Count(noun(b.calls, "call", "calls"), b.calls), failed, gaps)
}

// noun is the word for a number of things.
func noun(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// trafficFront describes the traffic.
func (b *builder) trafficFront() {
	if b.calls == 0 {
		b.state(value.Statement{ID: "calls", Head: headWhat, Text: b.cov.Absent("call")})
		return
	}
	list := b.protocolList()
	var parts []string
	var figures []value.Number
	for _, p := range list.Rows {
		figures = append(figures, value.Count(value.Text(p.Protocol)+" calls", p.Calls))
		parts = append(parts, fmt.Sprintf("%s (%s)", value.Text(p.Protocol), plural.Thousands(p.Calls)))
	}
	if len(parts) > 4 {
		parts = append(parts[:4], plural.Count(int64(len(list.Rows)-4), "other protocol", "other protocols"))
	}
	b.state(value.Statement{ID: "calls", Head: headWhat, Text: fmt.Sprintf("%s: %s.", plural.Count(b.calls, "call", "calls"), value.And(parts)), Figures: figures, Queries: b.query(list.SQL)})
	b.state(value.Statement{ID: "span", Head: headSince, Text: fmt.Sprintf("The window lasts from %s to %s UTC.", value.Stamp(b.first, time.Duration(b.last-b.first)), value.Stamp(b.last, time.Duration(b.last-b.first)))})
}

// unmatched says that no call matches the filter, and why. Everything else of the first page is about calls
// that match it.
func (b *builder) unmatched() {
	text := b.cov.Absent("call that matches the filter " + value.Text(b.in.Basis.KFL))
	if !b.r.Blank {
		for _, why := range b.c.Why(b.ctx, b.in.Basis.KFL, b.w.From, b.w.To) {
			text += " " + strings.Replace(sentence(value.Text(why)), "?.", "?", 1)
		}
	}
	b.state(value.Statement{ID: value.Unmatched, Head: headWhat, Bad: true, Text: text})
}

// unmatchedFilter reports whether the filter of the report matches no call, so that every list is empty for this reason.
func (b *builder) unmatchedFilter() bool { return b.calls == 0 && b.in.Basis.KFL != "" }

// absent is the sentence for an empty list of a question.
func (b *builder) absent(what string) string {
	if b.unmatchedFilter() {
		return "This list is empty because no call matches the filter " + value.Text(b.in.Basis.KFL) + "."
	}
	return b.cov.Absent(what)
}

// failureFront describes the failures: the callers, the time and the reason.
func (b *builder) failureFront() {
	if b.calls == 0 {
		return
	}
	f, query := b.whatFailed()
	if b.err != nil {
		return
	}
	if f.Failed == 0 {
		if f.Happened != nil {
			b.happenedFront(f.Happened, query)
		}
		b.state(value.Statement{ID: "failed", Head: headWhat, Text: b.cov.Absent("failed call"), Queries: query})
		return
	}
	text := fmt.Sprintf("%s of %s failed (%s).", plural.Thousands(f.Failed), plural.Count(f.Calls, "call", "calls"), value.Percent(f.Failed, f.Calls))
	if h := f.Happened; h != nil {
		b.happenedFront(h, query)
		if h.Users && h.Failed < f.Failed {
			text += " That counts hops and retries too, not only what users asked for."
		}
	}
	if names := nameWords(f.DNS); names != "" {
		text += " " + names
	}
	var cite, began []*value.Citation
	first, last := "", ""
	var clients, servers []string
	for i, g := range f.Groups {
		if i == 0 {
			cite = b.cite(g.CallIDs...)
		}
		if first == "" || g.First < first {
			first, began = g.First, b.cite(g.CallIDs[:min(1, len(g.CallIDs))]...)
		}
		last = max(last, g.Last)
		clients, servers = append(clients, g.Src), append(servers, g.Dst)
	}
	for _, n := range f.DNS {
		clients = append(clients, n.Client)
		if cite == nil {
			cite = b.cite(n.CallIDs...)
		}
		if first == "" || n.First < first {
			first, began = n.First, b.cite(n.CallIDs[:min(1, len(n.CallIDs))]...)
		}
		last = max(last, n.Last)
	}
	b.state(value.Statement{ID: "failed", Head: headWhat, Text: text + b.cov.More(), Bad: true, Cite: cite, Queries: query,
		Figures: []value.Number{value.Count("failed calls", f.Failed), value.Count("calls", f.Calls)}})
	b.causeFront(f, query)
	b.whomFront(f, clients, servers, query)
	if first != "" {
		b.state(value.Statement{ID: "failed-since", Head: headSince, Queries: query, Cite: began,
			Text: b.began("The first failed call began", ", the last one", first, last) + fmt.Sprintf(" The recording begins at %s; failures before that cannot be excluded.", value.Clock(b.first, b.first, b.last))})
	}
}

// happenedFront is the sentence about the main incident.
func (b *builder) happenedFront(h *happened, query []int) {
	s := value.Statement{ID: "happened", Head: headWhat, Text: value.Clean(h.What, maxHappened), Bad: h.Failed > 0, Cite: b.cite(h.CallIDs...), Queries: query}
	if h.Failed > 0 {
		s.Figures = []value.Number{value.Count("requests that failed this way", h.Failed), value.Count("such requests in that time", h.Of)}
	}
	for _, x := range h.Holders {
		s.Figures = append(s.Figures, value.Count("connections of "+b.nodeName(x.Client), x.Connections))
	}
	b.state(s)
	b.incident = h
}

// whomFront names users, other clients and services with failed calls, each counted apart.
func (b *builder) whomFront(f *failures, clients, servers []string, query []int) {
	text := ""
	if h := f.Happened; h != nil && h.Users && len(h.Clients) > 0 {
		users := b.nodeNames(h.Clients)
		text = plural.Count(int64(len(users)), "user", "users") + " of " + b.nodeName(h.Service)
		if i := slices.Index(users, terms.AnyOutside); i >= 0 { // they are many or one
			users[i], text = "outside", "Users of "+b.nodeName(h.Service)
		}
		text += ": " + value.Some(users) + ". "
	}
	besides := ""
	if len(f.DNS) > 0 {
		besides = ", besides look-ups of names"
	}
	b.state(value.Statement{ID: "failed-whom", Head: headWhom, Text: text + "Failed calls were seen at " + b.ends(clients, servers) + besides + ".", Queries: query,
		Figures: []value.Number{value.Count("clients with failed calls", int64(len(b.nodeNames(clients)))), value.Count("services with failed calls", int64(len(b.nodeNames(servers))))}})
}

// began is a sentence about two times, or about one if no difference shows.
func (b *builder) began(one, two, first, last string) string {
	from, to := b.moment(first), b.moment(last)
	if from == to {
		return fmt.Sprintf("%s at %s UTC.", one, from)
	}
	return fmt.Sprintf("%s at %s UTC%s at %s.", one, from, two, to)
}

// nameWords counts the failed questions for names. Those from search lists do no harm. One without an answer does not show
// whether the name exists.
func nameWords(list []nameFailure) string {
	var all, search, silent int64
	for _, n := range list {
		all += n.Calls
		if n.Search {
			search += n.Calls
		}
		if strings.Trim(n.Status[:min(1, len(n.Status))], "0123456789") != "" { // no code of a response
			silent += n.Calls
		}
	}
	how := "that did not resolve"
	switch silent {
	case 0:
	case all:
		how = "that got no answer"
	default:
		how += fmt.Sprintf(" (%d got no answer)", silent)
	}
	const harmless = "which is harmless if another name in that list resolved"
	what := plural.Sprintf("%d of them {is a DNS query for a name|are DNS queries for names}", all)
	switch {
	case all == 0:
		return ""
	case search == 0:
		return what + " " + how + "."
	case search == all:
		return what + " from a resolver's search list " + how + ", " + harmless + "."
	}
	return what + " " + how + plural.Sprintf("; %d of these {comes|come} from a resolver's search list, ", search) + harmless + "."
}

// causeFront says where the failures began.
func (b *builder) causeFront(f *failures, query []int) {
	if len(f.Causes) == 0 {
		return
	}
	c := f.Causes[0]
	after := ""
	if c.ElapsedMs > 0 { // a message without a response takes no time
		after = ", after " + millis(c.ElapsedMs)
	}
	if f.Happened == nil || f.Happened.Origin == "" { // else the first sentence says it
		b.state(value.Statement{ID: "cause", Head: headWhat, Bad: true, Queries: query, Cite: b.originCite(c),
			Text:    fmt.Sprintf("The most frequent origin of the failures whose chains were followed is %s at %s%s: %s.", value.Text(c.Endpoint), b.nodeName(c.Dst), after, originWords(c)),
			Figures: []value.Number{value.Count("failed calls that it explains", int64(c.Chains))}})
	}
	sure := map[string]int{}
	for _, c := range f.Causes {
		sure[c.Sure]++
	}
	b.state(value.Statement{ID: "cause-sure", Head: headSure, Queries: query,
		Text: fmt.Sprintf("%s: %s. Ids in the traffic show exact links. A likely link is to the only request that the caller had open; a guess is one of several.", plural.Count(int64(len(f.Causes)), "origin of failures was found", "origins of failures were found"), sureWords(sure))})
}

// sureWords counts certainties.
func sureWords(n map[string]int) string {
	var parts []string
	for _, s := range []string{"exact", "likely", "guess"} {
		if n[s] > 0 {
			word := s
			if s == "guess" {
				word = "guessed"
			}
			if n[s] == 1 && len(n) == 1 {
				return word
			}
			parts = append(parts, fmt.Sprintf("%d %s", n[s], word))
		}
	}
	return value.And(parts)
}

// findingFront describes the findings of the analyzers.
func (b *builder) findingFront() {
	found, query := b.whatFound(nil)
	if found == nil || b.err != nil {
		return
	}
	said := found.SaidSentence()
	found, _ = found.Own()
	if len(found.Findings) == 0 {
		b.state(value.Statement{ID: "findings", Head: headWhat, Text: value.Clean(found.Searched, maxSearched), Queries: query})
		return
	}
	severities, sure := map[string]int{}, map[string]int{}
	known := 0
	for i := range found.Findings {
		f := &found.Findings[i]
		severities[f.Severity]++
		sure[f.Confidence]++
		if accepted(f) != "" {
			known++
		}
	}
	var parts []string
	var figures []value.Number
	for _, s := range []string{finding.High, finding.Medium, finding.Low, finding.Info} {
		if n := severities[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
			figures = append(figures, value.Count(s+" findings", int64(n)))
		}
	}
	worst := found.Findings[0]
	what := strings.TrimSuffix(value.Clean(worst.What, 2*value.MaxText), ".")
	text := fmt.Sprintf("%s of %s: %s. The worst: %s.", plural.Count(int64(len(found.Findings)), "finding", "findings"), plural.Count(int64(len(found.Causes())), "kind", "kinds"), value.And(parts), what)
	if len(found.Findings) == 1 {
		text = fmt.Sprintf("1 finding of severity %s: %s.", worst.Severity, what)
	}
	if known > 0 {
		text += " " + plural.Count(int64(known), "finding was", "findings were") + " accepted earlier, with reasons."
	}
	text = strings.TrimSpace(text + " " + said)
	b.state(value.Statement{ID: "findings", Head: headWhat, Text: text + b.cov.More(), Bad: severities[finding.High] > 0, Figures: figures, Cite: b.findingCite(&worst), Queries: query})
	b.worst = &worst
	b.findingEnds(found.Findings, query)
	b.state(value.Statement{ID: "findings-sure", Head: headSure, Text: "Confidence of the findings: " + sureWords(sure) + ".", Queries: query})
}

// findingEnds says whom the findings concern, and since when. Some, such as a gap of the recording, concern nobody.
func (b *builder) findingEnds(list []finding.Finding, query []int) {
	var clients, servers []string
	first, last := "", ""
	for _, f := range list {
		clients, servers = append(clients, f.Src), append(servers, f.Dst)
		if f.First != "" && (first == "" || f.First < first) {
			first = f.First
		}
		last = max(last, f.Last)
	}
	if who := b.ends(clients, servers); who != "" {
		b.state(value.Statement{ID: "findings-whom", Head: headWhom, Text: "The findings concern " + who + ".", Queries: query})
	}
	if first != "" {
		b.state(value.Statement{ID: "findings-since", Head: headSince, Text: b.began("The traffic behind the findings begins", " and ends", first, last), Queries: query})
	}
}

// ends counts and names clients and servers apart; empty if there are none.
func (b *builder) ends(clients, servers []string) string {
	var parts []string
	for _, side := range []struct {
		names     []string
		one, many string
	}{{b.nodeNames(clients), "client", "clients"}, {b.nodeNames(servers), "service", "services"}} {
		if n := len(side.names); n > 0 {
			for i, name := range side.names {
				if name == terms.AnyOutside {
					side.names[i] = "outside"
				}
			}
			parts = append(parts, plural.Count(int64(n), side.one, side.many)+" ("+value.Some(side.names)+")")
		}
	}
	return value.And(parts)
}
