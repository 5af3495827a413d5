package kfl

// Pairs returns a list of STRUCT(name, value); nil is absent.
func Pairs(v []Pair) Value { return Value{kind: kMap, there: v != nil, pairs: v} }

// Headers returns a list of STRUCT(name, value, kind); nil is absent.
func Headers(v []Header) Value { return Value{kind: kMap, there: v != nil, heads: v} }
