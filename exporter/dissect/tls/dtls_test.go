package tls

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	stdtls "crypto/tls"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
)

func playUDP(t testing.TB, end dissect.End, chunks ...dissecttest.Chunk) *dissecttest.Result {
	t.Helper()
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.UDP, ServerPort: 4433, Protocols: []*dissect.Protocol{Protocol(nil)}, End: end}, chunks...)
}

// dtls makes an unencrypted record or, with an epoch, an encrypted one.
func dtls(typ byte, epoch uint16, seq byte, body []byte) []byte {
	b := []byte{typ, 0xfe, 0xfd, byte(epoch >> 8), byte(epoch), 0, 0, 0, 0, 0, seq, 0, 0}
	binary.BigEndian.PutUint16(b[11:], uint16(len(body)))
	return append(b, body...)
}

func uint24(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }

// fragment is a piece of a handshake message.
func fragment(typ byte, number uint16, body []byte, from, to int) []byte {
	b := append([]byte{typ}, uint24(len(body))...)
	b = append(b, byte(number>>8), byte(number))
	b = append(append(b, uint24(from)...), uint24(to-from)...)
	return append(b, body[from:to]...)
}

func whole(typ byte, number uint16, body []byte) []byte {
	return fragment(typ, number, body, 0, len(body))
}

// dtlsTalk makes a DTLS 1.2 conversation from the messages of a TLS 1.2 one.
func dtlsTalk(t testing.TB) (chunks []dissecttest.Chunk, messages map[byte][]byte) {
	cc, sc := configs(t, stdtls.VersionTLS12)
	messages = map[byte][]byte{}
	for _, c := range mustTalk(t, cc, sc)[:3] {
		for b := c.Data; len(b) > headerBytes && b[0] == recordHandshake; {
			h := header(b)
			for m := b[headerBytes : headerBytes+h.size]; len(m) >= messageHeader && handshake.Message(m[0])[0] != 'm'; {
				n := messageSize(m)
				if n > len(m) {
					break
				}
				messages[m[0]] = m[messageHeader:n]
				m = m[n:]
			}
			b = b[headerBytes+h.size:]
		}
	}
	hello := func(cookie string) []byte {
		m := bytes.Clone(messages[handshake.TypeClientHello])
		m[0], m[1] = 0xfe, 0xfd
		at := 34 + 1 + int(m[34])
		return slices.Concat(m[:at], []byte{byte(len(cookie))}, []byte(cookie), m[at:])
	}
	server := bytes.Clone(messages[handshake.TypeServerHello])
	server[0], server[1] = 0xfe, 0xfd
	cert := messages[handshake.TypeCertificate]
	client := func(records ...[]byte) {
		chunks = append(chunks, dissecttest.Chunk{Dir: dissect.ToServer, Data: slices.Concat(records...)})
	}
	answer := func(records ...[]byte) {
		chunks = append(chunks, dissecttest.Chunk{Dir: dissect.ToClient, Data: slices.Concat(records...)})
	}
	sealed := bytes.Repeat([]byte{9}, 40)
	client(dtls(recordHandshake, 0, 0, whole(handshake.TypeClientHello, 0, hello(""))))
	answer(dtls(recordHandshake, 0, 0, whole(handshake.TypeHelloVerifyRequest, 0, []byte("\xfe\xff\x03abc"))))
	client(dtls(recordHandshake, 0, 1, whole(handshake.TypeClientHello, 1, hello("abc"))))
	answer(dtls(recordHandshake, 0, 1, whole(handshake.TypeServerHello, 1, server)), dtls(recordHandshake, 0, 2, fragment(handshake.TypeCertificate, 2, cert, 200, len(cert))))
	answer(dtls(recordHandshake, 0, 3, fragment(handshake.TypeCertificate, 2, cert, 0, 150)), dtls(recordHandshake, 0, 4, fragment(handshake.TypeCertificate, 2, cert, 100, 220)))
	answer(dtls(recordHandshake, 0, 4, fragment(handshake.TypeCertificate, 2, cert, 100, 220))) // again
	answer(dtls(recordHandshake, 0, 5, whole(handshake.TypeServerHelloDone, 3, nil)))
	client(dtls(recordHandshake, 0, 2, whole(handshake.TypeClientKeyExchange, 2, make([]byte, 33))), dtls(recordCCS, 0, 3, []byte{1}), dtls(recordHandshake, 1, 0, sealed))
	answer(dtls(recordCCS, 0, 6, []byte{1}), dtls(recordHandshake, 1, 0, sealed))
	client(dtls(recordData, 1, 1, sealed))
	return chunks, messages
}

func TestDTLS(t *testing.T) {
	chunks, _ := dtlsTalk(t)
	r := playUDP(t, dissect.EndTimeout, chunks...)
	list, details := rows(r)
	if len(list) != 1 || len(r.Anomalies) != 0 || r.Conn.RowBytes != r.Bytes || r.Held != 0 {
		t.Fatalf("%d rows, anomalies %v, %d of %d bytes, %d held", len(list), r.Anomalies, r.Conn.RowBytes, r.Bytes, r.Held)
	}
	row := list[0]
	want := []string{"client_hello", "hello_verify_request", "client_hello", "server_hello", "certificate", "server_hello_done", "client_key_exchange"}
	if !row.Complete || row.VersionName.V != "DTLS 1.2" || row.SNI.V != "a.example" || !row.HelloRetry || !slices.Equal(row.Messages, want) {
		t.Errorf("row %+v", row)
	}
	if row.CertState.V != "observed" || details[0].CertSubject.V != "CN=a.example,O=Example" || !strings.HasPrefix(row.JA4.V, "d") {
		t.Errorf("certificate %v of %v, JA4 %v", row.CertState, details[0].CertSubject, row.JA4)
	}
	if row.Transport != "udp" || len(row.Cites) != 1 || row.Cites[0].Last != 8 {
		t.Errorf("transport %s, cites %v, want all except the packet with data", row.Transport, row.Cites)
	}
}

// TestDTLSRetransmissions retransmits flights after the end: they make no other row, but a ClientHello
// with another random does.
func TestDTLSRetransmissions(t *testing.T) {
	chunks, _ := dtlsTalk(t)
	other, _ := dtlsTalk(t)
	again := slices.Concat(chunks, []dissecttest.Chunk{chunks[0], chunks[3], chunks[6], chunks[7], chunks[8]})
	if list, _ := rows(playUDP(t, dissect.EndTimeout, again...)); len(list) != 1 {
		t.Errorf("%d rows, want 1", len(list))
	}
	list, _ := rows(playUDP(t, dissect.EndTimeout, slices.Concat(chunks, other)...))
	if len(list) != 2 || !list[1].Complete {
		t.Errorf("rows %+v, want 2", list)
	}
}

func TestDTLSRefusals(t *testing.T) {
	chunks, _ := dtlsTalk(t)
	hello := chunks[0]
	for _, c := range []struct {
		name string
		data []byte
		kind string
	}{
		{"STUN on the same ports", append([]byte{0, 1, 0, 0}, make([]byte, 16)...), "malformed"},
		{"a record longer than its datagram", dtls(recordHandshake, 0, 1, make([]byte, 40))[:30], "malformed"},
		{"an invalid version", append([]byte{22, 7, 7}, make([]byte, 30)...), "malformed"},
		{"a piece beyond its message", dtls(recordHandshake, 0, 1, append([]byte{2, 0, 0, 4, 0, 0, 0, 0, 4, 0, 0, 4}, 1, 2, 3, 4)), "malformed"},
		{"a message that exceeds the limit", dtls(recordHandshake, 0, 1, append([]byte{11, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, 1, 2, 3, 4)), "limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := playUDP(t, dissect.EndTimeout, hello, dissecttest.Chunk{Dir: dissect.ToClient, Data: c.data})
			if len(r.Anomalies) != 1 || r.Anomalies[0].Kind != c.kind || r.Held != 0 {
				t.Errorf("anomalies %v, want one of kind %s", r.Anomalies, c.kind)
			}
		})
	}
}
