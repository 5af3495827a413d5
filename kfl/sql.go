package kfl

import (
	"encoding/hex"
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
)

const (
	maxSQL   = 512 << 10 // bytes of SQL made from one query
	maxSteps = 200_000   // expressions written, counting repetitions
)

// frag is a piece of SQL with the arguments for its ? in order.
type frag struct {
	sql  string
	args []any
}

// writer writes SQL. The SQL of a value is NULL exactly if the value is absent; that of a condition
// is never NULL. User text is only ever in arguments.
type writer struct {
	d       *Dialect
	src     string
	lacking *Error // what the dialect cannot say
	names   int
	steps   int
	tooLong bool
	lets    *lets // of the enclosing lambda, nil outside
	inline  *inline
	bodies  Bodies
	fault   error // of Bodies
}

// lets are lookups in table bodies that a lambda needs. DuckDB allows no subqueries inside a
// lambda, so they are evaluated before it and bound to one value.
type lets struct {
	name  string
	frags []frag
}

// over writes a lambda over list. Inside body, the list and every lookup may be bound.
func (w *writer) over(list frag, body func(list frag) frag) frag {
	if w.lets != nil {
		return body(list)
	}
	l := &lets{name: w.fresh()}
	w.lets = l
	out := body(list)
	if len(l.frags) > 0 {
		l.frags = nil
		out = body(frag{sql: l.name + ".list"})
		form, parts := "'list': @", []frag{list}
		for i, f := range l.frags {
			form += ", '" + l.field(i) + "': @"
			parts = append(parts, f)
		}
		out = w.f("list_transform([{"+form+"}], lambda "+l.name+": @)[1]", append(parts, out)...)
	}
	w.lets = nil
	return out
}

func (l *lets) field(i int) string { return "look" + strconv.Itoa(i) }

// lookUp writes a lookup in table bodies, which is bound inside a lambda.
func (w *writer) lookUp(write func() frag) frag {
	around := w.lets
	w.lets = nil
	f := write()
	w.lets = around
	if around == nil {
		return f
	}
	around.frags = append(around.frags, f)
	return frag{sql: around.name + "." + around.field(len(around.frags)-1)}
}

// f replaces each @ in form by the next piece.
func (w *writer) f(form string, parts ...frag) frag {
	size := len(form)
	for _, p := range parts {
		size += len(p.sql)
	}
	if size > maxSQL || w.tooLong {
		w.tooLong = true
		return frag{sql: "NULL"}
	}
	var b strings.Builder
	var out frag
	for _, p := range parts {
		head, rest, ok := strings.Cut(form, "@")
		if !ok {
			panic("kfl: more pieces than places in " + form)
		}
		b.WriteString(head)
		b.WriteString(p.sql)
		out.args = append(out.args, p.args...)
		form = rest
	}
	b.WriteString(form)
	out.sql = b.String()
	return out
}

func (w *writer) quote(column string) frag {
	return frag{sql: w.d.quote + strings.ReplaceAll(column, w.d.quote, w.d.quote+w.d.quote) + w.d.quote}
}

// text returns user text, as an argument if the dialect has no literals.
func (w *writer) text(s string) frag {
	if w.d.literal != nil {
		return frag{sql: w.d.literal(s)}
	}
	return frag{sql: "CAST(? AS VARCHAR)", args: []any{s}}
}

func (w *writer) join(parts []frag, sep string) frag {
	if len(parts) == 0 {
		return frag{}
	}
	return w.f("@"+strings.Repeat(sep+"@", len(parts)-1), parts...)
}

// fresh returns a new name for a lambda's variable.
func (w *writer) fresh() string {
	w.names++
	return "kfl_x" + strconv.Itoa(w.names)
}

func (w *writer) each(nodes []*node, f func(*node) frag) []frag {
	out := make([]frag, len(nodes))
	for i, n := range nodes {
		out[i] = f(n)
	}
	return out
}

// stop counts a step, and ends writing if the SQL is too long.
func (w *writer) stop() bool {
	if w.steps++; w.steps > maxSteps {
		w.tooLong = true
	}
	return w.tooLong
}

// cond writes a condition, TRUE or FALSE.
func (w *writer) cond(n *node) frag {
	if w.stop() {
		return frag{sql: "NULL"}
	}
	if what := beyond(n); what != "" && w.d.Name != duckDB.Name {
		return w.lacks(n, what)
	}
	if w.inline == nil && w.d.Name == duckDB.Name {
		if side, ok := documentOf(n); ok {
			if usesXML(n) {
				return w.inXML(n, side)
			}
			return w.inDocument(n, side)
		}
	}
	switch n.op {
	case opConst:
		if n.num != 0 {
			return frag{sql: "TRUE"}
		}
		return frag{sql: "FALSE"}
	case opTruth:
		if x := n.args[0]; x.op == opCol {
			return w.f("(@ IS NOT NULL AND @)", w.quote(x.str), w.quote(x.str))
		}
		return w.f("coalesce(@, FALSE)", w.value(n.args[0]))
	case opAnd:
		return w.f("(@)", w.join(w.each(n.args, w.cond), " AND "))
	case opOr:
		return w.f("(@)", w.join(w.each(n.args, w.cond), " OR "))
	case opNot:
		return w.f("(NOT @)", w.cond(n.args[0]))
	case opCompare:
		return w.compare(n)
	case opIn:
		return w.in(n)
	case opHasKey:
		return w.hasKey(n.args[1], n.args[0])
	case opText:
		return w.textTest(n)
	case opMatch:
		return w.f("coalesce(@, FALSE)", w.matches(w.value(n.args[0]), n))
	case opExists:
		x := w.value(n.args[0])
		if n.args[0].typ.kind == kJSON {
			return w.f("coalesce(@, FALSE)", w.json(n.args[0], "json_type(@) <> 'NULL'"))
		}
		return w.f("(@ IS NOT NULL)", x)
	case opRange:
		return w.inRange(n)
	case opAny, opAll, opOne:
		return w.quantify(n)
	case opFinding:
		return w.finding(n)
	case opHeader:
		v := w.fresh()
		is := frag{sql: v + "." + w.quote("kind").sql + " = '" + n.str + "'"}
		return w.f("coalesce(@ > 0, FALSE)", w.f(w.d.length, w.fn(w.d.filter, v, w.quote("headers"), is)))
	}
	return w.body(n)
}

var sqlOps = map[string]string{"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

// compare writes comparisons of columns with constants in a form that DuckDB can push down into
// the scan of a Parquet file, which coalesce would prevent.
func (w *writer) compare(n *node) frag {
	a, b := n.args[0], n.args[1]
	if a.typ.kind == kBytes && b.typ.kind == kText {
		return w.compareBytes(n, a, b)
	}
	if a.op == opHex && b.op == opConst {
		if raw, err := hex.DecodeString(b.str); err == nil {
			return w.guarded(n.str, a.args[0], w.value(a.args[0]), w.f(w.d.unhex, w.text(hex.EncodeToString(raw))))
		}
	}
	if b.op == opConst {
		return w.guarded(n.str, a, w.value(a), w.value(b))
	}
	if a.op == opCol && b.op == opCol {
		x, y := w.value(a), w.value(b)
		return w.f("(@ IS NOT NULL AND @ IS NOT NULL AND @ "+sqlOps[n.str]+" @)", x, y, x, y)
	}
	return w.f("coalesce(@ "+sqlOps[n.str]+" @, FALSE)", w.value(a), w.value(b))
}

func (w *writer) guarded(op string, n *node, x, constant frag) frag {
	if n.op == opCol {
		return w.f("(@ IS NOT NULL AND @ "+sqlOps[op]+" @)", x, x, constant)
	}
	return w.f("coalesce(@ "+sqlOps[op]+" @, FALSE)", x, constant)
}

func (w *writer) compareBytes(n, a, b *node) frag {
	if b.op == opConst {
		return w.guarded(n.str, a, w.value(a), w.f(w.d.unhex, w.text(hex.EncodeToString([]byte(b.str)))))
	}
	return w.f("coalesce(@ "+sqlOps[n.str]+" @, FALSE)", w.value(a), w.f(w.d.bytesOf, w.value(b)))
}

func (w *writer) in(n *node) frag {
	x, list := n.args[0], n.args[1]
	if list.op != opList {
		return w.f("coalesce("+w.d.has+", FALSE)", w.value(list), w.value(x))
	}
	if len(list.args) == 0 {
		return frag{sql: "FALSE"}
	}
	all := w.join(w.each(list.args, w.value), ", ")
	if x.op == opCol && isConstant(list) {
		v := w.value(x)
		return w.f("(@ IS NOT NULL AND @ IN (@))", v, v, all)
	}
	return w.f("coalesce(@ IN (@), FALSE)", w.value(x), all)
}

func (w *writer) textTest(n *node) frag {
	f := map[string]string{"contains": w.d.contains, "startsWith": w.d.startsWith, "endsWith": w.d.endsWith}[n.str]
	a, b := w.value(n.args[0]), w.value(n.args[1])
	if n.args[0].typ.kind == kBytes {
		return w.f("coalesce(@, FALSE)", w.bytesTest(n.str, a, b))
	}
	return w.f("coalesce("+f+", FALSE)", a, b)
}

// bytesTest searches a BLOB for the bytes of a text.
func (w *writer) bytesTest(how string, blob, part frag) frag {
	switch how {
	case "startsWith":
		return w.f(w.d.bytesStart, blob, part)
	case "endsWith":
		return w.f(w.d.bytesEnd, blob, part)
	}
	if strings.Count(w.d.bytesContain, "@") == 2 {
		return w.f(w.d.bytesContain, blob, part)
	}
	return w.f(w.d.bytesContain, blob, part, blob, part)
}

// matches searches for a pattern. The group around the pattern is needed because DuckDB 1.5.5
// rewrites a sequence of literals and anchors to LIKE, and mishandles anchors that cannot match,
// as in "$1".
func (w *writer) matches(s frag, n *node) frag {
	if re, err := syntax.Parse(n.re.String(), syntax.Perl); err == nil && re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase == 0 {
		return w.f(w.d.contains, s, w.text(string(re.Rune)))
	}
	return w.f(w.d.matches, s, w.pattern("("+n.re.String()+")"))
}

func (w *writer) quantify(n *node) frag {
	test := map[op]string{opAny: " > 0", opAll: " = 0", opOne: " = 1"}[n.op]
	return w.f("coalesce(@, FALSE)", w.over(w.value(n.args[0]), func(list frag) frag {
		is := w.cond(n.args[1])
		if n.op == opAll {
			is = w.f("NOT @", is)
		}
		return w.f("@"+test, w.f(w.d.length, w.fn(w.d.filter, variableSQL(n.num), list, is)))
	}))
}

// variableSQL returns the name of a variable of a macro such as exists.
func variableSQL(id int64) string { return "kfl_v" + strconv.FormatInt(id, 10) }

// value writes a value, NULL if absent.
func (w *writer) value(n *node) frag {
	if total(n) {
		return w.cond(n)
	}
	if w.stop() {
		return frag{sql: "NULL"}
	}
	if what := beyond(n); what != "" && w.d.Name != duckDB.Name {
		return w.lacks(n, what)
	}
	switch n.op {
	case opConst:
		return w.constant(n)
	case opAbsent:
		return frag{sql: "CAST(NULL AS " + n.typ.in(w.d) + ")"}
	case opCol:
		return w.quote(n.str)
	case opHex:
		return w.f(w.d.hex, w.value(n.args[0]))
	case opVar:
		return frag{sql: variableSQL(n.num)}
	case opArith:
		return w.arith(n)
	case opNeg:
		if n.typ.kind == kFloat {
			return w.f("(-@)", w.value(n.args[0]))
		}
		return w.fits(w.f("-@", w.f(w.d.wide, w.value(n.args[0]))))
	case opJoin:
		return w.f("(@ || @)", w.value(n.args[0]), w.value(n.args[1]))
	case opCond:
		return w.f("(CASE WHEN @ THEN @ ELSE @ END)", w.cond(n.args[0]), w.value(n.args[1]), w.value(n.args[2]))
	case opSize:
		return w.size(n.args[0])
	case opCall:
		return w.call(n)
	case opList:
		v := w.fresh()
		if len(n.args) == 0 {
			return frag{sql: "CAST(" + put(w.d.list, "") + " AS " + n.typ.in(w.d) + ")"}
		}
		return w.fn(w.d.filter, v, w.f(w.d.list, w.join(w.each(n.args, w.value), ", ")), frag{sql: v + " IS NOT NULL"})
	case opFilter:
		return w.over(w.value(n.args[0]), func(list frag) frag {
			return w.fn(w.d.filter, variableSQL(n.num), list, w.cond(n.args[1]))
		})
	case opMap:
		v := w.fresh()
		return w.over(w.value(n.args[0]), func(list frag) frag {
			return w.fn(w.d.filter, v, w.fn(w.d.transform, variableSQL(n.num), list, w.value(n.args[1])), frag{sql: v + " IS NOT NULL"})
		})
	case opElem:
		return w.f(w.d.element, w.value(n.args[0]), w.value(n.args[1]))
	case opConvert:
		return w.convert(n)
	case opLookup:
		return w.lookup(n)
	case opKeys:
		return w.keys(n.args[0])
	case opDoc, opPath:
		return w.json(n, "@")
	case opWhole:
		return w.wholeText(n)
	case opDeep:
		return w.deep(n)
	case opParse:
		return w.f("TRY_CAST(@ AS JSON)", w.value(n.args[0]))
	case opSpread:
		return w.spread(n)
	case opJoined:
		return w.joined(n)
	}
	panic(fmt.Sprintf("kfl: operation %d is not a value", n.op))
}
