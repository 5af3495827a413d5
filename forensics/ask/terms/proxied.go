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

// OutsideTarget is the SQL for the host behind a proxy, null if there is none or it is known to be inside; see HostOutside.
const OutsideTarget = `(CASE WHEN ` + BehindProxy + ` AND ` + TargetHost + ` NOT IN (` + KnownInside + `) THEN ` + TargetHost + ` END)`

// NamesTarget is the SQL condition that the host of a call through a proxy, if it has one, is a name of the host behind the
// proxy.
var NamesTarget = "protocol NOT IN " + elsewhere

// AddressLike is the SQL condition that a host is an address, not a name.
const AddressLike = `regexp_full_match(host, '[0-9.]+|0x[0-9a-f]+|.*:.*')`

// KnownInside is the SQL for the names of hosts that are not outside, in lower case.
const KnownInside = `SELECT unnest([lower(ip), lower(coalesce(dns_name, ip)), lower(coalesce(hostname, ip)), lower(coalesce(name, ip))]) FROM endpoints_raw WHERE NOT external`

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
