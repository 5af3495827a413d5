package ask

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// SrcKFL returns the KFL for calls from a node.
func SrcKFL(name string, known map[string]Node) string {
	levels := known[name].Levels
	if levels == "" {
		levels = "name"
	}
	return terms.NodeKFL("src", "service", name, levels)
}

// Target is the endpoint of a row of SQL. Rows about endpoints embed it.
type Target struct {
	Dst      string `json:"dst"`   // name of the node that was called
	Pb       string `json:"pb"`    // inside, outside or unknown; see terms.Place
	Asked    bool   `json:"asked"` // clients called it by that name
	Protocol string `json:"protocol"`
	Method   string `json:"method"` // empty if the endpoint has none; the same for Path
	Path     string `json:"tpl"`
}

// DstKFL returns the KFL for calls to a node.
func DstKFL(name, place string, asked bool, known map[string]Node) string {
	levels := known[name].Levels
	if levels == "" && !asked {
		levels = "name"
	}
	return terms.DstKFL("service", name, place, levels, asked)
}

// Ends returns SQL that begins a query. Its table x has the calls of the window with the numbers
// of the nodes at both ends, an and bn; tables sname and dname have their names. A destination
// outside has bn 0 and its name in far: the name that the client used, if any. ap and bp are the
// numbers of the pod or process at each end. The arguments are those of the window.
func (w *Window) Ends(c *forensics.Case, by string) string {
	if w.Kept != "" {
		return fmt.Sprintf("WITH x AS NOT MATERIALIZED (SELECT * FROM %s WHERE %s) ", w.Kept, w.Where)
	}
	return fmt.Sprintf("WITH %s, x AS NOT MATERIALIZED (%s) ", terms.EndNames(c, by), terms.EndsOf(c, by, fmt.Sprintf("SELECT * FROM %s WHERE %s", "calls", w.Where)))
}

// Node has the fields of a node in table endpoints. Levels are the columns that its name comes
// from, see terms.NodeKFL.
type Node struct {
	Name      string   `json:"name"`
	Levels    string   `json:"levels"`
	Place     string   `json:"place"`
	Namespace string   `json:"namespace"`
	Workloads []string `json:"workloads"`
	Labels    []string `json:"labels"`
	Replicas  int64    `json:"replicas"`
	External  bool     `json:"external"` // has an address outside
}

// MaxFacts is the highest number of nodes that Nodes reads; nodes inside come first.
const MaxFacts = 50_000

// noteOwners records addresses that have an owner in some of the bundles only: a name of one bundle may not be that of
// the same address in another, so one service has two names.
func (f *Frame) noteOwners(ctx context.Context, c *forensics.Case) error {
	if !c.Several() {
		return nil
	}
	type half struct {
		N    int64  `json:"n"`
		Some string `json:"some"`
	}
	x, err := One[half](ctx, c, `SELECT count(*) AS n, coalesce(min(ip), '') AS some FROM (SELECT ip FROM (SELECT ip, bundle, bool_or(how_known NOT IN ('none', 'dns', 'dns_other')) AS owned
		FROM endpoints GROUP BY ALL) GROUP BY ip HAVING bool_or(owned) AND NOT bool_and(owned))`)
	if x.N > 0 {
		f.Note("%d {address|addresses}, such as %s, {has an owner|have owners} in some of the bundles only, so {its|their} calls appear under two names; pcapsule merge with --kube or --hosts names {it|them} in the others", x.N, x.Some)
	}
	return err
}

// Nodes reads the known facts about nodes, by name. An outside address without a name is also
// listed under the address itself, because calls to it use that name.
func Nodes(ctx context.Context, c *forensics.Case, by string) (map[string]Node, error) {
	sql := fmt.Sprintf(`WITH n AS (SELECT *, unnest(list_distinct([%[1]s, CASE WHEN %[2]s THEN '%[3]s' ELSE %[1]s END])) AS node_name,
			%[4]s AS node_level, %[5]s AS node_place FROM endpoints),
		t AS (SELECT node_name, string_agg(DISTINCT node_level, ',' ORDER BY node_level) AS levels, min(node_place) AS place, min(namespace) AS namespace,
			list_sort(list(DISTINCT workload_kind || '/' || workload) FILTER (workload IS NOT NULL))[1:5] AS workloads, count(DISTINCT pod) AS replicas, bool_or(external) AS external FROM n GROUP BY 1),
		p AS (SELECT DISTINCT node_name, pod, unnest(labels) AS label FROM n WHERE pod IS NOT NULL),
		l AS (SELECT node_name, list(text ORDER BY text)[1:6] AS labels FROM (SELECT node_name, label.name || '=' || label.value AS text, count(DISTINCT pod) AS pods FROM p
			WHERE label.name NOT IN ('pod-template-hash', 'controller-revision-hash', 'statefulset.kubernetes.io/pod-name', 'apps.kubernetes.io/pod-index') GROUP BY ALL)
			JOIN t USING (node_name) WHERE pods = replicas GROUP BY 1)
		SELECT node_name AS name, levels, place, namespace, workloads, replicas, external, labels FROM t LEFT JOIN l USING (node_name) ORDER BY place, 1`,
		terms.Node("", by), terms.Nameless(""), terms.AnyOutside, terms.NodeLevel("", by), terms.Place(""))
	rows, _, err := Rows[Node](ctx, c, MaxFacts, sql)
	out := make(map[string]Node, len(rows))
	for _, r := range rows {
		out[r.Name] = r
	}
	return out, err
}
