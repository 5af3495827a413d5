package kfl

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// evaluator evaluates what does not depend on a call's columns: constants, and conditions on a body's XML.
type evaluator struct {
	xml  value // the body
	vars map[int64]value
}

// cond evaluates a condition.
func (m *evaluator) cond(n *node) bool {
	switch n.op {
	case opConst:
		return n.num != 0
	case opTruth:
		v := m.value(n.args[0])
		return v.there && v.num != 0
	case opAnd:
		for _, a := range n.args {
			if !m.cond(a) {
				return false
			}
		}
		return true
	case opOr:
		return slices.ContainsFunc(n.args, m.cond)
	case opNot:
		return !m.cond(n.args[0])
	case opCompare:
		return m.compare(n)
	case opIn:
		return m.in(n)
	case opText:
		a, b := m.value(n.args[0]), m.value(n.args[1])
		return a.there && b.there && textTest(n.str, a.str, b.str)
	case opMatch:
		a := m.value(n.args[0])
		return a.there && n.re.MatchString(a.str)
	case opExists:
		return m.value(n.args[0]).there
	case opAny, opAll, opOne:
		return m.quantify(n)
	}
	return false
}

func textTest(how, s, part string) bool {
	switch how {
	case "contains":
		return strings.Contains(s, part)
	case "startsWith":
		return strings.HasPrefix(s, part)
	}
	return strings.HasSuffix(s, part)
}

func (m *evaluator) compare(n *node) bool {
	a := m.value(n.args[0])
	if !a.there {
		return false
	}
	b := m.value(n.args[1])
	if !b.there {
		return false
	}
	sign := 0
	switch n.args[0].typ.kind {
	case kFloat:
		switch {
		case a.flt < b.flt:
			sign = -1
		case a.flt > b.flt:
			sign = 1
		}
	case kText, kBytes:
		sign = strings.Compare(a.str, b.str)
	default:
		switch {
		case a.num < b.num:
			sign = -1
		case a.num > b.num:
			sign = 1
		}
	}
	switch n.str {
	case "==":
		return sign == 0
	case "!=":
		return sign != 0
	case "<":
		return sign < 0
	case "<=":
		return sign <= 0
	case ">":
		return sign > 0
	}
	return sign >= 0
}

func (m *evaluator) in(n *node) bool {
	x := m.value(n.args[0])
	if !x.there {
		return false
	}
	list := m.value(n.args[1])
	for _, e := range list.list {
		if e.num == x.num && e.flt == x.flt && e.str == x.str {
			return true
		}
	}
	return false
}

func (m *evaluator) quantify(n *node) bool {
	list := m.value(n.args[0])
	if !list.there {
		return false
	}
	hits, size := 0, len(list.list)
	for _, e := range list.list {
		if m.with(n.num, e); m.cond(n.args[1]) {
			hits++
		}
	}
	switch n.op {
	case opAny:
		return hits > 0
	case opAll:
		return hits == size
	}
	return hits == 1
}

func (m *evaluator) with(id int64, v value) {
	if m.vars == nil {
		m.vars = map[int64]value{}
	}
	m.vars[id] = v
}

// value evaluates an expression. A body that is XML has no JSON, so parts of that are absent.
func (m *evaluator) value(n *node) value {
	if total(n) && n.op != opConst {
		return boolValue(m.cond(n))
	}
	switch n.op {
	case opConst:
		return value{kind: n.typ.kind, there: true, num: n.num, flt: n.flt, str: n.str}
	case opAbsent, opDoc, opPath, opSpread, opDeep:
		return value{}
	case opVar:
		return m.vars[n.num]
	case opCond:
		if m.cond(n.args[0]) {
			return m.value(n.args[1])
		}
		return m.value(n.args[2])
	case opList:
		return m.list(n)
	case opFilter, opMap:
		return m.comprehend(n)
	case opXML:
		return m.xml
	case opXMLStep, opXMLDeep:
		return m.xmlPart(n)
	case opSize:
		return m.size(n.args[0])
	case opCall:
		return m.stringCall(n)
	}
	a := m.value(n.args[0])
	if !a.there {
		return value{}
	}
	switch n.op {
	case opNeg:
		if n.typ.kind == kFloat {
			return floatValue(-a.flt)
		}
		a.num = -a.num
		a.there = a.num != math.MinInt64
		return a
	case opConvert:
		return convert(a, n)
	}
	b := m.value(n.args[1])
	if !b.there {
		return value{}
	}
	switch n.op {
	case opJoin:
		return textValue(a.str + b.str)
	case opElem:
		if b.num >= 0 && b.num < int64(len(a.list)) {
			return a.list[b.num]
		}
		return value{}
	}
	return arith(n, a, b)
}

func isFinite(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }

func arith(n *node, a, b value) value {
	v := value{kind: n.typ.kind, there: true}
	if n.typ.kind == kFloat {
		switch n.str {
		case "+":
			v.flt = a.flt + b.flt
		case "-":
			v.flt = a.flt - b.flt
		case "*":
			v.flt = a.flt * b.flt
		case "/":
			v.flt = a.flt / b.flt
		}
		v.there = isFinite(v.flt)
		return v
	}
	x, y := a.num, b.num
	switch n.str {
	case "+":
		v.num = x + y
		v.there = (x^v.num)&(y^v.num) >= 0
	case "-":
		v.num = x - y
		v.there = (x^y)&(x^v.num) >= 0
	case "*":
		v.num = x * y
		hi, lo := bits.Mul64(abs(x), abs(y))
		most := uint64(math.MaxInt64)
		if (x < 0) != (y < 0) {
			most++
		}
		v.there = hi == 0 && lo <= most
	case "/":
		if v.there = y != 0 && !(x == math.MinInt64 && y == -1); v.there {
			v.num = x / y
		}
	case "%":
		switch {
		case y == 0:
			v.there = false
		case y != -1:
			v.num = x % y
		}
	}
	return v
}

func abs(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

func (m *evaluator) list(n *node) value {
	out := value{kind: kList, there: true, list: []value{}}
	for _, a := range n.args {
		if v := m.value(a); v.there {
			out.list = append(out.list, v)
		}
	}
	return out
}

func (m *evaluator) comprehend(n *node) value {
	list := m.value(n.args[0])
	if !list.there {
		return value{}
	}
	out := value{kind: kList, there: true, list: []value{}}
	for _, e := range list.list {
		m.with(n.num, e)
		if n.op == opFilter {
			if m.cond(n.args[1]) {
				out.list = append(out.list, e)
			}
		} else if v := m.value(n.args[1]); v.there {
			out.list = append(out.list, v)
		}
	}
	return out
}

func (m *evaluator) size(n *node) value {
	v := m.value(n)
	switch {
	case !v.there:
		return value{}
	case v.kind == kList:
		return intValue(int64(len(v.list)))
	}
	return intValue(int64(utf8.RuneCountInString(v.str)))
}

// convert implements opConvert: text that is not a number becomes absent.
func convert(a value, n *node) value {
	to := n.typ.kind
	if a.kind == kXML {
		return xmlAs(a.xml.Text(), n)
	}
	switch {
	case a.kind == kInt && to == kFloat:
		return floatValue(float64(a.num))
	case a.kind == kFloat && to == kInt:
		t := math.Trunc(a.flt)
		if t < -(1<<63) || t >= 1<<63 {
			return value{}
		}
		return intValue(int64(t))
	case a.kind == kText && to == kInt:
		if !digits().MatchString(a.str) {
			return value{}
		}
		v, err := strconv.ParseInt(a.str, 10, 64)
		return value{kind: kInt, there: err == nil, num: v}
	case a.kind == kText && to == kFloat:
		if !decimal().MatchString(a.str) {
			return value{}
		}
		v, _ := strconv.ParseFloat(a.str, 64)
		return value{kind: kFloat, there: isFinite(v), flt: v}
	case a.kind == kBool && to == kText:
		return textValue(strconv.FormatBool(a.num != 0))
	case to == kText:
		return textValue(strconv.FormatInt(a.num, 10))
	}
	a.kind = to
	return a
}
