// Package finding runs analyzers, each of which looks for one kind of security problem. Findings
// are computed on request and never stored in a bundle.
//
// An analyzer is one folder and one line in finding/all. A finding is a claim with a severity, a
// confidence, masked evidence, and the calls or flows behind it. Traffic that could not be examined,
// such as encrypted connections, is a note of the answer.
package finding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Severities, worst first.
const (
	High   = "high"
	Medium = "medium"
	Low    = "low"
	Info   = "info"
)

var severities = []string{High, Medium, Low, Info}

// Confidences, the most certain first.
const (
	Exact  = "exact"  // read directly from the packets
	Likely = "likely" // a form or pattern that fits
	Guess  = "guess"
)

// Rank orders severities, worst first: 0 is High. An unknown severity has rank -1.
func Rank(severity string) int { return slices.Index(severities, severity) }

// maxPerAnalyzer is the highest number of findings per analyzer, unless all calls are wanted, and
// maxRows that of groups.
const (
	maxPerAnalyzer = 1000
	maxRows        = 20_000
)

// Analyzer finds one kind of problem.
type Analyzer struct {
	Name  string // as in KFL's finding == "…": words joined by dashes
	Title string
	Kinds []string // all values of Finding.Kind; nil if its findings have none
	Doc   string   // what it reports, and what not
	Basis Basis    // what it examines
	Steps []Step   // its searches, which report in this order

	Techniques []string // of MITRE ATT&CK, such as T1558.003
	CVEs       []string // that it is about, if there are any
	Unproved   string   // what its findings do not prove, as a sentence; empty if Doc says it

	// Lacks returns what a case lacks for the analyzer to run at all, as a sentence, or "". Nil: nothing. Unless it is asked
	// for by name, such an analyzer is left out.
	Lacks func(c *forensics.Case) string

	// Controls returns the ids of the controls that a finding contradicts, such as pci/4.2.1. The
	// data of package control decides it; nil means none.
	Controls func(f *Finding) []string
}

// Look is one run of an analyzer.
type Look struct {
	Case     *forensics.Case
	From, To int64  // nanoseconds since 1970 UTC, both inclusive
	Calls    string // name of the table of calls; without the columns of the ends if Where does not need them
	Where    string // condition for its rows in the requested scope
	Args     []any
	Allow    Allow

	all   bool // keep every call of a finding
	there survey

	thorough bool // steps run whatever holds
	kfl      string
	name     string
	of       Analyzer
	found    []Finding
	notes    []string
	more     bool
	cut      bool // it ran out of time or memory
}

// Finding is one claim.
type Finding struct {
	ID         string   `json:"id" jsonschema:"the same in every recording of the same system; accept lists name it"`
	Finding    string   `json:"finding" jsonschema:"name of the analyzer"`
	Kind       string   `json:"kind,omitempty" jsonschema:"what it found, such as card or ssh"`
	Severity   string   `json:"severity" jsonschema:"high, medium, low or info"`
	What       string   `json:"what" jsonschema:"the claim in a sentence"`
	Src        string   `json:"src,omitempty" jsonschema:"client, as namespace/name"`
	Dst        string   `json:"dst,omitempty" jsonschema:"server; behind a proxy, the host that the proxy is asked for"`
	Via        string   `json:"via,omitempty" jsonschema:"proxies through which the server was reached"`
	Count      int64    `json:"count" jsonschema:"calls, connections or places behind it"`
	First      string   `json:"first"`
	Last       string   `json:"last"`
	Evidence   []string `json:"evidence" jsonschema:"what was seen, with secrets masked; text from the traffic"`
	Confidence string   `json:"confidence" jsonschema:"exact, likely or guess"`
	CallIDs    []string `json:"call_ids" jsonschema:"the first calls behind it; get_api_call shows one in full"`
	KFL        string   `json:"kfl,omitempty" jsonschema:"KFL that selects all of them in the answer's window"`
	FlowIDs    []string `json:"flow_ids,omitempty" jsonschema:"flows behind it, if there are no calls; bundle#flow_id if there are several bundles"`
	Encrypted  bool     `json:"encrypted,omitempty" jsonschema:"it was encrypted on the wire and read with keys"`
	Controls   []string `json:"controls,omitempty" jsonschema:"controls that it contradicts, see tool controls"`

	Techniques []string `json:"techniques,omitempty" jsonschema:"techniques of MITRE ATT&CK, such as T1558.003"`
	CVEs       []string `json:"cves,omitempty" jsonschema:"CVE ids"`
	Unproved   string   `json:"not_proved,omitempty" jsonschema:"what the packets do not prove"`

	Listed *Listed `json:"indicator,omitempty" jsonschema:"entry of a list of indicators that it matches"`
	Said   *Said   `json:"said_by,omitempty" jsonschema:"another program that claims it, which was not checked"`

	Accepted *Acceptance `json:"accepted,omitempty" jsonschema:"why this finding is accepted, from the accept list"`

	// Key distinguishes findings of one analyzer between the same ends. It depends neither on the
	// window nor on counts or times, because accept lists and comparisons use the id for years. If
	// it is empty, Detail and Other of the row are used.
	Key string `json:"-"`
}

// Listed is an entry of a list of indicators.
type Listed struct {
	Kind  string   `json:"kind"`
	Value string   `json:"value" jsonschema:"as in the list, in its usual form"`
	Port  int64    `json:"port,omitempty"`
	Name  string   `json:"name,omitempty" jsonschema:"what it stands for, in the words of the list"`
	File  string   `json:"file"`
	Feed  string   `json:"feed,omitempty" jsonschema:"who published it, in the words of the list"`
	Line  int64    `json:"line"`
	From  string   `json:"valid_from,omitempty"`
	Until string   `json:"valid_until,omitempty"`
	Valid bool     `json:"valid" jsonschema:"it was valid when the traffic was captured"`
	Seen  []string `json:"seen_as" jsonschema:"where the value was seen"`
}

// OfOthers is the analyzer whose findings are claims of other programs. Sentences count them apart.
const OfOthers = "alert"

// Said is a claim of another program, in its words.
type Said struct {
	Program  string `json:"program"`
	Version  string `json:"version,omitempty"`
	Kind     string `json:"kind" jsonschema:"event or log, such as alert or notice"`
	RuleID   string `json:"rule_id,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Severity string `json:"severity,omitempty" jsonschema:"1 is Suricata's worst"`
	Here     string `json:"packets_here" jsonschema:"whether the packets that it is about are in the recording: yes, no or unknown"`
	Alert    int64  `json:"alert_no" jsonschema:"first row of table alerts"`
}

// Name is the name of the program as people write it.
func (s *Said) Name() string { return strings.ToUpper(s.Program[:1]) + s.Program[1:] }

// Own returns the answer without claims of other programs, and the number of these.
func (o *Out) Own() (own *Out, said int64) {
	some := *o
	some.Findings = nil
	for _, f := range o.Findings {
		if f.Finding == OfOthers {
			said += f.Count
		} else {
			some.Findings = append(some.Findings, f)
		}
	}
	return &some, said
}

// SaidSentence counts the claims of other programs; empty if there are none.
func (o *Out) SaidSentence() string {
	_, n := o.Own()
	if n == 0 {
		return ""
	}
	var names []string
	for _, f := range o.Findings {
		if f.Said != nil && !slices.Contains(names, f.Said.Name()) {
			names = append(names, f.Said.Name())
		}
	}
	slices.Sort(names)
	return plural.Sprintf("%s made %d {claim|claims} about it, which {was|were} not checked.", strings.Join(names, " and "), n)
}

// id identifies a finding in every recording of the same system.
func (f *Finding) id() string {
	h := sha256.Sum256([]byte(f.Finding + "\x00" + f.Src + "\x00" + f.Dst + "\x00" + f.Key))
	return f.Finding + "/" + hex.EncodeToString(h[:6])
}

// Unmasked lets queries read credentials as they were sent until end is called, for analyzers that
// compare them. These analyzers mask their reports. A KFL filter still applies to masked values.
func (l *Look) Unmasked() (end func()) {
	masked, where := l.Case, l.Where
	if l.kfl != "" {
		l.Where = masked.AsMasked(where)
	}
	l.Case = masked.Unmasked()
	return func() { l.Case, l.Where = masked, where }
}

// Has reports whether a need of the analyzer holds, or may hold.
func (l *Look) Has(n Need) bool { return l.thorough || l.there.has(n) }

// Rows runs SQL that returns Rows. A host that only a proxy knows is outside if its name or address is.
func (l *Look) Rows(ctx context.Context, sql string, args ...any) ([]Row, error) {
	rows, more, err := ask.Rows[Row](ctx, l.Case, maxRows, sql, args...)
	l.more = l.more || more
	for i := range rows {
		r := &rows[i]
		r.Outside = r.Outside || r.Beyond && terms.HostOutside(r.Dst)
		for k, place := range r.Places[:min(len(r.Places), len(r.Evidence))] {
			r.Evidence[k] = place + ": " + r.Evidence[k]
		}
	}
	return rows, err
}

// Add reports a finding. Empty ends, times and calls are filled from r, and its proxies are named.
func (l *Look) Add(r Row, f Finding) {
	if len(l.found) >= maxPerAnalyzer && !l.all {
		l.more = true
		return
	}
	f.Finding, f.Via, f.What = l.name, r.Via, f.What+r.through()
	if f.Techniques == nil {
		f.Techniques = l.of.Techniques
	}
	if f.CVEs == nil {
		f.CVEs = l.of.CVEs
	}
	if f.Unproved == "" {
		f.Unproved = l.of.Unproved
	}
	if f.Src == "" {
		f.Src = r.Src
	}
	if f.Dst == "" {
		f.Dst = r.Dst
	}
	if f.Count == 0 {
		f.Count = r.Count
	}
	if f.CallIDs == nil {
		f.CallIDs = r.CallIDs
		if !l.all {
			f.CallIDs = f.CallIDs[:min(3, len(f.CallIDs))]
		}
	}
	if f.FlowIDs == nil {
		f.FlowIDs = r.FlowIDs
	}
	if f.CallIDs == nil {
		f.CallIDs = []string{}
	}
	if f.Key == "" {
		f.Key = r.Detail + "\x00" + r.Other
	}
	f.ID = f.id()
	if l.of.Controls != nil {
		f.Controls = l.of.Controls(&f)
	}
	if len(f.CallIDs) > 0 && f.KFL == "" && l.Allow.Empty() {
		f.KFL = fmt.Sprintf("finding == %q", f.ID)
		if l.kfl != "" {
			f.KFL = "(" + l.kfl + ") and " + f.KFL
		}
	}
	if f.Evidence == nil {
		f.Evidence = r.Evidence
	}
	if f.Evidence == nil {
		f.Evidence = []string{}
	}
	for i := range f.Evidence {
		f.Evidence[i] = ask.Clip(f.Evidence[i], 300)
	}
	if r.LastNs != 0 { // else no time is known
		f.First, f.Last = when.Stamp(r.FirstNs), when.Stamp(r.LastNs)
	}
	l.found = append(l.found, f)
}

// Note adds a note to the answer.
func (l *Look) Note(format string, args ...any) {
	l.notes = append(l.notes, l.name+": "+plural.Sprintf(format, args...))
}

// Bundle adds the column bundle to a list of SQL columns if the case has several bundles.
func (l *Look) Bundle(columns string) string {
	if l.Case.Several() {
		return "bundle, " + columns
	}
	return columns
}

// Flows is the SQL condition for flows or connections of the requested window.
func (l *Look) Flows() string { return fmt.Sprintf("last_ns >= %d AND first_ns <= %d", l.From, l.To) }

// Once is the SQL condition that selects one flow of each connection of the window, however many
// vantages and bundles saw it: the flow from which its calls were read.
func (l *Look) Once() string { return l.OnceIf(l.Flows(), ask.Earliest) }

// OnceIf is the same for connections that match a condition, with the choice of the bundle.
func (l *Look) OnceIf(cond string, by ask.Sighting) string {
	return cond + " AND " + ask.FlowsOnce(l.Case, cond, by)
}
