package cassandra

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

func u16(n int) string     { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func u32(n int) string     { return string(binary.BigEndian.AppendUint32(nil, uint32(int32(n)))) }
func str(s string) string  { return u16(len(s)) + s }
func long(s string) string { return u32(len(s)) + s }

func message(version, flags byte, stream int, opcode byte, body string) string {
	return string([]byte{version, flags}) + u16(stream) + string([]byte{opcode}) + u32(len(body)) + body
}

func ask(stream int, opcode byte, body string) string { return message(4, 0, stream, opcode, body) }
func say(stream int, opcode byte, body string) string {
	return message(4|answer, 0, stream, opcode, body)
}

// v5 puts messages into a frame of version 5.
func v5(messages string, packed bool) string {
	payload, size := []byte(messages), plainHead
	h := uint64(len(payload)) | 1<<17
	if packed {
		size = packedHead
		b := make([]byte, lz4.CompressBlockBound(len(payload)))
		n, _ := lz4.CompressBlock(payload, b, nil)
		if n == 0 {
			h = uint64(len(payload)) | 1<<34
		} else {
			h = uint64(n) | uint64(len(payload))<<17 | 1<<34
			payload = b[:n]
		}
	}
	b := binary.LittleEndian.AppendUint64(nil, h)[:size]
	b = append(b, binary.LittleEndian.AppendUint32(nil, crc24(b))[:3]...)
	b = append(b, payload...)
	return string(binary.LittleEndian.AppendUint32(b, payloadSum(payload)))
}

const (
	insert = "INSERT INTO shop.orders (id, status) VALUES (?, ?)"
	id     = "0123456789abcdef"
)

var (
	startup = str("CQL_VERSION") + str("3.0.0")
	columns = u32(globalSpec) + u32(2)
	spec    = str("shop") + str("orders") + str("id") + u16(int(kindInt)) + str("status") + u16(int(kindVarchar))
	rows    = u32(2) + columns + spec + u32(2) + long(u32(1)) + long("paid") + long(u32(2)) + u32(-1)
)

func query(q string) string { return long(q) + u16(1) + "\x00" }

func lz4Body(body string) string {
	b := make([]byte, lz4.CompressBlockBound(len(body)))
	n, _ := lz4.CompressBlock([]byte(body), b, nil)
	return u32(len(body)) + string(b[:n])
}

func samples() []dissecttest.Sample {
	prepared := u32(4) + str(id) + columns + u32(1) + u16(0) + spec + u32(noMetadata) + u32(0)
	execute := str(id) + u16(6) + "\x01" + u16(2) + long(u32(7)) + long("paid")
	long := query("SELECT id, status FROM shop.orders WHERE note = '" + strings.Repeat("tea ", 50) + "'")
	start5 := chunks{client(message(5, 0, 0, opStartup, u16(1)+startup)), server(message(5|answer, 0, 0, opReady, ""))}
	query5 := message(5, 0, 1, opQuery, u32(8)+"SELECT 1"+u16(1)+u32(0))
	return []dissecttest.Sample{
		{Name: "a query", Rows: 3, Chunks: chunks{client(ask(0, opOptions, "")), server(say(0, opSupported, u16(1)+str("CQL_VERSION")+u16(1)+str("3.4.6"))), client(ask(0, opStartup, u16(1)+startup)), server(say(0, opReady, "")),
			client(ask(1, opQuery, query("SELECT id, status FROM shop.orders"))), server(say(1, opResult, rows))}},
		{Name: "prepared", Rows: 2, Chunks: chunks{client(ask(1, opPrepare, u32(len(insert))+insert)), server(say(1, opResult, prepared)), client(ask(2, opExecute, execute)), server(say(2, opResult, u32(1)))}},
		{Name: "answers in another order, and an event", Rows: 4, Chunks: chunks{client(ask(0, opRegister, u16(1)+str("SCHEMA_CHANGE"))), server(say(0, opReady, "")), client(ask(1, opQuery, query("SELECT 1")) + ask(2, opQuery, query("USE shop"))),
			server(say(2, opResult, u32(3)+str("shop")) + say(-1, opEvent, str("SCHEMA_CHANGE")+str("CREATED")+str("KEYSPACE")+str("shop")) + say(1, opError, u32(0x2000)+str("line 1: no viable alternative")))}},
		{Name: "lz4", Rows: 2, Chunks: chunks{client(ask(0, opStartup, u16(2)+startup+str("COMPRESSION")+str("lz4"))), server(say(0, opReady, "")), client(message(4, flagCompressed, 1, opQuery, lz4Body(long))), server(message(4|answer, flagCompressed, 1, opResult, lz4Body(rows+strings.Repeat("\x00", 100))))}},
		{Name: "snappy", Rows: 2, Chunks: chunks{client(ask(0, opStartup, u16(2)+startup+str("COMPRESSION")+str("snappy"))), server(say(0, opReady, "")),
			client(message(4, flagCompressed, 1, opQuery, string(snappy.Encode(nil, []byte(long))))), server(message(4|answer, flagCompressed, 1, opResult, string(snappy.Encode(nil, []byte(rows)))))}},
		{Name: "frames of version 5", Rows: 3, Chunks: append(start5[:2:2], client(v5(query5+message(5, 0, 2, opQuery, u32(8)+"SELECT 2"+u16(1)+u32(0)), false)),
			server(v5(message(5|answer, 0, 2, opResult, u32(1))+message(5|answer, 0, 1, opResult, rows), false)))},
		{Name: "compressed frames of version 5", Rows: 2, Chunks: chunks{client(message(5, 0, 0, opStartup, u16(2)+startup+str("COMPRESSION")+str("lz4"))), server(message(5|answer, 0, 0, opReady, "")),
			client(v5(message(5, 0, 1, opQuery, u32(108)+"SELECT 1"+strings.Repeat(" ", 100)+u16(1)+u32(0)), true)), server(v5(message(5|answer, 0, 1, opResult, rows), true))}},
	}
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples()...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

func TestRows(t *testing.T) {
	s := samples()
	unpacked := []string{"SELECT id, status FROM shop.orders WHERE note = '" + strings.Repeat("tea ", 17) + "tea… → 2 rows method=SELECT cassandra_consistency=ONE cassandra_columns=[id status] cassandra_preview=1\tpaid\n2\t\\N"}
	dissecttest.Converse(t, Protocol(), []string{"method", "status_text", "auth_kind", "cassandra_params", "cassandra_columns", "cassandra_preview", "cassandra_keyspace", "cassandra_consistency", "cassandra_user", "cassandra_statements"}, []dissecttest.Conversation{
		{Name: "a query has its result", Chunks: s[0].Chunks, Want: []string{"options → ok method=OPTIONS", "startup → ok method=STARTUP",
			"SELECT id, status FROM shop.orders → 2 rows method=SELECT cassandra_consistency=ONE cassandra_columns=[id status] cassandra_preview=1\tpaid\n2\t\\N"}},
		{Name: "a prepared statement has its text and values", Chunks: s[1].Chunks, Want: []string{"prepare " + insert + " → ok method=PREPARE",
			insert + " → ok method=INSERT cassandra_params=[7 paid] cassandra_consistency=LOCAL_QUORUM"}},
		{Name: "streams", Chunks: s[2].Chunks, Want: []string{"register → ok method=REGISTER", "USE shop → ok method=USE cassandra_keyspace=shop cassandra_consistency=ONE",
			"event SCHEMA_CHANGE CREATED KEYSPACE shop method=EVENT",
			"SELECT 1 → SYNTAX_ERROR: line 1: no viable alternative outcome=client_error method=SELECT status_text=SYNTAX_ERROR cassandra_consistency=ONE"}},
		{Name: "frames of version 5", Chunks: s[5].Chunks, Want: []string{"startup → ok method=STARTUP", "SELECT 2 → ok method=SELECT cassandra_consistency=ONE",
			"SELECT 1 → 2 rows method=SELECT cassandra_consistency=ONE cassandra_columns=[id status] cassandra_preview=1\tpaid\n2\t\\N"}},
		{Name: "a version that the server refuses", Chunks: chunks{client(message(0x42, 0, 3, opOptions, "")), server(message(5|answer, 0, 3, opError, u32(0x0a)+str("Invalid or unsupported protocol version (66)")))}, Want: []string{
			"options → PROTOCOL_ERROR: Invalid or unsupported protocol version (66) outcome=client_error method=OPTIONS status_text=PROTOCOL_ERROR"}},
		{Name: "a statement of version 6 is not read", Anomalies: 1, Chunks: append(s[0].Chunks[:4:4], client(message(6, 0, 1, opQuery, query("SELECT 1")))), Want: []string{"options → ok method=OPTIONS", "startup → ok method=STARTUP"}},
		{Name: "a frame with a wrong checksum is not read", Chunks: append(s[5].Chunks[:2:2], client(s5damaged())), Anomalies: 1, Want: []string{"startup → ok method=STARTUP"}},
		{Name: "a login shows its user alone", Chunks: chunks{client(ask(0, opStartup, u16(1)+startup)), server(say(0, opAuthenticate, str("org.apache.cassandra.auth.PasswordAuthenticator"))),
			client(ask(1, opAuthResponse, long("\x00bob\x00hunter2"))), server(say(1, opError, u32(0x100)+str("wrong")))}, Want: []string{"startup → ok method=STARTUP",
			"auth response bob → BAD_CREDENTIALS: wrong outcome=client_error method=AUTH_RESPONSE status_text=BAD_CREDENTIALS auth_kind=password cassandra_user=bob"}},
		{Name: "a batch", Chunks: chunks{client(ask(1, opBatch, "\x00"+u16(2)+"\x00"+long("UPDATE a SET b = ?")+u16(1)+long("x")+"\x00"+long("DELETE FROM a")+u16(0)+u16(4)+"\x00")), server(say(1, opResult, u32(1)))}, Want: []string{
			"batch of 2: UPDATE a SET b = ?; DELETE FROM a → ok method=BATCH cassandra_params=[0x78] cassandra_statements=2 cassandra_consistency=QUORUM"}},
		{Name: "bodies over the limit of decompression", Chunks: append(s[3].Chunks[:2:2], client(message(4, flagCompressed, 1, opQuery, lz4Body(query("SELECT '"+strings.Repeat("tea ", maxInflate/4)+"'")))), server(say(1, opResult, u32(1)))),
			Want: []string{"startup → ok method=STARTUP", "SELECT '" + strings.Repeat("tea ", 28) + "t… → ok method=SELECT"}},
		{Name: "snappy over the limit of decompression", Chunks: append(s[4].Chunks[:2:2], client(message(4, flagCompressed, 1, opQuery, string(snappy.Encode(nil, []byte(query("SELECT '"+strings.Repeat("tea ", maxInflate/4)+"'")))))), server(say(1, opResult, u32(1)))),
			Want: []string{"startup → ok method=STARTUP", "SELECT '" + strings.Repeat("tea ", 28) + "t… → ok method=SELECT"}},
		{Name: "lz4 from its middle", Midway: true, Chunks: s[3].Chunks[2:], Want: unpacked},
		{Name: "snappy from its middle", Midway: true, Chunks: s[4].Chunks[2:], Want: unpacked},
		{Name: "a response after a lost one is paired", Chunks: chunks{client(ask(1, opQuery, query("SELECT 1")) + ask(2, opQuery, query("SELECT 2"))), {Dir: dissect.ToClient, Gap: 40}, server(say(2, opResult, u32(1)))}, Want: []string{
			"SELECT 2 → ok method=SELECT cassandra_consistency=ONE", "SELECT 1 → gap error=gap outcome=unread method=SELECT cassandra_consistency=ONE"}},
	}...)
}

func s5damaged() string {
	b := []byte(v5(message(5, 0, 1, opQuery, u32(8)+"SELECT 1"+u16(1)+u32(0)), false))
	b[20] ^= 1
	return string(b)
}

func TestNoPasswordIsKept(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(0, opStartup, u16(1)+startup)), server(say(0, opAuthenticate, str("org.apache.cassandra.auth.X"))),
		client(ask(1, opAuthResponse, long("\x00bob\x00hunter2"))), client(ask(2, opAuthResponse, long("hunter2"))))
	for _, row := range r.Rows() {
		if s := fmt.Sprintf("%+v", row); strings.Contains(s, "hunter") || strings.Contains(s, "68756e746572") {
			t.Errorf("a password is kept: %s", s)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"STARTUP", dissect.ToServer, ask(0, opStartup, u16(1)+startup), dissect.Yes},
		{"its beginning", dissect.ToServer, ask(0, opStartup, u16(1)+startup)[:12], dissect.More},
		{"a query", dissect.ToServer, ask(1, opQuery, query("SELECT 1")), dissect.Yes},
		{"a result", dissect.ToClient, say(1, opResult, rows), dissect.Likely},
		{"a result from the wrong side", dissect.ToServer, say(1, opResult, rows), dissect.No},
		{"a compressed query", dissect.ToServer, string(samples()[3].Chunks[2].Data), dissect.Yes},
		{"its beginning", dissect.ToServer, string(samples()[3].Chunks[2].Data)[:30], dissect.More},
		{"a compressed result", dissect.ToClient, string(samples()[4].Chunks[3].Data), dissect.Likely},
		{"a compressed body with a wrong size", dissect.ToServer, strings.Replace(string(samples()[3].Chunks[2].Data), "\x00\x00\x01", "\x00\x00\x02", 1), dissect.No},
		{"a result with the id of its trace", dissect.ToClient, message(4|answer, flagTracing, 1, opResult, strings.Repeat("\x07", 16)+rows), dissect.Likely},
		{"a frame", dissect.ToServer, v5(message(5, 0, 1, opOptions, ""), false), dissect.Yes},
		{"a frame with a wrong checksum", dissect.ToServer, s5damaged(), dissect.No},
		{"a version that is only offered", dissect.ToServer, message(0x41, 0, 0, opOptions, ""), dissect.Likely},
		{"a statement of that version", dissect.ToServer, message(0x41, 0, 0, opQuery, query("SELECT 1")), dissect.No},
		{"an answer of that version", dissect.ToClient, message(0x41|answer, 0, 0, opReady, ""), dissect.No},
		{"a hello of SOCKS 5", dissect.ToServer, "\x05\x01\x00", dissect.More},
		{"a connection request of RDP", dissect.ToServer, "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00", dissect.No},
		{"a length of 1 GB", dissect.ToServer, "\x04\x00\x00\x01\x07\x40\x00\x00\x00", dissect.No},
	})
}
