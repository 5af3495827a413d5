package mysql

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
)

const loggedIn = "CONNECT | connect bob@shop, mysql_native_password → ok | user bob@shop  mysql_native_password"

// longQuery is a statement of n bytes in packets of the greatest size.
func longQuery(n int) string {
	text := "\x03select '" + strings.Repeat("y", n-9) + "'"
	s := ""
	for seq := 0; ; seq++ {
		size := min(len(text), maxPacket)
		s += pkt(seq, text[:size])
		if text = text[size:]; size < maxPacket {
			return s
		}
	}
}

func TestConnections(t *testing.T) {
	withAttributes := login(baseCaps | capQueryAttrs)
	for _, tc := range []struct {
		name  string
		parts chunks
		want  []string
	}{
		{"too many connections", chunks{server(pkt(0, "\xff", u16(1040), "#08004Too many connections"))},
			[]string{"CONNECT | connect → ERROR 1040 (08004) Too many connections | user @   | outcome server_error"}},
		{"a host that may not connect, without a state", chunks{server(pkt(0, "\xff", u16(1130), "Host '10.0.0.1' is not allowed to connect to this MariaDB server"))},
			[]string{"CONNECT | connect → ERROR 1130 Host '10.0.0.1' is not allowed to connect to this MariaDB server | user @   | outcome client_error"}},
		{"a probe that closes after the greeting", chunks{server(greeting("8.0.32", baseCaps))},
			[]string{"CONNECT | connect, server 8.0.32 → ok | user @  "}},
		{"a wrong password", chunks{server(greeting("8.0.32", baseCaps)), client(response(1, baseCaps)), server(errPacket(2, 1045, "28000", "Access denied for user 'bob'"))},
			[]string{"CONNECT | connect bob@shop, mysql_native_password → ERROR 1045 (28000) Access denied for user 'bob' | user bob@shop  mysql_native_password | outcome client_error"}},
		{"another user", append(login(baseCaps), client(com(comChangeUser, "eve\x00"+str("12345678901234567890")+"hr\x00\x21\x00"+native+"\x00")), server(okPacket(1, 0, 0, 2, "")),
			client(query("select 1")), server(errPacket(1, 1142, "42000", "SELECT command denied to user 'eve'"))),
			[]string{loggedIn, "COM_CHANGE_USER | change user eve@hr, mysql_native_password → ok", "COM_QUERY | select 1 → ERROR 1142 (42000) SELECT command denied to user 'eve' | outcome client_error"}},
		{"attributes of a query", append(withAttributes, client(query("\x01\x01\x00\x01\xfe\x00"+str("trace")+str("abc")+"select 1")), server(okPacket(1, 0, 0, 2, ""))),
			[]string{loggedIn, "COM_QUERY | select 1 → 0 rows affected | attributes trace=abc | affected 0"}},
		{"a session that was idle", append(login(baseCaps), server(errPacket(0, 4031, "HY000", "The client was disconnected"))),
			[]string{loggedIn, " | notice → ERROR 4031 (HY000) The client was disconnected | outcome server_error"}},
		{"a report of progress before the result", append(login(baseCaps), client(query("alter table t add a int")),
			server(pkt(1, "\xff\xff\xff\x01\x01\x02\x10\x27\x00\x05stage")+okPacket(2, 0, 0, 2, ""))),
			[]string{loggedIn, "COM_QUERY | alter table t add a int → 0 rows affected | affected 0"}},
		{"a statement of more than 16 MiB", append(login(baseCaps), client(longQuery(maxPacket+100)), server(okPacket(2, 0, 0, 2, ""))),
			[]string{loggedIn, "COM_QUERY | select '" + strings.Repeat("y", 112) + "… → 0 rows affected | affected 0"}},
		{"a statement of exactly 16 MiB − 1", append(login(baseCaps), client(longQuery(maxPacket)), server(okPacket(2, 0, 0, 2, ""))),
			[]string{loggedIn, "COM_QUERY | select '" + strings.Repeat("y", 112) + "… → 0 rows affected | affected 0"}},
		{"a row of more than 16 MiB", append(login(baseCaps), client(query("select id, name from items")),
			server(pkt(1, "\x02")+column(2, "id", 3)+column(3, "name", 253)+eof(4, 2)+pkt(5, str("1"), "\xfd\xff\xff\xff", strings.Repeat("z", maxPacket-6))+pkt(6, "zzzzzz")+eof(7, 2))),
			[]string{loggedIn, `COM_QUERY | select id, name from items → 1 row | columns id,name | rows "…"`}},
		{"a wrong sequence number", append(login(baseCaps), client(query("select 1")), server(okPacket(2, 0, 0, 2, "")), client(query("select 2")), server(okPacket(1, 0, 0, 2, ""))),
			[]string{loggedIn, "COM_QUERY | select 1 → gap | outcome unread", "COM_QUERY | select 2 → 0 rows affected | affected 0",
				"anomaly malformed reading a packet to_client: sequence number 2 instead of 1"}},
		{"a preparation with the result of another statement", append(login(baseCaps), client(com(comPrepare, "select 1")), server(result(1, 2, str("1")+str("a")))),
			[]string{loggedIn, "COM_STMT_PREPARE | prepare select 1 → malformed | outcome unread", "anomaly malformed reading the reply to COM_STMT_PREPARE: it begins with 2, not with OK"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			compare(t, rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, tc.parts), tc.want)
		})
	}
	for _, end := range []dissect.End{dissect.EndCapture, dissect.EndTimeout, dissect.EndReuse} { // how the client went on was not captured
		compare(t, rows(t, dissecttest.Options{Roles: true, End: end}, chunks{server(greeting("8.0.32", baseCaps))}),
			[]string{"CONNECT | connect, server 8.0.32 → no_request | user @   | outcome cut"})
	}
}

// Some clients offer capabilities that the server lacks, so without the greeting only the messages show which are used.
func TestAMissingGreetingLeavesCapabilitiesOpen(t *testing.T) {
	all := baseCaps | capQueryAttrs | capNoEOF | capSessionTrack | capMetadata | capCacheMeta
	id := u32(9)
	prepare := chunks{client(com(comPrepare, "insert into t values (?)")), server(pkt(1, "\x00", id, u16(0), u16(1), "\x00", u16(0)) + column(2, "?", 252) + eof(3, 2))}
	const cut, prepared = "CONNECT | connect bob@shop, mysql_native_password → ok, gap | user bob@shop  mysql_native_password | outcome ok", "COM_STMT_PREPARE | prepare insert into t values (?) → ok"
	execute := func(parts string) chunks {
		return append(prepare, client(com(comExecute, id+"\x00"+u32(1)+parts)), server(okPacket(1, 1, 0, 2, "")))
	}
	for _, tc := range []struct {
		name  string
		parts chunks
		want  []string
	}{
		{"statements without attributes", chunks{client(query("drop table if exists a")), server(okPacket(1, 0, 0, 2, "Rows")), client(query("select id, name from t")), server(result(1, 2, str("1")+str("a")))},
			[]string{"COM_QUERY | drop table if exists a → 0 rows affected | affected 0 | info Rows", `COM_QUERY | select id, name from t → 1 row | columns id,name | rows "1\ta\n"`}},
		{"statements with attributes", chunks{client(query("\x01\x01\x00\x01\xfe\x00" + str("trace") + str("abc") + "select 1")), server(okPacket(1, 0, 0, 2, ""))},
			[]string{"COM_QUERY | select 1 → 0 rows affected | attributes trace=abc | affected 0"}},
		{"parameters without names", execute("\x00\x01\xfd\x00" + str("abc")),
			[]string{prepared, "COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params abc | types VAR_STRING | affected 1"}},
		{"parameters with names", execute("\x01\x00\x01\xfd\x00\x00" + str("abc")),
			[]string{prepared, "COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params abc | types VAR_STRING | affected 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parts := append(chunks{client(response(1, all)), server(okPacket(2, 0, 0, 2, ""))}, tc.parts...)
			compare(t, rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, parts), append([]string{cut}, tc.want...))
		})
	}
}

// TestATruncatedGreeting has a snap length that cuts the greeting in its challenge, so the capabilities of the server are not read.
func TestATruncatedGreeting(t *testing.T) {
	caps := baseCaps | capCompress | capQueryAttrs
	whole := greeting("8.0.32", caps)
	parts := chunks{server(whole[:48]), {Dir: dissect.ToClient, Gap: int64(len(whole) - 48)}, client(response(1, caps)), server(okPacket(2, 0, 0, 2, "")),
		client(packed(0, query(long))), server(unpacked(1, okPacket(1, 0, 0, 2, "")))}
	got := rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, parts)
	if len(got) < 2 || !strings.HasPrefix(got[1], "COM_QUERY | "+long[:20]) || !strings.Contains(got[1], "0 rows affected") {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

func TestPreparedStatements(t *testing.T) {
	id, latest := u32(9), u32(-1)
	prepare := chunks{client(com(comPrepare, "insert into t values (?)")), server(pkt(1, "\x00", id, u16(0), u16(1), "\x00", u16(0)) + column(2, "?", 252) + eof(3, 2))}
	const prepared = "COM_STMT_PREPARE | prepare insert into t values (?) → ok"
	for _, tc := range []struct {
		name  string
		parts chunks
		want  []string
	}{
		{"a value that is sent in advance", chunks{client(com(comLongData, id+u16(0)+"abc")), client(com(comLongData, id+u16(0)+"def")),
			client(com(comExecute, id+"\x00"+u32(1)+"\x00\x01\xfc\x00")), server(okPacket(1, 1, 0, 2, ""))},
			[]string{"COM_STMT_SEND_LONG_DATA | send long data insert into t values (?)", "COM_STMT_SEND_LONG_DATA | send long data insert into t values (?)",
				"COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params abcdef | types BLOB | affected 1"}},
		{"types from the execution before", chunks{client(com(comExecute, id+"\x00"+u32(1)+"\x00\x01\x01\x00\xff")), server(okPacket(1, 1, 0, 2, "")),
			client(com(comExecute, id+"\x00"+u32(1)+"\x00\x00\x05")), server(okPacket(1, 1, 0, 2, ""))},
			[]string{"COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params -1 | types TINY | affected 1",
				"COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params 5 | types TINY | affected 1"}},
		{"the latest statement", chunks{client(com(comExecute, u32(-1)+"\x00"+u32(1)+"\x00\x01\x01\x00\xff")), server(okPacket(1, 1, 0, 2, ""))},
			[]string{"COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params -1 | types TINY | affected 1"}},
		{"executed before the server answers the preparation", chunks{client(com(comPrepare, "update t set a = ?, b = '?' -- ?\n where id = ?") + com(comExecute, latest+"\x00"+u32(1)+"\x00\x01\x01\x00\x01\x00\x07\x08")),
			server(pkt(1, "\x00", u32(10), u16(0), u16(2), "\x00", u16(0)) + column(2, "?", 252) + column(3, "?", 252) + eof(4, 2) + okPacket(1, 1, 0, 2, "")),
			client(com(comExecute, id+"\x00"+u32(1)+"\x00\x01\x01\x00\x09")), server(okPacket(1, 1, 0, 2, "")),
			client(com(comExecute, latest+"\x00"+u32(1)+"\x00\x00\x05\x06")), server(okPacket(1, 1, 0, 2, ""))},
			[]string{"COM_STMT_PREPARE | prepare update t set a = ?, b = '?' -- ? where id = ? → ok",
				"COM_STMT_EXECUTE | update t set a = ?, b = '?' -- ? where id = ? → 1 row affected | params 7,8 | types TINY,TINY | affected 1",
				"COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params 9 | types TINY | affected 1",
				"COM_STMT_EXECUTE | update t set a = ?, b = '?' -- ? where id = ? → 1 row affected | params 5,6 | types TINY,TINY | affected 1"}},
		{"executed before a preparation fails", chunks{client(com(comPrepare, "selec ?") + com(comExecute, latest+"\x00"+u32(1)+"\x00\x01\x01\x00\x01")),
			server(errPacket(1, 1064, "42000", "bad") + errPacket(1, 1064, "42000", "bad")),
			client(com(comExecute, latest+"\x00"+u32(1))), server(errPacket(1, 1243, "HY000", "unknown statement"))},
			[]string{"COM_STMT_PREPARE | prepare selec ? → ERROR 1064 (42000) bad | outcome client_error", "COM_STMT_EXECUTE | selec ? → ERROR 1064 (42000) bad | params 1 | types TINY | outcome client_error",
				"COM_STMT_EXECUTE | ? → ERROR 1243 (HY000) unknown statement | outcome client_error"}},
		{"values in advance for the latest statement", chunks{client(com(comLongData, latest+u16(0)+"abc")), client(com(comExecute, latest+"\x00"+u32(1)+"\x00\x01\xfc\x00")), server(okPacket(1, 1, 0, 2, ""))},
			[]string{"COM_STMT_SEND_LONG_DATA | send long data insert into t values (?)", "COM_STMT_EXECUTE | insert into t values (?) → 1 row affected | params abc | types BLOB | affected 1"}},
		{"a cursor", chunks{client(com(comExecute, id+"\x01"+u32(1)+"\x00\x01\x01\x00\x01")),
			server(pkt(1, "\x01") + column(2, "id", 3) + eof(3, statusAutocommit|statusCursor)),
			client(com(comFetch, id+u32(2))), server(pkt(1, "\x00\x00", u32(1)) + pkt(2, "\x00\x00", u32(2)) + eof(3, 0x82))},
			[]string{"COM_STMT_EXECUTE | insert into t values (?) → 0 rows | params 1 | types TINY | columns id", `COM_STMT_FETCH | fetch insert into t values (?) → 2 rows | columns id | rows "1\n2\n"`}},
		{"a statement that was prepared before the capture", chunks{client(com(comExecute, u32(3)+"\x00"+u32(1)+"\x00\x01\x01\x00\x01")), server(okPacket(1, 1, 0, 2, ""))},
			[]string{"COM_STMT_EXECUTE | ? → 1 row affected | affected 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := append(login(baseCaps), append(prepare, tc.parts...)...)
			compare(t, rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, all), append([]string{loggedIn, prepared}, tc.want...))
		})
	}
}

// TestDataInAdvanceBeyondTheParametersShown executes a statement with more parameters than a row shows, of which the
// last ones were sent in advance.
func TestDataInAdvanceBeyondTheParametersShown(t *testing.T) {
	const n = maxParams + 20
	text, columns, types := "insert into t values (?"+strings.Repeat(", ?", n-1)+")", "", ""
	for i := range n {
		columns, types = columns+column(2+i, "?", 252), types+map[bool]string{false: "\x01\x00", true: "\xfc\x00"}[i >= maxParams+5]
	}
	all := append(login(baseCaps), client(com(comPrepare, text)), server(pkt(1, "\x00", u32(9), u16(0), u16(n), "\x00", u16(0))+columns+eof(2+n, 2)))
	for i := maxParams + 5; i < n; i++ {
		all = append(all, client(com(comLongData, u32(9)+u16(i)+"abc")))
	}
	for _, bound := range []string{"\x01" + types, "\x00"} { // the second execution has no data in advance, but its values
		values := strings.Repeat("\x07", maxParams+5)
		if bound == "\x00" {
			values += strings.Repeat(str("xyz"), n-maxParams-5)
		}
		all = append(all, client(com(comExecute, u32(9)+"\x00"+u32(1)+strings.Repeat("\x00", (n+7)/8)+bound+values)), server(okPacket(1, 1, 0, 2, "")))
	}
	r := dissecttest.Play(t, dissecttest.Options{Roles: true, ServerPort: 3306, End: dissect.EndFin, Protocols: []*dissect.Protocol{Protocol()}}, all...)
	var executed int
	for _, row := range r.Rows() {
		if row := row.(*Row); row.Command.V == "COM_STMT_EXECUTE" {
			executed++
			if len(row.Params) != maxParams+1 || row.Params[maxParams-1] != "7" || row.Affected.V != 1 {
				t.Errorf("%s, %d parameters", row.Summary, len(row.Params))
			}
		}
	}
	if executed != 2 || len(r.Anomalies) > 0 {
		t.Errorf("%d executions, anomalies %v", executed, r.Anomalies)
	}
}

// TestDataInAdvanceThatIsLost executes a statement whose value was sent in advance in lost bytes: its parameters are not
// known, but the execution is.
func TestDataInAdvanceThatIsLost(t *testing.T) {
	data, execution := com(comLongData, u32(9)+u16(1)+"abc"), func(bound, value string) chunks {
		return chunks{client(com(comExecute, u32(9)+"\x00"+u32(1)+"\x00"+bound+"\x07"+value)), server(okPacket(1, 1, 0, 2, ""))}
	}
	all := append(login(baseCaps), client(com(comPrepare, "insert into t values (?, ?)")),
		server(pkt(1, "\x00", u32(9), u16(0), u16(2), "\x00", u16(0))+column(2, "?", 1)+column(3, "?", 252)+eof(4, 2)))
	after := execution("\x01\x01\x00\xfc\x00", "")
	after[0].Gap = int64(len(data))
	compare(t, rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, append(append(all, after...), execution("\x00", str("xyz"))...)), []string{loggedIn,
		"COM_STMT_PREPARE | prepare insert into t values (?, ?) → ok",
		"COM_STMT_EXECUTE | insert into t values (?, ?) → gap | params … | types TINY,BLOB | outcome unread", // the reply may be to what was lost
		" | ? → 1 row affected, no_request | affected 1 | outcome cut",
		"COM_STMT_EXECUTE | insert into t values (?, ?) → 1 row affected | params 7,xyz | types TINY,BLOB | affected 1"})
}

// TestWithoutTheBeginning reads connections whose beginning was not captured, whose bytes were
// lost, or that continue in TLS.
func TestWithoutTheBeginning(t *testing.T) {
	select1 := chunks{client(query("select id, name from items")), server(result(1, 2, str("1")+str("a")))}
	const selected = `COM_QUERY | select id, name from items → 1 row | columns id,name | rows "1\ta\n"`
	lost := func(c dissecttest.Chunk, n int64) dissecttest.Chunk { c.Gap = n; return c }
	cut := result(1, 2, str("1")+str("tea pot"))
	greetingLost := strings.Replace(loggedIn, "→ ok |", "→ ok, gap |", 1) + " | outcome ok"
	for _, tc := range []struct {
		name  string
		parts chunks
		want  []string
	}{
		{"a query", select1, []string{selected}},
		{"no EOF packets", chunks{client(query("select id, name from items")), server(pkt(1, "\x02") + column(2, "id", 3) + column(3, "name", 253) + pkt(4, str("1"), str("a")) + pkt(5, "\xfe\x00\x00", u16(2), u16(0)))}, []string{selected}},
		{"a prepared statement, and nothing else", chunks{client(com(comPrepare, "select ?")), server(pkt(1, "\x00", u32(9), u16(0), u16(1), "\x00", u16(0)) + column(2, "?", 252) + eof(3, 2)), client(query("select id, name from items")), server(result(1, 2, str("1")+str("a")))},
			[]string{"COM_STMT_PREPARE | prepare select ? → ok", selected}},
		{"the end of a reply, then a query", append(chunks{server("pot\x05\x00\x00\x09\xfe\x00\x00\x02\x00")}, select1...), []string{"? tcp payload: 706f7405000009fe, 0 bytes sent, 12 received", selected}},
		{"a reply alone", chunks{server(result(1, 2, str("1")+str("a")))}, []string{` | ? → 1 row, no_request | columns id,name | rows "1\ta\n" | outcome cut`}},
		{"compressed", chunks{client(unpacked(0, query("select id, name from items"))), server(packed(1, result(1, 2, str("1")+str("a"))))}, []string{selected}},
		{"the client's answer without the greeting", chunks{client(response(1, baseCaps)), server(okPacket(2, 0, 0, 2, "")), select1[0], select1[1]}, []string{greetingLost, selected}},
		{"inside TLS", chunks{client(response(2, baseCaps|capSSL)), server(okPacket(3, 0, 0, 2, "")), select1[0], select1[1]}, []string{greetingLost, selected}},
		{"a gap in a row", append(chunks{client(query("select id, name from items")), server(cut[:len(cut)-16]), lost(server(cut[len(cut)-12:]), 4)}, select1...),
			[]string{`COM_QUERY | select id, name from items → 1 row, gap | columns id,name | rows "…" | outcome ok`, selected}},
		{"a reply that was lost", append(chunks{client(query("select 7"))}, select1[0], lost(select1[1], 11)),
			[]string{"COM_QUERY | select 7 → gap | outcome unread", "COM_QUERY | select id, name from items → gap | outcome unread",
				` | ? → 1 row, no_request | columns id,name | rows "1\ta\n" | outcome cut`, "anomaly pairing_unknown " + inorder.Unknown}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			compare(t, rows(t, dissecttest.Options{End: dissect.EndFin}, tc.parts), tc.want)
		})
	}
	got := rows(t, dissecttest.Options{Roles: true, End: dissect.EndFin}, chunks{server(greeting("8.0.32", baseCaps|capSSL)), client(response(1, baseCaps|capSSL)), client("\x16\x03\x01\x00\x02ab")})
	if len(got) != 2 || !strings.HasPrefix(got[0], "SSL_REQUEST | ssl request") {
		t.Errorf("a request for TLS: %q", got)
	}
}

// TestDatabaseAfterALoss loses a command that may have changed the database.
func TestDatabaseAfterALoss(t *testing.T) {
	parts := append(login(baseCaps), client(query("select 7")), server(okPacket(1, 0, 0, 2, "")), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 20}, server(okPacket(1, 0, 0, 2, "")),
		client(query("select id, name from items")), server(okPacket(1, 0, 0, 2, "")))
	var got []string
	for _, row := range dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), parts...).Rows() {
		r := row.(*Row)
		got = append(got, r.SQL.V+" in "+r.Database.V)
	}
	compare(t, got, []string{" in shop", "select 7 in shop", " in ", "select id, name from items in "})
}

func TestDetect(t *testing.T) {
	thrift := "\x80\x01\x00\x02\x00\x00\x00\x1ayet_another_command_passed\x00\x00\x00\x00\x0e" + strings.Repeat("\x0b\x00\x00\x00\xdf", 80)
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"OK", dissect.ToClient, okPacket(1, 1, 0, 2, ""), dissect.Likely},
		{"OK with a changed database", dissect.ToClient, okPacket(1, 0, 0, statusAutocommit|statusSessionState, "\x00\x07\x01\x05\x04shop"), dissect.Likely},
		{"OK with the name of a setting that does not fill it", dissect.ToClient, okPacket(1, 0, 0, statusAutocommit|statusSessionState, "\x00\x06\x01\x05\x04shop"), dissect.No},
		{"OK with a status that has no bit", dissect.ToClient, okPacket(1, 1, 0, 0, ""), dissect.No},
		{"a reply of thrift", dissect.ToClient, thrift, dissect.No},
		{"a ping, and nothing else", dissect.ToServer, com(comPing, ""), dissect.More},
		{"a ping and a query", dissect.ToServer, com(comPing, "") + query("select 1 from dual"), dissect.Likely},
		{"the end of a statement of PostgreSQL, cut", dissect.ToServer, "C\x00\x00\x00\x16START TRANSACTION", dissect.More},
		{"the end of a statement of PostgreSQL", dissect.ToServer, "C\x00\x00\x00\x16START TRANSACTION\x00C\x00", dissect.No},
		{"a query that is no statement", dissect.ToServer, query("hello, is anybody there?"), dissect.No},
		{"an execution", dissect.ToServer, com(comExecute, u32(7)+"\x00"+u32(1)), dissect.Likely},
		{"an execution that repeats", dissect.ToServer, com(comExecute, u32(7)+"\x00"+u32(2)), dissect.No},
	})
}

func TestBinaryValues(t *testing.T) {
	for _, tc := range []struct {
		name     string
		typ      byte
		unsigned bool
		in, want string
	}{
		{"a negative byte", typeTiny, false, "\xfe", "-2"},
		{"an unsigned byte", typeTiny, true, "\xfe", "254"},
		{"a year", typeYear, true, "\xe8\x07", "2024"},
		{"24 bits", typeInt24, false, "\xff\xff\xff\xff", "-1"},
		{"64 bits", typeLongLong, true, "\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"},
		{"a float", typeFloat, false, "\x00\x00\xc0\x3f", "1.5"},
		{"a double", typeDouble, false, "\x00\x00\x00\x00\x00\x00\xf8\x3f", "1.5"},
		{"a date", typeDate, false, "\x04\xe8\x07\x02\x1d", "2024-02-29"},
		{"no date", typeDate, false, "\x00", "0000-00-00"},
		{"a time stamp", typeTimestamp, false, "\x0b\xe8\x07\x02\x1d\x17\x3b\x3a\x40\x42\x0f\x00", "2024-02-29 23:59:58.1000000"[:26] + "0"},
		{"midnight", typeDateTime, false, "\x04\xe8\x07\x02\x1d", "2024-02-29 00:00:00"},
		{"a negative time", typeTime, false, "\x08\x01\x01\x00\x00\x00\x02\x03\x04", "-26:03:04"},
		{"a decimal", 0xf6, false, "\x0519.99", "19.99"},
		{"text with a tab", 0xfd, false, "\x03a\tb", `a\tb`},
		{"bytes", 0xfc, false, "\x02\x00\xff", "0x00ff"},
		{"a string that is too short", 0xfc, false, "\x09ab", ""},
	} {
		r := newReader([]byte(tc.in))
		got := string(appendValue(nil, columnType{tc.typ, tc.unsigned}, &r))
		if got != tc.want || r.Short() != (tc.name == "a string that is too short") {
			t.Errorf("%s: %q, want %q; short %v", tc.name, got, tc.want, r.Short())
		}
	}
}

// TestSecretsStayInside plays every conversation with credentials and searches the rows for them.
func TestSecretsStayInside(t *testing.T) {
	for _, s := range samples() {
		r := dissecttest.Play(t, dissecttest.Options{ServerPort: 3306, Roles: true, End: dissect.EndFin, Protocols: []*dissect.Protocol{Protocol()}}, s.Chunks...)
		for _, e := range r.Rows() {
			row := e.(*Row)
			all := row.Summary + row.User.V + row.Info.V + row.Application.V + row.AuthKind.V + strings.Join(row.Attributes, "")
			for _, secret := range []string{scramble, "ijklmnopqrst", "hhhhhhhh", "ssssssss"} {
				if strings.Contains(all, secret) {
					t.Errorf("%s: %q in %+v", s.Name, secret, row)
				}
			}
		}
	}
}
