// Package networkpolicy compares the network policies of Kubernetes dumps with the traffic:
// connections that they refuse and that were accepted, attempts that were blocked as declared, and
// workloads that no policy selects.
//
// A connection is judged at its beginning, by the policies, labels and addresses that the dumps
// show for that time, after the service's address was translated. If the verdict depends on
// something that the dumps do not show, it is cannot-tell, never a violation. Connections with a
// node's address at one end are left out, because the API leaves them to the network plugin, and so
// is traffic of a pod with itself, which no policy can refuse.
package networkpolicy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/netpol"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Kinds of findings.
const (
	notEnforced = "not-enforced"
	predates    = "predates-policy"
	blocked     = "blocked"
	unprotected = "unprotected"
	cannotTell  = "cannot-tell"
)

// Analyzer returns the analyzer network-policy.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "network-policy", Basis: finding.Basis{What: "connections of Kubernetes pods", Is: []finding.Need{finding.Flows(finding.Any("src_namespace IS NOT NULL OR dst_namespace IS NOT NULL"))}}, Title: "connections against network policies", Kinds: []string{notEnforced, predates, blocked, unprotected, cannotTell},
		Doc:   "Connections that the NetworkPolicies of a Kubernetes dump refuse, but that were accepted; attempts that were blocked as declared; connections older than the policy that refuses them; workloads that no policy selects; connections for which the dumps do not say enough.",
		Steps: []finding.Step{{Needs: []finding.Need{{Table: "workloads", Have: finding.Any("kind IN ('pod', 'networkpolicy')")}}, Find: find, Else: noDump}}}
}

const noDump = "no Kubernetes dump shows network policies, so no connection was compared with them"

// group is connections of the same ends at the same time, as far as the dumps show changes.
type group struct {
	Bundle    int64    `json:"bundle"`
	Src       int64    `json:"src"`    // client, as near to it as it was seen
	Seen      int64    `json:"seen"`   // client as the server sees it
	Dst       int64    `json:"dst"`    // server behind a service, if it was seen
	Behind    bool     `json:"behind"` // Dst is the pod that answered
	Transport string   `json:"transport"`
	Port      int64    `json:"port"`
	Accepted  bool     `json:"accepted"`
	Begun     bool     `json:"begun"`   // its first packet was captured
	Guessed   bool     `json:"guessed"` // which end is the server
	Shared    bool     `json:"shared"`  // several bundles saw it
	Began     int64    `json:"began"`   // change before it
	Ended     int64    `json:"ended"`   // change before its last packet
	Count     int64    `json:"count"`
	Bytes     int64    `json:"bytes"`
	FirstNs   int64    `json:"first_ns"`
	LastNs    int64    `json:"last_ns"`
	FlowIDs   []string `json:"flow_ids"`
}

// groupsSQL groups the connections of the window. If several vantages saw a connection, its ends are
// those of the vantage that knows their pods, because a service's address is translated in between. If
// several bundles saw it, its ends are those of the bundle that knows more of their pods, or else saw its beginning, and
// its bytes are those of the bundle that has the most. %[1]s are all columns with the bundle, %[2]s selects the flows,
// %[3]s has the times of changes, %[4]s adds the connection that each flow belongs to, and
// %[5]s is its id.
const groupsSQL = `WITH f AS (SELECT %[1]s, dst_pod IS NOT NULL AS behind,
		` + terms.Accepted + ` AS accepted,
		transport <> 'tcp' OR role_known IN ('syn', 'synack') AS begun, role_known IN ('port', 'first_packet') AND dst_port >= 32768 AS guessed
		FROM flows WHERE transport IN ('tcp', 'udp', 'sctp') AND %[2]s),
	s AS (%[4]s),
	c AS (SELECT own AS bundle, arg_min(src_id, (src_pod IS NULL, flow_id)) FILTER (bundle = own) AS src, arg_min(src_id, (NOT behind, flow_id)) FILTER (bundle = own) AS seen,
		arg_min(dst_id, (NOT behind, flow_id)) FILTER (bundle = own) AS dst, bool_or(behind) FILTER (bundle = own) AS behind, any_value(transport) AS transport,
		(arg_min(dst_port, (NOT behind, flow_id)) FILTER (bundle = own))::BIGINT AS port, bool_or(accepted) AS accepted, bool_or(begun) AS begun, bool_and(guessed) AS guessed, bool_or(bundle <> own) AS shared,
		max(src_payload_bytes + dst_payload_bytes) AS bytes, min(first_ns) AS first_ns, max(last_ns) AS last_ns, min(flow_id) FILTER (bundle = own) AS flow_id FROM s GROUP BY own, conn),
	b AS (SELECT no AS t FROM %[3]s)
	SELECT bundle, src, seen, dst, behind, transport, port, accepted, begun, guessed, shared, x.t AS began, y.t AS ended, count(*) AS count, sum(bytes)::BIGINT AS bytes, min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(%[5]s, (first_ns, %[5]s), 3) AS flow_ids
	FROM c ASOF JOIN b x ON c.first_ns >= x.t ASOF JOIN b y ON c.last_ns >= y.t GROUP BY ALL ORDER BY ALL`

func find(ctx context.Context, l *finding.Look) error {
	clusters, err := load(ctx, l)
	if err != nil {
		return err
	}
	changes := map[int64]bool{0: true}
	pods, policies := 0, 0
	for _, k := range clusters {
		pods, policies = pods+len(k.pods), policies+len(k.policies)
		for _, t := range k.changes() {
			changes[t] = true
		}
	}
	if policies == 0 {
		if pods > 0 {
			l.Note("the Kubernetes dumps have no network policies: there may be none, or the dump does not include networkpolicies")
		} else {
			l.Note(noDump)
		}
		return nil
	}
	columns, same := "0 AS bundle, *", "SELECT *, bundle AS own, conn_id AS conn FROM f"
	if l.Case.Several() {
		columns = "*"
	}
	if ask.Overlapping(l.Case) {
		in := strings.Join(strings.Fields(strings.Trim(fmt.Sprint(slices.Sorted(maps.Keys(clusters))), "[]")), ", ") // the others show no policies
		same = "SELECT *, arg_max(bundle, (behind::INTEGER + (src_pod IS NOT NULL)::INTEGER, -first_ns, -bundle)) OVER (PARTITION BY conn) AS own FROM " + ask.Joined(l.Case, "f") + " WHERE bundle IN (" + in + ")"
	}
	groups, more, err := ask.Rows[group](ctx, l.Case, maxGroups, fmt.Sprintf(groupsSQL, columns, l.Flows(), terms.Zip("no"), same, terms.FlowID(l.Case)), terms.Numbers(slices.Sorted(maps.Keys(changes))))
	if err != nil {
		return err
	}
	if more {
		l.Note("there are more than %d pairs of endpoints and ports; the rest was not examined", maxGroups)
	}
	r := &result{look: l, claims: map[string]*claim{}, open: map[string]*claim{}, kept: map[string]bool{}}
	for i := range groups {
		if k := clusters[groups[i].Bundle]; k != nil {
			r.judge(k, &groups[i])
		}
	}
	r.report()
	return nil
}

// maxGroups is the highest number of groups that are examined.
const maxGroups = 200_000

// claim is a finding in the making.
type claim struct {
	row      finding.Row
	kind     string
	bytes    int64
	least    bool // bytes may be missing, because each of several bundles may have only some of them
	why      string
	policies []string
	likely   bool     // of all connections
	notes    []string // what is known of the age of the policies, by connections
}

// result collects the findings.
type result struct {
	look     *finding.Look
	claims   map[string]*claim
	open     map[string]*claim // unprotected workloads
	kept     map[string]bool   // workloads that a policy selects or may select
	declared int64
	atNode   int64
}

// judge compares the connections of a group with the policies.
func (r *result) judge(k *cluster, g *group) {
	src, seen, dst := k.ends[g.Src], k.ends[g.Seen], k.ends[g.Dst]
	if src == nil || seen == nil || dst == nil || src.podName() == dst.podName() && src.Pod != "" {
		return
	}
	if k.atNode(src) || k.atNode(dst) {
		if k.atNode(src) != k.atNode(dst) && (src.Pod != "" || dst.Pod != "") {
			r.atNode += g.Count
		}
		return
	}
	r.protection(k, g, src)
	if g.Behind {
		r.protection(k, g, dst)
	}
	v := k.decide(g, src, seen, dst, moment{g.FirstNs, g.Began})
	c := claim{row: finding.Row{Src: src.As, Dst: dst.Who, Detail: fmt.Sprintf("%s/%d", g.Transport, g.Port)}, policies: v.policies, likely: v.likely, notes: []string{v.note}}
	switch {
	case v.refused.Truth == netpol.Maybe:
		c.kind, c.why = cannotTell, v.refused.Why
	case v.refused.Truth == netpol.Yes && g.Guessed:
		c.kind, c.why = cannotTell, "the beginning was not captured, so which end is the server is a guess"
	case v.refused.Truth == netpol.Yes && !g.Begun:
		c.kind, c.why = cannotTell, "it began before the capture, perhaps before the policy"
	case v.refused.Truth == netpol.Yes && g.Accepted:
		c.kind = notEnforced
	case v.refused.Truth == netpol.Yes:
		c.kind = blocked
	default:
		r.declared += g.Count
		if later := k.decide(g, src, seen, dst, moment{g.LastNs, g.Ended}); g.Accepted && g.Ended > g.Began && later.refused.Truth == netpol.Yes {
			c.kind, c.policies, c.likely, c.notes = predates, later.policies, later.likely, []string{later.note}
		}
	}
	if c.kind != "" {
		add(r.claims, c, g)
	}
}

// protection records whether a policy selects the pod at an end.
func (r *result) protection(k *cluster, g *group, e *end) {
	if e.Pod == "" || !k.covers(e.Namespace) {
		return
	}
	pod := k.podAt(e, g.LastNs)
	for _, p := range k.policiesAt(g.Ended) {
		if p.Selects(pod).Truth != netpol.No {
			r.kept[e.workload()] = true
			return
		}
	}
	add(r.open, claim{kind: unprotected, row: finding.Row{Src: e.workload()}}, g)
}

// add adds the connections of a group to the claim like c. What was known of the policies may differ
// between them, which is one finding.
func add(to map[string]*claim, c claim, g *group) {
	had := to[c.key()]
	if had == nil {
		had = &c
		had.row.FirstNs, had.row.LastNs = g.FirstNs, g.LastNs
		to[c.key()] = had
	}
	for _, note := range c.notes {
		if !slices.Contains(had.notes, note) {
			had.notes = append(had.notes, note)
		}
	}
	had.likely = had.likely && c.likely
	had.row.Count += g.Count
	had.bytes += g.Bytes
	had.least = had.least || g.Shared
	had.row.FirstNs, had.row.LastNs = min(had.row.FirstNs, g.FirstNs), max(had.row.LastNs, g.LastNs)
	if n := 3 - len(had.row.FlowIDs); n > 0 {
		had.row.FlowIDs = append(had.row.FlowIDs, g.FlowIDs[:min(n, len(g.FlowIDs))]...)
	}
}

// report reports the claims, those with the most connections first.
func (r *result) report() {
	l := r.look
	list := slices.Collect(maps.Values(r.claims))
	for _, c := range r.open {
		if !r.kept[c.row.Src] {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *claim) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.kind), slices.Index(order, b.kind)), cmp.Compare(b.row.Count, a.row.Count), cmp.Compare(a.key(), b.key()))
	})
	for _, c := range list {
		l.Add(c.row, c.finding())
	}
	if r.declared > 0 {
		l.Note("%d {connection is|connections are} as the policies declare", r.declared)
	}
	if r.atNode > 0 {
		l.Note("%d {connection|connections} between pods and addresses of nodes {was|were} not judged: the API leaves them to the network plugin", r.atNode)
	}
}

// order is the order of the kinds.
var order = []string{notEnforced, predates, cannotTell, unprotected, blocked}

func (c *claim) key() string {
	return strings.Join(append([]string{c.kind, c.row.Src, c.row.Dst, c.row.Detail, c.why}, c.policies...), "\x00")
}

// finding words a claim.
func (c *claim) finding() finding.Finding {
	f := finding.Finding{Kind: c.kind, Severity: finding.Info, Confidence: finding.Exact}
	f.Key = strings.Join(append([]string{c.kind, c.row.Detail, c.why}, c.policies...), "\x00")
	if c.likely {
		f.Confidence = finding.Likely
	}
	to := plural.Sprintf("%s in %d {connection|connections}", finding.Reach(c.row.Src, c.row.Dst, c.row.Detail), c.row.Count)
	by := "network policy " + strings.Join(c.policies, ", ")
	if len(c.policies) > 1 {
		by = "network policies " + strings.Join(c.policies, ", ")
	}
	switch c.kind {
	case notEnforced:
		f.Severity = finding.High
		amount := plural.Thousands(c.bytes)
		if c.least {
			amount = "at least " + amount
		}
		f.What = fmt.Sprintf("%s, with %s bytes of payload, that %s should have refused: %s", to, amount, by, strings.Join(slices.Sorted(slices.Values(c.notes)), "; others: "))
	case blocked:
		f.What = fmt.Sprintf("%s, none of which was %s, as %s declares", to, finding.Taken(c.row.Detail), by)
	case predates:
		f.Severity = finding.Low
		f.What = fmt.Sprintf("%s that began before %s, which refuses new ones; the network plugin decides whether existing ones end", to, by)
	case unprotected:
		f.Severity = finding.Low
		f.What = plural.Sprintf("no network policy selects %s, which has %d {connection|connections}, so nothing restricts it", c.row.Src, c.row.Count)
	case cannotTell:
		f.Confidence = finding.Guess
		f.What = fmt.Sprintf("%s; it is unknown whether the network policies allow them: %s", to, c.why)
	}
	return f
}
