package all

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// pipeline is a client that sends all its requests before the server answers any.
type pipeline struct {
	name     string // of the protocol, and a variant after a comma
	kind     dissect.Transport
	port     uint16
	login    []dissecttest.Chunk
	request  func(i int) string
	response func(i int) string
}

// unpiped are the protocols without a request of which many may wait, and why.
var unpiped = map[string]string{
	"amqp":         "requests wait one at a time in each channel",
	"amqp1":        "it is limited like ldap, by byid.Table",
	"cassandra":    "a number of 15 bits tells the waiting requests apart",
	"dhcp":         "a client waits for one answer",
	"grpc":         "it is carried in http2",
	"http3":        "the streams are those of quic",
	"imap":         "it is limited like ldap, by byid.Table",
	"jsonrpc":      "it is limited like ldap, by byid.Table",
	"kafka":        "it is limited like ldap, by byid.Table",
	"kerberos":     "it is limited like ldap, by byid.Table",
	"mongodb":      "it is limited like ldap, by byid.Table",
	"nfs":          "it is limited like ldap, by byid.Table",
	"ntp":          "a client waits for one answer",
	"ssrp":         "a client waits for one answer",
	"ssdp":         "messages to a group have no answer",
	"stun":         "it is limited like ldap, by byid.Table",
	"tftp":         "a client waits for one answer",
	"rdp":          "one request in a connection",
	"openvpn":      "a session is one row",
	"wireguard":    "a session is one row",
	"proxy":        "a header without a response",
	"radius":       "a number of 8 bits tells the waiting requests apart",
	"bgp":          "only one OPEN waits",
	"modbus":       "it is limited like ldap, by byid.Table",
	"diameter":     "it is limited like ldap, by byid.Table",
	"dcerpc":       "it is limited like ldap, by byid.Table",
	"rtp":          "a stream is one row",
	"sctp":         "an association is one row",
	"sip":          "it is limited like ldap, by byid.Table",
	"smb":          "it is limited like ldap, by byid.Table",
	"snmp":         "it is limited like ldap, by byid.Table",
	"socks":        "one request in a connection",
	"quic":         "a connection is one row",
	"ssh":          "a connection is one row",
	"syslog":       "messages have no answer",
	"stomp":        "it is limited like ldap, by byid.Table",
	"rabbitstream": "it is limited like ldap, by byid.Table",
	"telnet":       "the client types, and the server answers",
	"tacacs":       "it is limited like ldap, by byid.Table",
	"netbios":      "it is limited like ldap, by byid.Table",
	"irc":          "only 64 commands wait",
	"fastcgi":      "it is limited like ldap, by byid.Table",
	"dnp3":         "a number of 4 bits tells the waiting requests apart",
	"dubbo":        "it is limited like ldap, by byid.Table",
	"pulsar":       "it is limited like ldap, by byid.Table",
	"tls":          "a connection is one row",
	"ws":           "messages have no answer",
}

func pipelines() []pipeline {
	fixed := func(s string) func(int) string { return func(int) string { return s } }
	numbered := func(format string) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, i) }
	}
	list := func(p ...dissecttest.Chunk) []dissecttest.Chunk { return p }
	id16 := func(i int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(i))) }
	question := func(i int) string {
		return "\x00\x01\x00\x00\x00\x00\x00\x00" + fmt.Sprintf("\x07h%06d", i) + "\x03com\x00\x00\x01\x00\x01"
	}
	ask := func(i int) string { return id16(i) + "\x01\x00" + question(i) }
	reply := func(i int) string { return id16(i) + "\x81\x83" + question(i) }
	framed := func(f func(int) string) func(int) string {
		return func(i int) string { return id16(len(f(i))) + f(i) }
	}
	echo := func(kind byte) func(int) string {
		return func(i int) string {
			sum := ^(uint16(kind)<<8 + uint16(i))
			if int(kind)<<8+i&0xffff > 0xffff {
				sum--
			}
			return string([]byte{kind, 0}) + id16(int(sum)) + "\x00\x00" + id16(i)
		}
	}
	message := func(op string) func(int) string { // LDAP
		return func(i int) string {
			body := "\x02\x04" + string(binary.BigEndian.AppendUint32(nil, uint32(i+1))) + op
			return "\x30" + string([]byte{byte(len(body))}) + body
		}
	}
	call := func(kind byte) func(int) string { // Thrift
		return func(i int) string {
			return "\x00\x00\x00\x11\x80\x01\x00" + string([]byte{kind}) + "\x00\x00\x00\x04ping" + string(binary.BigEndian.AppendUint32(nil, uint32(i))) + "\x00"
		}
	}
	login := list(fromClient("\x00\x00\x00\x14\x00\x03\x00\x00user\x00alice\x00\x00"), fromServer(pg('R', "\x00\x00\x00\x00")+pg('Z', "I")))
	return []pipeline{
		{"http1", dissect.TCP, 80, nil, numbered("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"), fixed("HTTP/1.1 204 No Content\r\n\r\n")},
		{"http2", dissect.TCP, 80, list(fromClient("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+h2(4, 0, 0, "")), fromServer(h2(4, 0, 0, ""))),
			func(i int) string { return h2(1, 5, 2*i+1, "\x82\x84\x86\x41\x04shop") }, func(i int) string { return h2(1, 5, 2*i+1, "\x88") }},
		{"redis", dissect.TCP, 6379, nil, numbered("*2\r\n$3\r\nGET\r\n$6\r\n%06d\r\n"), numbered("$6\r\n%06d\r\n")},
		{"postgresql", dissect.TCP, 5432, login, func(i int) string { return pg('Q', fmt.Sprintf("SELECT %d\x00", i)) },
			fixed(pg('C', "SELECT 1\x00") + pg('Z', "I"))},
		{"postgresql, extended", dissect.TCP, 5432, login, func(i int) string {
			return pg('P', fmt.Sprintf("\x00SELECT %d\x00\x00\x00", i)) + pg('B', "\x00\x00\x00\x00\x00\x00\x00\x00") + pg('E', "\x00\x00\x00\x00\x00") + pg('S', "")
		}, fixed(pg('1', "") + pg('2', "") + pg('C', "SELECT 1\x00") + pg('Z', "I"))},
		{"mysql", dissect.TCP, 3306, list(fromServer(my(0, "\x0a8.0.32\x00\x01\x00\x00\x00abcdefgh\x00\xff\xff\x21\x02\x00\xff\xc0\x15"+strings.Repeat("\x00", 10)+"ijklmnopqrst\x00mysql_native_password\x00")),
			fromClient(my(1, "\x00\x82\x08\x00\x00\x00\x00\x01\x21"+strings.Repeat("\x00", 23)+"bob\x00\x00mysql_native_password\x00")), fromServer(my(2, "\x00\x00\x00\x02\x00\x00\x00"))),
			fixed(my(0, "\x0e")), fixed(my(1, "\x00\x00\x00\x02\x00\x00\x00"))},
		{"memcached", dissect.TCP, 11211, list(fromClient("set a 0 0 1\r\n1\r\n"), fromServer("STORED\r\n")), numbered("get key%06d\r\n"), numbered("VALUE key%06d 0 1\r\n1\r\nEND\r\n")},
		{"nats", dissect.TCP, 4222, list(fromServer("INFO {\"server_id\":\"a\",\"version\":\"2.10.0\",\"max_payload\":1048576}\r\n"), fromClient("CONNECT {\"verbose\":false}\r\n")), fixed("PING\r\n"), fixed("PONG\r\n")},
		{"nats, verbose", dissect.TCP, 4222, list(fromServer("INFO {\"server_id\":\"a\",\"version\":\"2.10.0\",\"max_payload\":1048576}\r\n"), fromClient("CONNECT {\"verbose\":true}\r\n"), fromServer("+OK\r\n")),
			numbered("PUB subject.%06d 1\r\nx\r\n"), fixed("+OK\r\n")},
		{"smtp", dissect.TCP, 25, list(fromServer("220 a ESMTP\r\n"), fromClient("EHLO b\r\n"), fromServer("250 a\r\n")), numbered("VRFY user%06d\r\n"), numbered("252 user%06d\r\n")},
		{"pop3", dissect.TCP, 110, list(fromServer("+OK ready\r\n"), fromClient("USER a\r\n"), fromServer("+OK\r\n")), fixed("NOOP\r\n"), fixed("+OK\r\n")},
		{"ftp", dissect.TCP, 21, list(fromServer("220 ready\r\n"), fromClient("USER a\r\n"), fromServer("331 Password\r\n")), numbered("SIZE f%06d\r\n"), numbered("213 %d\r\n")},
		{"ftp, two replies", dissect.TCP, 21, list(fromServer("220 ready\r\n"), fromClient("USER a\r\n"), fromServer("331 Password\r\n")), numbered("SITE f%06d\r\n"), fixed("150 Opening\r\n226 Done\r\n")},
		{"mqtt", dissect.TCP, 1883, list(fromClient("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"), fromServer("\x20\x02\x00\x00")), fixed("\xc0\x00"), fixed("\xd0\x00")},
		{"ldap", dissect.TCP, 389, nil, message("\x4a\x04cn=a"), message("\x6b\x07\x0a\x01\x00\x04\x00\x04\x00")},
		{"thrift", dissect.TCP, 9090, nil, call(1), call(2)},
		{"tds", dissect.TCP, 1433, nil, func(i int) string {
			return "\x01\x01\x00\x22\x00\x00\x01\x00" + utf16LE(fmt.Sprintf("SELECT %06d", i))
		}, fixed("\x04\x01\x00\x11\x00\x34\x01\x00\xfd\x10\x00\xc1\x00\x01\x00\x00\x00")},
		{"clickhouse", dissect.TCP, 9000, list(fromClient("\x00\x06client\x01\x01\x8c\xa9\x03\x00\x01a\x00"), fromServer("\x00\x0aClickHouse\x12\x10\x8c\xa9\x03\x03UTC\x01a\x01")),
			fixed("\x04"), fixed("\x04")},
		{"dns", dissect.UDP, 53, nil, ask, reply},
		{"dns, tcp", dissect.TCP, 53, nil, framed(ask), framed(reply)},
		{"icmp", dissect.ICMP, 0, nil, echo(8), echo(0)},
	}
}

// utf16LE is ASCII in UTF-16.
func utf16LE(s string) string {
	var b []byte
	for i := range len(s) {
		b = append(b, s[i], 0)
	}
	return string(b)
}

// pairing is a Sink that compares the packets of requests with those of responses.
type pairing struct {
	n, first  int // of the requests, in packets with even numbers from first on; as many responses follow
	paired    []bool
	wrong     int
	example   string
	last      string // summary of the last call
	anomalies []string
}

func (p *pairing) Call(e dissect.Emission) {
	p.last = e.Row.Base().Summary
	at := func(no int64) int { return (int(no) - p.first) / 2 }
	switch request, response := at(e.Request.First), at(e.Response.First)-p.n; {
	case !e.Request.Seen || !e.Response.Seen || request < 0 || int(e.Request.First) < p.first:
	case request == response && !e.Row.Base().Error.OK:
		p.paired[request] = true
	case request != response:
		p.wrong++
		p.example = fmt.Sprintf("request %d with response %d: %s", request, response, e.Row.Base().Summary)
	}
}

func (p *pairing) Anomaly(_ *dissect.Conn, a table.Anomaly) {
	p.anomalies = append(p.anomalies, a.Kind)
}

// play sends n requests and then their responses on one connection whose engine may hold budget bytes.
func (l *pipeline) play(t *testing.T, n, budget int) *pairing {
	t.Helper()
	p := &pairing{n: n, first: 2 * (len(l.login) + 1), paired: make([]bool, n)}
	e, err := dissect.NewEngine(Protocols(nil), nil, p, true)
	if err != nil {
		t.Fatal(err)
	}
	e.SetBudget(budget)
	c := e.NewConn(dissect.Info{Transport: l.kind, ClientPort: 40000, ServerPort: l.port, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1, IPVersion: 4})
	no := int64(0)
	var next [2]uint32
	send := func(dir dissect.Dir, s string) {
		no += 2
		at := dissect.Packet{No: no, Time: no * 1000, Seq: next[dir], Ack: next[dir.Other()]}
		next[dir] += uint32(len(s))
		if l.kind == dissect.TCP {
			c.Data(dir, []byte(s), at)
		} else {
			c.Datagram(dir, []byte(s), at)
		}
	}
	for _, c := range l.login {
		send(c.Dir, string(c.Data))
	}
	received := next[dissect.ToClient]
	for i := range n {
		next[dissect.ToClient] = received
		send(dissect.ToServer, l.request(i))
	}
	for i := range n {
		send(dissect.ToClient, l.response(i))
	}
	c.Close(dissect.EndFin, dissect.Packet{No: no + 2, Time: no * 1000})
	return p
}

// TestAnyNumberOfRequestsMayWait has more requests wait for their responses than any constant limits.
func TestAnyNumberOfRequestsMayWait(t *testing.T) {
	n := nightly.Of(8_000, 40_000)
	for _, l := range pipelines() {
		t.Run(l.name, func(t *testing.T) {
			p := l.play(t, n, 256<<20)
			for i, ok := range p.paired {
				if !ok {
					t.Fatalf("request %d of %d is not paired; the last call is %s; anomalies %v", i, n, p.last, slices.Compact(p.anomalies))
				}
			}
			if slices.Contains(p.anomalies, "limit") || slices.Contains(p.anomalies, "evicted") {
				t.Errorf("anomalies %v", slices.Compact(p.anomalies))
			}
		})
	}
}

// TestPipelinePairsAfterMemoryGaveUp lets memory give up most of the requests: no other gets a wrong
// response, and the newest ones get theirs.
func TestPipelinePairsAfterMemoryGaveUp(t *testing.T) {
	const n, budget = 20_000, 1 << 20
	for _, l := range pipelines() {
		t.Run(l.name, func(t *testing.T) {
			p := l.play(t, n, budget)
			if p.wrong > 0 {
				t.Errorf("%d requests have another's response, such as %s", p.wrong, p.example)
			}
			if !p.paired[n-1] {
				t.Error("the newest request is not paired")
			}
			if p.paired[0] || !slices.Contains(p.anomalies, "evicted") {
				t.Errorf("nothing was given up: the test needs less memory; anomalies %v", slices.Compact(p.anomalies))
			}
		})
	}
}

// TestEveryProtocolIsPipelined finds protocols that the tests above leave out.
func TestEveryProtocolIsPipelined(t *testing.T) {
	tried := map[string]bool{}
	for _, l := range pipelines() {
		name, _, _ := strings.Cut(l.name, ",")
		tried[name] = true
	}
	for _, p := range Protocols(nil) {
		switch why := unpiped[p.Name]; {
		case !tried[p.Name] && why == "":
			t.Errorf("protocol %s has no pipeline: in exporter/dissect/all/pipeline_test.go, add {%[1]q, dissect.TCP, PORT, nil, fixed(REQUEST), fixed(RESPONSE)} to function pipelines, or the line %[1]q: %q to variable unpiped", p.Name, "why many requests cannot wait")
		case tried[p.Name] && why != "":
			t.Errorf("protocol %s has a pipeline, and a reason why it has none: remove one of them from exporter/dissect/all/pipeline_test.go", p.Name)
		}
	}
}
