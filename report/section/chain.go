package section

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of a chain as a picture.
const (
	mostActors   = 9
	mostMessages = 30
)

// chain is the part of one chain of trace_request that reports use.
type chain struct {
	What      string  `json:"what"`
	Time      string  `json:"time"`
	ElapsedMs float64 `json:"elapsed_ms"`
	Calls     int     `json:"calls"`
	Steps     []step  `json:"steps"`
}

// step is one call of a chain.
type step struct {
	CallID    string   `json:"call_id"`
	Time      string   `json:"time"`
	Src       string   `json:"src"`
	Dst       string   `json:"dst"`
	Protocol  string   `json:"protocol"`
	Summary   string   `json:"summary"`
	Status    string   `json:"status"`
	Failed    bool     `json:"failed"`
	ElapsedMs *float64 `json:"elapsed_ms"`
	Step      int      `json:"step"`
	Parent    int      `json:"parent"`
	AtMs      float64  `json:"at_ms"`
	SelfMs    float64  `json:"self_ms"`
	Sure      string   `json:"sure"`
	How       string   `json:"how"`
	Said      string   `json:"said"`
	Note      string   `json:"note"`
}

// worst returns the call whose chain the report shows: one of the failures that the first cause
// explains, or of the most frequent failures.
func (f *failures) worst() string {
	for _, c := range f.Causes {
		if len(c.CallIDs) > 0 {
			return c.CallIDs[0]
		}
	}
	for _, g := range f.Groups {
		if len(g.CallIDs) > 0 {
			return g.CallIDs[0]
		}
	}
	return ""
}

// chain shows one failed chain: its calls, their times and the timeouts in it.
func (b *builder) chain(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "Causal chain"}
	if b.calls == 0 {
		return s, "a failed chain of calls"
	}
	f, _ := b.whatFailed()
	id := f.worst()
	if id == "" || b.err != nil {
		return s, "a failed chain of calls"
	}
	var a struct {
		Chains []chain `json:"chains"`
	}
	query := b.ask("trace_request", map[string]any{"call_id": id}, &a)
	if b.err != nil || len(a.Chains) == 0 {
		return s, "a failed chain of calls"
	}
	c := a.Chains[0]
	s.Text = []string{"The calls of one failed request, each below the call that caused it. Waited is the time without the calls that it waited for itself."}
	s.Statements = []value.Statement{{ID: "chain", Text: sentence(strings.TrimSuffix(value.Clean(c.What, 3*value.MaxText), ".")), Cite: b.cite(id), Queries: query,
		Figures: []value.Number{value.Count("calls in the chain", int64(c.Calls))}}}
	s.Statements = append(s.Statements, b.timeouts(f)...)
	s.Blocks = []value.Block{value.FigureBlock(b.sequence(c, query)), value.TableBlock(b.chainTable(c, query))}
	return s, ""
}

// timeouts states which failures took the same long time.
func (b *builder) timeouts(f *failures) (out []value.Statement) {
	for _, g := range f.Groups {
		if g.Limit == "" {
			continue
		}
		out = append(out, value.Statement{ID: fmt.Sprintf("timeout-%d", len(out)+1), Queries: b.failsQuery, Cite: b.cite(g.CallIDs...), Figures: []value.Number{value.Count("failed calls at the limit", g.Calls)},
			Text: fmt.Sprintf("%s from %s to %s: %s; %s.", value.Text(g.Endpoint), b.nodeName(g.Src), b.nodeName(g.Dst), plural.Count(g.Calls, "failure", "failures"), value.Text(g.Limit))})
	}
	return out
}

// sequence draws a chain.
func (b *builder) sequence(c chain, query []int) *value.Figure {
	seq := &value.SequenceChart{}
	at := map[string]int{}
	actor := func(name string) int {
		name = b.nodeName(name)
		i, ok := at[name]
		if !ok {
			if len(seq.Actors) == mostActors-1 {
				name = others
				if i, ok = at[name]; ok {
					return i
				}
			}
			i = len(seq.Actors)
			at[name] = i
			seq.Actors = append(seq.Actors, name)
		}
		return i
	}
	for _, st := range c.Steps[:min(len(c.Steps), mostMessages)] {
		m := value.Message{From: actor(st.Src), To: actor(st.Dst), AtUs: int64(math.Round(st.AtMs * 1000)), Text: value.Clean(st.Summary, 60), Answer: outcome(st.Status), Bad: st.Failed, Sure: st.Sure}
		if st.ElapsedMs != nil {
			done := m.AtUs + int64(math.Round(*st.ElapsedMs*1000))
			m.DoneUs = &done
		}
		seq.Messages = append(seq.Messages, m)
	}
	f := &value.Figure{ID: "sequence", Title: "Sequence of the chain", Sequence: seq, Queries: query}
	f.Alt = fmt.Sprintf("Sequence diagram of %s between %s; the table below has the same data.", plural.Count(int64(len(seq.Messages)), "call", "calls"), value.And(seq.Actors))
	f.Note = "Time runs down. Dashed arrows are responses; a cross marks a call without one. Red: the call failed."
	f.Note += " From left to right: " + strings.Join(seq.Actors, ", ") + "."
	if len(c.Steps) > mostMessages {
		f.Note += " " + plural.Count(int64(len(c.Steps)-mostMessages), "more call is", "more calls are") + " in the table."
	}
	return f
}

// chainTable lists the calls of a chain.
func (b *builder) chainTable(c chain, query []int) *value.Table {
	t := &value.Table{ID: "chain-table", Title: "Calls of the chain", Queries: query,
		Columns: []value.Column{value.TextColumn("Step"), value.NumberColumn("At", "since the first call"), value.NameColumn("Client"), value.NameColumn("Server"), value.CodeColumn("Call"), value.NameColumn("Outcome"), value.NumberColumn("Took", ""), value.NumberColumn("Waited", "own time"), value.WideColumn("Linked by")}}
	depth := map[int]int{}
	for _, st := range c.Steps {
		if len(t.Rows) == 100 {
			t.Note = "More calls are in the answer of the query."
			break
		}
		if st.Parent != 0 {
			depth[st.Step] = depth[st.Parent] + 1
		}
		took := value.WordCell("no response")
		if st.ElapsedMs != nil {
			took = value.MicrosCell(int64(math.Round(*st.ElapsedMs * 1000)))
		}
		var why []string
		if st.Sure != "" {
			why = append(why, st.Sure+": "+st.How)
		}
		if st.Said != "" {
			why = append(why, "said "+st.Said)
		}
		linked := strings.Join(why, "; ")
		status := value.WordCell(outcome(st.Status))
		status.Bad = st.Failed
		t.Add(b.cite(st.CallID), value.WordCell(strings.Repeat("· ", min(depth[st.Step], 12))+fmt.Sprint(st.Step)), value.MicrosCell(int64(math.Round(st.AtMs*1000))), value.WordCell(b.nodeName(st.Src)), value.WordCell(b.nodeName(st.Dst)),
			value.TextCell(st.Summary), status, took, value.MicrosCell(int64(math.Round(st.SelfMs*1000))), value.WordCell(value.Clean(linked, 2*value.MaxText)))
	}
	return t
}

// event is a line of the timeline.
type event struct {
	at   int64
	kind string
	what string
	bad  bool
	cite []*value.Citation
}

// failureEvents are the first and last failures of each kind.
func (b *builder) failureEvents() (list []event, query []int) {
	f, query := b.whatFailed()
	for _, g := range f.Groups {
		what := fmt.Sprintf("%s from %s to %s fails: %s", value.Text(g.Endpoint), b.nodeName(g.Src), b.nodeName(g.Dst), g.outcome())
		when := value.Text(g.When)
		if g.Calls > 2 { // of one and of two calls it has the number
			when = plural.Count(g.Calls, "call", "calls") + ", " + when
		}
		list = append(list, event{nanos(g.First), "first failure", what + " (" + when + ")", true, b.cite(g.CallIDs...)})
		if g.Calls > 1 {
			list = append(list, event{nanos(g.Last), "last failure", what, false, nil})
		}
	}
	for _, n := range f.DNS {
		if !n.Search {
			list = append(list, event{nanos(n.First), "first failure", fmt.Sprintf("%s cannot resolve %s: %s", b.nodeName(n.Client), value.Text(n.Name), outcome(n.Status)), true, b.cite(n.CallIDs...)})
		}
	}
	return list, query
}

// timeline lists what happened, by time: first failures, findings, Kubernetes events, coverage gaps.
func (b *builder) timeline(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Timeline"}
	var list []event
	var query []int
	if b.calls > 0 {
		list, query = b.failureEvents()
	}
	if found, q := b.whatFound(nil); found != nil {
		query = append(query, q...)
		for _, c := range found.Causes() {
			if severity := c.Findings[0].Severity; (severity == "high" || severity == "medium") && c.First != "" {
				list = append(list, event{nanos(c.First), severity + " finding", causeWords(&c), severity == "high", b.causeCite(&c)})
			} else if c.Findings[0].Said != nil && c.First != "" {
				list = append(list, event{nanos(c.First), "other program", causeWords(&c), false, b.causeCite(&c)})
			}
		}
	}
	if b.has("k8s_events") {
		events := tallied(b, tally.Events)
		query = append(query, b.query(events.SQL)...)
		for _, e := range events.Rows {
			if e.Last < b.first || e.Last > b.last {
				continue // section kubernetes has it
			}
			list = append(list, event{e.Last, "Kubernetes", value.Clean(fmt.Sprintf("%s %s: %s", e.Reason, e.Object, e.Message), 2*value.MaxText), e.Type == "Warning", nil})
		}
	}
	cov, err := b.c.Coverage(b.first, b.last)
	if err != nil {
		b.err = err
		return s, ""
	}
	for _, h := range cov.Holes {
		list = append(list, event{h.From, "not recorded", value.Clean(fmt.Sprintf("%s: %s", h.Reason, cmp.Or(h.Detail, h.Source)), value.MaxText), true, nil})
	}
	if len(list) == 0 {
		return s, "events for a timeline"
	}
	slices.SortStableFunc(list, func(x, y event) int {
		return cmp.Or(cmp.Compare(x.at, y.at), strings.Compare(x.kind, y.kind), strings.Compare(x.what, y.what))
	})
	t := &value.Table{ID: "timeline-table", Title: "What happened, by time", Queries: query, Columns: []value.Column{value.MomentColumn("Time (UTC)"), value.TextColumn("Kind"), value.WideColumn("What")}}
	most := or0(p.Limit, mostListed)
	for i, e := range list {
		if i == most {
			t.Note = plural.Count(int64(len(list)-most), "later event is", "later events are") + " not listed: run the queries to see all, or use a template whose section timeline has a higher limit (at most 1,000)."
			break
		}
		t.Add(e.cite, value.WordCell(value.Clock(e.at, b.first, b.last)), value.Cell{Text: e.kind, Bad: e.bad}, value.WordCell(e.what))
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	return s, ""
}
