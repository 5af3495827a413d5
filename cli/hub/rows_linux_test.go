package hub

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

const (
	rowsRing  = "PCAPSULE_TEST_ROWS_RING"
	rowsLimit = 20 // percent of a processor
)

// TestRowsProgram is the program of TestRowsWithinALimit.
func TestRowsProgram(t *testing.T) {
	dir := os.Getenv(rowsRing)
	if dir == "" {
		return
	}
	c := command(func(string) (string, bool) { return "", false }, os.Stderr)
	c.SetArgs([]string{"rows", "--ring", dir, "--to", filepath.Join(filepath.Dir(dir), "rows"), "--memory", "128MiB"})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Error(err)
	}
}

// limited makes a control group with a part of a processor.
func limited(t *testing.T, percent int) (dir string) {
	t.Helper()
	v1 := "/sys/fs/cgroup/cpu/pcapsule-test-" + strconv.Itoa(os.Getpid())
	v2 := "/sys/fs/cgroup/pcapsule-test-" + strconv.Itoa(os.Getpid())
	for _, x := range []struct{ dir, file, text string }{
		{v1, "cpu.cfs_quota_us", strconv.Itoa(percent * 1000)},
		{v2, "cpu.max", strconv.Itoa(percent*1000) + " 100000"},
	} {
		if os.Mkdir(x.dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			for end := time.Now().Add(5 * time.Second); os.Remove(x.dir) != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			}
		})
		if os.WriteFile(filepath.Join(x.dir, x.file), []byte(x.text), 0o644) == nil {
			return x.dir
		}
	}
	t.Skip("needs a control group: none can limit the processor")
	return ""
}

// used is the processor time of a process.
func used(t *testing.T, p *os.Process) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var all time.Duration
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.Pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(err, string(text))
	}
	for _, task := range tasks {
		var ns int64
		if text, err = os.ReadFile(task); err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			t.Fatal(err)
		}
		all += time.Duration(ns)
	}
	return all
}

// TestRowsWithinALimit: a program that has too little of the processor uses no more, is behind, and says so. It catches
// up when there is less to do, and ends when nobody asks now.
func TestRowsWithinALimit(t *testing.T) {
	group := limited(t, rowsLimit)
	base := t.TempDir()
	dir := filepath.Join(base, "ring")
	w, err := ring.Create(ring.Options{Dir: dir, Node: "n", FlushEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(t.Context())
	s, err := w.Series(ring.SeriesOptions{Name: "eth", LinkType: 1})
	if err != nil {
		t.Fatal(err)
	}
	face, err := s.Interface(pcapng.Interface{Name: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	record := func(calls int) {
		t.Helper()
		var c traffic.Capture
		for i := range calls {
			c.Exchange(0, time.Microsecond, "/x", fmt.Sprintf("10.%d.%d.1", i>>8&255, i&255), "10.1.0.2:80", traffic.HTTP("GET /x HTTP/1.1", "Host: svc", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "{}"))
		}
		c.Packets(func(_ int64, data []byte) {
			last = time.Now().UnixNano()
			if err := s.Append(&ring.Packet{Interface: face, Time: last, Data: data, OrigLen: uint32(len(data))}); err != nil {
				t.Fatal(err)
			}
		})
		s.Flush()
	}
	record(1)
	to := filepath.Join(base, "rows")
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	p := exec.Command(os.Args[0], "-test.run=^TestRowsProgram$")
	p.Env = append(os.Environ(), rowsRing+"="+dir, "GOMAXPROCS=4")
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	t.Cleanup(func() {
		if p.Process.Signal(syscall.SIGKILL) == nil {
			<-ended
		}
	})
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)), 0o644); err != nil {
		t.Skipf("needs a control group: %v", err)
	}
	time.Sleep(time.Second)
	if _, err := rows.Read(to); err == nil {
		t.Error("it works although nobody asks")
	}
	await := func(what string, most time.Duration, ready func(c *rows.Cut) bool) {
		t.Helper()
		for end := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
			if err := rows.Want(to); err != nil {
				t.Fatal(err)
			}
			if c, err := rows.Read(to); err == nil && ready(c) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not after %s", what, most)
			}
		}
	}
	await("a first cut", time.Minute, func(c *rows.Cut) bool { return true })
	before, began := used(t, p.Process), time.Now()
	record(20_000)
	fed := time.Now()
	await("it is behind", time.Minute, func(c *rows.Cut) bool { return time.Since(fed) > 4*time.Second && !caughtUp(t, c, last) })
	await("it has caught up", 2*time.Minute, func(c *rows.Cut) bool { return caughtUp(t, c, last) })
	took, cpu := time.Since(began), used(t, p.Process)-before
	share := float64(cpu) / float64(took) * 100
	t.Logf("%.0f %% of a processor in %.1f s, limit %d %%", share, took.Seconds(), rowsLimit)
	if share > rowsLimit*1.25 {
		t.Errorf("it used %.0f %% of a processor, the limit is %d %%", share, rowsLimit)
	}
	if err := os.Chtimes(filepath.Join(to, "wanted"), time.Unix(0, 0), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := rows.Read(to); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it continues although nobody asks")
		}
	}
}

// caughtUp reports whether a cut has everything up to a capture time.
func caughtUp(t *testing.T, c *rows.Cut, last int64) bool {
	t.Helper()
	var said struct{ Now int64 }
	if err := json.Unmarshal(c.State, &said); err != nil {
		t.Fatal(err)
	}
	return said.Now >= last
}
