package kfl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/kfl/internal/jsontext"
)

// matcher evaluates one query against one row.
type matcher struct {
	row  Row
	vars map[int64]Value
	xml  [2]*Value // the two bodies, once read
}

// cond evaluates a condition.
func (m *matcher) cond(n *node) bool {
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
	case opHasKey:
		_, found, ok := m.lookup(n.args[1], n.args[0])
		return ok && found
	case opText:
		a, b := m.value(n.args[0]), m.value(n.args[1])
		return a.there && b.there && textTest(n.str, a.str, b.str)
	case opMatch:
		a := m.value(n.args[0])
		return a.there && n.re.MatchString(a.str)
	case opExists:
		return present(m.value(n.args[0]))
	case opRange:
		return m.inRange(n)
	case opAny, opAll, opOne:
		return m.quantify(n)
	case opFinding:
		_, found := slices.BinarySearch(n.ids, m.number())
		return found
	case opHeader:
		for _, h := range m.row.Column("headers").heads {
			if h.Kind == n.str {
				return true
			}
		}
		return false
	}
	return m.body(n)
}

// present reports whether v is present; JSON null is not.
func present(v Value) bool {
	return v.there && (v.kind != kJSON || jsontext.Kind(v.str) != jsontext.Null)
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

func (m *matcher) compare(n *node) bool {
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

func (m *matcher) in(n *node) bool {
	x := m.value(n.args[0])
	if !x.there {
		return false
	}
	list := m.value(n.args[1])
	if list.texts != nil {
		return slices.Contains(list.texts, x.str)
	}
	for _, e := range list.list {
		if e.num == x.num && e.flt == x.flt && e.str == x.str {
			return true
		}
	}
	return false
}

func (m *matcher) inRange(n *node) bool {
	v := m.value(n.args[0])
	ip, err := netip.ParseAddr(v.str)
	return v.there && err == nil && slices.ContainsFunc(n.nets, func(p netip.Prefix) bool {
		return p.Contains(ip.WithZone("")) || p.Contains(ip.Unmap()) || mapped(p, ip)
	})
}

// mapped tests ranges of IPv4-mapped IPv6 addresses, which netip distinguishes from IPv4.
func mapped(p netip.Prefix, ip netip.Addr) bool {
	if !ip.Is4In6() || !p.Addr().Is6() {
		return false
	}
	a, b := ip.As16(), p.Addr().As16()
	for i := range p.Bits() {
		if (a[i/8]^b[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

func (m *matcher) quantify(n *node) bool {
	list := m.value(n.args[0])
	if !list.there {
		return false
	}
	hits, size := 0, list.size()
	for _, e := range list.elements() {
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

func (m *matcher) with(id int64, v Value) {
	if m.vars == nil {
		m.vars = map[int64]Value{}
	}
	m.vars[id] = v
}

// value evaluates an expression for this row.
func (m *matcher) value(n *node) Value {
	if total(n) && n.op != opConst {
		return Bool(m.cond(n))
	}
	switch n.op {
	case opConst:
		return Value{kind: n.typ.kind, there: true, num: n.num, flt: n.flt, str: n.str}
	case opAbsent:
		return Value{}
	case opCol, opJoined:
		return m.column(n)
	case opSpread:
		return m.spread(n)
	case opDeep:
		doc := m.document(n.str)
		return Value{kind: kList, there: doc.there, list: jsonValues(jsontext.Deep(doc.str, n.path[0]))}
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
	case opLookup:
		return m.lookupValue(n)
	case opKeys:
		keys, ok := m.keys(n.args[0])
		return Value{kind: kList, there: ok, texts: keys}
	case opDoc:
		return m.document(n.str)
	case opXML:
		return m.xmlDocument(bodySide(n.str))
	case opXMLStep, opXMLDeep:
		return m.xmlPart(n)
	case opWhole:
		t, ok := wholeText(m.row.Body(bodySide(n.str)))
		return Value{kind: kText, there: ok, str: t}
	case opSize:
		return m.size(n.args[0])
	case opCall:
		return m.stringCall(n)
	}
	a := m.value(n.args[0])
	if !a.there {
		return Value{}
	}
	switch n.op {
	case opParse:
		return Value{kind: kJSON, there: jsontext.Valid(a.str), str: a.str}
	case opHex:
		return Text(hex.EncodeToString([]byte(a.str)))
	case opNeg:
		if n.typ.kind == kFloat {
			return Float(-a.flt)
		}
		a.num = -a.num
		a.there = a.num != math.MinInt64
		return a
	case opConvert:
		return convert(a, n)
	case opPath:
		at, ok := jsontext.At(a.str, n.path)
		return Value{kind: kJSON, there: ok, str: at}
	}
	b := m.value(n.args[1])
	if !b.there {
		return Value{}
	}
	switch n.op {
	case opJoin:
		return Text(a.str + b.str)
	case opElem:
		if list := a.elements(); b.num >= 0 && b.num < int64(len(list)) {
			return list[b.num]
		}
		return Value{}
	}
	return arith(n, a, b)
}

// column reads a column; if its type differs from the compiled one, it is absent.
func (m *matcher) column(n *node) Value {
	v := m.row.Column(n.str)
	switch {
	case v.kind == n.typ.kind:
	case n.typ.kind == kTime && v.kind == kInt:
		v.kind = kTime
	default:
		return Value{}
	}
	if v.kind == kFloat && !isFinite(v.flt) {
		return Value{}
	}
	return v
}

func isFinite(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }

func arith(n *node, a, b Value) Value {
	v := Value{kind: n.typ.kind, there: true}
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

func (m *matcher) list(n *node) Value {
	out := Value{kind: kList, there: true, list: []Value{}}
	for _, a := range n.args {
		if v := m.value(a); v.there {
			out.list = append(out.list, v)
		}
	}
	return out
}

func (m *matcher) comprehend(n *node) Value {
	list := m.value(n.args[0])
	if !list.there {
		return Value{}
	}
	out := Value{kind: kList, there: true, list: []Value{}}
	for _, e := range list.elements() {
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

func (m *matcher) size(n *node) Value {
	if n.typ.kind == kMap {
		keys, ok := m.keys(n)
		if !ok {
			return Value{}
		}
		return Int(int64(len(keys)))
	}
	v := m.value(n)
	switch {
	case !v.there:
		return Value{}
	case v.kind == kList:
		return Int(int64(v.size()))
	case v.kind == kBytes:
		return Int(int64(len(v.str)))
	}
	return Int(int64(utf8.RuneCountInString(v.str)))
}

// convert implements opConvert: text that is not a number becomes absent.
func convert(a Value, n *node) Value {
	to := n.typ.kind
	if a.kind == kJSON {
		return jsonAs(a.str, to)
	}
	if a.kind == kXML {
		return xmlAs(a.xml.Text(), n)
	}
	switch {
	case a.kind == kInt && to == kFloat:
		return Float(float64(a.num))
	case a.kind == kFloat && to == kInt:
		t := math.Trunc(a.flt)
		if t < -(1<<63) || t >= 1<<63 {
			return Value{}
		}
		return Int(int64(t))
	case a.kind == kText && to == kInt:
		if !digits().MatchString(a.str) {
			return Value{}
		}
		v, err := strconv.ParseInt(a.str, 10, 64)
		return Value{kind: kInt, there: err == nil, num: v}
	case a.kind == kText && to == kFloat:
		if !decimal().MatchString(a.str) {
			return Value{}
		}
		v, _ := strconv.ParseFloat(a.str, 64)
		return Value{kind: kFloat, there: isFinite(v), flt: v}
	case a.kind == kBool && to == kText:
		return Text(strconv.FormatBool(a.num != 0))
	case to == kText:
		return Text(strconv.FormatInt(a.num, 10))
	}
	a.kind = to
	return a
}

func bodySide(side string) Side {
	if side == "response" {
		return Response
	}
	return Request
}

// body evaluates a condition on a body.
func (m *matcher) body(n *node) bool {
	hash := m.row.Column(n.str + "_body_sha256")
	if !hash.there || hash.kind != kBytes {
		return false
	}
	var needle Value
	if len(n.args) > 0 {
		if needle = m.value(n.args[0]); !needle.there {
			return false
		}
	}
	if n.op == opBodyIs {
		sum := sha256.Sum256([]byte(needle.str))
		return hash.str == string(sum[:])
	}
	return slices.ContainsFunc(m.row.Body(bodySide(n.str)), func(p BodyPart) bool {
		if n.op == opBodyRe {
			return p.IsText && n.re.MatchString(p.Text)
		}
		switch n.path[0] {
		case "startsWith":
			return p.Part == 0 && (p.IsText && strings.HasPrefix(p.Text, needle.str) || !p.IsText && bytes.HasPrefix(p.Bytes, []byte(needle.str)))
		case "endsWith":
			return p.IsText && p.Offset+int64(len(p.Text)) == p.Size && strings.HasSuffix(p.Text, needle.str) ||
				!p.IsText && p.Offset+int64(len(p.Bytes)) == p.Size && bytes.HasSuffix(p.Bytes, []byte(needle.str))
		}
		return p.IsText && strings.Contains(p.Text, needle.str) || !p.IsText && bytes.Contains(p.Bytes, []byte(needle.str))
	})
}

// wholeText returns a body's text if it is in one part.
func wholeText(parts []BodyPart) (string, bool) {
	for _, p := range parts {
		if p.Part == 0 && p.IsText && int64(len(p.Text)) == p.Size {
			return p.Text, true
		}
	}
	return "", false
}

func (m *matcher) document(side string) Value {
	if h := m.row.Column(side + "_body_sha256"); !h.there {
		return Value{}
	}
	text, ok := wholeText(m.row.Body(bodySide(side)))
	if !ok || !jsontext.Valid(text) {
		return Value{}
	}
	return Value{kind: kJSON, there: true, str: text}
}
