package workload

import "encoding/json"

// maxPolicy is the most bytes of one NetworkPolicy's spec.
const maxPolicy = 64 << 10

// netpolicy is a NetworkPolicy (networking.k8s.io/v1).
type netpolicy struct {
	common
	spec *wireSpec // only the fields of a NetworkPolicy
	text string    // the same in JSON
}

// wireLabels is a LabelSelector.
type wireLabels struct {
	Labels      map[string]string `json:"matchLabels,omitempty"`
	Expressions []wireExpression  `json:"matchExpressions,omitempty"`
}

type wireExpression struct {
	Key      string   `json:"key,omitempty"`
	Operator string   `json:"operator,omitempty"`
	Values   []string `json:"values,omitempty"`
}

// wireRule is a rule for one direction. An empty rule allows everything.
type wireRule struct {
	From  []wirePeer      `json:"from,omitempty"`
	To    []wirePeer      `json:"to,omitempty"`
	Ports []wireRulePorts `json:"ports,omitempty"`
}

type wirePeer struct {
	Pods       *wireLabels `json:"podSelector,omitempty"`
	Namespaces *wireLabels `json:"namespaceSelector,omitempty"`
	Block      *wireBlock  `json:"ipBlock,omitempty"`
}

type wireBlock struct {
	CIDR   string   `json:"cidr,omitempty"`
	Except []string `json:"except,omitempty"`
}

type wireRulePorts struct {
	Protocol string      `json:"protocol,omitempty"`
	Port     *wireTarget `json:"port,omitempty"`
	EndPort  int64       `json:"endPort,omitempty"`
}

// netpolicy converts a NetworkPolicy. ok is false if it is too large.
func (c *converter) netpolicy(o *wireObject) (p *netpolicy, ok bool) {
	p = &netpolicy{common: c.common(&o.Metadata), spec: &wireSpec{}}
	if s := o.Spec; s != nil {
		p.spec.PodSelector, p.spec.PolicyTypes, p.spec.Ingress, p.spec.Egress = s.PodSelector, s.PolicyTypes, s.Ingress, s.Egress
	}
	text, err := json.Marshal(p.spec)
	p.text = string(text)
	c.cost += 4 * int64(len(text)) // the text, and the same in structs
	return p, err == nil && len(text) <= maxPolicy
}

func (p *netpolicy) wire() *wireObject {
	o := wireOf(&p.common, "networking.k8s.io/v1", "NetworkPolicy")
	o.Spec = p.spec
	return o
}

func (p *netpolicy) row() Workload {
	return Workload{Kind: "networkpolicy", Namespace: p.namespace, Name: p.name, UID: p.uid, ValidFrom: p.created, ValidTo: p.deleted,
		Labels: p.labels, Spec: p.text, Source: p.source}
}
