package stun

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// msg is a message: its type, the number of its transaction, and its attributes.
func msg(kind uint16, id byte, attrs ...string) string {
	body := strings.Join(attrs, "")
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = binary.BigEndian.AppendUint32(b, cookie)
	return string(b) + strings.Repeat("\x00", 11) + string([]byte{id}) + body
}

// old is a message of RFC 3489.
func old(kind uint16, id byte, attrs ...string) string {
	m := []byte(msg(kind, id, attrs...))
	copy(m[4:], strings.Repeat("a", 15))
	return string(m)
}

const oldAddress = "\x00\x01\x80\x55\xc0\x00\x02\x01"

// attr is an attribute with its padding.
func attr(kind uint16, value string) string {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return string(b) + value + strings.Repeat("\x00", (4-len(value)&3)&3)
}

func number(kind uint16, n uint32) string {
	return attr(kind, string(binary.BigEndian.AppendUint32(nil, n)))
}

// bare is an attribute without padding.
func bare(kind uint16, value string) string {
	return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, kind), uint16(len(value)))) + value
}

// teams is a message of Microsoft's form of TURN.
func teams(kind uint16, id byte, attrs string) string {
	return msg(kind, id, number(attrMagicCookie, msCookie), attrs)
}

// mapped is 192.0.2.1:32853 as in RFC 5769 section 2.2.
const mapped = "\x00\x01\xa1\x47\xe1\x12\xa6\x43"

// peer is 192.0.2.1:7.
const peer = "\x00\x01\x21\x15\xe1\x12\xa6\x43"

// finger adds a fingerprint to a message.
func finger(s string) string {
	b := []byte(s)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headSize+8))
	return string(b) + number(attrFingerprint, crc32.ChecksumIEEE(b)^0x5354554E)
}

// Messages of a client with its TURN server.
var (
	ask      = msg(0x0003, 1, number(attrTransport, 17<<24))
	refuse   = msg(0x0113, 1, attr(attrError, "\x00\x00\x04\x01Unauthorized"), attr(attrRealm, "shop.example"), attr(0x0015, "nonce"))
	allocate = msg(0x0003, 2, number(attrTransport, 17<<24), attr(attrUsername, "ann"), attr(attrRealm, "shop.example"), attr(0x0015, "nonce"), attr(attrIntegrity, strings.Repeat("m", 20)))
	relayed  = msg(0x0103, 2, attr(attrXorRelayed, mapped), attr(attrXorMapped, peer), number(attrLifetime, 600), attr(attrSoftware, "coturn"), attr(attrIntegrity, strings.Repeat("m", 20)))
	bind     = msg(0x0009, 3, number(attrChannel, 0x4000<<16), attr(attrXorPeer, peer), attr(attrUsername, "ann"), attr(attrIntegrity, strings.Repeat("m", 20)))
	bound    = msg(0x0109, 3)
	data     = "\x40\x00\x00\x05hello\x00\x00\x00"
)

var samples = []dissecttest.Sample{
	{Name: "an address", Rows: 2, Chunks: chunks{client(finger(msg(0x0001, 1))), server(msg(0x0101, 1, attr(attrXorMapped, mapped))), client(msg(0x0001, 2)), server(msg(0x0101, 2, attr(attrXorMapped, mapped)))}},
	{Name: "a relay", Rows: 5, Chunks: chunks{client(ask), server(refuse), client(allocate), server(relayed), client(bind), server(bound), client(data), server(data),
		client(msg(0x0016, 4, attr(attrXorPeer, peer), attr(attrData, "12345")))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

// TestStream runs the suite over TCP.
func TestStream(t *testing.T) {
	p := Protocol()
	p.Transports = p.Transports[1:]
	dissecttest.Run(t, p, samples...)
}

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"attempt", "auth_kind", "stun_indication", "stun_mapped", "stun_relayed", "stun_peers", "stun_user", "stun_realm", "stun_client_software", "stun_server_software", "stun_requested_transport",
		"stun_lifetime_s", "stun_ice_role", "stun_ice_priority", "stun_ice_nominated", "stun_channel", "stun_data_bytes", "stun_channel_messages"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "an address", Chunks: samples[0].Chunks[:2], Want: []string{"Binding → 192.0.2.1:32853 stun_mapped=192.0.2.1:32853"}},
		{Name: "a relay", Chunks: samples[1].Chunks, Want: []string{
			"Allocate → 401 Unauthorized stun_realm=shop.example stun_requested_transport=udp",
			"Allocate → 192.0.2.1:32853 auth_kind=long_term stun_mapped=192.0.2.1:7 stun_relayed=192.0.2.1:32853 stun_user=ann stun_realm=shop.example stun_server_software=coturn stun_requested_transport=udp stun_lifetime_s=600",
			"ChannelBind 192.0.2.1:7 → ok auth_kind=short_term stun_peers=[192.0.2.1:7] stun_user=ann stun_channel=16384",
			"Send 192.0.2.1:7 → 5 bytes stun_indication=true stun_peers=[192.0.2.1:7] stun_data_bytes=5",
			"ChannelData 0x4000 192.0.2.1:7 → 2 messages, 10 bytes stun_peers=[192.0.2.1:7] stun_channel=16384 stun_data_bytes=10 stun_channel_messages=2"}},
		{Name: "both sides check the same pair of addresses with one transaction id", Chunks: chunks{
			client(msg(0x0001, 7, attr(attrUsername, "b:a"), number(attrPriority, 1845501695), attr(attrControlling, "12345678"), attr(attrNominate, ""), attr(attrIntegrity2, strings.Repeat("m", 32)))),
			server(msg(0x0001, 7, attr(attrUsername, "a:b"), attr(attrControlled, "12345678"))),
			server(msg(0x0101, 7, attr(attrXorMapped, mapped))), client(msg(0x0111, 7, attr(attrError, "\x00\x00\x04\x57Role Conflict")))}, Want: []string{
			"Binding nominated → 192.0.2.1:32853 auth_kind=short_term stun_mapped=192.0.2.1:32853 stun_user=b:a stun_ice_role=controlling stun_ice_priority=1845501695 stun_ice_nominated=true",
			"Binding → 487 Role Conflict outcome=client_error stun_user=a:b stun_ice_role=controlled"}},
		{Name: "a request that is sent again", Chunks: chunks{client(msg(0x0001, 1)), client(msg(0x0001, 1)), server(msg(0x0101, 1, attr(attrXorMapped, mapped)))}, Want: []string{
			"Binding → no_response error=no_response outcome=no_answer", "Binding → 192.0.2.1:32853 attempt=2 stun_mapped=192.0.2.1:32853"}},
		{Name: "a wrong password", Chunks: chunks{client(allocate), server(msg(0x0113, 2, attr(attrError, "\x00\x00\x04\x01Unauthorized")))}, Want: []string{
			"Allocate → 401 Unauthorized outcome=refused auth_kind=long_term stun_user=ann stun_realm=shop.example stun_requested_transport=udp"}},
		{Name: "a response without its request", Chunks: chunks{server(msg(0x0101, 1, attr(attrMapped, "\x00\x01\x80\x55\xc0\x00\x02\x01")))}, Want: []string{
			"Binding → 192.0.2.1:32853 error=no_request outcome=cut stun_mapped=192.0.2.1:32853"}},
		{Name: "Microsoft's form", Chunks: chunks{client(teams(0x0003, 1, "")), server(teams(0x0113, 1, bare(attrError, "\x00\x00\x04\x01No login"))),
			client(teams(0x0003, 2, bare(attrUsername, "\x01\x02token"))), server(teams(0x0103, 2, bare(attrMapped, "\x00\x01\x80\x55\xc0\x00\x02\x01"))),
			client(teams(0x0004, 3, bare(attrData, "hello"))), server(teams(0x0115, 4, bare(attrData, "bye"))), client(teams(0x0006, 5, "")), server(teams(0x0106, 5, ""))}, Want: []string{
			"Allocate → 401 No login", "Allocate → 192.0.2.1:32853 stun_mapped=192.0.2.1:32853",
			"Send → 5 bytes stun_indication=true stun_data_bytes=5", "Data → 3 bytes stun_indication=true stun_data_bytes=3", "SetActiveDestination → ok"}},
		{Name: "an address of IPv6", Chunks: chunks{client(msg(0x0001, 0)), server(msg(0x0101, 0, attr(attrXorMapped, "\x00\x02\xa1\x47\x01\x13\xa9\xfa\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")))}, Want: []string{
			"Binding → [2001:db8::1]:32853 stun_mapped=[2001:db8::1]:32853"}},
	}...)
}

// TestWithoutCookie reads messages of RFC 3489.
func TestWithoutCookie(t *testing.T) {
	dissecttest.Converse(t, Protocol(), []string{"stun_transaction_id", "stun_mapped"}, []dissecttest.Conversation{
		{Name: "RFC 3489", Chunks: chunks{client(old(0x0001, 1, number(attrChangeRequest, 0))), client(old(0x0001, 2, number(attrChangeRequest, 6))), server(old(0x0101, 1, attr(attrMapped, oldAddress), attr(0x0005, oldAddress))),
			server(old(0x0111, 2, attr(attrError, "\x00\x00\x04\x14Unknown attribute   ")))}, Want: []string{
			"Binding → 192.0.2.1:32853 stun_transaction_id=61616161616161616161616161616101 stun_mapped=192.0.2.1:32853",
			"Binding → 420 Unknown attribute outcome=client_error stun_transaction_id=61616161616161616161616161616102"}},
	}...)
}

// TestNoSecret looks for what proves that a client knows its password.
func TestNoSecret(t *testing.T) {
	dissecttest.NoSecret(t, Protocol(), samples[1], strings.Repeat("m", 20))
	dissecttest.NoSecret(t, Protocol(), samples[1], "nonce")
}

// TestFingerprint damages a message that has one.
func TestFingerprint(t *testing.T) {
	s := []byte(finger(msg(0x0001, 1)))
	for _, c := range []struct {
		at    int
		kinds string
	}{{-1, ""}, {19, "fingerprint"}} {
		b := append([]byte(nil), s...)
		if c.at >= 0 {
			b[c.at] ^= 1
		}
		if r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(string(b))); dissecttest.Kinds(r) != c.kinds {
			t.Errorf("byte %d: anomalies %q", c.at, dissecttest.Kinds(r))
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, msg(0x0001, 1), dissect.Yes},
		{"a response", dissect.ToClient, relayed, dissect.Yes},
		{"a request by the other side", dissect.ToClient, msg(0x0001, 1), dissect.Likely},
		{"a response by the other side", dissect.ToServer, relayed, dissect.Likely},
		{"the beginning of a request", dissect.ToServer, allocate[:30], dissect.More},
		{"a request without the cookie", dissect.ToServer, "\x00\x01\x00\x00" + strings.Repeat("x", 16), dissect.No},
		{"a request of RFC 3489", dissect.ToServer, old(0x0001, 1, number(attrChangeRequest, 2)), dissect.Likely},
		{"a response of RFC 3489", dissect.ToClient, old(0x0101, 1, attr(attrMapped, oldAddress)), dissect.Likely},
		{"its beginning", dissect.ToClient, old(0x0101, 1, attr(attrMapped, oldAddress))[:30], dissect.No},
		{"bytes after it", dissect.ToClient, old(0x0101, 1, attr(attrMapped, oldAddress)) + "x", dissect.No},
		{"an indication of RFC 3489", dissect.ToClient, old(0x0011, 1, number(attrChangeRequest, 2)), dissect.No},
		{"other bits of CHANGE-REQUEST", dissect.ToServer, old(0x0001, 1, number(attrChangeRequest, 1)), dissect.No},
		{"an unknown attribute of RFC 3489", dissect.ToServer, old(0x0001, 1, number(attrChangeRequest, 2), number(0x0024, 2)), dissect.No},
		{"a response without its address", dissect.ToClient, old(0x0101, 1, attr(0x0004, oldAddress)), dissect.No},
		{"an address of another size", dissect.ToClient, old(0x0101, 1, attr(attrMapped, oldAddress+"abcd")), dissect.No},
		{"an address of another family", dissect.ToClient, old(0x0101, 1, attr(attrMapped, "\x00\x03"+oldAddress[2:])), dissect.No},
		{"an error of no class", dissect.ToClient, old(0x0111, 1, attr(attrError, "\x00\x00\x00\x01")), dissect.No},
		{"an attribute that is longer than the message", dissect.ToServer, msg(0x0001, 1, "\x00\x06\x00\x05abcd"), dissect.No},
		{"a message of a channel", dissect.ToServer, data, dissect.No},
		{"a record of DTLS", dissect.ToServer, "\x16\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01x", dissect.No},
		{"a packet of RTP", dissect.ToServer, "\x80\x00\x00\x01" + strings.Repeat("x", 20), dissect.No},
	})
}
