package postgresql

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestQueriesInSmallSegmentsAfterALoss has a client whose segments are shorter than its messages: after a lost one, the
// next message is read.
func TestQueriesInSmallSegmentsAfterALoss(t *testing.T) {
	message := func(kind byte, body string) string {
		return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))) + body
	}
	answer := message('T', "\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00") + message('D', "\x00\x01\x00\x00\x00\x011") + message('C', "SELECT 1\x00") + message('Z', "I")
	for _, size := range []int{7, 17, 40} {
		var chunks []dissecttest.Chunk
		for n := range 4 {
			q := message('Q', fmt.Sprintf("select %d as a_column_with_a_long_name_in_a_small_segment\x00", n))
			for first := true; len(q) > 0; first = false {
				part := q[:min(size, len(q))]
				q = q[len(part):]
				c := dissecttest.Client(part)
				if n == 1 && first {
					c = dissecttest.Chunk{Dir: dissect.ToServer, Gap: int64(len(part))}
				}
				chunks = append(chunks, c)
			}
			chunks = append(chunks, dissecttest.Server(answer))
		}
		p := Protocol()
		r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, ServerPort: 5432, Protocols: []*dissect.Protocol{p}, Roles: true}, chunks...)
		read := 0
		for _, row := range r.Rows() {
			if b := row.Base(); b.Error.V == "" && b.RequestBytes > 0 && b.ResponseBytes > 0 {
				read++
			}
		}
		if read != 3 {
			t.Errorf("segments of %d bytes: %d complete calls, want 3", size, read)
			for _, row := range r.Rows() {
				t.Log(row.Base().Summary, row.Base().Error.V)
			}
		}
	}
}
