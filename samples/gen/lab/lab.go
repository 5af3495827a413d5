// Package lab makes network namespaces on a bridge, starts servers and clients in them, and records what they say.
//
// A scenario is a function that makes a lab. The program runs itself again for each part that it plays in a namespace.
package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	StartWait = 5 * time.Minute // for a server to listen
	endWait   = 5 * time.Second // for a process to end after a signal
	Settle    = 400 * time.Millisecond
)

// Password is the password of every server; it protects nothing.
const Password = "sample-password"

// Trace is the W3C trace context that clients send.
const Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// Host is one network namespace on the bridge of a lab.
type Host struct {
	Name string
	IP   string // IPv4
	IP6  string // IPv6; "" means none
}

// At is a host with an IPv4 address only.
func At(name, ip string) Host { return Host{Name: name, IP: ip} }

// Lab is a bridge with hosts. It has no connection to other networks.
type Lab struct {
	id    string
	Tmp   string
	Hosts map[string]Host
	ns    []string   // created namespaces
	etc   []string   // created folders below /etc/netns
	procs []*Process // running processes, in order of start
	Self  string
}

// New makes the namespaces. resolver, if not empty, is the content of every host's resolv.conf.
func New(id, resolver string, hosts ...Host) (l *Lab, err error) {
	l = &Lab{id: fmt.Sprintf("pcs%d-%s", os.Getpid(), id), Hosts: map[string]Host{}}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.Self, err = os.Executable(); err != nil {
		return l, err
	}
	if l.Tmp, err = os.MkdirTemp("", "pcapsule-samples-"); err != nil {
		return l, err
	}
	if err := os.Chmod(l.Tmp, 0o755); err != nil {
		return l, err
	}
	node := l.NsOf("node")
	if err := l.addNS(node); err != nil {
		return l, err
	}
	steps := [][]string{
		{"netns", "exec", node, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"},
		{"-n", node, "link", "add", "br0", "type", "bridge"},
		{"-n", node, "link", "set", "br0", "up"},
	}
	for _, s := range steps {
		if err := IP(s...); err != nil {
			return l, err
		}
	}
	for i, h := range hosts {
		l.Hosts[h.Name] = h
		if err := l.addHost(i+1, h, resolver); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *Lab) NsOf(name string) string { return l.id + "-" + name }

func (l *Lab) addNS(ns string) error {
	if err := IP("netns", "add", ns); err != nil {
		return err
	}
	l.ns = append(l.ns, ns)
	return nil
}

func (l *Lab) addHost(i int, h Host, resolver string) error {
	ns, node, port := l.NsOf(h.Name), l.NsOf("node"), fmt.Sprintf("veth%d", i)
	if resolver != "" {
		dir := filepath.Join("/etc/netns", ns)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		l.etc = append(l.etc, dir)
		if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte(resolver), 0o644); err != nil {
			return err
		}
	}
	if err := l.addNS(ns); err != nil {
		return err
	}
	off := "1"
	if h.IP6 != "" {
		off = "0"
	}
	steps := [][]string{
		{"netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=" + off, "net.ipv6.conf.default.disable_ipv6=" + off,
			"net.ipv6.conf.default.router_solicitations=0"},
		{"link", "add", port, "netns", node, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"-n", ns, "link", "set", "eth0", "address", fmt.Sprintf("02:00:00:00:01:%02x", i)},
		{"-n", node, "link", "set", port, "master", "br0", "up"},
		{"-n", ns, "addr", "add", h.IP + "/32", "dev", "eth0"},
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "link", "set", "eth0", "up"},
		{"-n", ns, "route", "add", "default", "dev", "eth0"}, // every address is resolved on the bridge
	}
	if h.IP6 != "" {
		steps = append(steps, []string{"-n", ns, "addr", "add", h.IP6 + "/64", "dev", "eth0", "nodad"})
	}
	for _, s := range steps {
		if err := IP(s...); err != nil {
			return err
		}
	}
	return nil
}

func IP(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Close ends running processes and removes the namespaces.
func (l *Lab) Close() {
	for i := len(l.procs) - 1; i >= 0; i-- {
		l.procs[i].End()
	}
	for _, ns := range l.ns {
		if err := IP("netns", "del", ns); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
		}
	}
	for _, d := range l.etc {
		os.RemoveAll(d)
	}
	os.Remove("/etc/netns") // only when it is empty
	if l.Tmp != "" {
		os.RemoveAll(l.Tmp)
	}
}

// Process is a program running in a namespace.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail []string      // the last lines of its output; read it after done
	Done chan struct{} // closed once it ended
	Err  error
}

// Start runs a program on a host and waits until a line of its output contains ready; it does not wait
// if ready is empty.
func (l *Lab) Start(on, ready string, argv ...string) (*Process, error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.NsOf(on)}, argv...)...)
	// A separate process group, so that Ctrl-C reaches only gen, which ends the others in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	// The user's environment, such as proxies and locale, must not affect the traffic.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.Tmp, "LC_ALL=C.UTF-8", "GODEBUG=netdns=go"}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	p := &Process{name: filepath.Base(argv[0]) + " on " + on, cmd: cmd, Done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	l.procs = append(l.procs, p)
	seen := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		waiting := ready != ""
		for s := bufio.NewScanner(r); s.Scan(); {
			if p.tail = append(p.tail, s.Text()); len(p.tail) > 20 {
				p.tail = p.tail[1:]
			}
			if waiting && strings.Contains(s.Text(), ready) {
				waiting = false
				close(seen)
			}
		}
		io.Copy(io.Discard, r)
	}()
	go func() {
		p.Err = cmd.Wait()
		w.Close()
		<-read
		if p.Err != nil {
			p.Err = fmt.Errorf("%s: %w: %s", p.name, p.Err, strings.Join(p.tail, " | "))
		}
		close(p.Done)
	}()
	if ready == "" {
		return p, nil
	}
	select {
	case <-seen:
		return p, nil
	case <-p.Done:
		return nil, fmt.Errorf("%s ended before it was ready: %w", p.name, errors.Join(p.Err, errors.New(strings.Join(p.tail, " | "))))
	case <-time.After(StartWait):
		return nil, fmt.Errorf("%s did not become ready in %s", p.name, StartWait)
	}
}

// End terminates a process, and kills it if it does not end in time.
func (p *Process) End() {
	select {
	case <-p.Done:
		return
	default:
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(endWait):
		p.cmd.Process.Kill()
		<-p.Done
	}
}

// Serve starts one of our own roles on a host and waits until it listens.
func (l *Lab) Serve(on, role string, args ...string) error {
	_, err := l.Start(on, "ready", append([]string{l.Self, "-role", role, "--"}, args...)...)
	return err
}

// Do runs one of our own roles on a host to its end.
func (l *Lab) Do(ctx context.Context, on, role string, args ...string) error {
	p, err := l.Start(on, "", append([]string{l.Self, "-role", role, "--"}, args...)...)
	if err != nil {
		return err
	}
	select {
	case <-p.Done:
		return p.Err
	case <-ctx.Done():
		p.End()
		return context.Cause(ctx)
	}
}

// WaitFor dials each address until something accepts.
func WaitFor(_ context.Context, addrs []string) error {
	end := time.Now().Add(StartWait)
	for _, a := range addrs {
		for {
			c, err := net.DialTimeout("tcp", a, time.Second)
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(end) {
				return err
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// recording is a running capture.
type recording struct {
	p    *Process
	tmp  string
	path string
}

// Record captures on the lab's bridge, or on the given ports of it. dumpcap writes a .pcapng, tcpdump a
// .pcap, both with nanoseconds.
func (l *Lab) Record(path string, ports ...string) (*recording, error) {
	if len(ports) == 0 {
		ports = []string{"br0"}
	}
	tmp := filepath.Join(l.Tmp, filepath.Base(path))
	var argv []string
	ready := "listening on"
	if strings.HasSuffix(path, ".pcapng") {
		argv, ready = []string{"dumpcap", "-q", "-B", "64", "-w", tmp}, "File:"
		for _, p := range ports {
			argv = append(argv, "-i", p)
		}
	} else {
		argv = []string{"tcpdump", "-Z", "root", "-U", "--immediate-mode", "-B", "131072", "-s", "131072", "--time-stamp-precision=nano", "-i", ports[0], "-w", tmp}
	}
	p, err := l.Start("node", ready, argv...)
	if err != nil {
		return nil, err
	}
	time.Sleep(Settle)
	return &recording{p, tmp, path}, nil
}

// Stop ends a capture and moves the file to its destination.
func (r *recording) Stop() error {
	time.Sleep(Settle)
	r.p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-r.p.Done:
	case <-time.After(endWait):
		return fmt.Errorf("%s does not end", r.p.name)
	}
	if r.p.Err != nil {
		return r.p.Err
	}
	if err := noLoss(r.p.tail); err != nil {
		return err
	}
	data, err := os.ReadFile(r.tmp)
	if err != nil {
		return err
	}
	if strings.HasSuffix(r.path, ".pcapng") {
		data = forgetMachine(data)
	}
	return os.WriteFile(r.path, data, 0o644)
}

// lossCounts matches the final messages of tcpdump and dumpcap about lost packets.
var lossCounts = regexp.MustCompile(`^(\d+) packets? dropped by|received/dropped on interface .*: \d+/(\d+) `)

// noLoss checks that a capture has every packet: a sample must not depend on the load of the machine.
func noLoss(said []string) error {
	found := false
	for _, line := range said {
		if m := lossCounts.FindStringSubmatch(line); m != nil {
			found = true
			if n := m[1] + m[2]; n != "0" {
				return fmt.Errorf("the capture lacks %s packets: %q; hint: run gen again", n, line)
			}
		}
	}
	if !found {
		return fmt.Errorf("no count of lost packets in %q", said)
	}
	return nil
}

// forgetMachine removes the names of the processor and the operating system from a little-endian
// PCAPNG: they describe the machine that ran gen, not the traffic.
func forgetMachine(in []byte) (out []byte) {
	le := binary.LittleEndian
	for len(in) >= 12 {
		kind, size := le.Uint32(in), le.Uint32(in[4:])
		block := in[:size]
		in = in[size:]
		var head int
		var drop map[uint16]bool
		switch kind {
		case 0x0a0d0d0a:
			head, drop = 24, map[uint16]bool{2: true, 3: true} // shb_hardware, shb_os
		case 1:
			head, drop = 16, map[uint16]bool{12: true} // if_os
		default:
			out = append(out, block...)
			continue
		}
		kept := bytes.Clone(block[:head])
		for o := block[head : size-4]; len(o) >= 4; {
			n := 4 + (int(le.Uint16(o[2:]))+3)&^3
			if !drop[le.Uint16(o)] {
				kept = append(kept, o[:n]...)
			}
			o = o[n:]
		}
		n := uint32(len(kept) + 4)
		le.PutUint32(kept[4:], n)
		out = le.AppendUint32(append(out, kept...), n)
	}
	return out
}

// RecordClient runs a client while its traffic is recorded, and puts the keys that it noted into the file.
func (l *Lab) RecordClient(ctx context.Context, out, name string, argv ...string) error {
	file := filepath.Join(out, name+".pcapng")
	r, err := l.Record(file)
	if err != nil {
		return err
	}
	p, err := l.Start("client", "", argv...)
	if err != nil {
		return err
	}
	select {
	case <-p.Done:
	case <-ctx.Done():
		p.End()
		return context.Cause(ctx)
	}
	if p.Err != nil {
		return p.Err
	}
	if err := r.Stop(); err != nil {
		return err
	}
	keys := filepath.Join(l.Tmp, "keys.log")
	if _, err := os.Stat(keys); err != nil {
		return nil // the client used no TLS
	}
	both := filepath.Join(l.Tmp, "both.pcapng")
	if text, err := exec.CommandContext(ctx, "editcap", "--inject-secrets", "tls,"+keys, file, both).CombinedOutput(); err != nil {
		return fmt.Errorf("editcap: %w: %s", err, text)
	}
	data, err := os.ReadFile(both)
	if err != nil {
		return err
	}
	return os.WriteFile(file, forgetMachine(data), 0o644)
}
