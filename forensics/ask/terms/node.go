package terms

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// AnyOutside is the node of addresses outside that nothing names, or in a map of namespaces
// of all outside.
const AnyOutside = "(outside)"

// anyUnknown is, in a map of namespaces, the node of private addresses that nobody named.
const anyUnknown = "(unknown)"

// Node is the SQL for the node that an end belongs to.
func Node(p, by string) string {
	switch by {
	case "service":
		return Who(p)
	case "namespace":
		return fmt.Sprintf(`coalesce(%[1]snamespace, CASE WHEN %[1]skind IN ('node', 'process') THEN coalesce(%[1]snode, %[1]sname) WHEN %[1]sexternal THEN '%[2]s' ELSE '%[3]s' END)`, p, AnyOutside, anyUnknown)
	case "node":
		return fmt.Sprintf(`coalesce(%snode, %s)`, p, Who(p))
	}
	return fmt.Sprintf(`(CASE WHEN %[1]s%[2]s IS NULL THEN %[3]s ELSE coalesce(%[1]snamespace || '/', '') || %[1]s%[2]s END)`, p, by, Who(p))
}

// NodeLevel is the SQL for what node took the name from.
func NodeLevel(p, by string) string {
	switch by {
	case "service":
		return level(p)
	case "namespace":
		return fmt.Sprintf(`(CASE WHEN %[1]snamespace IS NOT NULL THEN 'own' WHEN %[1]skind IN ('node', 'process') THEN CASE WHEN %[1]snode IS NULL THEN 'name' ELSE 'node' END ELSE 'all' END)`, p)
	}
	return fmt.Sprintf(`(CASE WHEN %s%s IS NOT NULL THEN 'own' ELSE %s END)`, p, by, level(p))
}

// Instance is the SQL for what makes rows of endpoints one instance, which serves requests and
// makes calls: a pod is one whatever its addresses and processes, and behind a loopback address
// each process is one.
const Instance = `(CASE WHEN pod IS NOT NULL THEN 'pod ' || coalesce(pod_uid, coalesce(namespace, '') || '/' || pod)
	WHEN kind = 'service' THEN 'service ' || coalesce(namespace, '') || '/' || name
	WHEN process IS NOT NULL THEN 'process ' || coalesce(node, '') || ' ' || ip || ' ' || process
	WHEN ip LIKE '127.%' OR ip = '::1' THEN 'loopback ' || coalesce(node, '') || ' ' || ip
	ELSE 'address ' || ip END)`

// EndNames are the tables that number the nodes and name them, and table front: the instances
// behind each service (its number bp, the number pod of one of them, whether there are several).
func EndNames(c Several, by string) string {
	return fmt.Sprintf(`e AS MATERIALIZED (SELECT %s endpoint_id, wide, near, place, ns, dense_rank() OVER (ORDER BY instance) AS pn, dense_rank() OVER (ORDER BY wide) AS dn, dense_rank() OVER (ORDER BY near) AS sn,
			CASE WHEN kind = 'service' THEN [instance] END AS fronts, CASE WHEN pod IS NOT NULL THEN list_transform(services, s -> 'service ' || coalesce(namespace, '') || '/' || s) END AS behind
			FROM (SELECT *, %s AS wide, CASE WHEN %s THEN '%s' ELSE %s END AS near, %s AS place, namespace AS ns, %s AS instance FROM endpoints)),
		front AS (SELECT s.pn AS bp, b.pn AS pod, count(*) OVER (PARTITION BY s.pn) > 1 AS several FROM (SELECT DISTINCT pn, unnest(fronts) AS service FROM e) s JOIN (SELECT DISTINCT pn, unnest(behind) AS service FROM e) b USING (service)),
		sname AS (SELECT sn AS an, min(near) AS src, min(place) AS pa, min(ns) AS na FROM e GROUP BY 1),
		dname AS (SELECT dn AS bn, min(wide) AS dst, min(place) AS pb, min(ns) AS nb FROM e GROUP BY 1 UNION ALL SELECT 0, NULL, 'outside', NULL)`,
		Key(c, ""), Node("", by), Nameless(""), AnyOutside, Node("", by), Place(""), Instance)
}

// EndsOf is the SQL that numbers the nodes of calls, or of groups of calls that have their
// src_id, dst_id, protocol and host, and bundle where the case has several.
func EndsOf(c Several, by, calls string) string {
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

// Where an end of a call stands; see Place.
const (
	Inside  = "inside"
	Outside = "outside"
)

// Place is the SQL for where one end, "src_" or "dst_", stands: inside where it is known
// who it is, outside where its address is public and nobody of ours has it, else unknown.
func Place(p string) string {
	return fmt.Sprintf(`(CASE WHEN %[1]skind IN ('pod', 'service', 'node', 'process') OR %[1]skind = 'host' AND NOT %[1]sexternal THEN 'inside'
		WHEN %[1]sexternal THEN 'outside' ELSE 'unknown' END)`, p)
}

// Nameless is the SQL for an end outside that nothing names.
func Nameless(p string) string {
	return fmt.Sprintf(`(%[1]skind = 'outside' AND coalesce(%[1]sdns_name, %[1]shostname) IS NULL)`, p)
}

// level is the SQL for which column gave who(p) its name.
func level(p string) string {
	return fmt.Sprintf(`(CASE WHEN %[1]sexternal AND %[1]sservice IS NULL THEN CASE WHEN %[1]sdns_name IS NOT NULL THEN 'dns_name' WHEN %[1]shostname IS NOT NULL THEN 'hostname' ELSE 'name' END
		WHEN %[1]sservice IS NOT NULL THEN 'service' WHEN %[1]sworkload IS NOT NULL THEN 'workload' WHEN %[1]spod IS NOT NULL THEN 'pod' ELSE 'name' END)`, p)
}

// Domain gives the registrable domain of a name, or the name where it has none.
func Domain(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return d
	}
	return name
}
