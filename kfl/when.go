package kfl

import (
	"time"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// ago is a time relative to now, as in the older language.
func (c *checker) ago(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	if x.op != opConst || x.typ.kind != kInt {
		return nil, c.fail(n.Args[0], "write "+functions[n.Text], "expected a number")
	}
	c.usesNow = true
	if n.Text == "months" || n.Text == "years" {
		return c.calendarAgo(n, x.num)
	}
	of := map[string]time.Duration{"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour}[n.Text]
	arg := func(k kind, v int64) *node { return &node{op: opConst, typ: typ{kind: k}, num: v} }
	span, err := c.make(n, node{op: opArith, typ: typ{kind: kDuration}, str: "*", args: []*node{x, arg(kDuration, int64(of))}})
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opArith, typ: typ{kind: kTime}, str: "+", args: []*node{arg(kTime, c.env.Now), span}})
}

// calendarAgo is the same day, a number of months or years from now.
func (c *checker) calendarAgo(n *parse.Node, count int64) (*node, *Error) {
	const most = 3000 // months; 64-bit nanoseconds cover about 292 years in each direction
	if n.Text == "years" && count > -most && count < most {
		count *= 12
	}
	if count < -most || count > most {
		return absent(typ{kind: kTime}), nil
	}
	t := time.Unix(0, c.env.Now).UTC().AddDate(0, int(count), 0)
	if t.Year() <= 1678 || t.Year() >= 2262 {
		return absent(typ{kind: kTime}), nil
	}
	return c.constant(n, node{typ: typ{kind: kTime}, num: t.UnixNano()}), nil
}

// limitTo is limit(n) of the older language: always true, and limits the answer to n calls.
func (c *checker) limitTo(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	if x.op != opConst || x.typ.kind != kInt || x.num < 1 || x.num > 1<<31-1 {
		return nil, c.fail(n.Args[0], "write limit(100)", "expected a number above 0")
	}
	if c.limit == 0 || int(x.num) < c.limit {
		c.limit = int(x.num)
	}
	return boolNode(true), nil
}
