package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/forensics/netpol"
	"github.com/pcapsule/pcapsule/internal/when"
)

// A NetworkPolicy (networking.k8s.io/v1) as it is written.
type (
	netPolicy struct {
		APIVersion string      `yaml:"apiVersion"`
		Kind       string      `yaml:"kind"`
		Metadata   policyMeta  `yaml:"metadata"`
		Spec       netpol.Spec `yaml:"spec"`

		group *podGroup
	}
	policyMeta struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	}
)

func sortedPeers(m map[[2]int64]*peer) [][2]int64 {
	return slices.SortedFunc(maps.Keys(m), func(a, b [2]int64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
}

// policies returns one policy for each group with a selector, by namespace and name.
func (g *policyMaker) policies() []*netPolicy {
	var out []*netPolicy
	names := policyNames{}
	for _, k := range slices.Sorted(maps.Keys(g.groups)) {
		q := g.groups[k]
		if q.selector == nil || !g.includes(q.namespace) || len(q.ingress)+len(q.egress) == 0 {
			continue
		}
		p := &netPolicy{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", group: q,
			Metadata: policyMeta{Name: names.reserve(q), Namespace: q.namespace},
			Spec:     netpol.Spec{PodSelector: netpol.Selector{Labels: q.selector}, PolicyTypes: []string{netpol.Ingress}}}
		p.Spec.Ingress = rules(q, q.ingress, func(r *netpol.Rule) *[]netpol.Peer { return &r.From })
		if !g.ingressOnly {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, netpol.Egress)
			p.Spec.Egress = rules(q, q.egress, func(r *netpol.Rule) *[]netpol.Peer { return &r.To })
		}
		out = append(out, p)
	}
	return out
}

// policyNames are the names of policies in use, by namespace and name.
type policyNames map[[2]string]bool

// reserve reserves a name for the policy of a group: lower-case letters, digits and -, at most 63
// characters (RFC 1123). A shortened or duplicate name ends with a part of its hash.
func (n policyNames) reserve(q *podGroup) string {
	const most = 63
	name := "observed-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(q.name))
	short := strings.Trim(name[:min(most, len(name))], "-")
	for i := 0; len(name) > most || n[[2]string{q.namespace, short}]; i++ {
		sum := sha256.Sum256(fmt.Append(nil, q.name, i))
		short = fmt.Sprintf("%s-%x", strings.Trim(name[:min(most-9, len(name))], "-"), sum[:4])
		if !n[[2]string{q.namespace, short}] {
			break
		}
	}
	n[[2]string{q.namespace, short}] = true
	return short
}

// rules groups peers with the same ports.
func rules(self *podGroup, list []rule, side func(*netpol.Rule) *[]netpol.Peer) []netpol.Rule {
	ports := map[string][]netpol.Port{} // by peer
	peers := map[string]netpol.Peer{}
	for _, r := range list {
		k := r.name + "|" + r.prefix.String()
		peers[k] = r.peer(self)
		ports[k] = append(ports[k], netpol.Port{Protocol: r.transport, Port: &netpol.Target{Number: r.port}})
	}
	var out []netpol.Rule
	at := map[string]int{}
	for _, k := range slices.Sorted(maps.Keys(peers)) {
		slices.SortFunc(ports[k], func(a, b netpol.Port) int {
			return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port.Number, b.Port.Number))
		})
		same := ""
		for _, p := range ports[k] {
			same += fmt.Sprintf("%s/%d ", p.Protocol, p.Port.Number)
		}
		i, ok := at[same]
		if !ok {
			i = len(out)
			at[same] = i
			out = append(out, netpol.Rule{Ports: ports[k]})
		}
		*side(&out[i]) = append(*side(&out[i]), peers[k])
	}
	return out
}

func (r rule) peer(self *podGroup) netpol.Peer {
	if r.group == nil {
		return netpol.Peer{Block: &netpol.Block{CIDR: r.prefix.String()}}
	}
	p := netpol.Peer{Pods: &netpol.Selector{Labels: r.group.selector}}
	if r.group.namespace != self.namespace {
		p.Namespaces = &netpol.Selector{Labels: map[string]string{netpol.NamespaceName: r.group.namespace}}
	}
	return p
}

func (p *netPolicy) summary() PolicySummary {
	out := PolicySummary{Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, Ingress: []string{}, Egress: []string{}}
	var sel []string
	for _, n := range slices.Sorted(maps.Keys(p.Spec.PodSelector.Labels)) {
		sel = append(sel, n+"="+p.Spec.PodSelector.Labels[n])
	}
	out.Selector = strings.Join(sel, ",")
	for _, r := range p.group.ingress {
		out.Ingress = append(out.Ingress, fmt.Sprintf("%s %s/%d", r.name, r.transport, r.port))
	}
	for _, r := range p.group.egress {
		out.Egress = append(out.Egress, fmt.Sprintf("%s %s/%d", r.name, r.transport, r.port))
	}
	return out
}

func writePolicies(list []*netPolicy) (string, error) {
	var b bytes.Buffer
	for i, p := range list {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := yaml.Dump(p, yaml.WithIndent(2))
		if err != nil {
			return "", err
		}
		b.Write(text)
	}
	return b.String(), nil
}

// judge evaluates the policies for a connection, as a network plugin would.
func (g *policyMaker) judge(list []netpol.Policy, s *seen) (Attempt, bool) {
	var why []string
	hops := g.hops(s)
	for _, h := range hops {
		c := netpol.Conn{Src: h.from.end(h.src), Dst: h.to.end(h.dst), Transport: h.transport, Port: h.port}
		for _, side := range []struct {
			direction string
			q         *podGroup
		}{{netpol.Ingress, h.to}, {netpol.Egress, h.from}} {
			if refused, _ := c.Refused(list, side.direction); refused.Truth == netpol.Yes {
				if text := strings.ToLower(side.direction) + " of " + side.q.path(); !slices.Contains(why, text) {
					why = append(why, text)
				}
			}
		}
	}
	if len(why) == 0 {
		return Attempt{}, false
	}
	return Attempt{Src: hops[0].src.who(), Dst: hops[0].dst.who(), Transport: s.Transport, Port: s.Port, Connections: s.Connections, Answered: s.Answered,
		First: when.Stamp(s.FirstNs), FlowID: s.FlowID, Why: strings.Join(why, ", "), Guessed: s.Guessed}, true
}

// end returns an end of a hop. A group has the labels that all its pods have.
func (q *podGroup) end(p *peer) netpol.End {
	addr, _ := netip.ParseAddr(p.IP)
	if q == nil {
		return netpol.End{Addr: addr}
	}
	return netpol.End{Addr: addr, Pod: &netpol.Pod{Namespace: q.namespace, Labels: netpol.Labels{Known: q.labels},
		Space: netpol.Labels{Known: map[string]string{netpol.NamespaceName: q.namespace}}, Ports: map[string]int64{}}}
}

// inForce returns the policies for the evaluator.
func inForce(list []*netPolicy) []netpol.Policy {
	var out []netpol.Policy
	for _, p := range list {
		out = append(out, netpol.Policy{Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, Specs: []*netpol.Spec{&p.Spec}, Exists: netpol.Answer{Truth: netpol.Yes}})
	}
	return out
}
