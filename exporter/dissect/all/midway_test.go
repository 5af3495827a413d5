package all

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestMidwayOnAnyPort begins each recorded conversation at every packet, on the port that its
// protocol hints at and on another one, for which the first sender is assumed to be the client.
// The rows must be the same. Encrypted TLS records and SSH do not show their sender, so only the
// number of their rows must be the same. Encrypted messages of SMB, the watchdogs of Diameter, BGP and AMQP 1.0,
// whose two sides say the same, do not show it either. Nor does PUBLISH of MQTT show its sender or version: only other complete calls
// must be the same. Messages that several protocols share are read only on their port.
func TestMidwayOnAnyPort(t *testing.T) {
	const unknownPort = 50001
	shared := []string{"mqtt", "smtp", "pop3", "ftp", "nats", "telnet"} // protocols with messages that others may have too
	for file, protocol := range samples {
		t.Run(file, func(t *testing.T) {
			protocols := Protocols(nil)
			i := slices.IndexFunc(protocols, func(p *dissect.Protocol) bool { return p.Name == protocol })
			hint := uint16(unknownPort)
			if ports := protocols[i].Ports; len(ports) > 0 {
				hint = ports[0]
			}
			for _, k := range talks(t, file) {
				chunks := k.inClear(protocol)
				for from := range chunks {
					rest := chunks[from:]
					o := dissecttest.Options{Protocols: Protocols(nil), ServerPort: hint, End: dissect.EndFin}
					want := dissecttest.Play(t, o, rest...)
					turned := rest[0].Dir == dissect.ToClient
					if turned {
						rest = turn(rest)
					}
					o.Protocols, o.ServerPort = Protocols(nil), unknownPort
					got := dissecttest.Play(t, o, rest...)
					a, b := knownRows(got), knownRows(want)
					if protocol == "mqtt" || protocol == "telnet" { // whose text does not show its sender
						a, b = slices.DeleteFunc(a, incomplete), slices.DeleteFunc(b, incomplete)
					}
					if slices.Contains(shared, protocol) {
						b = slices.DeleteFunc(b, func(row string) bool { return !slices.Contains(a, row) })
					}
					if !slices.Equal(a, b) && (protocol != "tls" && protocol != "ssh" || len(a) != len(b)) {
						t.Fatalf("%s from packet %d of %d:\n got %v\nwant %v", k.name, from, len(chunks), a, b)
					}
					if p := got.Conn.Protocol(); p != nil && !slices.Contains([]string{"tls", "ssh", "diameter", "bgp", "amqp1", "telnet"}, p.Name) && !encryptedSMB(rest[0]) && !serverAsks(rest[0]) && got.Conn.Flipped() != turned {
						t.Errorf("%s from packet %d: flipped %v, want %v", k.name, from, got.Conn.Flipped(), turned)
					}
				}
			}
		})
	}
}

// encryptedSMB reports whether c begins with an encrypted message of SMB 3.
func encryptedSMB(c dissecttest.Chunk) bool {
	return len(c.Data) >= 8 && string(c.Data[4:8]) == "\xfdSMB"
}

// serverAsks reports whether c is a request of JSON-RPC that the sample's server sends, as only clients usually do.
func serverAsks(c dissecttest.Chunk) bool {
	return strings.Contains(string(c.Data), `"method":"name"`)
}

func incomplete(row string) bool {
	return strings.Contains(row, "complete=false") || strings.HasPrefix(row, "mqtt PUBLISH")
}

func turn(in []dissecttest.Chunk) (out []dissecttest.Chunk) {
	for _, c := range in {
		c.Dir = c.Dir.Other()
		out = append(out, c)
	}
	return out
}

// knownRows renders the rows of a protocol from the first request on, without those of unknown
// payloads. They are sorted: of bytes that waited for detection, nothing says which side's came first.
func knownRows(r *dissecttest.Result) (out []string) {
	for _, e := range r.Emissions {
		b := e.Row.Base()
		if _, unknown := e.Row.(*dissect.Unknown); !unknown && b.Error.V != "no_request" {
			out = append(out, fmt.Sprintf("%s %s %s complete=%v cites=%v\n", b.Protocol, b.Summary, b.Error.V, b.Complete, b.Cites))
		}
	}
	slices.Sort(out)
	return out
}

// TestMidwayCallsAreTrue begins each recorded conversation at every packet, on the port that its protocol
// hints at and on another one, for which the first sender is assumed to be the client. Each complete call
// must be a call of the whole conversation, with the same request and the same response. Most calls of a
// conversation of which only the handshake is missing are complete. A row of RTP counts what was captured of
// a stream, which has no mark of its beginning. Messages of a WebSocket are rows of their own if its handshake, which
// says how they belong together, was not captured.
func TestMidwayCallsAreTrue(t *testing.T) {
	for file, protocol := range samples {
		t.Run(file, func(t *testing.T) {
			i := slices.IndexFunc(Protocols(nil), func(p *dissect.Protocol) bool { return p.Name == protocol })
			ports, seen, kept := append([]uint16{50001}, Protocols(nil)[i].Ports...), 0, 0
			for _, k := range conversations(t, file) {
				if k.kind == dissect.ICMP {
					continue
				}
				chunks := k.inClear(protocol)
				o := dissecttest.Options{Transport: k.kind, IPVersion: 4, Multicast: k.group, End: dissect.EndFin}
				for _, port := range ports[:min(2, len(ports))] {
					o.ServerPort, o.Protocols, o.Roles = port, Protocols(nil), k.kind == dissect.TCP
					whole := complete(dissecttest.Play(t, o, chunks...), 0)
					for from := range chunks {
						rest := chunks[from:]
						if o.Protocols, o.Roles = Protocols(nil), false; port == 50001 && rest[0].Dir == dissect.ToClient {
							rest = turn(rest)
						}
						got := complete(dissecttest.Play(t, o, rest...), from)
						for call, c := range got {
							if whole[call].summary == "" {
								t.Errorf("%s port %d from packet %d of %d: %s: %s", k.name, port, from, len(chunks), call, c.summary)
							}
						}
						for call, c := range whole {
							if c.first < int64(from) {
								continue
							}
							if seen++; got[call].summary != "" {
								kept++
							}
						}
					}
				}
			}
			least := 97
			if n, ok := needsBefore[file]; ok {
				least = n
			}
			if seen == 0 || kept*100 < seen*least {
				t.Errorf("of %d complete calls after the cuts %d are complete without what was before, want %d %%", seen, kept, least)
			}
		})
	}
}

// needsBefore are samples in which fewer than 97 % of the calls are complete without what was before: the percentage.
var needsBefore = map[string]int{
	"etcd.pcapng": 7, "grpc.pcapng": 24, "http2.pcap": 8, // fields of the dynamic table (RFC 7541, section 2.3.2)
	"mqtt-ws.pcapng":      18, // the handshake names the subprotocol
	"openvpn.pcapng":      53, // the control channel is one call
	"telnet.pcapng":       25, // only options show that it is Telnet
	"irc.pcapng":          80, // few lines are of IRC alone
	"stomp.pcapng":        94, // SUBSCRIBE says whether messages are acknowledged
	"rabbitstream.pcapng": 95, // Tune and SaslHandshake alone show too little
	"amqp.pcapng":         95, // confirm.select begins to count the messages
	"bgp.pcapng":          96,
	"clickhouse.pcapng":   91, // PING before the first statement
	"mqtt.pcapng":         90, "pop3.pcapng": 87,
}

// played is a call of a conversation.
type played struct {
	summary string
	first   int64 // chunk with its first byte
}

// A likeness to another protocol does not outweigh the port.
func TestPortOutweighsLikeness(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: 110, End: dissect.EndFin}, dissecttest.Client("RSET\r\n"), dissecttest.Server("+OK\r\n"),
		dissecttest.Client("NOOP\r\n"), dissecttest.Server("+OK\r\n"))
	if got := dissecttest.Lines(r); r.Conn.Protocol() == nil || r.Conn.Protocol().Name != "pop3" || !strings.Contains(got, "NOOP → +OK") {
		t.Errorf("replies of Redis on the port of POP3 are %v:\n%s", r.Conn.Protocol(), got)
	}
}

// complete has the summaries of complete calls by their packets. The conversation has others before those
// that were played.
func complete(r *dissecttest.Result, before int) map[string]played {
	list := map[string]played{}
	for _, e := range r.Emissions {
		b := e.Row.Base()
		if _, unknown := e.Row.(*dissect.Unknown); unknown || !b.Complete || b.Protocol == "rtp" || b.Protocol == "ws" {
			continue
		}
		call, at := b.Protocol, int64(-1)
		for _, x := range []dissect.Span{e.Request, e.Response} {
			switch {
			case !x.Seen:
			case b.Transport == "sctp" && b.Protocol != "sctp": // it may be a retransmission
				call += fmt.Sprint(" TSN ", x.Seq)
			default:
				call += fmt.Sprint(" ", x.First+int64(before))
				if n := x.First + int64(before); at < 0 || n < at {
					at = n
				}
			}
		}
		list[call] = played{b.Summary, at}
	}
	return list
}

// Whoever sends the first datagram of a conversation does not decide how all others are read: the protocol
// of the port replaces another one that cannot read them.
func TestFirstDatagramDoesNotDecide(t *testing.T) {
	const (
		snmp = "\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00"
		ask  = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"
		tell = "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x0a\x00\x00\x01"
	)
	play := func(port uint16) string {
		return dissecttest.Lines(dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Transport: dissect.UDP, ServerPort: port},
			dissecttest.Client(snmp), dissecttest.Client(ask), dissecttest.Server(tell)))
	}
	if got := play(53); !strings.Contains(got, "A a → 10.0.0.1 complete") || !strings.Contains(got, "SNMPv2c GetRequest") {
		t.Errorf("on DNS's port:\n%s", got)
	}
	if got := play(161); strings.Contains(got, "A a") {
		t.Errorf("on SNMP's own port, its claim was withdrawn:\n%s", got)
	}
}

// A capture that begins between a head of HTTP and its body does not show JSON-RPC on TCP.
func TestBodiesOfHTTPAreNotMessages(t *testing.T) {
	const (
		ask, note = `{"jsonrpc":"2.0","method":"a","id":1}`, `{"jsonrpc":"2.0","method":"n"}`
		answer    = `{"jsonrpc":"2.0","result":2,"id":1}`
		batch     = "[" + ask + "," + note + "]"
		post      = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 37\r\n\r\n"
		ok        = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 35\r\n\r\n"
	)
	client, server := dissecttest.Client, dissecttest.Server
	call := []dissecttest.Chunk{client(post), client(ask), server(ok), server(answer)}
	for _, begin := range [][]dissecttest.Chunk{
		{client(ask), server(ok), server(answer)}, {client(note), server("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")},
		{client(batch), server(ok), server(answer)}, {server(answer)}, {server("[" + answer + "," + answer + "]")},
	} {
		for _, turned := range []bool{false, true} {
			list := slices.Concat(begin, call, call)
			if turned {
				list = turn(list)
			}
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: 50001, End: dissect.EndFin}, list...)
			wrong := slices.ContainsFunc(r.Emissions, func(e dissect.Emission) bool { return e.Row.Base().Protocol == "jsonrpc" })
			if got := dissecttest.Lines(r); wrong || strings.Count(got, "a → 200 (35 B) complete") != 2 {
				t.Errorf("%s, turned %v:\n%s", begin[0].Data, turned, got)
			}
		}
	}
}

// A first command of any length does not hide a conversation on its protocol's port.
func TestLongCommandsHideNothing(t *testing.T) {
	for _, x := range []struct {
		port                     uint16
		greeting, command, reply string // command with a word of any length
		next, answer, want       string
	}{
		{25, "220 mail ESMTP\r\n", "EHLO %s\r\n", "250 mail\r\n", "VRFY a\r\n", "252 a\r\n", "VRFY"},
		{21, "220 ready\r\n", "USER %s\r\n", "331 Password\r\n", "PASS b\r\n", "230 ok\r\n", "PASS"},
		{110, "+OK ready\r\n", "USER %s\r\n", "+OK\r\n", "PASS b\r\n", "+OK\r\n", "PASS"},
		{143, "* OK ready\r\n", "a1 LOGIN a %s\r\n", "a1 NO no\r\n", "a2 LOGIN a b\r\n", "a2 OK in\r\n", "LOGIN"},
		{80, "", "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 414 Too Long\r\nContent-Length: 0\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET /b"},
		{6379, "", "SET a %s\r\n", "+OK\r\n", "GET a\r\n", "$1\r\nb\r\n", "GET a"},
		{11211, "", "get %s\r\n", "CLIENT_ERROR line too long\r\n", "get b\r\n", "END\r\n", "get b"},
		{4222, "INFO {\"server_id\":\"a\",\"version\":\"2.10.0\",\"max_payload\":1048576}\r\n", "CONNECT {\"name\":\"%s\"}\r\n", "", "PING\r\n", "PONG\r\n", "PING"},
		{61613, "", "CONNECT\nlogin:%s\n\n\x00", "CONNECTED\nversion:1.1\n\n\x00", "SEND\ndestination:/b\nreceipt:1\n\nx\x00", "RECEIPT\nreceipt-id:1\n\n\x00", "SEND"},
	} {
		for _, size := range []int{3000, 6000, 20_000} {
			list := []dissecttest.Chunk{}
			add := func(dir dissect.Dir, text string) {
				for len(text) > 0 { // segments
					n := min(len(text), 1400)
					list = append(list, dissecttest.Chunk{Dir: dir, Data: []byte(text[:n])})
					text = text[n:]
				}
			}
			add(dissect.ToClient, x.greeting)
			add(dissect.ToServer, strings.Replace(x.command, "%s", strings.Repeat("A", size), 1))
			add(dissect.ToClient, x.reply)
			for range 3 { // the first may be lost where the long one is given up
				add(dissect.ToServer, x.next)
				add(dissect.ToClient, x.answer)
			}
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: x.port, Roles: true, End: dissect.EndFin}, list...)
			if got := dissecttest.Lines(r); !strings.Contains(got, x.want) {
				t.Errorf("port %d, %d bytes:\n%.600s", x.port, size, got)
			}
		}
	}
}
