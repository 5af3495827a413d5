// Package beacon finds connections that are made at a steady beat to one outside address, as
// implants call home.
//
// At least eight connections or datagram conversations, whose pauses differ by little: the
// middle half of them lies within a tenth of the median. Steady health checks and
// telemetry look the same, so a beat alone is low, and more where the destination has no name
// or asks nothing of DNS. Within the cluster a beat is what probes do, and is none.
package beacon

import (
	"context"
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const least = 8 // connections

// Analyzer finds them.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "beacon", Title: "connections at a steady beat",
		Doc: "Eight or more connections or calls to one outside destination whose pauses hardly differ (interquartile range below a tenth of the median, at least 0.5 s).", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	// A connection that is kept open beats by its calls, others by being opened. Calls that
	// are too few or come too quickly are left out before their pauses are measured: where
	// half of them are half a second or more, all are a quarter of one on average.
	of := "src_id, dst_ip, protocol, method, path"
	same := "c.src_id = k.src_id AND c.dst_ip = k.dst_ip AND c.protocol = k.protocol AND c.method IS NOT DISTINCT FROM k.method AND c.path IS NOT DISTINCT FROM k.path"
	if l.Case.Several() {
		same += " AND c.bundle = k.bundle"
	}
	rows, err := l.Rows(ctx, `WITH e AS MATERIALIZED (`+l.Ends()+`),
		c AS NOT MATERIALIZED (SELECT r.*, coalesce(host, d.dns_name, '') AS name
				FROM (SELECT `+l.Bundle(of)+`, dst_id, host, ts_ns, call_id, request_bytes FROM `+l.Calls+` WHERE `+l.Where+` AND protocol NOT IN ('tcp', 'udp', 'tls', 'icmp', 'quic')) r
				JOIN e d ON `+l.On("r", "dst_id", "d")+` JOIN e s ON `+l.On("r", "src_id", "s")+` WHERE d.external AND NOT coalesce(s.external, false)),
		g AS (SELECT `+l.Bundle(of)+`, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns FROM c GROUP BY ALL),
		k AS MATERIALIZED (SELECT g.*, who, 'calls of ' || protocol || ' ' || coalesce(method || ' ' || path, '') AS detail FROM g JOIN e ON `+l.On("g", "src_id", "e")+`
				WINDOW same AS (PARTITION BY who, dst_ip, detail)
				QUALIFY sum(n) OVER same >= `+fmt.Sprint(least)+` AND max(last_ns) OVER same - min(first_ns) OVER same >= (sum(n) OVER same - 1) * 200000000),
		beats AS (SELECT `+terms.Who("src_")+` AS src, dst_ip AS dst, coalesce(dst_dns_name, dst_hostname, '') AS name, transport || '/' || dst_port AS detail, first_ns AS beat, flow_id, NULL::BLOB AS id, src_bytes AS size
				FROM flows WHERE dst_external AND NOT coalesce(src_external, false) AND `+l.Flows()+`
			UNION ALL SELECT k.who, k.dst_ip, c.name, k.detail, ts_ns, NULL, call_id, request_bytes FROM c JOIN k ON `+same+`),
		b AS (SELECT *, beat - lag(beat) OVER (PARTITION BY src, dst, detail ORDER BY beat, flow_id, id) AS pause FROM beats)
		SELECT src, dst, detail, any_value(name) AS other, count(*) AS count, min(beat) AS first_ns, max(beat) AS last_ns,
			quantile_cont(pause, 0.5) / 1e9 AS number, (quantile_cont(pause, 0.75) - quantile_cont(pause, 0.25)) / 1e9 AS number2,
			list_filter(arg_min(flow_id, beat, 3), x -> x IS NOT NULL) AS flow_ids,
			list_transform(`+l.First(`list_filter(list(id ORDER BY beat), x -> x IS NOT NULL)`)+`, x -> lower(hex(x))) AS call_ids,
			[median(size)::BIGINT::VARCHAR || ' bytes sent each time'] AS evidence
		FROM b GROUP BY src, dst, detail
		HAVING count(*) >= `+fmt.Sprint(least)+` AND number >= 0.5 AND number2 <= number * 0.1 AND max(beat) - min(beat) >= number * 1e9 * (count(*) - 1) * 0.6
		ORDER BY number2 / number, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Severity: finding.Low, Confidence: "likely"}
		name := r.Other
		if name == "" {
			f.Severity, name = finding.High, "no name"
		} else if r.Number2 <= r.Number*0.02 {
			f.Severity = finding.Medium
		}
		beat := time.Duration(r.Number * 1e9).Round(time.Millisecond)
		f.What = plural.Sprintf("%s calls %s (%s, %s) every %s, %d {time|times}; the pauses' middle half lies within %s", r.Src, r.Dst, name, r.Detail, beat, r.Count, time.Duration(r.Number2*1e9).Round(time.Millisecond))
		l.Add(r, f)
	}
	return nil
}
