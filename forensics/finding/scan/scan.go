// Package scan finds clients that try many ports or hosts with few answers.
package scan

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Lowest number of targets within one minute that counts as a scan.
const manyTargets = 15

// Analyzer returns the analyzer scan.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "scan", Basis: finding.Basis{What: "TCP connections", Flows: "transport = 'tcp'"}, Title: "port and host scans",
		Doc: "A client that tries at least 15 different addresses or ports over TCP within a minute, most of which refuse or do not answer. FIN, NULL and Xmas probes without an answer count: their ports are open or filtered.", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH f AS (SELECT `+terms.Who("src_")+` AS src, dst_ip, dst_port, first_ns, last_ns, `+terms.FlowID(l.Case)+` AS flow_id, first_ns // 60000000000 AS minute,
				NOT `+terms.Accepted+` AS shut, `+terms.Probe+` AS silent FROM flows WHERE transport = 'tcp' AND `+l.Once()+`),
		m AS (SELECT src, minute, count(DISTINCT (dst_ip, dst_port)) AS targets, count(DISTINCT dst_ip) AS hosts, count(DISTINCT dst_port) AS ports, count(*) FILTER (shut) AS shut, count(*) FILTER (silent) AS silent, count(*) AS n,
			min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(flow_id, first_ns, 3) AS ids FROM f GROUP BY src, minute)
		SELECT src, max(hosts) || if(max(hosts) = 1, ' address, ', ' addresses, ') || max(ports) || if(max(ports) = 1, ' port', ' ports') AS detail, sum(n)::BIGINT AS count, max(targets) AS "of", sum(shut)::DOUBLE AS number, sum(silent)::DOUBLE AS number2, min(first_ns) AS first_ns, max(last_ns) AS last_ns,
			arg_min(ids, first_ns) AS flow_ids FROM m WHERE targets >= `+fmt.Sprint(manyTargets)+` AND shut * 2 > n GROUP BY src ORDER BY count DESC, src`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Severity: finding.High, Confidence: finding.Likely, Key: "scan",
			What: plural.Sprintf("%s tried up to %d {target|targets} within a minute (%s); %.0f of %d {connection was|connections were} refused or not answered", r.Src, r.Of, r.Detail, r.Number, r.Count)}
		if n := int64(r.Number2); n > 0 {
			f.What += plural.Sprintf("; %d {was a probe|were probes} without SYN and ACK that had no answer: such ports are open or filtered, because a closed port answers with RST", n)
		}
		l.Add(r, f)
	}
	return nil
}
