// Package scan finds clients that try many ports or hosts with few answers.
package scan

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const (
	manyTargets = 15 // lowest number of targets within one minute that counts as a scan
	manyPorts   = 5  // lowest number of ports of each host over UDP; clients of peer-to-peer networks use one of each
)

// datagrams is the SQL condition for conversations that may belong to a scan by datagrams. Nobody needs to answer what is
// sent to several hosts at once, or an ICMP error. traceroute sends to ports from 33434 on, which are closed. A client about
// which nothing else was captured may have got answers.
func datagrams(l *finding.Look) string {
	return `transport IN ('udp', 'icmp') AND NOT regexp_matches(dst_ip, '^(22[4-9]|23[0-9])[.]|^ff|[.]255$') AND NOT (transport = 'udp' AND dst_port BETWEEN 33434 AND 33534) AND NOT ` + terms.Reports(l.Case) + `
			AND src_ip IN (SELECT src_ip FROM flows_raw WHERE dst_packets > 0 UNION ALL SELECT dst_ip FROM flows_raw WHERE src_packets > 0)`
}

// tried is the SQL condition for flows that may be those of a scan.
const tried = `transport IN ('tcp', 'udp', 'icmp')`

// sought is the SQL condition for machines that ask for many addresses.
const sought = "source = 'arp' AND kind = 'arp_scan'"

// over says that a scan is not over TCP.
var over = map[string]string{"udp": " of UDP", "icmp": " by ping"}

// Analyzer returns the analyzer scan.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "scan", Techniques: []string{"T1046"}, Basis: finding.Basis{What: "TCP connections, datagrams, pings and questions of ARP", Is: []finding.Need{finding.Flows(finding.Any(tried)), finding.Odd(sought)}}, Title: "port and host scans",
		Doc:   "A client that tries at least 15 different addresses or ports over TCP, or over UDP or ICMP, within a minute, most of which refuse or do not answer. FIN, NULL and Xmas probes without an answer count: their ports are open or filtered. Over UDP, the client tries one port of many hosts, or many ports of each host. A machine that asks for 50 addresses in ARP within a minute without a reply: a router does so if somebody behind it scans.",
		Steps: []finding.Step{{Find: addresses, Needs: []finding.Need{finding.Odd(sought)}}, {Find: find, Needs: []finding.Need{finding.Flows(fmt.Sprintf("%s AND count(DISTINCT (dst_ip, dst_port)) >= %d", finding.AtLeast((manyTargets+1)/2, tried+" AND NOT "+terms.Accepted), manyTargets))}}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH f AS (SELECT `+terms.Who("src_")+` AS src, transport, dst_ip, dst_port, first_ns, last_ns, `+terms.FlowID(l.Case)+` AS flow_id, first_ns // 60000000000 AS minute,
				NOT `+terms.Accepted+` AS shut, transport = 'tcp' AND `+terms.Probe+` AS silent FROM flows WHERE (transport = 'tcp' OR `+datagrams(l)+`) AND `+l.Once()+`),
		m AS (SELECT src, transport, minute, count(DISTINCT (dst_ip, dst_port)) AS targets, count(DISTINCT dst_ip) AS hosts, count(DISTINCT dst_port) AS ports, count(*) FILTER (shut) AS shut, count(*) FILTER (silent) AS silent, count(*) AS n,
			min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(flow_id, (first_ns, flow_id), 3) AS ids FROM f GROUP BY src, transport, minute)
		SELECT src, transport AS other, max(hosts) || if(max(hosts) = 1, ' address', ' addresses') || CASE WHEN transport = 'icmp' THEN '' WHEN max(ports) = 1 THEN ', 1 port' ELSE ', ' || max(ports) || ' ports' END AS detail, sum(n)::BIGINT AS count, max(targets) AS "of", sum(shut)::DOUBLE AS number, sum(silent)::DOUBLE AS number2, min(first_ns) AS first_ns, max(last_ns) AS last_ns,
			arg_min(ids, (first_ns, ids)) AS flow_ids FROM m WHERE targets >= `+fmt.Sprint(manyTargets)+` AND shut * 2 > n AND (transport <> 'udp' OR ports = 1 OR hosts * `+fmt.Sprint(manyPorts)+` <= targets) GROUP BY src, transport ORDER BY count DESC, src, transport`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		key, severity, tried := "scan", finding.High, "{connection was|connections were}"
		if r.Other != "tcp" {
			key, severity, tried = "scan "+r.Other, finding.Medium, "{conversation was|conversations were}"
		}
		f := finding.Finding{Severity: severity, Confidence: finding.Likely, Key: key,
			What: plural.Sprintf("%s tried up to %d {target|targets} within a minute (%s%s); %.0f of %d "+tried+" refused or not answered", r.Src, r.Of, r.Detail, over[r.Other], r.Number, r.Count)}
		if n := int64(r.Number2); n > 0 {
			f.What += plural.Sprintf("; %d {was a probe|were probes} without SYN and ACK that had no answer: such ports are open or filtered, because a closed port answers with RST", n)
		}
		l.Add(r, f)
	}
	return nil
}

// addresses reports machines that ask for many addresses of their network in ARP.
func addresses(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `SELECT regexp_extract(detail, 'address (\S+)', 1) AS src, sum(count)::BIGINT AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Places()+`
		FROM anomalies_raw WHERE `+sought+` AND detail LIKE 'address %' AND ts_ns BETWEEN `+fmt.Sprint(l.From)+` AND `+fmt.Sprint(l.To)+` GROUP BY 1 ORDER BY count DESC, src`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		l.Add(r, finding.Finding{Severity: finding.Medium, Confidence: finding.Likely, Key: "scan arp", Evidence: r.Evidence, Techniques: []string{"T1018"},
			What: plural.Sprintf("%s asked for 50 addresses of its network or more within a minute over ARP, for which no reply was captured, in %d {minute|minutes}", r.Src, r.Count)})
	}
	return nil
}
