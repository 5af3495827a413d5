package derive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/alerts"
	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// maxRounds is the number of attempts: values alone, whole bodies, whole messages, whole
// connections, and one more if a new value was found in the rest.
const maxRounds = 6

// Redaction is a policy and its text.
type Redaction struct {
	Policy Policy
	Name   string
	Text   []byte
}

// Redact makes a bundle at output without what the policy removes. It returns
//   - ErrNothing if the policy finds nothing,
//   - ErrChanged if the packets are not those of the manifest, or change meanwhile,
//   - *LeftError if a value cannot be removed,
//   - ErrMemory if there are too many values for the memory limit,
//   - the errors of the exporter.
//
// After an error nothing is left behind.
func Redact(ctx context.Context, b *bundle.Bundle, output string, r Redaction, o Options) (*Report, error) {
	x := &redaction{b: b, o: o, r: r, s: newSecrets(), dirty: map[int64]int{}, bodies: map[int64]bool{}}
	if _, err := os.Lstat(output); err == nil {
		return nil, fmt.Errorf("creating bundle %s: %w", output, bundle.ErrExists)
	}
	var err error
	if x.src, err = newSource(b, output); err != nil {
		return nil, err
	}
	defer x.src.remove()
	x.s.search.limit = memory.Limit(o.Memory).Values()
	if r.Policy.Addresses() {
		if err := x.pseudonymize(); err != nil {
			return nil, err
		}
	}
	if err := collect(ctx, bundle.TableParts(b.Payload(), b.Path), r.Policy, x.s); err != nil {
		return nil, err
	}
	if x.s.search.names != nil {
		if err := x.s.search.names.choose(o.Seed.Seed); err != nil {
			return nil, err
		}
		x.s.addressForms()
	}
	for round := 1; round <= maxRounds; round++ {
		report, again, err := x.round(ctx, output)
		if err != nil || !again {
			if report != nil {
				report.Rounds = round
			}
			return report, err
		}
	}
	return nil, &LeftError{x.left}
}

// pseudonymize begins to replace addresses.
func (x *redaction) pseudonymize() error {
	if x.o.Seed == nil {
		return fmt.Errorf("%w: the key of pseudonyms comes from the seed of the bundle's seal", ErrAddresses)
	}
	if x.b.Manifest.Filters.BPF != "" {
		return fmt.Errorf("%w: the bundle was made with the filter %q, which may name some", ErrAddresses, x.b.Manifest.Filters.BPF)
	}
	x.s.search.names = &pseudonyms{rule: x.s.rule(addressRule), known: map[netip.Addr]bool{}, spelt: map[string]bool{}}
	return nil
}

// LeftError means that values were still there after the last attempt.
type LeftError struct{ Places []string }

// Error implements error.
func (e *LeftError) Error() string {
	if len(e.Places) == 0 {
		return "redacting: a value could not be removed"
	}
	return fmt.Sprintf("redacting: a value could not be removed: it is still in %s", e.Places[0])
}

type redaction struct {
	b   *bundle.Bundle
	o   Options
	r   Redaction
	s   *secrets
	src *source

	dirty  map[int64]int  // packets of messages that still held a value, with the number of attempts
	bodies map[int64]bool // packets whose bodies go
	left   []string       // where values were last
	counts bundle.DerivedCount
	rules  map[string]int64

	searched bool // payloads, for values that no table holds
	mu       sync.Mutex
	pending  []found // of these

	again   *again    // of this round
	finders sync.Pool // of *encoded.Finder

	changed []map[int64]bool // packets of each file that were changed: the others were searched already
}

var errDirty = errors.New("a value is left")

// round makes one attempt. again says that something was left, which the next attempt removes.
func (x *redaction) round(ctx context.Context, output string) (report *Report, again bool, err error) {
	if err := x.packets(ctx); err != nil {
		return nil, false, err
	}
	if !x.s.any() && !x.r.Policy.RemovesBodies() && x.s.search.names == nil || x.counts.Changed == 0 && len(x.s.search.values) == 0 {
		return nil, false, ErrNothing
	}
	err = x.src.sides(func(s *bundle.SideInput) bool { return !isKeys(s) && !ofRing(s) },
		func(s *bundle.SideInput, data []byte) []byte {
			if s.Kind == "alerts" {
				data = alerts.Redacted(data)
			}
			if x.s.search.names != nil {
				data = []byte(x.s.search.names.pseudonymous(string(data)))
			}
			return x.text(data)
		})
	if err != nil {
		return nil, false, err
	}
	for i := range x.src.to.Manifest.SideInputs {
		in := &x.src.to.Manifest.SideInputs[i]
		in.Name = string(x.text([]byte(in.Name)))
	}
	from, err := origin(x.b, true)
	if err != nil {
		return nil, false, err
	}
	d := &bundle.Derived{Kind: bundle.Redacted, From: from, Rederivable: "fully", Reason: fully, Packets: x.counts, Rules: x.rules,
		Policy: &bundle.DerivedPolicy{Name: x.r.Name, SHA256: sha256.Sum256(x.r.Text)}}
	end, err := x.searchAgain(ctx)
	if err != nil {
		return nil, false, err
	}
	defer end()
	m, err := x.src.export(ctx, output, x.o, d, func(draft *Draft) error { return x.check(ctx, draft) })
	if errors.Is(err, errDirty) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	return &Report{Derived: *d, Values: len(x.s.search.values), Manifest: m, Warnings: x.warnings()}, false, nil
}

// warnings are the warnings about a redaction that succeeded.
func (x *redaction) warnings() []string {
	list := []string{}
	if x.counts.Unchanged == 0 && x.counts.Changed > 0 {
		list = append(list, "the policy changed every packet")
	}
	if x.counts.Changed == 0 {
		list = append(list, "the policy changed no packet: what it found was in decrypted data, whose keys were removed, or in side inputs")
	}
	if n := len(x.s.opaque); n > 0 {
		list = append(list, fmt.Sprintf("connections with payload that no dissector reads: %d; a policy finds there only values with a recognizable form", n))
	}
	return list
}

// packets changes the packets and writes them to the copy.
func (x *redaction) packets(ctx context.Context) error {
	m := x.b.Manifest
	x.s.search.finish()
	targets, err := x.targets(ctx)
	if err != nil {
		return err
	}
	if err := x.s.search.fits(); err != nil { // what was traced came to them
		return err
	}
	x.s.search.finish()
	list := make([][]change, len(m.Inputs))
	for attempt := 0; ; attempt++ {
		fresh := x.s.fresh
		for i := range m.Inputs {
			var raw func() func(string)
			if !x.searched {
				raw = x.raw
			}
			if list[i], err = x.changes(ctx, &m.Inputs[i], targets, raw); err != nil {
				return err
			}
		}
		x.searched = true
		for _, f := range x.pending {
			if x.s.search.add(f.value, f.whole, x.s.rule(f.rule)) {
				x.s.fresh++
			}
		}
		x.pending = nil
		if err := x.s.search.fits(); err != nil {
			return err
		}
		if x.s.fresh == fresh {
			break
		}
		x.s.search.finish() // payloads held values that no table has
	}
	x.counts, x.rules, x.changed = bundle.DerivedCount{}, map[string]int64{}, make([]map[int64]bool, len(m.Inputs))
	for i := range m.Inputs {
		e := &fileEdit{changes: list[i], keep: keepAll, text: func(b []byte) { copy(b, x.text(b)) }, holds: x.holds, comments: x.r.Policy.KeepComments(), names: x.s.search.names}
		in := &x.src.to.Manifest.Inputs[i]
		in.Name = string(x.text([]byte(in.Name)))
		said, err := x.src.packets(i, e)
		if err != nil {
			return err
		}
		x.counts.Changed += e.changed
		x.changed[i] = map[int64]bool{}
		for index := range e.first {
			x.changed[i][index] = true
		}
		x.src.rules[i] = map[int64]string{}
		for index, rule := range e.first {
			x.src.rules[i][index] = x.s.rules[rule]
		}
		for rule, n := range e.rules {
			x.rules[x.s.rules[rule]] += n
		}
		x.counts.Unchanged += said.Packets
		x.counts.Removed += said.Removed
	}
	x.counts.Unchanged -= x.counts.Changed
	return nil
}

// changes are what must change in a packet file.
func (x *redaction) changes(ctx context.Context, in *bundle.Input, targets map[int32]map[int64]*target, raw func() func(string)) ([]change, error) {
	f, err := os.Open(x.b.Path(in.Path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return pass(ctx, f, x.s.search, targets[in.FileID], raw, func() int32 { return x.s.rule("encapsulation") }, nil)
}

// raw is a search of payloads for values that no table holds.
func (x *redaction) raw() func(string) {
	search := x.r.Policy.Search(func(rule, value, _ string, _ bool) {
		if isBlank(value) || !everywhere(value) {
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.s.search.knows(value) {
			return
		}
		x.pending = append(x.pending, found{rule: rule, value: strings.Clone(value)}) // the payload is read over
	})
	return search.Payload
}

// targets finds the packets from which the tables know that something must go.
func (x *redaction) targets(ctx context.Context) (map[int32]map[int64]*target, error) {
	want := map[int64]bool{}
	wanted(want, x.s.short)
	wanted(want, x.s.blank)
	wanted(want, x.s.rest)
	wanted(want, x.s.addresses)
	wanted(want, x.s.unread)
	keep, where, err := x.conversations(ctx, want)
	if err != nil {
		return nil, err
	}
	work, err := x.trace(ctx, keep)
	if err != nil {
		return nil, err
	}
	if keep == nil { // else where has them
		want := map[int64]bool{}
		wanted(want, work.places)
		wanted(want, work.lost)
		more, err := locate(ctx, bundle.TableParts(x.b.Payload(), x.b.Path), want)
		if err != nil {
			return nil, err
		}
		maps.Copy(where, more)
	}
	list := map[int32]map[int64]*target{}
	for no, at := range where {
		if list[at.file] == nil {
			list[at.file] = map[int64]*target{}
		}
		t := &target{blank: -1, places: work.places[no], unread: x.s.unread[no]}
		if rule, ok := x.s.blank[no]; ok {
			t.blank = rule
		}
		if rule, ok := work.lost[no]; ok {
			t.blank = rule
		}
		for v, rule := range x.s.short[no] {
			t.values = append(t.values, local{v.value, v.whole, rule})
		}
		for a := range x.s.addresses[no] {
			t.forms = append(t.forms, needle{form{text: string(a.AsSlice()), with: string(x.s.search.names.of(a).AsSlice()), packed: true}, x.s.search.names.rule})
		}
		slices.SortFunc(t.values, func(a, b local) int { return len(b.text) - len(a.text) })
		list[at.file][at.index] = t
	}
	return list, nil
}

func wanted[V any](want map[int64]bool, of map[int64]V) {
	for no := range of {
		want[no] = true
	}
}

// holds reports whether bytes that are no text have a value.
func (x *redaction) holds(data []byte) bool {
	hit := false
	w := worker{search: x.s.search, deep: encoded.Finder{Values: x.s.search}}
	w.packet(&item{bit: bit{payload: data}})
	search := x.r.Policy.Search(func(_, value, _ string, _ bool) { hit = hit || !isBlank(value) })
	if written(data) {
		search.Payload(string(data))
	}
	return hit || len(w.changes) > 0
}

// text replaces values in the text of a side input or of a block, whose length stays.
func (x *redaction) text(data []byte) []byte {
	out := append([]byte(nil), data...)
	w := worker{search: x.s.search, deep: encoded.Finder{Values: x.s.search}}
	t := &target{blank: -1}
	search := x.r.Policy.Search(func(rule, value, _ string, _ bool) {
		if !isBlank(value) {
			t.values = append(t.values, local{value, "", x.s.rule(rule)})
		}
	})
	for line := range strings.Lines(string(data)) {
		search.Text("", line)
	}
	w.targets = map[int64]*target{0: t}
	w.packet(&item{bit: bit{payload: data}})
	for _, c := range w.changes {
		copy(out[c.at:], c.with)
	}
	return out
}
