// Package flood finds traffic that makes a server or a network unavailable: floods of connections, datagrams and pings,
// answers of others to somebody who did not ask, requests that never end, and packets that crash old systems.
package flood

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as a flood, within ten seconds unless a line says more.
const (
	manyOpen    = 500  // connections to one port whose handshake did not end
	fromMany    = 50   // addresses that no client has together by chance
	manyPackets = 1000 // pings to one address; conversations over UDP without an answer
	manyPorts   = 100  // ports of UDP; one port without answers may be a capture of one direction
	manyAnswers = 200  // packets of reflected answers within a minute
	longAnswer  = 200  // mean bytes of each; the answers of an honest NTP or memcached server to a client are shorter or asked for
	amplified   = 10   // times the bytes of the questions
	equalNames  = 20   // questions of DNS for each name that is asked for
	manySlow    = 50   // requests of one client to one port
	slowFor     = 10   // seconds
	slowBytes   = 1000 // in each second, fewer than any link carries
)

// halfOpen is the SQL condition for connections whose handshake did not end.
const halfOpen = "transport = 'tcp' AND state IN ('syn_sent', 'syn_received')"

// reflectors are ports of services over UDP that answer with much more than they are asked, without a handshake (CISA
// TA14-017A), but DNS, whose honest answers are long, too. Those of SSDP answer all of a network.
const reflectors = "17, 19, 123, 389, 3283, 3702, 5683, 10001, 11211, 27015, 37810"

// asked is the SQL condition for a question, or an answer, of such a service.
const asked = "transport = 'udp' AND (dst_port IN (" + reflectors + ") OR src_port IN (" + reflectors + "))"

// silent is the SQL condition for datagrams without an answer, longDNS for answers that are long even with signatures.
const silent = "transport = 'udp' AND dst_packets = 0"

var longDNS = fmt.Sprintf("protocol = 'dns' AND response_bytes >= %d", 2*longAnswer)

// loops matches a connection of a port with itself, which no program opens (LAND, CVE-1999-0016).
const loops = "transport = 'tcp' AND src_ip = dst_ip AND src_port = dst_port AND NOT regexp_matches(src_ip, '^(127[.]|::1$)')"

// torn matches fragments that contradict others of their datagram (RFC 1858 section 4, RFC 5722 section 3), or are beyond the
// longest one (Ping of Death, CVE-1999-0128).
const torn = "kind IN ('fragment_conflict', 'fragment_too_long')"

// trickling is the SQL condition for requests that are sent for long, a few bytes at a time.
var trickling = fmt.Sprintf("protocol = 'http1' AND send_us >= %d AND request_bytes * 1000000 < %d * send_us", int64(slowFor*1e6), slowBytes)

// Analyzer returns the analyzer flood.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "flood", Title: "denial of service", Kinds: []string{"connections", "datagrams", "pings", "reflection", "slow-requests", "loop", "fragments"},
		Techniques: []string{"T1498.001", "T1498.002", "T1499.001", "T1499.002", "T1499.004"}, Basis: finding.OfFlows,
		Unproved: "That the sources are who they say, and that a service suffered: sources of floods are often forged.",
		Doc: fmt.Sprintf("Within 10 s: connections to one port whose handshakes do not end, at least %d and half of all; %d or more conversations over UDP with one address, %d ports or more, or while others are answered, of which nine tenths get no answer; %d or more pings or unasked replies to one address. Within a minute: %d or more long answers (mean %d bytes, 10 times the questions) of services that reflect (NTP, memcached, CLDAP and others), or of DNS servers (each of %d bytes) for the same few names. %d or more HTTP requests of one client that take %d s to send, at less than %d bytes a second. A connection of a port with itself, and fragments that contradict each other.",
			manyOpen, manyPackets, manyPorts, manyPackets, manyAnswers, longAnswer, 2*longAnswer, manySlow, slowFor, slowBytes),
		Steps: []finding.Step{
			{Needs: []finding.Need{finding.Flows(finding.AtLeast(manyOpen, halfOpen))}, Find: connections},
			{Needs: []finding.Need{finding.Flows(finding.AtLeast(manyPackets, silent)), finding.Flows("coalesce(sum(src_packets) FILTER (transport = 'icmp'), 0) >= " + fmt.Sprint(manyPackets))}, Find: datagrams},
			{Needs: []finding.Need{finding.Flows("coalesce(sum(src_packets + dst_packets) FILTER (" + asked + "), 0) >= " + fmt.Sprint(manyAnswers))}, Find: reflected},
			{Needs: []finding.Need{finding.Calls("'dns'", finding.AtLeast(manyAnswers, longDNS))}, Find: names},
			{Needs: []finding.Need{finding.Calls("'http1'", finding.AtLeast(manySlow, trickling))}, Find: slow},
			{Needs: []finding.Need{finding.Flows(finding.Any(loops))}, Find: itself},
			{Needs: []finding.Need{finding.Odd(torn)}, Find: fragments},
		}}
}

// from is SQL for the first source, and how many others there are.
const from = "min(src) || CASE count(DISTINCT src) WHEN 1 THEN '' ELSE ' and ' || (count(DISTINCT src) - 1) || ' others' END"

// sums are the columns of a Row that every step has, of flows f.
const sums = "min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(flow_id, (first_ns, flow_id), 3) AS flow_ids"

// flows is SQL for the flows of the window that match a condition, once each.
func flows(l *finding.Look, where string) string {
	return "f AS (SELECT * REPLACE (" + terms.FlowID(l.Case) + " AS flow_id), " + terms.Who("src_") + " AS src, " + terms.Who("dst_") + " AS dst, first_ns // 10000000000 AS part FROM flows WHERE " + where + " AND " + l.Once() + ")"
}

// severity is high if so many sources cannot be a fault.
func severity(sources float64) string {
	if sources >= fromMany {
		return finding.High
	}
	return finding.Medium
}

// connections finds ports to which many connections are begun and not completed.
func connections(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH `+flows(l, "transport = 'tcp'")+`,
		p AS (SELECT dst_ip, dst_port, part FROM f GROUP BY ALL HAVING count(*) FILTER (`+halfOpen+`) >= `+fmt.Sprint(manyOpen)+` AND count(*) FILTER (`+halfOpen+`) * 2 >= count(*))
		SELECT `+from+` AS src, any_value(dst) AS dst, dst_port::VARCHAR AS detail, count(*) AS count, count(*) FILTER (state = 'syn_received') AS "of", count(DISTINCT src_ip)::DOUBLE AS number, count(DISTINCT part)::DOUBLE AS number2, `+sums+`
		FROM f JOIN p USING (dst_ip, dst_port, part) WHERE `+halfOpen+` GROUP BY dst_ip, dst_port ORDER BY count DESC, dst, detail`)
	for _, r := range rows {
		f := finding.Finding{Kind: "connections", Key: "connections " + r.Detail, Severity: severity(r.Number), Confidence: finding.Likely, Techniques: []string{"T1499.001"},
			What: plural.Sprintf("%d {connection|connections} to port %s of %s {was|were} begun by %d {address|addresses} and not completed, %d or more within 10 s (SYN flood)", r.Count, r.Detail, r.Dst, int64(r.Number), manyOpen)}
		if r.Of > 0 {
			f.What += plural.Sprintf("; it answered %d of them", r.Of)
		} else {
			f.What += "; none was answered, as if the server were down or its answers were not captured"
		}
		l.Add(r, f)
	}
	return err
}

// datagrams finds addresses to which many datagrams or pings are sent.
func datagrams(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH `+flows(l, "transport IN ('udp', 'icmp') AND NOT regexp_matches(dst_ip, '^(22[4-9]|23[0-9])[.]|^ff|[.]255$')")+`,
		b AS (SELECT transport, dst_ip, part, count(*) FILTER (`+silent+`) AS silent, count(*) AS n, count(DISTINCT dst_port) AS ports, sum(src_packets) * 10e9 / greatest(10e9, max(last_ns) - min(first_ns)) AS packets FROM f GROUP BY ALL),
		p AS (SELECT transport, dst_ip, part FROM b WHERE CASE transport WHEN 'icmp' THEN packets >= `+fmt.Sprint(manyPackets)+` ELSE silent >= `+fmt.Sprint(manyPackets)+` AND silent * 10 >= n * 9 AND (ports >= `+fmt.Sprint(manyPorts)+` OR silent < n) END)
		SELECT transport AS other, `+from+` AS src, any_value(dst) AS dst, count(*) AS count, sum(src_packets)::BIGINT AS "of", count(DISTINCT src_ip)::DOUBLE AS number, count(DISTINCT dst_port)::DOUBLE AS number2, `+sums+`
		FROM f JOIN p USING (transport, dst_ip, part) WHERE transport = 'icmp' OR dst_packets = 0 GROUP BY transport, dst_ip ORDER BY "of" DESC, dst, other`)
	for _, r := range rows {
		f := finding.Finding{Kind: "datagrams", Key: r.Other, Severity: severity(r.Number), Confidence: finding.Likely, Techniques: []string{"T1498.001"},
			What: plural.Sprintf("%d {address|addresses} sent %d datagrams to %d {port|ports} of %s without an answer, in %d conversations, %d or more of them within 10 s (UDP flood)", int64(r.Number), r.Of, int64(r.Number2), r.Dst, r.Count, manyPackets)}
		if r.Other == "icmp" {
			f.Kind = "pings"
			f.What = plural.Sprintf("%d {address|addresses} sent %d ICMP messages to %s, %d or more within 10 s (ICMP flood)", int64(r.Number), r.Of, r.Dst, manyPackets)
		}
		l.Add(r, f)
	}
	return err
}

// reflected finds addresses that get long answers from services that reflect.
func reflected(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH `+flows(l, asked)+`,
		v AS (SELECT CASE WHEN dst_port IN (`+reflectors+`) THEN dst_port ELSE src_port END AS port, dst_port IN (`+reflectors+`) AS asks, first_ns // 60000000000 AS minute, * FROM f),
		w AS (SELECT port, minute, flow_id, first_ns, last_ns, CASE WHEN asks THEN dst ELSE src END AS src, CASE WHEN asks THEN src ELSE dst END AS dst, CASE WHEN asks THEN src_bytes ELSE dst_bytes END AS sent, CASE WHEN asks THEN dst_bytes ELSE src_bytes END AS got, CASE WHEN asks THEN dst_packets ELSE src_packets END AS packets FROM v),
		p AS (SELECT dst, port, minute FROM w GROUP BY ALL HAVING sum(packets) >= `+fmt.Sprint(manyAnswers)+` AND sum(got) >= `+fmt.Sprint(longAnswer)+` * sum(packets) AND sum(got) >= `+fmt.Sprint(amplified)+` * sum(sent))
		SELECT `+from+` AS src, dst, port::VARCHAR AS detail, sum(packets)::BIGINT AS count, sum(sent)::BIGINT AS "of", count(DISTINCT src)::DOUBLE AS number, sum(got)::DOUBLE AS number2, `+sums+`
		FROM w JOIN p USING (dst, port, minute) GROUP BY dst, port ORDER BY number2 DESC, dst, detail`)
	for _, r := range rows {
		l.Add(r, reflection(&r, "UDP port "+r.Detail, ""))
	}
	return err
}

// reflection is the finding about answers to somebody.
func reflection(r *finding.Row, port, about string) finding.Finding {
	asked := "it did not ask, as far as was captured"
	if r.Of > 0 {
		asked = plural.Sprintf("the questions in its name had %d bytes", r.Of)
	}
	return finding.Finding{Kind: "reflection", Key: "reflection " + port, Severity: finding.High, Confidence: finding.Likely, Techniques: []string{"T1498.002"},
		What: plural.Sprintf("%d {server|servers} sent %s %d {answer|answers} from %s%s with %d bytes; %s (amplification by reflection)", int64(r.Number), r.Dst, r.Count, port, about, int64(r.Number2), asked)}
}

// names finds addresses that get many long answers of DNS about the same few names.
func names(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH e AS MATERIALIZED (`+l.Ends()+`),
		c AS (SELECT d.who AS src, s.who AS dst, lower(host) AS name, ts_ns, call_id, coalesce(request_bytes, 0) AS sent, response_bytes AS got, ts_ns // 60000000000 AS minute
			FROM (SELECT `+l.Bundle("src_id, dst_id, host, ts_ns, call_id, request_bytes, response_bytes")+` FROM `+l.Calls+` WHERE `+l.Where+` AND `+longDNS+`) r JOIN e s ON `+l.On("r", "src_id", "s")+` JOIN e d ON `+l.On("r", "dst_id", "d")+`),
		p AS (SELECT dst, minute FROM c GROUP BY ALL HAVING count(*) >= `+fmt.Sprint(manyAnswers)+` AND count(*) >= `+fmt.Sprint(equalNames)+` * count(DISTINCT name) AND sum(got) >= `+fmt.Sprint(amplified)+` * sum(sent))
		SELECT `+from+` AS src, dst, min(name) AS other, count(*) AS count, sum(sent)::BIGINT AS "of", count(DISTINCT src)::DOUBLE AS number, sum(got)::DOUBLE AS number2, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.CallIDs()+`
		FROM c JOIN p USING (dst, minute) GROUP BY dst ORDER BY number2 DESC, dst`, l.Args...)
	for _, r := range rows {
		l.Add(r, reflection(&r, "DNS", " about "+r.Other))
	}
	return err
}

// slow finds clients with many requests that do not end.
func slow(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("dst_port AS port", trickling)+`
		SELECT src, dst, port::VARCHAR AS detail, `+l.Sums()+` FROM g GROUP BY src, dst, port HAVING count >= `+fmt.Sprint(manySlow)+` ORDER BY count DESC, src, dst, detail`, l.Args...)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "slow-requests", Key: "slow-requests " + r.Detail, Severity: finding.High, Confidence: finding.Likely, Techniques: []string{"T1499.002"},
			What: plural.Sprintf("%s sent %d HTTP {request|requests} to port %s of %s for %d s or more each, at less than %d bytes a second (as Slowloris does)", r.Src, r.Count, r.Detail, r.Dst, slowFor, slowBytes)})
	}
	return err
}

// itself finds connections of a port with itself.
func itself(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH `+flows(l, loops)+` SELECT any_value(src) AS src, any_value(dst) AS dst, dst_port::VARCHAR AS detail, sum(src_packets)::BIGINT AS count, `+sums+` FROM f GROUP BY dst_ip, dst_port ORDER BY count DESC, dst, detail`)
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "loop", Key: "loop " + r.Detail, Severity: finding.High, Confidence: finding.Exact, Techniques: []string{"T1499.004"}, CVEs: []string{"CVE-1999-0016"},
			What: plural.Sprintf("%d {packet|packets} to port %s of %s {has|have} its own address and port as sender (LAND)", r.Count, r.Detail, r.Dst)})
	}
	return err
}

// fragments finds fragments that contradict each other, or are beyond the longest datagram.
func fragments(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `SELECT kind AS detail, sum(count)::BIGINT AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Places()+`
		FROM anomalies_raw WHERE `+torn+` AND ts_ns BETWEEN `+fmt.Sprint(l.From)+` AND `+fmt.Sprint(l.To)+` GROUP BY kind ORDER BY kind`)
	for _, r := range rows {
		f := finding.Finding{Kind: "fragments", Key: r.Detail, Severity: finding.Medium, Confidence: finding.Exact, Techniques: []string{"T1499.004"}, Evidence: r.Evidence, CVEs: []string{"CVE-1999-0015"},
			What: plural.Sprintf("%d {fragment contradicts|fragments contradict} others of the same datagram: receivers read it in two ways, and old systems crash (Teardrop)", r.Count)}
		if r.Detail == "fragment_too_long" {
			f.CVEs = []string{"CVE-1999-0128"}
			f.What = plural.Sprintf("%d {fragment ends|fragments end} behind the longest datagram, which crashes old systems (Ping of Death)", r.Count)
		}
		l.Add(r, f)
	}
	return err
}
