package mysql

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// pkt is a packet with its sequence number and the parts of its payload.
func pkt(seq int, parts ...string) string {
	s := strings.Join(parts, "")
	return string([]byte{byte(len(s)), byte(len(s) >> 8), byte(len(s) >> 16), byte(seq)}) + s
}

func u16(v int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(v))) }
func u32(v int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(v))) }

// str is a length-encoded string of at most 250 bytes.
func str(s string) string { return string([]byte{byte(len(s))}) + s }

const (
	baseCaps = cap41 | capSecure | capPluginAuth | capConnectDB | 1<<16 | 1<<17 | capLongPassword
	scramble = "abcdefgh"
	native   = "mysql_native_password"
)

func greeting(version string, caps int) string {
	return pkt(0, "\x0a", version, "\x00", u32(17), scramble, "\x00", u16(caps), "\x21", u16(2), u16(caps>>16), "\x15", strings.Repeat("\x00", 10), "ijklmnopqrst\x00", native, "\x00")
}

// response is the client's answer with a password for user bob and database shop.
func response(seq, caps int) string {
	s := []string{u32(caps), u32(1 << 24), "\x21", strings.Repeat("\x00", 23)}
	if caps&capSSL == 0 || seq > 1 {
		s = append(s, "bob\x00", str(strings.Repeat("h", 20)), "shop\x00", native, "\x00")
		if caps&capAttributes != 0 {
			s = append(s, str(str("_client_name")+str("libmysql")+str("program_name")+str("orders")))
		}
	}
	return pkt(seq, s...)
}

func okPacket(seq, affected, id, status int, info string) string {
	return pkt(seq, "\x00", string([]byte{byte(affected), byte(id)}), u16(status), u16(0), info)
}

func errPacket(seq, code int, state, message string) string {
	return pkt(seq, "\xff", u16(code), "#", state, message)
}

func eof(seq, status int) string { return pkt(seq, "\xfe", u16(0), u16(status)) }

func column(seq int, name string, typ byte) string {
	return pkt(seq, str("def"), str("shop"), str("t"), str("t"), str(name), str(name), "\x0c\x21\x00", u32(80), string([]byte{typ}), u16(0), "\x00\x00\x00")
}

// result is a result of the text protocol with two columns, with EOF packets.
func result(seq, status int, rows ...string) string {
	s := pkt(seq, "\x02") + column(seq+1, "id", 3) + column(seq+2, "name", 253) + eof(seq+3, 2)
	for i, r := range rows {
		s += pkt(seq+4+i, r)
	}
	return s + eof(seq+4+len(rows), status)
}

func com(command byte, body string) string { return pkt(0, string([]byte{command}), body) }

func query(q string) string { return com(comQuery, q) }

// login is the connection phase up to the verdict.
func login(caps int) chunks {
	return chunks{server(greeting("8.0.32", caps|capLongPassword)), client(response(1, caps)), server(okPacket(2, 0, 0, 2, ""))}
}

// packed is a compressed packet.
func packed(seq int, plain string) string {
	var b strings.Builder
	z := zlib.NewWriter(&b)
	if _, err := z.Write([]byte(plain)); err != nil {
		panic(err)
	}
	z.Close()
	return string([]byte{byte(b.Len()), byte(b.Len() >> 8), byte(b.Len() >> 16), byte(seq), byte(len(plain)), byte(len(plain) >> 8), byte(len(plain) >> 16)}) + b.String()
}

// unpacked is a packet of the compressed protocol that is too short to compress.
func unpacked(seq int, plain string) string {
	return string([]byte{byte(len(plain)), byte(len(plain) >> 8), 0, byte(seq), 0, 0, 0}) + plain
}

const long = "select * from items where name = 'a very long name that compresses well well well well'"

func samples() []dissecttest.Sample {
	id7 := u32(7)
	prepared := pkt(1, "\x00", id7, u16(1), u16(2), "\x00", u16(0)) + column(2, "?", 253) + column(3, "?", 253) + eof(4, 2) + column(5, "id", 3) + eof(6, 2)
	executed := com(comExecute, id7+"\x00"+u32(1)+"\x02\x01"+"\x08\x80\xfd\x00"+u32(5)+u32(0))
	rows := pkt(1, "\x01") + column(2, "id", 3) + eof(3, 2) + pkt(4, "\x00\x00", u32(41)) + eof(5, 2)
	return []dissecttest.Sample{
		{Name: "text", Rows: 7, Chunks: append(login(baseCaps|capAttributes),
			client(query("select id, name from items")), server(result(1, 2, str("1")+str("tea pot"), str("2")+"\xfb")),
			client(query("update items set name = 'x'")), server(okPacket(1, 2, 0, 3, str("Rows matched: 2  Changed: 2  Warnings: 0"))),
			client(query("select 1; select 2")), server(result(1, 10, str("1")+str("a"))+result(7, 2)),
			client(query("selec 1")), server(errPacket(1, 1064, "42000", "You have an error in your SQL syntax")),
			client(com(comPing, "")), server(okPacket(1, 0, 0, 2, "")),
			client(com(comQuit, "")))},
		{Name: "prepared", Rows: 5, Chunks: append(login(baseCaps),
			client(com(comPrepare, "select id from items where id = ? and name = ?")), server(prepared),
			client(executed), server(rows),
			client(executed), server(errPacket(1, 1205, "HY000", "Lock wait timeout exceeded")),
			client(com(comClose, id7)))},
		{Name: "a file", Rows: 2, Chunks: append(login(baseCaps),
			client(query("load data local infile '/tmp/a' into table t")), server(pkt(1, "\xfb/tmp/a")),
			client(pkt(2, "1\ta\n2\tb\n")+pkt(3, "")), server(okPacket(4, 2, 0, 2, "Records: 2  Deleted: 0  Skipped: 0  Warnings: 0")))},
		{Name: "no EOF packets", Rows: 2, Chunks: append(login(baseCaps|capNoEOF),
			client(query("select id, name from items")),
			server(pkt(1, "\x02")+column(2, "id", 3)+column(3, "name", 253)+pkt(4, str("1"), str("a"))+pkt(5, "\xfe\x00\x00", u16(2), u16(0))))},
		{Name: "another plugin", Rows: 2, Chunks: chunks{server(greeting("5.5.5-10.11.6-MariaDB", baseCaps)), client(response(1, baseCaps)),
			server(pkt(2, "\xfecaching_sha2_password\x00", strings.Repeat("s", 20), "\x00")), client(pkt(3, strings.Repeat("h", 32))),
			server(pkt(4, "\x01\x03") + okPacket(5, 0, 0, 2, "")), client(com(comInitDB, "other")), server(okPacket(1, 0, 0, 2, ""))}},
		{Name: "a second factor", Rows: 1, Chunks: chunks{server(greeting("9.1.0", baseCaps)), client(response(1, baseCaps)),
			server(pkt(2, "\x02authentication_webauthn_client\x00challenge")), client(pkt(3, "signature")), server(okPacket(4, 0, 0, 2, ""))}},
		{Name: "data of a plugin of MariaDB", Rows: 1, Chunks: chunks{server(greeting("5.5.5-11.6.2-MariaDB", baseCaps&^capLongPassword)), client(response(1, baseCaps&^capLongPassword)),
			server(pkt(2, "\xfeparsec\x00", strings.Repeat("s", 32))), client(pkt(3, "")), server(pkt(4, "P\x00salt")), client(pkt(5, strings.Repeat("c", 96))), server(okPacket(6, 0, 0, 2, ""))}},
		{Name: "compressed", Rows: 2, Chunks: append(login(baseCaps|capCompress),
			client(packed(0, query(long))), server(packed(1, result(1, 2, str("1")+str(strings.Repeat("x", 100))))))},
	}
}

func TestConformance(t *testing.T) { dissecttest.Run(t, Protocol(), samples()...) }

// sketch renders what matters of a row.
func sketch(r *Row) string {
	s := r.Command.V + " | " + r.Summary
	add := func(name string, v any, ok bool) {
		if ok {
			s += fmt.Sprintf(" | %s %v", name, v)
		}
	}
	add("user", r.User.V+"@"+r.Database.V+" "+r.Application.V+" "+r.AuthKind.V, r.Command.V == "CONNECT")
	add("params", strings.Join(r.Params, ","), len(r.Params) > 0)
	add("types", strings.Join(r.ParamTypes, ","), len(r.ParamTypes) > 0)
	add("attributes", strings.Join(r.Attributes, ","), len(r.Attributes) > 0)
	add("columns", strings.Join(r.Columns, ","), len(r.Columns) > 0)
	add("rows", fmt.Sprintf("%q", r.Preview.V), r.Preview.OK)
	add("results", r.Results, r.Results > 1)
	add("affected", r.Affected.V, r.Affected.OK)
	add("info", r.Info.V, r.Info.OK)
	add("file", r.File.V, r.File.OK)
	add("state", r.Transaction.V, r.Transaction.V == "transaction")
	add("outcome", r.Outcome, r.Failed || !r.Complete)
	return s
}

// rows plays a conversation and returns its rows.
func rows(t *testing.T, o dissecttest.Options, c chunks) (list []string) {
	t.Helper()
	if o.ServerPort == 0 {
		o.ServerPort = 3306
	}
	o.Protocols = []*dissect.Protocol{Protocol()}
	r := dissecttest.Play(t, o, c...)
	if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
		t.Errorf("%d of %d bytes accounted for, %d held", got, r.Bytes, r.Held)
	}
	for _, e := range r.Rows() {
		if row, ok := e.(*Row); ok {
			list = append(list, sketch(row))
		} else {
			list = append(list, "? "+e.Base().Summary)
		}
	}
	for _, a := range r.Anomalies {
		list = append(list, "anomaly "+a.Kind+" "+a.Detail)
	}
	return list
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestRows(t *testing.T) {
	want := map[string][]string{
		"text": {
			"CONNECT | connect bob@shop, mysql_native_password → ok | user bob@shop orders mysql_native_password",
			`COM_QUERY | select id, name from items → 2 rows | columns id,name | rows "1\ttea pot\n2\t\\N\n"`,
			"COM_QUERY | update items set name = 'x' → 2 rows affected | affected 2 | info Rows matched: 2  Changed: 2  Warnings: 0 | state transaction",
			`COM_QUERY | select 1; select 2 → 1 row in 2 results | columns id,name | rows "1\ta\n" | results 2`,
			"COM_QUERY | selec 1 → ERROR 1064 (42000) You have an error in your SQL syntax | outcome client_error",
			"COM_PING | ping → ok", "COM_QUIT | quit",
		},
		"prepared": {
			"CONNECT | connect bob@shop, mysql_native_password → ok | user bob@shop  mysql_native_password",
			"COM_STMT_PREPARE | prepare select id from items where id = ? and name = ? → ok | columns id",
			`COM_STMT_EXECUTE | select id from items where id = ? and name = ? → 1 row | params 5,NULL | types LONGLONG UNSIGNED,VAR_STRING | columns id | rows "41\n"`,
			"COM_STMT_EXECUTE | select id from items where id = ? and name = ? → ERROR 1205 (HY000) Lock wait timeout exceeded | params 5,NULL | types LONGLONG UNSIGNED,VAR_STRING | outcome server_error",
			"COM_STMT_CLOSE | close select id from items where id = ? and name = ?",
		},
		"a file": {
			"CONNECT | connect bob@shop, mysql_native_password → ok | user bob@shop  mysql_native_password",
			"COM_QUERY | load data local infile '/tmp/a' into table t → 2 rows affected | affected 2 | info Records: 2  Deleted: 0  Skipped: 0  Warnings: 0 | file /tmp/a",
		},
		"no EOF packets": {
			"CONNECT | connect bob@shop, mysql_native_password → ok | user bob@shop  mysql_native_password",
			`COM_QUERY | select id, name from items → 1 row | columns id,name | rows "1\ta\n"`,
		},
		"another plugin": {
			"CONNECT | connect bob@shop, caching_sha2_password → ok | user bob@shop  caching_sha2_password",
			"COM_INIT_DB | init db other → ok",
		},
		"a second factor":             {"CONNECT | connect bob@shop, authentication_webauthn_client → ok | user bob@shop  authentication_webauthn_client"},
		"data of a plugin of MariaDB": {"CONNECT | connect bob@shop, parsec → ok | user bob@shop  parsec"},
		"compressed": {
			"CONNECT | connect bob@shop, mysql_native_password → ok | user bob@shop  mysql_native_password",
			`COM_QUERY | ` + long + ` → 1 row | columns id,name | rows "1\t` + strings.Repeat("x", 100) + `\n"`,
		},
	}
	for _, s := range samples() {
		t.Run(s.Name, func(t *testing.T) {
			compare(t, rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, s.Chunks), want[s.Name])
		})
	}
}
