package record_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// group is a control group for one test.
type group struct{ path, name string }

func newGroup(t *testing.T) group {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs CAP_BPF")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		front, back, _ := strings.Cut(line, " - ")
		if f := strings.Fields(front); len(f) > 4 && strings.HasPrefix(back, "cgroup2 ") {
			g := group{name: fmt.Sprintf("/pcapsule-keys-%d-%d", os.Getpid(), time.Now().UnixNano())}
			g.path = f[4] + g.name
			if err := os.Mkdir(g.path, 0o755); err != nil {
				t.Skip("needs a control group: ", err)
			}
			t.Cleanup(g.remove)
			return g
		}
	}
	t.Skip("needs a control group: version 2 is not mounted")
	return group{}
}

func (g group) remove() {
	for range 100 {
		os.WriteFile(g.path+"/cgroup.kill", []byte("1"), 0)
		if os.Remove(g.path) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// talk returns a command that runs in the group.
func (g group) talk(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := os.Open(g.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	c := exec.CommandContext(t.Context(), "tlstalk", args...)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	c.Stderr = os.Stderr
	return c
}

// listener keeps the output of a command and closes found when it contains word.
type listener struct {
	mu    sync.Mutex
	text  bytes.Buffer
	word  string
	found chan struct{}
}

func (w *listener) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.text.String(), w.word)
	w.text.Write(p)
	if !before && strings.Contains(w.text.String(), w.word) {
		close(w.found)
	}
	return len(p), nil
}

func (w *listener) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// recordTalk records two programs that speak HTTPS, and returns the recorder's messages.
func recordTalk(t *testing.T, between time.Duration, args func(g group) []string) string {
	t.Helper()
	g := newGroup(t)
	server := g.talk(t, "serve")
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer in.Close()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, _ := clitest.Program(t, append([]string{"record", "--cgroup", g.path}, args(g)...)...)
	stderr := &listener{word: "recording ", found: make(chan struct{})}
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case <-stderr.found:
	case err := <-ended:
		if text := stderr.String(); strings.Contains(text, "CAP_BPF") || strings.Contains(text, "hostPID") {
			t.Skip("needs CAP_BPF: ", text)
		}
		t.Fatal(err, stderr)
	}
	client := g.talk(t, "get", strings.TrimSpace(url), between.String())
	if text, err := client.Output(); err != nil || string(text) != "page /first\npage /second\n" {
		t.Errorf("the client: %v, %q", err, text)
	}
	time.Sleep(50 * time.Millisecond)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err, stderr)
	}
	return stderr.String()
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	c, stderr := clitest.Program(t, args...)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, stderr)
	}
	return string(out)
}

func matching(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// isDecrypted makes a bundle of a recording, and checks that the pages are in it and in a
// slice that tshark reads.
func isDecrypted(t *testing.T, recording string, keys []string, more ...string) {
	t.Helper()
	dir := t.TempDir()
	b, slice := filepath.Join(dir, "b.pcapsule"), filepath.Join(dir, "slice.pcapng")
	run(t, append([]string{"bundle", recording, "-o", b}, more...)...)
	if got := run(t, "sql", b, "select distinct key_state from connections where key_state is not null", "--format", "csv"); got != "key_state\nverified\n" {
		t.Errorf("keys of connections: %q", got)
	}
	if got := run(t, "sql", b, "select path from calls where protocol = 'http1' order by call_no", "--format", "csv"); got != "path\n/first\n/second\n" {
		t.Errorf("calls: %q", got)
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	args := append([]string{"packets", b, "--with-keys", "-o", slice}, more...)
	for _, k := range keys {
		args = append(args, "--keys", k)
	}
	run(t, args...)
	uris, err := exec.Command("tshark", "-r", slice, "-d", "tcp.port==1-65535,tls", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"/first", "/second"} {
		if !strings.Contains(string(uris), page+"\n") {
			t.Errorf("tshark does not read %s: %q", page, uris)
		}
	}
}

func isPrivate(t *testing.T, paths []string) {
	t.Helper()
	for _, p := range paths {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v, want 0600", p, info.Mode(), err)
		}
	}
}

func TestRecordedKeysDecryptAFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pcapng")
	stderr := recordTalk(t, 0, func(g group) []string { return []string{"-w", out, "--keys", "cgroup:" + g.name} })
	if want := "\nkeys: 8 written, from 2 processes: 2 verified, 0 unverified, 0 none\nhandshakes: 1 captured, 1 with keys\n"; !strings.Contains(stderr, want) {
		t.Errorf("the recorder printed %s, want %q", stderr, want)
	}
	keys := matching(t, filepath.Join(filepath.Dir(out), "*.keys"))
	if len(keys) != 1 || filepath.Base(keys[0]) != "out.keys" {
		t.Fatalf("key files %q", keys)
	}
	isPrivate(t, keys)
	isDecrypted(t, out, keys)

	// An existing key file is not extended.
	c, text := clitest.Program(t, "record", "-w", filepath.Join(filepath.Dir(out), "out.pcap"), "--keys", "exe:nginx")
	if code := clitest.ExitCode(t, c.Run()); code != exit.Exists || len(matching(t, filepath.Join(filepath.Dir(out), "out.pcap"))) > 0 {
		t.Errorf("exit code %d, want %d: %s", code, exit.Exists, text)
	}
}

func TestRecordedKeysDecryptARing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring") + "/"
	stderr := recordTalk(t, 2500*time.Millisecond, func(g group) []string {
		return []string{"-w", dir, "--segment-time", "1s", "--keys", "cgroup:" + g.name}
	})
	if !strings.Contains(stderr, " 2 verified, ") {
		t.Errorf("the recorder printed %s", stderr)
	}
	if n := len(matching(t, dir+"*.pcapng")); n < 2 {
		t.Fatalf("%d segments, want 2: the connection has to span a rotation", n)
	}
	keys := matching(t, dir+"*.keys")
	if len(keys) == 0 {
		t.Fatal("no key file")
	}
	isPrivate(t, keys)
	run(t, "ring", "verify", dir)
	isDecrypted(t, dir, keys)
}

func TestRecordedKeysAreEncrypted(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.pcapng")
	identity := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(identity, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	recordTalk(t, 0, func(g group) []string {
		return []string{"-w", out, "--keys", "cgroup:" + g.name, "--keys-to", id.Recipient().String()}
	})
	keys := matching(t, filepath.Join(filepath.Dir(out), "*.keys"))
	if len(keys) != 1 {
		t.Fatalf("key files %q", keys)
	}
	isPrivate(t, keys)
	if b, err := os.ReadFile(keys[0]); err != nil || !bytes.HasPrefix(b, []byte("age-encryption.org/v1\n")) || bytes.Contains(b, []byte("TRAFFIC_SECRET")) {
		t.Errorf("not encrypted: %.40q, %v", b, err)
	}
	isDecrypted(t, out, keys, "--identity", identity)
}

// TestHandshakesWithoutKeysAreExplained chooses neither end of a connection.
func TestHandshakesWithoutKeysAreExplained(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pcapng")
	stderr := recordTalk(t, 0, func(group) []string { return []string{"-w", out, "--keys", "exe:no-such-program"} })
	if want := "\nhandshakes: 1 captured, 0 with keys, others without (not_chosen 1)\n"; !strings.Contains(stderr, want) {
		t.Errorf("the recorder printed %s, want %q", stderr, want)
	}
	if text := run(t, "info", out); !strings.Contains(text, "no keys    1 handshake of ") || !strings.Contains(text, ": not_chosen\n") {
		t.Errorf("info printed %s", text)
	}
}

func TestNoKeysUnlessAsked(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pcapng")
	stderr := recordTalk(t, 0, func(group) []string { return []string{"-w", out} })
	if left := matching(t, filepath.Join(filepath.Dir(out), "*keys*")); len(left) > 0 || strings.Contains(stderr, "\nkeys:") {
		t.Errorf("key files %q; the recorder printed %s", left, stderr)
	}
}

// plainCalls returns the pages in the calls of a recording, with the number of calls and of
// addresses for each.
func plainCalls(t *testing.T, recording string) string {
	t.Helper()
	b := filepath.Join(t.TempDir(), "plain.pcapsule")
	run(t, "bundle", recording, "-o", b)
	return run(t, "sql", b, "select path, decrypted_by, count(*) as n, count(src_ip) as addresses from calls where protocol = 'http1' group by all order by all", "--format", "csv")
}

// allDelivered reports whether all plaintext that was seen was delivered, and is at least that
// of 4 calls at each end. A server may read a byte ahead, which is one more piece.
func allDelivered(stderr string) bool {
	m := regexp.MustCompile(` ([0-9]+) pieces seen = ([0-9]+) delivered \+ 0 dropped \+ 0 from `).FindStringSubmatch(stderr)
	return m != nil && m[1] == m[2] && (len(m[1]) > 1 || m[1] >= "8")
}

func TestRecordedPlaintextHasTheCalls(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pcapng")
	stderr := recordTalk(t, 0, func(g group) []string { return []string{"-w", out, "--plaintext", "cgroup:" + g.name} })
	if !strings.Contains(stderr, "warning: --plaintext: ") || !allDelivered(stderr) {
		t.Errorf("the recorder printed %s", stderr)
	}
	plain := filepath.Join(filepath.Dir(out), "plaintext-out.pcapng")
	isPrivate(t, []string{plain})
	if left := matching(t, filepath.Join(filepath.Dir(out), "*.keys")); len(left) > 0 {
		t.Errorf("keys that were not requested: %q", left)
	}
	if strings.Contains(stderr, "plaintext has no addresses") {
		return // before Linux 6.3, calls cannot be decoded from it
	}
	// Each end reports the calls that it saw.
	if got, want := plainCalls(t, plain), "path,decrypted_by,n,addresses\n/first,plaintext,2,2\n/second,plaintext,2,2\n"; got != want {
		t.Errorf("calls in plaintext %q, want %q", got, want)
	}
	if got := plainCalls(t, out); got != "path,decrypted_by,n,addresses\n" {
		t.Errorf("calls in packets without keys: %q", got)
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	uris, err := exec.Command("tshark", "-r", plain, "-Y", "http.request", "-T", "fields", "-e", "http.request.uri", "-e", "frame.packet_flags_direction").Output()
	if err != nil || !strings.Contains(string(uris), "/first\t0x00000002\n") || !strings.Contains(string(uris), "/second\t0x00000002\n") {
		t.Errorf("tshark reads %q, %v", uris, err)
	}
}

func TestRecordedPlaintextIsASeriesOfItsRing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring") + "/"
	stderr := recordTalk(t, 2500*time.Millisecond, func(g group) []string {
		return []string{"-w", dir, "--segment-time", "1s", "--plaintext", "cgroup:" + g.name, "--keys", "cgroup:" + g.name}
	})
	if !strings.Contains(stderr, " 2 verified, ") || !allDelivered(stderr) {
		t.Errorf("the recorder printed %s", stderr)
	}
	list := matching(t, dir+"plaintext-*.pcapng")
	if len(list) < 2 {
		t.Errorf("%d segments of plaintext, want 2: the connection has to span a rotation", len(list))
	}
	isPrivate(t, list)
	run(t, "ring", "verify", dir)
	if strings.Contains(stderr, "plaintext has no addresses") {
		return
	}
	if got, want := plainCalls(t, dir), "path,decrypted_by,n,addresses\n/first,plaintext,2,2\n/first,tls,1,1\n/second,plaintext,2,2\n/second,tls,1,1\n"; got != want {
		t.Errorf("calls in the ring %q, want %q", got, want)
	}
}
