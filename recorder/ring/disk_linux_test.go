package ring

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// smallDisk mounts a file system of the given size in bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN: to mount a small disk: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// ledger counts the packets that a ring received and those that it reported as dropped.
type ledger struct {
	given, refused uint64
	id             uint64
}

func (l *ledger) append(t *testing.T, s *Series, iface InterfaceID, size int) {
	t.Helper()
	l.given++
	l.id++
	err := s.Append(&Packet{Interface: iface, Time: epoch + int64(l.id)*1000, Prefix: sll2, Data: udp(size), OrigLen: uint32(size + 20), ID: l.id, Flags: 1})
	switch {
	case errors.Is(err, ErrDisk):
		l.refused++
	case err != nil:
		t.Fatal(err)
	}
}

// balance checks that every packet is in a segment or in a gap, and that the drop counts in
// the segments agree, as far as a packet followed.
func (l *ledger) balance(t *testing.T, dir string) {
	t.Helper()
	rep, err := Verify(dir, VerifyOptions{})
	must(t, err)
	if !rep.OK() || len(rep.Open) > 0 {
		t.Fatalf("open %v, problems %v", rep.Open, rep.Problems)
	}
	list, err := Segments(dir)
	must(t, err)
	var kept, said, last uint64
	for _, s := range list {
		readAll(t, s.Path, func(_ pcapng.Interface, p *pcapng.Packet) {
			kept++
			drops, _ := p.DropCount()
			id, _ := p.PacketID()
			if id = id & packetIDMask; id != last+drops+1 {
				t.Fatalf("%s: packet %d after %d with %d dropped", s.ID, id, last, drops)
			}
			last = id
			said += drops
		})
	}
	var holes uint64
	for _, h := range rep.Holes {
		if h.Reason == "disk" {
			holes += uint64(h.Packets)
		}
	}
	if kept+holes != l.given || said > holes {
		t.Fatalf("%d given, %d kept, %d in gaps, %d in drop counts", l.given, kept, holes, said)
	}
}

func TestFullDiskIsAccountedFor(t *testing.T) {
	rounds := 10
	if *long {
		rounds = 50
	}
	for round := range rounds {
		chance := rand.New(rand.NewPCG(0, uint64(round)))
		size := 600<<10 + chance.IntN(3<<20)&^4095
		t.Run(fmt.Sprintf("%d with %d bytes", round, size), func(t *testing.T) { fillDisk(t, chance, size) })
	}
}

func fillDisk(t *testing.T, chance *rand.Rand, size int) {
	disk := smallDisk(t, size)
	dir := filepath.Join(disk, "ring")
	sealed := map[ID]string{}
	w := create(t, Options{Dir: dir, Node: "n", SegmentBytes: int64(100<<10 + chance.IntN(500<<10)), FlushEvery: 2 * time.Millisecond,
		RetryEvery: 5 * time.Millisecond, Patience: 50 * time.Millisecond, OnError: func(error) {},
		OnSeal: func(r Record) { sealed[r.Segment.ID()] = r.Segment.SHA256 }})
	s := sockets(t, w)
	iface := declare(t, s, "a")
	var l ledger
	for refused := uint64(0); refused < 200; refused = l.refused {
		l.append(t, s, iface, 28+chance.IntN(2000))
		if chance.IntN(50) == 0 {
			time.Sleep(time.Millisecond)
		}
		if l.given > 100_000 {
			t.Fatal("the disk is never full")
		}
	}
	if st := w.Status(); !strings.Contains(fmt.Sprint(st.Series[0].LastFail), "no space left") {
		t.Fatalf("%+v", st)
	}
	// Make room; the ring must continue by itself.
	must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", size+4<<20)))
	end := time.Now().Add(30 * time.Second)
	for taken := 0; taken < 300; taken++ {
		before := l.refused
		l.append(t, s, iface, 200)
		if time.Sleep(10 * time.Microsecond); l.refused != before {
			taken = -1
		}
		if time.Now().After(end) {
			t.Fatalf("%d dropped although there is room again", l.refused)
		}
	}
	finish(t, w)
	l.balance(t, dir)
	list, err := Segments(dir)
	must(t, err)
	for _, s := range list {
		if sealed[s.ID] != s.Seal.SHA256 {
			t.Fatalf("%s has changed since its seal", s.ID)
		}
		delete(sealed, s.ID)
	}
	if len(sealed) > 0 {
		t.Fatalf("sealed, but missing: %v", sealed)
	}
	agreeOnPackets(t, list)
}

// TestSpaceKeptInAdvanceGoesBack compares the blocks of files, not their sizes.
func TestSpaceKeptInAdvanceGoesBack(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	s := sockets(t, w)
	fill(t, w, s, declare(t, s, "a"), 0, 2)
	finish(t, w)
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		info, err := e.Info()
		must(t, err)
		if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > info.Size()+16<<10 {
			t.Errorf("%s: %d bytes use %d on disk", e.Name(), info.Size(), used)
		}
	}
}

func TestReadOnlyDiskIsAccountedFor(t *testing.T) {
	disk := smallDisk(t, 16<<20)
	dir := filepath.Join(disk, "ring")
	w := create(t, Options{Dir: dir, Node: "n", SegmentBytes: 64 << 10, FlushEvery: 2 * time.Millisecond, RetryEvery: 5 * time.Millisecond})
	s := sockets(t, w)
	iface := declare(t, s, "a")
	var l ledger
	for range 100 {
		l.append(t, s, iface, 1000)
	}
	must(t, w.Seal(context.Background()))
	// A mount that is read-only for this path only: open files can still be written, but new
	// files cannot be created.
	must(t, syscall.Mount(dir, dir, "", syscall.MS_BIND, ""))
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	must(t, syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for range 100 {
		l.append(t, s, iface, 1000)
		time.Sleep(time.Millisecond)
	}
	if l.refused == 0 || !w.Status().Series[0].Down && w.Status().Series[0].LastFail == nil {
		t.Fatalf("%d refused, %+v", l.refused, w.Status())
	}
	must(t, syscall.Unmount(dir, syscall.MNT_DETACH))
	time.Sleep(30 * time.Millisecond)
	for range 100 {
		l.append(t, s, iface, 1000)
	}
	finish(t, w)
	l.balance(t, dir)
}
