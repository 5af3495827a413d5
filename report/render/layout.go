package render

import (
	"cmp"
	"slices"
	"sort"

	"github.com/pcapsule/pcapsule/report/value"
)

// maxLayers is the highest number of columns in a map; more would be too narrow to read.
const maxLayers = 6

// place is a node in the layout of a map, or a bend of an edge between two layers.
type place struct {
	node  int // -1 for a bend
	layer int
	order float64
	y     float64
	in    []int // places in the previous layer
	out   []int // places in the next layer
}

// layout is a map in layers: callers are to the left of the nodes they call, except in cycles. It is
// deterministic: ties are broken by name.
type layout struct {
	places []place
	layers [][]int // places, from top to bottom
	routes [][]int // for each edge: places from its left end to its right end
	back   []bool  // the edge runs from right to left, or stays in its layer
}

// arrange lays out a map.
func arrange(c *value.MapChart) *layout {
	l := &layout{routes: make([][]int, len(c.Edges)), back: make([]bool, len(c.Edges))}
	rank := ranks(c)
	layer := longest(c, rank)
	deepest := 0
	for i := range c.Nodes {
		l.places = append(l.places, place{node: i, layer: layer[i]})
		deepest = max(deepest, layer[i])
	}
	l.layers = make([][]int, deepest+1)
	byName := make([]int, len(c.Nodes))
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(c.Nodes[a].Name, c.Nodes[b].Name))
	})
	for _, i := range byName {
		l.layers[layer[i]] = append(l.layers[layer[i]], i)
	}
	for e, edge := range c.Edges {
		a, b := edge.From, edge.To
		if a == b {
			continue
		}
		if layer[a] > layer[b] {
			a, b = b, a
			l.back[e] = true
		}
		l.routes[e] = l.route(a, b)
	}
	for range 12 {
		l.sweep(true)
		l.sweep(false)
	}
	return l
}

// route routes an edge from left to right, with a bend in each layer between.
func (l *layout) route(a, b int) []int {
	path := []int{a}
	for k := l.places[a].layer + 1; k < l.places[b].layer; k++ {
		l.places = append(l.places, place{node: -1, layer: k})
		n := len(l.places) - 1
		l.layers[k] = append(l.layers[k], n)
		path = append(path, n)
	}
	path = append(path, b)
	for i := range len(path) - 1 {
		x, y := path[i], path[i+1]
		if l.places[x].layer != l.places[y].layer {
			l.places[x].out = append(l.places[x].out, y)
			l.places[y].in = append(l.places[y].in, x)
		}
	}
	return path
}

// sweep orders each layer by the mean position of its neighbours on one side.
func (l *layout) sweep(right bool) {
	at := make([]float64, len(l.places))
	for _, layer := range l.layers {
		for i, p := range layer {
			at[p] = float64(i) - float64(len(layer)-1)/2
		}
	}
	for i := range l.layers {
		k := i
		if !right {
			k = len(l.layers) - 1 - i
		}
		for _, p := range l.layers[k] {
			list := l.places[p].in
			if !right {
				list = l.places[p].out
			}
			l.places[p].order = at[p]
			if len(list) > 0 {
				sum := 0.0
				for _, q := range list {
					sum += at[q]
				}
				l.places[p].order = sum / float64(len(list))
			}
		}
		sort.SliceStable(l.layers[k], func(x, y int) bool { return l.places[l.layers[k][x]].order < l.places[l.layers[k][y]].order })
		for j, p := range l.layers[k] {
			at[p] = float64(j) - float64(len(l.layers[k])-1)/2
		}
	}
}

// ranks orders nodes so that most calls run from low to high (Eades, Lin and Smyth 1993:
// sinks go to the end, sources to the start, then nodes by their surplus of calls made).
func ranks(c *value.MapChart) []int {
	n := len(c.Nodes)
	rank := make([]int, n)
	left := make([]bool, n)
	for i := range left {
		left[i] = true
	}
	lo, hi := 0, n-1
	for lo <= hi {
		best, bestDiff, end := -1, int64(0), false
		for i := range n {
			if !left[i] {
				continue
			}
			out, in := weights(c, left, i)
			if out == 0 && in > 0 {
				best, end = i, true
				break
			}
			diff := out - in
			if in == 0 {
				diff = 1 << 62
			}
			if best < 0 || diff > bestDiff || diff == bestDiff && c.Nodes[i].Name < c.Nodes[best].Name {
				best, bestDiff = i, diff
			}
		}
		left[best] = false
		if end {
			rank[best] = hi
			hi--
		} else {
			rank[best] = lo
			lo++
		}
	}
	return rank
}

func weights(c *value.MapChart, left []bool, i int) (out, in int64) {
	for _, e := range c.Edges {
		if e.From == e.To || !left[e.From] || !left[e.To] {
			continue
		}
		if e.From == i {
			out += e.Calls
		}
		if e.To == i {
			in += e.Calls
		}
	}
	return out, in
}

// longest puts each node one layer after the last of its callers.
func longest(c *value.MapChart, rank []int) []int {
	n := len(c.Nodes)
	order := make([]int, n)
	for i, r := range rank {
		order[r] = i
	}
	layer := make([]int, n)
	for _, i := range order {
		for _, e := range c.Edges {
			if e.From == i && rank[e.To] > rank[i] {
				layer[e.To] = min(max(layer[e.To], layer[i]+1), maxLayers-1)
			}
		}
	}
	return layer
}
