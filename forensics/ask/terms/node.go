package terms

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/pcapsule/pcapsule/kfl"
)

// AnyOutside is the node of all outside addresses without a name. In a map of namespaces it is the
// node of all outside addresses.
const AnyOutside = kfl.Outside

// anyUnknown is the node of private addresses without a name in a map of namespaces.
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

// NodeLevel is the SQL for the column that Node takes the name from.
func NodeLevel(p, by string) string {
	switch by {
	case "service":
		return level(p)
	case "namespace":
		return fmt.Sprintf(`(CASE WHEN %[1]snamespace IS NOT NULL THEN 'own' WHEN %[1]skind IN ('node', 'process') THEN CASE WHEN %[1]snode IS NULL THEN 'name' ELSE 'node' END ELSE 'all' END)`, p)
	}
	return fmt.Sprintf(`(CASE WHEN %s%s IS NOT NULL THEN 'own' ELSE %s END)`, p, by, level(p))
}

// Instance is the SQL that groups rows of endpoints into instances, which serve requests and make
// calls. A pod is one instance, regardless of its addresses and processes. On a loopback address
// each process is one instance.
const Instance = `(CASE WHEN pod IS NOT NULL THEN 'pod ' || coalesce(pod_uid, coalesce(namespace, '') || '/' || pod)
	WHEN kind = 'service' THEN 'service ' || coalesce(namespace, '') || '/' || name
	WHEN process IS NOT NULL THEN 'process ' || coalesce(node, '') || ' ' || ip || ' ' || process
	WHEN ip LIKE '127.%' OR ip = '::1' THEN 'loopback ' || coalesce(node, '') || ' ' || ip
	ELSE 'address ' || ip END)`

// EndNames is SQL for the tables that number and name the nodes, and for table front: the instances
// behind each service (the service's number bp, the number pod of one instance, and whether there
// are several).
func EndNames(c Several, by string) string {
	return fmt.Sprintf(`e AS MATERIALIZED (SELECT %s endpoint_id, wide, near, place, place = 'outside' AS out, ns, dense_rank() OVER (ORDER BY instance) AS pn, dense_rank() OVER (ORDER BY wide) AS dn, dense_rank() OVER (ORDER BY near) AS sn,
			CASE WHEN kind = 'service' THEN [instance] END AS fronts, CASE WHEN pod IS NOT NULL THEN list_transform(services, s -> 'service ' || coalesce(namespace, '') || '/' || s) END AS behind
			FROM (SELECT *, %s AS wide, CASE WHEN %s THEN '%s' ELSE %s END AS near, %s AS place, namespace AS ns, %s AS instance FROM endpoints)),
		front AS (SELECT s.pn AS bp, b.pn AS pod, count(*) OVER (PARTITION BY s.pn) > 1 AS several FROM (SELECT DISTINCT pn, unnest(fronts) AS service FROM e) s JOIN (SELECT DISTINCT pn, unnest(behind) AS service FROM e) b USING (service)),
		sname AS (SELECT sn AS an, min(near) AS src, min(place) AS pa, min(ns) AS na FROM e GROUP BY 1),
		dname AS (SELECT dn AS bn, min(wide) AS dst, min(place) AS pb, min(ns) AS nb FROM e GROUP BY 1 UNION ALL SELECT 0, NULL, 'outside', NULL)`,
		Key(c, ""), Node("", by), Nameless(""), AnyOutside, Node("", by), Place(""), Instance)
}

// named is the SQL condition that the host of a call is a name of its server, not an address.
var named = NamesServer + " AND regexp_matches(host, '[A-Za-z].*[.]|[.].*[A-Za-z]')"

// Server is the SQL for the name of a call's server: outside, the name that its client used. One address may have many.
var Server = "(CASE WHEN " + Place("dst_") + " = 'outside' AND " + named + " THEN host ELSE " + Who("dst_") + " END)"

// EndsOf is the SQL that numbers the nodes of calls, or of groups of calls with the columns src_id,
// dst_id, protocol and host, and with bundle if the case has several.
func EndsOf(c Several, by, calls string) string {
	on := ""
	if c.Several() {
		on = "k.bundle = %[1]s.bundle AND "
	}
	join := func(alias, id string) string {
		return fmt.Sprintf(" JOIN e %[1]s ON "+on+"k.%[2]s = %[1]s.endpoint_id", alias, id)
	}
	host := named
	if by == "namespace" || by == "node" {
		host = "false"
	}
	return fmt.Sprintf(`SELECT k.*, s.pn AS ap, d.pn AS bp, s.sn AS an, CASE WHEN d.out THEN 0 ELSE d.dn END AS bn,
			CASE WHEN NOT d.out THEN '' WHEN %s THEN k.host ELSE d.wide END AS far FROM (%s) k %s %s`, host, calls, join("s", "src_id"), join("d", "dst_id"))
}

// The places of an end; see Place.
const (
	Inside  = "inside"
	Outside = "outside"
)

// Place is the SQL for the place of one end, "src_" or "dst_": inside if its identity is known,
// outside if its address is public and does not belong to the cluster, otherwise unknown.
func Place(p string) string {
	return fmt.Sprintf(`(CASE WHEN %[1]skind IN ('pod', 'service', 'node', 'process') OR %[1]skind = 'host' AND NOT %[1]sexternal THEN 'inside'
		WHEN %[1]sexternal THEN 'outside' ELSE 'unknown' END)`, p)
}

// Nameless is the SQL for an end outside without a name.
func Nameless(p string) string {
	return fmt.Sprintf(`(%[1]skind = 'outside' AND coalesce(%[1]sdns_name, %[1]shostname) IS NULL)`, p)
}

// Client is the SQL for the name of a client: AnyOutside stands for all those outside without a name.
func Client(p string) string {
	return "(CASE WHEN " + Nameless(p) + " THEN '" + AnyOutside + "' ELSE " + Who(p) + " END)"
}

// level is the SQL for the column that Who(p) takes its name from.
func level(p string) string {
	return fmt.Sprintf(`(CASE WHEN %[1]sexternal AND %[1]sservice IS NULL THEN CASE WHEN %[1]sdns_name IS NOT NULL THEN 'dns_name' WHEN %[1]shostname IS NOT NULL THEN 'hostname' ELSE 'name' END
		WHEN %[1]sservice IS NOT NULL THEN 'service' WHEN %[1]sworkload IS NOT NULL THEN 'workload' WHEN %[1]spod IS NOT NULL THEN 'pod' ELSE 'name' END)`, p)
}

// Domain returns the registrable domain of a name, or the name itself if it has none.
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
