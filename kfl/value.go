package kfl

import "github.com/pcapsule/pcapsule/kfl/internal/xmltree"

// Pair is a name and a value, such as a label.
type Pair struct{ Name, Value string }

// Header is a header as sent; Kind is request, response, request_trailer or
// response_trailer.
type Header struct{ Name, Value, Kind string }

// Value is the value of a column in one row. The zero Value is absent.
type Value struct {
	kind  kind
	there bool
	num   int64
	flt   float64
	str   string
	list  []Value
	texts []string
	pairs []Pair
	heads []Header
	xml   *xmltree.Node
}

// Bool returns a BOOLEAN.
func Bool(v bool) Value {
	x := Value{kind: kBool, there: true}
	if v {
		x.num = 1
	}
	return x
}

// Int returns an INTEGER or BIGINT; times are nanoseconds since 1970 UTC.
func Int(v int64) Value { return Value{kind: kInt, there: true, num: v} }

// Float returns a DOUBLE.
func Float(v float64) Value { return Value{kind: kFloat, there: true, flt: v} }

// Text returns a VARCHAR.
func Text(v string) Value { return Value{kind: kText, there: true, str: v} }

// Bytes returns a BLOB; nil is absent.
func Bytes(v []byte) Value { return Value{kind: kBytes, there: v != nil, str: string(v)} }

// Texts returns a VARCHAR[]; nil is absent.
func Texts(v []string) Value { return Value{kind: kList, there: v != nil, texts: v} }

// Pairs returns a list of STRUCT(name, value); nil is absent.
func Pairs(v []Pair) Value { return Value{kind: kMap, there: v != nil, pairs: v} }

// Headers returns a list of STRUCT(name, value, kind); nil is absent.
func Headers(v []Header) Value { return Value{kind: kMap, there: v != nil, heads: v} }

// Side is one of the two messages of a call.
type Side uint8

// The sides of a call.
const (
	Request Side = iota
	Response
)

// BodyPart is a row of table bodies: a part of a body, as text or as bytes.
type BodyPart struct {
	Part   int32
	Offset int64 // of the part in the body
	Size   int64 // of the whole body
	Text   string
	IsText bool
	Bytes  []byte
}

// Row is a call for the matcher.
type Row interface {
	// Column returns the value of a column of the view calls. A value of another type than the
	// column's counts as absent. A name with a dot is a column of another table's row that
	// belongs to the call: flow.rtt_avg_us of its flow, connection.encryption of its connection,
	// and hello.tls_version (a column of calls) and tls.cert_subject of the first handshake on
	// its connection that has the value.
	Column(name string) Value
	// Body returns the rows of table bodies with the hash of the side's body, or nil if there
	// are none.
	Body(side Side) []BodyPart
}

// elements returns a list's elements, in either representation.
func (v Value) elements() []Value {
	if v.list != nil || v.texts == nil {
		return v.list
	}
	out := make([]Value, len(v.texts))
	for i, t := range v.texts {
		out[i] = Text(t)
	}
	return out
}

func (v Value) size() int {
	if v.texts != nil {
		return len(v.texts)
	}
	return len(v.list)
}

// Ints returns a BIGINT[] of int64.
func Ints(list []any) Value {
	v := Value{kind: kList, there: true, list: []Value{}}
	for _, x := range list {
		n, _ := x.(int64)
		v.list = append(v.list, Int(n))
	}
	return v
}
