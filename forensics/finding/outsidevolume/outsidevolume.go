// Package outsidevolume finds workloads that send large volumes to outside destinations, as when
// data is copied out.
//
// A pair is reported if it sent at least 10 MiB in the window, and at least twice as much as it
// received: downloads and ordinary calls receive more than they send. Allowed destinations are not
// reported. Volumes count bytes of IP packets, so they are known for encrypted connections too. Those of
// a connection to a proxy that was asked for one host are volumes to that host.
package outsidevolume

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Volumes in bytes.
const (
	least = 10 << 20
	large = 1 << 30 // a finding is high from this size on
)

// Analyzer returns the analyzer outside-volume.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "outside-volume", Techniques: []string{"T1048", "T1567"}, Basis: finding.OfProxied, Title: "large volumes sent outside",
		Doc:   "Workloads that send at least 10 MiB to an outside destination, and at least twice as much as they receive from it; not to destinations on the allow-list.",
		Steps: []finding.Step{{Find: find, Needs: []finding.Need{finding.Flows(fmt.Sprintf("coalesce(sum(src_bytes) FILTER (WHERE NOT coalesce(src_external, false) AND (dst_external OR proxied)), 0) >= %d", least))}}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.NamedFlows(`NOT coalesce(src_external, false) AND `+l.OnceIf(l.Flows(), ask.Largest))+`
		SELECT `+terms.Who("src_")+` AS src, dst, count(*) AS count, sum(src_bytes)::DOUBLE AS number, sum(dst_bytes)::DOUBLE AS number2, `+finding.Ways+`,
			min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_max(`+terms.FlowID(l.Case)+`, (src_bytes, -first_ns, `+terms.FlowID(l.Case)+`), 3) AS flow_ids, list_sort(list(DISTINCT coalesce(target, dst_ip))) AS evidence
		FROM f WHERE dst_outside OR beyond
		GROUP BY 1, 2 HAVING number >= `+fmt.Sprint(least)+` AND number >= 2 * number2 ORDER BY number DESC, src, dst`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !r.Outside || !slices.ContainsFunc(r.Evidence, func(ip string) bool { return !l.Allow.Permits(ip, []string{r.Dst}) }) {
			continue
		}
		f := finding.Finding{Severity: finding.Medium, Confidence: finding.Exact,
			What: plural.Sprintf("%s sent %s to %s outside in %d {connection|connections}, and received %s", r.Src, size(r.Number), r.Dst, r.Count, size(r.Number2))}
		if r.Number >= large {
			f.Severity = finding.High
		}
		r.Evidence = r.Evidence[:min(5, len(r.Evidence))]
		l.Add(r, f)
	}
	return nil
}

// size writes bytes in MiB.
func size(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
