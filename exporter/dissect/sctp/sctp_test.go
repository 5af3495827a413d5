package sctp

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/diameter"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

func u32(n ...uint32) (s string) {
	for _, x := range n {
		s += string(binary.BigEndian.AppendUint32(nil, x))
	}
	return s
}

// with is a packet with a verification tag.
func with(tag uint32, chunk ...string) string {
	b := []byte(string(binary.BigEndian.AppendUint32(nil, 5000<<16|3868)) + u32(tag, 0) + strings.Join(chunk, ""))
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, castagnoli))
	return string(b)
}

func part(kind, flags byte, value string) string {
	n := 4 + len(value)
	return string([]byte{kind, flags, byte(n >> 8), byte(n)}) + value + strings.Repeat("\x00", -n&3)
}

const ctag, stag = 0x11111111, 0x22222222

var cfirst, sfirst uint32 = 0xfffffffe, 100

func toServer(chunk ...string) dissecttest.Chunk { return dissecttest.Client(with(stag, chunk...)) }
func toClient(chunk ...string) dissecttest.Chunk { return dissecttest.Server(with(ctag, chunk...)) }

func initOf(kind byte, tag, first uint32, more string) string {
	return part(kind, 0, u32(tag, 65536, 10<<16|20, first)+more)
}

func sends(flags byte, tsn uint32, text string) string {
	return part(chunkData, flags, u32(tsn, 0, 46)+text)
}

func piece(flags byte, tsn, id, number uint32, text string) string {
	return part(chunkIData, flags, u32(tsn, 1<<16, id, number)+text)
}

func acks(tsn uint32) string { return part(chunkSack, 0, u32(tsn, 65536, 0)) }

// watchdog is a Device-Watchdog-Request of Diameter, or its answer.
func watchdog(request bool, id uint32) string {
	command, more := uint32(280), u32(268, 0x4000000c, 2001)
	if request {
		command, more = 0x80000000|command, ""
	}
	body := u32(264, 0x40000009) + "a\x00\x00\x00" + u32(296, 0x40000009) + "b\x00\x00\x00" + more
	return u32(1<<24|uint32(20+len(body)), command, 0, id, id) + body
}

var (
	begin = chunks{dissecttest.Client(with(0, initOf(chunkInit, ctag, cfirst, "\x00\x05\x00\x08\x0a\x00\x00\x01"))),
		toClient(initOf(chunkInitAck, stag, sfirst, "")), toServer(part(chunkCookieEcho, 0, "cookie!!")), toClient(part(chunkCookieAck, 0, ""))}
	finish = chunks{toServer(part(chunkShutdown, 0, u32(sfirst))), toClient(part(chunkShutdownAck, 0, "")), toServer(part(chunkShutdownComplete, 0, ""))}
)

func session(more ...dissecttest.Chunk) chunks { return append(begin[:4:4], more...) }

func whole(more ...dissecttest.Chunk) chunks { return append(session(more...), finish...) }

var samples = []dissecttest.Sample{
	{Name: "an association", Rows: 2, Chunks: whole(toServer(sends(3, cfirst, "hello")), toClient(acks(cfirst), sends(3, sfirst, "world")), toServer(acks(sfirst)))},
	{Name: "refused", Rows: 1, Chunks: chunks{begin[0], toClient(part(chunkAbort, 0, "\x00\x04\x00\x04"))}},
	{Name: "pieces", Rows: 2, Chunks: whole(toServer(sends(2, cfirst, "one "), sends(0, cfirst+1, "two "), sends(1, cfirst+2, "three")), toServer(piece(2, 1, 0, 46, "a"), piece(3, 2, 1, 46, "between"), piece(1, 3, 0, 1, "b")))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"sctp_client_streams", "sctp_client_addresses", "sctp_payloads", "sctp_client_messages", "sctp_server_messages", "sctp_client_message_bytes", "sctp_retransmissions", "sctp_lost_chunks",
		"sctp_abandoned_chunks", "sctp_midstream", "sctp_close", "sctp_close_by"}
	const set = " sctp_client_streams=10 sctp_client_addresses=[10.0.0.1]"
	const shut = " sctp_close=shutdown sctp_close_by=client"
	one := func(end string) string {
		return "SCTP diameter, 1 message → shutdown" + set + " sctp_payloads=[diameter] sctp_client_messages=1" + end
	}
	payload := func(text string, n string) string {
		return `sctp payload: "` + text + `", ` + n + " bytes sent, 0 received outcome=unread"
	}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "what comes twice counts once", Chunks: whole(toServer(sends(3, cfirst, "hello")), toServer(sends(3, cfirst, "hello"))), Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5 sctp_retransmissions=1" + shut)}},
		{Name: "other bytes under the same number", Chunks: whole(toServer(sends(3, cfirst, "hello")), toServer(sends(3, cfirst, "HELLO"))), Anomalies: 1, Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5 sctp_retransmissions=1" + shut)}},
		{Name: "a foreign tag", Chunks: whole(dissecttest.Client(with(7, sends(3, cfirst, "forged"))), toServer(sends(3, cfirst, "hello"))), Anomalies: 1, Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5" + shut)}},
		{Name: "a foreign tag ends nothing", Chunks: whole(dissecttest.Client(with(7, part(chunkAbort, 0, ""))), toServer(sends(3, cfirst, "hello"))), Anomalies: 1, Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5" + shut)}},
		{Name: "a wrong checksum", Chunks: whole(dissecttest.Client(strings.Replace(with(stag, sends(3, cfirst, "hello")), "hello", "jello", 1)), toServer(sends(3, cfirst, "hello"))), Anomalies: 1, Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5" + shut)}},
		{Name: "a forged INIT ends nothing", Chunks: whole(dissecttest.Client(with(0, initOf(chunkInit, 9, 1, ""))), toServer(sends(3, cfirst, "hello"))), Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5" + shut), "SCTP, 0 messages → no_response error=no_response outcome=no_answer sctp_client_streams=10"}},
		{Name: "a restart", Chunks: whole(toServer(sends(3, cfirst, "hello")), dissecttest.Client(with(0, initOf(chunkInit, 9, 50, ""))), dissecttest.Server(with(9, initOf(chunkInitAck, 10, 60, ""))), dissecttest.Client(with(10, part(chunkCookieEcho, 0, "!"))),
			dissecttest.Server(with(9, part(chunkCookieAck, 0, ""))), dissecttest.Client(with(10, sends(3, 50, "again"))), dissecttest.Server(with(9, part(chunkAbort, 0, "\x00\x0c\x00\x07bye\x00"))))[:11], Want: []string{
			`sctp payload: "hello", 5 bytes sent, 0 received error=cut outcome=unread`, strings.Replace(one(" sctp_client_message_bytes=5 sctp_close=restart sctp_close_by=client"), "→ shutdown", "→ restart", 1), `sctp payload: "again", 5 bytes sent, 0 received error=reset outcome=unread`,
			"SCTP diameter, 1 message → user-initiated abort: bye error=reset outcome=no_answer sctp_client_streams=10 sctp_payloads=[diameter] sctp_client_messages=1 sctp_client_message_bytes=5 sctp_close=abort sctp_close_by=server"}},
		{Name: "chunks in another order", Chunks: whole(toServer(sends(1, cfirst+1, "two")), toServer(sends(2, cfirst, "one "))), Want: []string{payload("one…", "7"), one(" sctp_client_message_bytes=7" + shut)}},
		{Name: "a chunk that was not captured", Chunks: whole(toServer(sends(3, cfirst, "hello")), toServer(sends(3, 0, "later"))), Anomalies: 1, Want: []string{`sctp payload: "hellolater", 10 bytes sent, 0 received error=gap outcome=unread`,
			"SCTP diameter, 2 messages → shutdown error=gap outcome=unread" + set + " sctp_payloads=[diameter] sctp_client_messages=2 sctp_client_message_bytes=10 sctp_lost_chunks=1" + shut}},
		{Name: "a chunk that was not captured, but acknowledged before the answer", Needs: []*dissect.Protocol{diameter.Protocol()}, Anomalies: 1, Chunks: whole(toServer(sends(3, cfirst, watchdog(true, 1))), toClient(acks(cfirst), sends(3, sfirst, watchdog(false, 1))),
			toServer(acks(sfirst), sends(3, cfirst+2, watchdog(true, 3))), toClient(acks(cfirst+2), sends(3, sfirst+1, watchdog(false, 2)), sends(3, sfirst+2, watchdog(false, 3)))), Want: []string{
			"Device-Watchdog → DIAMETER_SUCCESS", "Device-Watchdog → DIAMETER_SUCCESS error=no_request outcome=cut", "Device-Watchdog → DIAMETER_SUCCESS",
			"SCTP diameter, 5 messages → shutdown error=gap outcome=unread" + set + " sctp_payloads=[diameter] sctp_client_messages=2 sctp_server_messages=3 sctp_client_message_bytes=88 sctp_lost_chunks=1" + shut}},
		{Name: "a chunk that its sender gave up", Chunks: whole(toServer(part(chunkForward, 0, u32(cfirst))), toServer(sends(3, cfirst+1, "hello"))), Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5 sctp_abandoned_chunks=1" + shut)}},
		{Name: "from its middle", Chunks: chunks{toServer(sends(3, 8, "hello")), toClient(acks(8))}, End: dissect.EndCapture, Want: []string{`sctp payload: "hello", 5 bytes sent, 0 received error=cut outcome=unread`,
			"SCTP diameter, 1 message → cut error=cut outcome=cut sctp_payloads=[diameter] sctp_client_messages=1 sctp_client_message_bytes=5 sctp_midstream=true"}},
		{Name: "interleaved messages", Chunks: samples[2].Chunks, Want: []string{payload("one…", "22"), "SCTP diameter, 3 messages → shutdown" + set + " sctp_payloads=[diameter] sctp_client_messages=3 sctp_client_message_bytes=22" + shut}},
		{Name: "an interleaved message without its beginning", Chunks: whole(toServer(piece(1, cfirst, 0, 1, "b")), toServer(piece(3, cfirst+1, 1, 46, "hello"))), Anomalies: 1, Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5" + shut)}},
		{Name: "no answer", Chunks: begin[:1], End: dissect.EndTimeout, Want: []string{"SCTP, 0 messages → timeout error=timeout outcome=no_answer" + set}},
		{Name: "refused", Chunks: samples[1].Chunks, Want: []string{"SCTP, 0 messages → out of resource outcome=refused" + set + " sctp_close=abort sctp_close_by=server"}},
		{Name: "far ahead", Chunks: whole(toServer(sends(3, 1<<20, "far")), toServer(sends(3, cfirst, "hello"))), Anomalies: 1, Want: []string{payload("hello", "5"), one(" sctp_client_message_bytes=5" + shut)}},
	}...)
}
