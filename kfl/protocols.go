package kfl

import "slices"

// Protocols lists the protocols that a matching call can have, sorted; nil if it can have any. of lists the protocols whose
// calls have a column, nil if all calls have it.
//
// A condition on a value that is absent is false, so a condition on a column of one protocol matches calls of that protocol
// only. What is negated is not looked into.
func (q *Query) Protocols(of func(column string) []string) []string {
	if len(q.inner) > 0 {
		return nil // other rows of calls decide, too
	}
	list := protocolsOf(q.root, of)
	slices.Sort(list)
	return slices.Compact(list)
}

// protocolsOf lists the protocols of calls for which a condition can be true, or a value present.
func protocolsOf(n *node, of func(column string) []string) []string {
	switch n.op {
	case opAnd:
		var all []string
		for _, x := range n.args {
			all = common(all, protocolsOf(x, of))
		}
		return all
	case opOr:
		some := []string{}
		for _, x := range n.args {
			list := protocolsOf(x, of)
			if list == nil {
				return nil
			}
			some = append(some, list...)
		}
		return some
	case opCol:
		return of(n.str)
	case opCompare:
		a, b := n.args[0], n.args[1]
		if isProtocol(a) && n.str == "==" && b.op == opConst {
			return []string{b.str}
		}
		return common(protocolsOf(a, of), protocolsOf(b, of))
	case opIn:
		if list := n.args[1]; isProtocol(n.args[0]) && list.op == opList && !slices.ContainsFunc(list.args, func(x *node) bool { return x.op != opConst }) {
			some := []string{}
			for _, x := range list.args {
				some = append(some, x.str)
			}
			return some
		}
		return protocolsOf(n.args[0], of)
	case opText, opMatch, opExists, opTruth, opConvert, opHex:
		return protocolsOf(n.args[0], of)
	}
	return nil
}

func isProtocol(n *node) bool { return n.op == opCol && n.str == "protocol" }

// common are the protocols in both lists; a nil list has all.
func common(a, b []string) []string {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	both := []string{}
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
		}
	}
	return both
}
