package recorder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestSideFilesThatCannotBeWritten checks that lost lines are counted, and that the error is
// reported once, and again if it recurs.
func TestSideFilesThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	good := must(os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600))
	bad := must(os.Open(path))
	defer good.Close()
	defer bad.Close()
	id := ring.ID{Series: "sockets", Node: "n", Sequence: 1}
	out := &sink{series: &ring.Series{}, sides: map[string]*sideFile{}}
	disk := func(f *os.File) { out.sides[sideOwners], out.sides[sideEvents] = &sideFile{id, f}, &sideFile{id, f} }
	var reported []error
	j := journal{onError: func(err error) { reported = append(reported, err) }}
	l := &output{sink: out}
	line := func(owner, event string) {
		if owner != "" {
			l.owners = append(l.owners, owner+"\n"...)
		}
		if event != "" {
			l.events = append(l.events, event+"\n"...)
		}
		j.write(l, id)
	}
	disk(good)
	line("a", "")
	disk(bad)
	line("b", "c")
	line("d", "")
	disk(good)
	line("e", "")
	line("", "f")
	disk(bad)
	line("g", "")
	if got := string(must(os.ReadFile(path))); j.lost != 4 || len(reported) != 2 || got != "a\ne\nf\n" {
		t.Errorf("%d lines lost, errors %v, written %q", j.lost, reported, got)
	}
}

// TestHalfALineIsCut checks that a partly written line is removed.
func TestHalfALineIsCut(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8192"); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: to mount a small disk: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "lines")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := writeLines(f, []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 100)))
	if !errors.Is(err, syscall.ENOSPC) || n == 0 || n%100 != 0 {
		t.Errorf("%d bytes written, error %v", n, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != int64(n) {
		t.Errorf("the file has %d bytes, want %d: %v", info.Size(), n, err)
	}
}

// watched collects what a recording reports.
type watched struct {
	mu   sync.Mutex
	errs []error
	last Stats
}

func (w *watched) options(o Options) Options {
	o.Every = 10 * time.Millisecond
	o.OnError = func(err error) { w.mu.Lock(); defer w.mu.Unlock(); w.errs = append(w.errs, err) }
	o.OnStats = func(s Stats) { w.mu.Lock(); defer w.mu.Unlock(); w.last = s }
	return o
}

func (w *watched) seen(n uint64) func() bool {
	return func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.last.Seen >= n }
}

func (w *watched) said(text string) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Contains(fmt.Sprint(errors.Join(w.errs...)), text)
	}
}

// TestFullDisk checks that packets and lines without disk space are counted and recording
// continues. When there is space again, lines are written next to the segments of their
// time, but not next to those that the full disk ended.
func TestFullDisk(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: to mount a small disk: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	var w watched
	stats := record(t, w.options(Options{Ring: &ring.Options{Dir: filepath.Join(dir, "ring"), RetryEvery: 20 * time.Millisecond}, Cgroup: s.cgroup, NoNames: true}), func() {
		for i := range 20 {
			if i == 10 {
				if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
					t.Error(err)
				}
			}
			s.run(s.cgroup, "say 7001 1000 "+strings.Repeat("x", 100))
			until(t, w.seen(uint64(i+1)*2000))
		}
	})
	if stats.Seen != 40000 || stats.Dropped == 0 || stats.Delivered == 0 || !w.said("no space left")() {
		t.Errorf("%+v; errors %v", stats.Counters, w.errs)
	}
	if r, err := ring.Verify(filepath.Join(dir, "ring"), ring.VerifyOptions{}); err != nil || !r.OK() || r.SideFiles < 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestVanishedRing moves the ring's folder away and back. Packets that could not be written
// are dropped and reported; then recording continues where it was, including side files.
func TestVanishedRing(t *testing.T) {
	s := newStage(t, "scene idle")
	top := t.TempDir()
	dir, away := filepath.Join(top, "ring"), filepath.Join(top, "away")
	var w watched
	stats := record(t, w.options(Options{Ring: &ring.Options{Dir: dir, SegmentTime: 50 * time.Millisecond, RetryEvery: 20 * time.Millisecond}, Cgroup: s.cgroup, NoNames: true}), func() {
		s.run(s.cgroup, "say 7001 100 before")
		until(t, func() bool { return w.seen(200)() && sealed(dir) > 0 })
		if err := os.Rename(dir, away); err != nil {
			t.Error(err)
			return
		}
		sent := uint64(200)
		for range 200 { // until the writer has reported the error
			s.run(s.cgroup, "say 7001 10 meanwhile")
			sent += 20
			until(t, w.seen(sent))
			if w.said("no such file")() {
				break
			}
		}
		if err := os.Rename(away, dir); err != nil {
			t.Error(err)
			return
		}
		before := sealed(dir)
		for range 1000 {
			s.run(s.cgroup, "say 7001 10 after")
			if sealed(dir) > before {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if stats.Seen != stats.Delivered+stats.Dropped || !w.said("no such file")() {
		t.Errorf("%+v; errors %v", stats.Counters, w.errs)
	}
	after, owners := 0, false
	segments, err := ring.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, seg := range segments {
		if seg.Missing {
			continue
		}
		for _, p := range readAll(t, seg.Path) {
			if string(p.ip[28:]) == "after" {
				after++
				owners = owners || len(seg.Side) > 0
			}
		}
	}
	if after == 0 || !owners {
		t.Errorf("%d packets after the folder was restored, side files %v", after, owners)
	}
	if r, err := ring.Verify(dir, ring.VerifyOptions{}); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

// sealed counts the sealed segments of a ring.
func sealed(dir string) (n int) {
	list, err := ring.Segments(dir)
	if err != nil {
		return 0
	}
	for _, s := range list {
		if s.Seal != nil && !s.Missing {
			n++
		}
	}
	return n
}

// TestUnknownInterface checks that the error names the existing interfaces.
func TestUnknownInterface(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.pcapng")
	_, err := Run(t.Context(), Options{Capture: Interfaces, Interface: []string{"nosuch0"}, File: file})
	if err == nil || !strings.Contains(err.Error(), `interface "nosuch0": no such network interface: use one of `) || !strings.Contains(err.Error(), "lo") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file is left")
	}
}

// TestUnreadableControlGroups checks that a tree that cannot be read is reported, and that
// one that changes while it is read is not.
func TestUnreadableControlGroups(t *testing.T) {
	if g := machine.NewCgroups(filepath.Join(t.TempDir(), "nowhere")); g.Err() == nil || !strings.Contains(g.Err().Error(), "reading control groups") {
		t.Errorf("trouble %v", g.Err())
	} else if x := g.Find(7); x.Path != "" || x.Label() != "cgroup-7" {
		t.Errorf("group %+v", x)
	}
	if g := machine.NewCgroups(t.TempDir()); g.Err() != nil {
		t.Error(g.Err())
	}
}

// TestClockThatIsSet checks that a clock that was set is read again, and that this is recorded.
func TestClockThatIsSet(t *testing.T) {
	var c machine.Clock
	c.Calibrate()
	c.Tick()
	c.Distance += 3600e9 // as if the clock had been set
	if read, stepped := c.Tick(); !read || !stepped || len(c.Steps) != 1 || c.Steps[0].By > -3599e9 {
		t.Errorf("read %v, stepped %v, %+v", read, stepped, c.Steps)
	}
	l := &output{}
	j := journal{}
	j.clockSet(l, &c)
	if !strings.Contains(string(l.events), `"kind":"clock_set"`) || len(c.Steps) != 0 {
		t.Errorf("%s", l.events)
	}
}

// TestSideFilesLeaveWhatIsReserved checks that side files do not use the reserved space of a
// full disk, and continue when there is space again.
func TestSideFilesLeaveWhatIsReserved(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: to mount a small disk: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	o := Options{OnError: func(error) {}, Ring: &ring.Options{Dir: filepath.Join(dir, "ring"), SegmentBytes: 1 << 20, Reserve: ring.Reserve{Bytes: 8 << 20}, FlushEvery: time.Millisecond, RetryEvery: 5 * time.Millisecond}}
	s, err := newSink(&o, machine.This(), ring.SeriesOptions{Name: "sockets", LinkType: cooked.LinkType})
	if err != nil {
		t.Fatal(err)
	}
	iface, err := s.declare(pcapng.Interface{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	until := func(refusing bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); s.series.Refusing() != refusing || s.segment() == (ring.ID{}); time.Sleep(2 * time.Millisecond) {
			if err := s.append(&ring.Packet{Interface: iface, Time: time.Now().UnixNano(), Data: make([]byte, 100), OrigLen: 100}); err != nil && !errors.Is(err, ring.ErrDisk) {
				t.Fatal(err)
			}
			if time.Now().After(end) {
				t.Fatalf("not within 30 s: refusing = %v", refusing)
			}
		}
	}
	sides := func() int {
		list, err := filepath.Glob(filepath.Join(dir, "ring", "*.events"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	until(true)
	if n, err := s.side(s.segment(), sideEvents, []byte("{}\n")); n != 0 || err == nil || sides() != 0 {
		t.Errorf("%d bytes, error %v, %d files", n, err, sides())
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	until(false)
	if n, err := s.side(s.segment(), sideEvents, []byte("{}\n")); n != 3 || err != nil || sides() != 1 {
		t.Errorf("%d bytes, error %v, %d files", n, err, sides())
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
