package wireguard

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

func message(kind byte, size int, indexes ...uint32) string {
	b := []byte{kind, 0, 0, 0}
	for _, i := range indexes {
		b = binary.LittleEndian.AppendUint32(b, i)
	}
	return string(b) + strings.Repeat("x", size-len(b))
}

func sealed(index uint32, counter byte, size int) string {
	b := binary.LittleEndian.AppendUint32([]byte{data, 0, 0, 0}, index)
	return string(b) + string([]byte{counter, 0, 0, 0, 0, 0, 0, 0}) + strings.Repeat("x", size-16)
}

var (
	begin  = message(initiation, initiationSize, 7)
	agree  = message(response, responseSize, 9, 7)
	demand = message(cookie, cookieSize, 7)
)

var samples = []dissecttest.Sample{
	{Name: "a session", Rows: 1, Chunks: chunks{client(begin), server(agree), client(sealed(9, 0, 32)), server(sealed(7, 0, 128)), client(sealed(9, 1, 96))}},
	{Name: "data alone", Rows: 1, Chunks: chunks{client(sealed(9, 1, 96)), client(sealed(9, 2, 96)), server(sealed(7, 4, 32)), client(sealed(9, 4, 96)), client(sealed(9, 5, 48))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"wireguard_initiator_index", "wireguard_responder_index", "wireguard_initiations", "wireguard_cookie", "wireguard_keepalives", "wireguard_client_data_packets", "wireguard_client_data_bytes", "wireguard_server_data_packets", "wireguard_server_data_bytes"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a session", Chunks: samples[0].Chunks, Want: []string{"HANDSHAKE → session, 3 data messages wireguard_initiator_index=7 wireguard_responder_index=9 wireguard_initiations=1 wireguard_keepalives=1 " +
			"wireguard_client_data_packets=2 wireguard_client_data_bytes=128 wireguard_server_data_packets=1 wireguard_server_data_bytes=128"}},
		{Name: "data of a full packet is not padded", Chunks: append(samples[0].Chunks[:2:2], client(sealed(9, 0, 1452))), Want: []string{
			"HANDSHAKE → session, 1 data message wireguard_initiator_index=7 wireguard_responder_index=9 wireguard_initiations=1 wireguard_client_data_packets=1 wireguard_client_data_bytes=1452"}},
		{Name: "the server begins the next one", Chunks: append(samples[0].Chunks[:2:2], server(message(initiation, initiationSize, 8)), client(message(response, responseSize, 10, 8)), client(sealed(8, 0, 32))), Want: []string{
			"HANDSHAKE → session, 0 data messages wireguard_initiator_index=7 wireguard_responder_index=9 wireguard_initiations=1",
			"HANDSHAKE → session, 1 data message wireguard_initiator_index=8 wireguard_responder_index=10 wireguard_initiations=1 wireguard_keepalives=1 wireguard_client_data_packets=1 wireguard_client_data_bytes=32"}},
		{Name: "a cookie", Chunks: chunks{client(begin), server(demand), client(begin), server(agree)}, Want: []string{
			"HANDSHAKE → session, 0 data messages wireguard_initiator_index=7 wireguard_responder_index=9 wireguard_initiations=2 wireguard_cookie=true"}},
		{Name: "nobody answers", Chunks: chunks{client(begin), client(message(initiation, initiationSize, 8))}, Want: []string{
			"HANDSHAKE → no_response error=no_response outcome=no_answer wireguard_initiator_index=8 wireguard_initiations=2"}},
		{Name: "a response without its initiation", Chunks: chunks{server(agree)}, Want: []string{
			"HANDSHAKE → session, 0 data messages error=no_request outcome=cut wireguard_initiator_index=7 wireguard_responder_index=9"}},
		{Name: "a session that began before the capture", Chunks: samples[1].Chunks, Want: []string{
			"DATA → 5 messages of a session whose handshake was not captured error=no_request outcome=cut wireguard_keepalives=1 wireguard_client_data_packets=4 wireguard_client_data_bytes=336 wireguard_server_data_packets=1 wireguard_server_data_bytes=32"}},
	}...)
}

// TestUnproven plays data that is not a session: too few messages, another index, a counter that goes back.
func TestUnproven(t *testing.T) {
	for _, list := range []chunks{
		samples[1].Chunks[:3],
		{client(sealed(9, 1, 96)), client(sealed(8, 2, 96)), client(sealed(7, 3, 96)), client(sealed(9, 4, 96))},
		{client(sealed(9, 1, 96)), client(sealed(9, 2, 97)), client(sealed(9, 3, 99)), client(sealed(9, 4, 98)), client(sealed(9, 5, 97))},
		{client(sealed(9, 5, 96)), client(sealed(9, 4, 96)), client(sealed(9, 3, 96)), client(sealed(9, 2, 96))},
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), list...)
		for _, row := range r.Rows() {
			if p := row.Base().Protocol; p != "udp" || len(r.Anomalies) > 0 {
				t.Errorf("%s: %s; %v", p, row.Base().Summary, r.Anomalies)
			}
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"an initiation", dissect.ToServer, begin, dissect.Likely},
		{"an initiation of another size", dissect.ToServer, begin + "x", dissect.No},
		{"a response", dissect.ToClient, agree, dissect.Likely},
		{"a response to nobody", dissect.ToClient, message(response, responseSize, 9, 0), dissect.No},
		{"reserved bytes", dissect.ToServer, "\x01\x00\x00\x01" + begin[4:], dissect.No},
		{"a cookie", dissect.ToClient, demand, dissect.No},
		{"data", dissect.ToClient, sealed(9, 0, 64), dissect.No},
	})
	dissecttest.Detect(t, detectLast, dissecttest.Heads{
		{"data", dissect.ToClient, sealed(9, 0, 64), dissect.Likely},
		{"data without padding", dissect.ToClient, sealed(9, 0, 65), dissect.No},
		{"data with a large counter", dissect.ToClient, message(data, 64, 9), dissect.No},
	})
}
