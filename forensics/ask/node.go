package ask

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// SrcKFL is the KFL for the near end of a row of ends being a service.
func SrcKFL(name string, known map[string]Node) string {
	levels := known[name].Levels
	if levels == "" {
		levels = "name"
	}
	return terms.NodeKFL("src", "service", name, levels)
}

// Target is the endpoint that a row of SQL is about, embedded in the rows of those who look
// for something at endpoints.
type Target struct {
	Dst      string `json:"dst"`   // name of the node that was called
	Pb       string `json:"pb"`    // its place, see terms.Place
	Asked    bool   `json:"asked"` // clients asked for it by that name
	Protocol string `json:"protocol"`
	Method   string `json:"method"` // empty where the endpoint has none, as is Path
	Path     string `json:"tpl"`
}

// DstKFL is the KFL for the far end of a row of ends being a service.
func DstKFL(name, place string, asked bool, known map[string]Node) string {
	levels := known[name].Levels
	if levels == "" && !asked {
		levels = "name"
	}
	return terms.DstKFL("service", name, place, levels, asked)
}

// Ends is SQL that begins a query: table x is the calls of the window with numbers for the
// nodes of both ends, an and bn, whose names are in tables sname and dname. An end outside that was asked has
// bn 0 and its name in far: as the client named it, where it did; ap and bp number what
// runs there, a pod or a process. Arguments are the window's.
func (w *Window) Ends(c *forensics.Case, by string) string {
	if w.Kept != "" {
		return fmt.Sprintf("WITH x AS NOT MATERIALIZED (SELECT * FROM %s WHERE %s) ", w.Kept, w.Where)
	}
	return fmt.Sprintf("WITH %s, x AS NOT MATERIALIZED (%s) ", terms.EndNames(c, by), terms.EndsOf(c, by, fmt.Sprintf("SELECT * FROM %s WHERE %s", "calls", w.Where)))
}

// Node is what table endpoints says of a node. Levels are the columns that named it, see
// terms.NodeKFL.
type Node struct {
	Name      string   `json:"name"`
	Levels    string   `json:"levels"`
	Place     string   `json:"place"`
	Namespace string   `json:"namespace"`
	Workloads []string `json:"workloads"`
	Labels    []string `json:"labels"`
	Replicas  int64    `json:"replicas"`
}

// MaxFacts is how many nodes are known by more than their name; those inside come first.
const MaxFacts = 50_000

// Nodes reads what is known of nodes, by name. A nameless address outside stands under
// its own name too, as those that were asked do.
func Nodes(ctx context.Context, c *forensics.Case, by string) (map[string]Node, error) {
	sql := fmt.Sprintf(`WITH n AS (SELECT *, unnest(list_distinct([%[1]s, CASE WHEN %[2]s THEN '%[3]s' ELSE %[1]s END])) AS node_name, %[4]s AS node_level, %[5]s AS node_place FROM endpoints),
		t AS (SELECT node_name, string_agg(DISTINCT node_level, ',' ORDER BY node_level) AS levels, min(node_place) AS place, min(namespace) AS namespace,
			list_sort(list(DISTINCT workload_kind || '/' || workload) FILTER (workload IS NOT NULL))[1:5] AS workloads, count(DISTINCT pod) AS replicas FROM n GROUP BY 1),
		p AS (SELECT DISTINCT node_name, pod, unnest(labels) AS label FROM n WHERE pod IS NOT NULL),
		l AS (SELECT node_name, list(text ORDER BY text)[1:6] AS labels FROM (SELECT node_name, label.name || '=' || label.value AS text, count(DISTINCT pod) AS pods FROM p
			WHERE label.name NOT IN ('pod-template-hash', 'controller-revision-hash', 'statefulset.kubernetes.io/pod-name', 'apps.kubernetes.io/pod-index') GROUP BY ALL)
			JOIN t USING (node_name) WHERE pods = replicas GROUP BY 1)
		SELECT node_name AS name, levels, place, namespace, workloads, replicas, labels FROM t LEFT JOIN l USING (node_name) ORDER BY place, 1`,
		terms.Node("", by), terms.Nameless(""), terms.AnyOutside, terms.NodeLevel("", by), terms.Place(""))
	rows, _, err := Rows[Node](ctx, c, MaxFacts, sql)
	out := make(map[string]Node, len(rows))
	for _, r := range rows {
		out[r.Name] = r
	}
	return out, err
}
