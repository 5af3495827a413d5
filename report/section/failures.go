package section

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// failures is the part of the answer of find_failures that reports use.
type failures struct {
	Happened *happened `json:"happened"`

	Failed int64         `json:"failed_calls"`
	Blind  int64         `json:"unanswered_datagrams"`
	Calls  int64         `json:"calls"`
	Groups []group       `json:"groups"`
	Causes []origin      `json:"causes"`
	DNS    []nameFailure `json:"dns"`
	Fates  []ask.Fate    `json:"unanswered"`
}

// happened is what went wrong, in sentences.
type happened struct {
	What    string   `json:"what"`
	Failed  int64    `json:"failed"`
	Of      int64    `json:"of"`
	Users   bool     `json:"users"`
	Clients []string `json:"clients"`
	Service string   `json:"service"`
	Origin  string   `json:"origin"`
	Holders []struct {
		Client      string `json:"client"`
		Connections int64  `json:"connections"`
	} `json:"holders"`
	CallIDs []string `json:"call_ids"`
}

const maxHappened = 1200 // characters

// group is failed calls of one kind.
type group struct {
	Dst      string   `json:"dst"`
	Src      string   `json:"src"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Status   string   `json:"status"`
	Class    string   `json:"class"`
	Delivery string   `json:"delivery"`
	Calls    int64    `json:"calls"`
	First    string   `json:"first"`
	Last     string   `json:"last"`
	When     string   `json:"when"`
	Limit    string   `json:"at_limit"`
	Said     []string `json:"said"`
	CallIDs  []string `json:"call_ids"`
}

// origin is where failures began.
type origin struct {
	Chains    int      `json:"chains"`
	Src       string   `json:"src"`
	Dst       string   `json:"dst"`
	Protocol  string   `json:"protocol"`
	Endpoint  string   `json:"endpoint"`
	Status    string   `json:"status"`
	What      string   `json:"what"`
	ElapsedMs float64  `json:"elapsed_ms"`
	Said      string   `json:"said"`
	Way       string   `json:"way"`
	Sure      string   `json:"sure"`
	Packets   string   `json:"packets"`
	CallIDs   []string `json:"call_ids"`
}

// nameFailure is a name that could not be resolved.
type nameFailure struct {
	Name    string   `json:"name"`
	Status  string   `json:"status"`
	Client  string   `json:"client"`
	Clients int64    `json:"clients"`
	Calls   int64    `json:"calls"`
	First   string   `json:"first"`
	Last    string   `json:"last"`
	Search  bool     `json:"search_list"`
	CallIDs []string `json:"call_ids"`
}

// whatFailed returns the answer of find_failures, which runs once, and its query. After an error the answer is empty.
func (b *builder) whatFailed() (*failures, []int) {
	in := map[string]any{"limit": 5 * mostFailures}
	if b.fails == nil {
		var f failures
		b.failsQuery = b.ask("find_failures", in, &f)
		if b.err != nil {
			return &f, nil
		}
		b.fails = &f
	}
	return b.fails, b.failsQuery
}

// millis writes milliseconds of an answer.
func millis(ms float64) string { return value.Micros(int64(math.Round(ms * 1000))) }

// outcome is how the calls of a group ended. A request without an answer may have a status of its own,
// such as the code of ICMP.
func (g *group) outcome() string {
	words := g.status()
	if g.Delivery != "" {
		words += ", " + value.Text(g.Delivery)
	}
	return words
}

func (g *group) status() string {
	if _, err := strconv.Atoi(g.Status); g.Class == "no_answer" && (err == nil || g.Status == "") {
		return "no response"
	}
	return outcome(g.Status)
}

// outcome is the status of a call in the protocol's words.
func outcome(status string) string { return value.Text(ask.Outcome(status)) }

// originWords describes an origin of failures.
func originWords(o origin) string {
	status := ""
	if o.Status != "" {
		status = " with " + outcome(o.Status)
	}
	switch o.What {
	case "no_answer":
		return "no response"
	case "slow":
		return "slow, although it did not fail"
	case "sealed":
		return "an encrypted connection that took the time"
	case "own":
		return "failed" + status + "; nothing below it failed"
	case "failed":
		return "failed" + status
	}
	return value.Text(o.What) + status
}

func (b *builder) originCite(o origin) []*value.Citation {
	if len(o.CallIDs) > 0 {
		return b.cite(o.CallIDs...)
	}
	return b.citePackets(o.Packets)
}

// failing lists failures; DNS and TLS have their own sections.
func (b *builder) failing(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Failing endpoints", Text: []string{"The evidence is the first failed calls of each kind; pcapsule show prints a call in full. DNS and TLS have their own sections."}}
	if b.calls == 0 {
		return s, "failed calls"
	}
	most := p.Limit
	if most == 0 {
		most = mostFailures
	}
	f, query := b.whatFailed()
	t := &value.Table{ID: "failures-table", Title: "Failed calls by endpoint and outcome", Queries: query,
		Columns: []value.Column{value.TextColumn("Protocol"), value.CodeColumn("Endpoint"), value.NameColumn("Client"), value.NameColumn("Server"), value.NameColumn("Outcome"), value.NumberColumn("Failed", "this way"), value.NameColumn("When"), value.MomentColumn("First (UTC)")}}
	for _, g := range f.Groups {
		if g.Class == "tls" || len(t.Rows) == most {
			continue
		}
		when := g.When
		if g.Limit != "" {
			when += "; timeout: " + g.Limit
		}
		t.Add(b.cite(g.CallIDs...), value.TextCell(g.Protocol), value.TextCell(g.Endpoint), value.WordCell(b.nodeName(g.Src)), value.WordCell(b.nodeName(g.Dst)), value.WordCell(g.outcome()),
			value.CountCell(g.Calls), value.TextCell(when), value.WordCell(b.moment(g.First)))
	}
	if len(t.Rows) > 0 {
		t.Shares(5)
		s.Blocks = []value.Block{value.TableBlock(t)}
	} else if f.Blind == 0 {
		return s, "failed calls other than DNS and TLS"
	}
	s.Statements = unanswered(f, query)
	if f.Blind > 0 {
		s.Statements = append(s.Statements, value.Statement{ID: "failures-datagrams", Queries: query, Figures: []value.Number{value.Count("unanswered datagrams", f.Blind)},
			Text: plural.Sprintf("Of the %d failed {call|calls}, %d {was a datagram|were datagrams} without an answer in the capture. Packets do not show when the sender gave up.", f.Failed, f.Blind)})
	}
	return s, ""
}

// unanswered says of the failed calls without a response whether the network, the server or the caller's patience ended them.
func unanswered(f *failures, query []int) []value.Statement {
	words := map[string]string{
		terms.FateNotDelivered: "not delivered (the network, or the receiving machine)", terms.FateNotAnswered: "delivered and not answered (the server)",
		terms.FateInPart: "answered in part (the response ended early)", terms.FateLate: "answered too late (the caller had given up)", terms.FateUnknown: "of unknown delivery (the capture does not show it)",
	}
	var parts []string
	var figures []value.Number
	for _, fate := range f.Fates {
		figures = append(figures, value.Count(fate.Delivery, fate.Calls))
		parts = append(parts, fmt.Sprintf("%d %s", fate.Calls, words[fate.Delivery]))
	}
	if len(parts) == 0 {
		return nil
	}
	return []value.Statement{{ID: "failures-unanswered", Queries: query, Figures: figures, Text: "Failed calls without a response: " + strings.Join(parts, ", ") + "."}}
}

// causes lists where failures began.
func (b *builder) causes(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Causes", Text: []string{"A cause is the deepest call below a failed one that failed, had no response, or took the time. Exact: ids in the traffic link the calls. Likely: the caller had one open request. Guess: it had several."}}
	if b.calls == 0 {
		return s, "causes of failures"
	}
	f, query := b.whatFailed()
	t := &value.Table{ID: "causes-table", Title: "Where failures began", Queries: query,
		Columns: []value.Column{value.CodeColumn("Endpoint"), value.NameColumn("Server"), value.NameColumn("What"), value.NumberColumn("Explains", "failed calls"), value.NumberColumn("Took", ""), value.WideColumn("Way"), value.WideColumn("Said"), value.TextColumn("Certainty")}}
	for i, c := range f.Causes {
		if p.Limit > 0 && i == p.Limit {
			break
		}
		t.Add(b.originCite(c), value.TextCell(c.Endpoint), value.WordCell(b.nodeName(c.Dst)), value.WordCell(originWords(c)), value.CountCell(int64(c.Chains)), value.MicrosCell(int64(math.Round(c.ElapsedMs*1000))),
			value.TextCell(c.Way), value.TextCell(c.Said), value.WordCell(c.Sure))
	}
	if len(t.Rows) == 0 {
		s.Statements = []value.Statement{{ID: "causes-none", Text: b.cov.Absent("cause of a failure"), Queries: query}}
		return s, ""
	}
	t.Shares(3)
	s.Blocks = []value.Block{value.TableBlock(t)}
	return s, ""
}

// blast shows what would fail, and failed, with the service in which the failures began.
func (b *builder) blast(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Blast radius"}
	f, _ := b.whatFailed()
	service := b.culprit(f)
	if service == "" || b.err != nil {
		return s, "a service in which failures began"
	}
	var d struct {
		Summary []string `json:"summary"`
		Blast   struct {
			How       string `json:"how"`
			Calls     int64  `json:"calls"`
			Endpoints []struct {
				Depth      int64    `json:"depth"`
				Dst        string   `json:"dst"`
				Endpoint   string   `json:"endpoint"`
				Calls      int64    `json:"calls"`
				Touching   int64    `json:"touching"`
				Confidence string   `json:"confidence"`
				CallIDs    []string `json:"call_ids"`
			} `json:"endpoints"`
		} `json:"blast_radius"`
	}
	query := b.ask("get_dependencies", map[string]any{"service": service, "blast_radius": true}, &d)
	if b.err != nil {
		return s, ""
	}
	if d.Blast.Calls == 0 { // of protocols that serve requests
		return s, "requests to the service in which failures began"
	}
	t := &value.Table{ID: "blast-table", Title: "Endpoints that need " + b.nodeName(service), Queries: query,
		Columns: []value.Column{value.NumberColumn("Depth", "calls away"), value.NameColumn("Server"), value.CodeColumn("Endpoint"), value.NumberColumn("Calls", ""), value.NumberColumn("Needed it", "of these"), value.NumberColumn("Share", ""), value.TextColumn("Certainty")}}
	for i, e := range d.Blast.Endpoints {
		if i == or0(p.Limit, mostListed) {
			break
		}
		t.Add(b.cite(e.CallIDs...), value.CountCell(e.Depth), value.WordCell(b.nodeName(e.Dst)), value.TextCell(e.Endpoint), value.CountCell(e.Calls), value.CountCell(e.Touching), value.WordCell(value.Percent(e.Touching, e.Calls)), value.WordCell(e.Confidence))
	}
	text := fmt.Sprintf("Failures began at %s, which received %s.", b.nodeName(service), plural.Count(d.Blast.Calls, "call", "calls"))
	if len(t.Rows) == 0 {
		text += " No endpoint was seen that needs it." + b.cov.More()
	} else {
		text += fmt.Sprintf(" %s needed it in at least one call.", plural.Count(int64(len(t.Rows)), "endpoint", "endpoints"))
		t.Shares(4)
		s.Blocks = []value.Block{value.TableBlock(t)}
	}
	s.Statements = []value.Statement{{ID: "blast", Text: text, Queries: query, Figures: []value.Number{value.Count("endpoints that need it", int64(len(t.Rows)))}}}
	return s, ""
}

func or0(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}

// culprit is the server in which most failures began, or to which most calls failed.
func (b *builder) culprit(f *failures) string {
	for _, c := range f.Causes {
		return c.Dst
	}
	for _, g := range f.Groups {
		return g.Dst
	}
	return ""
}

// changes compares the time since the first failure, or the window, with the time before.
func (b *builder) changes(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "What changed since the period before"}
	if b.calls == 0 {
		return s, "calls"
	}
	from, base := b.first, int64(0)
	whole, end, _ := b.c.Window()
	switch {
	case b.w.Asked:
		base = max(whole, from-(b.last-from))
	default:
		f, _ := b.whatFailed()
		for i, g := range f.Groups {
			if at := nanos(g.First); i == 0 || at < from {
				from = at
			}
		}
		base = whole
		end = b.last
	}
	if b.err != nil {
		return s, ""
	}
	if from-base < int64(time.Second) || from >= end {
		s.Statements = []value.Statement{{ID: "changes-none", Text: "No earlier period of at least a second was recorded, so it is unknown what changed."}}
		return s, ""
	}
	var a struct {
		Verdict []string `json:"verdict"`
		New     []change `json:"new"`
		Gone    []change `json:"vanished"`
	}
	query := b.ask("compare_periods", map[string]any{"from": when.Stamp(from), "to": when.Stamp(b.last), "baseline_from": when.Stamp(base), "baseline_to": when.Stamp(from - 1)}, &a)
	if b.err != nil {
		return s, ""
	}
	s.Text = []string{fmt.Sprintf("Compared: from %s to %s, with the time before from %s on. Statistical tests, corrected for the number of comparisons, decide what counts as a change. Too few calls means that a large change could not have been seen.", value.Clock(from, b.first, b.last), value.Clock(b.last, b.first, b.last), value.Clock(base, base, b.last))}
	for i, v := range a.Verdict {
		s.Statements = append(s.Statements, value.Statement{ID: fmt.Sprintf("change-%d", i+1), Text: sentence(strings.TrimSuffix(value.Clean(v, 3*value.MaxText), ".")), Queries: query})
	}
	t := &value.Table{ID: "changes-table", Title: "New and vanished", Queries: query, Columns: []value.Column{value.TextColumn("Change"), value.TextColumn("Kind"), value.NameColumn("Client"), value.NameColumn("Server"), value.CodeColumn("What"), value.NumberColumn("Calls", "")}}
	for _, list := range []struct {
		word string
		of   []change
	}{{"new", a.New}, {"vanished", a.Gone}} {
		for i, n := range list.of {
			if i < or0(p.Limit, mostListed) {
				t.Add(b.cite(n.CallIDs...), value.WordCell(list.word), value.TextCell(n.Kind), value.WordCell(b.nodeName(n.Src)), value.WordCell(b.nodeName(n.Dst)), value.TextCell(n.What), value.CountCell(n.Calls))
			}
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = []value.Block{value.TableBlock(t)}
	}
	return s, ""
}

// change is something that exists in only one of two periods.
type change struct {
	Kind    string   `json:"kind"`
	Src     string   `json:"src"`
	Dst     string   `json:"dst"`
	What    string   `json:"what"`
	Calls   int64    `json:"calls"`
	CallIDs []string `json:"call_ids"`
}
