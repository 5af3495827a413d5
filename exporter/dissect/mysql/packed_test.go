package mysql

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestMessagesAfterALongOne reads a compressed packet with a row that is longer than what is decompressed at once, and
// the messages after it.
func TestMessagesAfterALongOne(t *testing.T) {
	// A string with a length of 4 bytes: 0xfd and 3 bytes.
	value := func(n int) string {
		return "\xfd" + string([]byte{byte(n), byte(n >> 8), byte(n >> 16)}) + strings.Repeat("x", n)
	}
	for name, rows := range map[string][]string{
		"at the end":               {str("1") + value(5<<20)},
		"before short ones":        {str("1") + value(5<<20), str("2") + str("b"), str("3") + str("c")},
		"after one, and before it": {str("1") + str("a"), str("2") + value(6<<20), str("3") + value(7<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			answer := result(1, 2, rows...)
			s := append(login(baseCaps|capCompress), client(unpacked(0, query("select id, name from items"))))
			for seq := 1; len(answer) > 0; seq++ {
				n := min(len(answer), 1<<24-1)
				s, answer = append(s, server(packed(seq, answer[:n]))), answer[n:]
			}
			s = append(s, client(unpacked(0, query("select 1"))), server(unpacked(1, okPacket(1, 0, 0, 2, ""))))
			r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), s...)
			got := r.Rows()
			if len(got) != 3 {
				t.Fatalf("%d rows", len(got))
			}
			if row := got[1].(*Row); row.Rows.V != int64(len(rows)) || row.Error.OK || !strings.HasPrefix(row.Summary, "select id, name from items → ") {
				t.Errorf("%s, %d rows, error %q, anomalies %v", row.Summary, row.Rows.V, row.Error.V, r.Anomalies)
			}
			if row := got[2].(*Row); row.Error.OK {
				t.Errorf("%s, error %q", row.Summary, row.Error.V)
			}
		})
	}
}
