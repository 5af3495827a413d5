package kfl

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

func (w *writer) constant(n *node) frag {
	switch n.typ.kind {
	case kText:
		return w.text(n.str)
	case kFloat:
		return frag{sql: "CAST(" + strconv.FormatFloat(n.flt, 'e', -1, 64) + " AS DOUBLE)"}
	case kBytes:
		raw := hex.EncodeToString([]byte(n.str))
		if w.d.literal != nil {
			return w.f(w.d.unhex, w.text(raw))
		}
		return frag{sql: "unhex(?)", args: []any{raw}}
	}
	if n.num == -1<<63 {
		return frag{sql: "CAST(-9223372036854775808 AS BIGINT)"}
	}
	return frag{sql: strconv.FormatInt(n.num, 10)}
}

// arith prevents overflow errors in DuckDB: integers are computed in 128 bits and converted back
// if they fit, and floats must be finite. Division by zero is NULL.
func (w *writer) arith(n *node) frag {
	a, b := w.value(n.args[0]), w.value(n.args[1])
	if n.typ.kind == kFloat {
		form := "@ " + n.str + " @"
		if n.str == "/" {
			form = w.d.over
		}
		return w.finite(w.f(form, a, b))
	}
	switch n.str {
	case "/":
		return w.fits(w.fn(w.d.quotient, w.variable(w.d.quotient), a, b))
	case "%":
		return w.fits(w.fn(w.d.remainder, w.variable(w.d.remainder), a, b))
	}
	return w.fits(w.f("@ "+n.str+" @", w.f(w.d.wide, a), w.f(w.d.wide, b)))
}

// fits converts a HUGEINT to a BIGINT, or NULL if it does not fit. TRY_CAST does not work here:
// DuckDB 1.5.5 compares the number with a constant before the cast, so that a number that does
// not fit is not NULL.
func (w *writer) fits(x frag) frag {
	return w.fn(w.d.fits, w.fresh(), x)
}

// tried separates a TRY_CAST from the enclosing comparison, for the same reason.
func (w *writer) tried(x frag) frag {
	return w.fn(w.d.tried, w.fresh(), x)
}

// finite returns x if it is finite, without writing x twice.
func (w *writer) finite(x frag) frag {
	return w.fn(w.d.finite, w.fresh(), x)
}

func (w *writer) size(x *node) frag {
	switch x.typ.kind {
	case kMap:
		return w.f(w.d.length, w.keys(x))
	case kList:
		return w.f(w.d.length, w.value(x))
	case kBytes:
		return w.f(w.d.blobLength, w.value(x))
	}
	return w.f("length(@)", w.value(x))
}

func (w *writer) convert(n *node) frag {
	x, to := n.args[0], n.typ.kind
	if x.typ.kind == kJSON {
		return w.jsonAs(x, to)
	}
	v := w.value(x)
	switch from := x.typ.kind; {
	case from == kFloat && to == kInt:
		return w.tried(w.fn(w.d.truncated, w.variable(w.d.truncated), v))
	case from == kText && to == kInt:
		return w.tried(w.number(v, digitsPattern, typ{kind: kInt}))
	case from == kText && to == kFloat:
		return w.finite(w.number(v, decimalPattern, typ{kind: kFloat}))
	case to == kFloat:
		return w.f("CAST(@ AS DOUBLE)", v)
	case to == kText:
		return w.f("CAST(@ AS "+w.d.types[kText]+")", v)
	}
	return v
}

// variable returns a new name if the form has a lambda.
func (w *writer) variable(form string) string {
	if strings.Contains(form, "$") {
		return w.fresh()
	}
	return ""
}

// pattern returns a regular expression in the dialect's syntax.
func (w *writer) pattern(pattern string) frag {
	if w.d.pattern != nil {
		if text, ok := w.d.pattern(pattern); ok {
			pattern = text
		}
	}
	return w.text(pattern)
}

// number reads a text that has the pattern as a number.
func (w *writer) number(x frag, pattern string, to typ) frag {
	p := frag{sql: "'" + pattern + "'"}
	if w.d.pattern != nil {
		p = w.pattern(pattern)
	}
	return w.f(w.d.tryCast, w.f("nullif("+w.d.extract+", '')", x, p), frag{sql: to.in(w.d)})
}

// call writes a string function. Spark splits by a pattern.
func (w *writer) call(n *node) frag {
	form, differs := w.d.calls[n.str]
	if !differs {
		form = stringCalls[n.str].sql
	}
	args := w.each(n.args, w.value)
	if n.str == "split" && w.d.Name == spark.Name {
		args[1] = w.pattern(regexp.QuoteMeta(n.args[1].str))
	}
	return w.f(form, args...)
}
