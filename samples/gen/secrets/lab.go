package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	settle  = 120 * time.Millisecond // time for packets to reach tcpdump, and for commands to reach a program
	patient = 10 * time.Second       // timeout for a response
)

// lab is the environment in which captures are made.
type lab struct {
	ctx   context.Context
	out   string            // folder of the captures
	dir   string            // certificates and scratch files
	port  int               // the last port used
	names map[string]string // standard names of suites by OpenSSL's names
	trash []string          // folders to remove at the end
}

func newLab(ctx context.Context, out string) (*lab, error) {
	for _, argv := range [][]string{{"ip", "link", "set", "lo", "mtu", "1500"}, {"ip", "link", "set", "lo", "up"},
		{"ethtool", "-K", "lo", "tso", "off", "gso", "off", "gro", "off"}} {
		if b, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, b)
		}
	}
	dir, err := os.MkdirTemp("", "secrets")
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, out: out, dir: dir, port: 4400}
	if err := errors.Join(writeCertificates(dir), l.suiteNames()); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return l, nil
}

func (l *lab) close() {
	for _, dir := range append(l.trash, l.dir) {
		os.RemoveAll(dir)
	}
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// nextPort returns a port that no other capture uses.
func (l *lab) nextPort() int {
	l.port++
	return l.port
}

// run runs a program to its end.
func (l *lab) run(argv ...string) ([]byte, error) {
	c := exec.CommandContext(l.ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	b, err := c.Output()
	if err != nil {
		return b, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(stderr.Bytes()))
	}
	return b, nil
}

func tail(b []byte) []byte { return b[max(0, len(b)-300):] }

// process is a running program with its output.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	mu   sync.Mutex
	out  []byte // standard output
	errs []byte // standard error
	done chan struct{}
	err  error
}

type keeper struct {
	p *process
	b *[]byte
}

func (k keeper) Write(b []byte) (int, error) {
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	*k.b = append(*k.b, b...)
	return len(b), nil
}

// start starts a program; env are further variables.
func (l *lab) start(env []string, argv ...string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Dir = l.dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = keeper{p, &p.out}, keeper{p, &p.errs}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) name() string {
	return filepath.Base(p.cmd.Args[0]) + " " + strings.Join(p.cmd.Args[1:], " ")
}

// said is the output of the program so far.
func (p *process) said() (out, errs []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.out), bytes.Clone(p.errs)
}

// mark is the length of the program's standard output so far.
func (p *process) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

// await waits until want is in the program's output after the mark.
func (p *process) await(from int, want []byte) error {
	for end := time.Now().Add(patient); ; {
		out, errs := p.said()
		if bytes.Contains(out[from:], want) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not print %.60q (%d bytes) but %q and %q", p.name(), want, len(want), tail(out[from:]), tail(errs))
		}
		select {
		case <-p.done:
			// The last output may arrive only now.
			if out, errs = p.said(); bytes.Contains(out[from:], want) {
				return nil
			}
			return fmt.Errorf("%s ended (%v) before it printed %.60q: %q, %q", p.name(), p.err, want, tail(out[from:]), tail(errs))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// awaitErr waits for a text on standard error.
func (p *process) awaitErr(want string) error {
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, errs := p.said(); bytes.Contains(errs, []byte(want)) {
			return nil
		}
		select {
		case <-p.done:
			_, errs := p.said()
			return fmt.Errorf("%s ended (%v): %q", p.name(), p.err, tail(errs))
		default:
		}
	}
	return fmt.Errorf("%s did not say %q", p.name(), want)
}

// end waits for the program's end, and kills it after a timeout.
func (p *process) end(wait time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(wait):
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end", p.name())
	}
}

// kill ends the program immediately.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// up waits until a TCP port is listening.
func up(port int) error {
	want := fmt.Sprintf(":%04X 00000000:0000 0A", port)
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if f == "/proc/net/tcp6" {
				b = bytes.ReplaceAll(b, []byte("00000000000000000000000000000000:"), []byte("00000000:"))
			}
			if bytes.Contains(b, []byte(want)) {
				return nil
			}
		}
	}
	return fmt.Errorf("nothing listens at port %d", port)
}

// upUDP waits until a UDP port is bound.
func upUDP(port int) error {
	want := fmt.Sprintf(":%04X ", port)
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, f := range []string{"/proc/net/udp", "/proc/net/udp6"} {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if bytes.Contains(b, []byte(want)) {
				return nil
			}
		}
	}
	return fmt.Errorf("nothing is bound to port %d", port)
}

// record captures the traffic of a loopback port until the returned function is called.
func (l *lab) record(path string, port int) (stop func() error, err error) {
	p, err := l.start(nil, "tcpdump", "-Z", "root", "-U", "--immediate-mode", "-B", "16384", "-s", "131072",
		"--time-stamp-precision=nano", "-i", "lo", "-w", path, fmt.Sprintf("port %d", port))
	if err != nil {
		return nil, err
	}
	if err := p.awaitErr("listening on"); err != nil {
		p.kill()
		return nil, err
	}
	return func() error {
		time.Sleep(settle)
		p.cmd.Process.Signal(syscall.SIGINT)
		if err := p.end(patient); err != nil {
			return err
		}
		_, errs := p.said()
		m := lost.FindSubmatch(errs)
		if m == nil {
			return fmt.Errorf("no count of lost packets in %q", errs)
		}
		if string(m[1]) != "0" {
			return fmt.Errorf("the capture lacks %s packets; hint: make it again", m[1])
		}
		return nil
	}, nil
}

// lost matches tcpdump's final message about lost packets.
var lost = regexp.MustCompile(`(?m)^(\d+) packets? dropped by kernel`)

// suiteNames reads the standard names for OpenSSL's names.
func (l *lab) suiteNames() error {
	b, err := l.run("openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0")
	if err != nil {
		return err
	}
	l.names = map[string]string{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "-" {
			l.names[f[2]] = f[0]
		}
	}
	return nil
}
