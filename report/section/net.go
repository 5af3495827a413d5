package section

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

const soonNs = int64(30 * 24 * time.Hour) // a certificate that expires within this time is marked

// tls shows how well encrypted traffic is protected.
func (b *builder) tls(*templates.Section) (value.Section, string) {
	if !b.has("tls_handshakes") {
		return value.Section{}, "TLS handshakes"
	}
	s := value.Section{Title: "TLS"}
	versions := tallied(b, tally.Versions)
	t := &value.Table{ID: "tls-versions", Title: "Versions and cipher suites", Queries: b.query(versions.SQL),
		Columns: []value.Column{value.TextColumn("Version"), value.CodeColumn("Cipher suite"), value.TextColumn("Remark"), value.NumberColumn("Handshakes", ""), value.NumberColumn("Failed", ""), value.NumberColumn("Servers", "addresses")}}
	for _, v := range versions.Rows {
		remark := weakness(value.Text(v.Version), value.Text(v.Suite))
		t.Add(b.cite(v.First), value.TextCell(v.Version), value.TextCell(v.Suite), value.Cell{Text: remark, Bad: strings.HasPrefix(remark, "weak")}, value.CountCell(v.Handshakes), value.FailedCell(v.Failed), value.CountCell(v.Servers))
	}
	t.Shares(3)
	s.Blocks = append(s.Blocks, value.TableBlock(t))
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

func (b *builder) handshakeFailures(s *value.Section) {
	f, query := b.whatFailed()
	t := &value.Table{ID: "tls-failures", Title: "Failed handshakes", Queries: query,
		Columns: []value.Column{value.CodeColumn("Server name"), value.NameColumn("Client"), value.NameColumn("Server"), value.NameColumn("Outcome"), value.NumberColumn("Handshakes", ""), {Name: "When", Kind: "name"}}}
	for _, g := range f.Groups {
		if g.Class == "tls" && len(t.Rows) < mostFailures {
			t.Add(b.cite(g.CallIDs...), serverName(g.Endpoint), value.WordCell(b.nodeName(g.Src)), value.WordCell(b.nodeName(g.Dst)), value.WordCell(g.outcome()), value.CountCell(g.Calls), value.WordCell(g.When))
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
}

// serverName is the name that a client asked for. The endpoint of a handshake without one is the name of
// the protocol.
func serverName(endpoint string) value.Cell {
	if slices.Contains([]string{"", "tls", "quic"}, endpoint) {
		return value.WordCell("(none sent)")
	}
	return value.TextCell(endpoint)
}

// expires is the day of the end of validity; the table has the largest number for all later ones.
func expires(ns int64) string {
	if ns == math.MaxInt64 {
		return "2262 or later"
	}
	return time.Unix(0, ns).UTC().Format(time.DateOnly)
}

func (b *builder) certificates(s *value.Section) {
	list := tallied(b, tally.Certificates)
	t := &value.Table{ID: "certificates", Title: "Server certificates by expiry", Queries: b.query(list.SQL),
		Note:    "Left is the remaining validity at the last handshake with the certificate, not today. TLS 1.3 encrypts certificates, so most of its servers are missing here.",
		Columns: []value.Column{{Name: "Subject", Kind: "name", Doc: "common name"}, {Name: "Issuer", Kind: "name", Doc: "common name"}, value.TextColumn("Key"), value.MomentColumn("Expires"), value.NumberColumn("Left", "when last seen"), value.TextColumn("Remark"), value.NumberColumn("Handshakes", "")}}
	for _, c := range list.Rows {
		left, bits := c.NotAfter-c.Seen, ""
		if c.KeyBits > 0 {
			bits = " " + strconv.FormatInt(c.KeyBits, 10)
		}
		remark, bad := certificateRemark(&c, left)
		t.Add(b.cite(c.First), value.WordCell(commonName(c.Subject)), value.WordCell(commonName(c.Issuer)), value.WordCell(value.Text(c.KeyType)+bits),
			value.WordCell(expires(c.NotAfter)), value.WordCell(days(left)), value.Cell{Text: remark, Bad: bad}, value.CountCell(c.Handshakes))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
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
			return value.Clean(cn, value.MaxText)
		}
		rest = strings.TrimPrefix(rest[len(part):], ",")
	}
	return value.Clean(s, value.MaxText)
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
		{strings.Contains(signature, "SHA1") || strings.Contains(signature, "MD5"), "signed with " + value.Text(c.Signature), true},
	} {
		if p.when {
			parts = append(parts, p.text)
			bad = bad || p.bad
		}
	}
	return strings.Join(parts, ", "), bad
}

// dns lists names that could not be resolved.
func (b *builder) dns(*templates.Section) (value.Section, string) {
	if !b.has("calls") {
		return value.Section{}, "DNS"
	}
	all := tallied(b, tally.DNS)
	t := &value.Table{ID: "dns-questions", Title: "Questions", Queries: b.query(all.SQL),
		Columns: []value.Column{value.TextColumn("Kind"), value.NumberColumn("Questions", ""), value.NumberColumn("Failed", ""), value.NumberColumn("No answer", "or cut"), value.NumberColumn("Names", "requested"), value.NumberColumn("p50", "latency"), value.NumberColumn("p99", "latency")}}
	for _, n := range all.Rows {
		p50, _, p99 := quantiles(n.Took)
		t.Add(b.cite(n.First), value.TextCell(n.Variant), value.CountCell(n.Questions), value.FailedCell(n.Failed), value.FailedCell(n.Silent), value.CountCell(n.Names), p50, p99)
	}
	if len(t.Rows) == 0 {
		return value.Section{}, "DNS"
	}
	s := value.Section{Title: "DNS", Blocks: []value.Block{value.TableBlock(t)}}
	what, query := b.whatFailed()
	f := &value.Table{ID: "dns-failures", Title: "Names that could not be resolved", Queries: query,
		Columns: []value.Column{value.CodeColumn("Name"), value.NameColumn("Outcome"), value.NameColumn("Client"), value.NumberColumn("Clients", ""), value.NumberColumn("Questions", ""), value.TextColumn("Remark")}}
	for _, n := range what.DNS {
		remark := ""
		if n.Search {
			remark = "from a resolver's search list"
		}
		f.Add(b.cite(n.CallIDs...), value.TextCell(n.Name), value.WordCell(outcome(n.Status)), value.WordCell(b.nodeName(n.Client)), value.CountCell(n.Clients), value.CountCell(n.Calls), value.WordCell(remark))
	}
	if len(f.Rows) > 0 {
		f.Shares(4)
		s.Blocks = append(s.Blocks, value.TableBlock(f))
	}
	return s, ""
}

// tcp shows the health of TCP connections.
func (b *builder) tcp(*templates.Section) (value.Section, string) {
	sums := tallied(b, tally.TCP)
	if len(sums.Rows) != 1 || sums.Rows[0].Flows == 0 {
		return value.Section{}, "TCP"
	}
	n := sums.Rows[0]
	s := value.Section{Title: "TCP health"}
	t := &value.Table{ID: "tcp-totals", Title: "Over all flows", Queries: b.query(sums.SQL), Columns: []value.Column{value.TextColumn("What"), value.NumberColumn("Amount", ""), value.TextColumn("Meaning")}}
	line := func(name string, c value.Cell, meaning string) {
		t.Add(nil, value.WordCell(name), c, value.WordCell(meaning))
	}
	line("Flows", value.CountCell(n.Flows), plural.Thousands(n.Packets)+" packets")
	line("Retransmissions", value.CountCell(n.Resent), percentOf(n.Resent, n.Packets)+"; "+plural.Thousands(n.Fast)+" of them fast")
	line("Out of order", value.CountCell(n.OutOfOrder), percentOf(n.OutOfOrder, n.Packets))
	line("Duplicate ACKs", value.CountCell(n.DupACKs), percentOf(n.DupACKs, n.Packets))
	line("Zero windows", value.CountCell(n.ZeroWindow), "a receiver whose buffer was full")
	line("Resets", value.CountCell(n.Resets), "packets with RST")
	line("Refused", value.CountCell(n.Refused), "flows that a port answered with a reset")
	line("Gaps", value.CountCell(n.Gaps), value.Bytes(n.GapBytes)+" that the capture lacks")
	line("One-sided flows", value.CountCell(n.OneSided), "only one direction was captured")
	if p50, p90, p99 := quantiles(n.Handshake); p50.Value != nil {
		line("Handshake, p50", p50, fmt.Sprintf("p90 %s, p99 %s", p90.Text, p99.Text))
	}
	if p50, p90, p99 := quantiles(n.RoundTrip); p50.Value != nil {
		line("Round trip, p50", p50, fmt.Sprintf("of the flows' means; p90 %s, p99 %s", p90.Text, p99.Text))
	}
	s.Blocks = append(s.Blocks, value.TableBlock(t))
	b.worstFlows(&s)
	return s, ""
}

func percentOf(part, all int64) string { return value.Percent(part, all) + " of packets" }

func (b *builder) worstFlows(s *value.Section) {
	list := tallied(b, tally.Troubled)
	t := &value.Table{ID: "worst-flows", Title: "Worst flows", Queries: b.query(list.SQL),
		Columns: []value.Column{value.NumberColumn("Flow", "flow_id"), value.NameColumn("Client"), value.NameColumn("Server"), value.TextColumn("State"), value.NumberColumn("Packets", ""), value.NumberColumn("Resent", ""),
			value.NumberColumn("Zero windows", ""), value.NumberColumn("Resets", ""), value.NumberColumn("Missing", "bytes"), value.NumberColumn("Handshake", "")}}
	for _, f := range list.Rows {
		handshake := value.Cell{}
		if f.HandshakeUs != nil {
			handshake = value.MicrosCell(*f.HandshakeUs)
		}
		t.Add([]*value.Citation{{Bundle: int(f.Bundle), Flow: f.FlowID, Packets: firstFrames(b.span(int(f.Bundle), f.First, f.Last))}}, value.IDCell(f.FlowID), value.WordCell(fmt.Sprintf("%s:%d", b.nodeName(f.Client), f.SrcPort)),
			value.WordCell(fmt.Sprintf("%s:%d", b.nodeName(f.Server), f.DstPort)), value.TextCell(f.State), value.CountCell(f.Packets), value.CountCell(f.Resent), value.CountCell(f.ZeroWindows), value.CountCell(f.Resets), value.BytesCell(f.GapBytes), handshake)
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
}

// kubernetes lists the events of the cluster.
func (b *builder) kubernetes(*templates.Section) (value.Section, string) {
	if !b.has("k8s_events") {
		return value.Section{}, "Kubernetes events"
	}
	list := tallied(b, tally.Events)
	t := &value.Table{ID: "k8s-events", Title: "Events, warnings first", Queries: b.query(list.SQL),
		Columns: []value.Column{value.TextColumn("Type"), value.TextColumn("Reason"), value.NameColumn("Object"), {Name: "Message", Kind: "wide"}, value.NumberColumn("Times", ""), value.MomentColumn("Last (UTC)")}}
	for _, e := range list.Rows {
		t.Add(nil, value.Cell{Text: value.Text(e.Type), Bad: e.Type == "Warning"}, value.TextCell(e.Reason), value.WordCell(strings.TrimSpace(strings.ToLower(value.Text(e.Kind))+" "+b.nodeName(e.Object))), value.TextCell(e.Message), value.CountCell(e.Times),
			value.WordCell(value.Stamp(e.Last, time.Hour)))
	}
	return value.Section{Title: "Kubernetes", Blocks: []value.Block{value.TableBlock(t)}}, ""
}

// talkers lists the endpoints with the most bytes, and outside addresses.
func (b *builder) talkers(*templates.Section) (value.Section, string) {
	list := tallied(b, tally.Talkers)
	if len(list.Rows) == 0 {
		return value.Section{}, "flows"
	}
	chart := &value.BarChart{Unit: "bytes"}
	for _, x := range list.Rows {
		name := value.Text(x.Name)
		if x.Name != x.IP {
			name += " (" + value.Text(x.IP) + ")"
		}
		chart.Bars = append(chart.Bars, value.Bar{Name: name, Value: x.Sent + x.Received})
	}
	f := &value.Figure{ID: "talkers-bars", Title: "Endpoints with the most bytes", Bars: chart, Queries: b.query(list.SQL), Note: "IP bytes sent and received; each connection counts once, at both ends."}
	f.Alt = fmt.Sprintf("Bars of bytes: the first is %s with %s.", chart.Bars[0].Name, value.Bytes(chart.Bars[0].Value))
	s := value.Section{Title: "Talkers and the outside", Blocks: []value.Block{value.FigureBlock(f)}}
	b.outside(&s)
	return s, ""
}

func (b *builder) outside(s *value.Section) {
	list := tallied(b, tally.Outside)
	t := &value.Table{ID: "outside", Title: "Addresses outside", Queries: b.query(list.SQL), Note: "Addresses outside private, link-local, loopback and known cluster ranges. Sent and received are from the point of view of the outside address.",
		Columns: []value.Column{value.CodeColumn("Address"), value.NameColumn("Name"), value.TextColumn("Protocols"), value.NameColumn("Talks with"), value.NumberColumn("Sent", "IP bytes"), value.NumberColumn("Received", "IP bytes"), value.NumberColumn("Flows", "")}}
	for _, x := range list.Rows {
		peers := make([]string, len(x.Peers))
		for i, p := range x.Peers {
			peers[i] = b.nodeName(p)
		}
		t.Add(nil, value.TextCell(x.IP), value.TextCell(x.Name), value.WordCell(value.Some(x.Protocols)), value.WordCell(value.Some(peers)), value.BytesCell(x.Sent), value.BytesCell(x.Received), value.CountCell(x.Flows))
	}
	if len(t.Rows) == 0 {
		b.r.Absent = append(b.r.Absent, "addresses outside")
		return
	}
	s.Blocks = append(s.Blocks, value.TableBlock(t))
}
