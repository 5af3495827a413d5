package all

import (
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// foreign lists messages with the side that sends them; the first word of each name is the protocol.
var foreign = []struct {
	name string
	dir  dissect.Dir
	data string
}{
	{"kafka answer", dissect.ToClient, "\x00\x00\x01\x10\x00\x00\x00\x00\x03\x00\x00\x00\x01\x0a\x31\x39\x32\x2e\x31\x36\x38\x2e\x31\x2e\x32\x00\x00\x23\x84"},
	{"kafka produce answer", dissect.ToClient, "\x00\x00\x00\x2e\x00\x00\x00\x05\x00\x00\x00\x01\x00\x05topic\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
	{"mysql greeting", dissect.ToClient, "\x4a\x00\x00\x00\x0a8.0.32\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xc1\x15\x00\x00\x00\x00"},
	{"mysql query", dissect.ToServer, "\x21\x00\x00\x00\x03select @@version_comment limit 1"},
	{"mysql ok", dissect.ToClient, "\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00"},
	{"mongodb", dissect.ToServer, "\x3f\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00\x00\x00\x00\x00admin.$cmd\x00\x00\x00\x00\x00\xff\xff\xff\xff"},
	{"cassandra", dissect.ToServer, "\x04\x00\x00\x01\x01\x00\x00\x00\x16\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0"},
	{"cassandra ready", dissect.ToClient, "\x84\x00\x00\x01\x02\x00\x00\x00\x00"},
	{"clickhouse", dissect.ToServer, "\x00\x06client\x01\x01\x8c\xa9\x03\x00\x01a\x00"},
	{"clickhouse answer", dissect.ToClient, "\x00\x0aClickHouse\x12\x10\x8c\xa9\x03\x03UTC\x01a\x01"},
	{"amqp", dissect.ToServer, "AMQP\x00\x00\x09\x01"},
	{"amqp start", dissect.ToClient, "\x01\x00\x00\x00\x00\x00\x10\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\xce"},
	{"mqtt", dissect.ToServer, "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd"},
	{"mqtt acknowledgement", dissect.ToClient, "\x20\x02\x00\x00"},
	{"ldap", dissect.ToServer, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"},
	{"smb2", dissect.ToServer, "\x00\x00\x00\x44\xfeSMB\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1f\x00\x00\x00\x00\x00"},
	{"thrift", dissect.ToServer, "\x00\x00\x00\x11\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00\x00"},
	{"nfs", dissect.ToServer, "\x80\x00\x00\x28\x12\x34\x56\x78\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa3\x00\x00\x00\x03"},
	{"tds", dissect.ToServer, "\x12\x01\x00\x2f\x00\x00\x01\x00\x00\x00\x1a\x00\x06\x01\x00\x20"},
	{"smtp", dissect.ToClient, "220 mail.example ESMTP Postfix\r\n250-mail.example\r\n250 8BITMIME\r\n"},
	{"smtp mail", dissect.ToServer, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"},
	{"pop3", dissect.ToClient, "+OK POP3 ready\r\n"},
	{"pop3 error", dissect.ToClient, "-ERR unknown command\r\n"},
	{"imap", dissect.ToServer, "a1 LOGIN user pass\r\na2 SELECT INBOX\r\n"},
	{"ftp", dissect.ToClient, "220 FTP ready\r\n331 Password required\r\n"},
	{"ssh", dissect.ToServer, "SSH-2.0-OpenSSH_9.2p1\r\n"},
	{"memcached", dissect.ToServer, "get key\r\n"},
	{"memcached value", dissect.ToClient, "VALUE key 0 5\r\nhello\r\nEND\r\n"},
	{"nats", dissect.ToClient, "INFO {\"server_id\":\"a\"}\r\n"},
	{"nats +OK", dissect.ToClient, "+OK\r\n"},
	{"rtsp", dissect.ToServer, "OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n"},
	{"irc", dissect.ToClient, ":irc.example.org 001 nick :Welcome\r\n"},
	{"gdb", dissect.ToClient, "+$OK#9a"},
	{"websocket", dissect.ToServer, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
	{"bgp", dissect.ToServer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x1d\x01\x04\xfd\xe8\x00\xb4\x0a\x00\x00\x01\x00"},
	{"zookeeper", dissect.ToServer, "\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x75\x30"},
}

// TestForeignMessagesAreNotClaimed passes messages to the Detect of every other protocol, from
// both sides, truncated at every length.
func TestForeignMessagesAreNotClaimed(t *testing.T) {
	for _, m := range foreign {
		for _, p := range Protocols(nil) {
			if p.Detect == nil || p.Transports[0] != dissect.TCP || strings.HasPrefix(m.name, p.Name) {
				continue
			}
			for n := range len(m.data) + 1 {
				for _, dir := range []dissect.Dir{m.dir, m.dir.Other()} {
					if v := p.Detect(dir, []byte(m.data[:n])); v >= dissect.Likely {
						t.Errorf("%s claims the first %d bytes of %s %s", p.Name, n, m.name, dir)
					}
				}
			}
		}
	}
}

// TestNoOtherProtocolIsClaimed passes what each side of the recorded conversations sent to the
// Detect of every other protocol, at every segment and truncated at every length.
func TestNoOtherProtocolIsClaimed(t *testing.T) {
	for file, protocol := range samples {
		for _, k := range talks(t, file) {
			for _, p := range Protocols(nil) {
				if p.Detect == nil || p.Name == protocol || slices.Contains(p.Inside, protocol) || p.Transports[0] != dissect.TCP && p.Name != "dns" {
					continue
				}
				for i, c := range k.inClear(protocol) {
					if own(protocol, c.Dir, c.Data) {
						continue
					}
					for n := 0; n <= min(len(c.Data), 600); n += 1 + n/16*nightly.Of(12, 0) { // the first 16 lengths, then some
						for _, dir := range []dissect.Dir{dissect.ToServer, dissect.ToClient} {
							if v := p.Detect(dir, c.Data[:n]); v >= dissect.Likely {
								t.Fatalf("%s claims the first %d bytes of segment %d of %s %s: %.60q", p.Name, n, i, k.name, dir, c.Data)
							}
						}
					}
				}
			}
		}
	}
}

// TestNoOtherDatagramIsClaimed passes the datagrams of all recordings to the Detect of every other
// protocol of datagrams.
func TestNoOtherDatagramIsClaimed(t *testing.T) {
	for file, protocol := range samples {
		for _, k := range datagrams(t, file) {
			for _, p := range Protocols(nil) {
				if p.Detect == nil || p.Name == protocol || !slices.Contains(p.Transports, dissect.UDP) || slices.Contains(p.Ports, k.port) {
					continue
				}
				for i, c := range k.chunks {
					for n := range min(len(c.Data), 600) + 1 {
						for _, dir := range []dissect.Dir{dissect.ToServer, dissect.ToClient} {
							if v := p.Detect(dir, c.Data[:n]); v >= dissect.Likely {
								t.Fatalf("%s claims the first %d bytes of datagram %d of %s %s: %.60q", p.Name, n, i, k.name, dir, c.Data)
							}
						}
					}
				}
			}
		}
	}
}

// own reports whether a segment belongs to a protocol other than that of its recording: the
// request that upgrades to HTTP/2, or TLS after an unencrypted request for it.
func own(protocol string, dir dissect.Dir, data []byte) bool {
	for _, p := range Protocols(nil) {
		if p.Name != protocol && p.Detect != nil && p.Transports[0] == dissect.TCP && p.Detect(dir, data) == dissect.Yes {
			return true
		}
	}
	return false
}

// TestNoiseIsNotClaimed passes random bytes to every Detect, and bytes that are mostly zero, as
// in binary protocols.
func TestNoiseIsNotClaimed(t *testing.T) {
	const tries = 40_000
	for _, p := range Protocols(nil) {
		if p.Detect == nil || p.Transports[0] == dissect.ICMP || p.Transports[0] == dissect.SCTP { // nothing else is on them
			continue
		}
		rnd := rand.New(rand.NewSource(1)) // the same for each, whoever is in the list
		claimed := 0
		for i := range tries {
			b := make([]byte, rnd.Intn(120))
			rnd.Read(b)
			if i%2 == 1 {
				for j := range b {
					if rnd.Intn(3) > 0 {
						b[j] = byte(rnd.Intn(4)) * byte(rnd.Intn(2))
					}
				}
			}
			for _, dir := range []dissect.Dir{dissect.ToServer, dissect.ToClient} {
				if p.Detect(dir, b) >= dissect.Likely {
					claimed++
				}
			}
		}
		if claimed > tries/4000 {
			t.Errorf("%s claims %d of %d random heads", p.Name, claimed, 2*tries)
		}
	}
}
