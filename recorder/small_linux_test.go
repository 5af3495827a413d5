package recorder

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func TestChecksumNotReady(t *testing.T) {
	// 10.0.0.1:1 → 10.0.0.2:2, UDP, 1 byte: the pseudo-header's sum is 0x001D + 0x000A…
	partial := "4500001d0000000040110000" + "0a000001" + "0a000002" + "00010002" + "0009" + "141d" + "41"
	whole := strings.Replace(partial, "141d", "beef", 1)
	later := strings.Replace(partial, "45000"+"01d00000000", "4500001d00000010", 1)
	for _, c := range []struct {
		name, packet string
		want         bool
	}{
		{"pseudo-header's sum", partial, true},
		{"another sum", whole, false},
		{"a later fragment has no checksum", later, false},
		{"cut before the checksum", partial[:50], false},
		{"nothing", "", false},
	} {
		b, err := hex.DecodeString(c.packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := checksumNotReady(b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// fullDisk takes so many bytes and then refuses.
type fullDisk struct {
	f    *os.File
	left int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n, err := d.f.Write(p[:min(len(p), d.left)])
	if d.left -= n; err == nil && n < len(p) {
		err = errors.New("no space left")
	}
	return n, err
}

// TestFileIsCutBehindWholeBlocks: a disk that fills up leaves a file that reads to its end.
func TestFileIsCutBehindWholeBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.pcapng")
	s, err := newFileSink(&Options{File: path}, ring.Header{Node: "n"}, linkCooked, maxCaptured)
	if err != nil {
		t.Fatal(err)
	}
	s.to = &fullDisk{s.f, 300_001}
	id, err := s.declare(pcapng.Interface{Name: "n/-/x"})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1000)
	for i := 0; err == nil; i++ {
		if i > 1000 {
			t.Fatal("the disk never filled up")
		}
		err = s.append(&ring.Packet{Interface: id, Time: int64(i), Prefix: data[:20], Data: data, Flags: 1, ID: uint64(i + 1), PID: 7, TID: 8, Drops: 3, Comment: "x"})
	}
	if closeErr := s.close(func(ring.Taken) ring.Account { return ring.Account{Counters: &ring.Counters{}} }); closeErr != nil {
		t.Error(closeErr)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for b := (pcapng.Batch{}); err == nil; {
		err = r.Next(&b)
	}
	if r.Packets() < 250 || len(r.Damage()) != 0 {
		t.Errorf("%d packets, damage %v", r.Packets(), r.Damage())
	}
}

// TestNarrowRefuses names a control group that is not there.
func TestNarrowRefuses(t *testing.T) {
	if _, err := narrow(t.TempDir(), "nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
