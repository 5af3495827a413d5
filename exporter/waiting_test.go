package exporter

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestWaitingRequestsGetTheirResponses sends 26,000 requests on as many connections before the
// first response. In the default memory limit, none may be given up.
func TestWaitingRequestsGetTheirResponses(t *testing.T) {
	const conns = 26_000
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Stdin: crowd(5 * conns), Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Calls["http1"]; got != conns {
		t.Errorf("%d calls of %d connections: requests and responses were not paired; %v", got, conns, m.Accounts)
	}
}

// TestTooManyWaitingRequests sends more requests than the memory limit has room for. Those that found room get their
// responses: if each new one took the place of the oldest, whose response comes next, hardly any would.
func TestTooManyWaitingRequests(t *testing.T) {
	const conns, limit = 14_000, 128 << 20
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Stdin: crowd(5 * conns), Memory: limit, Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	lost := m.Calls["http1"] - conns // a response without its request is a call of its own
	if cut := m.Accounts.Counters["engine"]["evicted"]; cut == 0 || lost > conns/2 {
		t.Errorf("%d of %d responses have no request, %d evictions", lost, conns, cut)
	}
}

// pipelined is n requests of a connection before the first response, a hundred in a segment.
func pipelined(port uint16, n int, ask, answer func(i int) []byte) *feed {
	const many = 100
	a, p := client(1)
	cs, ss := uint32(100), uint32(500)
	return newFrames(2*n/many+3, func(i int, to []byte) []byte {
		switch i {
		case 0:
			return frames.AppendTCP(to, a, server, p, port, cs-1, 0, 2, i, nil)
		case 1:
			return frames.AppendTCP(to, server, a, port, p, ss-1, cs, 18, i, nil)
		case 2:
			return frames.AppendTCP(to, a, server, p, port, cs, ss, 16, i, nil)
		}
		i -= 3
		var b []byte
		of, at := ask, i
		if i >= n/many {
			of, at = answer, i-n/many
		}
		for k := range many {
			b = append(b, of(at*many+k)...)
		}
		if i < n/many {
			cs += uint32(len(b))
			return frames.AppendTCP(to, a, server, p, port, cs-uint32(len(b)), ss, 24, i, b)
		}
		ss += uint32(len(b))
		return frames.AppendTCP(to, server, a, port, p, ss-uint32(len(b)), cs, 24, i, b)
	})
}

// TestPipelinedRequestsGetTheirResponses sends many requests on one connection before the first
// response. Only memory limits how many wait; what is given up is an anomaly.
func TestPipelinedRequestsGetTheirResponses(t *testing.T) {
	for _, c := range []struct {
		protocol    string
		port        uint16
		n           int64
		ask, answer func(i int) []byte
	}{
		{"redis", 6379, 120_000, func(i int) []byte { return fmt.Appendf(nil, "*2\r\n$3\r\nGET\r\n$7\r\nk%06d\r\n", i) }, func(i int) []byte { return fmt.Appendf(nil, "+v%06d\r\n", i) }},
		{"kafka", 9092, 50_000, func(i int) []byte { // ApiVersions
			return append(binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x0e\x00\x12\x00\x00"), uint32(i)), "\x00\x04shop"...)
		}, func(i int) []byte {
			return append(binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x0a"), uint32(i)), "\x00\x00\x00\x00\x00\x00"...)
		}},
	} {
		for memory, all := range map[int64]bool{256 << 20: true, 64 << 20: false} {
			m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Stdin: pipelined(c.port, int(c.n), c.ask, c.answer), Repanic: true, Memory: memory})
			if err != nil {
				t.Fatal(err)
			}
			given := m.Accounts.Counters["engine"]["evicted"]
			if got := m.Calls[c.protocol]; all != (got == c.n) || all != (given == 0) || got < c.n || got > 2*c.n {
				t.Errorf("%s with %d MiB: %d calls of %d, %d anomalies of memory", c.protocol, memory>>20, got, c.n, given)
			}
		}
	}
}

// TestAnsweredQuestionsMakeRoom answers 20,000 questions, each from a port of its own. Their conversations end before
// memory does, so nothing is cut.
func TestAnsweredQuestionsMakeRoom(t *testing.T) {
	const n = 20_000
	frame := func(i int, to []byte) []byte {
		a, p := client(i / 2)
		question := frames.Query(uint16(i/2), fmt.Sprintf("host-%06d.shop.example", i/2))
		if i%2 == 0 {
			return frames.AppendUDP(to, a, server, p, 53, []byte(question))
		}
		return frames.AppendUDP(to, server, a, 53, p, []byte(frames.Reply(question, 1)))
	}
	m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"), Options{Release: "test", Stdin: newFrames(2*n, frame), Memory: 128 << 20, Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Calls["dns"]; got != n || len(m.Accounts.Counters) > 0 {
		t.Errorf("%d calls of %d questions; %v", got, n, m.Accounts)
	}
}
