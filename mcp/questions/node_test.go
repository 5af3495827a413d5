package questions

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// node is a value of an answer.
type node struct {
	v    any
	tool string
	args map[string]any
}

func parse(text string) (node, error) {
	var v any
	err := json.Unmarshal([]byte(text), &v)
	return node{v: v}, err
}

// at returns the value at a path such as groups.0.calls, or an empty node.
func (n node) at(path string) node {
	if path == "" {
		return n
	}
	v := n.v
	for name := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(x) {
				return node{}
			}
			v = x[i]
		default:
			return node{}
		}
	}
	return node{v: v}
}

// each returns the elements of a list.
func (n node) each(path string) (out []node) {
	list, _ := n.at(path).v.([]any)
	for _, v := range list {
		out = append(out, node{v: v})
	}
	return out
}

func (n node) str(path string) string {
	switch v := n.at(path).v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// num returns a number, or -1 if there is none.
func (n node) num(path string) float64 {
	switch v := n.at(path).v.(type) {
	case float64:
		return v
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return -1
}

func (n node) is(path string) bool { b, _ := n.at(path).v.(bool); return b }

// strs returns the strings of a list.
func (n node) strs(path string) (out []string) {
	for _, e := range n.each(path) {
		out = append(out, e.text())
	}
	return out
}

// sum adds up a number of each element.
func sum(list []node, path string) (total float64) {
	for _, n := range list {
		total += max(n.num(path), 0)
	}
	return total
}

// where returns the elements for which keep is true.
func where(list []node, keep func(node) bool) (out []node) {
	for _, n := range list {
		if keep(n) {
			out = append(out, n)
		}
	}
	return out
}

// texts writes all names and strings below a node, as a reader of the answer sees them.
func (n node) texts(b *strings.Builder) {
	switch v := n.v.(type) {
	case map[string]any:
		for name, x := range v {
			b.WriteString(name)
			b.WriteByte('\n')
			node{v: x}.texts(b)
		}
	case []any:
		for _, x := range v {
			node{v: x}.texts(b)
		}
	case string:
		b.WriteString(v)
		b.WriteByte('\n')
	case float64:
		b.WriteString(strconv.FormatFloat(v, 'f', -1, 64))
		b.WriteByte('\n')
	}
}

// ids collects the call_ids below a node.
func (n node) ids(into map[string]bool) {
	switch v := n.v.(type) {
	case map[string]any:
		for name, x := range v {
			switch id, list := x.(string); {
			case name == "call_id" && list:
				into[id] = true
			case strings.HasSuffix(name, "call_ids"):
				for _, e := range (node{v: v}).each(name) {
					into[e.text()] = true
				}
			default:
				node{v: x}.ids(into)
			}
		}
	case []any:
		for _, x := range v {
			node{v: x}.ids(into)
		}
	}
}

func (n node) text() string { s, _ := n.v.(string); return s }
