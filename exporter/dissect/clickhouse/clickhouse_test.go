package clickhouse

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client = dissecttest.Client

func server(packets ...string) dissecttest.Chunk {
	return dissecttest.Server(strings.Join(packets, ""))
}

func vary(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

func str(s string) string { return vary(uint64(len(s))) + s }

func u64(n ...uint64) string {
	var b []byte
	for _, v := range n {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return string(b)
}

func helloOf(rev uint64) string {
	return "\x00" + str("shop-client") + vary(24) + vary(8) + vary(rev) + str("shop") + str("alice") + str("secret")
}

// welcome is the answer of a server of the same revision.
func welcomeOf(rev uint64) string {
	s := "\x00" + str("ClickHouse") + vary(24) + vary(8) + vary(rev)
	if rev >= revParallel {
		s += vary(4)
	}
	s += str("Etc/UTC")
	if rev >= revDisplayName {
		s += str("db-1")
	}
	if rev >= revPatch {
		s += vary(7)
	}
	if rev >= revChunked {
		s += str("notchunked_optional") + str("notchunked_optional")
	}
	if rev >= revRules {
		s += vary(1) + str(".{8}") + str("be longer")
	}
	if rev >= revNonce {
		s += u64(5)
	}
	if rev >= revServerSet {
		s += str("max_threads") + vary(0) + str("4") + str("")
	}
	if rev >= revPlan {
		s += vary(1)
	}
	if rev >= revCluster {
		s += vary(1)
	}
	return s
}

// addendum is the rest of a login.
func addendum(rev uint64) string {
	s := ""
	if rev >= revAddendum {
		s += str("")
	}
	if rev >= revChunked {
		s += str("notchunked") + str("notchunked")
	}
	if rev >= revParallel {
		s += vary(4)
	}
	return s
}

// statement is a query with the empty block that ends external tables.
func statement(sql string, rev uint64, params ...string) string {
	s := "\x01" + str("") + "\x01" + str("") + str("") + str("0.0.0.0:0")
	if rev >= revTime {
		s += u64(1)
	}
	s += "\x01" + str("bob") + str("laptop") + str("shop-client") + vary(24) + vary(8) + vary(max(rev, revTimezone))
	if rev >= revQuota {
		s += str("")
	}
	if rev >= revDepth {
		s += vary(0)
	}
	if rev >= revPatch {
		s += vary(7)
	}
	if rev >= revOpenTelemetry {
		s += "\x01" + u64(0x0102030405060708, 0x090a0b0c0d0e0f10, 7) + str("") + "\x01"
	}
	if rev >= revReplicas {
		s += vary(0) + vary(0) + vary(0)
	}
	if rev >= revLine {
		s += vary(0) + vary(0)
	}
	if rev >= revJWT {
		s += "\x00"
	}
	if rev >= revSettings {
		s += str("max_threads") + vary(1) + str("8")
	} else {
		s += str("max_threads") + vary(8) + str("load_balancing") + str("random")
	}
	s += str("")
	if rev >= revRoles {
		s += str("")
	}
	if rev >= revSecret {
		s += str("")
	}
	s += vary(2) + vary(0) + str(sql)
	if rev >= revParameters {
		for _, p := range params {
			name, value, _ := strings.Cut(p, "=")
			s += str(name) + vary(2) + str(value)
		}
		s += str("")
	}
	return s + "\x02" + str("") + block(rev, 0)
}

// block is a block of columns: names, types and values by turns.
func block(rev uint64, rows int, columns ...string) string {
	s := "\x01\x00\x02\xff\xff\xff\xff\x00" + vary(uint64(len(columns)/3)) + vary(uint64(rows))
	for i := 0; i < len(columns); i += 3 {
		s += str(columns[i]) + str(columns[i+1])
		if rev >= revCustom && !strings.HasPrefix(columns[i+2], "sparse:") {
			s += "\x00"
		}
		s += strings.TrimPrefix(columns[i+2], "sparse:")
	}
	return s
}

func data(rev uint64, rows int, columns ...string) string {
	return "\x01\x00" + block(rev, rows, columns...)
}

const (
	newest  = revCluster
	end     = "\x05"
	failure = "\x02\x3c\x00\x00\x00\x0dDB::Exception\x0fno such table x\x00\x00"
)

// types are values of all kinds, two rows.
var types = []string{
	"id", "UInt32", "\x01\x00\x00\x00\x02\x00\x00\x00",
	"name", "LowCardinality(Nullable(String))", u64(1, 1<<9, 2) + str("") + str("tea") + u64(2) + "\x01\x00",
	"tags", "Array(LowCardinality(String))", u64(1) + u64(2, 3) + u64(1<<9, 2) + str("a") + str("b") + u64(3) + "\x00\x01\x00",
	"prices", "Map(String, Decimal(9, 2))", u64(0, 1) + str("eur") + "\xfb\xff\xff\xff",
	"price", "Decimal(9, 2)", "\xfb\xff\xff\xff\x39\x30\x00\x00",
	"state", "Enum8('paid, or not' = 1, 'sent' = -2)", "\x01\xfe",
	"at", "DateTime64(3, 'UTC')", u64(1795000000123, 0),
	"maybe", "Nullable(Int8)", "\x00\x01\xff\x00",
	"pair", "Tuple(a UInt8, `b c` String)", "\x01\x02" + str("x") + str("y"),
	"from", "IPv4", "\x01\x02\x00\x0a\x02\x02\x00\x0a",
	"big", "Int128", strings.Repeat("\xff", 16) + u64(0, 1),
}

func samples() []dissecttest.Sample {
	return []dissecttest.Sample{
		{Name: "newest", Rows: 4, Chunks: chunks{
			client(helloOf(newest)), server(welcomeOf(newest)), client(addendum(newest)),
			client(statement("SELECT * FROM orders WHERE id < {id:UInt8}", newest, "id='3'")),
			server(data(newest, 0, "id", "UInt32", "", "name", "String", ""), data(newest, 2, types...), "\x03"+vary(2)+vary(64)+vary(2)+vary(0)+vary(0)+vary(0)+vary(1000),
				"\x06"+vary(2)+vary(1)+vary(64)+"\x00\x00\x00\x00"+vary(0), end),
			client(statement("INSERT INTO orders VALUES", newest)), server("\x0b\x00\x02id", data(newest, 0, "id", "UInt8", "")),
			client("\x02\x00" + block(newest, 3, "id", "UInt8", "\x01\x02\x03")), client("\x02\x00" + block(newest, 0)), server(end),
			client("\x04"), server("\x04")}},
		{Name: "old", Rows: 3, Chunks: chunks{
			client(helloOf(revPatch)), server(welcomeOf(revPatch)), client(statement("SELECT x", revPatch)), server(failure),
			client(statement("SELECT 1", revPatch)), server(data(revPatch, 1, "1", "UInt8", "\x01"), data(revPatch, 0), end)}},
		{Name: "from the middle", Rows: 1, Chunks: chunks{
			client(statement("SELECT 1", revTime)), server(data(revTime, 1, "1", "UInt8", "\x01"), end)}},
	}
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples()...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

func TestRows(t *testing.T) {
	begin := chunks{client(helloOf(newest)), server(welcomeOf(newest)), client(addendum(newest))}
	const traced = "trace_id=0102030405060708090a0b0c0d0e0f10 "
	login := "HELLO alice → ClickHouse 24.8.7"
	ask := client(statement("SELECT 1", newest))
	dissecttest.Converse(t, Protocol(), []string{"clickhouse_rows", "clickhouse_preview", "clickhouse_inserted_rows", "clickhouse_params", "clickhouse_error_code", "trace_id"}, []dissecttest.Conversation{
		{Name: "values of all kinds", Chunks: samples()[0].Chunks, Want: []string{
			login,
			"SELECT * FROM orders WHERE id < {id:UInt8} → 2 rows " + traced + "clickhouse_params=[id='3'] clickhouse_rows=2 clickhouse_preview=" +
				"1\ttea\t…\t…\t-0.05\tpaid, or not\t2026-11-18 11:06:40.123\t-1\t…\t10.0.2.1\t-1\n2\t\\N\t…\t…\t123.45\tsent\t1970-01-01 00:00:00.000\t\\N\t…\t10.0.2.2\t18446744073709551616\n",
			"INSERT INTO orders VALUES → 3 rows inserted " + traced + "clickhouse_inserted_rows=3",
			"PING → ok"}},
		{Name: "an error", Chunks: append(begin[:3:3], ask, server(failure)), Want: []string{
			login, "SELECT 1 → UNKNOWN_TABLE: no such table x outcome=client_error " + traced + "clickhouse_error_code=60"}},
		{Name: "sparse columns", Chunks: append(begin[:3:3], ask, server(data(newest, 10, "n", "UInt64", "sparse:\x01\x01"+vary(3)+vary(2)+vary(4|1<<62)+u64(7, 8)), end)), Want: []string{
			login, "SELECT 1 → 10 rows " + traced + "clickhouse_rows=10 clickhouse_preview=" + strings.Repeat("…\n", 10)}},
		{Name: "a type that is not known", Chunks: append(begin[:3:3], ask, server(data(newest, 1, "j", "JSON", "whatever"), end), ask, server(data(newest, 1, "1", "UInt8", "\x01"), end)), Want: []string{
			login, "SELECT 1 → unread error=unread outcome=unread " + strings.TrimSpace(traced),
			"SELECT 1 → 1 row " + traced + "clickhouse_rows=1 clickhouse_preview=1\n"}},
		{Name: "a gap in a response", Chunks: append(begin[:3:3], ask, server(data(newest, 3, "1", "UInt8", "\x01")), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 100}, server("\x01\x02\x03"), ask, server(data(newest, 1, "1", "UInt8", "\x01"), end)), Want: []string{
			login, "SELECT 1 → gap error=gap outcome=unread " + strings.TrimSpace(traced),
			"SELECT 1 → 1 row " + traced + "clickhouse_rows=1 clickhouse_preview=1\n"}},
	}...)
}

// TestRevisionsFromTheMiddle has a statement and its answer in each revision, without the login that says which it is,
// with a client of the same revision and with a newer one.
func TestRevisionsFromTheMiddle(t *testing.T) {
	long := append([]uint64{revTotalBytes, revElapsed, revAggregation, revWritten, revCustom, newest}, guesses...)
	for _, rev := range append(long, 54412, revTotalBytes-1, revElapsed-1, revAggregation-1, revWritten-1) {
		progress, profile := "\x03"+vary(2)+vary(64)+vary(2), "\x06"+vary(2)+vary(1)+vary(64)+"\x00\x00\x00"
		for from, n := range map[uint64]int{revTotalBytes: 1, revWritten: 2, revElapsed: 1} {
			if rev >= from {
				progress += strings.Repeat(vary(300), n)
			}
		}
		if rev >= revAggregation {
			profile += "\x00" + vary(0)
		}
		answer := []string{data(rev, 0, "1", "UInt8", ""), progress, data(rev, 1, "1", "UInt8", "\x01"), profile, progress, data(rev, 0), end}
		for _, of := range []uint64{rev, newest} {
			if of > rev && rev == revReplicas { // its statements are those of the next one, its columns are not
				continue
			}
			ask := strings.Replace(statement("SELECT 1", rev), vary(max(rev, revTimezone)), vary(max(of, revTimezone)), 1)
			whole, parts := chunks{client(ask), server(answer...)}, chunks{client(ask)}
			for _, p := range answer {
				parts = append(parts, server(p))
			}
			for _, c := range []chunks{whole, parts} {
				dissecttest.Converse(t, Protocol(), []string{"clickhouse_rows"}, dissecttest.Conversation{
					Name: fmt.Sprintf("revision %d of client %d in %d", rev, of, len(c)), Midway: true, Chunks: c, Want: []string{"SELECT 1 → 1 row clickhouse_rows=1"}})
			}
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a login", dissect.ToServer, helloOf(newest), dissect.Yes},
		{"the beginning of a login", dissect.ToServer, helloOf(newest)[:12], dissect.More},
		{"an answer", dissect.ToClient, welcomeOf(revPatch), dissect.Yes},
		{"an answer is no login", dissect.ToServer, welcomeOf(newest), dissect.No},
		{"a statement", dissect.ToServer, statement("SELECT 1", newest), dissect.Yes},
		{"a statement of an old client", dissect.ToServer, statement("SELECT 1", revPatch), dissect.Yes},
		{"a revision that does not exist", dissect.ToServer, "\x00\x06client\x01\x01\x05\x00\x00\x00", dissect.No},
		{"an error", dissect.ToClient, failure, dissect.Yes},
		{"an error of another product", dissect.ToClient, "\x02\x3c\x00\x00\x00\x05MySQL\x01x\x00\x00", dissect.No},
		{"a ping", dissect.ToServer, "\x04", dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}

// TestKinds checks the sizes of types, and that no type panics or nests for ever.
func TestKinds(t *testing.T) {
	for name, want := range map[string]kind{
		"Decimal(18, 4)": {shape: fixed, size: 8}, "Decimal128(3)": {shape: fixed, size: 16}, "FixedString(7)": {shape: fixed, size: 7},
		"IntervalDay": {shape: fixed, size: 8}, "SimpleAggregateFunction(sum, UInt16)": {shape: fixed, size: 2}, "Point": {shape: tuple},
		"Nested(a UInt8, b String)": {shape: array}, "Array(Nullable(UUID))": {shape: array}, "Tuple(x DateTime('Europe/Berlin'), y Decimal(9, 2))": {shape: tuple},
		"AggregateFunction(uniq, UInt64)": {shape: unreadable}, "Array(JSON)": {shape: unreadable}, "Dynamic(max_types=4)": {shape: unreadable}, "Tuple(a UInt8, b Variant(UInt8, String))": {shape: unreadable}, "Map(String, Dynamic)": {shape: unreadable}, "JSON(a UInt8)": {shape: unreadable}, "QBit(Float32, 8)": {shape: unreadable}, "FixedString(-1)": {shape: unreadable}, "Decimal()": {shape: unreadable},
		"Array(": {shape: unreadable}, "Tuple()": {shape: unreadable}, "": {shape: unreadable}, strings.Repeat("Array(", 5000) + "UInt8" + strings.Repeat(")", 5000): {shape: unreadable},
	} {
		if k := parseKind(name, 0); k.shape != want.shape || k.size != want.size {
			t.Errorf("%.60s: shape %d, size %d, want %d, %d", name, k.shape, k.size, want.shape, want.size)
		}
	}
}
