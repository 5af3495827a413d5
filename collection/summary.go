package collection

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/whole"
)

// schema is the version of summaries.
const schema = 1

// Limits of summaries.
const (
	maxSummary  = 16 << 20 // bytes of a file
	maxStretch  = 20_000   // recorded ranges, and gaps, of a bundle
	maxReason   = 200      // bytes of a detail
	mostOneCase = 256      // bundles of a sub-period, as many as a case has
)

// BundleSummary is what a collection keeps of a bundle.
type BundleSummary struct {
	Schema   int    `json:"schema"`
	MadeFrom string `json:"made_from"`

	First    int64            `json:"first_ns"` // of its packets; 0 if there are none
	Last     int64            `json:"last_ns"`
	Files    int64            `json:"files"` // that match the manifests
	Packets  int64            `json:"packets"`
	Bytes    int64            `json:"bytes"`
	Calls    map[string]int64 `json:"calls"` // by protocol
	Nodes    []string         `json:"nodes"`
	Days     []Count          `json:"days"` // packets
	Recorded []Stretch        `json:"recorded"`
	Gaps     []Gap            `json:"gaps"`
	GapsMore int64            `json:"gaps_more,omitempty"`
}

// Count is a number at a time: the first instant of a day or an hour.
type Count struct {
	At int64 `json:"at_ns"`
	N  int64 `json:"n"`
}

// Stretch is a time range that a node recorded.
type Stretch struct {
	Node    string `json:"node"`
	From    int64  `json:"from_ns"`
	To      int64  `json:"to_ns"`
	Silence int64  `json:"silence_ns"` // longest time between two packets
}

// Gap is a time range that was not recorded, or not completely.
type Gap struct {
	Node    string `json:"node"`
	From    int64  `json:"from_ns"`
	To      int64  `json:"to_ns"`
	Reason  string `json:"reason"`
	Packets int64  `json:"packets,omitempty"` // known to be lost
	Detail  string `json:"detail,omitempty"`
}

// PartSummary is what a collection keeps of a sub-period: the answer of the question controls about the case of its bundles.
type PartSummary struct {
	Schema   int    `json:"schema"`
	MadeFrom string `json:"made_from"`

	RuleSet  string            `json:"rule_set"`
	Controls []control.Control `json:"controls"`
	Hours    []Count           `json:"hours"` // calls, each once even if several bundles have it
}

// reader reads bundles, or what is kept of them.
type reader struct {
	access    Access
	analyzers []finding.Analyzer
	file      *File
	release   string
	fresh     bool
	only      bool                             // keep nothing
	note      func(format string, args ...any) // what is being read

	opened int // bundles that were opened
}

// madeFrom is the hash of what a summary depends on.
func madeFrom(parts ...any) string {
	text, _ := json.Marshal(parts) // strings and numbers
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// kept reads a summary, unless it depends on something else or cannot be read: then it is made again.
func kept[T any](r *reader, name, from string) *T {
	if r.fresh {
		return nil
	}
	in, err := os.Open(filepath.Join(r.file.Beside(".summaries"), name))
	if err != nil {
		return nil
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxSummary+1))
	var head struct {
		Schema   int    `json:"schema"`
		MadeFrom string `json:"made_from"`
	}
	if err != nil || len(text) > maxSummary || json.Unmarshal(text, &head) != nil || head.Schema != schema || head.MadeFrom != from {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	out := new(T)
	if d.Decode(out) != nil {
		return nil
	}
	return out
}

// keep writes a summary. It is a cache: that it cannot be written is no error.
func (r *reader) keep(name string, v any) {
	if r.only {
		return
	}
	dir := r.file.Beside(".summaries")
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil || len(text) > maxSummary || os.MkdirAll(dir, 0o700) != nil {
		return
	}
	_ = whole.Replace(filepath.Join(dir, name), 0o600, whole.Text(append(text, '\n')))
}

// bundle summarizes a bundle. What is wrong with the bundle becomes its problem.
func (r *reader) bundle(ctx context.Context, b *Bundle) error {
	if b.Problem != "" {
		return nil
	}
	name, from := b.Fingerprint+".json", madeFrom(schema, r.release, b.Fingerprint, b.custody)
	if s := kept[BundleSummary](r, name, from); s.valid() {
		b.Summary = s
		return nil
	}
	r.note("reading %s", b.Name)
	check, err := r.access.Verify(ctx, b.path)
	if err == nil && !check.OK() {
		b.Problem = check.Problems[0].String()
		return nil
	}
	var s *BundleSummary
	if err == nil {
		s, err = r.summarize(ctx, b)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.Problem = plain(err, b.path)
		return nil
	}
	s.Schema, s.MadeFrom, s.Files = schema, from, check.Files
	r.keep(name, s)
	b.Summary = s
	return nil
}

// valid reports whether a summary can be of a bundle.
func (s *BundleSummary) valid() bool {
	return s != nil && s.Packets >= 0 && s.First <= s.Last && !slices.ContainsFunc(s.Recorded, func(x Stretch) bool { return x.From > x.To || x.Silence < 0 }) &&
		!slices.ContainsFunc(s.Gaps, func(x Gap) bool { return x.From > x.To })
}

// open opens bundles as a case.
func (r *reader) open(ctx context.Context, list ...*Bundle) (*forensics.Case, error) {
	var paths []string
	for _, b := range list {
		paths = append(paths, b.path)
	}
	r.opened += len(paths)
	c, err := forensics.Open(ctx, paths, forensics.Options{Open: r.access.Open})
	if err != nil {
		return nil, err
	}
	finding.Bind(c, r.analyzers)
	return c, nil
}

// summarize reads a bundle.
func (r *reader) summarize(ctx context.Context, b *Bundle) (*BundleSummary, error) {
	c, err := r.open(ctx, b)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m := c.Bundles()[0].Manifest
	s := &BundleSummary{Packets: m.Accounts.Packets, Bytes: m.Accounts.Bytes, Calls: m.Calls, Nodes: []string{}, Recorded: []Stretch{}, Gaps: []Gap{}}
	if w := m.Window; w.FirstNs != nil && w.LastNs != nil {
		s.First, s.Last = int64(*w.FirstNs), int64(*w.LastNs)
	}
	nodes := map[int64]string{}
	for _, in := range m.Inputs {
		nodes[int64(in.FileID)] = clip.Text(in.Node, maxWord)
		if in.Node != "" && !slices.Contains(s.Nodes, nodes[int64(in.FileID)]) && len(s.Nodes) < maxNodes {
			s.Nodes = append(s.Nodes, nodes[int64(in.FileID)])
		}
	}
	slices.Sort(s.Nodes)
	if s.Days, _, err = ask.Rows[Count](ctx, c, maxDays*10, `SELECT ts_ns // 86400000000000 * 86400000000000 AS at_ns, count(*) AS n FROM packets GROUP BY 1 ORDER BY 1`); err != nil {
		return nil, err
	}
	return s, s.coverage(ctx, c, nodes)
}

// coverage reads what the bundle states about recorded time.
func (s *BundleSummary) coverage(ctx context.Context, c *forensics.Case, nodes map[int64]string) error {
	type row struct {
		File    int64  `json:"file_id"`
		Source  string `json:"source"`
		From    int64  `json:"from_ns"`
		To      int64  `json:"to_ns"`
		Kind    string `json:"kind"`
		Reason  string `json:"reason"`
		Packets int64  `json:"packets"`
		Detail  string `json:"detail"`
		Silence int64  `json:"silence_ns"`
	}
	rows, more, err := ask.Rows[row](ctx, c, maxStretch, `SELECT file_id::BIGINT AS file_id, source, from_ns, to_ns, kind, reason, packets, detail, coalesce(silence_ns, 0) AS silence_ns
		FROM coverage WHERE to_ns >= from_ns ORDER BY kind DESC, from_ns, to_ns, source, reason, packets, detail, file_id`)
	if err != nil {
		return err
	}
	for _, x := range rows {
		node, ok := nodes[x.File]
		if !ok { // information from a ring about times that are in no file
			node = ""
			if len(s.Nodes) == 1 {
				node = s.Nodes[0]
			}
		}
		if x.Kind == "recorded" {
			s.Recorded = append(s.Recorded, Stretch{node, x.From, x.To, max(x.Silence, 0)})
			continue
		}
		s.Gaps = append(s.Gaps, Gap{node, x.From, x.To, clip.Text(x.Reason, maxReason), x.Packets, clip.Text(x.Detail, maxReason)})
	}
	if more {
		s.GapsMore = 1 // at least
	}
	return nil
}

// part judges a sub-period by the case of its bundles.
func (r *reader) part(ctx context.Context, p *Part, list []*Bundle) error {
	var ids []string
	for _, b := range list {
		ids = append(ids, b.Fingerprint)
	}
	slices.Sort(ids)
	f := r.file
	from := madeFrom(schema, r.release, control.RuleSet(), ids, p.span.from, p.span.to, f.Frameworks, f.Controls, f.Allow, f.Attest)
	name := "from-" + dateOf(p.span.from) + ".json"
	if s := kept[PartSummary](r, name, from); s != nil {
		p.summary = s
		return nil
	}
	if len(list) > mostOneCase {
		return fmt.Errorf("%d bundles are of it, more than the %d of one case; use every: day, or merge bundles", len(list), mostOneCase)
	}
	r.note("judging %s", p.span.name())
	s, err := r.judge(ctx, p.span, list)
	if err != nil {
		return err
	}
	s.Schema, s.MadeFrom = schema, from
	r.keep(name, s)
	p.summary = s
	return nil
}

// judge asks the question controls about a sub-period.
func (r *reader) judge(ctx context.Context, at span, list []*Bundle) (*PartSummary, error) {
	c, err := r.open(ctx, list...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := control.In{Frameworks: r.file.Frameworks, Controls: r.file.Controls, Allow: r.file.Allow, Attest: r.file.Attest}
	in.Scope = scopeOf(c, at)
	in.Scope.Limit = ask.MaxRows
	out, err := control.Run(ctx, c, r.analyzers, in)
	if err != nil {
		return nil, err
	}
	s := &PartSummary{RuleSet: out.RuleSet, Controls: out.Controls}
	s.Hours, _, err = ask.Rows[Count](ctx, c, maxDays*24, `SELECT ts_ns // 3600000000000 * 3600000000000 AS at_ns, count(*) AS n FROM calls_raw WHERE ts_ns >= ? AND ts_ns <= ? GROUP BY 1 ORDER BY 1`, at.from, at.to)
	return s, err
}

// scopeOf is the part of a sub-period in which a case has packets: what is missing at its ends is known from the calendar,
// which sees the bundles before and after.
func scopeOf(c *forensics.Case, at span) (s ask.Scope) {
	first, last, _ := c.Window()
	if first < at.from {
		s.From = bundle.Time(at.from).String()
	}
	if last > at.to {
		s.To = bundle.Time(at.to).String()
	}
	return s
}
