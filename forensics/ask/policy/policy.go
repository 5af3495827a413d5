// Package policy writes Kubernetes network policies that allow only the observed connections, and
// lists the connections that they would refuse. A policy selects pods by the labels that all pods
// of a group have.
package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// In is the input of generate_network_policy.
type In struct {
	ask.Scope
	Namespaces []string `json:"namespaces,omitempty" jsonschema:"only policies for these namespaces; default all"`
	Ingress    bool     `json:"ingress_only,omitempty" jsonschema:"leave egress unrestricted"`
}

// Answer is the answer of generate_network_policy.
type Answer struct {
	ask.Frame
	Policies    []PolicySummary `json:"policies"`
	Refused     []Attempt       `json:"refused" jsonschema:"connections in the whole recording that these policies refuse: unanswered attempts, and connections outside from, to and kfl"`
	Unselected  []string        `json:"unselected" jsonschema:"workloads that no policy can select, with the reason"`
	Connections int64           `json:"connections" jsonschema:"connections that the policies are based on"`
	YAML        string          `json:"yaml" jsonschema:"the policies, networking.k8s.io/v1, for kubectl apply"`
}

// Document returns the policies as YAML for kubectl apply.
func (p *Answer) Document() (string, []string) { return p.YAML, p.Notes }

// PolicySummary is one policy.
type PolicySummary struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Selector  string   `json:"selector" jsonschema:"labels of the selected pods"`
	Ingress   []string `json:"ingress" jsonschema:"allowed clients, with protocol and port"`
	Egress    []string `json:"egress" jsonschema:"allowed destinations"`
}

// Attempt is a connection that the policies would refuse.
type Attempt struct {
	Src         string `json:"src"`
	Dst         string `json:"dst"`
	Transport   string `json:"transport"`
	Port        int64  `json:"port"`
	Connections int64  `json:"connections"`
	Answered    int64  `json:"answered" jsonschema:"of these, accepted connections"`
	First       string `json:"first"`
	FlowID      string `json:"flow_id" jsonschema:"one of them, in list_l4_flows and table flows; bundle#flow_id if there are several bundles"`
	Why         string `json:"why" jsonschema:"end with the policy that does not allow it"`
	Guessed     bool   `json:"guessed,omitempty" jsonschema:"the beginning was not captured, so the server side is a guess"`
}

// Question is the question generate_network_policy.
func Question() ask.Question {
	return ask.New("generate_network_policy", "Network policies from traffic",
		"Kubernetes NetworkPolicy set that allows only the connections seen in a window, as YAML, with the connections it would have refused in the rest of the recording.", false, Ask)
}

// seen is the sum of the flows between two endpoints at one port.
type seen struct {
	SrcID       int64  `json:"src_id"`
	DstID       int64  `json:"dst_id"`
	Bundle      int64  `json:"bundle"`
	Transport   string `json:"transport"`
	Port        int64  `json:"port"`
	Connections int64  `json:"connections"`
	Answered    int64  `json:"answered"`
	FirstNs     int64  `json:"first_ns"`
	FlowID      string `json:"flow_id"`
	Learned     int64  `json:"learned"`
	Guessed     bool   `json:"guessed"` // the server side is a guess
	DNS         bool   `json:"dns"`     // it carries DNS; the port of a server's pods may be another than 53
}

// peer is an endpoint with the facts that policies need.
type peer struct {
	ID        int64    `json:"id"`
	Bundle    int64    `json:"bundle"`
	IP        string   `json:"ip"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Namespace string   `json:"namespace"`
	Pod       string   `json:"pod"`
	Workload  string   `json:"workload"`
	Service   string   `json:"service"`
	Services  []string `json:"services"`
	DNSName   string   `json:"dns_name"`
	External  bool     `json:"external"`
	Labels    []label  `json:"labels"`
}

type label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// who returns the peer's name.
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

// Ask answers generate_network_policy.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Answer{Policies: []PolicySummary{}, Refused: []Attempt{}, Unselected: []string{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
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
	g := newPolicyMaker(peers)
	g.only, g.ingressOnly = in.Namespaces, in.Ingress
	if err := g.group(ctx, c); err != nil {
		return nil, err
	}
	guessed := int64(0)
	for i := range all {
		switch s := &all[i]; {
		case s.Learned > 0 && s.Guessed:
			guessed += s.Learned
		case s.Learned > 0:
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
	force := inForce(policies)
	for i := range all {
		if a, refused := g.judge(force, &all[i]); refused {
			out.Refused = append(out.Refused, a)
		}
	}
	slices.SortStableFunc(out.Refused, func(a, b Attempt) int { return int(b.Connections - a.Connections) })
	if len(out.Refused) > w.Limit {
		out.Refused, out.Truncated = out.Refused[:w.Limit], true
	}
	if guessed > 0 {
		out.Note("%d {connection is|connections are} not allowed: the beginning was not captured and neither side has a known port, so the server side is a guess", guessed)
	}
	if list := slices.Sorted(maps.Keys(g.unresolved)); len(list) > 0 {
		out.Note("the port on which the pods behind %s listen is unknown, so the rules have the service's port. Policies apply after the service's address is translated, so check these rules", named(list))
	}
	if list := slices.Sorted(maps.Keys(g.unlocated)); len(list) > 0 {
		out.Note("the addresses behind %s are unknown, so the rules have the service's address and port. Policies apply after they are translated, so replace them by the addresses and ports in its EndpointSlices", named(list))
	}
	if list := slices.Sorted(maps.Keys(g.podless)); len(list) > 0 {
		out.Note("no pod behind %s is known, so no policy restricts what reaches its backends: the addresses behind a service may be no pods, or pods that the Kubernetes dump does not have", named(list))
	}
	if g.unruled > 0 {
		out.Note("%d {connection is|connections are} in no policy, because neither end is a pod that policies can select", g.unruled)
	}
	if list := g.withoutDNS(policies); len(list) > 0 {
		out.Note("no DNS query from %s was seen in this time, so the policies do not allow DNS: if these pods resolve names, add egress to the pods of the cluster's DNS and the port on which they listen, such as 53", named(list))
	}
	if list := g.outside(); len(list) > 0 {
		out.Note("policies use addresses and labels, not names: these rules become outdated if the names resolve to other addresses: %s", named(list))
	}
	out.Note("most network plugins allow connections from the node itself, such as probes of the kubelet, regardless of policies")
	out.Match(len(out.Policies))
	return out, nil
}

// named lists names for a note.
func named(list []string) string { return strings.Join(list[:min(len(list), maxNamed)], ", ") }

// flowsSeen sums flows by endpoints and port. If both sides of a connection were seen, it uses the
// server behind the service's address, because network plugins check that one. A flow counts as
// learned if it is in scope and was accepted.
func flowsSeen(ctx context.Context, c *forensics.Case, w *ask.Window) ([]seen, error) {
	learned := "answered"
	args := []any{}
	if w.Asked {
		learned += " AND last_ns >= ? AND first_ns <= ?"
		args = append(args, w.From, w.To)
	}
	if w.KFL != "" {
		cond, err := c.Condition(ctx, w.KFL)
		if err != nil {
			return nil, err
		}
		learned += " AND conn IN (SELECT conn FROM " + ask.Joined(c, "(SELECT "+terms.Key(c, "")+"conn_id FROM calls WHERE "+cond.SQL+")") + ")"
		args = append(args, cond.Args...)
	}
	sql := fmt.Sprintf(`WITH f AS (SELECT %[1]s, conn, flow_id, src_id, dst_id, transport, dst_port, first_ns, last_ns, dst_port = 53 OR protocol = 'dns' AS dns,
			%[5]s AS answered,
			role_known IN ('port', 'first_packet') AND dst_port >= 32768 AS guessed, row_number() OVER (PARTITION BY conn ORDER BY (dst_pod IS NOT NULL) DESC, (dst_kind IS DISTINCT FROM 'service') DESC, (src_pod IS NOT NULL) DESC, first_ns, flow_id) AS nth
			FROM %[2]s WHERE transport IN ('tcp', 'udp', 'sctp'))
		SELECT bundle, src_id, dst_id, transport, dst_port AS port, count(*) AS connections, count(*) FILTER (answered) AS answered,
			min(first_ns) AS first_ns, arg_min(%[4]s, flow_id) AS flow_id, count(*) FILTER (%[3]s) AS learned, guessed, bool_or(dns) AS dns
		FROM f WHERE nth = 1 GROUP BY ALL ORDER BY bundle, src_id, dst_id, transport, port, guessed`, terms.BundleOf(c, ""), ask.Joined(c, "flows"), learned, terms.FlowID(c), terms.Accepted)
	rows, more, err := ask.Rows[seen](ctx, c, maxSeen, sql, args...)
	if more {
		w.Notes = append(w.Notes, fmt.Sprintf("more than %d pairs of endpoints and ports; the rest was left out", maxSeen))
	}
	return rows, err
}

const (
	maxSeen  = 200_000 // pairs of endpoints and ports that are read
	maxNamed = 10      // names in a note
)

func peersOf(ctx context.Context, c *forensics.Case) (map[[2]int64]*peer, error) {
	bundle := "0 AS bundle"
	if c.Several() {
		bundle = "bundle"
	}
	rows, _, err := ask.Rows[peer](ctx, c, maxSeen, `SELECT `+bundle+`, endpoint_id AS id, ip, kind, name, namespace, pod, workload, service, services, dns_name, external, labels FROM endpoints ORDER BY bundle, endpoint_id`)
	if err != nil {
		return nil, err
	}
	out := make(map[[2]int64]*peer, len(rows))
	for i := range rows {
		out[[2]int64{rows[i].Bundle, rows[i].ID}] = &rows[i]
	}
	return out, nil
}

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string {
	return plural.Sprintf("%d {policy allows|policies allow} the traffic of %d {connection|connections}; %d {attempt that failed is|attempts that failed are} not allowed.", len(a.Policies), a.Connections, len(a.Refused))
}
