package finding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// maxBound is how many calls one name in KFL may stand for.
const maxBound = 1_000_000

// Bind lets KFL name findings of a case, as in finding == "missing-auth", or with what
// follows a slash one of that kind, as answers give it. A finding is looked for when a
// question first names it.
func Bind(c *forensics.Case, analyzers []Analyzer) {
	c.UseFindings(&bound{c: c, analyzers: analyzers, known: map[string][]Finding{}, numbers: map[string][]int64{}, turn: make(chan struct{}, 1)})
}

// bound implements forensics.Findings. Its methods may be called from several goroutines.
type bound struct {
	c         *forensics.Case
	analyzers []Analyzer
	turn      chan struct{}        // held by whoever looks, of whom there is one
	known     map[string][]Finding // by analyzer, with all their calls
	numbers   map[string][]int64   // by name
}

// Names implements forensics.Findings.
func (b *bound) Names() []string {
	var out []string
	for _, a := range b.analyzers {
		out = append(out, a.Name)
	}
	return out
}

// Calls implements forensics.Findings.
func (b *bound) Calls(ctx context.Context, name string) ([]int64, error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
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
	there := one == ""
	for _, f := range found {
		if one == "" || f.id() == name {
			ids, there = append(ids, f.CallIDs...), true
		}
	}
	if !there {
		return nil, fmt.Errorf("none of %d findings of %s is %q", len(found), kind, ask.Clip(one, 50))
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > maxBound {
		return nil, fmt.Errorf("finding %s is about %d calls, more than %d", name, len(ids), maxBound)
	}
	out, err := b.numbersOf(ctx, ids)
	if err == nil {
		b.numbers[name] = out
	}
	return out, err
}

// find are the findings of an analyzer in the whole case.
func (b *bound) find(ctx context.Context, kind string) ([]Finding, error) {
	if list, ok := b.known[kind]; ok {
		return list, nil
	}
	i := slices.IndexFunc(b.analyzers, func(a Analyzer) bool { return a.Name == kind })
	if i < 0 {
		return nil, fmt.Errorf("no analyzer %q", kind)
	}
	first, last, _ := b.c.Window()
	l := &Look{Case: b.c, From: first, To: last, Calls: "calls_raw", Where: "true", name: kind, all: true}
	if err := b.analyzers[i].Find(ctx, l); err != nil {
		return nil, fmt.Errorf("looking for %s: %w", kind, err)
	}
	b.known[kind] = l.found
	return l.found, nil
}

// numbersOf finds the calls of call_ids in all bundles.
func (b *bound) numbersOf(ctx context.Context, ids []string) ([]int64, error) {
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
