package kfl

import "github.com/pcapsule/pcapsule/kfl/internal/xmltree"

// value is the value of an expression that does not depend on a call's columns. The zero value is absent.
type value struct {
	kind  kind
	there bool
	num   int64
	flt   float64
	str   string
	list  []value
	xml   *xmltree.Node
}

func boolValue(v bool) value {
	x := value{kind: kBool, there: true}
	if v {
		x.num = 1
	}
	return x
}

func intValue(v int64) value     { return value{kind: kInt, there: true, num: v} }
func floatValue(v float64) value { return value{kind: kFloat, there: true, flt: v} }
func textValue(v string) value   { return value{kind: kText, there: true, str: v} }
