package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const soonNs = int64(30 * 24 * time.Hour) // a certificate that expires within this time is marked

// tls shows how well encrypted traffic is protected.
func (b *builder) tls() (Section, string) {
	if !b.has("tls") {
		return Section{}, "TLS handshakes"
	}
	s := Section{ID: "tls", Title: "TLS"}
	versions := tallied(b, tally.Versions)
	t := &Table{ID: "tls-versions", Title: "Versions and cipher suites", Queries: []Query{b.query(versions.SQL)},
		Columns: []Column{column("Version"), code("Cipher suite"), column("Remark"), number("Handshakes", ""), number("Failed", ""), number("Servers", "addresses")}}
	for _, v := range versions.Rows {
		remark := weakness(str(v.Version), str(v.Suite))
		t.add(b.cite(v.First), textCell(v.Version), textCell(v.Suite), Cell{Text: remark, Bad: strings.HasPrefix(remark, "weak")}, countCell(v.Handshakes), failedCell(v.Failed), countCell(v.Servers))
	}
	t.shares(3)
	s.Blocks = append(s.Blocks, tableBlock(t))
	b.handshakeFailures(&s)
	b.certificates(&s)
	return s, ""
}

// weakness describes the weakness of a version or cipher suite: RFC 8996 (TLS 1.0 and 1.1), RFC 7568
// (SSL 3.0), RFC 7465 (RC4), RFC 9325 (the rest).
func weakness(version, suite string) string {
	switch {
	case strings.HasPrefix(version, "SSL"), version == "TLS 1.0", version == "TLS 1.1", version == "DTLS 1.0":
		return "weak: " + version + " is deprecated"
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
	t := &Table{ID: "tls-failures", Title: "Failed handshakes", Queries: b.failuresQuery(),
		Columns: []Column{code("Server name"), name("Client"), name("Server"), name("Outcome"), number("Handshakes", ""), {Name: "When", Kind: "name"}}}
	for _, g := range b.whatFailed().Groups {
		if g.Class == "tls" && len(t.Rows) < mostFailures {
			t.add(b.cite(g.CallIDs[0]), textCell(g.Endpoint), wordCell(b.nodeName(g.Src)), wordCell(b.nodeName(g.Dst)), wordCell(outcome(g.Status)), countCell(g.Calls), wordCell(g.When))
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

func (b *builder) certificates(s *Section) {
	list := tallied(b, tally.Certificates)
	t := &Table{ID: "certificates", Title: "Server certificates by expiry", Queries: []Query{b.query(list.SQL)},
		Note:    "Left is the remaining validity at the last handshake with the certificate, not today. TLS 1.3 encrypts certificates, so most of its servers are missing here.",
		Columns: []Column{{Name: "Subject", Kind: "name", Doc: "common name"}, {Name: "Issuer", Kind: "name", Doc: "common name"}, column("Key"), moment("Expires"), number("Left", "when last seen"), column("Remark"), number("Handshakes", "")}}
	for _, c := range list.Rows {
		left, bits := c.NotAfter-c.Seen, ""
		if c.KeyBits > 0 {
			bits = " " + strconv.FormatInt(c.KeyBits, 10)
		}
		remark, bad := certificateRemark(&c, left)
		t.add(b.cite(c.First), wordCell(commonName(c.Subject)), wordCell(commonName(c.Issuer)), wordCell(str(c.KeyType)+bits),
			wordCell(time.Unix(0, c.NotAfter).UTC().Format(time.DateOnly)), wordCell(days(left)), Cell{Text: remark, Bad: bad}, countCell(c.Handshakes))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

// commonName is the common name in a distinguished name (RFC 2253), or all of it.
func commonName(s string) string {
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

func certificateRemark(c *tally.Certificate, left int64) (remark string, bad bool) {
	var parts []string
	signature := strings.ToUpper(c.Signature)
	for _, p := range []struct {
		when bool
		text string
		bad  bool
	}{
		{c.Expired, "expired", true},
		{c.Early, "not yet valid", true},
		{!c.Expired && left < soonNs, "expires within 30 days", true},
		{c.WrongName, "not for the requested name", true},
		{c.SelfSigned, "self-signed", false},
		{c.KeyType == "rsa" && c.KeyBits > 0 && c.KeyBits < 2048, "short key", true},
		{strings.Contains(signature, "SHA1") || strings.Contains(signature, "MD5"), "signed with " + str(c.Signature), true},
	} {
		if p.when {
			parts = append(parts, p.text)
			bad = bad || p.bad
		}
	}
	return strings.Join(parts, ", "), bad
}

// dns lists names that could not be resolved.
func (b *builder) dns() (Section, string) {
	all := tallied(b, tally.DNS)
	t := &Table{ID: "dns-questions", Title: "Questions", Queries: []Query{b.query(all.SQL)},
		Columns: []Column{column("Kind"), number("Questions", ""), number("Failed", ""), number("No answer", "or cut"), number("Names", "requested"), number("p50", "latency"), number("p99", "latency")}}
	for _, n := range all.Rows {
		p50, _, p99 := quantiles(n.Took)
		t.add(b.cite(n.First), textCell(n.Variant), countCell(n.Questions), failedCell(n.Failed), failedCell(n.Silent), countCell(n.Names), p50, p99)
	}
	if len(t.Rows) == 0 {
		return Section{}, "DNS"
	}
	s := Section{ID: "dns", Title: "DNS", Blocks: []Block{tableBlock(t)}}
	f := &Table{ID: "dns-failures", Title: "Names that could not be resolved", Queries: b.failuresQuery(),
		Columns: []Column{code("Name"), name("Outcome"), name("Client"), number("Clients", ""), number("Questions", ""), column("Remark")}}
	for _, n := range b.whatFailed().DNS {
		remark := ""
		if n.Search {
			remark = "from a resolver's search list"
		}
		f.add(b.cite(n.CallIDs[0]), textCell(n.Name), wordCell(outcome(n.Status)), wordCell(b.nodeName(n.Client)), countCell(n.Clients), countCell(n.Calls), wordCell(remark))
	}
	if len(f.Rows) > 0 {
		f.shares(4)
		s.Blocks = append(s.Blocks, tableBlock(f))
	}
	return s, ""
}

// tcp shows the health of TCP connections.
func (b *builder) tcp() (Section, string) {
	sums := tallied(b, tally.TCP)
	if len(sums.Rows) != 1 || sums.Rows[0].Flows == 0 {
		return Section{}, "TCP"
	}
	n := sums.Rows[0]
	s := Section{ID: "tcp", Title: "TCP health"}
	t := &Table{ID: "tcp-totals", Title: "Over all flows", Queries: []Query{b.query(sums.SQL)}, Columns: []Column{column("What"), number("Amount", ""), column("Meaning")}}
	line := func(name string, c Cell, meaning string) { t.add(nil, wordCell(name), c, wordCell(meaning)) }
	line("Flows", countCell(n.Flows), plural.Thousands(n.Packets)+" packets")
	line("Retransmissions", countCell(n.Resent), percentOf(n.Resent, n.Packets)+"; "+plural.Thousands(n.Fast)+" of them fast")
	line("Out of order", countCell(n.OutOfOrder), percentOf(n.OutOfOrder, n.Packets))
	line("Duplicate ACKs", countCell(n.DupACKs), percentOf(n.DupACKs, n.Packets))
	line("Zero windows", countCell(n.ZeroWindow), "a receiver whose buffer was full")
	line("Resets", countCell(n.Resets), "packets with RST")
	line("Refused", countCell(n.Refused), "flows that a port answered with a reset")
	line("Gaps", countCell(n.Gaps), bytesText(n.GapBytes)+" that the capture lacks")
	line("One-sided flows", countCell(n.OneSided), "only one direction was captured")
	if p50, p90, p99 := quantiles(n.Handshake); p50.Value != nil {
		line("Handshake, p50", p50, fmt.Sprintf("p90 %s, p99 %s", p90.Text, p99.Text))
	}
	if p50, p90, p99 := quantiles(n.RoundTrip); p50.Value != nil {
		line("Round trip, p50", p50, fmt.Sprintf("of the flows' means; p90 %s, p99 %s", p90.Text, p99.Text))
	}
	s.Blocks = append(s.Blocks, tableBlock(t))
	b.worstFlows(&s)
	return s, ""
}

func percentOf(part, all int64) string { return percent(part, all) + " of packets" }

func (b *builder) worstFlows(s *Section) {
	list := tallied(b, tally.Troubled)
	t := &Table{ID: "worst-flows", Title: "Worst flows", Queries: []Query{b.query(list.SQL)},
		Columns: []Column{number("Flow", "flow_id"), name("Client"), name("Server"), column("State"), number("Packets", ""), number("Resent", ""),
			number("Zero windows", ""), number("Resets", ""), number("Missing", "bytes"), number("Handshake", "")}}
	for _, f := range list.Rows {
		handshake := Cell{}
		if f.HandshakeUs != nil {
			handshake = microsCell(*f.HandshakeUs)
		}
		// The packets of a flow are between its first and its last packet.
		t.add(&Citation{Bundle: int(f.Bundle), Packets: packetRange(f.First, f.Last)}, countCell(f.FlowID), wordCell(fmt.Sprintf("%s:%d", b.nodeName(f.Client), f.SrcPort)),
			wordCell(fmt.Sprintf("%s:%d", b.nodeName(f.Server), f.DstPort)), textCell(f.State), countCell(f.Packets), countCell(f.Resent), countCell(f.ZeroWindows), countCell(f.Resets), bytesCell(f.GapBytes), handshake)
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
}

// kubernetes lists the events of the cluster.
func (b *builder) kubernetes() (Section, string) {
	if !b.has("k8s_events") {
		return Section{}, "Kubernetes events"
	}
	list := tallied(b, tally.Events)
	t := &Table{ID: "k8s-events", Title: "Events, warnings first", Queries: []Query{b.query(list.SQL)},
		Columns: []Column{column("Type"), column("Reason"), name("Object"), {Name: "Message", Kind: "wide"}, number("Times", ""), moment("Last (UTC)")}}
	for _, e := range list.Rows {
		t.add(nil, Cell{Text: str(e.Type), Bad: e.Type == "Warning"}, textCell(e.Reason), wordCell(strings.TrimSpace(strings.ToLower(str(e.Kind))+" "+b.nodeName(e.Object))), textCell(e.Message), countCell(e.Times),
			wordCell(stamp(e.Last, time.Hour)))
	}
	return Section{ID: "kubernetes", Title: "Kubernetes", Blocks: []Block{tableBlock(t)}}, ""
}

// talkers lists the endpoints with the most bytes, and outside addresses.
func (b *builder) talkers() (Section, string) {
	list := tallied(b, tally.Talkers)
	if len(list.Rows) == 0 {
		return Section{}, "flows"
	}
	chart := &BarChart{Unit: "bytes"}
	for _, x := range list.Rows {
		name := str(x.Name)
		if x.Name != x.IP {
			name += " (" + str(x.IP) + ")"
		}
		chart.Bars = append(chart.Bars, Bar{Name: name, Value: x.Sent + x.Received})
	}
	f := &Figure{ID: "talkers-bars", Title: "Endpoints with the most bytes", Bars: chart, Queries: []Query{b.query(list.SQL)}, Note: "IP bytes sent and received; each flow counts at both ends."}
	f.Alt = fmt.Sprintf("Bars of bytes: the first is %s with %s.", chart.Bars[0].Name, bytesText(chart.Bars[0].Value))
	s := Section{ID: "talkers", Title: "Talkers and the outside", Blocks: []Block{figureBlock(f)}}
	b.outside(&s)
	return s, ""
}

func (b *builder) outside(s *Section) {
	list := tallied(b, tally.Outside)
	t := &Table{ID: "outside", Title: "Addresses outside", Queries: []Query{b.query(list.SQL)}, Note: "Addresses outside private, link-local, loopback and known cluster ranges. Sent and received are from the point of view of the outside address.",
		Columns: []Column{code("Address"), name("Name"), column("Protocols"), name("Talks with"), number("Sent", "IP bytes"), number("Received", "IP bytes"), number("Flows", "")}}
	for _, x := range list.Rows {
		peers := make([]string, len(x.Peers))
		for i, p := range x.Peers {
			peers[i] = b.nodeName(p)
		}
		t.add(nil, textCell(x.IP), textCell(x.Name), wordCell(some(x.Protocols)), wordCell(some(peers)), bytesCell(x.Sent), bytesCell(x.Received), countCell(x.Flows))
	}
	if len(t.Rows) == 0 {
		b.r.Absent = append(b.r.Absent, "addresses outside")
		return
	}
	s.Blocks = append(s.Blocks, tableBlock(t))
}
