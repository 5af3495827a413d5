package record_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
)

// chatter sends datagrams to a port of this machine until the test ends.
func chatter(t *testing.T) (port string) {
	t.Helper()
	to, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from, err := net.Dial("udp", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { close(done); from.Close(); to.Close() })
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				from.Write([]byte("pcapsule live"))
			}
		}
	}()
	return strconv.Itoa(to.LocalAddr().(*net.UDPAddr).Port)
}

// needsRecording skips the test if this machine cannot record.
func needsRecording(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	c, stderr := clitest.Program(t, "record", "-w", "-", "-q", "--duration", "1ms")
	if err := c.Run(); err != nil {
		t.Skip("needs CAP_BPF: ", stderr)
	}
}

// TestWiresharkListsAndCaptures installs the capture program in a temporary home folder, and
// runs tshark to list it and capture through it.
func TestWiresharkListsAndCaptures(t *testing.T) {
	needsRecording(t)
	home := t.TempDir()
	env := append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"))
	c, stderr := clitest.Program(t, "extcap", "install")
	c.Env = env
	if out, err := c.Output(); err != nil || !bytes.Contains(out, []byte(home)) {
		t.Fatalf("it printed %q %s, %v; want a folder below %s", out, stderr, err, home)
	}
	tshark := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, "tshark", args...)
		c.Env = env
		var errs bytes.Buffer
		c.Stderr = &errs
		out, err := c.Output()
		if err != nil {
			t.Errorf("tshark %q: %v: %s", args, err, &errs)
		}
		return string(out)
	}
	if list := tshark("-D"); !strings.Contains(list, ". pcapsule (") {
		t.Fatalf("tshark -D lists\n%s", list)
	}
	if types := tshark("-L", "-i", "pcapsule"); !strings.Contains(types, "LINUX_SLL2") {
		t.Errorf("tshark -L lists %q", types)
	}
	port := chatter(t)
	rows := tshark("-i", "pcapsule", "-f", "udp port "+port, "-c", "6", "-a", "duration:30", "-T", "fields", "-e", "frame.interface_name", "-e", "sll.pkttype", "-e", "udp.dstport", "-e", "udp.payload") // whatever protocol tshark takes the port for
	seen := strings.Split(strings.TrimSpace(rows), "\n")
	if len(seen) != 6 {
		t.Fatalf("%d packets, want 6:\n%s", len(seen), rows)
	}
	for _, row := range seen {
		f := strings.Split(row, "\t")
		if len(f) < 4 || f[2] != port || f[3] != hex.EncodeToString([]byte("pcapsule live")) || f[1] != "4" && f[1] != "0" {
			t.Errorf("packet %q, want one to port %s", row, port)
		}
	}
}

// TestLiveStream is pcapsule record -w - | tshark -r -.
func TestLiveStream(t *testing.T) {
	needsRecording(t)
	port := chatter(t)
	record, stderr := clitest.Program(t, "record", "-w", "-", "-c", "8", "--duration", "30s", "udp", "port", port)
	out, err := record.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	read := exec.Command("tshark", "-n", "-r", "-", "-T", "fields", "-e", "udp.dstport", "-e", "frame.interface_name")
	read.Stdin = out
	var errs bytes.Buffer
	read.Stderr = &errs
	if err := record.Start(); err != nil {
		t.Fatal(err)
	}
	rows, err := read.Output()
	if err != nil {
		t.Errorf("tshark: %v: %s", err, &errs)
	}
	if err := record.Wait(); err != nil {
		t.Errorf("record: %v: %s", err, stderr)
	}
	seen := strings.Split(strings.TrimSpace(string(rows)), "\n")
	if len(seen) != 8 {
		t.Fatalf("%d packets, want 8:\n%s", len(seen), rows)
	}
	for _, row := range seen {
		if port2, name, _ := strings.Cut(row, "\t"); port2 != port || name == "" {
			t.Errorf("packet %q, want one to port %s of a named interface", row, port)
		}
	}
}
