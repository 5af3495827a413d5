package servicemap

// groupings maps each value of group_by to the column that names a node.
var groupings = map[string]string{"": "service", "service": "service", "workload": "workload", "namespace": "namespace", "pod": "pod", "node": "node"}

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

	levels string
	asked  bool // named by the host that clients called
}
