package openvpn

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	cid   = "CLIENT.1"
	sid   = "SERVER.2"
	time1 = "\x00\x00\x00\x01\x66\x00\x00\x00" // packet id and time
	ask   = "\x38" + cid + "\x00\x00\x00\x00\x00"
	reply = "\x40" + sid + "\x01\x00\x00\x00\x00" + cid + "\x00\x00\x00\x00"
	acked = "\x28" + cid + "\x01\x00\x00\x00\x00" + sid
	data  = "\x48\x00\x00\x00\x00\x00\x00\x01sealed"
)

// hello is a control packet of the client with a part of a TLS record.
func hello(id byte, part string) string {
	return "\x20" + cid + "\x00\x00\x00\x00" + string([]byte{id}) + part
}

// alert is a TLS record: the server refuses.
const alert = "\x15\x03\x03\x00\x02\x02\x28"

// clientHello is a minimal one.
var clientHello = func() string {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\xc0\x2f\x01\x00"
	return "\x16\x03\x01\x00" + string([]byte{byte(4 + len(body))}) + "\x01\x00\x00" + string([]byte{byte(len(body))}) + body
}()

// framed is a packet in a stream.
func framed(c dissecttest.Chunk) dissecttest.Chunk {
	c.Data = append([]byte{byte(len(c.Data) >> 8), byte(len(c.Data))}, c.Data...)
	return c
}

func sign(op, id, n string) string { return op + id + strings.Repeat("h", len(n)) + time1 }

var (
	needs     = []*dissect.Protocol{tls.Protocol(nil)}
	plainTalk = chunks{client(ask), server(reply), client(acked), client(hello(1, clientHello[:20])), client(hello(2, clientHello[20:])),
		server("\x20" + sid + "\x01\x00\x00\x00\x01" + cid + "\x00\x00\x00\x01" + alert), client(data), client(data), server(data)}
)

var samples = []dissecttest.Sample{
	{Name: "no protection", Rows: 2, Needs: needs, Chunks: plainTalk},
	{Name: "tls-crypt", Rows: 1, Chunks: chunks{client("\x38" + cid + time1 + strings.Repeat("c", 32+5)), server("\x40" + sid + time1 + strings.Repeat("c", 32+17)), client("\x20" + cid + "\x00\x00\x00\x02\x66\x00\x00\x00" + strings.Repeat("c", 90))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

const ids = " openvpn_client_session=434c49454e542e31 openvpn_server_session=5345525645522e32"

func TestRows(t *testing.T) {
	columns := []string{"transport", "openvpn_client_session", "openvpn_server_session", "openvpn_protection", "openvpn_renegotiations", "openvpn_control_lost", "openvpn_client_data_packets", "openvpn_client_data_bytes", "openvpn_server_data_packets", "openvpn_server_data_bytes"}
	const session = "CONNECT 434c49454e542e31 → 5345525645522e32"
	const counted = " openvpn_client_data_packets=2 openvpn_client_data_bytes=28 openvpn_server_data_packets=1 openvpn_server_data_bytes=14"
	const shaken = "TLS → alert handshake_failure outcome=client_error transport=udp"
	swapped := append(chunks{}, plainTalk...)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "no protection", Needs: needs, Chunks: plainTalk, Want: []string{shaken, session + " transport=udp" + ids + " openvpn_protection=none" + counted}},
		{Name: "packets in another order", Needs: needs, Chunks: swapped, Want: []string{shaken, session + " transport=udp" + ids + " openvpn_protection=none" + counted}},
		{Name: "a packet that is repeated", Needs: needs, Chunks: append(chunks{client(ask)}, plainTalk...), Want: []string{shaken, session + " transport=udp" + ids + " openvpn_protection=none" + counted}},
		{Name: "a packet that is missing", Needs: needs, Chunks: chunks{client(ask), server(reply), client(hello(2, clientHello))}, Anomalies: 1, Want: []string{"CONNECT 434c49454e542e31 → gap error=gap outcome=unread transport=udp" + ids + " openvpn_protection=none openvpn_control_lost=true"}},
		{Name: "tls-auth with SHA-1", Chunks: chunks{client(sign("\x38", cid, strings.Repeat("h", 20)) + ask[9:]), server(sign("\x40", sid, strings.Repeat("h", 20)) + reply[9:])}, Want: []string{
			session + ", tls-auth transport=udp" + ids + " openvpn_protection=tls-auth"}},
		{Name: "tls-crypt", Chunks: samples[1].Chunks, Want: []string{session + ", tls-crypt transport=udp" + ids + " openvpn_protection=tls-crypt"}},
		{Name: "tls-crypt-v2", Chunks: chunks{client("\x50" + cid + time1 + strings.Repeat("c", 37+288) + "\x01\x22"), server("\x40" + sid + time1 + strings.Repeat("c", 32+17))}, Want: []string{
			session + ", tls-crypt-v2 transport=udp" + ids + " openvpn_protection=tls-crypt-v2"}},
		{Name: "new keys", Chunks: chunks{client(ask), server(reply), client("\x19" + cid + "\x00\x00\x00\x00\x00"), server("\x19" + sid + "\x01\x00\x00\x00\x00" + cid + "\x00\x00\x00\x00")}, Want: []string{
			session + " transport=udp" + ids + " openvpn_protection=none openvpn_renegotiations=1"}},
		{Name: "nobody answers", Chunks: chunks{client(ask), client(ask)}, Want: []string{"CONNECT 434c49454e542e31 → no_response error=no_response outcome=no_answer transport=udp openvpn_client_session=434c49454e542e31 openvpn_protection=none"}},
		{Name: "the client starts again", Chunks: chunks{client(ask), server(reply), client(strings.Replace(ask, cid, "CLIENT.3", 1))}, Want: []string{
			session + " transport=udp" + ids + " openvpn_protection=none",
			"CONNECT 434c49454e542e33 → no_response error=no_response outcome=no_answer transport=udp openvpn_client_session=434c49454e542e33 openvpn_protection=none"}},
	}...)
}

// TestStream plays a conversation over TCP, in any segments, and with a gap.
func TestStream(t *testing.T) {
	var list chunks
	for _, c := range plainTalk {
		list = append(list, framed(c))
	}
	p := Protocol()
	p.Transports = []dissect.Transport{dissect.TCP}
	dissecttest.Run(t, p, dissecttest.Sample{Name: "stream", Rows: 2, Needs: needs, Chunks: list})
	o := dissecttest.OptionsOf(p)
	o.End = dissect.EndFin
	r := dissecttest.Play(t, o, list[0], list[1], dissecttest.Chunk{Dir: dissect.ToServer, Gap: 24}, list[3])
	if got := dissecttest.Lines(r); got != "0 CONNECT 434c49454e542e31 → gap error=gap\n" {
		t.Errorf("%q", got)
	}
}

// TestWaitingPackets sends more packets after a missing one than are kept.
func TestWaitingPackets(t *testing.T) {
	list := chunks{client(ask), server(reply)}
	for i := range maxPending + 1 {
		list = append(list, client(hello(byte(i+2), "x")))
	}
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), list...)
	if row := r.Rows()[0].(*Row); !row.Lost || dissecttest.Kinds(r) != "control_lost" || r.Held != 0 {
		t.Errorf("lost %v, anomalies %s, %d bytes held", row.Lost, dissecttest.Kinds(r), r.Held)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a reset", dissect.ToServer, ask, dissect.Likely},
		{"a reset in a stream", dissect.ToServer, "\x00\x0e" + ask, dissect.Likely},
		{"the beginning of one", dissect.ToServer, "\x00\x0e" + ask[:5], dissect.More},
		{"a reset that acknowledges something", dissect.ToServer, ask[:9] + "\x01\x00\x00\x00\x00", dissect.No},
		{"a reset that is longer", dissect.ToServer, ask + "\x00", dissect.No},
		{"a reset without a session", dissect.ToServer, "\x38" + strings.Repeat("\x00", 13), dissect.No},
		{"the reset of a server", dissect.ToClient, reply, dissect.Yes},
		{"the reset of a server, sent by the client", dissect.ToServer, reply, dissect.No},
		{"tls-auth with SHA-256", dissect.ToServer, sign("\x38", cid, strings.Repeat("h", 32)) + ask[9:], dissect.Likely},
		{"tls-auth with another size", dissect.ToServer, sign("\x38", cid, strings.Repeat("h", 33)) + ask[9:], dissect.No},
		{"tls-crypt", dissect.ToServer, string(samples[1].Chunks[0].Data), dissect.Likely},
		{"tls-crypt without a plausible time", dissect.ToServer, "\x38" + cid + "\x00\x00\x00\x01\x00\x00\x00\x00" + strings.Repeat("c", 37), dissect.No},
		{"data", dissect.ToServer, data, dissect.No},
		{"a message of SMB", dissect.ToServer, "\x00\x00\x00\x44\xfeSMB\x40\x00\x00\x00\x00\x00\x00\x00", dissect.No},
	})
}
