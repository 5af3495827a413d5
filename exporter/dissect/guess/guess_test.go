package guess

import (
	"strings"
	"testing"
)

// stream is a conversation whose sides begin so.
func stream(client, server string) *Start {
	return &Start{Client: Side{Head: []byte(client)}, Server: Side{Head: []byte(server)}, RolesKnown: true, ClientPort: 40000, ServerPort: 40001}
}

// datagram is a conversation of one datagram of this size.
func datagram(head string, size int) *Start {
	s := stream(head, "")
	s.Datagrams, s.Client.Size = true, max(size, len(head))
	return s
}

func TestContent(t *testing.T) {
	for _, row := range []struct {
		what  string
		start *Start
		want  string
	}{
		{"the banner of an SSH server", stream("", "SSH-2.0-OpenSSH_9.6\r\n"), "ssh"},
		{"the greeting of an FTP server", stream("", "220 (vsFTPd 3.0.5)\r\n"), "ftp"},
		{"a greeting of FTP that only its client explains", stream("USER bob\r\n", "220 ready\r\n"), "ftp"},
		{"the greeting of a mail server", stream("", "220 mx.example ESMTP Postfix\r\n"), "smtp"},
		{"a greeting of SMTP that only its client explains", stream("EHLO a.example\r\n", "220 ready\r\n"), "smtp"},
		{"a greeting that could be either", stream("", "220 ready\r\n"), ""},
		{"POP3", stream("CAPA\r\n", "+OK ready\r\n"), "pop3"},
		{"an answer of Redis is not POP3", stream("*1\r\n$4\r\nPING\r\n", "+OK\r\n"), ""},
		{"IMAP", stream("", "* OK [CAPABILITY IMAP4rev1] ready\r\n"), "imap"},
		{"the handshake of MySQL", stream("", "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00"), "mysql"},
		{"a MySQL server with too many connections", stream("", "\x17\x00\x00\x00\xff\x10\x04Too many connections"), "mysql"},
		{"a length that MySQL does not have", stream("", "\x4a\x00\x01\x00\x0a8.0.36\x00"), ""},
		{"OP_MSG of MongoDB", stream("\x3b\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x26\x00\x00\x00\x10hello\x00\x01\x00\x00\x00", ""), "mongodb"},
		{"OP_MSG whose document is longer than the message", stream("\x3b\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x99\x00\x00\x00\x10hello\x00\x01\x00\x00\x00", ""), ""},
		{"AMQP 0-9-1", stream("AMQP\x00\x00\x09\x01", ""), "amqp"},
		{"CONNECT of MQTT 3.1.1", stream("\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04demo", ""), "mqtt"},
		{"an RDP connection request", stream("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x0b\x00\x00\x00", ""), "rdp"},
		{"an X.224 request without RDP's part", stream("\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a", ""), ""},
		{"SMB 2", stream("\x00\x00\x00\xe8\xfeSMB\x40\x00\x00\x00", ""), "smb"},
		{"an LDAP bind", stream("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", ""), "ldap"},
		{"Memcached, text", stream("get user:1\r\n", "VALUE user:1 0 3\r\nabc\r\nEND\r\n"), "memcached"},
		{"words of Memcached with another answer", stream("get user:1\r\n", "hello"), ""},
		{"Memcached, binary", stream("\x80\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abc", ""), "memcached"},
		{"STARTUP of Cassandra", stream("\x04\x00\x00\x00\x01\x00\x00\x00\x16\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0", ""), "cassandra"},
		{"INFO of NATS", stream("", `INFO {"server_id":"N"}`), "nats"},
		{"Kafka, request and response", stream("\x00\x00\x00\x14\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04demo", "\x00\x00\x00\x0a\x00\x00\x00\x07\x00\x00"), "kafka"},
		{"a request of Kafka with another id in the response", stream("\x00\x00\x00\x14\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04demo", "\x00\x00\x00\x0a\x00\x00\x00\x08\x00\x00"), ""},
		{"Thrift, strict binary", stream("\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x01\x00", ""), "thrift"},
		{"PRELOGIN of SQL Server", stream("\x12\x01\x00\x2f\x00\x00\x01\x00\x00\x00\x1a\x00\x06\x01\x00\x20\x00\x01\x02\x00\x21\x00\x01\x03\x00\x22\x00\x04\xff", ""), "mssql"},
		{"BitTorrent", stream("\x13BitTorrent protocol\x00\x00", ""), "bittorrent"},
		{"negotiation of Telnet", stream("", "\xff\xfd\x18\xff\xfd\x20"), "telnet"},
		{"text that is nothing known", stream("hello\n", "world\n"), ""},
		{"no bytes", stream("", ""), ""},
		{"STUN", datagram("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", 0), "stun"},
		{"a query of BitTorrent's DHT", datagram("d1:ad2:id20:abcdefghij0123456789e1:q4:ping", 0), "bittorrent"},
		{"the handshake of WireGuard", datagram("\x01\x00\x00\x00abcdefgh", 148), "wireguard"},
		{"WireGuard's first bytes with another size", datagram("\x01\x00\x00\x00abcdefgh", 150), ""},
		{"SNMP version 2c", datagram("\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01", 40), "snmp"},
		{"syslog", datagram("<34>Oct 11 22:14:15 host su: failed", 0), "syslog"},
		{"a metric of StatsD", datagram("shop.orders:1|c", 0), "statsd"},
		{"RADIUS with an attribute of length 0", datagram("\x02\x05\x00\x1b0123456789abcdef\x01\x05bob\x02\x00", 0), ""},
		{"RADIUS", datagram("\x01\x05\x00\x1d0123456789abcdef\x01\x09bob1234", 0), "radius"},
	} {
		t.Run(row.what, func(t *testing.T) {
			got := Of(row.start)
			if got.Protocol != row.want || (got.By == Content) != (row.want != "") {
				t.Errorf("%+v, want %q", got, row.want)
			}
		})
	}
}

// TestTwoDatagrams names RTP only if its packets follow each other.
func TestTwoDatagrams(t *testing.T) {
	for next, want := range map[string]string{"\x80\x00\x00\x02\x00\x00\x01\x40SSRC": "rtp", "\x80\x00\x90\x02\x00\x00\x01\x40SSRC": "", "\x80\x00\x00\x02\x00\x00\x01\x40CRSS": "", "": ""} {
		s := datagram("\x80\x00\x00\x01\x00\x00\x00\xa0SSRCvoice", 172)
		s.Client.Next = []byte(next)
		if got := Of(s).Protocol; got != want {
			t.Errorf("%q after it: %q, want %q", next, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	at := func(client, server uint16, roles bool, b string) *Start {
		return &Start{Client: Side{Head: []byte(b)}, ClientPort: client, ServerPort: server, RolesKnown: roles}
	}
	for _, row := range []struct {
		what  string
		start *Start
		want  Guess
	}{
		{"the server's port", at(50000, 5900, true, "xyz"), Guess{"vnc", Port, 5900}},
		{"the client's port says nothing", at(5900, 50000, true, "xyz"), Guess{}},
		{"either port, if it is unknown which side is the server", at(5900, 50000, false, "xyz"), Guess{"vnc", Port, 5900}},
		{"content goes before a port", at(50000, 5900, true, "SSH-2.0-x\r\n"), Guess{"ssh", Content, 0}},
		{"either side, if it is unknown which side is the server", at(22, 50000, false, "220 mx ESMTP\r\n"), Guess{"smtp", Content, 0}},
	} {
		if got := Of(row.start); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.what, got, row.want)
		}
	}
}

func TestFirst(t *testing.T) {
	for _, row := range []struct {
		bytes  string
		client bool
		want   string
	}{
		{"SSH-2.0-OpenSSH_9.6\r\nmore", false, `"SSH-2.0-OpenSSH_9.6"`},
		{"PASS secret\r\n", true, `"PASS…"`},
		{"secret-token-of-a-client\r\n", true, `"secret-token-of-…"`},
		{"220 " + strings.Repeat("x", 60), false, `"220 ` + strings.Repeat("x", 36) + `…"`},
		{`INFO {"server_id"`, false, `"INFO {…"`},
		{"\x4a\x00\x00\x00\x0a8.0.36\x00", false, "4a0000000a382e30"},
		{"ab", true, "6162"},
		{"", true, ""},
	} {
		if got := First([]byte(row.bytes), row.client); got != row.want {
			t.Errorf("%q: %s, want %s", row.bytes, got, row.want)
		}
	}
}

// FuzzOf checks that no beginning panics or gives a name without evidence.
func FuzzOf(f *testing.F) {
	f.Add([]byte("SSH-2.0-"), []byte("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03"), uint16(22), true)
	f.Fuzz(func(t *testing.T, c, s []byte, port uint16, datagrams bool) {
		start := Start{Client: Side{Head: c[:min(len(c), Head)], Next: c[:min(len(c), 12)], Size: len(c)}, Server: Side{Head: s[:min(len(s), Head)]}, ServerPort: port, Datagrams: datagrams}
		if g := Of(&start); (g.Protocol == "") != (g.By == "") {
			t.Errorf("%+v", g)
		}
		First(c, datagrams)
	})
}
