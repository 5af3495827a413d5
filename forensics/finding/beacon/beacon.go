// Package beacon finds periodic connections to one outside address, as implants make to their
// control server.
//
// A beacon has at least eight connections or calls with nearly equal pauses: their interquartile
// range is below a tenth of the median. Health checks and telemetry look the same, so the severity
// is low, or high if the destination has no name. Periodic calls inside the cluster are probes and
// not reported.
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

// Analyzer returns the analyzer beacon.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "beacon", Basis: finding.OfOutside, Title: "periodic connections",
		Doc: "Eight or more connections or calls to one outside destination with nearly equal pauses (interquartile range below a tenth of the median; pauses of at least 0.5 s).", Find: find}
}

func find(ctx context.Context, l *finding.Look) error {
	// On a connection that stays open the calls are periodic, otherwise the connections are. Calls
	// that are too few or too frequent are left out before their pauses are measured: if half of
	// the pauses are at least half a second, the mean is at least a quarter of a second.
	of := "src_id, dst_ip, protocol, method, path"
	same := "c.src_id = k.src_id AND c.dst_ip = k.dst_ip AND c.protocol = k.protocol AND c.method IS NOT DISTINCT FROM k.method AND c.path IS NOT DISTINCT FROM k.path"
	if l.Case.Several() {
		same += " AND c.bundle = k.bundle"
	}
	rows, err := l.Rows(ctx, `WITH e AS MATERIALIZED (`+l.Ends()+`),
		c AS NOT MATERIALIZED (SELECT r.*, coalesce(CASE WHEN `+terms.NamesServer+` THEN host END, d.dns_name, '') AS name
				FROM (SELECT `+l.Bundle(of)+`, dst_id, host, proxied_to, ts_ns, call_id, request_bytes FROM `+l.Calls+` WHERE `+l.Where+` AND protocol <> 'icmp' AND `+terms.IsRequest+`) r
				JOIN e d ON `+l.On("r", "dst_id", "d")+` JOIN e s ON `+l.On("r", "src_id", "s")+` WHERE d.external AND NOT coalesce(s.external, false)),
		g AS (SELECT `+l.Bundle(of)+`, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns FROM c GROUP BY ALL),
		k AS MATERIALIZED (SELECT g.*, who, 'calls of ' || protocol || coalesce(' ' || method || ' ' || path, '') AS detail FROM g JOIN e ON `+l.On("g", "src_id", "e")+`
				WINDOW same AS (PARTITION BY who, dst_ip, detail)
				QUALIFY sum(n) OVER same >= `+fmt.Sprint(least)+` AND max(last_ns) OVER same - min(first_ns) OVER same >= (sum(n) OVER same - 1) * 200000000),
		beats AS (SELECT `+terms.Who("src_")+` AS src, dst_ip AS dst, coalesce(dst_dns_name, dst_hostname, '') AS name, `+terms.Port+` AS detail, first_ns AS beat, `+terms.FlowID(l.Case)+` AS flow_id, NULL::BLOB AS id, src_bytes AS size
				FROM flows WHERE dst_external AND NOT coalesce(src_external, false) AND `+l.Once()+`
			UNION ALL SELECT k.who, k.dst_ip, c.name, k.detail, ts_ns, NULL, call_id, request_bytes FROM c JOIN k ON `+same+`),
		b AS (SELECT *, beat - lag(beat) OVER (PARTITION BY src, dst, detail ORDER BY beat, flow_id, id) AS pause FROM beats)
		SELECT src, dst, detail, max(name) AS other, count(*) AS count, min(beat) AS first_ns, max(beat) AS last_ns,
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
		f := finding.Finding{Severity: finding.Low, Confidence: finding.Likely, Key: r.Detail}
		name := r.Other
		if name == "" {
			f.Severity, name = finding.High, "no name"
		} else if r.Number2 <= r.Number*0.02 {
			f.Severity = finding.Medium
		}
		beat := time.Duration(r.Number * 1e9).Round(time.Millisecond)
		f.What = plural.Sprintf("%s calls %s (%s, %s) every %s, %d {time|times}; the interquartile range of the pauses is %s", r.Src, r.Dst, name, r.Detail, beat, r.Count, time.Duration(r.Number2*1e9).Round(time.Millisecond))
		l.Add(r, f)
	}
	return nil
}
