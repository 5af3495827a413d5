//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/recorder"
	recorderkeys "github.com/pcapsule/pcapsule/recorder/keys"
)

// checkLoad loads every program. A program may only be rejected if the kernel is too old.
func checkLoad() {
	o := bpf.Options{Owners: true, HeadersOnly: true}
	p, err := bpf.Load(o)
	if err != nil {
		report("load", bad, err.Error())
		return
	}
	defer p.Close()
	state, detail := good, fmt.Sprintf("%d programs", len(bpf.Hooks()))
	if d := p.Degraded(); len(d) > 0 {
		state, detail = partial, strings.Join(d, "; ")
		for _, x := range d {
			if !strings.Contains(x, "needs Linux") {
				state = bad
			}
		}
	}
	if walked, err := bpf.Walked(o); err != nil {
		state, detail = bad, err.Error()
	} else {
		detail += fmt.Sprintf("; instructions walked: %v", walked)
		for _, n := range walked {
			if n > bpf.MaxWalked/2 { // another filter, or a change, may double them
				state = bad
			}
		}
	}
	report("load", state, detail)

	k, err := keys.Load(0)
	if err != nil {
		report("load keys", bad, err.Error())
		return
	}
	defer k.Close()
	plain, err := k.LoadPlain(0)
	if err != nil {
		report("load keys", bad, "plaintext: "+err.Error())
		return
	}
	defer plain.Close()
	if plain.Sockets != nil {
		report("load keys", partial, plain.Sockets.Error())
		return
	}
	report("load keys", good, "")
}

// scene is the recording of all the traffic.
type scene struct {
	servers  []*exec.Cmd
	stats    recorder.Stats
	started  recorder.Started
	keys     atomic.Pointer[recorder.KeyStats] // as last reported
	err      error                             // error of the recording
	traffic  map[string]error
	veth     error
	calls    []call
	events   map[string]int // by kind
	reasons  map[string]int // of drops
	endpoint map[int64]endpoint
}

var errNoVeth = errors.New("this kernel's packages have no module for veth")

// stage runs the scenario while it is recorded.
func stage(ctx context.Context) (*scene, error) {
	s := &scene{traffic: map[string]error{}, events: map[string]int{}, reasons: map[string]int{}, endpoint: map[int64]endpoint{}}
	for _, name := range []string{"webserver", "tlsserver", "dnsserver"} {
		if err := s.start(name, nil); err != nil {
			return nil, err
		}
	}
	if s.veth = s.startFar(); s.veth == nil {
		if err := until(ctx, farAddress); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(until(ctx, webAddress), until(ctx, tlsAddress)); err != nil {
		return nil, err
	}
	begun := make(chan struct{})
	ended := make(chan struct{})
	recording, stop := context.WithCancel(ctx)
	defer stop()
	const file = "/tmp/scene.pcapng"
	go func() {
		defer close(ended)
		s.stats, s.err = recorder.Run(recording, recorder.Options{Mask: redact.Arguments,
			File: file, NoNames: true, Keys: &recorder.Keys{Select: recorderkeys.Selector{Executables: []string{"tlsclient", "openssl"}}},
			OnStart: func(x recorder.Started) { s.started = x; close(begun) },
			OnError: func(err error) { fmt.Println("recording:", err) },
			OnStats: func(x recorder.Stats) { s.keys.Store(x.Keys) },
		})
	}()
	select {
	case <-begun:
	case <-ended:
		return nil, s.err
	}
	s.play(ctx)
	time.Sleep(time.Second)
	stop()
	<-ended
	if s.err != nil {
		return nil, fmt.Errorf("recording: %w", s.err)
	}
	if err := s.readEvents("/tmp/scene.events"); err != nil {
		return nil, err
	}
	if _, err := exporter.Run(ctx, []string{file}, "/tmp/scene.pcapsule", exporter.Options{Release: "guest"}); err != nil {
		return nil, err
	}
	return s, s.readCalls("/tmp/scene.pcapsule")
}

func link(name string) (string, error) {
	path := filepath.Join("/bin", name)
	err := os.Link("/init", path)
	if errors.Is(err, os.ErrExist) {
		err = nil
	}
	return path, err
}

// start runs a server in the background.
func (s *scene) start(name string, attr *syscall.SysProcAttr) error {
	path, err := link(name)
	if err != nil {
		return err
	}
	c := exec.Command(path)
	c.Stdout, c.Stderr, c.SysProcAttr = os.Stdout, os.Stderr, attr
	if err := c.Start(); err != nil {
		return err
	}
	s.servers = append(s.servers, c)
	return nil
}

// startFar starts a server in a separate network namespace, behind a veth pair.
func (s *scene) startFar() error {
	module, err := os.Open("/veth.ko")
	if err != nil {
		return errNoVeth
	}
	defer module.Close()
	if err := unix.FinitModule(int(module.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading veth: %w", err)
	}
	holder := exec.Command("/bin/busybox", "sleep", "1000")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := holder.Start(); err != nil {
		return err
	}
	s.servers = append(s.servers, holder)
	pid := strconv.Itoa(holder.Process.Pid)
	in := []string{"nsenter", "-t", pid, "-n", "/bin/busybox", "ip"}
	for _, c := range [][]string{
		{"ip", "link", "add", "type", "veth"},
		{"ip", "link", "set", "veth1", "netns", pid},
		{"ip", "addr", "add", "10.9.0.1/24", "dev", "veth0"},
		{"ip", "link", "set", "veth0", "up"},
		append(slices.Clone(in), "addr", "add", "10.9.0.2/24", "dev", "veth1"),
		append(slices.Clone(in), "link", "set", "veth1", "up"),
		append(slices.Clone(in), "link", "set", "lo", "up"),
	} {
		if out, err := busybox(c...); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c, " "), err, out)
		}
	}
	path, err := link("farserver")
	if err != nil {
		return err
	}
	c := exec.Command("/bin/busybox", "nsenter", "-t", pid, "-n", path)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	s.servers = append(s.servers, c)
	return c.Start()
}

func (s *scene) end() {
	for _, c := range s.servers {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

// play runs the clients one after another.
func (s *scene) play(ctx context.Context) {
	clients := [][]string{{"webclient", "http://" + webAddress}, {"dnsclient"}, {"lostclient"}, {"tlsclient", "https://" + tlsAddress}}
	if s.veth == nil {
		clients = append(clients, []string{"farclient", "http://" + farAddress})
	}
	for _, c := range clients {
		path, err := link(c[0])
		if err == nil {
			var out []byte
			if out, err = exec.CommandContext(ctx, path, c[1:]...).CombinedOutput(); err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
		}
		s.traffic[c[0]] = err
	}
	// Make new connections until keys arrive: the first may be made before the program is known,
	// and an emulated machine may be very slow.
	for range 6 {
		out, err := exec.CommandContext(ctx, "/usr/bin/openssl", "s_time", "-connect", tlsAddress, "-www", "/openssl", "-new", "-time", "5").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		s.traffic["openssl"] = err
		if s.hasKeys("openssl") {
			break
		}
	}
}

// hasKeys reports whether keys of a program were written.
func (s *scene) hasKeys(program string) bool {
	k := s.keys.Load()
	return k != nil && slices.ContainsFunc(k.Processes, func(p recorderkeys.Process) bool { return filepath.Base(p.Executable) == program && p.Keys > 0 })
}

// readEvents counts the events of the side file.
func (s *scene) readEvents(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Kind, Reason string }
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			s.events[e.Kind]++
			if e.Reason != "" {
				s.reasons[e.Reason]++
			}
		}
	}
	return lines.Err()
}

// call and endpoint are the columns of the bundle that the checks read.
type call struct {
	Protocol    string  `parquet:"protocol"`
	SrcID       int64   `parquet:"src_id"`
	DstID       int64   `parquet:"dst_id"`
	DstIP       string  `parquet:"dst_ip"`
	DstPort     int32   `parquet:"dst_port"`
	Complete    bool    `parquet:"complete"`
	Path        *string `parquet:"path,optional"`
	DecryptedBy *string `parquet:"decrypted_by,optional"`
}

type endpoint struct {
	EndpointID int64   `parquet:"endpoint_id"`
	Process    *string `parquet:"process,optional"`
	OwnerGuess *bool   `parquet:"owner_guess,optional"`
}

func (s *scene) readCalls(dir string) error {
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	for _, part := range b.TableParts("calls") {
		rows, err := parquet.ReadFile[call](part)
		if err != nil {
			return fmt.Errorf("reading %s: %w", part, err)
		}
		s.calls = append(s.calls, rows...)
	}
	for _, part := range b.TableParts("endpoints") {
		rows, err := parquet.ReadFile[endpoint](part)
		if err != nil {
			return fmt.Errorf("reading %s: %w", part, err)
		}
		for _, e := range rows {
			s.endpoint[e.EndpointID] = e
		}
	}
	return nil
}
