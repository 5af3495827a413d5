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

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// The parts of NetworkPolicy (networking.k8s.io/v1) that are written.
type (
	netPolicy struct {
		APIVersion string     `yaml:"apiVersion"`
		Kind       string     `yaml:"kind"`
		Metadata   policyMeta `yaml:"metadata"`
		Spec       policySpec `yaml:"spec"`

		group *podGroup
	}
	policyMeta struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	}
	policySpec struct {
		PodSelector labelSelector `yaml:"podSelector"`
		PolicyTypes []string      `yaml:"policyTypes"`
		Ingress     []policyRule  `yaml:"ingress,omitempty"`
		Egress      []policyRule  `yaml:"egress,omitempty"`
	}
	labelSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	policyRule struct {
		From  []policyPeer `yaml:"from,omitempty"`
		To    []policyPeer `yaml:"to,omitempty"`
		Ports []policyPort `yaml:"ports"`
	}
	policyPeer struct {
		NamespaceSelector *labelSelector `yaml:"namespaceSelector,omitempty"`
		PodSelector       *labelSelector `yaml:"podSelector,omitempty"`
		IPBlock           *ipBlock       `yaml:"ipBlock,omitempty"`
	}
	ipBlock struct {
		CIDR string `yaml:"cidr"`
	}
	policyPort struct {
		Protocol string `yaml:"protocol"`
		Port     int64  `yaml:"port"`
	}
)

// namespaceName is the label that the API server sets on every namespace since 1.21.
const namespaceName = "kubernetes.io/metadata.name"

func sortedPeers(m map[[2]int64]*peer) [][2]int64 {
	return slices.SortedFunc(maps.Keys(m), func(a, b [2]int64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
}

// policies returns one policy for each group with a selector, by namespace and name.
func (g *policyMaker) policies() []*netPolicy {
	var out []*netPolicy
	names := policyNames{}
	for _, k := range slices.Sorted(maps.Keys(g.groups)) {
		q := g.groups[k]
		if q.selector == nil || !g.includes(q) || len(q.ingress)+len(q.egress) == 0 {
			continue
		}
		p := &netPolicy{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", group: q,
			Metadata: policyMeta{Name: names.reserve(q), Namespace: q.namespace},
			Spec:     policySpec{PodSelector: labelSelector{q.selector}, PolicyTypes: []string{"Ingress"}}}
		p.Spec.Ingress = rules(q, q.ingress, func(r *policyRule) *[]policyPeer { return &r.From })
		if !g.ingressOnly {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, "Egress")
			p.Spec.Egress = rules(q, q.egress, func(r *policyRule) *[]policyPeer { return &r.To })
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
func rules(self *podGroup, list []rule, side func(*policyRule) *[]policyPeer) []policyRule {
	ports := map[string][]policyPort{} // by peer
	peers := map[string]policyPeer{}
	for _, r := range list {
		k := r.name + "|" + r.prefix.String()
		peers[k] = r.peer(self)
		ports[k] = append(ports[k], policyPort{r.transport, r.port})
	}
	var out []policyRule
	at := map[string]int{}
	for _, k := range slices.Sorted(maps.Keys(peers)) {
		slices.SortFunc(ports[k], func(a, b policyPort) int {
			return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
		})
		same := fmt.Sprint(ports[k])
		i, ok := at[same]
		if !ok {
			i = len(out)
			at[same] = i
			out = append(out, policyRule{Ports: ports[k]})
		}
		*side(&out[i]) = append(*side(&out[i]), peers[k])
	}
	return out
}

func (r rule) peer(self *podGroup) policyPeer {
	if r.group == nil {
		return policyPeer{IPBlock: &ipBlock{r.prefix.String()}}
	}
	p := policyPeer{PodSelector: &labelSelector{r.group.selector}}
	if r.group.namespace != self.namespace {
		p.NamespaceSelector = &labelSelector{map[string]string{namespaceName: r.group.namespace}}
	}
	return p
}

func (p *netPolicy) summary() PolicySummary {
	out := PolicySummary{Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, Ingress: []string{}, Egress: []string{}}
	var sel []string
	for _, n := range slices.Sorted(maps.Keys(p.Spec.PodSelector.MatchLabels)) {
		sel = append(sel, n+"="+p.Spec.PodSelector.MatchLabels[n])
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
func (g *policyMaker) judge(list []*netPolicy, s *seen) (Attempt, bool) {
	var why []string
	add := func(text string) {
		if !slices.Contains(why, text) {
			why = append(why, text)
		}
	}
	hops := g.hops(s)
	for _, h := range hops {
		if !h.allowed(list, "Ingress") {
			add("ingress of " + h.to.path())
		}
		if !h.allowed(list, "Egress") {
			add("egress of " + h.from.path())
		}
	}
	if len(why) == 0 {
		return Attempt{}, false
	}
	return Attempt{Src: hops[0].src.who(), Dst: hops[0].dst.who(), Transport: s.Transport, Port: s.Port, Connections: s.Connections, Answered: s.Answered,
		First: ask.Stamp(s.FirstNs), FlowID: s.FlowID, Why: strings.Join(why, ", "), Guessed: s.Guessed}, true
}

// allowed evaluates the policies for one direction, "Ingress" or "Egress". Pods that no policy
// selects for that direction are unrestricted. If several select them, one that allows is enough.
func (h *hop) allowed(list []*netPolicy, direction string) bool {
	self, other, others := h.to, h.src, h.from
	if direction == "Egress" {
		self, other, others = h.from, h.dst, h.to
	}
	if self == nil {
		return true
	}
	selected := false
	for _, p := range list {
		if p.Metadata.Namespace != self.namespace || !selects(p.Spec.PodSelector.MatchLabels, self.labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		selected = true
		rules := p.Spec.Ingress
		if direction == "Egress" {
			rules = p.Spec.Egress
		}
		for _, r := range rules {
			port := slices.Contains(r.Ports, policyPort{h.transport, h.port})
			if port && slices.ContainsFunc(append(slices.Clone(r.From), r.To...), func(q policyPeer) bool { return q.is(self, other, others) }) {
				return true
			}
		}
	}
	return !selected
}

func (p policyPeer) is(self *podGroup, other *peer, others *podGroup) bool {
	if p.IPBlock != nil {
		prefix, err1 := netip.ParsePrefix(p.IPBlock.CIDR)
		addr, err2 := netip.ParseAddr(other.IP)
		return err1 == nil && err2 == nil && prefix.Contains(addr)
	}
	if others == nil {
		return false
	}
	ns := self.namespace
	if p.NamespaceSelector != nil {
		ns = p.NamespaceSelector.MatchLabels[namespaceName]
	}
	return others.namespace == ns && selects(p.PodSelector.MatchLabels, others.labels)
}
