// Package roguerouter finds router advertisements of IPv6 that contradict each other, because somebody who advertises
// itself as a router or DNS server gets the traffic of a network, and floods of them.
package roguerouter

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// many is the number of routers that advertise within a minute and are a flood.
const many = 20

const (
	redirected = "protocol = 'icmp' AND icmp_type = 'redirect'"
	advertised = "protocol = 'icmp' AND icmp_type = 'router_advertisement' AND icmp_version = 6"
	told       = "array_to_string(list_sort(list_filter(coalesce(icmp_options, []), x -> starts_with(x, 'prefix=') OR starts_with(x, 'rdnss=') OR starts_with(x, 'dnssl='))), '; ')"
)

// Analyzer returns the analyzer rogue-router.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "rogue-router", Title: "contradicting routers, and hosts that are sent to another one", Kinds: []string{"routers", "hardware", "flood", "redirects"}, Techniques: []string{"T1557"},
		Basis:    finding.Basis{What: "router advertisements of IPv6, and redirects", Is: []finding.Need{finding.Calls("'icmp'", finding.Any(advertised)), finding.Calls("'icmp'", finding.Any(redirected))}},
		Unproved: "Which router is the right one. Recordings of several networks in one case have several routers.",
		Doc:      fmt.Sprintf("Routers of IPv6 that advertise different prefixes or DNS servers, one router with two hardware addresses, and %d or more routers within a minute. ICMP redirects (RFC 1122 section 3.2.2.2), which routers send that know a shorter way, and attackers send to read the traffic.", many),
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls("'icmp'", finding.Any(redirected))}, Find: redirects}, {Needs: []finding.Need{finding.Calls("'icmp'", "count(DISTINCT (src_ip, icmp_link_address, "+told+")) FILTER ("+advertised+") > 1")}, Find: find}}}
}

// redirects finds hosts that learn another router.
func redirects(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("coalesce(nullif(regexp_extract(summary, '^redirect \\S+ ([0-9a-f.:]+)', 1), ''), 'another router') AS way", redirected)+`
		SELECT src, dst, way AS detail, `+l.Sums()+` FROM g GROUP BY src, dst, way ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "redirects", Key: "redirects " + r.Detail, Severity: finding.Low, Confidence: finding.Exact,
			What: plural.Sprintf("%s told %s %d {time|times} to send its packets by way of %s (ICMP redirect)", r.Src, r.Dst, r.Count, r.Detail)})
	}
	return err
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("src_ip AS router, coalesce(icmp_link_address, '') AS hardware, "+told+" AS said, coalesce(icmp_lifetime, 0) > 0 AS routes, ts_ns // 60000000000 AS minute", advertised)+`,
		f AS (SELECT minute, count(DISTINCT router) AS routers FROM g GROUP BY minute),
		h AS (SELECT router FROM g WHERE hardware <> '' GROUP BY router HAVING count(DISTINCT hardware) > 1),
		s AS (SELECT router, arg_max(said, (last_ns, said)) AS said FROM g WHERE routes AND said <> '' GROUP BY router),
		k AS (SELECT CASE WHEN (SELECT max(routers) FROM f) >= `+fmt.Sprint(many)+` THEN 'flood' WHEN router IN (SELECT router FROM h) THEN 'hardware' WHEN (SELECT count(DISTINCT said) FROM s) > 1 AND router IN (SELECT router FROM s) THEN 'routers' END AS kind, * FROM g)
		SELECT min(router) AS src, min(dst) AS dst, kind AS detail, `+l.Sums()+`, count(DISTINCT router) AS "of", (SELECT max(routers) FROM f)::DOUBLE AS number,
			list_slice(list_sort(list(DISTINCT router || CASE kind WHEN 'hardware' THEN ' has ' || hardware ELSE ': ' || said END)), 1, 5) AS evidence
		FROM k WHERE kind IS NOT NULL GROUP BY kind, CASE kind WHEN 'hardware' THEN router END ORDER BY count DESC, src, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Kind: r.Detail, Key: r.Detail, Severity: finding.Medium, Confidence: finding.Likely}
		switch r.Detail {
		case "flood":
			f.Severity, f.Techniques = finding.High, []string{"T1499"}
			f.What = plural.Sprintf("%d {router|routers} of IPv6 advertised themselves, up to %.0f within a minute", r.Of, r.Number)
		case "hardware":
			f.Severity = finding.High
			f.What = plural.Sprintf("router %s advertised itself from %d hardware {address|addresses}", r.Src, len(r.Evidence))
		default:
			f.What = plural.Sprintf("%d routers of IPv6 advertise different prefixes or DNS servers: %s", r.Of, strings.Join(r.Evidence[:min(2, len(r.Evidence))], " and "))
		}
		l.Add(r, f)
	}
	return nil
}
