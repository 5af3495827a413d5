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
)

// podGroup is the set of pods of one workload.
type podGroup struct {
	namespace, name string
	labels          map[string]string   // labels common to all its pods
	sets            []map[string]string // distinct label sets of its pods
	selector        map[string]string   // labels that select only this group in its namespace; nil if there are none
	services        []string
	ports           []int64      // that its pods declare by name
	addrs           []netip.Addr // of its pods
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
	dns       bool // carries DNS
}

func (r rule) key() string {
	return fmt.Sprintf("%s|%s|%05d|%s", r.name, r.transport, r.port, r.prefix)
}

type policyMaker struct {
	peers       map[[2]int64]*peer
	groups      map[string]*podGroup // by path
	targets     map[string][]int64   // pod ports by namespace/service/transport/port; none if unknown
	nodes       map[netip.Addr]bool  // addresses of nodes
	unresolved  map[string]bool      // services whose pods listen on an unknown port
	unlocated   map[string]bool      // services whose translated address is unknown
	podless     map[string]bool      // services behind which no pod is known
	unruled     int64                // connections of which policies can select neither end
	hosted      map[string]bool      // paths of workloads that use the network of their node
	only        []string
	ingressOnly bool
}

func newPolicyMaker(peers map[[2]int64]*peer) *policyMaker {
	return &policyMaker{peers: peers, groups: map[string]*podGroup{}, targets: map[string][]int64{}, nodes: map[netip.Addr]bool{},
		unresolved: map[string]bool{}, unlocated: map[string]bool{}, podless: map[string]bool{}, hosted: map[string]bool{}}
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
	Addresses []string `json:"addresses"`
}

// group collects pods by workload, from the Kubernetes dumps and from the traffic, and finds the
// selector of each group.
func (g *policyMaker) group(ctx context.Context, c *forensics.Case) error {
	for _, k := range sortedPeers(g.peers) {
		if p := g.peers[k]; p.Pod != "" && p.Namespace != "" {
			g.add(p.Namespace, cmp.Or(p.Workload, p.Pod), p.Labels, append(p.Services, p.Service)).locate(p.IP)
		} else if p.Kind == "node" {
			g.addNode(p.IP)
		}
	}
	all, _, err := ask.Rows[known](ctx, c, maxSeen, "SELECT DISTINCT kind, namespace, name, owner, labels, services, ports, addresses FROM workloads WHERE kind IN ('pod', 'service', 'node') ORDER BY ALL")
	if err != nil {
		return err
	}
	for i := range all {
		k := &all[i]
		var to *podGroup
		switch k.Kind {
		case "pod":
			to = g.add(k.Namespace, cmp.Or(k.Owner, k.Name), k.Labels, k.Services)
			to.locate(k.Addresses...)
		case "node":
			g.addNode(k.Addresses...)
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

// addNode adds addresses of a node. Pods with such an address use the network of their node:
// policies do not select them, and rules reach them by address.
func (g *policyMaker) addNode(addrs ...string) {
	for _, s := range addrs {
		if a, err := netip.ParseAddr(s); err == nil {
			g.nodes[a] = true
		}
	}
}

// locate adds addresses of the group's pods.
func (q *podGroup) locate(addrs ...string) {
	for _, s := range addrs {
		a, err := netip.ParseAddr(s)
		if i, found := slices.BinarySearchFunc(q.addrs, a, netip.Addr.Compare); err == nil && !found {
			q.addrs = slices.Insert(q.addrs, i, a)
		}
	}
}

// at returns the group of the pod at an address; nil if it is not a pod that policies can select.
func (g *policyMaker) at(p *peer) *podGroup {
	if p.Pod == "" {
		return nil
	}
	if a, err := netip.ParseAddr(p.IP); err == nil && g.nodes[a] {
		g.hosted[groupKey(p)] = true
		return nil
	}
	return g.groups[groupKey(p)]
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

// unselected names the workloads with traffic that no policy can select.
func (g *policyMaker) unselected() []string {
	out := []string{}
	for _, k := range slices.Sorted(maps.Keys(g.hosted)) {
		if q := g.groups[k]; q != nil && g.includes(q.namespace) {
			out = append(out, k+": its pods use the network of their node, where policies do not apply")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(g.groups)) {
		if q := g.groups[k]; q.selector == nil && g.includes(q.namespace) && len(q.ingress)+len(q.egress) > 0 {
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
		atDNS := func(r rule) bool { return r.dns }
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
