// Package egress finds unexpected connections to outside addresses.
//
// With an allow-list it reports every destination that is not on it. Without one it reports outside
// addresses without a name: no DNS answer, no TLS server name, no HTTP host. A proxy outside and the
// hosts behind a proxy must both be on the list.
package egress

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer egress.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "egress", Basis: finding.OfProxied, Title: "unexpected outside destinations",
		Doc:   "Connections to outside addresses and domains that are not on the allow-list; without a list, to outside addresses without any name. Unanswered attempts are included and marked. A proxy is a destination, and so is each host that it is asked for.",
		Steps: []finding.Step{{Needs: []finding.Need{finding.ToOutside}, Find: find}, {Needs: []finding.Need{finding.Proxied}, Find: behind}}}
}

func find(ctx context.Context, l *finding.Look) error {
	on := l.Bundle("flow_id")
	ids := "min(call_id, 3)"
	if l.All() {
		ids = "list(call_id)"
	}
	// A host that is an address, as in http://203.0.113.9/, is not a name. A message that needs no answer, or whose answer
	// may have come after the end of the capture, is not unanswered.
	rows, err := l.Rows(ctx, `WITH f AS (SELECT `+on+`, `+terms.Who("src_")+` AS src, dst_ip, dst_dns_name, dst_hostname, transport, dst_port, first_ns, last_ns, src_bytes,
				`+terms.Accepted+` AS answered, `+terms.Port+` AS port
			FROM flows WHERE dst_external AND NOT coalesce(src_external, false) AND `+l.OnceIf(l.Flows(), ask.Largest)+` AND NOT `+terms.Reports(l.Case)+`),
		n AS (SELECT `+on+`, list(DISTINCT lower(host)) FILTER (`+terms.NamesServer+` AND NOT `+terms.AddressLike+`) AS hosts, bool_or(outcome IN ('ok', 'cut') AND NOT (protocol = 'icmp' AND `+terms.ICMPErrors+`)) AS settled, `+ids+` AS ids FROM calls_raw WHERE (`+l.Bundle("dst_id")+`) IN (SELECT (`+l.Bundle("endpoint_id")+`) FROM endpoints_raw WHERE external) GROUP BY ALL)
		SELECT src, dst_ip AS dst, port AS detail, count(*) AS count, count(*) FILTER (answered OR coalesce(settled, false)) AS "of", sum(src_bytes)::DOUBLE AS number,
			min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(`+terms.FlowID(l.Case)+`, (first_ns, `+terms.FlowID(l.Case)+`), 3) AS flow_ids,
			list_transform(`+l.First(`list_sort(flatten(list(coalesce(ids, []))))`)+`, x -> lower(hex(x))) AS call_ids,
			list_sort(list_distinct(list_filter(flatten(list([dst_dns_name, dst_hostname])) || flatten(list(coalesce(hosts, []))), x -> x IS NOT NULL))) AS evidence
		FROM f LEFT JOIN n USING (`+on+`) GROUP BY src, dst_ip, port ORDER BY count DESC, src, dst, detail`)
	if err != nil {
		return err
	}
	named := 0
	rows = slices.DeleteFunc(rows, func(r finding.Row) bool {
		if !l.Allow.Destinations() && len(r.Evidence) > 0 {
			named++
			return true
		}
		return l.Allow.Destinations() && l.Allow.Permits(r.Dst, r.Evidence)
	})
	rest, crowds := finding.Crowds(rows, func(r finding.Row) bool { return r.Of == 0 })
	for _, r := range crowds {
		ports := ""
		if r.Number2 > float64(r.Of) {
			word := "ports"
			if slices.ContainsFunc(rows, func(x finding.Row) bool { return x.Src == r.Src && x.Of == 0 && !strings.Contains(x.Detail, "/") }) {
				word = "ports or protocols"
			}
			ports = fmt.Sprintf("%.0f %s of ", r.Number2, word)
		}
		add(l, r, plural.Sprintf("%s tries %s%d {outside destination|outside destinations} in %d {connection|connections}; none was accepted or answered", r.Src, ports, r.Of, r.Count))
	}
	for _, r := range rest {
		name := "an address without any name"
		if len(r.Evidence) > 0 {
			name = strings.Join(r.Evidence[:min(3, len(r.Evidence))], ", ")
		}
		what := plural.Sprintf("%s in %d {connection|connections}, %.0f bytes sent", finding.Reach(r.Src, r.Dst+" ("+name+")", r.Detail), r.Count, r.Number)
		if r.Of == 0 {
			what += "; none was " + finding.Taken(r.Detail)
		}
		add(l, r, what)
	}
	if named > 0 {
		l.Note("%d {pair|pairs} with named outside destinations {was|were} not checked: use allow, a list of allowed destinations", named)
	}
	return nil
}

// add reports a destination that is not allowed or has no name.
func add(l *finding.Look, r finding.Row, what string) {
	f := finding.Finding{Kind: "unnamed", Severity: finding.Medium, Confidence: finding.Exact, What: what}
	if l.Allow.Destinations() {
		f.Kind, f.Severity, f.What = "unlisted", finding.High, what+": not on the allow-list"
	}
	l.Add(r, f)
}
