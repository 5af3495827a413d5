package postgresql

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

const when = 817_000_000_000_000 // in 2025

func u64(v uint64) string { return string(binary.BigEndian.AppendUint64(nil, v)) }

func xlog(at uint64, change string) string {
	return msg('d', "w", u64(at), u64(at), u64(when), change)
}

func keepalive(end uint64) string { return msg('d', "k", u64(end), u64(when), "\x00") }

func status(flushed uint64) string {
	return msg('d', "r", u64(flushed), u64(flushed), u64(0), u64(when), "\x00")
}

func begins(xid int) string { return "B" + u64(0x90) + u64(when) + u32(xid) }

func commits(end uint64) string { return "C\x00" + u64(end-8) + u64(end) + u64(when) }

func relation(oid int, space, name string) string {
	return "R" + u32(oid) + space + "\x00" + name + "\x00d\x00\x00"
}

const (
	startStream = `START_REPLICATION SLOT "shop" LOGICAL 0/80 (proto_version '2', publication_names '"stock, old",prices')`
	both        = "W\x00\x00\x00\x07\x00\x00\x00"
	tuple       = "N\x00\x01t\x00\x00\x00\x03tea"
)

// transaction inserts and deletes a row.
func transaction(at uint64, xid int) string {
	return xlog(at, begins(xid)) + xlog(0, relation(7, "public", "items")) + xlog(at, "I"+u32(7)+tuple) +
		xlog(at, "D"+u32(7)+"K\x00\x01n") + xlog(at+16, commits(at+16))
}

var replicationSamples = []dissecttest.Sample{
	{Name: "logical replication", Rows: 3, Chunks: chunks{client(query(startStream)), server(both + keepalive(0x80)), client(status(0x80)),
		server(transaction(0x90, 700)), client(status(0xa0)), server(transaction(0xb0, 701)), client("c\x00\x00\x00\x04"), server("c\x00\x00\x00\x04" + tag("COPY 0") + ready("I"))}},
	{Name: "a large row", Rows: 2, Chunks: chunks{client(query(startStream)), server(both),
		server(xlog(0x90, begins(700)) + xlog(0x90, "I"+u32(7)+"N\x00\x01t\x00\x01\x86\xa0"+strings.Repeat("x", 100_000)) + xlog(0xa0, commits(0xa0))),
		client("c\x00\x00\x00\x04"), server("c\x00\x00\x00\x04" + tag("COPY 0") + ready("I"))}},
}

func TestReplicationSuite(t *testing.T) { dissecttest.Run(t, Protocol(), replicationSamples...) }

func FuzzReplication(f *testing.F) { dissecttest.Fuzz(f, Protocol(), replicationSamples...) }

func TestReplication(t *testing.T) {
	start := chunks{client(query(startStream)), server(both)}
	const command = "START_REPLICATION " + `SLOT "shop" LOGICAL 0/80 (proto_version '2', publication_names '"stock, old",prices') → `
	for _, c := range []struct {
		name  string
		in    chunks
		end   dissect.End
		want  []string
		anoms int
	}{
		{"transactions with their positions", append(start, server(keepalive(0x80)+transaction(0x90, 700)), client(status(0xa0)), server(transaction(0xb0, 701))), dissect.EndFin, []string{
			"replication COMMIT 700 of slot shop: 1 insert, 1 delete in public.items 0/90-0/A0 [public.items]",
			"replication COMMIT 701 of slot shop: 1 insert, 1 delete in public.items 0/B0-0/C0 [public.items]",
			command + "ok 0/80-0/C0 flushed 0/A0 [stock, old|prices]"}, 0},
		{"the capture ends within a transaction", append(start, server(xlog(0x90, begins(700)))), dissect.EndCapture, []string{
			"replication COMMIT 700 of slot shop 0/90- error=cut", command + "cut 0/80-0/90 error=cut [stock, old|prices]"}, 0},
		{"a large transaction in parts", append(start, server(xlog(0x90, "S"+u32(700)+"\x01")+xlog(0, "R"+u32(700)+relation(7, "", "items")[1:])+xlog(0x98, "U"+u32(701)+u32(7)+tuple)+xlog(0, "E")+
			xlog(0xa0, "c"+u32(700)+"\x00"+u64(0xa0)+u64(0xb0)+u64(when))+xlog(0xc0, "A"+u32(702)+u32(702)))), dissect.EndFin, []string{
			"replication STREAM 700 of slot shop: 1 update in pg_catalog.items 0/90- [pg_catalog.items]",
			"replication STREAM COMMIT 700 of slot shop 0/A0-0/B0",
			"replication STREAM ABORT 702 of slot shop 0/C0-",
			command + "ok 0/80-0/C0 [stock, old|prices]"}, 0},
		{"a prepared transaction", append(start, server(xlog(0x90, "b"+u64(0x98)+u64(0xa0)+u64(when)+u32(700)+"order-7\x00")+xlog(0x90, "T"+u32(1)+"\x00"+u32(9))+
			xlog(0xa0, "P\x00"+u64(0x98)+u64(0xa0)+u64(when)+u32(700)+"order-7\x00")+xlog(0xb0, "K\x00"+u64(0xa8)+u64(0xb0)+u64(when)+u32(700)+"order-7\x00"))), dissect.EndFin, []string{
			"replication PREPARE TRANSACTION 700 of slot shop: 1 truncate in 9 0/90-0/A0 gid=order-7 [9]",
			"replication COMMIT PREPARED 700 of slot shop 0/B0-0/B0 gid=order-7",
			command + "ok 0/80-0/B0 [stock, old|prices]"}, 0},
		{"a message without a transaction", append(start, server(xlog(0x90, "M\x00"+u64(0x90)+"audit\x00"+u32(2)+"hi"))), dissect.EndFin, []string{
			"replication MESSAGE audit of slot shop 0/90-0/90", command + "ok 0/80-0/90 [stock, old|prices]"}, 0},
		{"the begin was lost", append(start, dissecttest.Chunk{Dir: dissect.ToClient, Gap: 60, Data: []byte(keepalive(0x90) + xlog(0x90, "I"+u32(7)+tuple) + xlog(0xa0, commits(0xa0)))}), dissect.EndFin, []string{
			"replication COMMIT of slot shop: 1 insert in 7 -0/A0 error=gap [7]", command + "gap 0/80-0/A0 error=gap [stock, old|prices]"}, 0},
		{"the capture began later", chunks{server(keepalive(0x90)), client(status(0x80)), server(transaction(0xa0, 700)), client(status(0xb0))}, dissect.EndFin, []string{
			"replication COMMIT 700: 1 insert, 1 delete in public.items 0/A0-0/B0 [public.items]", "? → no_request -0/B0 flushed 0/B0 error=no_request"}, 0},
		{"the server ends it", append(start, server(failure('E', "FATAL", "57P01", "terminating"))), dissect.EndFin, []string{
			command + "FATAL 57P01 terminating 0/80- [stock, old|prices]"}, 0},
		{"another plugin is counted", chunks{client(query("START_REPLICATION SLOT s LOGICAL 0/0")), server(both + xlog(0x90, `{"change":[]}`))}, dissect.EndFin, []string{
			"START_REPLICATION SLOT s LOGICAL 0/0 → ok -0/90"}, 0},
		{"transactions of test_decoding", chunks{client(query("START_REPLICATION SLOT s LOGICAL 0/0")), server(both + xlog(0x90, "BEGIN 700") + xlog(0x90, "table public.items: INSERT: id[integer]:1 name[text]:'table a.b: DELETE:'") +
			xlog(0x91, `table public."order: ""x""": UPDATE: id[integer]:1`) + xlog(0x92, "table public.items: DELETE: (no-tuple-data)") + xlog(0x93, "table public.a, public.b: TRUNCATE: (no-flags)") +
			xlog(0x94, "message: transactional: 1 prefix: audit, sz: 2 content:hi") + xlog(0xa0, "COMMIT 700 (at 2025-11-22 10:00:00.5+00)") + xlog(0xa8, "BEGIN") + xlog(0xb0, "COMMIT"))}, dissect.EndFin, []string{
			`replication COMMIT 700 of slot s: 1 insert, 1 update, 1 delete, 1 truncate in public.items, public.order: "x", public.a, public.b 0/90-0/A0 [public.items|public.order: "x"|public.a|public.b]`,
			"replication COMMIT of slot s 0/A8-0/B0",
			"START_REPLICATION SLOT s LOGICAL 0/0 → ok -0/B0"}, 0},
		{"prepared and streamed transactions of test_decoding", chunks{client(query("START_REPLICATION SLOT s LOGICAL 0/0")), server(both + xlog(0x90, "BEGIN 700") + xlog(0x98, "PREPARE TRANSACTION 'order-7', txid 700") + xlog(0xa0, "COMMIT PREPARED 'order-7', txid 700") +
			xlog(0xa1, "opening a streamed block for transaction TXN 701") + xlog(0xa2, "streaming change for TXN 701") + xlog(0xa3, "closing a streamed block for transaction TXN 701") + xlog(0xa4, "committing streamed transaction TXN 701") +
			xlog(0xa5, "message: transactional: 0 prefix: audit, sz: 2 content:hi"))}, dissect.EndFin, []string{
			"replication PREPARE TRANSACTION 700 of slot s 0/90-0/98 gid=order-7", "replication COMMIT PREPARED 700 of slot s 0/A0-0/A0 gid=order-7",
			"replication STREAM 701 of slot s 0/A1-0/A3", "replication STREAM COMMIT 701 of slot s 0/A4-0/A4", "replication MESSAGE audit of slot s 0/A5-0/A5",
			"START_REPLICATION SLOT s LOGICAL 0/0 → ok -0/A5"}, 0},
		{"the begin of a transaction of test_decoding was lost", chunks{client(query("START_REPLICATION SLOT s LOGICAL 0/0")), server(both + xlog(0x80, "BEGIN 699") + xlog(0x81, "COMMIT 699")),
			{Dir: dissect.ToClient, Gap: 40, Data: []byte(keepalive(0x90) + xlog(0x90, "table public.items: DELETE: id[integer]:1") + xlog(0xa0, "COMMIT 700"))}}, dissect.EndFin, []string{
			"replication COMMIT 699 of slot s 0/80-0/81", "replication COMMIT of slot s: 1 delete in public.items -0/A0 error=gap [public.items]", "START_REPLICATION SLOT s LOGICAL 0/0 → gap -0/A0 error=gap"}, 0},
		{"a change without a table is rejected", append(start, server(xlog(0x90, begins(7))+xlog(0x90, "I\x00"))), dissect.EndFin, []string{
			"replication COMMIT 7 of slot shop 0/90- error=malformed", command + "malformed 0/80-0/90 error=malformed [stock, old|prices]"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := play(t, c.end, c.in...)
			var got []string
			for _, e := range r.Rows() {
				row := e.(*Row)
				s := row.Summary + " " + row.From.V + "-" + row.To.V
				for _, w := range []struct{ name, value string }{{" flushed ", row.Flushed.V}, {" gid=", row.GID.V}} {
					if w.value != "" {
						s += w.name + w.value
					}
				}
				if row.Error.OK {
					s += " error=" + row.Error.V
				}
				if list := row.Tables; row.Kind != kindReplication && len(row.Publications) > 0 {
					s += fmt.Sprintf(" [%s]", strings.Join(row.Publications, "|"))
				} else if len(list) > 0 {
					s += fmt.Sprintf(" [%s]", strings.Join(list, "|"))
				}
				got = append(got, s)
			}
			if g, w := strings.Join(got, "\n"), strings.Join(c.want, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
			if len(r.Anomalies) != c.anoms {
				t.Errorf("anomalies %v, want %d", r.Anomalies, c.anoms)
			}
		})
	}
}

func BenchmarkReplication(b *testing.B) {
	dissecttest.Bench(b, Protocol(), dissecttest.Exchange(query(startStream), both), dissecttest.Exchange(status(0x80), transaction(0x90, 700)))
}
