package chain

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Above finds the ancestors of calls.
func (k *Builder) Above(list []*Step) error {
	for level := 0; level < MaxLevels && len(list) > 0; level++ {
		if err := k.loadMessages(list); err != nil {
			return err
		}
		var spans []span
		for _, s := range list {
			if !s.linked && s.Src != nil {
				// Allow for different clocks; fits checks the exact times.
				spans = append(spans, span{s.Src, s.Start - ClockUnsure, s.Start + ClockUnsure})
			}
		}
		if _, err := k.openCalls(spans); err != nil {
			return err
		}
		if _, err := k.sameMails(list); err != nil {
			return err
		}
		if err := cmp.Or(k.gotAt(spans), k.published(list), k.loadEvidence(list)); err != nil {
			return err
		}
		var next []*Step
		for _, s := range list {
			fresh := !s.linked
			if l := k.ParentOf(s); l != nil && fresh && !slices.Contains(next, l.Parent) {
				next = append(next, l.Parent)
			}
		}
		list = next
	}
	return nil
}

// Below finds the descendants of calls, at most levels deep and most in total. If keep is not nil,
// it selects the calls of a level that are followed further.
func (k *Builder) Below(list []*Step, levels, most int, keep func(*Step) bool) (map[*Step][]*Step, bool, error) {
	children := map[*Step][]*Step{}
	in := map[*Step]bool{}
	for _, s := range list {
		in[s] = true
	}
	total := len(list)
	for level := 0; level < levels && len(list) > 0; level++ {
		if err := k.loadMessages(list); err != nil {
			return nil, false, err
		}
		var spans []span
		for _, s := range list {
			at, from, to := s.open()
			if at == nil || s.Sealed || s.callsNobody() || k.messages.puts[s.Key()] {
				continue
			}
			spans = append(spans, span{at, from - ClockUnsure, to + ClockUnsure})
			if at == s.Dst && s.Dst.Kind == "service" {
				for _, key := range k.front[s.Dst.Key] {
					spans = append(spans, span{k.Same[key][0], s.Start - ClockUnsure, s.End + ClockUnsure})
				}
			}
		}
		found, err := k.callsMade(spans)
		if err != nil {
			return nil, false, err
		}
		broken, err := k.brokenConns(spans)
		if err != nil {
			return nil, false, err
		}
		got, err := k.consumed(list)
		if err != nil {
			return nil, false, err
		}
		carried, err := k.sameMails(list)
		if err != nil {
			return nil, false, err
		}
		if found = slices.Concat(found, broken, got, carried); len(found) == 0 {
			break
		}
		slices.SortFunc(found, InTime)
		if _, err := k.openCalls(spans); err != nil { // the possible parents of what was found
			return nil, false, err
		}
		if err := cmp.Or(k.gotAt(spans), k.published(found), k.loadEvidence(found)); err != nil {
			return nil, false, err
		}
		var next []*Step
		for _, s := range found {
			l := k.ParentOf(s)
			if l == nil || !in[l.Parent] || in[s] {
				continue
			}
			if total++; total > most {
				return children, true, nil
			}
			in[s] = true
			children[l.Parent] = append(children[l.Parent], s)
			if keep == nil || keep(s) {
				next = append(next, s)
			}
		}
		list = next
	}
	return children, false, nil
}

// InTime compares steps by start, then by bundle and number.
func InTime(a, b *Step) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Bundle, b.Bundle), cmp.Compare(a.No, b.No))
}

// Async reports whether a message queue is between a call and the outermost one, which therefore
// did not wait for it.
func (s *Step) Async() bool {
	for range MaxLevels {
		switch {
		case s.Link == nil:
			return false
		case s.Link.Through:
			return true
		}
		s = s.Link.Parent
	}
	return false
}

// Polled reports whether the call requested messages of a broker and got some.
func (s *Step) Polled() bool { return s.work != nil && s.work.at == s.Src }

// Harmless reports whether a broken call had no effect, judged by its siblings.
func Harmless(s *Step, siblings []*Step) bool {
	if s.Protocol == "redis" && (strings.EqualFold(s.Method, "client") || strings.EqualFold(s.Method, "hello")) {
		return true // a client library introduces itself when it connects
	}
	for _, o := range siblings {
		if o == s || o.Broken() || o.Start < s.Start || o.Protocol != s.Protocol {
			continue
		}
		switch {
		case s.Protocol == "dns":
			if o.Host == s.Host || terms.IsSearched(strings.ToLower(s.Host), strings.ToLower(o.Host)) {
				return true
			}
		case equal(s, o) && o.Start <= s.End+relation.MaxPauseNs && s.Protocol != "tls":
			return true // a retry succeeded
		}
	}
	return false
}

// equal reports whether two calls are the same call again: relation.Request of rows of calls.
func equal(a, b *Step) bool {
	return a.Same != "" && a.Same == b.Same && a.Src != nil && b.Src != nil && a.Src.Key == b.Src.Key && a.Dst != nil && b.Dst != nil && a.Dst.Who == b.Dst.Who
}

// Repeated returns the call that another one repeats, of calls in order of time with the same parent, and whether that is a retry; nil if
// the other is neither a retry nor soon after an equal call.
func Repeated(s *Step, siblings []*Step) (prior *Step, retry bool) {
	if !table.TraitsOf(s.Protocol).Serves {
		return nil, false
	}
	for _, o := range siblings {
		if o == s {
			break
		}
		if equal(o, s) {
			prior = o
		}
	}
	if prior == nil {
		return nil, false
	}
	done := prior.Start
	if prior.Took != nil {
		done += *prior.Took * 1000
	}
	switch {
	case prior.Bad && relation.Retry(prior.Start, done, s.Start):
		return prior, true
	case relation.Soon(prior.Start, s.Start):
		return prior, false
	}
	return nil, false
}

// Blame is the origin of a call's failure: the deepest broken or slow call below it.
type Blame struct {
	At         *Step
	path       []*Step // from the call to the origin
	kind       string  // failed, no_answer, slow, sealed or own
	confidence float64
}

// Unanswered is how long the caller of the origin waited without a response, in nanoseconds, if that is what failed and
// packets show it; those of datagrams do not.
func (b *Blame) Unanswered() (int64, bool) {
	s := b.At
	return s.End - s.Start, b.kind == "no_answer" && s.waited != nil && s.Protocol != "dns"
}

// BlameOf finds the origin of a call's failure among its descendants.
func BlameOf(s *Step, children map[*Step][]*Step) Blame {
	b := Blame{At: s, path: []*Step{s}, kind: "own", confidence: 1}
	for range MaxLevels {
		next, kind := worst(b.At, children[b.At], b.kind == "slow")
		if next == nil {
			break
		}
		b.At, b.kind = next, kind
		b.path = append(b.path, next)
		if next.Link != nil {
			b.confidence = min(b.confidence, next.Link.Confidence)
		}
		if kind == "slow" || kind == "sealed" {
			b.confidence = min(b.confidence, 0.7)
		}
	}
	if len(b.path) == 1 && b.At.Unanswered() {
		b.kind = "no_answer"
	}
	return b
}

// worst returns the child that most likely made its parent fail: the broken child that ended last,
// otherwise a child that took nearly all of the time.
func worst(parent *Step, children []*Step, slowly bool) (*Step, string) {
	var bad *Step
	for _, c := range children {
		if !c.Broken() || Harmless(c, children) || c.Link != nil && c.Link.Through {
			continue
		}
		if bad == nil || c.End > bad.End || c.End == bad.End && InTime(c, bad) > 0 {
			bad = c
		}
	}
	if bad != nil {
		if bad.Unanswered() {
			return bad, "no_answer"
		}
		return bad, "failed"
	}
	if !parent.Broken() && parent.Took != nil && !slowly {
		return nil, ""
	}
	var slow *Step
	for _, c := range children {
		if c.Protocol == "dns" && !c.Broken() || c.Link != nil && c.Link.Through {
			continue
		}
		if over := min(c.End, parent.End) - c.Start; over*10 >= (parent.End-parent.Start)*8 && parent.End-parent.Start >= 50_000_000 && (slow == nil || c.End-c.Start > slow.End-slow.Start) {
			slow = c
		}
	}
	switch {
	case slow == nil:
		return nil, ""
	case slow.Sealed:
		return slow, "sealed"
	}
	return slow, "slow"
}

// SelfTime is the time of a call without the calls that it waited for, in nanoseconds.
func SelfTime(s *Step, children []*Step) int64 { return SelfUntil(s, children, s.End) }

// SelfUntil is SelfTime up to a moment, such as the end of the outermost call. A call that waits for
// messages is idle until they come.
func SelfUntil(s *Step, children []*Step, end int64) int64 {
	end = min(end, s.End)
	at := s.Start
	if s.work != nil {
		at = s.work.from
	}
	self := end - at
	for _, c := range children { // in order of time
		if c.Link != nil && c.Link.Through {
			continue
		}
		from, to := max(c.Start, at), min(c.End, end)
		if to > from {
			self -= to - from
			at = to
		}
	}
	return max(0, self)
}
