package ring

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// holdDir makes the test binary take a snapshot of that ring until it is killed.
const holdDir = "PCAPSULE_RING_HOLD"

func holdUntilKilled(dir string) {
	p, err := Pin(context.Background(), dir, math.MinInt64, math.MaxInt64, filepath.Join(filepath.Dir(dir), HoldPrefix+"1"), PinOptions{Hold: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(len(p.Segments))
	_, _ = io.ReadAll(os.Stdin) // until it is killed, or its parent ends
	os.Exit(0)
}

// TestHoldOfAKilledSnapshot checks that the segments held by a snapshot are released when it
// is killed, and not before.
func TestHoldOfAKilledSnapshot(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "ring")
	w := create(t, Options{Dir: dir, MaxAge: time.Millisecond})
	s := sockets(t, w)
	must(t, s.Append(&Packet{Interface: declare(t, s, "n/-/x"), Time: time.Now().UnixNano(), Data: []byte("x"), OrigLen: 1}))
	// A lease stops retention until the snapshot holds the segment.
	release, err := acquireLease(dir, math.MinInt64, math.MaxInt64)
	must(t, err)
	must(t, w.Seal(context.Background()))
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), holdDir+"="+dir)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	must(t, err)
	defer in.Close()
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "1\n" {
		t.Fatalf("snapshot of %q segments: %v", line, err)
	}
	release()
	segment := filepath.Join(dir, ID{"sockets", "worker-3", 1}.Segment())
	held := filepath.Join(top, HoldPrefix+"1")
	if n, err := SweepHolds(top, dir, filepath.Join(top, "nowhere")); n != 0 || err != nil {
		t.Errorf("%d holds of running processes were swept: %v", n, err)
	}
	must(t, w.retain())
	for _, path := range []string{segment, filepath.Join(held, filepath.Base(segment))} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("while the snapshot is running: %v", err)
		}
	}
	must(t, c.Process.Kill())
	_ = c.Wait() // it was killed
	w.sweepHolds()
	if _, err := os.Stat(held); !os.IsNotExist(err) {
		t.Errorf("the hold is still there: %v", err)
	}
	must(t, w.retain())
	if _, err := os.Stat(segment); !os.IsNotExist(err) {
		t.Errorf("retention did not remove the released segment: %v", err)
	}
	finish(t, w)
}

// TestSweepRemovesNothingElse checks that other folders are not swept.
func TestSweepRemovesNothingElse(t *testing.T) {
	top := t.TempDir()
	path := func(name string) string { return filepath.Join(top, name) }
	must(t, os.Mkdir(path(HoldPrefix+"new"), 0o755)) // being created
	must(t, os.Mkdir(path("snapshot"), 0o755))
	must(t, os.WriteFile(path("snapshot/"+holdName), nil, 0o644))
	must(t, os.WriteFile(path(HoldPrefix+"file"), nil, 0o644))
	must(t, os.Symlink(path("snapshot"), path(HoldPrefix+"link")))
	must(t, os.Mkdir(path(HoldPrefix+"old"), 0o755))
	old := time.Now().Add(-2 * holdMade)
	must(t, os.Chtimes(path(HoldPrefix+"old"), old, old))
	if n, err := SweepHolds(top); n != 1 || err != nil {
		t.Errorf("%d swept, want the old one: %v", n, err)
	}
	for _, name := range []string{HoldPrefix + "new", "snapshot/" + holdName, HoldPrefix + "file", HoldPrefix + "link"} {
		if _, err := os.Lstat(path(name)); err != nil {
			t.Error(err)
		}
	}
}

// TestHoldIsReleased checks that a folder exists while it is held, and is removed on release.
func TestHoldIsReleased(t *testing.T) {
	top := t.TempDir()
	dir, release, err := Hold(top)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	if n, err := SweepHolds(top); n != 0 || err != nil {
		t.Errorf("%d swept: %v", n, err)
	}
	must(t, release())
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, _, err := Hold(filepath.Join(top, "nowhere")); err == nil {
		t.Error("a folder was created in a missing parent")
	}
}
