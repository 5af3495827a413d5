package filter

// graph is a condition in the form of comparisons that jump to one another. A node jumps
// only to earlier nodes in the slice, or to accept or reject, so there are no loops.
type graph struct {
	nodes []node
	root  int
}

type node struct {
	test    test
	yes, no int
	reached bool
	loaded  bool // the accumulator already contains the load, except for the mask
	facts   []fact
	in      load // in the accumulator on every path to this node
	visited bool // in and facts come from at least one path
}

// Jump targets that are not nodes.
const (
	accept = -1
	reject = -2
)

// maxFacts limits the facts that are kept on the path to a node.
const maxFacts = 12

// fact is a comparison made on every path to a node, and its result.
type fact struct {
	test   test
	result bool
}

func newGraph(c *cond) (*graph, bool) {
	g := &graph{}
	root, ok := g.add(c, accept, reject)
	g.root = root
	return g, ok
}

// add puts a condition before the nodes that follow it, so it is called in reverse order.
func (g *graph) add(c *cond, yes, no int) (int, bool) {
	switch c.kind {
	case condTrue:
		return yes, true
	case condFalse:
		return no, true
	case condNot:
		return g.add(c.kids[0], no, yes)
	case condTest:
		if yes == no && c.test.load.kind == loadLength {
			return yes, true
		}
		g.nodes = append(g.nodes, node{test: c.test, yes: yes, no: no})
		return len(g.nodes) - 1, len(g.nodes) <= maxTests
	}
	next := yes
	if c.kind == condOr {
		next = no
	}
	for i := len(c.kids) - 1; i >= 0; i-- {
		var ok bool
		if c.kind == condAnd {
			next, ok = g.add(c.kids[i], next, no)
		} else {
			next, ok = g.add(c.kids[i], yes, next)
		}
		if !ok {
			return next, false
		}
	}
	return next, true
}

// join redirects each jump past the comparisons whose results are known on that path, and
// marks loads that need not be repeated. A comparison is skipped only if its load has been
// done, so the result for packets that are too short does not change.
func (g *graph) join() {
	if g.root < 0 {
		return
	}
	g.nodes[g.root].reached, g.nodes[g.root].visited = true, true
	for i := g.root; i >= 0; i-- {
		n := &g.nodes[i]
		if !n.reached {
			continue
		}
		out := load{}
		if n.test.load.kind != loadExpr && n.test.right == nil {
			n.loaded = n.in == n.test.load || n.in.mask == ^uint32(0) && n.in == n.test.load.masked0()
			out = n.test.load
		}
		n.yes = g.lead(n, true, out)
		n.no = g.lead(n, false, out)
		n.facts = nil
	}
}

// masked0 is the load without its mask.
func (l load) masked0() load {
	l.mask = ^uint32(0)
	return l
}

func (g *graph) lead(from *node, result bool, in load) int {
	known := from.facts
	if from.test.right == nil && from.test.load.kind != loadExpr {
		known = append(known[max(0, len(known)-maxFacts+1):len(known):len(known)], fact{from.test, result})
	}
	to := from.no
	if result {
		to = from.yes
	}
	for to >= 0 {
		answer, ok := decided(known, g.nodes[to].test)
		if !ok {
			break
		}
		if answer {
			to = g.nodes[to].yes
		} else {
			to = g.nodes[to].no
		}
	}
	if to < 0 {
		return to
	}
	t := &g.nodes[to]
	if !t.visited {
		t.facts, t.in = append([]fact(nil), known...), in
	} else {
		kept := t.facts[:0]
		for _, f := range t.facts {
			for _, k := range known {
				if k == f {
					kept = append(kept, f)
					break
				}
			}
		}
		t.facts = kept
		if t.in != in {
			t.in = load{}
		}
	}
	t.visited, t.reached = true, true
	return to
}

// decided returns the result of a comparison if the facts determine it.
func decided(facts []fact, t test) (answer, ok bool) {
	if t.right != nil || t.load.kind == loadExpr {
		return false, false
	}
	for _, f := range facts {
		same := f.test.load == t.load
		switch {
		case !same && !(f.test.load.mask == ^uint32(0) && f.test.load == t.load.masked0()):
		case f.test.op == equal && f.result:
			return t.op.compare(f.test.k&t.load.mask, t.k), true
		case !same:
		case f.test.op == t.op && f.test.k == t.k:
			return f.result, true
		}
	}
	return false, false
}
