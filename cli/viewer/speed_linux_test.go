package viewer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a process and its children used.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes of memory; of a browser, of its largest process
}

// children adds what the browsers that this test started have used until now.
func children(t *testing.T) (u usage) {
	t.Helper()
	const tick = 10 * time.Millisecond // of the kernel, USER_HZ
	parents, own := map[int]int{}, map[int]usage{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		text, err := os.ReadFile(filepath.Join(dir, "stat"))
		status, err2 := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil || err2 != nil {
			continue // it ended
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		number := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
		var kib int64
		if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
			fmt.Sscan(after, &kib)
		}
		parents[pid], own[pid] = number(1), usage{time.Duration(number(11)+number(12)) * tick, kib << 10}
	}
	for pid, p := range own {
		for at := pid; at > 1; at = parents[at] {
			if at == os.Getpid() && pid != at {
				u.cpu, u.peak = u.cpu+p.cpu, max(u.peak, p.peak)
				break
			}
		}
	}
	return u
}

// program checks a bundle with the program, which has one thread.
func program(t *testing.T, path string, rederive bool) (u usage) {
	t.Helper()
	args := []string{"verify", path}
	if rederive {
		args = append(args, "--rederive")
	}
	c := exec.Command(pcapsule(t), args...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// The peak that the kernel reports at the end is at least that of this test, which made the process.
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			u.cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
			return u
		case <-time.After(20 * time.Millisecond):
			u.peak = max(u.peak, children(t).peak)
		}
	}
}

// TestTabSpeed measures the viewer against the program, which has one thread: opening, and a check of a bundle of the capture that
// PCAPSULE_SPEED names. Processor time counts, because other programs may run. Run it alone.
func TestTabSpeed(t *testing.T) {
	capture := os.Getenv("PCAPSULE_SPEED")
	if capture == "" {
		t.Skip("needs bench captures: make bench-viewer")
	}
	path := made(t, capture, nil)
	size := func(path string) (n int64) {
		err := filepath.Walk(path, func(_ string, i os.FileInfo, err error) error {
			if err == nil && i.Mode().IsRegular() {
				n += i.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Logf("capture %d bytes, bundle %d bytes", size(capture), size(path))
	for _, rederive := range []bool{false, true} {
		native := program(t, path, rederive)
		t.Logf("program, rederive %t: %.1f CPU s, peak %d MB", rederive, native.cpu.Seconds(), native.peak/1_000_000)
		for _, browser := range []string{"Chromium", "Firefox"} {
			t.Run(fmt.Sprintf("%s %t", browser, rederive), func(t *testing.T) {
				began := time.Now()
				b := open(t, browser)
				opened := children(t)
				t.Logf("opening: %.1f s, %.1f CPU s with the start of the browser", time.Since(began).Seconds(), opened.cpu.Seconds())
				began = time.Now()
				if headline, lines := b.check(path, rederive); headline != "Verified" {
					t.Fatal(headline, lines)
				}
				u := children(t)
				used := u.cpu - opened.cpu
				t.Logf("check: %.1f CPU s, %.1f times the program; peak %d MB, %.1f times; %.1f s", used.Seconds(), float64(used)/float64(native.cpu), u.peak/1_000_000, float64(u.peak)/float64(native.peak), time.Since(began).Seconds())
			})
		}
	}
}
