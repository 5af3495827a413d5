package tds

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// packet is a packet of TDS, the last one of its message.
func packet(kind byte, payload string) string { return part(kind, eom, payload) }

func part(kind, status byte, payload string) string {
	return string([]byte{kind, status, byte((8 + len(payload)) >> 8), byte(8 + len(payload)), 0, 52, 1, 0}) + payload
}

// u is text in UTF-16.
func u(s string) string {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return string(b)
}

func u16(n int) string { return string([]byte{byte(n), byte(n >> 8)}) }

func u32(n int) string { return u16(n) + u16(n>>16) }

// short is B_VARCHAR.
func short(s string) string { return string(rune(len(s))) + u(s) }

// headers are ALL_HEADERS with a transaction descriptor.
const headers = "\x16\x00\x00\x00\x12\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"

func batch(sql string) string { return packet(typeBatch, headers+u(sql)) }

func reply(tokens ...string) string { return packet(typeResponse, strings.Join(tokens, "")) }

func done(token byte, status, command, rows int) string {
	return string([]byte{token}) + u16(status) + u16(command) + u32(rows) + u32(0)
}

func sized(token byte, body string) string { return string([]byte{token}) + u16(len(body)) + body }

func failure(token byte, number int, state, class byte, text, procedure string, line int) string {
	return sized(token, u32(number)+string([]byte{state, class})+u16(len(text))+u(text)+short("db")+short(procedure)+u32(line))
}

// columns are COLMETADATA of an INTN and an NVARCHAR.
func columns(a, b string) string {
	return "\x81" + u16(2) + u32(0) + u16(9) + "\x26\x04" + short(a) + u32(0) + u16(9) + "\xe7" + u16(100) + "\x09\x04\xd0\x00\x34" + short(b)
}

func row(id int, name string) string {
	return "\xd1\x04" + u32(id) + u16(2*len(name)) + u(name)
}

func nvarchar(name, value string) string {
	return short(name) + "\x00\xe7" + u16(8000) + "\x09\x04\xd0\x00\x34" + u16(2*len(value)) + u(value)
}

func integerParam(name string, status byte, value int) string {
	return short(name) + string([]byte{status}) + "\x26\x04\x04" + u32(value)
}

// procedureCall is an RPC of a procedure by its number.
func procedureCall(id int, params ...string) string {
	return packet(typeRPC, headers+"\xff\xff"+u16(id)+u16(0)+strings.Join(params, ""))
}

const (
	preloginAsk    = "\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x09\x00\x00\x00\x00\x00"
	preloginAnswer = "\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x10\x00\x03\xe8\x00\x00"
)

// login is LOGIN7 of version 7.4.
func login(user, password, app, database string) string {
	fixed := make([]byte, loginSize)
	data := ""
	put := func(at int, s string) {
		binary.LittleEndian.PutUint16(fixed[at:], uint16(loginSize+len(data)))
		binary.LittleEndian.PutUint16(fixed[at+2:], uint16(len(s)))
		data += u(s)
	}
	put(36, "till")
	put(40, user)
	put(44, password)
	put(48, app)
	put(52, "db")
	put(60, "driver")
	put(68, database)
	binary.LittleEndian.PutUint32(fixed, uint32(len(fixed)+len(data)))
	binary.LittleEndian.PutUint32(fixed[4:], 0x74000004)
	return packet(typeLogin, string(fixed)+data)
}

var loginAck = sized(tokLoginAck, "\x01\x74\x00\x00\x04"+short("Microsoft SQL Server")+"\x10\x00\x03\xe8")

func changed(kind byte, now, before string) string {
	return sized(tokChange, string([]byte{kind})+short(now)+short(before))
}

var opening = chunks{
	client(packet(typePrelogin, preloginAsk+"\x02")), server(packet(typeResponse, preloginAnswer+"\x02")),
	client(login("ann", "s3cret-word", "shop", "orders")),
	server(reply(changed(1, "orders", "master"), failure(tokInfo, 5701, 2, 0, "Changed database context to 'orders'.", "", 1), loginAck, done(tokDone, 0, 0, 0)))}

var samples = []dissecttest.Sample{
	{Name: "a login and a statement", Rows: 3, Chunks: append(opening[:4:4],
		client(batch("SELECT id, name FROM goods")),
		server(reply(columns("id", "name"), row(1, "tea"), row(2, "cup"), done(tokDone, doneCount, commandSelect, 2))))},
	{Name: "procedures", Rows: 3, Chunks: chunks{
		client(procedureCall(10, nvarchar("", "SELECT @P1"), nvarchar("", "@P1 int"), integerParam("@P1", 0, 7))),
		server(reply(columns("id", "name"), row(7, "x"), done(tokDoneInProc, doneCount|1, commandSelect, 1), "\x79"+u32(0), done(tokDoneProc, 0, 0xe0, 0))),
		client(procedureCall(13, integerParam("", 1, 0), nvarchar("", "@P1 int"), nvarchar("", "DELETE FROM goods WHERE id = @P1"), integerParam("", 0, 3))),
		server(reply(done(tokDoneInProc, doneCount|1, 0xc4, 1), "\x79"+u32(0), "\xac"+u16(0)+"\x00\x01"+u32(0)+u16(0)+"\x26\x04\x04"+u32(11), done(tokDoneProc, 0, 0xe0, 0))),
		client(procedureCall(12, integerParam("", 0, 11), integerParam("", 0, 4))),
		server(reply(done(tokDoneInProc, doneCount|1, 0xc4, 0), "\x79"+u32(0), done(tokDoneProc, 0, 0xe0, 0)))}},
	{Name: "an error, and messages of several packets", Rows: 2, Chunks: chunks{
		client(part(typeBatch, 0, headers+u("SELECT * ")) + packet(typeBatch, u("FROM nothing"))),
		server(reply(failure(tokError, 208, 1, 16, "Invalid object name 'nothing'.", "p", 3), done(tokDone, doneError, commandSelect, 0))),
		client(batch("SELECT id, name FROM goods")),
		server(part(typeResponse, 0, (columns("id", "name") + row(1, "tea"))[:48]) + packet(typeResponse, (columns("id", "name") + row(1, "tea"))[48:]+done(tokDone, doneCount, commandSelect, 1)))}},
	{Name: "sessions", Rows: 2, Chunks: chunks{
		client(mux(smpSyn, 0, "") + mux(smpData, 0, batch("SELECT id, name FROM a")) + mux(smpSyn, 1, "") + mux(smpData, 1, batch("SELECT id, name FROM b"))),
		server(mux(smpData, 1, reply(columns("id", "name"), row(1, "b"), row(2, "b"), done(tokDone, doneCount, commandSelect, 2))) +
			mux(smpData, 0, reply(columns("id", "name"), row(1, "a"), done(tokDone, doneCount, commandSelect, 1))))}},
}

func mux(flags byte, id int, payload string) string {
	return "S" + string([]byte{flags}) + u16(id) + u32(smpSize+len(payload)) + u32(1) + u32(4) + payload
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestNoPassword(t *testing.T) {
	for _, secret := range []string{"s3cret-word", u("s3cret-word")} {
		dissecttest.NoSecret(t, Protocol(), samples[0], secret)
	}
}

func TestRows(t *testing.T) {
	dissecttest.Converse(t, Protocol(), []string{"method", "tds_rows", "tds_preview", "tds_affected_rows", "tds_params", "tds_user", "tds_database", "auth_kind", "tds_handle", "tds_outputs", "tds_error_class", "tds_error_line", "tds_session", "tds_cancelled", "tds_bulk_rows", "tds_partial", "tds_transaction"}, []dissecttest.Conversation{
		{Name: "a login hides its password", Chunks: samples[0].Chunks, Want: []string{
			"PRELOGIN → encryption not_supported → not_supported method=PRELOGIN",
			"LOGIN7 ann → ok method=LOGIN7 auth_kind=password tds_user=ann tds_database=orders",
			"SELECT id, name FROM goods → 2 rows method=SELECT tds_rows=2 tds_preview=1\ttea\n2\tcup tds_user=ann tds_database=orders"}},
		{Name: "a prepared statement has its text", Chunks: samples[1].Chunks, Want: []string{
			"SELECT @P1 → 1 row method=SELECT tds_params=[@P1=7] tds_rows=1 tds_preview=7\tx",
			"DELETE FROM goods WHERE id = @P1 → 1 row affected method=DELETE tds_params=[3] tds_handle=11 tds_affected_rows=1 tds_outputs=[0=11]",
			"DELETE FROM goods WHERE id = @P1 → 0 rows affected method=DELETE tds_params=[4] tds_handle=11 tds_affected_rows=0"}},
		{Name: "an error is an error", Chunks: samples[2].Chunks, Want: []string{
			"SELECT * FROM nothing → ERROR 208: Invalid object name 'nothing'. outcome=client_error method=SELECT tds_error_class=16 tds_error_line=3",
			"SELECT id, name FROM goods → 1 row method=SELECT tds_rows=1 tds_preview=1\ttea"}},
		{Name: "each session pairs its own", Chunks: samples[3].Chunks, Want: []string{
			"SELECT id, name FROM b → 2 rows method=SELECT tds_rows=2 tds_preview=1\tb\n2\tb tds_session=1",
			"SELECT id, name FROM a → 1 row method=SELECT tds_rows=1 tds_preview=1\ta tds_session=0"}},
		{Name: "a statement that is cancelled", Chunks: chunks{client(batch("WAITFOR DELAY '1'")), client(packet(typeAttention, "")),
			server(reply(done(tokDone, doneAttention, 0, 0)))}, Want: []string{
			"WAITFOR DELAY '1' → cancelled method=WAITFOR tds_cancelled=true"}},
		{Name: "a statement that ended before it was cancelled", Chunks: chunks{client(batch("SELECT 1")), client(packet(typeAttention, "")),
			server(reply(done(tokDone, doneCount, commandSelect, 1))), server(reply(done(tokDone, doneAttention, 0, 0)))}, Want: []string{
			"SELECT 1 → ok method=SELECT",
			"ATTENTION → ok method=ATTENTION"}},
		{Name: "a bulk load counts its rows", Chunks: chunks{client(batch("INSERT BULK goods (id int)")), server(reply(done(tokDone, 0, 0, 0))),
			client(part(typeBulk, 0, columns("id", "name")+row(1, "a")) + packet(typeBulk, row(2, "b")+done(tokDone, 0, 0, 0))),
			server(reply(done(tokDone, doneCount, 0xc3, 2)))}, Want: []string{
			"INSERT BULK goods (id int) → ok method=INSERT",
			"bulk load of 2 rows → 2 rows affected method=BULK_LOAD tds_affected_rows=2 tds_bulk_rows=2"}},
		{Name: "a transaction", Chunks: chunks{client(packet(typeTransaction, headers+u16(5)+"\x00\x00")), server(reply(sized(tokChange, "\x08\x08"+strings.Repeat("x", 8)+"\x00"), done(tokDone, 0, 0, 0)))}, Want: []string{
			"transaction begin → ok method=TRANSACTION tds_transaction=begin"}},
		{Name: "a token that is not known costs the rest of its message", Chunks: chunks{client(batch("SELECT 1")), server(reply("\x33garbage", done(tokDone, doneCount, commandSelect, 5)))},
			Anomalies: 1, Want: []string{
				"SELECT 1 → 5 rows method=SELECT tds_rows=5 tds_partial=true"}},
		{Name: "a statement without a response", Chunks: chunks{client(batch("SELECT 1"))}, End: dissect.EndReset, Want: []string{
			"SELECT 1 → reset error=reset outcome=no_answer method=SELECT"}},
		{Name: "the response after a lost one is paired", Chunks: chunks{client(batch("SELECT 1")), {Dir: dissect.ToClient, Gap: 40},
			client(batch("SELECT 2")), server(reply(done(tokDone, doneCount, commandSelect, 1)))}, Want: []string{
			"SELECT 1 → gap error=gap outcome=unread method=SELECT",
			"SELECT 2 → ok method=SELECT"}},
	}...)
}
