package chain

import "slices"

// Wait is what a call spent most of its time with.
type Wait struct {
	For        []*Step // equal calls below it, one after another or at once; none if it took the time itself
	Under      []*Step // all calls below it
	Confidence float64
}

// most is the share of a call's time, in tenths, that calls below it must take to be what it waited for.
const most = 6

// WaitOf finds the deepest calls that a call spent most of its time with: at each level, the calls to one endpoint of one server.
func WaitOf(s *Step, children map[*Step][]*Step) Wait {
	w := Wait{Confidence: 1}
	w.under(s, children, MaxLevels)
	at := s
	for range MaxLevels {
		for _, c := range children[at] {
			if c.Link != nil && !c.Link.Through {
				w.Confidence = min(w.Confidence, c.Link.Confidence)
			}
		}
		list := longest(s, children[at])
		if list == nil {
			break
		}
		if w.For = list; len(list) > 1 {
			break
		}
		at = list[0]
	}
	return w
}

func (w *Wait) under(s *Step, children map[*Step][]*Step, levels int) {
	for _, c := range children[s] {
		if w.Under = append(w.Under, c); levels > 1 {
			w.under(c, children, levels-1)
		}
	}
}

// longest returns the calls to one endpoint, of those below, that together cover the longest time of a call, if that is most of it.
func longest(s *Step, below []*Step) (list []*Step) {
	type place struct{ who, protocol, endpoint string }
	groups := map[place][]*Step{}
	var order []place
	for _, c := range below {
		if c.Link != nil && c.Link.Through {
			continue
		}
		p := place{c.Dst.Who, c.Protocol, EndpointOf(c)}
		if groups[p] == nil {
			order = append(order, p)
		}
		groups[p] = append(groups[p], c)
	}
	top := int64(0)
	for _, p := range order {
		if n := covered(s, groups[p]); n > top && n*10 >= (s.End-s.Start)*most {
			top, list = n, groups[p]
		}
	}
	return list
}

// covered is how much of a call's time has one of some calls, in nanoseconds.
func covered(s *Step, list []*Step) (sum int64) {
	list = slices.SortedFunc(slices.Values(list), InTime)
	at := s.Start
	for _, c := range list {
		from, to := max(c.Start, at), min(c.End, s.End)
		if to > from {
			sum, at = sum+to-from, to
		}
	}
	return sum
}
