package workload

import "encoding/json"

// maxPolicy is the highest number of bytes of one NetworkPolicy's spec.
const maxPolicy = 64 << 10

// netpolicy is a NetworkPolicy (networking.k8s.io/v1).
type netpolicy struct {
	common
	spec    *wireSpec // only the fields of a NetworkPolicy; nil if they could not be read
	text    string    // the same in JSON
	changes int64     // metadata.generation: 1 for a spec that was never changed; 0 if unknown
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

// netpolicy converts a NetworkPolicy. If its spec is missing or too large, only its name is kept: that
// the policy exists matters for what others refuse.
func (c *converter) netpolicy(o *wireObject) *netpolicy {
	p := &netpolicy{common: c.common(&o.Metadata), changes: o.Metadata.Changes}
	if o.Spec == nil {
		return p
	}
	spec := &wireSpec{PodSelector: o.Spec.PodSelector, PolicyTypes: o.Spec.PolicyTypes, Ingress: o.Spec.Ingress, Egress: o.Spec.Egress}
	if text, err := json.Marshal(spec); err == nil && len(text) <= maxPolicy {
		p.spec, p.text = spec, string(text)
		c.cost += 4 * int64(len(text)) // the text, and the same in structs
	}
	return p
}

func (p *netpolicy) wire() *wireObject {
	o := wireOf(&p.common, "networking.k8s.io/v1", "NetworkPolicy")
	o.Spec, o.Metadata.Changes = p.spec, p.changes
	return o
}

// row returns the row of one spec of a policy that ended at a time.
func (p *netpolicy) row(end int64) Workload {
	w := p.common.row("networkpolicy", end)
	w.Spec = p.text
	if p.changes == 1 {
		w.Since = p.created
	}
	return w
}
