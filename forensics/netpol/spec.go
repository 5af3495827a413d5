// Package netpol evaluates Kubernetes network policies (networking.k8s.io/v1) for connections.
//
// It uses three values: if the result depends on an unknown label, time or owner, it is Maybe, with
// the reason, and never No or Yes.
package netpol

import (
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Directions of a policy.
const (
	Ingress = "Ingress"
	Egress  = "Egress"
)

// NamespaceName is the label that the API server sets on every namespace since 1.21.
const NamespaceName = "kubernetes.io/metadata.name"

// Spec is the spec of a NetworkPolicy.
type Spec struct {
	PodSelector Selector `json:"podSelector" yaml:"podSelector"`
	PolicyTypes []string `json:"policyTypes" yaml:"policyTypes,omitempty"`
	Ingress     []Rule   `json:"ingress" yaml:"ingress,omitempty"`
	Egress      []Rule   `json:"egress" yaml:"egress,omitempty"`
}

// Selector is a LabelSelector. An empty one selects everything.
type Selector struct {
	Labels      map[string]string `json:"matchLabels" yaml:"matchLabels,omitempty"`
	Expressions []Expression      `json:"matchExpressions" yaml:"matchExpressions,omitempty"`
}

// Expression is a requirement of a selector: In, NotIn, Exists or DoesNotExist.
type Expression struct {
	Key      string   `json:"key" yaml:"key"`
	Operator string   `json:"operator" yaml:"operator"`
	Values   []string `json:"values" yaml:"values,omitempty"`
}

// Rule allows connections with one of its peers at one of its ports. Without peers it allows all
// peers, and without ports all ports. From belongs to Ingress, To to Egress.
type Rule struct {
	From  []Peer `json:"from" yaml:"from,omitempty"`
	To    []Peer `json:"to" yaml:"to,omitempty"`
	Ports []Port `json:"ports" yaml:"ports,omitempty"`
}

// Peer selects pods or addresses. Without Namespaces, Pods selects in the namespace of the policy.
type Peer struct {
	Namespaces *Selector `json:"namespaceSelector" yaml:"namespaceSelector,omitempty"`
	Pods       *Selector `json:"podSelector" yaml:"podSelector,omitempty"`
	Block      *Block    `json:"ipBlock" yaml:"ipBlock,omitempty"`
}

// Block is a range of addresses.
type Block struct {
	CIDR   string   `json:"cidr" yaml:"cidr"`
	Except []string `json:"except" yaml:"except,omitempty"`
}

// Port is a port, a range of ports, or a named port of the pods at the server's side; without Port
// all ports of the protocol.
type Port struct {
	Protocol string  `json:"protocol" yaml:"protocol,omitempty"` // TCP if empty
	Port     *Target `json:"port" yaml:"port,omitempty"`
	EndPort  int64   `json:"endPort" yaml:"endPort,omitempty"`
}

// Target is a port's number or its name.
type Target struct {
	Number int64
	Name   string
}

// UnmarshalJSON reads a number or a text.
func (t *Target) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(string(b), `"`) {
		return json.Unmarshal(b, &t.Name)
	}
	return json.Unmarshal(b, &t.Number)
}

// MarshalYAML writes the number or the name.
func (t Target) MarshalYAML() (any, error) {
	if t.Name != "" {
		return t.Name, nil
	}
	return t.Number, nil
}

var _ yaml.Marshaler = Target{}

// Parse parses a spec as JSON.
func Parse(text string) (*Spec, error) {
	s := &Spec{}
	return s, json.Unmarshal([]byte(text), s)
}
