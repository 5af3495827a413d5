// Package finding runs analyzers, each of which looks for one kind of security problem. Findings
// are computed on request and never stored in a bundle.
//
// An analyzer is one folder and one line in finding/all. A finding is a claim with a severity, a
// confidence, masked evidence, and the calls or flows behind it. Traffic that could not be examined,
// such as encrypted connections, is a note of the answer.
package finding

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Severities, worst first.
const (
	High   = "high"
	Medium = "medium"
	Low    = "low"
	Info   = "info"
)

var severities = []string{High, Medium, Low, Info}

// maxPerAnalyzer is the highest number of findings per analyzer, and maxRows that of groups.
const (
	maxPerAnalyzer = 1000
	maxRows        = 20_000
)

// crowd is the highest number of findings of one kind about one client that are listed separately.
// More of them become one finding, because a scan of a thousand addresses is one event.
const crowd = 10

// Analyzer finds one kind of problem.
type Analyzer struct {
	Name  string // as in KFL's finding == "…": words joined by dashes
	Title string
	Doc   string // what it reports, and what not
	Find  func(ctx context.Context, l *Look) error
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
	kfl   string
	name  string
	of    Analyzer
	found []Finding
	notes []string
	more  bool
	cut   bool // it ran out of time or memory
}

// Allow is the list of allowed outside destinations.
type Allow struct {
	Prefixes []netip.Prefix
	Domains  []string // example.org, or *.example.org for all subdomains
}

// Finding is one claim.
type Finding struct {
	Finding    string   `json:"finding" jsonschema:"name of the analyzer"`
	Severity   string   `json:"severity" jsonschema:"high, medium, low or info"`
	What       string   `json:"what" jsonschema:"the claim in a sentence"`
	Src        string   `json:"src,omitempty" jsonschema:"client, as namespace/name"`
	Dst        string   `json:"dst,omitempty" jsonschema:"server"`
	Count      int64    `json:"count" jsonschema:"calls, connections or places behind it"`
	First      string   `json:"first"`
	Last       string   `json:"last"`
	Evidence   []string `json:"evidence" jsonschema:"what was seen, with secrets masked; text from the traffic"`
	Confidence string   `json:"confidence" jsonschema:"exact, likely or guess"`
	CallIDs    []string `json:"call_ids" jsonschema:"the first calls behind it; get_api_call shows one in full"`
	KFL        string   `json:"kfl,omitempty" jsonschema:"KFL that selects all of them in the answer's window"`
	FlowIDs    []int64  `json:"flow_ids,omitempty" jsonschema:"flows behind it, if there are no calls"`

	// Key distinguishes findings of one analyzer between the same ends. It does not depend on
	// the window. If it is empty, Detail and Other of the row are used.
	Key string `json:"-"`
}

// id identifies a finding in a case.
func (f *Finding) id() string {
	h := sha256.Sum256([]byte(f.Finding + "\x00" + f.Src + "\x00" + f.Dst + "\x00" + f.Key))
	return f.Finding + "/" + hex.EncodeToString(h[:6])
}

// Row is a group of calls or flows, the result of most analyzers' SQL. Absent columns stay empty.
type Row struct {
	Src      string   `json:"src"`
	Dst      string   `json:"dst"`
	Detail   string   `json:"detail"`
	Other    string   `json:"other"`
	Count    int64    `json:"count"`
	Of       int64    `json:"of"`
	Number   float64  `json:"number"`
	Number2  float64  `json:"number2"`
	FirstNs  int64    `json:"first_ns"`
	LastNs   int64    `json:"last_ns"`
	CallIDs  []string `json:"call_ids"`
	FlowIDs  []int64  `json:"flow_ids"`
	Evidence []string `json:"evidence"`
}

// Unmasked lets queries read credentials as they were sent until end is called, for analyzers that
// compare them. These analyzers mask what they report. A KFL filter still applies to masked values.
func (l *Look) Unmasked() (end func()) {
	masked, where := l.Case, l.Where
	if l.kfl != "" {
		l.Where = masked.AsMasked(where)
	}
	l.Case = masked.Unmasked()
	return func() { l.Case, l.Where = masked, where }
}

// Rows runs SQL that returns Rows.
func (l *Look) Rows(ctx context.Context, sql string, args ...any) ([]Row, error) {
	rows, more, err := ask.Rows[Row](ctx, l.Case, maxRows, sql, args...)
	l.more = l.more || more
	return rows, err
}

// Add reports a finding. Empty ends, times and calls are filled from r.
func (l *Look) Add(r Row, f Finding) {
	if len(l.found) >= maxPerAnalyzer {
		l.more = true
		return
	}
	f.Finding = l.name
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
	if len(f.CallIDs) > 0 && f.KFL == "" && l.Allow.Empty() {
		f.KFL = fmt.Sprintf("finding == %q", f.id())
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
	f.First, f.Last = ask.Stamp(r.FirstNs), ask.Stamp(r.LastNs)
	l.found = append(l.found, f)
}

// Crowds merges the rows of clients with more than 10 rows for which alike is true. In the merged
// row Of is their number, Count and Number are sums, and Evidence has the first five servers. All
// other rows are in rest, in their order.
func Crowds(rows []Row, alike func(Row) bool) (rest, crowds []Row) {
	of := map[string][]Row{}
	for _, r := range rows {
		if alike(r) {
			of[r.Src] = append(of[r.Src], r)
		}
	}
	done := map[string]bool{}
	for _, r := range rows {
		list := of[r.Src]
		if !alike(r) || len(list) <= crowd {
			rest = append(rest, r)
			continue
		}
		if done[r.Src] {
			continue
		}
		done[r.Src] = true
		slices.SortStableFunc(list, func(a, b Row) int { return cmp.Compare(a.FirstNs, b.FirstNs) })
		one := Row{Src: r.Src, Detail: "crowd", Of: int64(len(list)), FirstNs: list[0].FirstNs}
		for i, x := range list {
			one.Count, one.Number, one.LastNs = one.Count+x.Count, one.Number+x.Number, max(one.LastNs, x.LastNs)
			one.CallIDs = append(one.CallIDs, x.CallIDs...)
			if len(one.FlowIDs) < 3 {
				one.FlowIDs = append(one.FlowIDs, x.FlowIDs[:min(1, len(x.FlowIDs))]...)
			}
			if i < 5 {
				one.Evidence = append(one.Evidence, x.Dst)
			}
		}
		crowds = append(crowds, one)
	}
	return rest, crowds
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

// Once is the SQL condition that selects one flow per connection, however many vantages saw it: the
// flow from which its calls were read.
func (l *Look) Once() string {
	return "(" + l.Bundle("flow_id") + ") IN (SELECT (" + l.Bundle("flow_id") + ") FROM connections_raw)"
}

// Permits reports whether traffic to an outside address is allowed, by address or by any of its
// names.
func (a Allow) Permits(ip string, names []string) bool {
	if addr, err := netip.ParseAddr(ip); err == nil {
		for _, p := range a.Prefixes {
			if p.Contains(addr.Unmap()) || p.Contains(addr) {
				return true
			}
		}
	}
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		for _, d := range a.Domains {
			if name != "" && (name == d || strings.HasPrefix(d, "*.") && strings.HasSuffix(name, d[1:])) {
				return true
			}
		}
	}
	return false
}

// Empty reports whether the list has no entries.
func (a Allow) Empty() bool { return len(a.Prefixes)+len(a.Domains) == 0 }

// parseAllow parses addresses, CIDR prefixes and domains.
func parseAllow(list []string) (Allow, error) {
	var a Allow
	for _, s := range list {
		s = strings.ToLower(strings.TrimSpace(s))
		if p, err := netip.ParsePrefix(s); err == nil {
			a.Prefixes = append(a.Prefixes, p.Masked())
		} else if ip, err := netip.ParseAddr(s); err == nil {
			a.Prefixes = append(a.Prefixes, netip.PrefixFrom(ip, ip.BitLen()))
		} else if domain(strings.TrimPrefix(s, "*.")) {
			a.Domains = append(a.Domains, s)
		} else {
			return a, ask.Wrong("allow", "must be an address, a prefix such as 203.0.113.0/24, or a domain such as *.example.org, not %q", s)
		}
	}
	return a, nil
}

func domain(s string) bool {
	return s != "" && len(s) <= 253 && !strings.HasPrefix(s, ".") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// In is the input of list_findings.
type In struct {
	ask.Scope
	Names    []string `json:"names,omitempty" jsonschema:"only these analyzers; default all. The answer lists their names"`
	Severity string   `json:"severity,omitempty" jsonschema:"lowest severity: high, medium, low or info"`
	Service  string   `json:"service,omitempty" jsonschema:"only findings with this service, workload, pod or host at one end"`
	Allow    []string `json:"allow,omitempty" jsonschema:"allowed outside addresses, prefixes and domains (*.example.org); the analyzer egress reports all others"`

	Whole bool `json:"-"` // an analyzer that does not finish is an error, not a note
}

// Out is the answer of list_findings.
type Out struct {
	ask.Frame
	Summary  []Summary `json:"summary" jsonschema:"each analyzer with the number of its findings"`
	Findings []Finding `json:"findings" jsonschema:"worst first"`
}

// Summary is the result of one analyzer.
type Summary struct {
	Finding string `json:"finding"`
	Title   string `json:"title"`
	Found   int    `json:"found"`
	Worst   string `json:"worst,omitempty"`
	Cut     bool   `json:"cut,omitempty" jsonschema:"it ran out of time or memory, so there may be more"`
}

// Run runs analyzers.
func Run(ctx context.Context, c *forensics.Case, analyzers []Analyzer, in In) (*Out, error) {
	asked, err := in.Scope.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	allow, err := parseAllow(in.Allow)
	if err != nil {
		return nil, err
	}
	worst := len(severities) - 1
	if in.Severity != "" {
		if worst = slices.Index(severities, in.Severity); worst < 0 {
			return nil, ask.Wrong("severity", "must be one of %s, not %q", strings.Join(severities, ", "), in.Severity)
		}
	}
	for _, n := range in.Names {
		if !slices.ContainsFunc(analyzers, func(a Analyzer) bool { return a.Name == n }) {
			return nil, ask.Wrong("names", "unknown analyzer %q; use some of %s", n, names(analyzers))
		}
	}
	where, args := asked.Where, asked.Args
	calls := "calls_raw"
	if in.Service != "" || in.KFL != "" {
		calls = "calls"
	}
	if in.Service != "" {
		cond, more := terms.Either(c, in.Service)
		where, args = where+" AND ("+cond+")", append(args, more...)
	}
	var looks []*Look
	for _, a := range analyzers {
		if len(in.Names) == 0 || slices.Contains(in.Names, a.Name) {
			looks = append(looks, &Look{Case: c, From: asked.From, To: asked.To, Calls: calls, Where: where, Args: args, Allow: allow, kfl: in.KFL, name: a.Name, of: a})
		}
	}
	if err := findAll(ctx, looks, in.Whole); err != nil {
		return nil, err
	}
	out := &Out{Summary: []Summary{}, Findings: []Finding{}}
	if out.Frame, err = asked.Frame(ctx, c); err != nil {
		return nil, err
	}
	for _, l := range looks {
		kept := slices.DeleteFunc(l.found, func(f Finding) bool {
			return slices.Index(severities, f.Severity) > worst || in.Service != "" && !concerns(f, in.Service)
		})
		s := Summary{Finding: l.name, Title: l.of.Title, Found: len(kept), Cut: l.cut}
		for _, f := range kept {
			if s.Worst == "" || slices.Index(severities, f.Severity) < slices.Index(severities, s.Worst) {
				s.Worst = f.Severity
			}
		}
		out.Summary = append(out.Summary, s)
		out.Findings = append(out.Findings, kept...)
		out.Notes = append(out.Notes, l.notes...)
		out.Truncated = out.Truncated || l.more || l.cut
	}
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	if len(out.Findings) > asked.Limit {
		out.Findings, out.Truncated = out.Findings[:asked.Limit], true
	}
	out.Match(len(out.Findings))
	return out, nil
}

// concerns reports whether a finding has a service at one end. The scope of calls does not limit
// findings about flows.
func concerns(f Finding, service string) bool {
	_, name, ok := strings.Cut(service, "/")
	if !ok {
		name = service
	}
	name = strings.Trim(name, "*?")
	return len(f.CallIDs) > 0 || strings.Contains(f.Src, name) || strings.Contains(f.Dst, name)
}

func names(list []Analyzer) string {
	var out []string
	for _, a := range list {
		out = append(out, a.Name)
	}
	return strings.Join(out, ", ")
}

// Question is the question list_findings with these analyzers.
func Question(analyzers []Analyzer) ask.Question {
	q := ask.New("list_findings", "Findings: security, secrets, certificates, egress, beacons",
		"Run the analyzers: missing authentication, forwarded tokens, weak TLS, certificates, plaintext credentials, personal data and secrets with masked evidence, egress outside an allow-list, beacons, DNS tunnels and failures, unusual destinations and volumes.", true,
		func(ctx context.Context, c *forensics.Case, in In) (*Out, error) { return Run(ctx, c, analyzers, in) })
	q.Sums = []string{"summary"}
	return q
}
