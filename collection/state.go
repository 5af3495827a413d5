package collection

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Options are the options of Read.
type Options struct {
	Access    Access
	Analyzers []finding.Analyzer
	At        time.Time // the day on which acceptances are judged; days from it on are not over
	Release   string    // of the program
	Fresh     bool      // read all bundles again

	Only    []string // fingerprints of the bundles of a report that is checked; nil: all. Nothing is kept then
	Entries int64    // of the log, of a report that is checked; less than 0: all
	Note    func(format string, args ...any)
}

// State is what is known about a collection.
type State struct {
	Title   string `json:"title"`
	From    string `json:"from"` // days
	To      string `json:"to"`
	Every   string `json:"every"`
	At      string `json:"at"`
	SHA256  string `json:"collection_sha256"`
	Entries int64  `json:"log_entries"`
	LogHead string `json:"log_head,omitempty"`
	Opened  int    `json:"opened"` // bundles that were opened for this answer; the others were read before

	Bundles    []*Bundle    `json:"bundles"`
	Nodes      []string     `json:"nodes"`
	Days       []NodeDay    `json:"days"`
	Gaps       []Gap        `json:"gaps"`
	GapsMore   int64        `json:"gaps_more,omitempty"`
	Population Population   `json:"population"`
	RuleSet    string       `json:"rule_set,omitempty"`
	Parts      []*Part      `json:"parts"`
	Changes    []Change     `json:"changes"`
	Exceptions []Exception  `json:"exceptions"`
	Accepted   []Acceptance `json:"acceptances"`
	Draws      []Draw       `json:"samples"`

	file *File
}

// Population is the numbers of the period.
type Population struct {
	Bundles int64   `json:"bundles"` // that were read
	Unread  int64   `json:"bundles_unread"`
	Packets int64   `json:"packets"`
	Calls   int64   `json:"calls"` // each once, even if several bundles have it
	Days    []Total `json:"days"`
	Hours   []Count `json:"hours"` // calls
}

// Total is the numbers of a day.
type Total struct {
	Day     string `json:"day"`
	Bundles int64  `json:"bundles"`
	Packets int64  `json:"packets"`
	Calls   int64  `json:"calls"`
}

// Part is a sub-period with its verdicts.
type Part struct {
	From     string            `json:"from"` // days
	To       string            `json:"to"`
	Over     bool              `json:"over"`
	Bundles  []string          `json:"bundles"`
	Calls    int64             `json:"calls"`
	Lacks    []string          `json:"lacks"` // why evidence is not evidence for all of it
	Controls []control.Control `json:"controls"`

	span    span
	summary *PartSummary
	problem string // why there is no summary
}

// Name is the sub-period for people.
func (p *Part) Name() string { return p.span.name() }

// Change is a verdict that differs from that of the sub-period before.
type Change struct {
	Control string          `json:"control"`
	Title   string          `json:"title"`
	From    string          `json:"from"` // first day of the sub-period
	Before  control.Verdict `json:"before"`
	After   control.Verdict `json:"after"`
	Why     string          `json:"why"`
}

// Exception is a finding that contradicts controls in the period.
type Exception struct {
	ID         string      `json:"id"`
	Severity   string      `json:"severity"`
	Confidence string      `json:"confidence"`
	What       string      `json:"what"` // in the last sub-period that has it
	Controls   []string    `json:"controls"`
	Parts      []string    `json:"parts"` // first days of sub-periods
	Count      int64       `json:"count"`
	First      string      `json:"first"`
	Last       string      `json:"last"`
	CallIDs    []string    `json:"call_ids"`
	Accepted   *Acceptance `json:"accepted,omitempty"`
}

// Read reads what is new in a collection, and combines it with what was read before.
func Read(ctx context.Context, f *File, o Options) (*State, error) {
	log, err := readLog(f, o.Entries)
	if err != nil {
		return nil, err
	}
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	list, err := resolve(ctx, f, o.Access)
	if err != nil {
		return nil, err
	}
	r := &reader{access: o.Access, analyzers: o.Analyzers, file: f, release: o.Release, fresh: o.Fresh, only: o.Only != nil, note: o.Note}
	period := span{f.From.UnixNano(), f.To.UnixNano() - 1}
	seen := map[string]string{}
	kept := list[:0]
	for _, b := range list {
		if b.Problem == "" {
			if err := b.identify(ctx, o.Access, seal.Trust{Signers: f.Keys}); err != nil {
				return nil, err
			}
		}
		if o.Only != nil && b.Fingerprint != "" && !slices.Contains(o.Only, b.Fingerprint) {
			continue
		}
		kept = append(kept, b)
		if first := seen[b.Fingerprint]; b.Fingerprint != "" && b.Problem == "" && first != "" {
			b.Problem, b.none = "the same bundle as "+first, true
			continue
		}
		seen[b.Fingerprint] = b.Name
		if err := r.bundle(ctx, b); err != nil {
			return nil, err
		}
		if s := b.Summary; s != nil {
			b.Outside = !period.overlaps(span{s.First, s.Last})
		}
	}
	s := &State{Title: clip.Text(f.Name(), maxWord), From: f.From.Format(time.DateOnly), To: f.To.Add(-day).Format(time.DateOnly), Every: f.Every, At: o.At.UTC().Format(time.DateOnly),
		SHA256: f.SHA256.String(), Entries: log.entries, LogHead: log.head, Bundles: kept, file: f}
	calendar := makeCalendar(f, kept, o.At.UTC())
	s.Nodes, s.Days, s.Gaps, s.GapsMore = calendar.nodes, calendar.days, calendar.gaps, calendar.more
	if err := s.judge(ctx, r, calendar, o.At.UTC()); err != nil {
		return nil, err
	}
	s.count()
	s.changes()
	s.exceptions(log, o.At)
	s.Accepted, s.Draws, s.Opened = log.accepted, log.draws, r.opened
	return s, ctx.Err()
}

// judge fills in the sub-periods that have begun.
func (s *State) judge(ctx context.Context, r *reader, k *calendar, now time.Time) error {
	today := now.Truncate(day).UnixNano()
	s.Parts = []*Part{}
	for _, at := range s.file.parts() {
		if at.from > today {
			break
		}
		p := &Part{From: dateOf(at.from), To: dateOf(at.to), Over: at.to < today, Bundles: []string{}, Lacks: []string{}, Controls: []control.Control{}, span: at}
		var list []*Bundle
		for _, b := range s.Bundles {
			if b.counts() && at.overlaps(span{b.Summary.First, b.Summary.Last}) {
				list, p.Bundles = append(list, b), append(p.Bundles, b.Name)
			}
		}
		if len(list) > 0 {
			if err := r.part(ctx, p, list); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil { // of a bundle whose hashes match, but not what is in it
				p.problem = clip.Text(err.Error(), 2*maxReason)
				p.Lacks = append(p.Lacks, "its bundles could not be judged: "+p.problem)
			} else {
				s.RuleSet = p.summary.RuleSet
			}
		}
		if p.summary != nil {
			for _, h := range p.summary.Hours {
				p.Calls += h.N
			}
		}
		p.Lacks = append(p.Lacks, k.lacks(at)...)
		if !p.Over {
			p.Lacks = append(p.Lacks, "it is not over on "+dateOf(today))
		}
		if n := s.unread(); n > 0 && len(s.file.Nodes) == 0 {
			p.Lacks = append(p.Lacks, plural.Sprintf("%d {bundle|bundles} of the collection could not be read and may be of this time", n))
		}
		s.Parts = append(s.Parts, p)
	}
	for _, p := range s.Parts {
		p.verdicts(s.template())
	}
	return nil
}

// unread counts the bundles that cannot be read.
func (s *State) unread() (n int64) {
	for _, b := range s.Bundles {
		if b.Problem != "" && !b.none {
			n++
		}
	}
	return n
}

// template has the controls of some sub-period, for those without a bundle.
func (s *State) template() []control.Control {
	for _, p := range s.Parts {
		if p.summary != nil {
			return p.summary.Controls
		}
	}
	return nil
}

// verdicts takes over the verdicts of the case, except that evidence needs the whole sub-period.
func (p *Part) verdicts(template []control.Control) {
	if p.summary != nil {
		p.Controls = slices.Clone(p.summary.Controls)
	} else {
		for _, c := range template {
			n := control.Control{Control: c.Control, Title: c.Title, Baselines: c.Baselines, Part: c.Part, Verdict: c.Verdict, Exceptions: []control.Exception{}, Population: control.Population{Of: c.Population.Of}, Limits: c.Limits, Why: "no bundle of the collection has packets of this time"}
			if p.problem != "" {
				n.Why = "the bundles could not be judged: " + p.problem
			}
			if n.Verdict != control.Outside {
				n.Verdict = control.NotExamined
			}
			p.Controls = append(p.Controls, n)
		}
	}
	for i := range p.Controls {
		if c := &p.Controls[i]; c.Verdict == control.Evidence && len(p.Lacks) > 0 {
			c.Verdict, c.Why = control.NotExamined, "its bundles show no exception (examined: "+plural.Thousands(c.Population.Count)+" "+c.Population.Of+"), but "+strings.Join(p.Lacks, "; ")
		}
	}
}

// count adds up the population.
func (s *State) count() {
	p := &s.Population
	days := map[string]*Total{}
	for t := s.file.From; t.Before(s.file.To); t = t.Add(day) {
		p.Days = append(p.Days, Total{Day: t.Format(time.DateOnly)})
	}
	for i := range p.Days {
		days[p.Days[i].Day] = &p.Days[i]
	}
	p.Unread = s.unread()
	for _, b := range s.Bundles {
		if !b.counts() {
			continue
		}
		p.Bundles++
		for _, d := range b.Summary.Days {
			if t := days[dateOf(d.At)]; t != nil {
				t.Bundles++
				t.Packets += d.N
				p.Packets += d.N
			}
		}
	}
	p.Hours = []Count{}
	for _, x := range s.Parts {
		if x.summary == nil {
			continue
		}
		for _, h := range x.summary.Hours {
			if t := days[dateOf(h.At)]; t != nil {
				t.Calls += h.N
			}
		}
		p.Calls += x.Calls
		p.Hours = append(p.Hours, x.summary.Hours...)
	}
}

// changes lists the verdicts that differ from those before.
func (s *State) changes() {
	s.Changes = []Change{}
	for i := 1; i < len(s.Parts); i++ {
		before := map[string]control.Verdict{}
		for _, c := range s.Parts[i-1].Controls {
			before[c.Control] = c.Verdict
		}
		for _, c := range s.Parts[i].Controls {
			if v, ok := before[c.Control]; ok && v != c.Verdict {
				s.Changes = append(s.Changes, Change{c.Control, c.Title, s.Parts[i].From, v, c.Verdict, c.Why})
			}
		}
	}
}

// exceptions joins the exceptions of all sub-periods by their ids, worst first.
func (s *State) exceptions(log *history, now time.Time) {
	at := map[string]*Exception{}
	last := map[string]string{} // when an id was seen last
	saw := func(id, when string) { last[id] = max(last[id], when) }
	for _, p := range s.Parts {
		counted := map[string]bool{}
		for _, c := range p.Controls {
			for _, x := range c.Exceptions {
				if len(x.First) < len(time.DateOnly) || len(x.Last) < len(time.DateOnly) {
					continue // of a summary that somebody wrote
				}
				e := at[x.ID]
				if e == nil {
					e = &Exception{ID: x.ID, First: x.First, CallIDs: x.CallIDs}
					at[x.ID] = e
				}
				e.Severity, e.Confidence, e.What, e.Last = x.Severity, x.Confidence, x.What, max(e.Last, x.Last)
				if !slices.Contains(e.Controls, c.Control) {
					e.Controls = append(e.Controls, c.Control)
				}
				if !counted[x.ID] {
					counted[x.ID], e.Count, e.Parts = true, e.Count+x.Count, append(e.Parts, p.From)
				}
				saw(x.ID, x.Last)
				saw(c.Control, x.Last)
			}
		}
	}
	log.judge(now, last)
	s.Exceptions = []Exception{}
	for _, e := range at {
		if e.Accepted = log.inForce(e.ID); e.Accepted == nil {
			for _, c := range e.Controls {
				e.Accepted = cmp.Or(e.Accepted, log.inForce(c))
			}
		}
		s.Exceptions = append(s.Exceptions, *e)
	}
	slices.SortFunc(s.Exceptions, func(a, b Exception) int {
		return cmp.Or(finding.Rank(a.Severity)-finding.Rank(b.Severity), strings.Compare(a.First, b.First), strings.Compare(a.ID, b.ID))
	})
}
