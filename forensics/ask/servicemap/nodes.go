package servicemap

// groupings are the ways to group ends into nodes: the column that a node is named by.
var groupings = map[string]string{"": "service", "service": "service", "workload": "workload", "namespace": "namespace", "pod": "pod", "node": "node"}

// MapNode is one node of a map.
type MapNode struct {
	Name      string   `json:"name" jsonschema:"namespace/service, or as group_by says; the host asked for outside; (outside) are nameless addresses outside"`
	Place     string   `json:"place" jsonschema:"inside, outside or unknown (a private address that nobody named)"`
	Namespace string   `json:"namespace,omitempty"`
	Workloads []string `json:"workloads,omitempty" jsonschema:"kind/name"`
	Labels    []string `json:"labels,omitempty" jsonschema:"as name=value, of all its pods"`
	Replicas  int64    `json:"replicas,omitempty" jsonschema:"pods that were seen"`
	CallsIn   int64    `json:"calls_in"`
	CallsOut  int64    `json:"calls_out"`
	FailedIn  int64    `json:"failed_in"`

	levels string
	asked  bool // named by the host that clients asked for
}
