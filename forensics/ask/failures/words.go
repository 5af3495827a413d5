package failures

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxEndpoints is how many endpoints a sentence names. Of more it says what they are to.
const maxEndpoints = 3

// requestWords are the singular and plural of what was asked for.
func requestWords(g *FailureGroup, endpoints, services []string) [2]string {
	to := " to " + words(services)
	if g.Class == "tls" {
		return [2]string{"TLS handshake" + to, "TLS handshakes" + to}
	}
	if len(endpoints) > maxEndpoints {
		return [2]string{"request" + to, "requests" + to}
	}
	if g.Protocol == "icmp" { // its names are words: echo_request
		text := "ICMP " + ask.Outcome(strings.Join(endpoints, ", "))
		return [2]string{text + to, text + "s" + to}
	}
	what, text := "", " "+strings.Join(endpoints, ", ")+to
	if !strings.HasPrefix(g.Protocol, "http") && g.Protocol != "grpc" { // its endpoints do not say what they are
		what = cmp.Or(requestNames[g.Protocol], g.Protocol) + " "
	}
	return [2]string{what + "request" + text, what + "requests" + text}
}

// requestNames are protocols as people write them.
var requestNames = map[string]string{"postgresql": "PostgreSQL", "mysql": "MySQL", "redis": "Redis", "mongodb": "MongoDB", "cassandra": "Cassandra", "memcached": "Memcached", "kafka": "Kafka", "amqp": "AMQP", "nats": "NATS", "clickhouse": "ClickHouse", "ldap": "LDAP", "mqtt": "MQTT", "smtp": "SMTP", "imap": "IMAP", "pop3": "POP3", "ftp": "FTP", "sip": "SIP", "dns": "DNS", "radius": "RADIUS", "snmp": "SNMP", "smb": "SMB", "nfs": "NFS"}

func words(list []string) string {
	if len(list) > 3 {
		return strings.Join(list[:2], ", ") + plural.Sprintf(" and %d others", len(list)-2)
	}
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return list[0]
}

// ownWords say how requests ended below which nothing failed. asks is whether their server made calls of its own.
func ownWords(list []FailureGroup, asks bool) string {
	g := &list[0]
	if g.Class == "no_answer" {
		return ": " + unansweredWords(list)
	}
	said := ""
	if len(g.Said) > 0 {
		said = sentence(g.Said[0])
	}
	text := errorWords(g.Protocol, ask.Outcome(g.Status), said)
	if asks {
		text += "; nothing that " + at(g.Protocol, g.Dst) + " itself asked for was seen to fail"
	}
	return text
}

// unansweredWords say what became of requests without a complete response, and who ended their connections.
func unansweredWords(list []FailureGroup) string {
	g := &list[0]
	who, ended := at(g.Protocol, g.Dst), endedWords(g.Status)
	text := who + " did not answer"
	switch {
	case g.Delivery == terms.FateLate:
		text, ended = who+" answered after its callers had given up", ""
	case g.Delivery == terms.FateNotDelivered:
		text = "they were not delivered to " + who
	case g.Delivery == terms.FateInPart:
		text = "the answers of " + who + " broke off"
	case ended != "":
		text, ended = who+" "+ended+" instead of answering", ""
	}
	if ended != "" {
		text += ": it " + ended
	}
	if strings.HasSuffix(g.Status, gaveUp) {
		text += ", and its callers gave up"
	}
	if low, high := waited(list); text != who+" did not answer" && g.Limit == "" && low >= 1 {
		text += " after " + span(low, high)
	}
	if g.Limit != "" {
		text += "; " + g.Limit
	}
	return text
}

// Ends of a status that says who ended the connection.
const (
	gaveUp   = "by the client, which gave up"
	byServer = " by the server"
)

// endedWords say that a server ended the connection of a call before its response was complete, if its status says so.
func endedWords(status string) string {
	how, found := strings.CutSuffix(status, byServer)
	if !found {
		return ""
	}
	return how[strings.LastIndexByte(how, ' ')+1:] + " the connection"
}

// waited are the shortest and the longest time, in milliseconds, of groups that ended as the first.
func waited(list []FailureGroup) (low, high float64) {
	low = math.Inf(1)
	for _, g := range list {
		if g.Status == list[0].Status && g.MinMs != nil && g.MaxMs != nil {
			low, high = min(low, *g.MinMs), max(high, *g.MaxMs)
		}
	}
	return low, high
}

// dnsWords is the status of an answer of DNS without its number.
func dnsWords(s string) string { return ask.Outcome(strings.TrimLeft(s, "0123456789 ")) }

// full matches what servers say when something that they have a limited number of is used up.
var full = regexp.MustCompile(`(?i)too many (connections|clients|requests|open)|connection slots|max(imum)? number of (clients|connections)|\b53300\b|pool (is )?(exhausted|timeout|full)|rate.?limit|quota|out of memory|no space left|disk.?full|over capacity`)

// connects matches what servers say when they refuse a connection for that reason.
var connects = regexp.MustCompile(`(?i)connection|clients|\b53300\b`)

// causeWords say what happened at an origin, and whether something was used up there.
func causeWords(o *chain.Origin, p place) (text string, usedUp bool) {
	who, said := at(o.Protocol, p.server), sentence(o.Said)
	waited := ""
	if o.ElapsedMs >= 1 {
		waited = " within " + chain.LengthOf(int64(o.ElapsedMs*1e6))
	}
	usedUp = full.MatchString(o.Said) || full.MatchString(o.Status)
	switch {
	case o.Protocol == "tcp":
		return connectWords(o, who, p.reported), false
	case o.Protocol == "dns" && o.What == "no_answer":
		return o.Dst + " did not answer look-ups of" + strings.TrimPrefix(o.Endpoint, "dns"), false
	case o.Protocol == "dns":
		return "the name" + strings.TrimPrefix(o.Endpoint, "dns") + " did not resolve (" + cmp.Or(dnsWords(o.Status), "no answer") + " from " + o.Dst + ")", false
	case usedUp && connects.MatchString(o.Said+o.Status) && databases[o.Protocol] != "":
		return who + " refused connections" + quoted(said, ask.Outcome(o.Status)), true
	case p.Late:
		return who + " took up to " + chain.LengthOf(p.Took*1000) + " to answer " + o.Endpoint + ", and its caller gave up after " + chain.LengthOf(p.Gave*1000), usedUp
	case p.Part && p.Lost:
		return "the answer of " + who + " to " + o.Endpoint + " did not arrive whole: its caller did not acknowledge all of it within " + chain.LengthOf(p.Gave*1000), usedUp
	case p.Part:
		text = "the answer of " + who + " to " + o.Endpoint + " broke off"
		if ended := endedWords(o.Status); ended != "" {
			text += ": it " + ended
		}
		return text, usedUp
	case p.lost:
		return o.Endpoint + " was not delivered to " + who + ": no acknowledgement" + waited, usedUp
	case endedWords(o.Status) != "":
		return who + " " + endedWords(o.Status) + " instead of answering " + o.Endpoint, usedUp
	case o.What == "no_answer":
		return who + " did not answer " + o.Endpoint + waited, usedUp
	case o.What == "slow":
		return who + " took up to " + chain.LengthOf(int64(o.ElapsedMs*1e6)) + " to answer " + o.Endpoint, usedUp
	case o.What == "sealed":
		return "they waited for an encrypted connection to " + who, usedUp
	}
	return who + " answered " + o.Endpoint + errorWords(o.Protocol, ask.Outcome(o.Status), said), usedUp
}

// connectTo is before the port in the endpoint of an origin that is a connection.
const connectTo = "connect to port "

// reportWords say who reported by ICMP that some packets were not delivered, and why; empty if nobody did. Fewer reports than
// failures do not explain all of them.
func (f *Answer) reportWords(failures int64, some func(*ask.Undelivered) bool) string {
	var by, why []string
	reports := int64(0)
	for i := range f.ICMP {
		u := &f.ICMP[i]
		if !some(u) {
			continue
		}
		for _, host := range u.By {
			by = ask.AddName(by, host)
		}
		reports += u.Reports
		text := u.What
		if _, after, found := strings.Cut(text, " "); found {
			text = after
		}
		why = add(why, "'"+strings.ReplaceAll(strings.Replace(text, "prohibited", "administratively prohibited", 1), "_", " ")+"'")
	}
	if len(by) == 0 {
		return ""
	}
	times := ""
	if reports < failures {
		times = " " + plural.Sprintf("%d {time|times}", reports)
	}
	return ": " + words(by) + " reported " + words(why) + " by ICMP" + times
}

// connecting selects the reports about connections from a client to a port of a server.
func connecting(src, dst string, port int64) func(*ask.Undelivered) bool {
	return func(u *ask.Undelivered) bool {
		return u.Protocol == "tcp" && u.Src == src && u.Dst == dst && u.Port != nil && *u.Port == port
	}
}

// connectWords say how a server treated attempts to connect. reported are ICMP errors about them.
func connectWords(o *chain.Origin, who, reported string) string {
	port := strings.TrimPrefix(o.Endpoint, "connect to ")
	switch o.Status {
	case "refused":
		if reported != "" { // the server itself may not have got them
			return "connections to " + port + " of " + who + " were refused" + reported
		}
		return who + " refused connections to " + port
	case "no answer to SYN":
		return who + " did not answer connections to " + port
	}
	return "connections of " + o.Src + " to " + who + " were reset"
}

// errorWords are a status and what the server says about it. Words come before a code that only its protocol knows.
func errorWords(protocol, status, said string) string {
	status = strings.TrimSuffix(status, ".")
	if protocol == "grpc" { // its status is in the trailers of a 200
		status = strings.TrimPrefix(status, "200 ")
	}
	switch {
	case said == status && status != "":
		return " with " + status
	case status == "" && said == "":
		return ""
	case said == "":
		return " with " + status
	case status == "" || strings.HasPrefix(said, status):
		return " with the error '" + said + "'"
	case strings.Contains(status, " "): // 503 Service Unavailable
		return " with " + status + quoted(said, "")
	}
	return " with the error '" + said + "' (" + status + ")"
}

// quoted is what a server says in parentheses, or else a status.
func quoted(said, status string) string {
	if said != "" {
		return " ('" + said + "')"
	}
	if status == "" {
		return ""
	}
	return " (" + status + ")"
}

// handshakeWords say who ended a TLS handshake and why, as far as its alert can be read, and what was wrong with the certificate.
func handshakeWords(ctx context.Context, c *forensics.Case, o *chain.Origin, server string) (string, error) {
	with := cmp.Or(strings.TrimSpace(strings.TrimPrefix(o.Endpoint, o.Protocol)), server)
	if o.What == "no_answer" || len(o.CallIDs) == 0 {
		return "the TLS handshake with " + with + " did not end (" + ask.Outcome(o.Status) + ")", nil
	}
	h, err := ask.One[struct {
		By      string   `json:"alert_by"`
		Expired int64    `json:"expired"`
		Early   int64    `json:"early"`
		Names   []string `json:"names"` // of a certificate for other names
	}](ctx, c, "SELECT coalesce(max(t.failed_alert_by), '') AS alert_by, coalesce(max(t.cert_not_after_ns) FILTER (t.cert_expired), 0) AS expired, coalesce(min(t.cert_not_before_ns) FILTER (t.cert_not_yet_valid), 0) AS early, coalesce(min(t.cert_sans) FILTER (NOT t.cert_matches_sni), []) AS names FROM tls_handshakes t JOIN calls_raw l ON l.call_no = t.call_no"+terms.SameBundle(c, "t", "l")+" WHERE l.call_id IN (SELECT unhex(unnest(string_split(?, ','))))", strings.Join(o.CallIDs, ","))
	if err != nil {
		return "", err
	}
	who := map[string]string{"client": o.Src, "server": server}[h.By]
	text := "the TLS handshake with " + with + " failed"
	if who != "" {
		text = who + " ended the TLS handshake with " + with
		if h.By == "server" {
			text = who + " ended the TLS handshake of " + o.Src
		}
	}
	switch o.Status {
	case "encrypted":
		text += ", with an alert that is encrypted"
	default:
		text += quoted("", ask.Outcome(o.Status))
	}
	switch {
	case h.Expired != 0:
		text += "; its certificate was valid until " + time.Unix(0, h.Expired).UTC().Format(time.DateOnly)
	case h.Early != 0:
		text += "; its certificate is not valid before " + time.Unix(0, h.Early).UTC().Format(time.DateOnly)
	case len(h.Names) > 0:
		text += "; its certificate is for " + words(h.Names)
	}
	return text, nil
}

// databases are protocols that name the server that speaks them.
var databases = map[string]string{"postgresql": "PostgreSQL", "mysql": "MySQL", "redis": "Redis", "mongodb": "MongoDB", "tds": "SQL Server", "cassandra": "Cassandra", "memcached": "Memcached", "kafka": "Kafka", "amqp": "the AMQP broker", "amqp1": "the AMQP broker", "nats": "NATS", "clickhouse": "ClickHouse", "ldap": "LDAP", "mqtt": "the MQTT broker", "smtp": "the mail server"}

// at names a server, with what it is if the protocol says that.
func at(protocol, server string) string {
	if name := databases[protocol]; name != "" {
		return name + " at " + server
	}
	return server
}

// holdersWords say who has what the origin has no more of.
func (h *Happened) holdersWords(o *chain.Origin) string {
	var others, own []string
	for _, x := range h.Holders {
		if x.Client == o.Src {
			own = append(own, fmt.Sprintf("%d by %s itself", x.Connections, x.Client))
		} else {
			others = append(others, plural.Sprintf("%d {of its connections was|of its connections were} held by ", x.Connections)+x.Client)
		}
	}
	if all := append(others, own...); len(others) > 0 {
		return " When that began, " + words(all) + "."
	}
	return ""
}
