package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of lists.
const (
	mostCertificates = 30
	mostNames        = 20
	mostFlows        = 12
	mostEvents       = 40
	mostTalkers      = 12
	mostOutside      = 20
	soonNs           = int64(30 * 24 * time.Hour) // a certificate that ends within it is said to end soon
)

// tls is how well encrypted traffic is protected.
func (b *builder) tls() (Section, string) {
	if !b.has("tls") {
		return Section{}, "TLS handshakes"
	}
	s := Section{ID: "tls", Title: "TLS"}
	versions := `SELECT coalesce(tls_version_name, 'not settled') AS version, coalesce(tls_cipher_suite_name, 'not settled') AS cipher_suite,
  count(*) AS handshakes, count(*) FILTER (WHERE failed) AS failed, count(DISTINCT dst_ip) AS servers, min(` + b.ref("c") + `) AS first_call
FROM calls_raw c WHERE protocol = 'tls'
GROUP BY ALL ORDER BY handshakes DESC, version, cipher_suite LIMIT 30`
	t := &Table{ID: "tls-versions", Title: "Versions and cipher suites", Queries: []Query{b.query(versions)},
		Columns: []Column{column("Version"), code("Cipher suite"), column("Remark"), number("Handshakes", ""), number("Failed", ""), number("Servers", "addresses")}}
	for _, row := range b.ask(versions) {
		remark := weakness(str(row[0]), str(row[1]))
		t.add(b.cite(row[5]), textCell(row[0]), textCell(row[1]), Cell{Text: remark, Bad: strings.HasPrefix(remark, "weak")}, countCell(row[2]), failedCell(row[3]), countCell(row[4]))
	}
	t.shares(3)
	s.Blocks = append(s.Blocks, tableBlock(t))
	b.handshakeFailures(&s)
	b.certificates(&s)
	return s, ""
}

// weakness says what is wrong with a version or cipher suite: RFC 8996 (TLS 1.0 and
// 1.1), RFC 7568 (SSL 3.0), RFC 7465 (RC4), RFC 9325 (the rest).
func weakness(version, suite string) string {
	switch {
	case strings.HasPrefix(version, "SSL"), version == "TLS 1.0", version == "TLS 1.1", version == "DTLS 1.0":
		return "weak: " + version + " is withdrawn"
	}
	for _, bad := range []string{"_NULL_", "EXPORT", "_anon_", "RC4", "3DES", "_DES_", "_DES40_", "RC2", "IDEA", "_MD5"} {
		if strings.Contains(suite+"_", bad) {
			return "weak: " + strings.Trim(bad, "_")
		}
	}
	if strings.HasPrefix(suite, "TLS_RSA_") {
		return "no forward secrecy"
	}
	return ""
}

func (b *builder) handshakeFailures(s *Section) {
	sql := `SELECT coalesce(host, dst_ip) AS server, status_text, error, count(*) AS handshakes, count(DISTINCT src_ip) AS clients, min(` + b.ref("c") + `) AS first_call
FROM calls_raw c WHERE protocol = 'tls' AND failed
GROUP BY ALL ORDER BY handshakes DESC, first_call LIMIT 20`
	t := &Table{ID: "tls-failures", Title: "Handshakes that failed", Queries: []Query{b.query(sql)},
		Columns: []Column{code("Server"), name("Outcome"), number("Handshakes", ""), number("Clients", "addresses")}}
	for _, row := range b.ask(sql) {
		t.add(b.cite(row[5]), textCell(row[0]), wordCell(outcome(nil, row[1], row[2])), countCell(row[3]), countCell(row[4]))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

func (b *builder) certificates(s *Section) {
	on := b.on("t", "c", "c.call_no = t.call_no")
	sql := fmt.Sprintf(`SELECT max(cert_subject) AS subject, max(cert_issuer) AS issuer, max(cert_not_before_ns) AS not_before_ns, max(cert_not_after_ns) AS not_after_ns,
  max(cert_key_type) AS key_type, max(cert_key_bits) AS key_bits, max(cert_signature_algorithm) AS signature, bool_or(cert_self_signed) AS self_signed,
  bool_or(cert_expired) AS expired, bool_or(cert_not_yet_valid) AS not_yet_valid, bool_or(NOT cert_matches_sni) AS wrong_name,
  max(c.ts_ns) AS seen_ns, count(*) AS handshakes, min(%s) AS first_call
FROM tls t JOIN calls_raw c ON %s WHERE cert_sha256 IS NOT NULL
GROUP BY cert_sha256
ORDER BY (expired OR not_yet_valid) DESC, not_after_ns, first_call LIMIT %d`, b.ref("c"), on, mostCertificates)
	t := &Table{ID: "certificates", Title: "Server certificates, the first to end first", Queries: []Query{b.query(sql)},
		Note:    "Left is measured from the last handshake that showed the certificate, not from today. TLS 1.3 sends certificates encrypted, so most of its servers are not here.",
		Columns: []Column{{Name: "Subject", Kind: "name", Doc: "common name"}, {Name: "Issuer", Kind: "name", Doc: "common name"}, column("Key"), moment("Ends"), number("Left", "when last seen"), column("Remark"), number("Handshakes", "")}}
	for _, row := range b.ask(sql) {
		left := num(row[3]) - num(row[11])
		remark, bad := certificateRemark(row, left)
		t.add(b.cite(row[13]), wordCell(commonName(row[0])), wordCell(commonName(row[1])), wordCell(strings.TrimSpace(str(row[4])+" "+str(row[5]))),
			wordCell(time.Unix(0, num(row[3])).UTC().Format(time.DateOnly)), wordCell(days(left)), Cell{Text: remark, Bad: bad}, countCell(row[12]))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

// commonName is the part of a distinguished name (RFC 2253) that people know it by, or
// all of it.
func commonName(v any) string {
	s, _ := v.(string)
	for rest := s; rest != ""; {
		part := rest
		for i := 0; i < len(rest); i++ {
			if rest[i] == '\\' {
				i++
			} else if rest[i] == ',' {
				part = rest[:i]
				break
			}
		}
		if cn, ok := strings.CutPrefix(part, "CN="); ok && cn != "" {
			return clean(cn, maxText)
		}
		rest = strings.TrimPrefix(rest[len(part):], ",")
	}
	return clean(s, maxText)
}

func days(ns int64) string {
	n := ns / int64(24*time.Hour)
	if n == 1 || n == -1 {
		return plural.Thousands(n) + " day"
	}
	return plural.Thousands(n) + " days"
}

func certificateRemark(row []any, left int64) (remark string, bad bool) {
	var parts []string
	is := func(v any) bool { yes, _ := v.(bool); return yes }
	kind, bits := str(row[4]), num(row[5])
	for _, p := range []struct {
		when bool
		text string
		bad  bool
	}{
		{is(row[8]), "expired", true},
		{is(row[9]), "not yet valid", true},
		{!is(row[8]) && left < soonNs, "ends within 30 days", true},
		{is(row[10]), "not for the name asked", true},
		{is(row[7]), "self-signed", false},
		{kind == "rsa" && bits > 0 && bits < 2048, "short key", true},
		{strings.Contains(strings.ToUpper(str(row[6])), "SHA1") || strings.Contains(strings.ToUpper(str(row[6])), "MD5"), "signed with " + str(row[6]), true},
	} {
		if p.when {
			parts = append(parts, p.text)
			bad = bad || p.bad
		}
	}
	return strings.Join(parts, ", "), bad
}

// dns is which names could not be found.
func (b *builder) dns() (Section, string) {
	all := `SELECT coalesce(dns_variant, 'dns') AS variant, count(*) AS questions, count(*) FILTER (WHERE failed) AS failed, count(*) FILTER (WHERE error IS NOT NULL) AS not_answered,
  count(DISTINCT host) AS names, quantile_disc(elapsed_us, [0.5, 0.9, 0.99]) AS p50_p90_p99_us, min(` + b.ref("c") + `) AS first_call
FROM calls_raw c WHERE protocol = 'dns'
GROUP BY ALL ORDER BY questions DESC, variant`
	t := &Table{ID: "dns-questions", Title: "Questions", Queries: []Query{b.query(all)},
		Columns: []Column{column("Kind"), number("Questions", ""), number("Failed", ""), number("No answer", "or cut"), number("Names", "asked for"), number("p50", "latency"), number("p99", "latency")}}
	for _, row := range b.ask(all) {
		p50, _, p99 := quantiles(row[5])
		t.add(b.cite(row[6]), textCell(row[0]), countCell(row[1]), failedCell(row[2]), failedCell(row[3]), countCell(row[4]), microsCell(p50), microsCell(p99))
	}
	if len(t.Rows) == 0 {
		return Section{}, "DNS"
	}
	s := Section{ID: "dns", Title: "DNS", Blocks: []Block{tableBlock(t)}}
	sql := fmt.Sprintf(`SELECT host, status_text, error, count(*) AS questions, count(DISTINCT src_ip) AS clients, string_agg(DISTINCT dns_question_types[1], ', ' ORDER BY dns_question_types[1]) AS types, min(%s) AS first_call
FROM calls_raw c WHERE protocol = 'dns' AND failed
GROUP BY host, status_text, error ORDER BY questions DESC, first_call LIMIT %d`, b.ref("c"), mostNames)
	f := &Table{ID: "dns-failures", Title: "Names that were not found, or not answered", Queries: []Query{b.query(sql)},
		Columns: []Column{code("Name"), column("Types"), name("Outcome"), number("Questions", ""), number("Clients", "addresses")}}
	for _, row := range b.ask(sql) {
		f.add(b.cite(row[6]), textCell(row[0]), textCell(row[5]), wordCell(outcome(nil, row[1], row[2])), countCell(row[3]), countCell(row[4]))
	}
	if len(f.Rows) > 0 {
		f.shares(3)
		s.Blocks = append(s.Blocks, tableBlock(f))
	}
	return s, ""
}

// tcp is how well the network carried it.
func (b *builder) tcp() (Section, string) {
	sql := `SELECT count(*) AS flows, sum(src_packets + dst_packets)::BIGINT AS packets, sum(retransmissions)::BIGINT AS retransmissions, sum(fast_retransmissions)::BIGINT AS fast,
  sum(out_of_order)::BIGINT AS out_of_order, sum(duplicate_acks)::BIGINT AS duplicate_acks, sum(zero_windows)::BIGINT AS zero_windows, sum(resets)::BIGINT AS resets,
  count(*) FILTER (WHERE state = 'refused') AS refused, sum(lost_segments)::BIGINT AS gaps, sum(gap_bytes)::BIGINT AS gap_bytes, count(*) FILTER (WHERE one_sided) AS one_sided,
  quantile_disc(handshake_us, [0.5, 0.9, 0.99]) AS handshake, quantile_disc(rtt_avg_us, [0.5, 0.9, 0.99]) AS rtt
FROM flows_raw WHERE transport = 'tcp'`
	rows := b.ask(sql)
	if len(rows) != 1 || num(rows[0][0]) == 0 {
		return Section{}, "TCP"
	}
	row := rows[0]
	s := Section{ID: "tcp", Title: "TCP health"}
	t := &Table{ID: "tcp-totals", Title: "Over all flows", Queries: []Query{b.query(sql)}, Columns: []Column{column("What"), number("Amount", ""), column("Which means")}}
	packets := num(row[1])
	line := func(name string, c Cell, meaning string) { t.add(nil, wordCell(name), c, wordCell(meaning)) }
	line("Flows", countCell(row[0]), plural.Thousands(packets)+" packets")
	line("Retransmissions", countCell(row[2]), percentOf(num(row[2]), packets)+"; "+plural.Thousands(num(row[3]))+" of them fast")
	line("Out of order", countCell(row[4]), percentOf(num(row[4]), packets))
	line("Duplicate ACKs", countCell(row[5]), percentOf(num(row[5]), packets))
	line("Zero windows", countCell(row[6]), "a receiver that could take no more")
	line("Resets", countCell(row[7]), "packets with RST")
	line("Refused", countCell(row[8]), "flows that a port answered with a reset")
	line("Missing stretches", countCell(row[9]), bytesText(num(row[10]))+" that the capture lacks")
	line("One-sided flows", countCell(row[11]), "only one direction was captured")
	for i, name := range map[int]string{12: "Handshake"} {
		if p50, p90, p99 := quantiles(row[i]); p50 != nil {
			line(name+", p50", microsCell(p50), fmt.Sprintf("p90 %s, p99 %s", micros(num(p90)), micros(num(p99))))
		}
	}
	if p50, p90, p99 := quantiles(row[13]); p50 != nil {
		line("Round trip, p50", microsCell(p50), fmt.Sprintf("of the flows' means; p90 %s, p99 %s", micros(num(p90)), micros(num(p99))))
	}
	s.Blocks = append(s.Blocks, tableBlock(t))
	b.worstFlows(&s)
	return s, ""
}

func percentOf(part, all int64) string { return percent(part, all) + " of packets" }

func (b *builder) worstFlows(s *Section) {
	bundleNo := "0"
	if b.several {
		bundleNo = "f.bundle"
	}
	sql := fmt.Sprintf(`SELECT %[1]s AS bundle_no, f.flow_id, %[2]s AS client, f.src_port, %[3]s AS server, f.dst_port, f.protocol, f.state, f.src_packets + f.dst_packets AS packets,
  f.retransmissions, f.zero_windows, f.resets, f.lost_segments, f.gap_bytes, f.handshake_us, f.first_packet, f.last_packet
FROM flows_raw f JOIN endpoints s ON %[4]s JOIN endpoints d ON %[5]s
WHERE f.transport = 'tcp' AND f.retransmissions + f.zero_windows + f.lost_segments + f.resets > 0
ORDER BY f.retransmissions + 2 * f.zero_windows + 2 * f.lost_segments + f.resets DESC, bundle_no, f.flow_id LIMIT %[6]d`, bundleNo, node("s"), node("d"),
		b.on("f", "s", "s.endpoint_id = f.src_id"), b.on("f", "d", "d.endpoint_id = f.dst_id"), mostFlows)
	t := &Table{ID: "worst-flows", Title: "Flows with most trouble", Queries: []Query{b.query(sql)},
		Columns: []Column{number("Flow", "flow_id"), name("Client"), name("Server"), column("State"), number("Packets", ""), number("Resent", ""),
			number("Zero windows", ""), number("Resets", ""), number("Missing", "bytes"), number("Handshake", "")}}
	for _, row := range b.ask(sql) {
		t.add(flowCite(row[0], row[15], row[16]), countCell(row[1]), wordCell(fmt.Sprintf("%s:%d", b.nodeName(row[2]), num(row[3]))), wordCell(fmt.Sprintf("%s:%d", b.nodeName(row[4]), num(row[5]))),
			textCell(row[7]), countCell(row[8]), countCell(row[9]), countCell(row[10]), countCell(row[11]), bytesCell(row[13]), microsCell(row[14]))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

// kubernetes is what the cluster said meanwhile.
func (b *builder) kubernetes() (Section, string) {
	if !b.has("k8s_events") {
		return Section{}, "Kubernetes events"
	}
	sql := fmt.Sprintf(`SELECT type, reason, kind, concat_ws('/', namespace, name) AS object, message, sum(coalesce(count, 1))::BIGINT AS times, max(ts_ns) AS last_ns
FROM k8s_events GROUP BY ALL ORDER BY (max(type) = 'Warning') DESC, times DESC, last_ns, object, reason, message LIMIT %d`, mostEvents)
	t := &Table{ID: "k8s-events", Title: "Events, warnings first", Queries: []Query{b.query(sql)},
		Columns: []Column{column("Type"), column("Reason"), name("Object"), {Name: "Message", Kind: "wide"}, number("Times", ""), moment("Last (UTC)")}}
	for _, row := range b.ask(sql) {
		warning := str(row[0]) == "Warning"
		t.add(nil, Cell{Text: str(row[0]), Bad: warning}, textCell(row[1]), wordCell(strings.TrimSpace(strings.ToLower(str(row[2]))+" "+b.nodeName(row[3]))), textCell(row[4]), countCell(row[5]),
			wordCell(stamp(num(row[6]), time.Hour)))
	}
	return Section{ID: "kubernetes", Title: "Kubernetes", Blocks: []Block{tableBlock(t)}}, ""
}

// talkers is who moved most bytes, and who is outside.
func (b *builder) talkers() (Section, string) {
	on := b.on("t", "e", "e.endpoint_id = t.id")
	sql := fmt.Sprintf(`WITH t AS (SELECT %[1]ssrc_id AS id, src_bytes AS sent, dst_bytes AS received FROM flows_raw UNION ALL SELECT %[1]sdst_id, dst_bytes, src_bytes FROM flows_raw)
SELECT e.name, e.ip, e.kind, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received, count(*) AS flows
FROM t JOIN endpoints e ON %[2]s
GROUP BY e.name, e.ip, e.kind ORDER BY sum(sent + received) DESC, e.name, e.ip, e.kind LIMIT %[3]d`, bundlePrefix(b.several), on, mostTalkers)
	chart := &BarChart{Unit: "bytes"}
	var all int64
	for _, row := range b.ask(sql) {
		name, ip := str(row[0]), str(row[1])
		if name != ip {
			name += " (" + ip + ")"
		}
		n := num(row[3]) + num(row[4])
		all += n
		chart.Bars = append(chart.Bars, Bar{Name: name, Value: n})
	}
	if len(chart.Bars) == 0 {
		return Section{}, "flows"
	}
	f := &Figure{ID: "talkers-bars", Title: "Who moved most bytes", Bars: chart, Queries: []Query{b.query(sql)}, Note: "IP bytes sent and received; each flow counts at both of its ends."}
	f.Alt = fmt.Sprintf("Bars of bytes: the first is %s with %s.", chart.Bars[0].Name, bytesText(chart.Bars[0].Value))
	s := Section{ID: "talkers", Title: "Talkers and the outside", Blocks: []Block{figureBlock(f)}}
	b.outside(&s, on)
	return s, ""
}

func bundlePrefix(several bool) string {
	if several {
		return "bundle, "
	}
	return ""
}

func (b *builder) outside(s *Section, on string) {
	sql := fmt.Sprintf(`WITH t AS (SELECT %[1]ssrc_id AS id, dst_id AS peer, src_bytes AS sent, dst_bytes AS received, protocol FROM flows_raw
  UNION ALL SELECT %[1]sdst_id, src_id, dst_bytes, src_bytes, protocol FROM flows_raw)
SELECT e.ip, max(coalesce(e.dns_name, e.hostname)) AS name, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received, count(*) AS flows,
  list(DISTINCT protocol ORDER BY protocol) AS protocols, list(DISTINCT %[2]s ORDER BY %[2]s) AS peers
FROM t JOIN endpoints e ON %[3]s JOIN endpoints p ON %[4]s
WHERE e.external GROUP BY e.ip ORDER BY sum(sent + received) DESC, e.ip LIMIT %[5]d`, bundlePrefix(b.several), node("p"), on, b.on("t", "p", "p.endpoint_id = t.peer"), mostOutside)
	t := &Table{ID: "outside", Title: "Addresses outside", Queries: []Query{b.query(sql)}, Note: "Outside of private, link-local, loopback and known cluster ranges. Sent and received are the outside address's own.",
		Columns: []Column{code("Address"), name("Name"), column("Protocols"), name("Talks with"), number("Sent", "IP bytes"), number("Received", "IP bytes"), number("Flows", "")}}
	for _, row := range b.ask(sql) {
		var peers []any
		list, _ := row[6].([]any)
		for _, p := range list {
			peers = append(peers, b.nodeName(p))
		}
		t.add(nil, textCell(row[0]), textCell(row[1]), textCell(row[5]), textCell(peers), bytesCell(row[2]), bytesCell(row[3]), countCell(row[4]))
	}
	if len(t.Rows) == 0 {
		b.r.Absent = append(b.r.Absent, "addresses outside")
		return
	}
	s.Blocks = append(s.Blocks, tableBlock(t))
}
