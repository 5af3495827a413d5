package http2

import (
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestManyLossesOfManyStreams loses bytes between the server's frames while many streams are open. The
// time must not grow with the product of both numbers.
func TestManyLossesOfManyStreams(t *testing.T) {
	few, many := timeOfLosses(t, 5_000), timeOfLosses(t, 50_000)
	if many > 30*few+time.Second {
		t.Errorf("10 times as much took %v, and a tenth %v", many, few)
	}
}

// timeOfLosses plays a connection with n open streams and n losses.
func timeOfLosses(t *testing.T, n int) time.Duration {
	ping := "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
	chunks := []dissecttest.Chunk{dissecttest.Client(preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00")}
	for i := range n {
		id := 2*i + 1
		head := "\x00\x00\x06\x01\x05" + string([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}) + "\x82\x84\x86\x41\x01a"
		chunks = append(chunks, dissecttest.Client(head))
	}
	for range n {
		chunks = append(chunks, dissecttest.Chunk{Dir: dissect.ToClient, Gap: 1, Data: []byte(ping)})
	}
	begin := time.Now()
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), chunks...)
	if len(r.Emissions) != n {
		t.Errorf("%d rows, want %d", len(r.Emissions), n)
	}
	return time.Since(begin)
}
