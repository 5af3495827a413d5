package ask

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Names of nodes that stand for several.
const (
	anyOutside = "(outside)" // addresses outside that nothing names, or in a map of namespaces all outside
	anyUnknown = "(unknown)" // in a map of namespaces: private addresses that nobody named
)

// groupings are the ways to group ends into nodes: the column that a node is named by.
var groupings = map[string]string{"": "service", "service": "service", "workload": "workload", "namespace": "namespace", "pod": "pod", "node": "node"}

// node is the SQL for the node that an end belongs to.
func node(p, by string) string {
	switch by {
	case "service":
		return who(p)
	case "namespace":
		return fmt.Sprintf(`coalesce(%[1]snamespace, CASE WHEN %[1]skind IN ('node', 'process') THEN coalesce(%[1]snode, %[1]sname) WHEN %[1]sexternal THEN '%[2]s' ELSE '%[3]s' END)`, p, anyOutside, anyUnknown)
	case "node":
		return fmt.Sprintf(`coalesce(%snode, %s)`, p, who(p))
	}
	return fmt.Sprintf(`(CASE WHEN %[1]s%[2]s IS NULL THEN %[3]s ELSE coalesce(%[1]snamespace || '/', '') || %[1]s%[2]s END)`, p, by, who(p))
}

// nodeLevel is the SQL for what node took the name from.
func nodeLevel(p, by string) string {
	switch by {
	case "service":
		return level(p)
	case "namespace":
		return fmt.Sprintf(`(CASE WHEN %[1]snamespace IS NOT NULL THEN 'own' WHEN %[1]skind IN ('node', 'process') THEN CASE WHEN %[1]snode IS NULL THEN 'name' ELSE 'node' END ELSE 'all' END)`, p)
	}
	return fmt.Sprintf(`(CASE WHEN %s%s IS NOT NULL THEN 'own' ELSE %s END)`, p, by, level(p))
}

// nodeKFL is the KFL for an end, "src" or "dst", being a node.
func nodeKFL(side, by, name, levels string) string {
	switch {
	case by == "service" && name == anyOutside:
		return fmt.Sprintf(`%[1]s.kind == "outside" and !%[1]s.dns and !%[1]s.hostname`, side)
	case by == "service":
		return whoKFL(side, name, levels)
	}
	var any []string
	for _, l := range strings.Split(levels, ",") {
		var cond string
		ns, rest, ok := strings.Cut(name, "/")
		switch {
		case by == "namespace" && l == "own":
			cond = fmt.Sprintf(`%s.namespace == %s`, side, quoteKFL(name))
		case by == "namespace" && l == "all":
			not := "!"
			if name == anyOutside {
				not = ""
			}
			cond = fmt.Sprintf(`%[2]s%[1]s.external and !%[1]s.namespace and %[1]s.kind not in ["node", "process"]`, side, not)
		case by == "namespace":
			cond = fmt.Sprintf(`!%[1]s.namespace and %[1]s.%[2]s == %[3]s`, side, l, quoteKFL(name))
		case l == "own" && by == "node":
			cond = fmt.Sprintf(`%s.node == %s`, side, quoteKFL(name))
		case l == "own" && ok:
			cond = fmt.Sprintf(`%[1]s.namespace == %[2]s and %[1]s.%[3]s == %[4]s`, side, quoteKFL(ns), by, quoteKFL(rest))
		case l == "own":
			cond = fmt.Sprintf(`!%[1]s.namespace and %[1]s.%[2]s == %[3]s`, side, by, quoteKFL(name))
		case name == anyOutside:
			cond = fmt.Sprintf(`!%[1]s.%[2]s and %[1]s.kind == "outside" and !%[1]s.dns and !%[1]s.hostname`, side, by)
		default:
			cond = fmt.Sprintf(`!%s.%s and %s`, side, by, whoKFL(side, name, l))
		}
		any = append(any, cond)
	}
	if len(any) == 1 {
		return any[0]
	}
	return "((" + strings.Join(any, ") or (") + "))"
}

// A name that a client asked for, rather than an address.
const nameLikeKFL = `host.matches("[A-Za-z].*[.]|[.].*[A-Za-z]")`

// ends is SQL that begins a query: table x is the calls of the window with numbers for the
// nodes of both ends, an and bn, and names reads them. An end outside that was asked has
// bn 0 and its name in far: as the client named it, where it did; ap and bp number what
// runs there, a pod or a process. Arguments are the window's.
func (w *window) ends(c *forensics.Case, by string) string {
	if w.kept != "" {
		return fmt.Sprintf("WITH x AS NOT MATERIALIZED (SELECT * FROM %s WHERE %s) ", w.kept, w.where)
	}
	return fmt.Sprintf("WITH %s, x AS NOT MATERIALIZED (%s) ", endNames(c, by), endsOf(c, by, fmt.Sprintf("SELECT * FROM %s WHERE %s", "calls", w.where)))
}

// endNames are the tables that number the nodes and name them.
func endNames(c several, by string) string {
	return fmt.Sprintf(`e AS MATERIALIZED (SELECT %s endpoint_id, wide, near, place, ns, dense_rank() OVER (ORDER BY coalesce(pod_uid, pod, ip || coalesce('#' || pid, ''))) AS pn, dense_rank() OVER (ORDER BY wide) AS dn, dense_rank() OVER (ORDER BY near) AS sn
			FROM (SELECT *, %s AS wide, CASE WHEN %s THEN '%s' ELSE %s END AS near, %s AS place, namespace AS ns FROM endpoints)),
		sname AS (SELECT sn AS an, min(near) AS src, min(place) AS pa, min(ns) AS na FROM e GROUP BY 1),
		dname AS (SELECT dn AS bn, min(wide) AS dst, min(place) AS pb, min(ns) AS nb FROM e GROUP BY 1 UNION ALL SELECT 0, NULL, 'outside', NULL)`,
		key(c, ""), node("", by), nameless(""), anyOutside, node("", by), place(""))
}

// endsOf is the SQL that numbers the nodes of calls, or of groups of calls that have their
// src_id, dst_id, protocol and host, and bundle where the case has several.
func endsOf(c several, by, calls string) string {
	on := ""
	if c.Several() {
		on = "k.bundle = %[1]s.bundle AND "
	}
	join := func(alias, id string) string {
		return fmt.Sprintf(" JOIN e %[1]s ON "+on+"k.%[2]s = %[1]s.endpoint_id", alias, id)
	}
	host := "k.protocol <> 'dns' AND regexp_matches(k.host, '[A-Za-z].*[.]|[.].*[A-Za-z]')"
	if by == "namespace" || by == "node" {
		host = "false"
	}
	return fmt.Sprintf(`SELECT k.*, s.pn AS ap, d.pn AS bp, s.sn AS an, CASE WHEN d.place = 'outside' THEN 0 ELSE d.dn END AS bn,
			CASE WHEN d.place <> 'outside' THEN '' WHEN %s THEN k.host ELSE d.wide END AS far FROM (%s) k %s %s`, host, calls, join("s", "src_id"), join("d", "dst_id"))
}

// dstKFL is the KFL for the far end of table x of ends being the node name, which stands at
// place and took its name from levels. asked says that clients asked for it by that name.
func dstKFL(by, name, place, levels string, asked bool) string {
	const host = `dst.external and dst.kind in ["outside", "host"] and !dns and host == `
	switch {
	case place != outside || by == "namespace" || by == "node":
		return nodeKFL("dst", by, name, levels)
	case asked && levels == "":
		return host + quoteKFL(name)
	}
	addressed := nodeKFL("dst", by, name, levels) + ` and (!host or dns or !` + nameLikeKFL + `)`
	if asked {
		return "(" + host + quoteKFL(name) + " or " + addressed + ")"
	}
	return addressed
}

// MapNode is one node of a map.
type MapNode struct {
	Name      string   `json:"name" jsonschema:"namespace/service, or as group_by says; the host asked for outside; (outside) are nameless addresses outside"`
	Place     string   `json:"place" jsonschema:"inside, outside or unknown (a private address that nobody named)"`
	Namespace string   `json:"namespace,omitempty"`
	Workloads []string `json:"workloads,omitempty" jsonschema:"kind/name"`
	Labels    []string `json:"labels,omitempty" jsonschema:"as name=value, of all its pods"`
	Replicas  int64    `json:"replicas,omitempty" jsonschema:"pods that were seen"`
	CallsIn   int64    `json:"calls_in"`
	CallsOut  int64    `json:"calls_out"`
	FailedIn  int64    `json:"failed_in"`

	levels string
	asked  bool // named by the host that clients asked for
}

// nodeFact is what table endpoints says of a node.
type nodeFact struct {
	Name      string   `json:"name"`
	Levels    string   `json:"levels"`
	Place     string   `json:"place"`
	Namespace string   `json:"namespace"`
	Workloads []string `json:"workloads"`
	Labels    []string `json:"labels"`
	Replicas  int64    `json:"replicas"`
}

// maxFacts is how many nodes are known by more than their name; those inside come first.
const maxFacts = 50_000

// facts reads what is known of nodes, by name. A nameless address outside stands under
// its own name too, as those that were asked do.
func facts(ctx context.Context, c *forensics.Case, by string) (map[string]nodeFact, error) {
	sql := fmt.Sprintf(`WITH n AS (SELECT *, unnest(list_distinct([%[1]s, CASE WHEN %[2]s THEN '%[3]s' ELSE %[1]s END])) AS node_name, %[4]s AS node_level, %[5]s AS node_place FROM endpoints),
		t AS (SELECT node_name, string_agg(DISTINCT node_level, ',' ORDER BY node_level) AS levels, min(node_place) AS place, min(namespace) AS namespace,
			list_sort(list(DISTINCT workload_kind || '/' || workload) FILTER (workload IS NOT NULL))[1:5] AS workloads, count(DISTINCT pod) AS replicas FROM n GROUP BY 1),
		p AS (SELECT DISTINCT node_name, pod, unnest(labels) AS label FROM n WHERE pod IS NOT NULL),
		l AS (SELECT node_name, list(text ORDER BY text)[1:6] AS labels FROM (SELECT node_name, label.name || '=' || label.value AS text, count(DISTINCT pod) AS pods FROM p
			WHERE label.name NOT IN ('pod-template-hash', 'controller-revision-hash', 'statefulset.kubernetes.io/pod-name', 'apps.kubernetes.io/pod-index') GROUP BY ALL)
			JOIN t USING (node_name) WHERE pods = replicas GROUP BY 1)
		SELECT node_name AS name, levels, place, namespace, workloads, replicas, labels FROM t LEFT JOIN l USING (node_name) ORDER BY place, 1`,
		node("", by), nameless(""), anyOutside, nodeLevel("", by), place(""))
	rows, _, err := readRows[nodeFact](ctx, c, maxFacts, sql)
	out := make(map[string]nodeFact, len(rows))
	for _, r := range rows {
		out[r.Name] = r
	}
	return out, err
}
