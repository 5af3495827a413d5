package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/netpol"
)

// podGroup is the set of pods of one workload.
type podGroup struct {
	namespace, name string
	labels          map[string]string   // labels common to all its pods
	sets            []map[string]string // distinct label sets of its pods
	selector        map[string]string   // labels that select only this group in its namespace; nil if there are none
	services        []string
	ports           []int64 // that its pods declare by name
	ingress, egress []rule
}

func (q *podGroup) path() string { return q.namespace + "/" + q.name }

// rule is one connection that a policy allows.
type rule struct {
	group     *podGroup    // other end, if it is a group of pods
	prefix    netip.Prefix // otherwise its address
	name      string       // for display
	transport string
	port      int64
}

func (r rule) key() string {
	return fmt.Sprintf("%s|%s|%05d|%s", r.name, r.transport, r.port, r.prefix)
}

type policyMaker struct {
	peers       map[[2]int64]*peer
	groups      map[string]*podGroup // by path
	targets     map[string][]int64   // pod ports by namespace/service/transport/port; none if unknown
	unresolved  map[string]bool      // services whose pods listen on an unknown port
	only        []string
	ingressOnly bool
}

// isVolatile reports whether a label varies between pods or releases.
func isVolatile(name string) bool {
	for _, s := range []string{"pod-template-hash", "controller-revision-hash", "pod-template-generation", "statefulset.kubernetes.io/", "apps.kubernetes.io/pod-index",
		"batch.kubernetes.io/", "controller-uid", "job-name", "job-completion-index", "app.kubernetes.io/version", "helm.sh/chart", "app.kubernetes.io/managed-by"} {
		if name == s || strings.HasSuffix(s, "/") && strings.HasPrefix(name, s) {
			return true
		}
	}
	return false
}

func groupKey(p *peer) string { return p.Namespace + "/" + cmp.Or(p.Workload, p.Pod) }

// known is a pod or a service in the Kubernetes dumps.
type known struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Owner     string   `json:"owner"`
	Labels    []label  `json:"labels"`
	Services  []string `json:"services"`
	Ports     []label  `json:"ports"`
}

// group collects pods by workload, from the Kubernetes dumps and from the traffic, and finds the
// selector of each group.
func (g *policyMaker) group(ctx context.Context, c *forensics.Case) error {
	g.unresolved = map[string]bool{}
	for _, k := range sortedPeers(g.peers) {
		if p := g.peers[k]; p.Pod != "" && p.Namespace != "" {
			g.add(p.Namespace, cmp.Or(p.Workload, p.Pod), p.Labels, append(p.Services, p.Service))
		}
	}
	all, _, err := ask.Rows[known](ctx, c, maxSeen, "SELECT DISTINCT kind, namespace, name, owner, labels, services, ports FROM workloads WHERE kind IN ('pod', 'service') ORDER BY ALL")
	if err != nil {
		return err
	}
	for i := range all {
		k := &all[i]
		var to *podGroup
		if k.Kind == "pod" {
			to = g.add(k.Namespace, cmp.Or(k.Owner, k.Name), k.Labels, k.Services)
		}
		for _, p := range k.Ports {
			port := k.Namespace + "/" + k.Name + "/" + p.Name
			switch n, _ := strconv.ParseInt(p.Value, 10, 64); {
			case n == 0:
			case to != nil:
				to.ports = append(to.ports, n)
			default:
				g.targets[port] = append(g.targets[port], n)
			}
		}
	}
	for _, q := range g.groups {
		q.selector = g.selectorOf(q)
	}
	return nil
}

// add adds a pod to the group of its workload, and returns the group.
func (g *policyMaker) add(namespace, name string, list []label, services []string) *podGroup {
	labels := map[string]string{}
	for _, l := range list {
		if !isVolatile(l.Name) {
			labels[l.Name] = l.Value
		}
	}
	path := namespace + "/" + name
	q := g.groups[path]
	if q == nil {
		q = &podGroup{namespace: namespace, name: name, labels: labels}
		g.groups[path] = q
	}
	if !slices.ContainsFunc(q.sets, func(set map[string]string) bool { return len(set) == len(labels) && selects(set, labels) }) {
		q.sets = append(q.sets, labels)
		common := map[string]string{}
		for name, value := range q.labels {
			if v, ok := labels[name]; ok && v == value {
				common[name] = value
			}
		}
		q.labels = common
	}
	for _, s := range services {
		if s != "" && !slices.Contains(q.services, s) {
			q.services = append(q.services, s)
		}
	}
	return q
}

// commonSelectors are the label sets that are commonly used as selectors, best first.
var commonSelectors = [][]string{{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}, {"app.kubernetes.io/name", "app.kubernetes.io/instance"},
	{"app.kubernetes.io/name"}, {"app"}, {"k8s-app"}, {"name"}}

// selectorOf finds labels that all pods of the group have, but no other pod in its namespace.
func (g *policyMaker) selectorOf(q *podGroup) map[string]string {
	try := func(names []string) map[string]string {
		sel := map[string]string{}
		for _, n := range names {
			v, ok := q.labels[n]
			if !ok {
				return nil
			}
			sel[n] = v
		}
		for _, other := range g.groups {
			if other != q && other.namespace == q.namespace && slices.ContainsFunc(other.sets, func(set map[string]string) bool { return selects(sel, set) }) {
				return nil
			}
		}
		return sel
	}
	for _, names := range commonSelectors {
		if sel := try(names); len(sel) > 0 {
			return sel
		}
	}
	if sel := try(slices.Sorted(maps.Keys(q.labels))); len(sel) > 0 {
		return sel
	}
	return nil
}

func selects(selector, labels map[string]string) bool {
	for n, v := range selector {
		if have, ok := labels[n]; !ok || have != v {
			return false
		}
	}
	return true
}

// A hop is a connection as a network plugin sees it: after the service's address was translated.
type hop struct {
	src, dst  *peer
	from, to  *podGroup // nil if the end is not a pod
	transport string
	port      int64
}

// hops returns the possible hops of a connection: to a service, one to each of its workloads.
func (g *policyMaker) hops(s *seen) []hop {
	h := hop{src: g.peers[[2]int64{s.Bundle, s.SrcID}], dst: g.peers[[2]int64{s.Bundle, s.DstID}], transport: strings.ToUpper(s.Transport), port: s.Port}
	if h.src == nil || h.dst == nil {
		return nil
	}
	if h.src.Pod != "" {
		h.from = g.groups[groupKey(h.src)]
	}
	switch {
	case h.dst.Pod != "":
		h.to = g.groups[groupKey(h.dst)]
	case h.dst.Kind == "service" && h.dst.Service != "":
		if list := g.behind(h, s.Transport); len(list) > 0 {
			return list
		}
	}
	return []hop{h}
}

// behind returns the hops to the workloads behind a service, each at the ports on which its pods listen.
func (g *policyMaker) behind(h hop, transport string) []hop {
	service := h.dst.Namespace + "/" + h.dst.Service
	targets := g.targets[fmt.Sprintf("%s/%s/%d", service, transport, h.port)]
	known := len(targets) > 0
	if !known {
		targets = []int64{h.port}
	}
	var list []hop
	for _, k := range slices.Sorted(maps.Keys(g.groups)) {
		if q := g.groups[k]; q.namespace == h.dst.Namespace && slices.Contains(q.services, h.dst.Service) {
			for _, port := range netpol.Listening(targets, q.ports) {
				one := h
				one.to, one.port = q, port
				list = append(list, one)
			}
		}
	}
	if !known && len(list) > 0 {
		g.unresolved[service] = true
	}
	return list
}

// learn adds rules that allow a connection at both ends.
func (g *policyMaker) learn(s *seen) {
	for _, h := range g.hops(s) {
		if h.to != nil && g.includes(h.to) {
			if r, ok := h.rule(h.src, h.from); ok {
				h.to.ingress = addRule(h.to.ingress, r)
			}
		}
		if h.from != nil && g.includes(h.from) && !g.ingressOnly {
			if r, ok := h.rule(h.dst, h.to); ok {
				h.from.egress = addRule(h.from.egress, r)
			}
		}
	}
}

func (g *policyMaker) includes(q *podGroup) bool {
	return len(g.only) == 0 || slices.Contains(g.only, q.namespace)
}

// rule returns the rule for one end of the hop: the pods q, or the address of p.
func (h *hop) rule(p *peer, q *podGroup) (rule, bool) {
	r := rule{transport: h.transport, port: h.port}
	if q != nil && q.selector != nil {
		r.group, r.name = q, q.path()
		return r, true
	}
	addr, err := netip.ParseAddr(p.IP)
	if err != nil {
		return r, false
	}
	r.prefix, r.name = netip.PrefixFrom(addr, addr.BitLen()), p.who()
	return r, true
}

func addRule(list []rule, r rule) []rule {
	i, found := slices.BinarySearchFunc(list, r, func(a, b rule) int { return strings.Compare(a.key(), b.key()) })
	if found {
		return list
	}
	return slices.Insert(list, i, r)
}

// unselected names the workloads with traffic that have no selector of their own.
func (g *policyMaker) unselected() []string {
	out := []string{}
	for _, k := range slices.Sorted(maps.Keys(g.groups)) {
		if q := g.groups[k]; q.selector == nil && g.includes(q) && len(q.ingress)+len(q.egress) > 0 {
			why := "its pods have no labels"
			if len(q.labels) > 0 {
				why = "other pods of the namespace have the same labels"
			}
			out = append(out, q.path()+": "+why)
		}
	}
	return out
}

// withoutDNS names the workloads with restricted egress that does not allow DNS.
func (g *policyMaker) withoutDNS(list []*netPolicy) []string {
	var out []string
	for _, p := range list {
		atDNS := func(r rule) bool { return r.port == 53 }
		if !g.ingressOnly && !slices.ContainsFunc(p.group.egress, atDNS) && !slices.ContainsFunc(p.group.ingress, atDNS) {
			out = append(out, p.group.path())
		}
	}
	return out
}

// outside names the hosts that rules allow by address, because they have no labels.
func (g *policyMaker) outside() []string {
	found := map[string]bool{}
	for _, q := range g.groups {
		for _, r := range slices.Concat(q.ingress, q.egress) {
			if r.group == nil && q.selector != nil {
				text := r.prefix.Addr().String()
				if r.name != text {
					text += " (" + r.name + ")"
				}
				found[text] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
