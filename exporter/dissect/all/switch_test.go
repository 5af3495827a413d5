package all

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// Messages of the connections in this file.
const (
	ask         = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
	answer      = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	asked       = "http1 GET /a → 200 (2 B) true"
	established = "HTTP/1.1 200 Connection established\r\n\r\n"
	switched    = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	socket      = "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	proxySign   = "\r\n\r\n\x00\r\nQUIT\n"
	proxyIPv4   = proxySign + "\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x9c\x40\x00\x50"
	proxyLocal  = proxySign + "\x20\x00\x00\x00"
	proxyTLV    = proxySign + "\x21\x11\x00\x13\x0a\x00\x00\x01\x0a\x00\x00\x02\x9c\x40\x00\x50\x02\x00\x04shop"
	proxyIPv6   = proxySign + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x9c\x40\x00\x50"
	proxyText   = "PROXY TCP4 10.0.0.1 10.0.0.2 40000 80\r\n"
	ping        = "*1\r\n$4\r\nPING\r\n"
	pong        = "+PONG\r\n"
)

// TestTwoProtocolsOnOneConnection plays connections that change their protocol, and connections
// with a header of the PROXY protocol before it. Each protocol has its rows, and every byte is
// in one.
func TestTwoProtocolsOnOneConnection(t *testing.T) {
	c, s := dissecttest.Client, dissecttest.Server
	hello := tlsTalk(t)
	for _, tc := range []struct {
		name   string
		port   uint16
		chunks []dissecttest.Chunk
		want   string
	}{
		{"SMTP with STARTTLS", 25, append([]dissecttest.Chunk{s("220 mail ESMTP\r\n"), c("EHLO a\r\n"), s("250-mail\r\n250 STARTTLS\r\n"),
			c("STARTTLS\r\n"), s("220 go ahead\r\n")}, hello...), "smtp; smtp; smtp; tls"},
		{"IMAP with STARTTLS", 143, append([]dissecttest.Chunk{s("* OK IMAP4rev1 ready\r\n"), c("a STARTTLS\r\n"), s("a OK begin\r\n")}, hello...), "imap; imap; tls"},
		{"LDAP with StartTLS", 389, append([]dissecttest.Chunk{c("\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"),
			s("\x30\x24\x02\x01\x01\x78\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20037")}, hello...), "ldap; tls"},
		{"PostgreSQL with SSLRequest", 5432, append([]dissecttest.Chunk{c("\x00\x00\x00\x08\x04\xd2\x16\x2f"), s("S")}, hello...), "postgresql; tls"},
		{"NATS with TLS", 4222, append([]dissecttest.Chunk{s("INFO {\"server_id\":\"a\",\"tls_required\":true}\r\n")}, hello...), "nats; tls"},
		{"AMQP 1.0 with its header of TLS", 5672, append([]dissecttest.Chunk{c("AMQP\x02\x01\x00\x00"), s("AMQP\x02\x01\x00\x00")}, hello...), "amqp1; tls"},
		{"AMQP 1.0 with TLS before the server agrees", 5672, slices.Concat([]dissecttest.Chunk{c("AMQP\x02\x01\x00\x00" + string(hello[0].Data)), s("AMQP\x02\x01\x00\x00")}, hello[1:]), "amqp1; tls"},
		{"AMQP 1.0 whose server refuses TLS", 5672, []dissecttest.Chunk{c("AMQP\x02\x01\x00\x00"), s("AMQP\x03\x01\x00\x00")}, "amqp1; amqp1"},
		{"MySQL with TLS", 3306, append([]dissecttest.Chunk{s(my(0, "\x0a8.0.32\x00\x01\x00\x00\x00abcdefgh\x00\xff\xff\x21\x02\x00\xff\xc0\x15"+strings.Repeat("\x00", 10)+"ijklmnopqrst\x00mysql_native_password\x00")),
			c(my(1, "\x00\x8a\x08\x00\x00\x00\x00\x01\x21"+strings.Repeat("\x00", 23)))}, hello...), "mysql; tls"},
		{"POP3 with STLS", 110, append([]dissecttest.Chunk{s("+OK POP3 ready\r\n"), c("STLS\r\n"), s("+OK begin\r\n")}, hello...), "pop3; pop3; tls"},
		{"FTP with AUTH", 21, append([]dissecttest.Chunk{s("220 FTP server\r\n"), c("AUTH TLS\r\n"), s("234 ok\r\n")}, hello...), "ftp; ftp; tls"},
		{"XMPP with STARTTLS", 5222, append([]dissecttest.Chunk{c("<stream:stream xmlns='jabber:client' version='1.0'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
			s("<stream:stream xmlns='jabber:client' version='1.0'><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")}, hello...), "tcp xmpp; tls"},
		{"SOCKS, then CONNECT, then TLS", 1080, append([]dissecttest.Chunk{c("\x05\x01\x00"), s("\x05\x00"), c("\x05\x01\x00\x01\x0a\x00\x00\x02\x0c\x38"), s("\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd"),
			c("CONNECT shop:443 HTTP/1.1\r\nHost: shop:443\r\n\r\n"), s(established)}, hello...), "socks; http1; tls"},
		{"CONNECT, then TLS", 3128, append([]dissecttest.Chunk{c("CONNECT shop:443 HTTP/1.1\r\nHost: shop:443\r\n\r\n"), s(established)}, hello...), "http1; tls"},
		{"CONNECT, then HTTP", 3128, []dissecttest.Chunk{c("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n"), s(established), c(ask), s(answer)}, "http1; " + asked},
		{"CONNECT, then HTTP in the same segment as the answer's end", 3128, []dissecttest.Chunk{c("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n"),
			s("HTTP/1.1 200 OK\r\n"), s("\r\n"), c(ask), s(answer)}, "http1; " + asked},
		{"CONNECT with the tunnel's first bytes before the answer", 3128, []dissecttest.Chunk{c("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n" + ask), s(established + answer)}, "http1; " + asked},
		{"CONNECT, then Redis", 3128, []dissecttest.Chunk{c("CONNECT r:6379 HTTP/1.1\r\nHost: r:6379\r\n\r\n"), s(established), c(ping), s(pong)}, "http1; redis PING → PONG true"},
		{"CONNECT that is refused, then another request", 3128, []dissecttest.Chunk{c("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n"),
			s("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), c(ask), s(answer)}, "http1; " + asked},
		{"CONNECT in a CONNECT", 3128, []dissecttest.Chunk{c("CONNECT p:3128 HTTP/1.1\r\nHost: p:3128\r\n\r\n"), s(established),
			c("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n"), s(established), c(ask), s(answer)}, "http1; http1; " + asked},
		{"SOCKS 4, then HTTP", 1080, []dissecttest.Chunk{c("\x04\x01\x00\x50\x0a\x00\x00\x02\x00"), s("\x00\x5a\x00\x00\x00\x00\x00\x00"), c(ask), s(answer)}, "socks; " + asked},
		{"SOCKS 5 on another port, then Redis", 9050, []dissecttest.Chunk{c("\x05\x01\x00"), s("\x05\x00"), c("\x05\x01\x00\x03\x01r\x18\xeb"), s("\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd"), c(ping), s(pong)}, "socks; redis PING → PONG true"},
		{"SOCKS 5 with everything before the replies", 1080, []dissecttest.Chunk{c("\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50" + ask), s("\x05\x00\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd" + answer)}, "socks; " + asked},
		{"SOCKS 5, then a server that speaks first", 1080, []dissecttest.Chunk{c("\x05\x01\x00"), s("\x05\x00"), c("\x05\x01\x00\x01\x0a\x00\x00\x02\x00\x19"), s("\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd" + "220 mail ESMTP\r\n"), c("EHLO a\r\n"), s("250 mail\r\n")}, "socks; smtp; smtp"},
		{"SOCKS 5 of which the request was lost, then HTTP", 1080, []dissecttest.Chunk{c("\x05\x01\x00"), s("\x05\x00"), {Dir: dissect.ToServer, Gap: 10}, s("\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd"), c(ask), s(answer)}, "socks; " + asked},
		{"SOCKS 5 of which the reply was lost, then HTTP", 1080, []dissecttest.Chunk{c("\x05\x01\x00"), s("\x05\x00"), c("\x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50"), {Dir: dissect.ToClient, Gap: 10}, c(ask), s(answer)}, "socks; " + asked},
		{"PROXY, then SOCKS, then TLS", 1080, append([]dissecttest.Chunk{c(proxyText + "\x05\x01\x00"), s("\x05\x00"), c("\x05\x01\x00\x01\x0a\x00\x00\x02\x01\xbb"), s("\x05\x00\x00\x01\x0a\x00\x00\x01\xd1\xcd")}, hello...), "proxy; socks; tls"},
		{"WebSocket", 80, []dissecttest.Chunk{c(socket), s(switched), s("\x81\x05hello"), c("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")}, "http1; ws; ws"},
		{"WebSocket with its first frame in the answer's segment", 80, []dissecttest.Chunk{c(socket), s(switched + "\x81\x05hello")}, "http1; ws"},
		{"WebSocket that carries a request's text", 80, []dissecttest.Chunk{c(socket), s(switched), c("\x82\x80\x00\x00\x00\x00"), s("\x82\x1f" + ask), s("\x81\x05hello")}, "http1; ws; ws; ws"},
		{"an Upgrade that the server ignores", 80, []dissecttest.Chunk{c(socket), s(answer), c(ask), s(answer)}, "http1; " + asked},
		{"HTTP, then PROXY, which is part of the next request's head", 80, []dissecttest.Chunk{c(ask), s(answer), c(proxyText), c(ask), s(answer)}, "http1; " + asked},
		{"PROXY 1, then HTTP", 80, []dissecttest.Chunk{c(proxyText + ask), s(answer)}, "proxy; " + asked},
		{"PROXY 1 in its own segment", 80, []dissecttest.Chunk{c(proxyText), c(ask), s(answer)}, "proxy; " + asked},
		{"PROXY 1 in two segments", 80, []dissecttest.Chunk{c(proxyText[:20]), c(proxyText[20:] + ask), s(answer)}, "proxy; " + asked},
		{"PROXY 1 byte by byte", 8081, append(bytewise(proxyText+ask), s(answer)), "proxy; " + asked},
		{"PROXY 2, then HTTP", 80, []dissecttest.Chunk{c(proxyIPv4 + ask), s(answer)}, "proxy; " + asked},
		{"PROXY 2 for IPv6", 80, []dissecttest.Chunk{c(proxyIPv6 + ask), s(answer)}, "proxy; " + asked},
		{"PROXY 2 in its own segment", 80, []dissecttest.Chunk{c(proxyIPv4), c(ask), s(answer)}, "proxy; " + asked},
		{"PROXY 2 in two segments", 80, []dissecttest.Chunk{c(proxyTLV[:14]), c(proxyTLV[14:] + ask), s(answer)}, "proxy; " + asked},
		{"PROXY 2 byte by byte", 8081, append(bytewise(proxyTLV+ask), s(answer)), "proxy; " + asked},
		{"PROXY 2 of a health check", 80, []dissecttest.Chunk{c(proxyLocal + ask), s(answer)}, "proxy; " + asked},
		{"PROXY 2 with TLVs, then Redis", 6379, []dissecttest.Chunk{c(proxyTLV + ping), s(pong)}, "proxy; redis PING → PONG true"},
		{"PROXY 2, then TLS", 443, append([]dissecttest.Chunk{c(proxyIPv4)}, hello...), "proxy; tls"},
		{"PROXY 1 and 2", 80, []dissecttest.Chunk{c(proxyText + proxyIPv4 + ask), s(answer)}, "proxy; proxy; " + asked},
		{"PROXY 2 whose length covers the request", 80, []dissecttest.Chunk{c(strings.Replace(proxyIPv4, "\x00\x0c", "\x00\x2c", 1) + ask), s(answer)}, "?"},
		{"PROXY 2 whose length is beyond the segment", 80, []dissecttest.Chunk{c(strings.Replace(proxyIPv4, "\x00\x0c", "\x0f\xff", 1) + ask), s(answer)}, "?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: tc.port, Roles: true, End: dissect.EndFin}, tc.chunks...)
			if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
				t.Errorf("%d of %d bytes in rows and anomalies, %d held", got, r.Bytes, r.Held)
			}
			got, want := sketch(r), strings.Split(tc.want, "; ")
			slices.Sort(want)
			switch {
			case tc.want == "?": // nobody can say what the receiver read
				if len(r.Anomalies) == 0 && !slices.Contains(got, "tcp ") {
					t.Errorf("silently read as %q", got)
				}
			case !slices.Equal(got, want) || r.Conn.AnomalyBytes > 0:
				t.Errorf("\n got %q\nwant %q; anomalies %v", got, want, r.Anomalies)
			}
		})
	}
}

// sketch lists the protocols of the rows: of a payload, the likely protocol too, and of GET and PING,
// the summary.
func sketch(r *dissecttest.Result) (list []string) {
	for _, e := range r.Emissions {
		b := e.Row.Base()
		text := b.Protocol
		if u, ok := e.Row.(*dissect.Unknown); ok {
			text += " " + u.Likely.V
		} else if b.Method.V == "GET" && b.Path.V != "/ws" || b.Method.V == "PING" {
			text += fmt.Sprintf(" %s %v", b.Summary, b.Complete)
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func bytewise(s string) (list []dissecttest.Chunk) {
	for i := range len(s) {
		list = append(list, dissecttest.Client(s[i:i+1]))
	}
	return list
}

// tlsTalk is the start of a recorded TLS connection.
func tlsTalk(t *testing.T) []dissecttest.Chunk {
	t.Helper()
	list := talks(t, "tls.pcapng")
	return list[0].chunks
}
