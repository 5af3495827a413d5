package servicemap

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// draw writes a map as Mermaid or DOT.
func draw(format string, nodes []MapNode, edges []MapEdge) string {
	id := map[string]string{}
	for i, n := range nodes {
		id[n.Name] = fmt.Sprintf("n%d", i)
	}
	var b strings.Builder
	if format == "dot" {
		b.WriteString("digraph services {\n  rankdir=LR;\n")
	} else {
		b.WriteString("graph LR\n")
	}
	for _, n := range nodes {
		shape, open, shut := "box", `["`, `"]`
		if n.Place != terms.Inside {
			shape, open, shut = "ellipse", `(["`, `"])`
		}
		if format == "dot" {
			fmt.Fprintf(&b, "  %s [label=%s, shape=%s];\n", id[n.Name], quoteDOT(n.Name), shape)
		} else {
			fmt.Fprintf(&b, "  %s%s%s%s\n", id[n.Name], open, quote.Mermaid(ask.Clip(n.Name, 200)), shut)
		}
	}
	for _, e := range edges {
		text := e.label()
		if format == "dot" {
			style := ""
			if e.Failed > 0 {
				style = ", color=red"
			}
			fmt.Fprintf(&b, "  %s -> %s [label=%s%s];\n", id[e.Src], id[e.Dst], quoteDOT(text), style)
			continue
		}
		fmt.Fprintf(&b, "  %s -->|\"%s\"| %s\n", id[e.Src], quote.Mermaid(ask.Clip(text, 200)), id[e.Dst])
	}
	if format == "dot" {
		b.WriteString("}\n")
	}
	return b.String()
}

// label writes the label of an edge.
func (e *MapEdge) label() string {
	var names []string
	for _, p := range e.Protocols {
		names = append(names, p.Protocol)
	}
	if len(names) == 0 {
		return plural.Sprintf("%d {connection|connections} without calls", e.Connections)
	}
	text := plural.Sprintf("%s: %d {call|calls}", strings.Join(names, ", "), e.Calls)
	if e.Failed > 0 {
		text += fmt.Sprintf(", %d failed", e.Failed)
	}
	return text
}

func quoteDOT(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(ask.Clip(s, 200)) + `"`
}
