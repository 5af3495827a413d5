// Package patterns finds how services talk: retries and storms of them, connections that churn
// or run short, one call for each of many, the same call again, bodies that are not what they
// claim to be. Each kind is one function in the list of kinds.
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

// patternsEach is how many findings of a kind an answer lists where no limit was given.
const patternsEach = 5

// maxTogether is how many calls all kinds look at together.
const maxTogether = 250_000

// In asks how services talk.
type In struct {
	ask.Scope
	Kinds   []string `json:"kinds,omitempty" jsonschema:"what to look for: retries, retry_storms, churn, pool, keep_alive, n_plus_one, blocking, repeated, caching, duplicates, correlation, content_type, drift; all where not given"`
	Service string   `json:"service,omitempty" jsonschema:"only calls from or to this service, workload, pod, host or address; for n_plus_one, blocking and caching requests to it"`
	Path    string   `json:"path,omitempty" jsonschema:"only requests whose path is this, * for any text"`
}

// Answer is how services talk.
type Answer struct {
	ask.Frame
	Summary  []string       `json:"summary" jsonschema:"one sentence for each finding, in the same order"`
	Counts   []PatternCount `json:"counts" jsonschema:"findings of each kind that was looked for; 0 means looked for and not there"`
	Findings []Pattern      `json:"findings"`
}

// PatternCount is how many findings of a kind there are.
type PatternCount struct {
	Kind     string `json:"kind"`
	Findings int    `json:"findings"`
}

// Pattern is one way in which calls go together.
type Pattern struct {
	Kind       string   `json:"kind"`
	Src        string   `json:"src,omitempty"`
	Dst        string   `json:"dst,omitempty"`
	Endpoint   string   `json:"endpoint,omitempty"`
	Words      string   `json:"words"`
	Problem    bool     `json:"problem" jsonschema:"it is one; false: it is how things are, good or neutral"`
	Count      int64    `json:"count" jsonschema:"how often"`
	Shape      string   `json:"shape,omitempty" jsonschema:"retries: constant, linear, exponential or irregular pauses, or none where there is one retry"`
	Numbers    []Number `json:"numbers,omitempty"`
	Confidence string   `json:"confidence" jsonschema:"exact, likely or guess"`
	How        string   `json:"how,omitempty"`
	CallIDs    []string `json:"call_ids" jsonschema:"calls that show it, at most ten, in order"`
	KFL        string   `json:"kfl,omitempty" jsonschema:"the calls among which it was found"`
}

// Number is a named number.
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Question is find_patterns, which Ask answers.
func Question() ask.Question {
	return ask.New("find_patterns", "How services talk", "Retries with their backoff, retry storms, connection churn, pool exhaustion, keep-alive, N+1 queries, blocking one after the other, repeated calls, caching, duplicates within 100 ms, missing correlation ids, wrong content types, contract drift.", false, Ask)
}

// looker finds the patterns of some kinds.
type looker struct {
	c     *forensics.Case // aside: it keeps what several kinds look at
	w     *ask.Window
	k     *ask.Window // the same, of rows that were kept where they were
	kinds []string
	f     *ask.Frame
	known map[string]ask.Node
	notes map[string]bool

	retried []chain // what chains gave
	chained bool
	linked  bool // chainTable and what follows it are kept
}

// note adds a remark once.
func (l *looker) note(text string) {
	if !l.notes[text] {
		l.notes[text] = true
		l.f.Note("%s", text)
	}
}

// kind is a kind of pattern and how it is found.
type kind struct {
	name string
	find func(*looker, context.Context) ([]Pattern, error)
}

var kinds = [...]kind{
	{"retries", (*looker).retries}, {"retry_storms", (*looker).storms}, {"churn", (*looker).churn}, {"pool", (*looker).pool}, {"keep_alive", (*looker).keepAlive},
	{"n_plus_one", (*looker).nPlusOne}, {"blocking", (*looker).blocking}, {"repeated", (*looker).repeated}, {"caching", (*looker).caching},
	{"duplicates", (*looker).duplicates}, {"correlation", (*looker).correlation}, {"content_type", (*looker).contentType}, {"drift", (*looker).drift},
}

// Kinds are the names of what can be looked for.
func Kinds() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return out
}

// Ask answers how services talk.
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
			out.Note("all kinds together look at the latest %d calls, from %s on; ask for one kind to look at more", maxTogether, since)
		}
	}
	aside, end, err := c.Aside(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	l := &looker{c: aside, w: w, k: w, kinds: in.Kinds, f: &out.Frame, notes: map[string]bool{}}
	if l.known, err = ask.Nodes(ctx, c, "service"); err != nil {
		return nil, err
	}
	if len(in.Kinds) == 0 {
		if err := l.keep(ctx); err != nil {
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
	if err := l.look(ctx, out, each); err != nil {
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

// window checks the question and puts what it names into a window.
func (in *In) window(ctx context.Context, c *forensics.Case) (*ask.Window, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Kinds {
		if !slices.ContainsFunc(kinds[:], func(k kind) bool { return k.name == name }) {
			return nil, ask.Wrong("kinds", "%q, want some of %s", name, strings.Join(Kinds(), ", "))
		}
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

// look looks for one kind after the other and lists at most each findings of it.
func (l *looker) look(ctx context.Context, out *Answer, each int) error {
	var rest []Pattern // after the first of every kind
	for _, k := range kinds {
		if !l.wants(k.name) {
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

// kfl is the KFL for calls from one service to another, either empty.
func (l *looker) kfl(src, dst, pb string, asked bool) string {
	var parts []string
	if src != "" {
		parts = append(parts, ask.SrcKFL(src, l.known))
	}
	if dst != "" {
		parts = append(parts, ask.DstKFL(dst, pb, asked, l.known))
	}
	return strings.Join(parts, " and ")
}
