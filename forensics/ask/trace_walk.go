package ask

import (
	"cmp"
	"slices"
	"strings"
)

// above finds the parents of calls, their parents and so on.
func (k *chains) above(list []*step) error {
	for level := 0; level < maxLevels && len(list) > 0; level++ {
		var spans []span
		for _, s := range list {
			if !s.linked && s.src != nil {
				// Two clocks may be apart; where they are not, fits asks more exactly.
				spans = append(spans, span{s.src, s.Start - clockUnsure, s.Start + clockUnsure})
			}
		}
		if _, err := k.asked(spans); err != nil {
			return err
		}
		if err := k.contested(list); err != nil {
			return err
		}
		var next []*step
		for _, s := range list {
			fresh := !s.linked
			if l := k.parentOf(s); l != nil && fresh && !slices.Contains(next, l.parent) {
				next = append(next, l.parent)
			}
		}
		list = next
	}
	return nil
}

// below finds the calls that were made because of calls, what was made because of
// those and so on, at most levels deep and most in all. keep, where it is not nil, says
// which of a level's calls are followed further.
func (k *chains) below(list []*step, levels, most int, keep func(*step) bool) (map[*step][]*step, bool, error) {
	children := map[*step][]*step{}
	in := map[*step]bool{}
	for _, s := range list {
		in[s] = true
	}
	total := len(list)
	for level := 0; level < levels && len(list) > 0; level++ {
		var spans []span
		for _, s := range list {
			if s.dst == nil || s.sealed || s.Protocol == "dns" {
				continue
			}
			spans = append(spans, span{s.dst, s.Start - clockUnsure, s.end + clockUnsure})
			if s.dst.Kind == "service" {
				for _, key := range k.front[s.dst.Key] {
					spans = append(spans, span{k.same[key][0], s.Start - clockUnsure, s.end + clockUnsure})
				}
			}
		}
		found, err := k.made(spans)
		if err != nil {
			return nil, false, err
		}
		if _, err := k.asked(spans); err != nil {
			return nil, false, err
		}
		broken, err := k.brokenConns(spans)
		if err != nil {
			return nil, false, err
		}
		found = append(found, broken...)
		slices.SortFunc(found, inTime)
		if err := k.contested(found); err != nil {
			return nil, false, err
		}
		var next []*step
		for _, s := range found {
			l := k.parentOf(s)
			if l == nil || !in[l.parent] || in[s] {
				continue
			}
			if total++; total > most {
				return children, true, nil
			}
			in[s] = true
			children[l.parent] = append(children[l.parent], s)
			if keep == nil || keep(s) {
				next = append(next, s)
			}
		}
		list = next
	}
	return children, false, nil
}

func inTime(a, b *step) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Bundle, b.Bundle), cmp.Compare(a.No, b.No))
}

// harmless says that a broken call did no harm, for its siblings show that all went on.
func harmless(s *step, siblings []*step) bool {
	if s.Protocol == "redis" && (strings.EqualFold(s.Method, "client") || strings.EqualFold(s.Method, "hello")) {
		return true // what a client library says about itself when it connects
	}
	for _, o := range siblings {
		if o == s || o.broken() || o.Start < s.Start || o.Protocol != s.Protocol {
			continue
		}
		switch {
		case s.Protocol == "dns":
			// A resolver that goes through its list of domains asks for name.domain before name.
			if o.Host == s.Host || o.Host != "" && strings.HasPrefix(strings.ToLower(s.Host), strings.ToLower(o.Host)+".") {
				return true
			}
		case o.dst != nil && s.dst != nil && o.dst.Who == s.dst.Who && o.Method == s.Method && o.Path == s.Path && o.Summary != "" && s.Protocol != "tls":
			return true // tried again, and it went well
		}
	}
	return false
}

// blame finds where the trouble of a call began: the deepest broken or slow call below it.
type blame struct {
	at         *step
	path       []*step // from the call to where it began
	kind       string  // failed, no_answer, slow, sealed or own
	confidence float64
}

func blameOf(s *step, children map[*step][]*step) blame {
	b := blame{at: s, path: []*step{s}, kind: "own", confidence: 1}
	for range maxLevels {
		next, kind := worst(b.at, children[b.at], b.kind == "slow")
		if next == nil {
			break
		}
		b.at, b.kind = next, kind
		b.path = append(b.path, next)
		if next.link != nil {
			b.confidence = min(b.confidence, next.link.confidence)
		}
		if kind == "slow" || kind == "sealed" {
			b.confidence = min(b.confidence, 0.7)
		}
	}
	if len(b.path) == 1 && b.at.Error != "" && !b.at.sure {
		b.kind = "no_answer"
	}
	return b
}

// worst is the child that most likely made its parent fail: the broken one that ended
// last; without one, one that took nearly all of the time.
func worst(parent *step, children []*step, slowly bool) (*step, string) {
	var bad *step
	for _, c := range children {
		if !c.broken() || harmless(c, children) {
			continue
		}
		if bad == nil || c.end > bad.end || c.end == bad.end && inTime(c, bad) > 0 {
			bad = c
		}
	}
	if bad != nil {
		if bad.Error != "" && !bad.sure {
			return bad, "no_answer"
		}
		return bad, "failed"
	}
	if !parent.broken() && parent.Took != nil && !slowly {
		return nil, ""
	}
	var slow *step
	for _, c := range children {
		if c.Protocol == "dns" && !c.broken() {
			continue
		}
		if over := min(c.end, parent.end) - c.Start; over*10 >= (parent.end-parent.Start)*8 && parent.end-parent.Start >= 50_000_000 && (slow == nil || c.end-c.Start > slow.end-slow.Start) {
			slow = c
		}
	}
	switch {
	case slow == nil:
		return nil, ""
	case slow.sealed:
		return slow, "sealed"
	}
	return slow, "slow"
}

// selfTime is how long a call took without the calls that it waited for, in nanoseconds.
func selfTime(s *step, children []*step) int64 { return selfUntil(s, children, s.end) }

// selfUntil is selfTime of what was before a moment, such as the end of the outermost call.
func selfUntil(s *step, children []*step, end int64) int64 {
	end = min(end, s.end)
	self := end - s.Start
	at := s.Start
	for _, c := range children { // in order of time
		from, to := max(c.Start, at), min(c.end, end)
		if to > from {
			self -= to - from
			at = to
		}
	}
	return max(0, self)
}
