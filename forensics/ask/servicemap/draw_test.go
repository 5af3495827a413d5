package servicemap

import (
	"strings"
	"testing"
)

// TestNamesAreNoMermaid draws nodes whose names Mermaid would read as a directive and as a comment.
func TestNamesAreNoMermaid(t *testing.T) {
	nodes := []MapNode{{Name: `%%{init: {"theme":"dark"}}%%`}, {Name: "a%%b"}}
	got := draw("mermaid", nodes, []MapEdge{{Src: nodes[0].Name, Dst: nodes[1].Name, Connections: 1}})
	if strings.Contains(got, "%%") || strings.Count(got, "\n") != 4 {
		t.Errorf("the diagram has markup of names:\n%s", got)
	}
}
