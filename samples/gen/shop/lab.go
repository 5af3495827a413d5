package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startWait = 30 * time.Second // for a server to listen
	endWait   = 5 * time.Second  // for a process to end after a signal
)

// lab is a bridge with hosts, each in its own network namespace. It has no connection to other
// networks.
type lab struct {
	id    string
	tmp   string
	ns    []string // created namespaces
	procs []*process
	hosts []*host
}

// host is one network namespace with one or more addresses.
type host struct {
	lab  *lab
	ns   string
	file *os.File // the namespace
}

func newLab() (l *lab, err error) {
	l = &lab{id: fmt.Sprintf("pcq%d", os.Getpid())}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.tmp, err = os.MkdirTemp("", "pcapsule-shop-"); err != nil {
		return l, err
	}
	if err := os.Chmod(l.tmp, 0o755); err != nil { // PostgreSQL runs as a separate user
		return l, err
	}
	node := l.id + "-node"
	if err := l.addNS(node); err != nil {
		return l, err
	}
	return l, steps([][]string{
		{"ip", "netns", "exec", node, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"},
		{"ip", "-n", node, "link", "add", "br0", "type", "bridge"},
		{"ip", "-n", node, "link", "set", "br0", "up"},
	})
}

func (l *lab) addNS(ns string) error {
	if err := steps([][]string{{"ip", "netns", "add", ns}}); err != nil {
		return err
	}
	l.ns = append(l.ns, ns)
	return nil
}

// add makes a host with these IPv4 addresses.
func (l *lab) add(addrs ...string) (*host, error) {
	i := len(l.ns)
	ns, node, port := fmt.Sprintf("%s-%d", l.id, i), l.id+"-node", fmt.Sprintf("veth%d", i)
	if err := l.addNS(ns); err != nil {
		return nil, err
	}
	list := [][]string{
		{"ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
			"net.ipv4.tcp_timestamps=0", // they would reveal the real clock
			"net.ipv4.ip_local_port_range=32768 60999"},
		{"ip", "link", "add", port, "netns", node, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"ip", "-n", ns, "link", "set", "eth0", "address", fmt.Sprintf("02:00:00:00:01:%02x", i)},
		{"ip", "-n", node, "link", "set", port, "master", "br0", "up"},
	}
	for _, a := range addrs {
		list = append(list, []string{"ip", "-n", ns, "addr", "add", a + "/32", "dev", "eth0"})
	}
	list = append(list,
		// Disable offloading, so that packets have wire size and valid checksums in both directions.
		[]string{"ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"},
		[]string{"ip", "netns", "exec", node, "ethtool", "-K", port, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"},
		[]string{"ip", "-n", ns, "link", "set", "lo", "up"},
		[]string{"ip", "-n", ns, "link", "set", "eth0", "up"},
		[]string{"ip", "-n", ns, "route", "add", "default", "dev", "eth0"}, // every address is resolved on the bridge
	)
	if err := steps(list); err != nil {
		return nil, err
	}
	f, err := os.Open("/run/netns/" + ns)
	if err != nil {
		return nil, err
	}
	h := &host{l, ns, f}
	l.hosts = append(l.hosts, h)
	return h, nil
}

func steps(list [][]string) error {
	for _, s := range list {
		if out, err := exec.Command(s[0], s[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(s, " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// close ends running processes and removes the namespaces.
func (l *lab) close() {
	for i := len(l.procs) - 1; i >= 0; i-- {
		l.procs[i].end()
	}
	for _, h := range l.hosts {
		h.file.Close()
	}
	for _, ns := range l.ns {
		if err := steps([][]string{{"ip", "netns", "del", ns}}); err != nil {
			fmt.Fprintln(os.Stderr, "shop:", err)
		}
	}
	if l.tmp != "" {
		os.RemoveAll(l.tmp)
	}
}

// in runs fn on a thread inside the host's network namespace. Sockets made there stay there.
func (h *host) in(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(h.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering %s: %w", h.ns, err)
	}
	defer func() {
		// A thread that cannot return to its namespace must not be reused: if it stays locked, it
		// ends with its goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

func (h *host) listen(addr string) (ln net.Listener, err error) {
	err = h.in(func() (err error) {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		c.KeepAlive = -1
		ln, err = c.Listen(context.Background(), "tcp4", addr)
		return err
	})
	return ln, err
}

func (h *host) packets(addr string) (pc net.PacketConn, err error) {
	err = h.in(func() (err error) {
		pc, err = net.ListenPacket("udp4", addr)
		return err
	})
	return pc, err
}

// dial connects from an address of the host; if it is empty, the system chooses.
func (h *host) dial(ctx context.Context, network, from, to string) (c net.Conn, err error) {
	err = h.in(func() (err error) {
		d := net.Dialer{KeepAlive: -1}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c, err = d.DialContext(ctx, network, to)
		return err
	})
	return c, err
}

// process is a program running in a namespace.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start runs a program on a host and waits until a line of its output contains ready.
func (h *host) start(ready string, argv ...string) error {
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.ns}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.lab.tmp, "LC_ALL=C.UTF-8", "TZ=UTC"}
	out, err := os.CreateTemp(h.lab.tmp, "out-")
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{name: filepath.Base(argv[0]) + " in " + h.ns, cmd: cmd, done: make(chan struct{})}
	// Pdeathsig applies to the thread that starts the process, so this thread must not end.
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		<-p.done
	}()
	if err := <-started; err != nil {
		close(p.done)
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	h.lab.procs = append(h.lab.procs, p)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	for end := time.Now().Add(startWait); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte(ready)) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w: %s", p.name, p.err, last(text))
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not become ready in %s: %s", p.name, startWait, last(text))
		}
	}
}

func last(text []byte) string {
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if lines = append(lines, s.Text()); len(lines) > 5 {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, " | ")
}

// end terminates a process, and kills it if it does not end in time.
func (p *process) end() {
	select {
	case <-p.done:
		return
	default:
	}
	p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(endWait):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// reset aborts a connection, like a killed process or a load balancer.
func reset(c net.Conn) {
	for {
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// fault is the client's name for the reason of a missing response.
func fault(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return "no_response"
}
