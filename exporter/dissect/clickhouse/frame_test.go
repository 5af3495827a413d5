package clickhouse

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// packedFrame is a frame of LZ4.
func packedFrame(t *testing.T, content string) string {
	b := make([]byte, lz4.CompressBlockBound(len(content)))
	n, err := lz4.CompressBlock([]byte(content), b, nil)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	h := make([]byte, frameSum+frameHead)
	h[frameSum] = methodLZ4
	binary.LittleEndian.PutUint32(h[frameSum+1:], uint32(n+frameHead))
	binary.LittleEndian.PutUint32(h[frameSum+5:], uint32(len(content)))
	return string(h) + string(b[:n])
}

// TestLargeFrames reads blocks as clickhouse-go sends them: each is one frame of 10 MiB or more.
func TestLargeFrames(t *testing.T) {
	const rows = 12_000
	large := packedFrame(t, block(newest, rows, "s", "FixedString(1000)", strings.Repeat("tea ", rows*1000/4)))
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(helloOf(newest)), server(welcomeOf(newest)), client(addendum(newest)),
		client(statement("INSERT INTO orders VALUES", newest)), server(data(newest, 0, "s", "FixedString(1000)", "")),
		client("\x02\x00"+large), client("\x02\x00"+large), client("\x02\x00"+packedFrame(t, block(newest, 0))), server(end), client("\x04"), server("\x04"))
	got := r.Rows()
	if len(got) != 3 || len(r.Anomalies) > 0 {
		t.Fatalf("%d rows, anomalies %v", len(got), r.Anomalies)
	}
	if row := got[1].(*Row); row.Inserted.V != 2*rows || row.Error.OK || row.Partial.V {
		t.Errorf("%s: %d rows, error %q, partial %v", row.Summary, row.Inserted.V, row.Error.V, row.Partial.V)
	}
}
