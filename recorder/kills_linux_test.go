package recorder

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// killsEnv sets how often TestKilledUnderTraffic kills the recorder; the default is 8.
const killsEnv = "PCAPSULE_KILLS"

// sendNumbered sends numbered datagrams until it is killed. The upper bits of the numbers
// identify the sender.
func sendNumbered(sender string) {
	loopbackUp()
	l := must(net.ListenPacket("udp4", "127.0.0.1:0")) // without a listener, every second write would be refused
	c := must(net.Dial("udp4", l.LocalAddr().String()))
	b := make([]byte, 600)
	for n := uint64(must(strconv.Atoi(sender)))<<40 + 1; ; n++ {
		binary.BigEndian.PutUint64(b, n)
		must(c.Write(b))
		if n%8 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// recordUntilKilled records a control group into a ring.
func recordUntilKilled(arg string) {
	cgroup, dir, _ := strings.Cut(arg, " ")
	_, err := Run(context.Background(), Options{Cgroup: cgroup, NoNames: true, OnStart: func(Started) { fmt.Println("ready") },
		Ring: &ring.Options{Dir: dir, SegmentBytes: 512 << 10, SegmentTime: 100 * time.Millisecond, FlushEvery: 5 * time.Millisecond, SyncEvery: 10 * time.Millisecond, RetryEvery: 20 * time.Millisecond}})
	fmt.Println(err)
}

// TestKilledUnderTraffic kills a recorder repeatedly while numbered packets pass and its
// disk fills up. Each packet must be in the ring once, or a gap must cover its time; all
// seals must balance.
func TestKilledUnderTraffic(t *testing.T) {
	kills := 8
	if text := os.Getenv(killsEnv); text != "" {
		kills = must(strconv.Atoi(text))
	}
	disk := t.TempDir()
	size := 4 << 20
	mount := func(flags uintptr) error {
		return syscall.Mount("tmpfs", disk, "tmpfs", flags, fmt.Sprint("size=", size))
	}
	if err := mount(0); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: to mount a small disk: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	dir := filepath.Join(disk, "ring")
	s := newStage(t, "scene idle")
	for round := range kills {
		if round%20 == 0 { // a part ends after one minute
			startStage(t, fmt.Sprint("numbered ", round), s.cgroup, syscall.CLONE_NEWNET)
		}
		recordAndKill(t, s.cgroup, dir, time.Duration(100+rand.IntN(600))*time.Millisecond)
		if round%4 == 3 { // the disk was full for a while
			size += 8 << 20
			if err := mount(syscall.MS_REMOUNT); err != nil {
				t.Fatal(err)
			}
		}
	}
	size += 8 << 20
	if err := mount(syscall.MS_REMOUNT); err != nil {
		t.Fatal(err)
	}
	if err := must(ring.Create(ring.Options{Dir: dir})).Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	rep, err := ring.Verify(dir, ring.VerifyOptions{})
	if err != nil || !rep.OK() || len(rep.Unbalanced) > 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	checkEach(t, dir, rep.Holes)
}

// recordAndKill starts a recorder and kills it some time after it started.
func recordAndKill(t *testing.T, cgroup, dir string, after time.Duration) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleEnv+"=recorded "+cgroup+" "+dir)
	c.Stderr = os.Stderr
	out := must(c.StdoutPipe())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	began := lines.Scan() && lines.Text() == "ready"
	time.Sleep(after)
	c.Process.Kill()
	for lines.Scan() {
		t.Errorf("the recorder printed %q", lines.Text())
	}
	if c.Wait(); !began {
		t.Fatalf("the recorder did not start: %q", lines.Text())
	}
}

// checkEach checks that each number is there once, and that a gap covers missing ones.
func checkEach(t *testing.T, dir string, holes []ring.Hole) {
	t.Helper()
	type numbered struct {
		n    uint64
		time int64
	}
	var all []numbered
	for _, seg := range must(ring.Segments(dir)) {
		for _, p := range readAll(t, seg.Path) {
			if p.out && len(p.ip) == 628 {
				all = append(all, numbered{binary.BigEndian.Uint64(p.ip[28:]), p.Time})
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("%d packets", len(all))
	}
	slices.SortFunc(all, func(a, b numbered) int { return int(int64(a.n) - int64(b.n)) })
	missing, stretches := uint64(0), 0
	for i, x := range all[1:] {
		before := all[i]
		switch {
		case x.n == before.n:
			t.Fatalf("packet %d was recorded twice", x.n)
		case x.n == before.n+1, x.n>>40 != before.n>>40:
			continue
		}
		missing += x.n - before.n - 1
		stretches++
		if !slices.ContainsFunc(holes, func(h ring.Hole) bool {
			return (h.Reason == "restart" || h.Reason == "disk") && int64(h.From) <= x.time && int64(h.To) >= before.time
		}) {
			t.Errorf("packets %d to %d (%s to %s) are missing, and no gap covers them", before.n+1, x.n-1, ring.Time(before.time), ring.Time(x.time))
		}
	}
	t.Logf("%d packets, %d missing in %d ranges, %d gaps", len(all), missing, stretches, len(holes))
}
