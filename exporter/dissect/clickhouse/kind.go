package clickhouse

import (
	"strconv"
	"strings"
)

// shape says how the values of a type are written.
type shape uint8

const (
	fixed      shape = iota // size bytes each
	text                    // a length and bytes each
	nullable                // one byte each, then inner
	array                   // the end of each, then inner
	tuple                   // all of each element
	lowCard                 // a dictionary and places in it
	unreadable              // not known here
)

// kind is a type of a column.
type kind struct {
	shape shape
	size  int
	name  string // without its parameters
	scale int
	names map[int64]string // of an enumeration
	inner []*kind
	dicts int // dictionaries inside, each with a version before the values
}

// Limits of the name of a type.
const (
	maxDepth = 16
	maxKinds = 1024 // types remembered on a connection
	maxEnum  = 1024 // values of an enumeration
)

var unknownKind = &kind{shape: unreadable}

// sizes are the bytes of a value, of types that always have the same.
var sizes = map[string]int{
	"UInt8": 1, "Int8": 1, "Bool": 1, "Nothing": 1, "Enum8": 1,
	"UInt16": 2, "Int16": 2, "Date": 2, "Enum16": 2, "BFloat16": 2,
	"UInt32": 4, "Int32": 4, "Float32": 4, "DateTime": 4, "Date32": 4, "IPv4": 4, "Decimal32": 4, "Time": 4,
	"UInt64": 8, "Int64": 8, "Float64": 8, "DateTime64": 8, "Decimal64": 8, "Time64": 8,
	"UInt128": 16, "Int128": 16, "UUID": 16, "IPv6": 16, "Decimal128": 16,
	"UInt256": 32, "Int256": 32, "Decimal256": 32,
}

// aliases are names of composed types.
var aliases = map[string]string{
	"Point": "Tuple(Float64, Float64)", "Ring": "Array(Tuple(Float64, Float64))", "LineString": "Array(Tuple(Float64, Float64))",
	"MultiLineString": "Array(Array(Tuple(Float64, Float64)))", "Polygon": "Array(Array(Tuple(Float64, Float64)))",
	"MultiPolygon": "Array(Array(Array(Tuple(Float64, Float64))))",
}

// parseKind parses the name of a type.
func parseKind(s string, depth int) *kind {
	s = strings.TrimSpace(s)
	name, args := s, []string(nil)
	if open := strings.IndexByte(s, '('); open >= 0 && strings.HasSuffix(s, ")") {
		name, args = s[:open], arguments(s[open+1:len(s)-1])
	}
	k := &kind{name: name}
	if depth > maxDepth {
		return unknownKind
	}
	if alias := aliases[name]; alias != "" {
		return parseKind(alias, depth+1)
	}
	if n := sizes[name]; n > 0 {
		k.size = n
		k.parameters(args)
		return k
	}
	list := args
	switch {
	case strings.HasPrefix(name, "Interval"):
		k.size = 8
		return k
	case name == "String":
		k.shape = text
		return k
	case name == "FixedString" && len(args) == 1:
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 || n > maxFrame {
			return unknownKind
		}
		k.size = n
		return k
	case name == "Decimal" && len(args) > 0:
		return decimal(args)
	case name == "SimpleAggregateFunction" && len(args) == 2:
		return parseKind(args[1], depth+1)
	case name == "Nullable" && len(args) == 1:
		k.shape = nullable
	case name == "Array" && len(args) == 1:
		k.shape = array
	case name == "LowCardinality" && len(args) == 1:
		k.shape = lowCard
	case name == "Tuple" && len(args) > 0:
		k.shape = tuple
	case name == "Map" && len(args) == 2, name == "Nested" && len(args) > 0:
		k.shape, list = array, []string{"Tuple(" + strings.Join(args, ", ") + ")"}
	default:
		return unknownKind
	}
	for _, arg := range list {
		if k.shape == tuple {
			arg = withoutName(arg)
		}
		inner := parseKind(arg, depth+1)
		if inner.shape == unreadable {
			return unknownKind
		}
		k.inner = append(k.inner, inner)
		k.dicts += inner.dicts
	}
	if k.shape == lowCard {
		if k.inner[0].shape == nullable { // the first key stands for null
			k.inner[0], k.scale = k.inner[0].inner[0], 1
		}
		k.dicts++
	}
	return k
}

// parameters reads the brackets of a type of fixed size.
func (k *kind) parameters(args []string) {
	switch k.name {
	case "Enum8", "Enum16":
		k.names = map[int64]string{}
		for _, arg := range args[:min(len(args), maxEnum)] {
			name, number, ok := cutLast(arg, "=")
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
			if ok && err == nil {
				k.names[n] = unquote(strings.TrimSpace(name))
			}
		}
	case "DateTime64", "Time64", "Decimal32", "Decimal64", "Decimal128", "Decimal256":
		if len(args) > 0 {
			if n, err := strconv.Atoi(args[0]); err == nil && n >= 0 && n <= 76 {
				k.scale = n
			}
		}
	}
}

// decimal is Decimal(precision, scale).
func decimal(args []string) *kind {
	p, err := strconv.Atoi(args[0])
	if err != nil || p < 1 || p > 76 {
		return unknownKind
	}
	k := &kind{name: "Decimal", size: 32}
	for _, at := range []struct{ digits, size int }{{38, 16}, {18, 8}, {9, 4}} {
		if p <= at.digits {
			k.size = at.size
		}
	}
	if len(args) > 1 {
		if n, err := strconv.Atoi(strings.TrimSpace(args[1])); err == nil && n >= 0 && n <= p {
			k.scale = n
		}
	}
	return k
}

// arguments splits a list at its commas, but not inside brackets and quotes.
func arguments(s string) (list []string) {
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '\'', '`':
			i = quoted(s, i)
		case ',':
			if depth == 0 {
				list = append(list, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if last := strings.TrimSpace(s[min(from, len(s)):]); last != "" || list != nil {
		list = append(list, last)
	}
	return list
}

// quoted returns the place of the quote that ends the one at s[i].
func quoted(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case s[i]:
			return j
		}
	}
	return len(s)
}

// withoutName removes the name of an element of a tuple, such as of "id UInt32".
func withoutName(s string) string {
	if s != "" && s[0] == '`' {
		return strings.TrimSpace(s[min(quoted(s, 0)+1, len(s)):])
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			return s
		case ' ':
			return strings.TrimSpace(s[i:])
		}
	}
	return s
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' {
		return s
	}
	return strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(s[1 : len(s)-1])
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
