package terms

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// TargetHost is the SQL for the host behind a proxy in column proxied_to, in lower case.
const TargetHost = `lower(trim(regexp_replace(proxied_to, ':[0-9]+$', ''), '[]'))`

// TargetPort is the SQL for the port in column proxied_to; null if it has none.
const TargetPort = `TRY_CAST(nullif(regexp_extract(proxied_to, ':([0-9]+)$', 1), '') AS BIGINT)`

// BehindProxy is the SQL condition for calls that a proxy is to pass to another host. A request with an absolute URI to the
// server that it names is not.
const BehindProxy = `(proxied_to IS NOT NULL AND ` + TargetHost + ` NOT IN (dst_ip, lower(coalesce(dst_dns_name, '')), lower(coalesce(dst_hostname, ''))))`

// AsksProxy is the SQL condition for calls that ask a proxy to reach a host, as opposed to those for the host itself.
const AsksProxy = `(protocol = 'socks' OR method = 'CONNECT' AND path IS NULL)`

// NamesTarget is the SQL condition that the host of a call through a proxy, if it has one, is a name of the host behind the
// proxy.
var NamesTarget = "protocol NOT IN " + elsewhere

// AddressLike is the SQL condition that a host is an address, not a name.
const AddressLike = `regexp_full_match(host, '[0-9.]+|0x[0-9a-f]+|.*:.*')`

// asked is the SQL for all that a proxy can be asked for to reach an endpoint: its address and names, and those of its
// Kubernetes services in the DNS of the cluster.
const asked = `unnest(list_transform([ip, dns_name, hostname, name] || flatten(list_transform(coalesce(services, []) || CASE WHEN kind = 'service' THEN [name] ELSE [] END,
	s -> list_transform(['', '.svc', '.svc.cluster.local'], x -> s || '.' || namespace || x))), x -> lower(x)))`

// KnownInside is the SQL for the names of hosts that are not outside, in lower case.
const KnownInside = `SELECT * FROM (SELECT ` + asked + ` AS asked FROM endpoints_raw WHERE NOT external) WHERE asked IS NOT NULL`

// AskedHosts is SQL for the hosts known to the case that proxies are asked for: asked as in TargetHost, who and namespace of its
// owner, null if there are several, and whether it is known to be inside.
const AskedHosts = `SELECT asked, CASE WHEN min(who) = max(who) THEN min(who) END AS who, CASE WHEN min(who) = max(who) THEN min(namespace) END AS namespace, bool_or(NOT external) AS inside
	FROM (SELECT ` + asked + ` AS asked, who, namespace, external FROM endpoints_raw) WHERE asked IN (SELECT ` + TargetHost + ` FROM calls_raw WHERE proxied_to IS NOT NULL) GROUP BY asked`

// sharedSpace is that of carrier NAT, RFC 6598.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// insideDomains end the names that exist inside only, RFC 6762 section 3, RFC 8375 and habit.
var insideDomains = []string{".local", ".internal", ".svc", ".localdomain", ".localhost", ".home.arpa", ".lan", ".intranet", ".corp"}

var numeric = regexp.MustCompile(`^[0-9.]+$`)

// HostOutside reports whether a host that a proxy is asked for is outside, by its address or name alone. A name without
// a dot is not.
func HostOutside(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
	}
	if numeric.MatchString(host) { // such as 010.000.00.003, which no DNS has
		return true
	}
	host = strings.TrimSuffix(host, ".")
	return host == "(unknown)" || strings.Contains(host, ".") && !slices.ContainsFunc(insideDomains, func(d string) bool { return strings.HasSuffix(host, d) })
}
