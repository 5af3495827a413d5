// Package beacon finds periodic connections to one outside address, as implants make to their
// control server.
//
// A beacon has at least eight connections or calls with nearly equal pauses: their interquartile
// range is below a tenth of the median. Health checks and telemetry look the same, so the severity
// is low, or high if the destination has no name, except of protocols that ask for periodic messages.
// Periodic calls inside the cluster are probes and not reported, unless they ask a proxy for an
// outside host.
package beacon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const least = 8 // connections

// polls are the protocols that ask their clients for periodic messages: RFC 5905 section 13, RFC 8445 section 11. The calls
// stand for their connections.
var polls = []string{"ntp", "stun"}

// Analyzer returns the analyzer beacon.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "beacon", Techniques: []string{"T1071"}, Basis: finding.OfProxied, Title: "periodic connections",
		Doc:   "Eight or more connections or calls to one outside destination with nearly equal pauses (interquartile range below a tenth of the median; pauses of at least 0.5 s).",
		Steps: []finding.Step{{Find: find, Needs: []finding.Need{finding.Proxied, finding.External}}}}
}

func find(ctx context.Context, l *finding.Look) error {
	// On a connection that stays open the calls are periodic, otherwise the connections are. Calls
	// that are too few or too frequent are left out before their pauses are measured: if half of
	// the pauses are at least half a second, the mean is at least a quarter of a second. A connection
	// to a proxy is none to the hosts behind it, which are in the calls.
	of := "src_id, dst_id, protocol, method, path"
	same := "c.src_id = k.src_id AND c.dst = k.dst AND c.protocol = k.protocol AND c.method IS NOT DISTINCT FROM k.method AND c.path IS NOT DISTINCT FROM k.path"
	if l.Case.Several() {
		same += " AND c.bundle = k.bundle"
	}
	flow := l.Bundle("flow_id")
	rows, err := l.Rows(ctx, `WITH `+l.Names()+`,
		r AS NOT MATERIALIZED (SELECT `+l.Bundle(of)+`, host, proxied_to, ts_ns, call_id, request_bytes FROM `+l.Calls+` WHERE `+l.Where+` AND protocol <> 'icmp' AND `+terms.IsRequest+`),
		c AS NOT MATERIALIZED (SELECT * REPLACE (CASE WHEN beyond THEN target ELSE dst_ip END AS dst, CASE WHEN beyond THEN proxy END AS proxy),
					coalesce(CASE WHEN (`+terms.NamesServer+` OR beyond AND `+terms.NamesTarget+`) AND NOT `+terms.AddressLike+` THEN host END, CASE WHEN NOT beyond THEN dst_dns_name END, '') AS name
				FROM (`+l.Named("r")+`) WHERE NOT coalesce(src_outside, false) AND (dst_outside OR beyond)),
		g AS (SELECT `+l.Bundle("src_id, dst, protocol, method, path")+`, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns FROM c GROUP BY ALL),
		k AS MATERIALIZED (SELECT g.*, who, 'calls of ' || protocol || coalesce(' ' || method || ' ' || path, '') AS detail FROM g JOIN e ON `+l.On("g", "src_id", "e")+`
				WINDOW same AS (PARTITION BY who, dst, detail)
				QUALIFY sum(n) OVER same >= `+fmt.Sprint(least)+` AND max(last_ns) OVER same - min(first_ns) OVER same >= (sum(n) OVER same - 1) * 200000000),
		beats AS (SELECT `+terms.Who("src_")+` AS src, dst_ip AS dst, NULL::VARCHAR AS proxy, true AS dst_outside, false AS beyond, coalesce(dst_dns_name, dst_hostname, '') AS name, `+terms.Port+` AS detail, first_ns AS beat, `+terms.FlowID(l.Case)+` AS flow_id, NULL::BLOB AS id, src_bytes AS size
				FROM flows WHERE dst_external AND NOT coalesce(src_external, false) AND coalesce(protocol NOT IN ('`+strings.Join(polls, "', '")+`'), true) AND (`+flow+`) NOT IN (SELECT (`+flow+`) FROM calls_raw WHERE proxied_to IS NOT NULL) AND `+l.Once()+`
			UNION ALL SELECT k.who, k.dst, c.proxy, c.dst_outside, c.beyond, c.name, k.detail, ts_ns, NULL, call_id, request_bytes FROM c JOIN k ON `+same+`),
		b AS (SELECT *, beat - lag(beat) OVER (PARTITION BY src, dst, detail ORDER BY beat, flow_id, id) AS pause FROM beats)
		SELECT src, dst, detail, max(name) AS other, count(*) AS count, min(beat) AS first_ns, max(beat) AS last_ns, `+finding.Ways+`,
			quantile_cont(pause, 0.5) / 1e9 AS number, (quantile_cont(pause, 0.75) - quantile_cont(pause, 0.25)) / 1e9 AS number2,
			list_filter(arg_min(flow_id, (beat, flow_id), 3), x -> x IS NOT NULL) AS flow_ids,
			list_transform(`+l.First(`list_filter(list(id ORDER BY beat, id), x -> x IS NOT NULL)`)+`, x -> lower(hex(x))) AS call_ids,
			[median(size)::BIGINT::VARCHAR || ' bytes sent each time'] AS evidence
		FROM b GROUP BY src, dst, detail
		HAVING count(*) >= `+fmt.Sprint(least)+` AND number >= 0.5 AND number2 <= number * 0.1
		ORDER BY number2 / number, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Outside {
			add(l, r)
		}
	}
	return nil
}

func add(l *finding.Look, r finding.Row) {
	_, err := netip.ParseAddr(r.Dst)
	nameless := r.Other == "" && err == nil
	name := cmp.Or(r.Other, "no name") + ", "
	if r.Other == "" && !nameless || r.Other == r.Dst { // the name is that of the destination
		name = ""
	}
	f := finding.Finding{Severity: finding.Low, Confidence: finding.Likely, Key: r.Detail}
	switch {
	case slices.ContainsFunc(polls, func(p string) bool { return strings.HasPrefix(r.Detail+" ", "calls of "+p+" ") }):
	case nameless:
		f.Severity = finding.High
	case r.Number2 <= r.Number*0.02:
		f.Severity = finding.Medium
	}
	beat := time.Duration(r.Number * 1e9).Round(time.Millisecond)
	f.What = plural.Sprintf("%s calls %s (%s%s) every %s, %d {time|times}; the interquartile range of the pauses is %s", r.Src, r.Dst, name, r.Detail, beat, r.Count, time.Duration(r.Number2*1e9).Round(time.Millisecond))
	l.Add(r, f)
}
