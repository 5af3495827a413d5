package trace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// writeChains writes the chains below roots, with at most steps calls in total.
func (t *Answer) writeChains(k *chain.Builder, steps int, roots []*chain.Step, children map[*chain.Step][]*chain.Step) error {
	t.Total = len(roots)
	budget := steps
	var shown [][]*chain.Step
	var keys []ask.Key
	var origins []chain.Root
	for _, r := range roots {
		list := flatten(r, children)
		if o, ok := chain.OriginIn(r, list, children); ok {
			origins = append(origins, o)
		}
		list = withoutSearches(list, children)
		if budget <= 0 {
			t.Truncated = true
			continue
		}
		if len(list) > budget && len(shown) > 0 {
			t.Truncated = true
			budget = 0
			continue
		}
		budget -= len(list)
		shown = append(shown, list)
		for _, s := range list[:min(len(list), steps)] {
			keys = append(keys, s.Key())
		}
	}
	for _, o := range origins {
		keys = append(keys, o.At.Key())
	}
	text, err := ask.Answers(k.Ctx, k.C, failing(k, keys))
	if err != nil {
		return err
	}
	room := ask.DefaultBytes * max(1, steps/ask.DefaultRows) * 6 / 10
	for _, list := range shown {
		one, cut := t.chain(list, children, steps, text), false
		one.Steps, cut = ask.FitBytes(one.Steps, room)
		written, err := json.Marshal(one)
		if err != nil {
			return err
		}
		if room -= len(written); room < 0 && len(t.Chains) > 0 {
			t.Truncated = true
			break
		}
		t.Truncated = t.Truncated || cut
		t.Chains = append(t.Chains, one)
	}
	if n := len(t.Chains); n < t.Total {
		t.Note("%d of %d {chain is|chains are} shown; a higher limit, or a narrower time or filter, shows the others", n, t.Total)
	}
	t.Origins = chain.SumOrigins(origins, text)
	t.fitBytes(t.hops(roots, children), steps)
	return nil
}

// frameBytes is the approximate size of an answer without its lists.
const frameBytes = 1 << 10

// fitBytes cuts the lists of origins and hops to the space that the chains leave, and adds a note.
func (t *Answer) fitBytes(hops, steps int) {
	size := func(v any) int {
		text, err := json.Marshal(v)
		if err != nil {
			return 0 // marshalling the answer reports the error
		}
		return len(text)
	}
	left := max(frameBytes, ask.DefaultBytes*max(1, steps/ask.DefaultRows)-size(t.Chains)-frameBytes)
	origins := len(t.Origins)
	t.Origins, _ = ask.FitBytes(t.Origins[:min(origins, chain.MaxOrigins)], max(left/2, left-size(t.Hops)))
	t.Hops, _ = ask.FitBytes(t.Hops, left-size(t.Origins))
	if n := origins - len(t.Origins); n > 0 {
		t.Truncated = true
		t.Note("%d {more origin is|more origins are} not listed; each explains at most as many chains as the last one listed", n)
	}
	if n := hops - len(t.Hops); n > 0 {
		t.Truncated = true
		t.Note("%d {more hop is|more hops are} not listed; each took at most as long as the last one listed", n)
	}
}

func failing(k *chain.Builder, keys []ask.Key) []ask.Key {
	var out []ask.Key
	for _, key := range keys {
		if s := k.Steps[key]; s != nil && s.Broken() && s.No >= 0 {
			out = append(out, key)
		}
	}
	return out
}

// flatten lists a chain; each call is followed by its children.
func flatten(root *chain.Step, children map[*chain.Step][]*chain.Step) []*chain.Step {
	var out []*chain.Step
	stack := []*chain.Step{root}
	for len(stack) > 0 && len(out) < chain.MaxNodes {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		out = append(out, s)
		for _, c := range slices.Backward(children[s]) {
			stack = append(stack, c)
		}
	}
	return out
}

// withoutSearches omits the failed look-ups of a resolver's search list if another one found the
// name: they are harmless and numerous.
func withoutSearches(list []*chain.Step, children map[*chain.Step][]*chain.Step) []*chain.Step {
	return slices.DeleteFunc(list, func(s *chain.Step) bool {
		if s.Hit || s.Protocol != "dns" || !s.Broken() || s.Link == nil || s == list[0] || !chain.Harmless(s, children[s.Link.Parent]) {
			return false
		}
		s.Link.Parent.Searches++
		return true
	})
}

// chain converts one chain for the answer.
func (t *Answer) chain(list []*chain.Step, children map[*chain.Step][]*chain.Step, most int, text map[ask.Key]string) Chain {
	root := list[0]
	out := Chain{Time: when.Stamp(root.Start), ElapsedMs: chain.Millis(root.End - root.Start), Calls: len(list), Steps: []Step{}}
	number := map[*chain.Step]int{}
	for i, s := range list {
		number[s] = i + 1
		if i >= most {
			t.Truncated = true
			continue
		}
		row := Step{Call: s.Call(), Step: i + 1, Failed: s.Failed, AtMs: chain.Millis(s.Start - root.Start), SelfMs: chain.Millis(chain.SelfTime(s, children[s])), Asked: s.Hit, Said: text[s.Key()]}
		if i > 0 && s.Link != nil {
			row.Parent, row.Confidence, row.Sure, row.How = number[s.Link.Parent], s.Link.Confidence, chain.Sure(s.Link.Confidence), s.Link.How
			row.QueueMs = chain.Millis(s.Link.Queue)
		}
		row.Note = noteOf(s)
		if i > 0 && s.Link != nil {
			switch prior, retry := chain.Repeated(s, children[s.Link.Parent]); {
			case retry:
				row.note("the same call as step %d, which had failed: a retry", number[prior])
			case prior != nil:
				row.note("the same call as step %d, begun %s after it", number[prior], chain.LengthOf(s.Start-prior.Start))
			}
		}
		if i == 0 && s.Link != nil {
			row.note("%d {call was|calls were} open at %s when it made this call, so the parent is uncertain", s.Link.Others+1, s.Src.Who)
			row.Rivals = []string{s.Link.Parent.ID}
		}
		out.Steps = append(out.Steps, row)
	}
	if o, ok := chain.OriginIn(root, list, children); ok {
		origin := o.Origin(text)
		out.Origin = &origin
	}
	out.What = out.words(root, list, children)
	return out
}

// note adds a note.
func (s *Step) note(format string, args ...any) {
	s.Note = strings.TrimPrefix(s.Note+"; "+plural.Sprintf(format, args...), "; ")
}

func noteOf(s *chain.Step) string {
	switch {
	case s.Polled():
		return "it waited for messages; its elapsed time is not work"
	case s.Searches > 0:
		return plural.Sprintf("%d more DNS {look-up|look-ups} with search domains failed harmlessly", s.Searches)
	case s.Sealed:
		return "an encrypted connection without keys, for its whole duration; its requests cannot be read"
	case s.Unanswered():
		return "no complete response; elapsed and self time are how long its caller waited"
	}
	return ""
}

// words summarizes a chain in one sentence.
func (c *Chain) words(root *chain.Step, list []*chain.Step, children map[*chain.Step][]*chain.Step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s called %s: %s, %s", root.Src.Who, root.Dst.Who, chain.EndpointOf(root), cmp.Or(root.Status, "done"))
	if root.End > root.Start { // else it is a message, or its request was not captured
		fmt.Fprintf(&b, " after %s", chain.LengthOf(root.End-root.Start))
	}
	if c.Origin != nil {
		fmt.Fprintf(&b, "; the failure began at %s → %s %s (%s)", c.Origin.Src, c.Origin.Dst, c.Origin.Endpoint, cmp.Or(c.Origin.Status, c.Origin.What))
	}
	spent := map[string]int64{}
	most := ""
	for _, s := range list {
		where := "in " + s.Dst.Who + " for " + chain.EndpointOf(s)
		if s.Unanswered() { // whether it arrived is unknown
			where = "waiting for " + s.Dst.Who + " to answer " + chain.EndpointOf(s)
		}
		if s.Async() {
			continue
		}
		if spent[where] += chain.SelfUntil(s, children[s], root.End); most == "" || spent[where] > spent[most] {
			most = where
		}
	}
	if whole := root.End - root.Start; whole > 0 {
		fmt.Fprintf(&b, "; %.0f %% of the time was spent %s", min(100, float64(spent[most])*100/float64(whole)), most)
	}
	return ask.Clip(b.String(), 600)
}

// hops sums the time of each hop and returns the number of hops.
func (t *Answer) hops(roots []*chain.Step, children map[*chain.Step][]*chain.Step) int {
	type sum struct {
		hop   Hop
		self  int64
		took  []float64
		queue []float64
		steps []*chain.Step
	}
	sums := map[string]*sum{}
	var order []*sum
	whole := int64(0)
	for _, r := range roots {
		whole += r.End - r.Start
		for _, s := range flatten(r, children) {
			h := Hop{Src: s.Src.Who, Dst: s.Dst.Who, Protocol: s.Protocol, Endpoint: chain.EndpointOf(s), Async: s.Async()}
			if _, err := netip.ParseAddr(h.Src); err == nil && s.Src.Kind == "outside" {
				h.Src = terms.AnyOutside // all clients without a name
			}
			key := strings.Join([]string{h.Src, h.Dst, h.Protocol, h.Endpoint, fmt.Sprint(h.Async)}, "\x00")
			one := sums[key]
			if one == nil {
				one = &sum{hop: h}
				sums[key] = one
				order = append(order, one)
			}
			end := r.End
			if h.Async {
				end = s.End
			}
			one.self += chain.SelfUntil(s, children[s], end)
			if s.Link != nil && s.Link.Through && s != r {
				one.queue = append(one.queue, chain.Millis(s.Link.Queue))
			}
			one.took = append(one.took, chain.Millis(s.End-s.Start))
			one.steps = append(one.steps, s)
		}
	}
	slices.SortStableFunc(order, func(a, b *sum) int { // the outermost calls did not wait for what is async
		if a.hop.Async != b.hop.Async {
			if a.hop.Async {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.self, a.self)
	})
	for _, one := range order[:min(len(order), maxHops)] {
		h := one.hop
		h.Calls, h.SelfMs, h.P50Ms = len(one.steps), chain.Millis(one.self), ask.Median(one.took)
		if len(one.queue) > 0 {
			h.QueueMs = ask.Median(one.queue)
		}
		if whole > 0 && !h.Async {
			h.Share = math.Round(float64(one.self)*1000/float64(whole)) / 1000
		}
		slices.SortStableFunc(one.steps, func(a, b *chain.Step) int {
			return cmp.Compare(chain.SelfTime(b, children[b]), chain.SelfTime(a, children[a]))
		})
		for _, s := range one.steps[:min(3, len(one.steps))] {
			h.CallIDs = append(h.CallIDs, s.ID)
		}
		t.Hops = append(t.Hops, h)
	}
	return len(order)
}
