// Package patterns finds communication patterns: retries and retry storms, connection churn and
// exhausted pools, N+1 calls, repeated calls, bodies that contradict their type. Each kind is one
// function in the list of kinds.
package patterns

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// patternsEach is the default number of findings per kind.
const patternsEach = 5

// maxTogether is the highest number of calls that are examined for all kinds together.
const maxTogether = 250_000

// In is the input of find_patterns.
type In struct {
	ask.Scope
	Kinds   []string `json:"kinds,omitempty" jsonschema:"kinds to find (default all)"`
	Service string   `json:"service,omitempty" jsonschema:"only calls from or to this service, workload, pod, host or address; for n_plus_one, blocking and caching requests to it"`
	Path    string   `json:"path,omitempty" jsonschema:"only requests with this path; * matches any text"`
}

// Answer is the answer of find_patterns.
type Answer struct {
	ask.Frame
	Summary  []string       `json:"summary" jsonschema:"one sentence for each finding, in the same order"`
	Counts   []PatternCount `json:"counts" jsonschema:"findings of each requested kind; 0 means that none was found"`
	Findings []Pattern      `json:"findings"`
}

// PatternCount is the number of findings of a kind.
type PatternCount struct {
	Kind     string `json:"kind"`
	Findings int    `json:"findings"`
}

// Pattern is one finding.
type Pattern struct {
	Kind       string   `json:"kind"`
	Src        string   `json:"src,omitempty"`
	Dst        string   `json:"dst,omitempty"`
	Endpoint   string   `json:"endpoint,omitempty"`
	Words      string   `json:"words"`
	Problem    bool     `json:"problem" jsonschema:"true if it is a problem; false if it is good or neutral"`
	Count      int64    `json:"count" jsonschema:"number of occurrences"`
	Shape      string   `json:"shape,omitempty" jsonschema:"retries: constant, linear, exponential or irregular pauses, or none with a single retry"`
	Numbers    []Number `json:"numbers,omitempty"`
	Confidence string   `json:"confidence" jsonschema:"exact, likely or guess"`
	How        string   `json:"how,omitempty"`
	CallIDs    []string `json:"call_ids" jsonschema:"calls that show it, up to ten, in order"`
	KFL        string   `json:"kfl,omitempty" jsonschema:"filter for the calls in which it was found"`
}

// Number is a named number.
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Question is the question find_patterns.
func Question() ask.Question {
	return ask.New("find_patterns", "Find communication patterns", "Retries with their backoff, retry storms, connection churn, pool exhaustion, keep-alive, N+1 queries, sequential blocking calls, repeated calls, caching, duplicates within 100 ms, missing correlation ids, wrong content types, contract drift.", false, Ask).
		Allow("kinds", Kinds()...)
}

// finder finds the patterns of the requested kinds.
type finder struct {
	c     *forensics.Case // has the temporary tables that several kinds share
	w     *ask.Window
	k     *ask.Window // the same window, on the loaded rows if there are any
	kinds []string
	f     *ask.Frame
	known map[string]ask.Node
	notes map[string]bool

	retried []chain // result of chains
	chained bool
	linked  bool // the tables of loadLinks are loaded
}

// note adds a note once.
func (l *finder) note(text string) {
	if !l.notes[text] {
		l.notes[text] = true
		l.f.Note("%s", text)
	}
}

// kind is a kind of pattern with the function that finds it.
type kind struct {
	name string
	find func(*finder, context.Context) ([]Pattern, error)
}

var kinds = [...]kind{
	{"retries", (*finder).retries}, {"retry_storms", (*finder).storms}, {"churn", (*finder).churn}, {"pool", (*finder).pool}, {"keep_alive", (*finder).keepAlive},
	{"n_plus_one", (*finder).nPlusOne}, {"blocking", (*finder).blocking}, {"repeated", (*finder).repeated}, {"caching", (*finder).caching},
	{"duplicates", (*finder).duplicates}, {"correlation", (*finder).correlation}, {"content_type", (*finder).contentType}, {"drift", (*finder).drift},
}

// Kinds returns the names of all kinds.
func Kinds() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return out
}

// Ask answers find_patterns.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.window(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Answer{Summary: []string{}, Counts: []PatternCount{}, Findings: []Pattern{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	if len(in.Kinds) == 0 {
		var since string
		if w, since, err = w.Latest(ctx, c, terms.IsRequest, maxTogether); err != nil {
			return nil, err
		}
		if since != "" {
			out.Note("all kinds together examine the latest %d calls, from %s on; request a single kind to examine more", maxTogether, since)
		}
	}
	aside, end, err := c.Aside(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	l := &finder{c: aside, w: w, k: w, kinds: in.Kinds, f: &out.Frame, notes: map[string]bool{}}
	if l.known, err = ask.Nodes(ctx, c, "service"); err != nil {
		return nil, err
	}
	if len(in.Kinds) == 0 {
		if err := l.loadShared(ctx); err != nil {
			return nil, err
		}
	}
	each := in.Limit
	switch {
	case in.All:
		each = ask.MaxAll
	case each == 0:
		each = patternsEach
		if len(in.Kinds) == 1 {
			each = 4 * patternsEach
		}
	}
	if err := l.findAll(ctx, out, each); err != nil {
		return nil, err
	}
	for i := range out.Findings {
		p := &out.Findings[i]
		if p.CallIDs == nil {
			p.CallIDs = []string{}
		}
		out.Summary = append(out.Summary, p.Words)
	}
	out.Match(len(out.Findings))
	return out, nil
}

// window checks the input and returns its window.
func (in *In) window(ctx context.Context, c *forensics.Case) (*ask.Window, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Service != "" {
		cond, args, err := ofService(ctx, c, in.Service)
		if err != nil {
			return nil, err
		}
		w.And(cond, args...)
	}
	return w, w.Narrow(c, "", "", in.Path)
}

// findAll finds one kind after the other and lists at most each findings per kind.
func (l *finder) findAll(ctx context.Context, out *Answer, each int) error {
	var rest []Pattern // findings after the first of every kind
	for _, k := range kinds {
		if !l.requested(k.name) {
			continue
		}
		list, err := k.find(l, ctx)
		if err != nil {
			return err
		}
		slices.SortStableFunc(list, func(a, b Pattern) int {
			return cmp.Or(cmp.Compare(bit(b.Problem), bit(a.Problem)), cmp.Compare(b.Count, a.Count), strings.Compare(a.Dst, b.Dst), strings.Compare(a.Src, b.Src), strings.Compare(a.Endpoint, b.Endpoint))
		})
		out.Counts = append(out.Counts, PatternCount{k.name, len(list)})
		if len(list) > each {
			list, out.Truncated = list[:each], true
		}
		first := min(len(list), patternsEach)
		out.Findings, rest = append(out.Findings, list[:first]...), append(rest, list[first:]...)
	}
	out.Findings = append(out.Findings, rest...)
	return nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// kfl is the KFL for calls from one service to another; either may be empty.
func (l *finder) kfl(src, dst, pb string, asked bool) string {
	var parts []string
	if src != "" {
		parts = append(parts, ask.SrcKFL(src, l.known))
	}
	if dst != "" {
		parts = append(parts, ask.DstKFL(dst, pb, asked, l.known))
	}
	return strings.Join(parts, " and ")
}

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string { return strings.Join(a.Summary[:min(1, len(a.Summary))], "") }
