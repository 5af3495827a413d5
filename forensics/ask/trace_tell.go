package ask

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// tell writes the chains below roots, steps in all.
func (t *Trace) tell(k *chains, steps int, roots []*step, children map[*step][]*step) error {
	t.Total = len(roots)
	budget := steps
	var shown [][]*step
	var keys []rowKey
	var origins []originOf
	for _, r := range roots {
		list := flatten(r, children)
		if o, ok := originIn(r, list, children); ok {
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
			keys = append(keys, s.key())
		}
	}
	for _, o := range origins {
		keys = append(keys, o.at.key())
	}
	text, err := answers(k.ctx, k.c, failing(k, keys))
	if err != nil {
		return err
	}
	room := defaultBytes * max(1, steps/defaultRows) * 6 / 10
	for _, list := range shown {
		one, cut := t.chain(list, children, steps, text), false
		one.Steps, cut = within(one.Steps, room)
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
	t.Origins = sumOrigins(origins, text)
	t.bound(t.hops(roots, children), steps)
	return nil
}

// frameBytes is what an answer says beside its lists, about.
const frameBytes = 1 << 10

// bound cuts the lists of origins and hops to what the chains leave them, and says so.
func (t *Trace) bound(hops, steps int) {
	size := func(v any) int {
		text, err := json.Marshal(v)
		if err != nil {
			return 0 // it marshals; if not, the answer says why
		}
		return len(text)
	}
	left := max(frameBytes, defaultBytes*max(1, steps/defaultRows)-size(t.Chains)-frameBytes)
	origins := len(t.Origins)
	t.Origins, _ = within(t.Origins[:min(origins, maxOrigins)], max(left/2, left-size(t.Hops)))
	t.Hops, _ = within(t.Hops, left-size(t.Origins))
	if n := origins - len(t.Origins); n > 0 {
		t.Truncated = true
		t.note("trouble began at %d more places, each in as many chains as the last told or fewer", n)
	}
	if n := hops - len(t.Hops); n > 0 {
		t.Truncated = true
		t.note("%d more hops took no longer than those told", n)
	}
}

func failing(k *chains, keys []rowKey) []rowKey {
	var out []rowKey
	for _, key := range keys {
		if s := k.steps[key]; s != nil && s.broken() && s.No >= 0 {
			out = append(out, key)
		}
	}
	return out
}

// flatten lists a chain, each call followed by those it made.
func flatten(root *step, children map[*step][]*step) []*step {
	var out []*step
	stack := []*step{root}
	for len(stack) > 0 && len(out) < maxNodes {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		out = append(out, s)
		for _, c := range slices.Backward(children[s]) {
			stack = append(stack, c)
		}
	}
	return out
}

// withoutSearches leaves out the look-ups of a resolver that goes through its list of
// domains, where one of them found the name: they did no harm and are many.
func withoutSearches(list []*step, children map[*step][]*step) []*step {
	return slices.DeleteFunc(list, func(s *step) bool {
		if s.hit || s.Protocol != "dns" || !s.broken() || s.link == nil || s == list[0] || !harmless(s, children[s.link.parent]) {
			return false
		}
		s.link.parent.searches++
		return true
	})
}

// chain writes one chain.
func (t *Trace) chain(list []*step, children map[*step][]*step, most int, text map[rowKey]string) TraceChain {
	root := list[0]
	out := TraceChain{Time: stamp(root.Start), ElapsedMs: millis(root.end - root.Start), Calls: len(list), Steps: []TraceStep{}}
	number := map[*step]int{}
	for i, s := range list {
		number[s] = i + 1
		if i >= most {
			t.Truncated = true
			continue
		}
		row := TraceStep{Call: s.call(), Step: i + 1, AtMs: millis(s.Start - root.Start), SelfMs: millis(selfTime(s, children[s])), Asked: s.hit, Said: text[s.key()]}
		if i > 0 && s.link != nil {
			row.Parent, row.Confidence, row.Sure, row.How = number[s.link.parent], s.link.confidence, sure(s.link.confidence), s.link.how
		}
		row.Note = noteOf(s)
		if i == 0 && s.link != nil {
			row.Note = strings.TrimPrefix(row.Note+fmt.Sprintf("; %d calls were open at %s when it made this one, so which of them did is not known", s.link.others+1, s.src.Who), "; ")
			row.Rivals = []string{s.link.parent.ID}
		}
		out.Steps = append(out.Steps, row)
	}
	if o, ok := originIn(root, list, children); ok {
		origin := o.tell(text)
		out.Origin = &origin
	}
	out.What = out.words(root, list, children)
	return out
}

func noteOf(s *step) string {
	switch {
	case s.searches > 0:
		return fmt.Sprintf("%d more DNS look-ups, with search domains, found no name and did no harm", s.searches)
	case s.sealed:
		return "an encrypted connection that no key opened, as long as it lasted; its requests are not readable"
	case s.Took == nil && s.Error != "":
		return "no whole answer; elapsed and self time are up to the end of the connection"
	}
	return ""
}

// words is a chain in one sentence.
func (c *TraceChain) words(root *step, list []*step, children map[*step][]*step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s asked %s for %s: %s after %s", root.src.Who, root.dst.Who, endpointOf(root), orElse(root.Status, "done"), lengthOf(root.end-root.Start))
	if c.Origin != nil {
		fmt.Fprintf(&b, "; the trouble began at %s → %s %s (%s)", c.Origin.Src, c.Origin.Dst, c.Origin.Endpoint, orElse(c.Origin.Status, c.Origin.What))
	}
	spent := map[string]int64{}
	most := ""
	for _, s := range list {
		where := s.dst.Who + " for " + endpointOf(s)
		if spent[where] += selfUntil(s, children[s], root.end); most == "" || spent[where] > spent[most] {
			most = where
		}
	}
	if whole := root.end - root.Start; whole > 0 {
		fmt.Fprintf(&b, "; %.0f %% of the time was spent in %s", min(100, float64(spent[most])*100/float64(whole)), most)
	}
	return clip(b.String(), 600)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// millis writes nanoseconds as milliseconds with three digits.
func millis(ns int64) float64 { return math.Round(float64(ns)/1e3) / 1e3 }

// endpointOf is what a call asked for, without what differs from call to call.
func endpointOf(s *step) string {
	switch {
	case s.Path != "":
		return strings.TrimSpace(s.Method + " " + clip(table.Template(s.Path), 120))
	case s.Protocol == "dns" || s.Protocol == "tls" || s.Protocol == "quic":
		return strings.TrimSpace(s.Protocol + " " + s.Host)
	case s.Method != "":
		return s.Method
	}
	return s.Protocol
}

// originOf is where one chain's trouble began.
type originOf struct {
	blame
	root *step
}

// originIn finds where the trouble of a chain began: of its outermost call where that
// failed, else of what was asked for, else of the first call that failed and did harm.
func originIn(root *step, list []*step, children map[*step][]*step) (originOf, bool) {
	from := root
	if !root.broken() {
		from = nil
		for _, s := range list {
			if !s.broken() || s.link != nil && harmless(s, children[s.link.parent]) {
				continue
			}
			if from == nil || s.hit && !from.hit {
				from = s
			}
		}
	}
	if from == nil {
		return originOf{}, false
	}
	return originOf{blameOf(from, children), root}, true
}

func (o originOf) tell(text map[rowKey]string) Origin {
	s := o.at
	var way []string
	for i, p := range o.path {
		if i == 0 {
			way = append(way, p.src.Who)
		}
		if p.dst.Who != way[len(way)-1] {
			way = append(way, p.dst.Who)
		}
	}
	return Origin{Src: s.src.Who, Dst: s.dst.Who, Protocol: s.Protocol, Endpoint: endpointOf(s), Status: s.Status, What: o.kind, ElapsedMs: millis(s.end - s.Start),
		Said: text[s.key()], Way: strings.Join(way, " → "), Confidence: o.confidence, Sure: sure(o.confidence), Packets: s.Packets, CallIDs: s.ids()}
}

// sumOrigins counts equal origins.
func sumOrigins(list []originOf, text map[rowKey]string) []Origin {
	out := []Origin{}
	for _, o := range list {
		one := o.tell(text)
		i := slices.IndexFunc(out, one.same)
		if i < 0 {
			i = len(out)
			out = append(out, one)
		} else {
			if len(out[i].CallIDs) < 3 && o.at.ID != "" && !slices.Contains(out[i].CallIDs, o.at.ID) {
				out[i].CallIDs = append(out[i].CallIDs, o.at.ID)
			}
			out[i].Confidence = min(out[i].Confidence, one.Confidence)
			out[i].Sure = sure(out[i].Confidence)
			if one.What == "failed" {
				out[i].What = one.What
			}
			out[i].ElapsedMs = max(out[i].ElapsedMs, one.ElapsedMs)
		}
		out[i].Chains++
	}
	slices.SortStableFunc(out, func(a, b Origin) int { return cmp.Compare(b.Chains, a.Chains) })
	return out
}

// same says that two origins are one kind of trouble at one place.
func (o Origin) same(p Origin) bool {
	return o.Src == p.Src && o.Dst == p.Dst && o.Protocol == p.Protocol && o.Endpoint == p.Endpoint && o.Status == p.Status &&
		(o.What == p.What || o.deepest() && p.deepest())
}

// deepest says that the trouble is the call's own, whether or not another failed because
// of it.
func (o Origin) deepest() bool { return o.What == "own" || o.What == "failed" }

// hops sums where time went, and says at how many hops.
func (t *Trace) hops(roots []*step, children map[*step][]*step) int {
	type sum struct {
		hop   TraceHop
		self  int64
		took  []float64
		steps []*step
	}
	sums := map[string]*sum{}
	var order []*sum
	whole := int64(0)
	for _, r := range roots {
		whole += r.end - r.Start
		for _, s := range flatten(r, children) {
			h := TraceHop{Src: s.src.Who, Dst: s.dst.Who, Protocol: s.Protocol, Endpoint: endpointOf(s)}
			if _, err := netip.ParseAddr(h.Src); err == nil && s.src.Kind == "outside" {
				h.Src = "outside" // all clients without a name
			}
			key := strings.Join([]string{h.Src, h.Dst, h.Protocol, h.Endpoint}, "\x00")
			one := sums[key]
			if one == nil {
				one = &sum{hop: h}
				sums[key] = one
				order = append(order, one)
			}
			one.self += selfUntil(s, children[s], r.end)
			one.took = append(one.took, millis(s.end-s.Start))
			one.steps = append(one.steps, s)
		}
	}
	slices.SortStableFunc(order, func(a, b *sum) int { return cmp.Compare(b.self, a.self) })
	for _, one := range order[:min(len(order), maxHops)] {
		h := one.hop
		h.Calls, h.SelfMs, h.P50Ms = len(one.steps), millis(one.self), middle(one.took)
		if whole > 0 {
			h.Share = math.Round(float64(one.self)*1000/float64(whole)) / 1000
		}
		slices.SortStableFunc(one.steps, func(a, b *step) int {
			return cmp.Compare(selfTime(b, children[b]), selfTime(a, children[a]))
		})
		for _, s := range one.steps[:min(3, len(one.steps))] {
			h.CallIDs = append(h.CallIDs, s.ID)
		}
		t.Hops = append(t.Hops, h)
	}
	return len(order)
}

// ids are the call_ids of a step: none of a connection without calls.
func (s *step) ids() []string {
	if s.ID == "" {
		return []string{}
	}
	return []string{s.ID}
}
