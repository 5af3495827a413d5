package recheck

import (
	"encoding/hex"
	"net"
	"strconv"
	"strings"
)

// fact is one statement about a call by both tools.
type fact struct {
	name   string   // as in tally.Stated
	fields []string // of tshark
	same   func(ours, other string) bool
}

// Fields that frame.derive adds.
const (
	serverVersion = "server.version"
	serverSuite   = "server.suite"
)

// compared are the facts by protocol. What the tool calls a protocol is one of its table.Traits.
var compared = map[string][]fact{
	"http1": {
		{"method", []string{"http.request.method"}, strings.EqualFold},
		{"target", []string{"http.request.uri"}, equal},
		{"host", []string{"http.host"}, sameHost},
		{"status", []string{"http.response.code"}, sameNumber},
	},
	"http2": http2,
	"grpc":  http2,
	"dns": {
		{"name", []string{"dns.qry.name"}, sameHost},
		{"response code", []string{"dns.flags.rcode"}, sameNumber},
	},
	"tls":        handshake,
	"quic":       handshake,
	"postgresql": {{"statement", []string{"pgsql.query"}, containsText}},
	"redis":      {{"command", []string{bulk}, strings.EqualFold}},
	"icmp":       {{"type", []string{"icmp.type", "icmpv6.type"}, sameNumber}},
}

var http2 = []fact{
	{"method", []string{"http2.headers.method"}, strings.EqualFold},
	{"target", []string{"http2.headers.path"}, equal},
	{"host", []string{"http2.headers.authority"}, sameHost},
	{"status", []string{"http2.headers.status"}, sameNumber},
}

var handshake = []fact{
	{"server name", []string{"tls.handshake.extensions_server_name"}, sameHost},
	{"version", []string{serverVersion}, sameNumber},
	{"cipher suite", []string{serverSuite}, sameNumber},
}

// raw are the fields that the tool prints in addition to those of facts.
var raw = []string{comment, "tls.handshake.type", "tls.handshake.version", "tls.handshake.extensions.supported_version", "tls.handshake.ciphersuite"}

// Fields that are named more than once.
const (
	comment = "frame.comment"          // the place of a packet
	bulk    = "resp.bulk_string.value" // an argument of a Redis command
)

// frame has the tool's fields of one packet.
type frame map[string][]string

// derive makes texts of bytes, and adds the version and the suite that a server hello (RFC 8446 section 4.1.3) chooses. In TLS
// 1.3 the version is in an extension.
func (f frame) derive() {
	const serverHello = "2"
	for i, v := range f[bulk] { // the tool prints bytes
		if text, err := hex.DecodeString(strings.ReplaceAll(v, ":", "")); err == nil {
			f[bulk][i] = string(text)
		}
	}
	for _, kind := range f["tls.handshake.type"] {
		if kind == serverHello {
			f[serverSuite] = f["tls.handshake.ciphersuite"]
			if f[serverVersion] = f["tls.handshake.extensions.supported_version"]; len(f[serverVersion]) == 0 {
				f[serverVersion] = f["tls.handshake.version"]
			}
		}
	}
}

func equal(ours, other string) bool { return ours == other }

// sameNumber compares numbers of any base.
func sameNumber(ours, other string) bool {
	a, err := strconv.ParseInt(ours, 0, 64)
	b, otherErr := strconv.ParseInt(other, 0, 64)
	return err == nil && otherErr == nil && a == b
}

// sameHost compares names or addresses without a port and without the last dot.
func sameHost(ours, other string) bool { return strings.EqualFold(bare(ours), bare(other)) }

func bare(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "<Root>" { // tshark's name
		return ""
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

// containsText reports whether a text contains another one, regardless of the white space between
// words.
func containsText(ours, other string) bool { return strings.Contains(words(other), words(ours)) }

func words(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer(`\n`, " ", `\r`, " ", `\t`, " ").Replace(s)), " ")
}
