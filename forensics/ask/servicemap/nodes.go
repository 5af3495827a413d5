package servicemap

import (
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// groupings are the values of group_by, which are columns that name a node. The first is the default.
var groupings = []string{"service", "workload", "namespace", "pod", "node"}

// MapNode is one node of a map.
type MapNode struct {
	Name      string   `json:"name" jsonschema:"namespace/service, or as group_by says; for an external destination the host that clients called; (outside) stands for outside addresses without a name"`
	Place     string   `json:"place" jsonschema:"inside, outside or unknown (a private address without a name)"`
	Namespace string   `json:"namespace,omitempty"`
	Workloads []string `json:"workloads,omitempty" jsonschema:"kind/name"`
	Labels    []string `json:"labels,omitempty" jsonschema:"as name=value, common to all its pods"`
	Replicas  int64    `json:"replicas,omitempty" jsonschema:"pods that were seen"`
	CallsIn   int64    `json:"calls_in"`
	CallsOut  int64    `json:"calls_out"`
	FailedIn  int64    `json:"failed_in"`
	Seen      string   `json:"seen,omitempty" jsonschema:"of a node without calls: its connections, and how many were accepted"`

	levels string
	asked  bool // named by the host that clients called

	carried  int64    // rows of its edges, also of what is not a request
	in, out  int64    // connections to it and from it
	shut     int64    // of those to it, connections that it refused or did not answer
	rejected int64    // of those from it, connections that were refused or not answered
	loud     [2]int64 // of those to it and from it, connections with rows, of which more is known than whether they were accepted
}

// tried reports whether the node only had incoming connections and accepted none of them, so nothing shows that it
// is a service.
func (n *MapNode) tried() bool { return n.carried == 0 && n.out == 0 && n.in > 0 && n.shut == n.in }

// seen describes what was seen of a node without calls.
func (n *MapNode) seen() string {
	if n.CallsIn > 0 || n.CallsOut > 0 {
		return ""
	}
	var parts []string
	for _, side := range []struct {
		n, shut, loud int64
		where         string
	}{{n.in, n.shut, n.loud[0], "to"}, {n.out, n.rejected, n.loud[1], "from"}} {
		switch {
		case side.n == 0:
		case side.shut == side.n:
			parts = append(parts, plural.Sprintf("%d {connection|connections} %s it, none accepted", side.n, side.where))
		case side.loud == 0:
			parts = append(parts, plural.Sprintf("%d {connection|connections} %s it, %d accepted", side.n, side.where, side.n-side.shut))
		case side.shut == 0:
			parts = append(parts, plural.Sprintf("%d {connection|connections} %s it", side.n, side.where))
		default:
			parts = append(parts, plural.Sprintf("%d {connection|connections} %s it, %d not accepted", side.n, side.where, side.shut))
		}
	}
	return strings.Join(parts, "; ")
}
