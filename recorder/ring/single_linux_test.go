package ring

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// fileAccounts returns the statistics of a file, by interface, and the counters.
func fileAccounts(t *testing.T, path string) (list []pcapng.Statistics, c Counters) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{OnBlock: func(b pcapng.Block) {
		if b.Type != pcapng.BlockStatistics {
			return
		}
		s, err := pcapng.ParseStatistics(b)
		must(t, err)
		list = append(list, s)
		for _, text := range s.Comments {
			must(t, json.Unmarshal([]byte(text), &struct{ Counters *Counters }{&c}))
		}
	}})
	for b := (pcapng.Batch{}); err == nil; {
		err = r.Next(&b)
	}
	if err != io.EOF || len(r.Damage()) != 0 {
		t.Fatalf("reading to the end: %v, damage %v", err, r.Damage())
	}
	return list, c
}

// oneFile creates a writer of one file whose account counts what it dropped.
func oneFile(t *testing.T, opt Options) (*Writer, *Series) {
	t.Helper()
	w := create(t, opt)
	s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276, Account: func(k Totals) Account {
		return Account{Counters: &Counters{Kernel: k.Kept + k.Dropped, Seen: k.Kept + k.Dropped, Delivered: k.Kept, Dropped: k.Dropped}, Interfaces: []InterfaceAccount{{At: 1}}}
	}})
	must(t, err)
	return w, s
}

// TestFileOnAFullDisk checks that a full disk leaves a file that can be read to its end, with
// the accounts of all packets.
func TestFileOnAFullDisk(t *testing.T) {
	for _, size := range []int{512 << 10, 600 << 10, 1 << 20, 3<<20 + 4096, 9 << 20} {
		path := filepath.Join(smallDisk(t, size), "out.pcapng")
		w, s := oneFile(t, Options{File: path, FlushEvery: time.Millisecond, SyncEvery: 2 * time.Millisecond, Patience: 20 * time.Millisecond})
		iface := declare(t, s, "a")
		var l ledger
		for i := 0; s.Failed() == nil; i++ {
			l.append(t, s, iface, 28+i%1500)
			if i > 100_000 {
				t.Fatal("the disk is never full")
			}
		}
		for range 10 {
			l.append(t, s, iface, 100)
		}
		if err := s.Failed(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v", err)
		}
		finish(t, w)
		taken := s.Totals()
		list, c := fileAccounts(t, path)
		var packets uint64
		readAll(t, path, func(pcapng.Interface, *pcapng.Packet) { packets++ })
		if packets != taken.Kept || packets == 0 && size > 600<<10 || taken.Kept+taken.Dropped != l.given || c.Delivered != packets || c.Kernel != l.given || !c.Balanced() {
			t.Errorf("%d bytes: %d given, %d in the file, result %+v, %+v", size, l.given, packets, taken, c)
		}
		if len(list) != 1 || list[0].Delivered.N != packets {
			t.Errorf("statistics %+v", list)
		}
	}
}

// TestFileEndsAsARingDoes checks the statistics of all interfaces, including those whose
// description was replaced, and that space allocated in advance is returned.
func TestFileEndsAsARingDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.pcapng")
	w, s := oneFile(t, Options{File: path})
	iface := declare(t, s, "a")
	for n := range 5 {
		if n == 2 {
			must(t, s.Update(iface, pcapng.Interface{Name: "b"}))
		}
		must(t, s.Append(packet(iface, n+1)))
	}
	must(t, w.Seal(context.Background())) // a file has no second segment
	must(t, s.Append(packet(iface, 6)))
	if w.SidePath(s.Current(), "events") != strings.TrimSuffix(path, "pcapng")+"events" || s.Ended() != 0 {
		t.Errorf("segment %s, side file %s, %d ended", s.Current(), w.SidePath(s.Current(), "events"), s.Ended())
	}
	finish(t, w)
	list, c := fileAccounts(t, path)
	if len(list) != 2 || list[0].Delivered.N != 2 || list[1].Delivered.N != 4 || c.Delivered != 6 {
		t.Errorf("%+v, %+v", list, c)
	}
	info, err := os.Stat(path)
	must(t, err)
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > info.Size()+16<<10 {
		t.Errorf("%d bytes use %d on disk", info.Size(), used)
	}
	if _, err := Create(Options{File: path}); err != nil {
		t.Fatal(err)
	} else if w, _ := Create(Options{File: path}); w != nil {
		if _, err := w.Series(SeriesOptions{Name: "sockets"}); !errors.Is(err, os.ErrExist) {
			t.Errorf("a second recording in one file: %v", err)
		}
	}
}

// TestFileOfARecordingThatDidNotBegin checks that the file is removed.
func TestFileOfARecordingThatDidNotBegin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.pcapng")
	w, _ := oneFile(t, Options{File: path})
	must(t, w.Discard(context.Background()))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file exists: %v", err)
	}
}

// broken accepts the given number of bytes and then fails.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	if n < len(p) {
		return n, syscall.EPIPE
	}
	return n, nil
}

// TestStreamWhoseReaderLeaves checks that packets that the reader did not receive are dropped,
// and that the caller can get the error.
func TestStreamWhoseReaderLeaves(t *testing.T) {
	w, s := oneFile(t, Options{Stream: &broken{100_000}, FlushEvery: time.Millisecond})
	iface := declare(t, s, "a")
	var l ledger
	for i := 0; s.Failed() == nil; i++ {
		l.append(t, s, iface, 1000)
		if i > 10_000 {
			t.Fatal("the stream never failed")
		}
	}
	finish(t, w)
	if k := s.Totals(); !errors.Is(s.Failed(), syscall.EPIPE) || k.Kept+k.Dropped != l.given || k.Kept > 100 || k.Kept == 0 {
		t.Errorf("%v, %+v of %d", s.Failed(), k, l.given)
	}
}
