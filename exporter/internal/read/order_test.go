package read

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// capture writes a capture in which empty UDP datagrams came at these seconds.
func capture(t *testing.T, dir, name string, seconds ...uint32) string {
	t.Helper()
	order := binary.LittleEndian
	b := order.AppendUint32(nil, 0xa1b2c3d4)
	b = order.AppendUint16(order.AppendUint16(b, 2), 4)
	for _, x := range []uint32{0, 0, 65535, 101} { // link type raw IP
		b = order.AppendUint32(b, x)
	}
	datagram := []byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 9, 0, 8, 0, 0}
	for _, s := range seconds {
		for _, x := range []uint32{s, 0, uint32(len(datagram)), uint32(len(datagram))} {
			b = order.AppendUint32(b, x)
		}
		b = append(b, datagram...)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPacketsOfSeveralFilesAreInOrder: whatever the order of the arguments, packets come in the order of their times, and
// those of one file in their own order even if a time goes back.
func TestPacketsOfSeveralFilesAreInOrder(t *testing.T) {
	dir := t.TempDir()
	a, b, c, d := capture(t, dir, "a", 10, 40, 35), capture(t, dir, "b", 20, 30), capture(t, dir, "c", 25), capture(t, dir, "d", 50)
	for _, paths := range [][]string{{a, b, c, d}, {d, c, b, a}, {c, a, d, b}} {
		sources, err := Open(paths, nil)
		if err != nil {
			t.Fatal(err)
		}
		limit := memory.Default
		r, err := New(sources, nil, round.NewPool(limit), Options{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		out := make(chan *round.Round, 8)
		ran := make(chan error, 1)
		go func() { ran <- r.Run(context.Background(), out) }()
		var got []int64
		for x := range out {
			for i := range x.Packets {
				got = append(got, x.Packets[i].Time/1e9)
			}
		}
		err = <-ran
		if want := []int64{10, 20, 25, 30, 40, 35, 50}; !slices.Equal(got, want) || err != nil {
			t.Errorf("%v: packets at %v, want %v; %v", paths, got, want, err)
		}
	}
}
