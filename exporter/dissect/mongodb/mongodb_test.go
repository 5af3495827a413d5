package mongodb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

func i32(n int) string   { return string(binary.LittleEndian.AppendUint32(nil, uint32(int32(n)))) }
func i64(n int64) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

type array []any
type bin string

// d is a BSON document of names and values.
func d(pairs ...any) document {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString(elem(pairs[i].(string), pairs[i+1]))
	}
	return document(i32(b.Len()+5) + b.String() + "\x00")
}

type document string

func elem(name string, v any) string {
	switch v := v.(type) {
	case string:
		return "\x02" + name + "\x00" + i32(len(v)+1) + v + "\x00"
	case int:
		return "\x10" + name + "\x00" + i32(v)
	case int64:
		return "\x12" + name + "\x00" + i64(v)
	case float64:
		return "\x01" + name + "\x00" + i64(int64(math.Float64bits(v)))
	case bool:
		if v {
			return "\x08" + name + "\x00\x01"
		}
		return "\x08" + name + "\x00\x00"
	case nil:
		return "\x0a" + name + "\x00"
	case bin:
		return "\x05" + name + "\x00" + i32(len(v)) + "\x00" + string(v)
	case array:
		var pairs []any
		for i, x := range v {
			pairs = append(pairs, fmt.Sprint(i), x)
		}
		return "\x04" + name + "\x00" + string(d(pairs...))
	case document:
		return "\x03" + name + "\x00" + string(v)
	}
	panic("no such type")
}

func message(id, answer, op int, body string) string {
	return i32(len(body)+16) + i32(id) + i32(answer) + i32(op) + body
}

// msg is OP_MSG with a body and sections of kind 1.
func msg(id, answer, flags int, body document, sections ...string) string {
	b := i32(flags) + "\x00" + string(body) + strings.Join(sections, "")
	m := message(id, answer, opMsg, b)
	if flags&msgChecksum != 0 {
		m = message(id, answer, opMsg, b+"0000")
		sum := crc32.Checksum([]byte(m[:len(m)-4]), crc32.MakeTable(crc32.Castagnoli))
		m = m[:len(m)-4] + i32(int(int32(sum)))
	}
	return m
}

func sequenceOf(name string, docs ...document) string {
	b := name + "\x00"
	for _, x := range docs {
		b += string(x)
	}
	return "\x01" + i32(len(b)+4) + b
}

// packed compresses a message.
func packed(m string, by byte) string {
	h, body := readHead([]byte(m)), []byte(m[16:])
	var data []byte
	switch by {
	case 0:
		data = body
	case 1:
		data = snappy.Encode(nil, body)
	case 2:
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		w.Write(body)
		w.Close()
		data = b.Bytes()
	case 3:
		w, _ := zstd.NewWriter(nil)
		data = w.EncodeAll(body, nil)
	}
	return message(int(h.id), int(h.answer), opCompressed, i32(int(h.op))+i32(len(body))+string([]byte{by})+string(data))
}

func reply(id, answer, flags int, cursor int64, docs ...document) string {
	b := i32(flags) + i64(cursor) + i32(0) + i32(len(docs))
	for _, x := range docs {
		b += string(x)
	}
	return message(id, answer, opReply, b)
}

var (
	find     = d("find", "orders", "filter", d("status", "paid", "total", d("$gt", 100)), "limit", 5, "$db", "shop")
	found    = d("cursor", d("firstBatch", array{d("_id", 1, "status", "paid"), d("_id", 2, "total", 7.5)}, "id", int64(0), "ns", "shop.orders"), "ok", 1.0)
	fine     = d("n", 1, "ok", 1.0)
	hello    = d("hello", 1, "client", d("application", d("name", "orders"), "driver", d("name", "PyMongo", "version", "4.20")), "$db", "admin")
	notFound = d("ok", 0.0, "errmsg", "no such command: 'x'", "code", 59, "codeName", "CommandNotFound")
)

func samples() []dissecttest.Sample {
	return []dissecttest.Sample{
		{Name: "a find", Rows: 2, Chunks: chunks{client(msg(1, 0, 0, hello)), server(msg(7, 1, 0, d("ok", 1.0))), client(msg(2, 0, 0, find)), server(msg(8, 2, 0, found))}},
		{Name: "several at once, answered in another order", Rows: 3, Chunks: chunks{client(msg(1, 0, 0, find) + msg(2, 0, 0, find) + msg(3, 0, 0, d("x", 1, "$db", "shop"))),
			server(msg(8, 3, 0, notFound) + msg(9, 1, 0, found) + msg(10, 2, 0, found))}},
		{Name: "documents in a sequence, with a checksum", Rows: 1, Chunks: chunks{client(msg(1, 0, msgChecksum, d("insert", "orders", "$db", "shop"),
			sequenceOf("documents", d("_id", 1, "card", "4111"), d("_id", 2)))), server(msg(8, 1, 0, d("n", 2, "ok", 1.0)))}},
		{Name: "compressed", Rows: 4, Chunks: chunks{client(msg(1, 0, 0, find)), server(packed(msg(8, 1, 0, found), 1)), client(packed(msg(2, 0, 0, find), 1)), server(packed(msg(9, 2, 0, found), 2)),
			client(packed(msg(3, 0, 0, find), 2)), server(packed(msg(10, 3, 0, found), 3)), client(packed(msg(4, 0, 0, find), 3)), server(packed(msg(11, 4, 0, found), 0))}},
		{Name: "operations before OP_MSG", Rows: 6, Chunks: chunks{
			client(message(1, 0, opQuery, i32(0)+"admin.$cmd\x00"+i32(0)+i32(-1)+string(d("isMaster", 1)))), server(reply(8, 1, 8, 0, d("ismaster", true, "ok", 1.0))),
			client(message(2, 0, opInsert, i32(0)+"shop.orders\x00"+string(d("_id", 1))+string(d("_id", 2)))),
			client(message(3, 0, opUpdate, i32(0)+"shop.orders\x00"+i32(0)+string(d("_id", 1))+string(d("$set", d("total", 3))))),
			client(message(4, 0, opDelete, i32(0)+"shop.orders\x00"+i32(0)+string(d("_id", 2)))),
			client(message(5, 0, opQuery, i32(0)+"shop.orders\x00"+i32(0)+i32(2)+string(d("$query", d("total", 3), "$orderby", d("_id", 1))))), server(reply(9, 5, 8, 44, d("_id", 1, "total", 3))),
			client(message(6, 0, opGetMore, i32(0)+"shop.orders\x00"+i32(2)+i64(44))), server(reply(10, 6, 1, 0))}},
		{Name: "no reply requested", Rows: 2, Chunks: chunks{client(msg(1, 0, msgMoreToCome, d("insert", "log", "$db", "shop"), sequenceOf("documents", d("a", 1))) + msg(2, 0, 0, find)), server(msg(8, 2, 0, found))}},
		{Name: "replies that go on", Rows: 4, Chunks: chunks{client(msg(1, 0, msgExhaust, d("getMore", int64(5), "collection", "orders", "$db", "shop"))),
			server(msg(8, 1, msgMoreToCome, found) + msg(9, 8, msgMoreToCome, found)), server(msg(10, 9, 0, found)), client(msg(2, 0, 0, find)), server(msg(11, 2, 0, found))}},
	}
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples()...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

func TestRows(t *testing.T) {
	s := samples()
	deep := d("a", 1)
	for range 300 {
		deep = d("a", deep)
	}
	long := d("_id", 1, "text", strings.Repeat("x", 300<<10))
	big := msg(8, 1, 0, d("cursor", d("firstBatch", array{d("_id", 0, "a", true), long}, "id", int64(9), "ns", "shop.orders"), "ok", 1.0))
	dissecttest.Converse(t, Protocol(), []string{"status_code", "status_text", "auth_kind", "mongodb_opcode", "mongodb_params", "mongodb_columns", "mongodb_preview", "mongodb_errors", "mongodb_error_code",
		"mongodb_user", "mongodb_compression", "mongodb_cursor_id", "mongodb_partial", "mongodb_success"}, []dissecttest.Conversation{
		{Name: "a statement has its shape, values and documents", Chunks: s[0].Chunks[2:], Want: []string{
			`find shop.orders {status: ?, total: {$gt: ?}} → 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_params=[filter.status=paid filter.total.$gt=100] mongodb_columns=[_id status total] mongodb_preview=1` + "\tpaid\t\\N\n2\t\\N\t7.5 mongodb_cursor_id=0 mongodb_success=true"}},
		{Name: "operations before OP_MSG", Chunks: s[4].Chunks, Want: []string{
			"isMaster admin → ok status_code=0 mongodb_opcode=OP_QUERY mongodb_success=true",
			"insert shop.orders, 2 documents → no reply requested mongodb_opcode=OP_INSERT mongodb_params=[_id=1 _id=2]",
			"update shop.orders {_id: ?} {$set: {total: ?}}, 1 update → no reply requested mongodb_opcode=OP_UPDATE mongodb_params=[q._id=1 u.$set.total=3]",
			"delete shop.orders {_id: ?}, 1 delete → no reply requested mongodb_opcode=OP_DELETE mongodb_params=[q._id=2]",
			"find shop.orders {total: ?} → 1 document status_code=0 mongodb_opcode=OP_QUERY mongodb_params=[filter.total=3] mongodb_columns=[_id total] mongodb_preview=1\t3 mongodb_cursor_id=44 mongodb_success=true",
			"getMore shop.orders → CursorNotFound outcome=client_error status_code=43 status_text=CursorNotFound mongodb_opcode=OP_GET_MORE mongodb_cursor_id=0 mongodb_error_code=43 mongodb_errors=1"}},
		{Name: "errors of a command", Chunks: chunks{client(msg(1, 0, 0, d("x", 1, "$db", "shop"))), server(msg(8, 1, 0, notFound))}, Want: []string{
			"x shop → CommandNotFound: no such command: 'x' outcome=client_error status_code=59 status_text=CommandNotFound mongodb_opcode=OP_MSG mongodb_error_code=59 mongodb_errors=1"}},
		{Name: "errors of writes in a reply that is ok", Chunks: chunks{client(msg(1, 0, 0, d("insert", "orders", "documents", array{d("_id", 1), d("_id", 1)}, "$db", "shop"))),
			server(msg(8, 1, 0, d("n", 1, "writeErrors", array{d("index", 1, "code", 11000, "errmsg", "E11000 dup"), d("index", 2, "code", 121)}, "ok", 1.0)))}, Want: []string{
			"insert shop.orders, 2 documents → DuplicateKey: E11000 dup outcome=client_error status_code=11000 status_text=DuplicateKey mongodb_opcode=OP_MSG mongodb_params=[_id=1 _id=1] mongodb_error_code=11000 mongodb_errors=2"}},
		{Name: "errors of writes in the results of bulkWrite", Chunks: chunks{client(msg(1, 0, 0, d("bulkWrite", 1, "ops", array{d("insert", 0, "document", d("_id", 1))}, "nsInfo", array{d("ns", "shop.orders")}, "$db", "admin"))),
			server(msg(8, 1, 0, d("cursor", d("firstBatch", array{d("ok", 1.0, "idx", 0), d("ok", 0.0, "idx", 1, "code", 11000, "errmsg", "E11000 dup")}, "id", int64(0)), "nErrors", 1, "ok", 1.0)))}, Want: []string{
			"bulkWrite admin {_id: ?}, 1 document → DuplicateKey: E11000 dup outcome=client_error status_code=11000 status_text=DuplicateKey mongodb_opcode=OP_MSG mongodb_params=[document._id=1] mongodb_columns=[ok idx code errmsg] mongodb_preview=1\t0\t\\N\t\\N\n0\t1\t11000\tE11000 dup mongodb_cursor_id=0 mongodb_error_code=11000 mongodb_errors=1"}},
		{Name: "an error of the write concern is the server's", Chunks: chunks{client(msg(1, 0, 0, d("delete", "orders", "deletes", array{d("q", d("a", array{1, 2}), "limit", 0)}, "$db", "shop"))),
			server(msg(8, 1, 0, d("n", 1, "writeConcernError", d("code", 64, "errmsg", "waiting"), "ok", 1.0)))}, Want: []string{
			"delete shop.orders {a: [?]}, 1 delete → WriteConcernTimeout: waiting outcome=server_error status_code=64 status_text=WriteConcernTimeout mongodb_opcode=OP_MSG mongodb_params=[q.a.0=1 q.a.1=2] mongodb_error_code=64 mongodb_errors=1"}},
		{Name: "a login shows its mechanism and user alone", Chunks: chunks{client(msg(1, 0, 0, d("saslStart", 1, "mechanism", "PLAIN", "payload", bin("\x00bob\x00hunter2"), "$db", "$external"))),
			server(msg(8, 1, 0, d("ok", 0.0, "code", 18, "codeName", "AuthenticationFailed", "errmsg", "Authentication failed."))),
			client(msg(2, 0, 0, d("hello", 1, "speculativeAuthenticate", d("saslStart", 1, "mechanism", "SCRAM-SHA-256", "payload", bin("n,,n=a=2Cb,r=secret")), "$db", "admin"))), server(msg(9, 2, 0, d("ok", 1.0))),
			client(msg(3, 0, 0, d("createUser", "eve", "pwd", "hunter2", "roles", array{}, "$db", "shop"))), server(msg(10, 3, 0, d("ok", 1.0)))}, Want: []string{
			"saslStart $external PLAIN bob → AuthenticationFailed: Authentication failed. outcome=client_error status_code=18 status_text=AuthenticationFailed auth_kind=password mongodb_opcode=OP_MSG mongodb_error_code=18 mongodb_errors=1 mongodb_user=bob",
			"hello admin → ok status_code=0 auth_kind=scram-sha-256 mongodb_opcode=OP_MSG mongodb_success=true mongodb_user=a,b",
			"createUser shop → ok status_code=0 auth_kind=password mongodb_opcode=OP_MSG mongodb_success=true mongodb_user=a,b"}},
		{Name: "a pipeline shows its stages", Chunks: chunks{client(msg(1, 0, 0, d("aggregate", "orders", "pipeline", array{d("$match", d("a", 1)), d("$group", d("_id", "$b", "n", d("$sum", 1)))}, "$db", "shop"))),
			server(msg(8, 1, 0, found))}, Want: []string{
			"aggregate shop.orders [{$match: {a: ?}}, {$group: {_id: ?, n: {$sum: ?}}}] → 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_params=[pipeline.0.$match.a=1 pipeline.1.$group._id=$b pipeline.1.$group.n.$sum=1] mongodb_columns=[_id status total] mongodb_preview=1\tpaid\t\\N\n2\t\\N\t7.5 mongodb_cursor_id=0 mongodb_success=true"}},
		{Name: "replies that go on are rows", Chunks: s[6].Chunks[:3], Want: []string{
			"getMore shop.orders → 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_columns=[_id status total] mongodb_preview=1\tpaid\t\\N\n2\t\\N\t7.5 mongodb_cursor_id=0 mongodb_success=true",
			"getMore shop.orders (exhaust) → 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_columns=[_id status total] mongodb_preview=1\tpaid\t\\N\n2\t\\N\t7.5 mongodb_cursor_id=0 mongodb_success=true",
			"getMore shop.orders (exhaust) → 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_columns=[_id status total] mongodb_preview=1\tpaid\t\\N\n2\t\\N\t7.5 mongodb_cursor_id=0 mongodb_success=true"}},
		{Name: "a long reply is read at its beginning", Chunks: chunks{client(msg(1, 0, 0, d("find", "orders", "$db", "shop"))), server(big)}, Want: []string{
			"find shop.orders → at least 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_columns=[_id a text] mongodb_preview=0\ttrue\t\\N\n1\t\\N\t… mongodb_success=true mongodb_partial=true"}},
		{Name: "long messages in a block of Snappy are read at their beginning", Chunks: chunks{
			client(packed(msg(5, 0, 0, d("insert", "orders", "$db", "shop", "documents", array{d("_id", 1, "text", strings.Repeat("tea ", maxInflate/4))})), 1)), server(msg(7, 5, 0, fine)),
			client(packed(msg(1, 0, 0, d("find", "orders", "$db", "shop")), 1)), server(packed(big, 1))}, Want: []string{
			"insert shop.orders, at least 1 document → n=1 status_code=0 mongodb_opcode=OP_MSG mongodb_params=[_id=1 text=…] mongodb_success=true mongodb_compression=snappy mongodb_partial=true",
			"find shop.orders → at least 2 documents status_code=0 mongodb_opcode=OP_MSG mongodb_columns=[_id a text] mongodb_preview=0\ttrue\t\\N\n1\t\\N\t… mongodb_success=true mongodb_compression=snappy mongodb_partial=true"}},
		{Name: "a gap in a long reply is counted", Chunks: chunks{client(msg(1, 0, 0, d("find", "orders", "$db", "shop"))), server(big[:200<<10]), {Dir: dissect.ToClient, Gap: int64(len(big)) - 200<<10},
			client(msg(2, 0, 0, d("ping", 1, "$db", "shop"))), server(msg(9, 2, 0, fine))}, Want: []string{
			"find shop.orders → gap error=gap status_code=0 mongodb_opcode=OP_MSG mongodb_columns=[_id a text] mongodb_preview=0\ttrue\t\\N\n1\t\\N\t… mongodb_success=true mongodb_partial=true",
			"ping shop → n=1 status_code=0 mongodb_opcode=OP_MSG mongodb_success=true"}},
		{Name: "replies after a lost one are paired", Chunks: chunks{client(msg(1, 0, 0, d("ping", 1, "$db", "a")) + msg(2, 0, 0, d("ping", 1, "$db", "b"))), {Dir: dissect.ToClient, Gap: 50}, server(msg(9, 2, 0, fine))}, Want: []string{
			"ping b → n=1 status_code=0 mongodb_opcode=OP_MSG mongodb_success=true",
			"ping a → gap error=gap outcome=unread mongodb_opcode=OP_MSG"}},
		{Name: "a document nested too deeply is shown to a limit", Chunks: chunks{client(msg(1, 0, 0, d("find", "orders", "filter", deep, "$db", "shop"))), server(msg(8, 1, 0, fine))}, Want: []string{
			"find shop.orders " + strings.Repeat("{a: ", 32) + "?" + strings.Repeat("}", 14) + "… → n=1 status_code=0 mongodb_opcode=OP_MSG mongodb_params=[filter" + strings.Repeat(".a", 32) + "={…}] mongodb_success=true"}},
	}...)
}

func TestNoSecretIsKept(t *testing.T) {
	for _, doc := range []document{
		d("saslContinue", 1, "payload", bin("hunter2"), "$db", "a"), d("authenticate", 1, "user", "bob", "key", "hunter2", "nonce", "hunter2", "$db", "a"),
		d("updateUser", "bob", "pwd", "hunter2", "$db", "a"), d("copydbsaslstart", 1, "mechanism", "PLAIN", "payload", "hunter2", "$db", "a"),
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(msg(1, 0, 0, doc)), server(msg(8, 1, 0, fine)))
		for _, row := range r.Rows() {
			if s := fmt.Sprintf("%+v", row); strings.Contains(s, "hunter") {
				t.Errorf("a secret is kept: %s", s)
			}
		}
	}
}

func TestDetect(t *testing.T) {
	query := message(1, 0, opQuery, i32(0)+"admin.$cmd\x00"+i32(0)+i32(-1)+string(d("isMaster", 1)))
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a command", dissect.ToServer, msg(1, 0, 0, find), dissect.Yes},
		{"the beginning of a command", dissect.ToServer, msg(1, 0, 0, find)[:30], dissect.More},
		{"a command without its database", dissect.ToServer, msg(1, 0, 0, d("ping", 1)), dissect.Likely},
		{"a query that says it answers -1", dissect.ToServer, query[:8] + i32(-1) + query[12:], dissect.Yes},
		{"a reply", dissect.ToClient, msg(9, 1, 0, found), dissect.Yes},
		{"a reply from the wrong side", dissect.ToServer, msg(9, 1, 0, found), dissect.No},
		{"a query", dissect.ToServer, query, dissect.Yes},
		{"a reply with a document", dissect.ToClient, reply(9, 1, 8, 0, fine), dissect.Yes},
		{"a compressed command", dissect.ToServer, packed(msg(1, 0, 0, find), 1), dissect.Likely},
		{"a compressed command with another size", dissect.ToServer, strings.Replace(packed(msg(1, 0, 0, find), 1), i32(len(msg(1, 0, 0, find))-16), i32(7), 1), dissect.No},
		{"a message with a byte behind its document", dissect.ToServer, message(1, 0, opMsg, i32(0)+"\x00"+string(find)+"x"), dissect.No},
		{"flags that are not defined", dissect.ToServer, msg(1, 0, 4, find), dissect.No},
		{"an operation that does not exist", dissect.ToServer, message(1, 0, 2003, i32(0)+"a.b\x00"), dissect.No},
		{"a length of 3 GB", dissect.ToServer, "\xff\xff\xff\xbf" + msg(1, 0, 0, find)[4:], dissect.No},
	})
}
