// Package alerts reads what other programs said about traffic: Suricata's EVE and logs of Zeek.
//
// A line becomes a Claim, which has the words of the program but no captured payload. Claims are kept
// as lines of JSON, from which the table is made, and which the package reads too: so a bundle that has
// these lines needs nothing else of the original files (docs/format/alerts.md). No content of a file is a
// fatal error as long as one of its lines can be read.
package alerts

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// version is the value of the first key of a line that WriteTo writes.
const version = 1

// Claim is what a program said about traffic.
type Claim struct {
	Format  int    `json:"pcapsule_alert"`
	TsNs    int64  `json:"ts_ns"`
	EndNs   int64  `json:"end_ns,omitempty"` // of a connection's last packet
	Millis  bool   `json:"millis,omitempty"` // the time is known to milliseconds only, else to microseconds
	Program string `json:"program"`          // suricata, zeek
	Version string `json:"version,omitempty"`
	Kind    string `json:"kind"` // alert, anomaly, fileinfo, notice, intel, weird, conn

	RuleID   string `json:"rule_id,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Category string `json:"category,omitempty"`
	Severity string `json:"severity,omitempty"`
	Action   string `json:"action,omitempty"`

	Proto       string `json:"proto,omitempty"` // tcp, udp, icmp, ipv6-icmp, sctp, or the number of another
	SrcIP       string `json:"src_ip,omitempty"`
	SrcPort     uint16 `json:"src_port,omitempty"`
	DstIP       string `json:"dst_ip,omitempty"`
	DstPort     uint16 `json:"dst_port,omitempty"`
	CommunityID string `json:"community_id,omitempty"`
	Frame       int64  `json:"frame,omitempty"`
	SaidID      string `json:"said_id,omitempty"` // flow_id, uid

	Text   string          `json:"text,omitempty"`   // from the traffic
	Detail json.RawMessage `json:"detail,omitempty"` // from the traffic

	Source string `json:"source,omitempty"` // name of the file
	Line   int64  `json:"line,omitempty"`
}

// Limits of the texts of a claim.
const (
	maxWord   = 300 // names and identifiers
	maxText   = 1000
	maxDetail = 4096
)

// Port is an end of a conversation.
type Port struct {
	Addr netip.Addr // IPv4 unmapped, without zone
	Port uint16
}

// Ends are both ends of a conversation, the smaller one first, and the number of its IP protocol.
type Ends struct {
	A, B  Port
	Proto uint8
}

// Between orders ends. Only TCP, UDP and SCTP have ports.
func Between(a, b Port, proto uint8) Ends {
	if !hasPorts(proto) {
		a.Port, b.Port = 0, 0
	}
	if c := a.Addr.Compare(b.Addr); c > 0 || c == 0 && a.Port > b.Port {
		a, b = b, a
	}
	return Ends{a, b, proto}
}

func hasPorts(proto uint8) bool { return proto == 6 || proto == 17 || proto == 132 }

// Ends returns both ends of a claim. If it names ports but no protocol, they are those of TCP or of UDP; nil: it does not
// name its ends.
func (c *Claim) Ends() (list []Ends) {
	a, err1 := netip.ParseAddr(c.SrcIP)
	b, err2 := netip.ParseAddr(c.DstIP)
	proto, ok := protocols[c.Proto]
	if err1 != nil || err2 != nil || (!ok || hasPorts(proto)) && (c.SrcPort == 0 || c.DstPort == 0) {
		return nil
	}
	of := []uint8{proto}
	if !ok {
		of = []uint8{6, 17}
	}
	for _, proto := range of {
		list = append(list, Between(Port{a.Unmap().WithZone(""), c.SrcPort}, Port{b.Unmap().WithZone(""), c.DstPort}, proto))
	}
	return list
}

// protocols are the words of Claim.Proto, as table flows has them.
var protocols = map[string]uint8{"tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "sctp": 132, "igmp": 2, "gre": 47, "esp": 50, "ah": 51, "pim": 103, "ospf": 89, "vrrp": 112}

// endsOf sets the ends as a log names them. What is no address, port or protocol is left out.
func (c *Claim) endsOf(proto, src string, srcPort uint64, dst string, dstPort uint64) {
	a, err1 := netip.ParseAddr(src)
	b, err2 := netip.ParseAddr(dst)
	if err1 == nil {
		c.SrcIP = a.Unmap().WithZone("").String()
	}
	if err2 == nil {
		c.DstIP = b.Unmap().WithZone("").String()
	}
	switch proto = strings.ToLower(proto); {
	case strings.Contains(proto, "icmp") && (err1 == nil && a.Unmap().Is6() || err2 == nil && b.Unmap().Is6()):
		proto = "ipv6-icmp"
	case strings.Contains(proto, "icmp"):
		proto = "icmp"
	}
	no, ok := protocols[proto]
	if !ok {
		return
	}
	c.Proto = proto
	if hasPorts(no) && srcPort <= 65535 && dstPort <= 65535 {
		c.SrcPort, c.DstPort = uint16(srcPort), uint16(dstPort)
	}
}

// line is the claim as a line, without its end.
func (c *Claim) line() ([]byte, error) {
	c.Format = version
	for _, s := range []*string{&c.Version, &c.Kind, &c.RuleID, &c.Rule, &c.Category, &c.Severity, &c.Action, &c.CommunityID, &c.SaidID, &c.Source} {
		*s = clip.Line([]byte(*s), maxWord)
	}
	c.Text = clip.Text(c.Text, maxText)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// kinds are the kinds of claims.
var kinds = []string{"alert", "anomaly", "fileinfo", "notice", "intel", "weird", "conn"}

// maxTime is the year 2262, after which nanoseconds have no number.
const maxTime = 9_214_646_400 * 1e9

// isAddr reports whether s is an address as endsOf writes it, or empty.
func isAddr(s string) bool {
	a, err := netip.ParseAddr(s)
	return s == "" || err == nil && a.Unmap().WithZone("").String() == s
}

var errKept = errors.New("it is no line that pcapsule wrote")

// parseKept reads a line that was written by line.
func parseKept(line []byte) (c Claim, err error) {
	if err := json.Unmarshal(bytes.ToValidUTF8(line, []byte("\uFFFD")), &c); err != nil {
		return c, plain(err)
	}
	_, known := protocols[c.Proto]
	ok := c.Format == version && (c.Program == "suricata" || c.Program == "zeek") && slices.Contains(kinds, c.Kind) && c.TsNs > 0 && c.TsNs < maxTime && c.EndNs >= 0 && c.EndNs < maxTime && c.Frame >= 0 && c.Line >= 0 &&
		(known || c.Proto == "") && isAddr(c.SrcIP) && isAddr(c.DstIP) && len(c.Detail) <= maxDetail && (len(c.Detail) == 0 || c.Detail[0] == '{')
	if !ok {
		return c, errKept
	}
	return c, nil
}

// Redacted returns lines without what they have of the traffic: texts, names, ids that are hashes of
// addresses, and the original's name.
func Redacted(lines []byte) []byte {
	var out []byte
	for line := range bytes.Lines(lines) {
		c, err := parseKept(line)
		if err != nil {
			continue
		}
		c.Text, c.Detail, c.CommunityID, c.SaidID, c.Source = "", nil, "", "", ""
		if line, err = c.line(); err == nil {
			out = append(append(out, line...), '\n')
		}
	}
	return out
}

// Keep returns the lines for whose number, from 0, keep is true.
func Keep(lines []byte, keep func(no int) bool) []byte {
	var out []byte
	no := 0
	for line := range bytes.Lines(lines) {
		if keep(no) {
			out = append(out, line...)
		}
		no++
	}
	return out
}

// plain is an error of package json in fewer words.
func plain(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return errors.New("it is no JSON: " + syntax.Error())
	case errors.As(err, &kind):
		return errors.New("key " + kind.Field + " is a " + kind.Value)
	}
	return errors.New("it is no JSON")
}
