package exporter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestTruncatedCaptures cuts every small sample after each block, in its header and in its body.
// The rest must be read to its end: its packets are the first ones of the complete capture, its
// finished calls are among that capture's calls, and each byte is in one account.
func TestTruncatedCaptures(t *testing.T) {
	const largest = 50_000          // largest size of a capture in bytes
	most := nightly.Of(4, 24)       // number of blocks to cut in one capture, evenly spread
	each := nightly.Of(40, 7)       // of the many captures with secrets, one in this many is cut
	fewest := nightly.Of(300, 1000) // cuts
	var list []string
	err := filepath.WalkDir("../samples", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(filepath.Ext(path), ".pcap") {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() <= largest {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for i, path := range list {
		if strings.Contains(path, "secrets") && i%each != 0 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole := takeIn(t, data)
		ends := blockEnds(data)
		step := max(1, len(ends)/most)
		for k := 0; k < len(ends); k += step {
			for _, at := range []int{ends[k], ends[k] + 3, ends[k] - 5} {
				if at > 0 && at < len(data) {
					cuts++
					takeIn(t, data[:at]).within(t, whole, fmt.Sprintf("%s, cut after %d bytes", path, at))
				}
			}
		}
	}
	if cuts < fewest {
		t.Errorf("only %d cuts were made", cuts)
	}
}

// blockEnds are the offsets after the file header and each block or record.
func blockEnds(data []byte) (ends []int) {
	if len(data) < 24 {
		return nil
	}
	order, at := binary.ByteOrder(binary.LittleEndian), 0
	pcapng := len(data) > 12 && binary.LittleEndian.Uint32(data) == 0x0a0d0d0a
	switch {
	case pcapng && data[8] == 0x1a, !pcapng && data[0] == 0xa1:
		order = binary.BigEndian
	}
	if !pcapng {
		at = 24
		ends = append(ends, at)
	}
	for at+16 <= len(data) {
		if pcapng {
			at += int(order.Uint32(data[at+4:]))
		} else {
			at += 16 + int(order.Uint32(data[at+8:]))
		}
		ends = append(ends, at)
	}
	return ends
}

// taken is the result of reading a capture.
type taken struct {
	err     error
	packets []string
	calls   []string // finished before the capture's end
	last    int64
	times   []int64
	odd     []string // inconsistent accounts

	conns    map[flow.ID]flow.ID  // of flows
	accounts map[flow.ID][2]int64 // of conversations that have not ended: payload bytes, and those accounted for
}

// takeIn reads and assembles a capture without writing a bundle.
func takeIn(t *testing.T, data []byte) *taken {
	x, o := newTaken(), Options{Repanic: true, Jobs: 1}
	sources, done := x.open(t, data)
	if sources == nil {
		return x
	}
	defer done()
	_, x.err = pipe(context.Background(), o.reads(sources, nil, Protocols), true, Protocols, o, func(r *round.Round) error {
		x.add(r)
		return nil
	})
	return x
}

func newTaken() *taken {
	return &taken{last: -1, conns: map[flow.ID]flow.ID{}, accounts: map[flow.ID][2]int64{}}
}

// open opens a capture; nil if that fails. The function that it returns closes and removes it.
func (x *taken) open(t *testing.T, data []byte) (*read.Inputs, func()) {
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sources, err := read.Open([]string{path}, nil)
	if err != nil {
		os.Remove(path)
		x.err = err
		return nil, nil
	}
	return sources, func() {
		sources.Close()
		os.Remove(path)
	}
}

// add adds the results of a round.
func (x *taken) add(r *round.Round) {
	for i := range r.Packets {
		if p := &r.Packets[i]; p.Captured() {
			x.packets = append(x.packets, fmt.Sprint(p.No, p.Offset, p.Len, p.CapLen, p.Src, p.Dst))
			x.last = max(x.last, p.No)
			x.times = append(x.times, p.Time)
		}
	}
	for s := range r.Out {
		for _, f := range r.Out[s].Started {
			x.conns[f.Flow] = f.Conn
		}
		for _, f := range r.Out[s].Flows {
			a := x.accounts[x.conns[f.Flow]]
			a[0] += f.Row.SrcPayloadBytes + f.Row.DstPayloadBytes
			a[1] += f.Row.CutBytes + f.Row.RowBytes + f.Row.AnomalyBytes + f.Row.DuplicateBytes
			x.accounts[x.conns[f.Flow]] = a
		}
		for _, c := range r.Out[s].Conns {
			if a := x.accounts[c.Conn]; a[0] != a[1] {
				x.odd = append(x.odd, fmt.Sprintf("%s:%d to %s:%d: %d payload bytes, %d accounted for", c.Row.SrcIP, c.Row.SrcPort, c.Row.DstIP, c.Row.DstPort, a[0], a[1]))
			}
			delete(x.accounts, c.Conn)
		}
	}
	if r.Final {
		return
	}
	for _, at := range r.Order(nil, func(b *flow.Batch) int { return len(b.Calls) }, func(b *flow.Batch, i int) int64 { return b.Calls[i].At }) {
		c := r.Out[at.Shard].Calls[at.I].Row.Base()
		x.calls = append(x.calls, fmt.Sprint(at.No, " ", c.Protocol, " ", c.Summary, c.Cites))
	}
}

// within compares the result of a cut capture with that of the complete one.
func (x *taken) within(t *testing.T, whole *taken, name string) {
	t.Helper()
	if x.err != nil {
		if input := (*InputError)(nil); !errors.As(x.err, &input) || len(x.packets) > 0 {
			t.Errorf("%s: %v", name, x.err)
		}
		return
	}
	if len(x.odd) > 0 {
		t.Errorf("%s: %s", name, x.odd[0])
	}
	if n := len(x.packets); n > len(whole.packets) {
		t.Errorf("%s: %d packets, the whole capture has %d", name, n, len(whole.packets))
	} else if n > 0 {
		prefixOf(t, name+": packets", x.packets[:n-1], whole.packets)
	}
	if x.stepped() {
		return
	}
	// A call may have waited for packets after the one that completed it, so only the set of
	// calls is the same.
	known := map[string]bool{}
	for _, c := range whole.calls {
		known[c] = true
	}
	for _, c := range x.calls {
		var no int64
		if fmt.Sscan(c, &no); no < x.last && !known[c] {
			t.Errorf("%s: call %q is none of the whole capture", name, c)
		}
	}
}

// stepped reports whether the clock makes a step among the last packets, so that only later
// packets could show whether it is wrong.
func (x *taken) stepped() bool {
	const judges, step = 8, int64(60e9)
	for i := max(1, len(x.times)-judges); i < len(x.times); i++ {
		if d := x.times[i] - x.times[i-1]; d >= step || d <= -step {
			return true
		}
	}
	return false
}

// TestTruncatedWithWrongTimes cuts captures in which single packets have times far away.
func TestTruncatedWithWrongTimes(t *testing.T) {
	for seed := range int64(6) {
		rnd := rand.New(rand.NewSource(seed))
		data, err := io.ReadAll(newFrames(60, func(i int, to []byte) []byte {
			return frames.AppendUDP(to, 0x0a000001+uint32(rnd.Intn(12)), server, 20000, 4000, []byte("who is there, who is?"))
		}))
		if err != nil {
			t.Fatal(err)
		}
		ends := blockEnds(data)
		for i := range 60 {
			if rnd.Intn(12) == 0 {
				binary.LittleEndian.PutUint32(data[ends[i]:], uint32(1_733_556_736)) // a year later
			}
		}
		whole := takeIn(t, data)
		for _, at := range ends[1:60] {
			takeIn(t, data[:at]).within(t, whole, fmt.Sprintf("seed %d, cut after %d bytes", seed, at))
		}
	}
}

func prefixOf(t *testing.T, name string, got, whole []string) {
	t.Helper()
	for i := range got {
		if i >= len(whole) || got[i] != whole[i] {
			want := "none"
			if i < len(whole) {
				want = whole[i]
			}
			t.Errorf("%s: number %d is %q, in the whole capture %q", name, i, got[i], want)
			return
		}
	}
}
