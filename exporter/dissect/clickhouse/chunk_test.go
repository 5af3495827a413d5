package clickhouse

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// message is a message in chunks of the given sizes, the last one of the rest, and its end.
func message(s string, sizes ...int) string {
	var b []byte
	for _, n := range append(sizes, len(s)) {
		n = min(n, len(s))
		b = append(binary.LittleEndian.AppendUint32(b, uint32(n)), s[:n]...)
		s = s[n:]
	}
	return string(b) + "\x00\x00\x00\x00"
}

// chosen is the rest of a login that chooses chunks of the client and of the server.
func chosen(ours, theirs string) dissecttest.Chunk {
	return client(str("") + str(ours) + str(theirs) + vary(4))
}

// inParts are the 4 bytes of each size and the bytes of each chunk in segments of their own, as ClickHouse sends them.
func inParts(dir dissect.Dir, s string) (list chunks) {
	for len(s) > 0 {
		n := int(binary.LittleEndian.Uint32([]byte(s)))
		list = append(list, dissecttest.Chunk{Dir: dir, Data: []byte(s[:chunkHead])})
		if n > 0 {
			list = append(list, dissecttest.Chunk{Dir: dir, Data: []byte(s[chunkHead : chunkHead+n])})
		}
		s = s[chunkHead+n:]
	}
	return list
}

const emptyBlocks = 12 // bytes of a packet with an empty block

// chunkSamples are the conversation of the newest revision: chunks of both sides, of the client and of the server.
func chunkSamples() (list []dissecttest.Sample) {
	for _, way := range []struct{ name, ours, theirs string }{{"chunks of both sides", chunked, chunked}, {"chunks of the client", chunked, notChunked}, {"chunks of the server", notChunked, chunked}} {
		s := dissecttest.Sample{Name: way.name, Rows: 4}
		for i, c := range samples()[0].Chunks {
			switch {
			case i == 2:
				c = chosen(way.ours, way.theirs)
			case i > 2 && c.Dir == dissect.ToServer && way.ours == chunked:
				sizes := []int{}
				if n := len(c.Data); n > 100 { // a statement, and the block that ends external tables
					sizes = []int{17, n - 17 - emptyBlocks}
				}
				c = client(message(string(c.Data), sizes...))
			case i > 2 && c.Dir == dissect.ToClient && way.theirs == chunked:
				c = server(message(string(c.Data), 1, 60, 3)) // sizes in the middle of texts and numbers
			}
			s.Chunks = append(s.Chunks, c)
		}
		list = append(list, s)
	}
	return list
}

func TestChunkSuite(t *testing.T) { dissecttest.Run(t, Protocol(), chunkSamples()...) }

func FuzzChunks(f *testing.F) { dissecttest.Fuzz(f, Protocol(), chunkSamples()...) }

func TestChunks(t *testing.T) {
	login := chunks{client(helloOf(newest)), server(welcomeOf(newest)), chosen(chunked, chunked)}
	const traced = " trace_id=0102030405060708090a0b0c0d0e0f10 "
	hello := "HELLO alice → ClickHouse 24.8.7"
	sql := statement("SELECT 1", newest)
	ask := client(message(sql[:len(sql)-emptyBlocks]) + message(sql[len(sql)-emptyBlocks:]))
	one := message(data(newest, 1, "1", "UInt8", "\x01")) + message(end)
	row := "SELECT 1 → 1 row" + traced + "clickhouse_rows=1 clickhouse_preview=1\n"
	join := func(lists ...chunks) (all chunks) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	rows := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples()[0].Chunks...).Rows()
	for _, s := range chunkSamples() {
		got := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), s.Chunks...).Rows()
		for i := range rows {
			if a, b := rows[i].(*Row), got[i].(*Row); a.Summary != b.Summary || a.Preview != b.Preview || a.Inserted != b.Inserted || a.ReadRows != b.ReadRows || !b.Complete {
				t.Errorf("%s: %s, %+v, want %s, %+v", s.Name, b.Summary, b, a.Summary, a)
			}
		}
	}
	dissecttest.Converse(t, Protocol(), []string{"clickhouse_rows", "clickhouse_preview", "clickhouse_error_code", "trace_id"}, []dissecttest.Conversation{
		{Name: "sizes in segments of their own", Chunks: join(login, inParts(dissect.ToServer, string(ask.Data)), inParts(dissect.ToClient, one), chunks{ask, server(message(failure))}), Want: []string{
			hello, row, "SELECT 1 → UNKNOWN_TABLE: no such table x outcome=client_error" + traced + "clickhouse_error_code=60"}},
		{Name: "a type that is not known", Chunks: join(login, chunks{ask, server(message(data(newest, 1, "j", "JSON", "whatever")) + message(end)), ask, server(one)}), Want: []string{
			hello, "SELECT 1 → unread error=unread outcome=unread" + strings.TrimRight(traced, " "), row}},
		{Name: "a gap in a response", Chunks: join(login, chunks{ask, server(one[:20]), {Dir: dissect.ToClient, Gap: 100}, server("\x01\x02\x03"), ask, server(one)}), Want: []string{
			hello, "SELECT 1 → gap error=gap outcome=unread" + strings.TrimRight(traced, " "), row}},
		{Name: "a gap in a statement", Chunks: join(login, chunks{{Dir: dissect.ToServer, Data: ask.Data[:40]}, {Dir: dissect.ToServer, Gap: 20}}, inParts(dissect.ToServer, string(ask.Data)), chunks{server(one), ask, server(one)}), Anomalies: 1, Want: []string{hello, "SELECT 1 → gap error=gap outcome=unread" + strings.TrimRight(traced, " "), "? → no_request error=no_request outcome=cut clickhouse_rows=1 clickhouse_preview=1\n", row}},
		{Name: "a lost size of a statement", Chunks: join(login, chunks{{Dir: dissect.ToServer, Gap: 4}}, inParts(dissect.ToServer, string(ask.Data))[1:], chunks{server(one), ask, server(one)}), Want: []string{hello, "SELECT 1 → gap error=gap outcome=unread" + strings.TrimRight(traced, " "), "? → no_request error=no_request outcome=cut clickhouse_rows=1 clickhouse_preview=1\n", row}},
		{Name: "a lost end of the login", Chunks: join(login[:2], chunks{{Dir: dissect.ToServer, Gap: 20}, ask, server(one), ask, server(one)}), Want: []string{hello, "SELECT 1 → gap error=gap outcome=unread" + strings.TrimRight(traced, " "), "? → no_request error=no_request outcome=cut clickhouse_rows=1 clickhouse_preview=1\n", row}},
	}...)
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), join(login, chunks{client("\xff\xff\xff\x7f" + sql)})...)
	if len(r.Anomalies) != 1 || !strings.Contains(r.Anomalies[0].Detail, "reading a chunk: 2147483647 bytes") {
		t.Errorf("a chunk of 2 GiB: anomalies %v", r.Anomalies)
	}
}

// TestChunksFromTheMiddle has a statement and its answer without the login that chose chunks.
func TestChunksFromTheMiddle(t *testing.T) {
	for _, rev := range []uint64{revChunked, revJWT, newest} {
		sql := statement("SELECT 1", rev)
		asks := map[string]string{"plain": sql, "chunks": message(sql[:len(sql)-emptyBlocks]) + message(sql[len(sql)-emptyBlocks:])}
		progress := "\x03" + vary(2) + vary(64) + vary(2) + vary(0) + vary(0) + vary(0) + vary(1000)
		packets := []string{data(rev, 0, "1", "UInt8", ""), progress, data(rev, 1, "1", "UInt8", "\x01"), end}
		plain, inChunks := strings.Join(packets, ""), ""
		for _, p := range packets {
			inChunks += message(p)
		}
		for ask, asked := range asks {
			for answer, answered := range map[string]string{"plain": plain, "chunks": inChunks} {
				lists := map[string]chunks{"whole": {client(asked), server(answered)}}
				if ask == "chunks" && answer == "chunks" {
					lists["parts"] = append(inParts(dissect.ToServer, asked), inParts(dissect.ToClient, answered)...)
				}
				for how, list := range lists {
					dissecttest.Converse(t, Protocol(), []string{"clickhouse_rows"}, dissecttest.Conversation{
						Name: "a statement in " + ask + ", an answer in " + answer + ", " + how, Midway: true, Chunks: list, Want: []string{"SELECT 1 → 1 row clickhouse_rows=1"}})
				}
			}
		}
	}
}

// TestChunksFromTheMiddleOfOne has a capture that begins after the size of a statement's chunk.
func TestChunksFromTheMiddleOfOne(t *testing.T) {
	sql := statement("SELECT 1", newest)
	asked := message(sql[:len(sql)-emptyBlocks]) + message(sql[len(sql)-emptyBlocks:])
	answered := inParts(dissect.ToClient, message(data(newest, 1, "1", "UInt8", "\x01"))+message(end))
	list := append(inParts(dissect.ToServer, asked)[1:], answered...)
	lost := chunks{client(asked), {Dir: dissect.ToClient, Gap: 10}, server("\x01\x02\x03\x04\x05\x06"), client(asked), server(message(data(newest, 1, "1", "UInt8", "\x01")) + message(end))}
	cut := chunks{client(asked), {Dir: dissect.ToServer, Data: []byte(asked[:30])}, {Dir: dissect.ToServer, Gap: 10}, client(sql[:len(sql)-emptyBlocks]), client("\x00\x00\x00\x00" + asked), client(asked)}
	const no = "SELECT 1 → no_response error=no_response outcome=no_answer"
	unanswered := [3]string{no, no, no}
	list = append(append(list, inParts(dissect.ToServer, asked)...), answered...)
	dissecttest.Converse(t, Protocol(), []string{"clickhouse_rows"}, dissecttest.Conversation{Name: "two statements", Midway: true, Chunks: list,
		Want: []string{"SELECT 1 → 1 row clickhouse_rows=1", "SELECT 1 → 1 row clickhouse_rows=1"}},
		dissecttest.Conversation{Name: "a lost beginning of an answer", Midway: true, Chunks: lost, Want: []string{"SELECT 1 → gap error=gap outcome=unread", "SELECT 1 → 1 row clickhouse_rows=1"}},
		dissecttest.Conversation{Name: "a lost size of a statement", Midway: true, Chunks: cut, Anomalies: 1, Want: append([]string{"SELECT 1 → gap error=gap outcome=unread"}, unanswered[:]...)})
}

func TestDetectChunks(t *testing.T) {
	sql := statement("SELECT 1", newest)
	long := statement("SELECT '"+strings.Repeat("x", 1000)+"'", newest)
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a statement", dissect.ToServer, message(sql), dissect.Yes},
		{"its size", dissect.ToServer, message(sql)[:4], dissect.More},
		{"the beginning of a long one", dissect.ToServer, message(long)[:600], dissect.More},
		{"a part of one in a chunk", dissect.ToServer, message(long, 600), dissect.No},
		{"a statement of the server", dissect.ToClient, message(sql), dissect.No},
		{"an error", dissect.ToClient, message(failure), dissect.Yes},
		{"the end of a message", dissect.ToServer, "\x00\x00\x00\x00", dissect.No},
	})
	dissecttest.Detect(t, resume, dissecttest.Heads{
		{"a statement", dissect.ToServer, message(sql), dissect.Yes},
		{"its size", dissect.ToServer, message(sql)[:4], dissect.Likely},
		{"a ping", dissect.ToServer, message("\x04"), dissect.Yes},
		{"a block", dissect.ToClient, message(data(newest, 1, "1", "UInt8", "\x01")), dissect.Yes},
		{"the end of a message", dissect.ToServer, "\x00\x00\x00\x00", dissect.No},
	})
}
