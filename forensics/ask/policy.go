package ask

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// PolicyIn asks for network policies.
type PolicyIn struct {
	Scope
	Namespaces []string `json:"namespaces,omitempty" jsonschema:"write policies for these namespaces only; all where empty"`
	Ingress    bool     `json:"ingress_only,omitempty" jsonschema:"leave egress unrestricted"`
}

// NetworkPolicies are what would allow the connections that were seen, and nothing else.
type NetworkPolicies struct {
	Frame
	Policies    []PolicySummary `json:"policies"`
	Refused     []Attempt       `json:"refused" jsonschema:"seen in the whole recording and not allowed by these policies: attempts without an answer, and whatever lies outside from, to and kfl"`
	Unselected  []string        `json:"unselected" jsonschema:"workloads that no policy can select, with the reason"`
	Connections int64           `json:"connections" jsonschema:"connections that the policies were made of"`
	YAML        string          `json:"yaml" jsonschema:"the policies, networking.k8s.io/v1, for kubectl apply"`
}

// PolicySummary is one policy.
type PolicySummary struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Selector  string   `json:"selector" jsonschema:"labels of the pods that it is for"`
	Ingress   []string `json:"ingress" jsonschema:"who may connect, with protocol and port"`
	Egress    []string `json:"egress" jsonschema:"what it may connect to"`
}

// Attempt is what the policies would have refused.
type Attempt struct {
	Src         string `json:"src"`
	Dst         string `json:"dst"`
	Transport   string `json:"transport"`
	Port        int64  `json:"port"`
	Connections int64  `json:"connections"`
	Answered    int64  `json:"answered" jsonschema:"of these, connections that the other side took"`
	First       string `json:"first"`
	FlowID      int64  `json:"flow_id" jsonschema:"one of them; list_l4_flows and table flows have it"`
	Why         string `json:"why" jsonschema:"which end has a policy that does not allow it"`
}

func networkPolicies() Question {
	return question("generate_network_policy", "Network policies from what was seen",
		"Kubernetes NetworkPolicy set that allows the connections seen in a window and nothing else, as YAML, with what it would have refused in the rest of the recording.", false, AskNetworkPolicies)
}

// seen is a sum of flows between two endpoints at one port.
type seen struct {
	SrcID       int64  `json:"src_id"`
	DstID       int64  `json:"dst_id"`
	Bundle      int64  `json:"bundle"`
	Transport   string `json:"transport"`
	Port        int64  `json:"port"`
	Connections int64  `json:"connections"`
	Answered    int64  `json:"answered"`
	FirstNs     int64  `json:"first_ns"`
	FlowID      int64  `json:"flow_id"`
	Learned     int64  `json:"learned"`
	AtService   bool   `json:"at_service"` // seen at the service's address only
}

// peer is an endpoint as a policy sees it.
type peer struct {
	ID        int64   `json:"id"`
	Bundle    int64   `json:"bundle"`
	IP        string  `json:"ip"`
	Kind      string  `json:"kind"`
	Name      string  `json:"name"`
	Namespace string  `json:"namespace"`
	Pod       string  `json:"pod"`
	Workload  string  `json:"workload"`
	Service   string  `json:"service"`
	DNSName   string  `json:"dns_name"`
	External  bool    `json:"external"`
	Labels    []label `json:"labels"`
}

type label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// who is the peer's name.
func (p *peer) who() string {
	name := p.Name
	for _, n := range []string{p.Workload, p.Pod, p.Service, p.DNSName, p.Name, p.IP} {
		if n != "" {
			name = n
			break
		}
	}
	if p.Namespace != "" {
		return p.Namespace + "/" + name
	}
	return name
}

// AskNetworkPolicies writes policies.
func AskNetworkPolicies(ctx context.Context, c *forensics.Case, in PolicyIn) (*NetworkPolicies, error) {
	w, err := in.read(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &NetworkPolicies{Policies: []PolicySummary{}, Refused: []Attempt{}, Unselected: []string{}}
	if out.Frame, err = w.frame(ctx, c); err != nil {
		return nil, err
	}
	all, err := flowsSeen(ctx, c, w)
	if err != nil {
		return nil, err
	}
	peers, err := peersOf(ctx, c)
	if err != nil {
		return nil, err
	}
	g := &policyMaker{peers: peers, groups: map[string]*podGroup{}, only: in.Namespaces, ingressOnly: in.Ingress}
	g.group()
	virtual := 0
	for i := range all {
		if s := &all[i]; s.Learned > 0 {
			if s.AtService {
				virtual++
			}
			out.Connections += s.Learned
			g.learn(s)
		}
	}
	policies := g.policies()
	for _, p := range policies {
		out.Policies = append(out.Policies, p.summary())
	}
	out.Unselected = g.unselected()
	if out.YAML, err = writePolicies(policies); err != nil {
		return nil, err
	}
	for i := range all {
		if a, refused := g.judge(policies, &all[i]); refused {
			out.Refused = append(out.Refused, a)
		}
	}
	slices.SortStableFunc(out.Refused, func(a, b Attempt) int { return int(b.Connections - a.Connections) })
	if len(out.Refused) > w.limit {
		out.Refused, out.Truncated = out.Refused[:w.limit], true
	}
	if virtual > 0 {
		out.note("%d rules come from connections that were seen at a service's address only: their port is the service's, and the pods may listen on another", virtual)
	}
	out.note("policies know addresses and labels, not names: a rule for an outside address goes stale when its name moves")
	out.note("connections that the node itself makes, such as probes of the kubelet, are allowed by most network plugins whatever a policy says")
	out.matched(len(out.Policies))
	return out, nil
}

// flowsSeen sums flows whose server is what the network delivers to: where both sides of a
// connection were seen, the one behind the service's address, since that is what network
// plugins look at. A flow counts as learned within the scope where the other side took it.
func flowsSeen(ctx context.Context, c *forensics.Case, w *window) ([]seen, error) {
	bundle, part := "0 AS bundle", "conn_id"
	if c.Several() {
		bundle, part = "bundle", "bundle, conn_id"
	}
	learned := "answered"
	args := []any{}
	if w.asked {
		learned += " AND last_ns >= ? AND first_ns <= ?"
		args = append(args, w.from, w.to)
	}
	if w.kfl != "" {
		cond, err := c.Condition(ctx, w.kfl)
		if err != nil {
			return nil, err
		}
		learned += " AND (" + part + ") IN (SELECT (" + part + ") FROM calls WHERE " + cond.SQL + ")"
		args = append(args, cond.Args...)
	}
	sql := fmt.Sprintf(`WITH f AS (SELECT %[1]s, conn_id, flow_id, src_id, dst_id, transport, dst_port, first_ns, last_ns,
			CASE transport WHEN 'tcp' THEN coalesce(state NOT IN ('syn_sent', 'refused'), true) ELSE dst_packets > 0 END AS answered,
			dst_pod IS NULL AND dst_service IS NOT NULL AS at_service, row_number() OVER (PARTITION BY %[2]s ORDER BY (dst_pod IS NOT NULL) DESC, (src_pod IS NOT NULL) DESC, flow_id) AS nth
			FROM flows WHERE transport IN ('tcp', 'udp', 'sctp'))
		SELECT bundle, src_id, dst_id, transport, dst_port AS port, count(*) AS connections, count(*) FILTER (answered) AS answered,
			min(first_ns) AS first_ns, min(flow_id) AS flow_id, count(*) FILTER (%[3]s) AS learned,
			bool_or(at_service) AS at_service
		FROM f WHERE nth = 1 GROUP BY ALL ORDER BY bundle, src_id, dst_id, transport, port`, bundle, part, learned)
	rows, more, err := readRows[seen](ctx, c, maxSeen, sql, args...)
	if more {
		w.notes = append(w.notes, fmt.Sprintf("more than %d pairs of endpoints and ports: the rest was left out", maxSeen))
	}
	return rows, err
}

// maxSeen is how many pairs of endpoints and ports policies are made of.
const maxSeen = 200_000

func peersOf(ctx context.Context, c *forensics.Case) (map[[2]int64]*peer, error) {
	bundle := "0 AS bundle"
	if c.Several() {
		bundle = "bundle"
	}
	rows, _, err := readRows[peer](ctx, c, maxSeen, `SELECT `+bundle+`, endpoint_id AS id, ip, kind, name, namespace, pod, workload, service, dns_name, external, labels FROM endpoints ORDER BY bundle, endpoint_id`)
	if err != nil {
		return nil, err
	}
	out := make(map[[2]int64]*peer, len(rows))
	for i := range rows {
		out[[2]int64{rows[i].Bundle, rows[i].ID}] = &rows[i]
	}
	return out, nil
}

// podGroup is the pods of one workload.
type podGroup struct {
	namespace, name string
	labels          map[string]string // that all its pods have, without what differs from pod to pod
	selector        map[string]string // that no other group of the namespace has; nil where there is none
	services        []string
	ingress, egress []rule
}

// rule is one connection that a policy allows.
type rule struct {
	group     *podGroup    // other end, where it is pods
	prefix    netip.Prefix // else its address
	name      string       // for people
	transport string
	port      int64
}

func (r rule) key() string {
	return fmt.Sprintf("%s|%s|%05d|%s", r.name, r.transport, r.port, r.prefix)
}

type policyMaker struct {
	peers       map[[2]int64]*peer
	groups      map[string]*podGroup
	only        []string
	ingressOnly bool
}

// passing are labels that differ from pod to pod or from release to release.
func passing(name string) bool {
	for _, s := range []string{"pod-template-hash", "controller-revision-hash", "pod-template-generation", "statefulset.kubernetes.io/", "apps.kubernetes.io/pod-index",
		"batch.kubernetes.io/", "controller-uid", "job-name", "job-completion-index", "app.kubernetes.io/version", "helm.sh/chart", "app.kubernetes.io/managed-by"} {
		if name == s || strings.HasSuffix(s, "/") && strings.HasPrefix(name, s) {
			return true
		}
	}
	return false
}

func groupKey(p *peer) string {
	name := p.Workload
	if name == "" {
		name = p.Pod
	}
	return p.Namespace + "/" + name
}

// group puts pods together by workload and finds what selects each.
func (g *policyMaker) group() {
	for _, k := range sortedPeers(g.peers) {
		p := g.peers[k]
		if p.Pod == "" || p.Namespace == "" {
			continue
		}
		labels := map[string]string{}
		for _, l := range p.Labels {
			if !passing(l.Name) {
				labels[l.Name] = l.Value
			}
		}
		q := g.groups[groupKey(p)]
		if q == nil {
			_, name, _ := strings.Cut(groupKey(p), "/")
			q = &podGroup{namespace: p.Namespace, name: name, labels: labels}
			g.groups[groupKey(p)] = q
		}
		for name, value := range q.labels {
			if labels[name] != value {
				delete(q.labels, name)
			}
		}
		if p.Service != "" && !slices.Contains(q.services, p.Service) {
			q.services = append(q.services, p.Service)
		}
	}
	for _, q := range g.groups {
		q.selector = g.selectorOf(q)
	}
}

// usual are the labels that people select by, best first.
var usual = [][]string{{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}, {"app.kubernetes.io/name", "app.kubernetes.io/instance"},
	{"app.kubernetes.io/name"}, {"app"}, {"k8s-app"}, {"name"}}

// selectorOf finds labels that the group's pods have and no other pods of its namespace.
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
			if other != q && other.namespace == q.namespace && selects(sel, other.labels) {
				return nil
			}
		}
		return sel
	}
	for _, names := range usual {
		if sel := try(names); len(sel) > 0 {
			return sel
		}
	}
	if sel := try(sortedNames(q.labels)); len(sel) > 0 {
		return sel
	}
	return nil
}

func selects(selector, labels map[string]string) bool {
	for n, v := range selector {
		if labels[n] != v {
			return false
		}
	}
	return true
}

// groupOf is the pods behind an endpoint: its own, or those of the service it is.
func (g *policyMaker) groupOf(p *peer) *podGroup {
	if p == nil {
		return nil
	}
	if p.Pod != "" {
		return g.groups[groupKey(p)]
	}
	if p.Service == "" {
		return nil
	}
	for _, k := range sortedNames(g.groups) {
		if q := g.groups[k]; q.namespace == p.Namespace && slices.Contains(q.services, p.Service) {
			return q
		}
	}
	return nil
}

// learn allows one pair at both ends.
func (g *policyMaker) learn(s *seen) {
	src, dst := g.peers[[2]int64{s.Bundle, s.SrcID}], g.peers[[2]int64{s.Bundle, s.DstID}]
	from, to := g.groupOf(src), g.groupOf(dst)
	if to != nil && g.wants(to) {
		if r, ok := ruleFor(src, from, s); ok {
			to.ingress = addRule(to.ingress, r)
		}
	}
	if from != nil && g.wants(from) && !g.ingressOnly {
		if r, ok := ruleFor(dst, to, s); ok {
			from.egress = addRule(from.egress, r)
		}
	}
}

func (g *policyMaker) wants(q *podGroup) bool {
	return len(g.only) == 0 || slices.Contains(g.only, q.namespace)
}

// ruleFor is the rule for the other end of a connection.
func ruleFor(p *peer, q *podGroup, s *seen) (rule, bool) {
	r := rule{transport: strings.ToUpper(s.Transport), port: s.Port}
	if q != nil && q.selector != nil {
		r.group, r.name = q, q.namespace+"/"+q.name
		return r, true
	}
	if p == nil {
		return r, false
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

// unselected names workloads that have no labels of their own.
func (g *policyMaker) unselected() []string {
	out := []string{}
	for _, k := range sortedNames(g.groups) {
		if q := g.groups[k]; q.selector == nil && g.wants(q) {
			why := "its pods have no labels"
			if len(q.labels) > 0 {
				why = "other workloads of the namespace have the same labels"
			}
			out = append(out, q.namespace+"/"+q.name+": "+why)
		}
	}
	return out
}
