package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// hangup is SIGHUP, or SIGTERM if SIGHUP is ignored, as below nohup.
func hangup() os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return syscall.SIGTERM
	}
	return syscall.SIGHUP
}

func TestInterruptLeavesNothing(t *testing.T) {
	sample, err := os.ReadFile("../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		bytes  int
		signal os.Signal
	}{
		{"before the first byte of a slow pipe", 0, os.Interrupt},
		{"inside the file header", 10, syscall.SIGTERM},
		{"in the middle of a slow pipe", len(sample) / 2, hangup()},
		{"after a whole capture, the pipe still open", len(sample), os.Interrupt},
		{"while the bundle is being written", len(sample) + 64<<10, hangup()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := sample
			for len(data) < tt.bytes { // sections follow one another
				data = append(data, sample...)
			}
			dir := t.TempDir()
			var code int
			var stderr string
			// On a loaded machine the signal may arrive before the program runs.
			for _, wait := range []time.Duration{time.Second, 8 * time.Second} {
				if code, stderr = interrupted(t, dir, data[:tt.bytes], tt.signal, tt.bytes > len(sample), wait); code != -1 {
					break
				}
			}
			if code != exit.Interrupted {
				t.Errorf("exit code %d, want %d", code, exit.Interrupted)
			}
			if stderr != "interrupted; nothing was left behind\n" {
				t.Errorf("it printed %q", stderr)
			}
			if left := clitest.Names(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// interrupted makes a bundle in dir from a pipe that delivers data and then blocks, and
// interrupts it: when the output folder appears if folder is set, or else after wait. Code
// -1 means that the signal killed the program.
func interrupted(t *testing.T, dir string, data []byte, by os.Signal, folder bool, wait time.Duration) (code int, stderr string) {
	c, text := clitest.Program(t, "bundle", "-", "-o", filepath.Join(dir, "live.pcapsule"))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(in, bytes.NewReader(data))
	if folder {
		for end := time.Now().Add(30 * time.Second); len(clitest.Names(t, dir)) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no hidden folder was seen")
			}
		}
	} else {
		time.Sleep(wait)
	}
	if err := c.Process.Signal(by); err != nil {
		t.Fatal(err)
	}
	return clitest.ExitCode(t, c.Wait()), text.String()
}

// The usual end of a server is a signal, which is no error: a service manager would report one.
func TestServersEndWithoutAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.pcapsule")
	if c, stderr := clitest.Program(t, "bundle", "../samples/dns.pcap", "-o", path); c.Run() != nil {
		t.Fatal(stderr)
	}
	for _, args := range [][]string{{"serve", path, "--addr", "127.0.0.1:0"}, {"mcp", path}} {
		for _, by := range []os.Signal{os.Interrupt, syscall.SIGTERM, hangup()} {
			c, _ := clitest.Program(t, args...)
			c.Stderr = nil
			printed, err := c.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			in, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ready := printed
			if args[0] == "mcp" { // it is ready when it answers
				ready = out
				fmt.Fprintln(in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
			}
			if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
				t.Errorf("%s printed %q: %v", args[0], line, err)
			}
			c.Process.Signal(by)
			if rest, _ := io.ReadAll(printed); len(rest) > 0 {
				t.Errorf("%s printed %q after %s", args[0], rest, by)
			}
			if code := clitest.ExitCode(t, c.Wait()); code != exit.Done {
				t.Errorf("%s: exit code %d after %s", args[0], code, by)
			}
		}
	}
}

func TestInterruptOfAQuery(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pcapsule")
	c, _ := clitest.Program(t, "bundle", "../samples/dns.pcap", "-o", path)
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	c, stderr := clitest.Program(t, "sql", path, "select count(*) from range(1000000) a, range(1000000) b, range(1000) c where a.range + b.range = c.range * 7", "--deadline", "0")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	c.Process.Signal(os.Interrupt)
	if code := clitest.ExitCode(t, c.Wait()); code != exit.Interrupted {
		t.Errorf("exit code %d, want %d: %s", code, exit.Interrupted, stderr)
	}
}

func TestFullDiskLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	disk := t.TempDir()
	if err := mountSmall(disk, "size=96k"); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: ", err)
	}
	defer syscall.Unmount(disk, 0)
	whole := filepath.Join(t.TempDir(), "a.pcapsule")
	c, _ := clitest.Program(t, "bundle", "../samples/shop.pcapng", "-o", whole)
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"bundle", []string{"bundle", "../samples/shop.pcapng", "-o", filepath.Join(disk, "a.pcapsule")}},
		{"packets", []string{"packets", whole, "-o", filepath.Join(disk, "a.pcapng")}},
		{"packets of a capture", []string{"packets", "../samples/shop.pcapng", "--strip-keys", "-o", filepath.Join(disk, "a.pcapng")}},
		{"report", []string{"report", whole, "--json", "-o", filepath.Join(disk, "a.json")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, stderr := clitest.Program(t, tt.args...)
			if code := clitest.ExitCode(t, c.Run()); code != exit.Disk {
				t.Errorf("exit code %d, want %d", code, exit.Disk)
			}
			if !strings.Contains(stderr.String(), "no space left on device") || !strings.Contains(stderr.String(), "hint: ") {
				t.Errorf("it printed %q", stderr)
			}
			if left := clitest.Names(t, disk); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestRecordingOnAFullDisk checks that the capture can be read to its end, and that the message
// says so.
func TestRecordingOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, size := range []string{"1m", "300k"} { // the latter has room for the header only
		t.Run(size, func(t *testing.T) { recordOnFullDisk(t, size) })
	}
}

func recordOnFullDisk(t *testing.T, size string) {
	disk := t.TempDir()
	if err := mountSmall(disk, "size="+size); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: ", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	out := filepath.Join(disk, "a.pcapng")
	to, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			_, _ = to.Write(make([]byte, 1000)) // refused: nothing listens there
			time.Sleep(100 * time.Microsecond)
		}
	}()
	c, stderr := clitest.Program(t, "record", "--capture=interfaces", "-i", "lo", "-w", out, "--duration", "50s", "udp port 9")
	if code := clitest.ExitCode(t, c.Run()); code != exit.Disk {
		t.Errorf("exit code %d, want %d", code, exit.Disk)
	}
	if !strings.Contains(stderr.String(), "no space left on device; "+out+" is readable and has ") || !strings.Contains(stderr.String(), "hint: free space, and record into another file") {
		t.Errorf("it printed %q", stderr)
	}
	if c, stderr = clitest.Program(t, "bundle", "--strict", out, "-o", filepath.Join(t.TempDir(), "a.pcapsule")); clitest.ExitCode(t, c.Run()) != exit.Done {
		t.Errorf("reading it: %q", stderr)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	disk := t.TempDir()
	if err := mountSmall(disk, "ro"); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: ", err)
	}
	defer syscall.Unmount(disk, 0)
	c, stderr := clitest.Program(t, "bundle", "../samples/dns.pcap", "-o", filepath.Join(disk, "a.pcapsule"))
	if code := clitest.ExitCode(t, c.Run()); code != exit.Disk || !strings.Contains(stderr.String(), "read-only") {
		t.Errorf("exit code %d, want %d: %s", code, exit.Disk, stderr)
	}
}

// TestFoldersOfOthers runs as another user, because root can read and write every folder.
func TestFoldersOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	for p := dir; len(p) > len(os.TempDir()); p = filepath.Dir(p) {
		os.Chmod(p, 0o755)
	}
	capture := filepath.Join(dir, "a.pcap")
	data, err := os.ReadFile("../samples/dns.pcap")
	if err != nil {
		t.Fatal(err)
	}
	closed, open := filepath.Join(dir, "closed"), filepath.Join(dir, "open")
	for name, mode := range map[string]os.FileMode{closed: 0o700, open: 0o777} {
		if err := os.Mkdir(name, mode); err != nil {
			t.Fatal(err)
		}
		os.Chmod(name, mode)
	}
	os.WriteFile(capture, data, 0o644)
	reachable := filepath.Join(dir, "pcapsule") // go test builds in a private folder
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Link(own, reachable) != nil {
		program, err := os.ReadFile(own)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(reachable, program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
	}{
		{"an output folder that is not writable", []string{"bundle", capture, "-o", filepath.Join(dir, "b.pcapsule")}, exit.Disk},
		{"a folder of captures that is not readable", []string{"bundle", closed, "-o", filepath.Join(open, "b.pcapsule")}, exit.NotCapture},
		{"a capture in a folder that is not readable", []string{"bundle", filepath.Join(closed, "a.pcap"), "-o", filepath.Join(open, "b.pcapsule")}, exit.NotCapture},
		{"a bundle in a folder that is not readable", []string{"info", filepath.Join(closed, "a.pcapsule")}, exit.NotCapture},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, stderr := clitest.Program(t, tt.args...)
			c.Path = reachable
			c.Env = []string{"HOME=" + open, "TMPDIR=" + open}
			asNobody(c)
			if code := clitest.ExitCode(t, c.Run()); code != tt.code || !strings.Contains(stderr.String(), "hint: check ") {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, stderr)
			}
			if left := clitest.Names(t, open); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func mountSmall(dir, options string) error {
	var flags uintptr
	if options == "ro" {
		flags, options = syscall.MS_RDONLY, ""
	}
	return syscall.Mount("tmpfs", dir, "tmpfs", flags, options)
}

func asNobody(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
