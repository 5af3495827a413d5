package finding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// maxBound is the highest number of calls behind one name in KFL.
const maxBound = 1_000_000

// Bind lets KFL refer to findings of a case, as in finding == "missing-auth", to those of a kind, as in
// finding == "sensitive-data/card", or to a single one by the id after a slash, as answers show it. An analyzer runs when a filter first names it.
func Bind(c *forensics.Case, analyzers []Analyzer) {
	c.UseFindings(&kflFindings{c: c, analyzers: analyzers, known: map[string][]Finding{}, numbers: map[string][]int64{}, running: make(chan struct{}, 1)})
}

// kflFindings implements forensics.Findings. Its methods are safe for concurrent use.
type kflFindings struct {
	c         *forensics.Case
	analyzers []Analyzer
	running   chan struct{}        // held by the one goroutine that runs an analyzer
	known     map[string][]Finding // findings by analyzer, with all their calls
	numbers   map[string][]int64   // call numbers by name
}

// Names implements forensics.Findings.
func (b *kflFindings) Names() []string {
	var out []string
	for _, a := range b.analyzers {
		out = append(out, a.Name)
	}
	return out
}

// Calls implements forensics.Findings.
func (b *kflFindings) Calls(ctx context.Context, name string) ([]int64, error) {
	select {
	case b.running <- struct{}{}:
		defer func() { <-b.running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if list, ok := b.numbers[name]; ok {
		return list, nil
	}
	kind, one, _ := strings.Cut(name, "/")
	found, err := b.find(ctx, kind)
	if err != nil {
		return nil, err
	}
	var ids []string
	there := one == "" || slices.ContainsFunc(b.analyzers, func(a Analyzer) bool { return a.Name == kind && slices.Contains(a.Kinds, one) })
	for _, f := range found {
		if one == "" || f.Kind == one || f.ID == name {
			ids, there = append(ids, f.CallIDs...), true
		}
	}
	if !there {
		return nil, fmt.Errorf("unknown finding: none of %d findings of %s is %q", len(found), kind, ask.Clip(one, 50))
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > maxBound {
		return nil, fmt.Errorf("finding %s has %d calls; at most %d are supported", name, len(ids), maxBound)
	}
	out, err := b.numbersOf(ctx, ids)
	if err == nil {
		b.numbers[name] = out
	}
	return out, err
}

// find returns the findings of an analyzer in the whole case.
func (b *kflFindings) find(ctx context.Context, kind string) ([]Finding, error) {
	if list, ok := b.known[kind]; ok {
		return list, nil
	}
	i := slices.IndexFunc(b.analyzers, func(a Analyzer) bool { return a.Name == kind })
	if i < 0 {
		return nil, fmt.Errorf("unknown analyzer %q", kind)
	}
	if lack := b.analyzers[i].lacks(b.c); lack != "" {
		return nil, fmt.Errorf("analyzer %s cannot run: %s", kind, lack)
	}
	first, last, _ := b.c.Window()
	l := &Look{Case: b.c, From: first, To: last, Calls: "calls_raw", Where: "true", name: kind, of: b.analyzers[i], all: true}
	l.there = surveyOf(ctx, *l, b.analyzers[i:i+1])
	if err := l.steps(ctx); err != nil {
		return nil, fmt.Errorf("running analyzer %s: %w", kind, err)
	}
	if l.more {
		return nil, fmt.Errorf("%s has more findings than a filter can use", kind)
	}
	b.known[kind] = l.found
	return l.found, nil
}

// numbersOf returns the numbers of the calls with these ids in all bundles.
func (b *kflFindings) numbersOf(ctx context.Context, ids []string) ([]int64, error) {
	type row struct {
		Bundle int64 `json:"bundle"`
		CallNo int64 `json:"call_no"`
	}
	bundle := "0 AS bundle"
	if b.c.Several() {
		bundle = "bundle"
	}
	out := []int64{}
	for some := range slices.Chunk(ids, 2000) {
		args := make([]any, len(some))
		for i, id := range some {
			args[i] = id
		}
		rows, _, err := ask.Rows[row](ctx, b.c, 64*len(some), "SELECT "+bundle+", call_no FROM calls_raw WHERE call_id IN (SELECT unhex(x) FROM (SELECT unnest(["+
			strings.TrimSuffix(strings.Repeat("?, ", len(some)), ", ")+"]) AS x)) ORDER BY ALL", args...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			out = append(out, b.c.CallNumber(int(r.Bundle), r.CallNo))
		}
	}
	return out, nil
}
