package kfl

// fold evaluates what does not depend on a row, so that SQL compares columns with constants and
// terms that cannot be true disappear.
func fold(n *node) *node {
	switch n.op {
	case opConst, opAbsent, opCol, opVar, opDoc, opBody, opWhole, opHeader, opBodyHas, opBodyIs, opBodyRe, opEntries, opDeep, opXML, opFindings, opFinding, opJoined, opParse:
		return n
	case opAnd, opOr:
		return foldLogic(n)
	case opLookup, opHasKey, opKeys:
		if m := n.args[0]; m.op == opEntries && m.str == "none" || n.op == opHasKey && n.args[1].str == "none" {
			return nothing(n)
		}
		return n
	case opSize:
		if n.args[0].op == opEntries && n.args[0].str == "none" {
			return nothing(n)
		}
	case opList:
		return n
	}
	if n.op != opCond && n.op != opNot {
		for _, a := range n.args {
			if a.op == opAbsent && n.op != opMap && n.op != opFilter {
				return nothing(n)
			}
		}
	}
	if n.op == opCond && n.args[0].op == opConst {
		out := *n.args[2]
		if n.args[0].num != 0 {
			out = *n.args[1]
		}
		if !total(&out) {
			out.typ.unit = n.typ.unit
		}
		return &out
	}
	for _, a := range n.args {
		if !isConstant(a) {
			return n
		}
	}
	m := &matcher{}
	if total(n) {
		return &node{op: opConst, typ: typ{kind: kBool}, num: boolNode(m.cond(n)).num, pos: n.pos, end: n.end}
	}
	v := m.value(n)
	switch {
	case !v.there:
		return nothing(n)
	case v.kind == kList || v.kind == kMap || v.kind == kJSON:
		return n
	}
	return &node{op: opConst, typ: n.typ, num: v.num, flt: v.flt, str: v.str, pos: n.pos, end: n.end}
}

// nothing returns the value of n if its operands are absent.
func nothing(n *node) *node {
	if n.op >= opTruth {
		return boolNode(false)
	}
	return absent(n.typ)
}

func isConstant(n *node) bool {
	if n.op == opList {
		for _, a := range n.args {
			if !isConstant(a) {
				return false
			}
		}
		return true
	}
	return n.op == opConst
}

func foldLogic(n *node) *node {
	decides := n.op == opOr // the value that determines the result
	out := *n
	out.args = nil
	for _, a := range n.args {
		switch {
		case a.op == opConst:
			if (a.num != 0) == decides {
				return boolNode(decides)
			}
		case a.op == n.op:
			out.args = append(out.args, a.args...)
		default:
			out.args = append(out.args, a)
		}
	}
	switch len(out.args) {
	case 0:
		return boolNode(!decides)
	case 1:
		return out.args[0]
	}
	return &out
}
