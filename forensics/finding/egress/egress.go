// Package egress finds connections to outside addresses that nobody allowed.
//
// With an allow-list, whatever lies outside it; without one, outside addresses that no name
// leads to: no DNS answer, no server name of TLS, no host of HTTP.
package egress

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// Analyzer finds them.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "egress", Title: "outside destinations that nobody allowed",
		Doc: "Connections to outside addresses and domains that the allow-list does not have; without a list, to outside addresses that have no name at all. Attempts without an answer count too, and say so.", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	on := l.Bundle("flow_id")
	ids := "min(call_id, 3)"
	if l.All() {
		ids = "list(call_id)"
	}
	rows, err := l.Rows(ctx, `WITH f AS (SELECT `+on+`, `+terms.Who("src_")+` AS src, dst_ip, dst_dns_name, dst_hostname, transport, dst_port, first_ns, last_ns, src_bytes, dst_packets
			FROM flows WHERE dst_external AND NOT coalesce(src_external, false) AND `+l.Flows()+`),
		n AS (SELECT `+on+`, list(DISTINCT lower(host)) AS hosts, `+ids+` AS ids FROM calls_raw WHERE host IS NOT NULL AND (`+l.Bundle("dst_id")+`) IN (SELECT (`+l.Bundle("endpoint_id")+`) FROM endpoints_raw WHERE external) GROUP BY ALL)
		SELECT src, dst_ip AS dst, transport || '/' || dst_port AS detail, count(*) AS count, count(*) FILTER (dst_packets > 0) AS "of", sum(src_bytes)::DOUBLE AS number,
			min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(flow_id, first_ns, 3) AS flow_ids,
			list_transform(`+l.First(`list_sort(flatten(list(coalesce(ids, []))))`)+`, x -> lower(hex(x))) AS call_ids,
			list_sort(list_distinct(list_filter(flatten(list([dst_dns_name, dst_hostname])) || flatten(list(coalesce(hosts, []))), x -> x IS NOT NULL))) AS evidence
		FROM f LEFT JOIN n USING (`+on+`) GROUP BY src, dst_ip, transport, dst_port ORDER BY count DESC, src, dst, detail`)
	if err != nil {
		return err
	}
	named := 0
	for _, r := range rows {
		known := len(r.Evidence) > 0
		if !l.Allow.Empty() && l.Allow.Permits(r.Dst, r.Evidence) {
			continue
		}
		if l.Allow.Empty() && known {
			named++
			continue
		}
		name := "an address without any name"
		if known {
			name = strings.Join(r.Evidence[:min(3, len(r.Evidence))], ", ")
		}
		f := finding.Finding{Severity: finding.Medium, Confidence: "exact",
			What: fmt.Sprintf("%s connects to %s (%s) at %s, %d connections, %.0f bytes sent", r.Src, r.Dst, name, r.Detail, r.Count, r.Number)}
		if !l.Allow.Empty() {
			f.Severity, f.What = finding.High, f.What+": not on the allow-list"
		}
		if r.Of == 0 {
			f.What += "; none was answered"
		}
		l.Add(r, f)
	}
	if l.Allow.Empty() && named > 0 {
		l.Note("%d pairs with named outside destinations were not judged: give allow to have them held to a list", named)
	}
	return nil
}
