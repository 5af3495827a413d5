package recorder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

// The test program plays the parts of its own scenes: each is a process in the test's own
// control group and network.

const roleEnv = "PCAPSULE_TEST_ROLE"

// truth is what a part reports: the owner of the socket at a local address.
type truth struct {
	Local string `json:"local"`
	PID   int    `json:"pid"`
	Kind  string `json:"kind"`           // minimum knowledge of the owner
	TID   int    `json:"tid,omitempty"`  // of all data, if the scene knows it
	Also  []int  `json:"also,omitempty"` // other owners of packets without data: a parent that accepted
	Gone  bool   `json:"gone,omitempty"` // it ended before its last data left
}

var reporting sync.Mutex

func report(local net.Addr, kind string) {
	reportAll(os.Stdout, truth{Local: local.String(), PID: os.Getpid(), Kind: kind})
}

func reportAll(to *os.File, t truth) {
	reporting.Lock()
	defer reporting.Unlock()
	text, _ := json.Marshal(t)
	fmt.Fprintf(to, "%s\n", text)
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(roleEnv), err)
		os.Exit(1)
	}
	return v
}

// play plays a part if this process has one.
func play() {
	role := os.Getenv(roleEnv)
	if role == "" {
		return
	}
	name, arg, _ := strings.Cut(role, " ")
	go func() {
		time.Sleep(10 * time.Minute) // in any case; a busy machine needs minutes
		os.Exit(3)
	}()
	switch name {
	case "scene":
		loopbackUp()
		fmt.Println("ready")
		stdin := bufio.NewReader(os.Stdin)
		scene(arg, func() { must(stdin.ReadString('\n')) })
		time.Sleep(20 * time.Millisecond) // last acknowledgements
	case "client":
		client(arg)
	case "accept":
		l := must(net.FileListener(os.NewFile(3, "listener")))
		serveOne(must(l.Accept()), "writer")
	case "serve":
		serveOne(must(net.FileConn(os.NewFile(3, "connection"))), "writer")
	case "bare":
		must(0, unix.SetNonblock(3, false))
		fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, 3, 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			must(0, errno)
		}
		must(0, unix.SetNonblock(int(fd), true))
		serveOne(must(net.FileConn(os.NewFile(fd, "connection"))), "writer")
	case "receive":
		control := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), control, 0)
		must(0, err)
		messages := must(unix.ParseSocketControlMessage(control[:n]))
		fds := must(unix.ParseUnixRights(&messages[0]))
		serveOne(must(net.FileConn(os.NewFile(uintptr(fds[0]), "connection"))), "writer")
	case "inside":
		recordInside()
	case "numbered":
		sendNumbered(arg)
	case "recorded":
		recordUntilKilled(arg)
	case "counted":
		sendCounted()
	case "pinned":
		recordPinned(arg)
	case "flood":
		flood(arg, 1000)
	case "inetd", "gone", "moved", "slow", "datagrams":
		more(name, arg)
	case "huge":
		huge()
	case "pair": // both ends of a connection
		if arg != "" { // at an address added to the loopback
			loopbackHas(arg)
		} else {
			arg = "127.0.0.1"
		}
		l := must(net.Listen("tcp4", arg+":0"))
		c := must(net.Dial("tcp4", l.Addr().String()))
		in := must(l.Accept())
		must(c.Write([]byte("question")))
		must(in.Read(make([]byte, 100)))
		must(in.Write([]byte("answer")))
		must(c.Read(make([]byte, 100)))
		c.Close()
		in.Close()
	case "uring":
		uringServe(arg)
	case "events":
		eventPart(arg)
	case "small":
		flood(arg, 36)
	case "say", "hear", "send":
		chat(name, arg)
	case "own": // records only itself
		recordOwn()
	case "both":
		recordBoth()
	case "sleep":
		time.Sleep(20 * time.Second)
	}
	os.Exit(0)
}

func loopbackUp() {
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	defer unix.Close(fd)
	req := must(unix.NewIfreq("lo"))
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		must(0, err)
	}
}

// child starts another part in a new process, with a file as descriptor 3.
func child(role string, file *os.File) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleEnv+"="+role)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if file != nil {
		c.ExtraFiles = []*os.File{file}
	}
	if err := c.Start(); err != nil {
		must(0, err)
	}
	return c
}

func scene(name string, wait func()) {
	network, addr := "tcp4", "127.0.0.1:0"
	if strings.HasSuffix(name, "6") {
		network, addr = "tcp6", "[::1]:0"
	}
	switch strings.TrimSuffix(name, "6") {
	case "single":
		wait()
		l := must(net.Listen(network, addr))
		c := child("client "+l.Addr().String(), nil)
		serveOne(must(l.Accept()), "writer")
		c.Wait()
	case "prefork":
		wait()
		l := must(net.Listen(network, addr)).(*net.TCPListener)
		var all []*exec.Cmd
		for range 3 {
			all = append(all, child("accept", must(l.File())))
		}
		for range 3 {
			all = append(all, child("client "+l.Addr().String(), nil))
		}
		for _, c := range all {
			c.Wait()
		}
	case "passed": // accepted here, served by a child
		wait()
		l := must(net.Listen(network, addr))
		cl := child("client "+l.Addr().String(), nil)
		conn := must(l.Accept()).(*net.TCPConn)
		file := must(conn.File())
		conn.Close()
		c := child("serve", file)
		file.Close()
		c.Wait()
		cl.Wait()
	case "noaddress": // accept without asking for the peer's address
		wait()
		l := must(net.Listen(network, addr)).(*net.TCPListener)
		cl := child("client "+l.Addr().String(), nil)
		c := child("bare", must(l.File()))
		c.Wait()
		cl.Wait()
	case "sent": // accepted here, sent to an older process over a Unix socket
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		c := child("receive", os.NewFile(uintptr(pair[1]), "pair"))
		wait()
		l := must(net.Listen(network, addr))
		cl := child("client "+l.Addr().String(), nil)
		conn := must(l.Accept()).(*net.TCPConn)
		file := must(conn.File())
		must(0, unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(int(file.Fd())), nil, 0))
		conn.Close()
		file.Close()
		c.Wait()
		cl.Wait()
	case "older": // everything is open before the recording starts
		l := must(net.Listen(network, addr))
		out := must(net.Dial(network, l.Addr().String()))
		in := must(l.Accept())
		wait()
		done := make(chan bool)
		go func() { serveOne(in, "writer"); done <- true }()
		converse(out, "writer")
		<-done
	case "udp":
		wait()
		a := must(net.ListenPacket("udp"+network[3:], addr))
		c := child("client udp "+a.LocalAddr().String(), nil)
		buf := make([]byte, 100)
		for range 3 {
			_, from, err := a.ReadFrom(buf)
			must(0, err)
			must(a.WriteTo([]byte("answer"), from))
		}
		report(a.LocalAddr(), "writer")
		c.Wait()
	case "inetd", "threads", "forked", "gone", "moved", "shared", "uring", "uringpoll", "unix":
		moreScene(strings.TrimSuffix(name, "6"), network, addr, wait)
	case "events":
		wait()
		eventScene()
	case "idle": // a child floods on request
		wait()
	case "refused": // no listener
		wait()
		l := must(net.Listen(network, addr))
		to := l.Addr().String()
		l.Close()
		if _, err := net.Dial(network, to); err == nil {
			must(0, errors.New("the port has a listener"))
		}
		u := must(net.Dial("udp4", "127.0.0.1:9"))
		must(u.Write([]byte("to nobody")))
	}
}

// client connects, sends a request and reads the response.
func client(arg string) {
	if addr, ok := strings.CutPrefix(arg, "udp "); ok {
		c := must(net.Dial("udp", addr))
		buf := make([]byte, 100)
		for range 3 {
			must(c.Write([]byte("question")))
			must(c.Read(buf))
		}
		report(c.LocalAddr(), "writer")
		return
	}
	converse(must(net.Dial("tcp", arg)), "writer")
}

func converse(c net.Conn, kind string) {
	report(c.LocalAddr(), kind)
	must(c.Write([]byte("question")))
	c.(*net.TCPConn).CloseWrite()
	must(io.ReadAll(c))
	c.Close()
}

func serveOne(c net.Conn, kind string) {
	must(io.ReadAll(c))
	must(c.Write([]byte(strings.Repeat("answer ", 2000))))
	// All connections of a server share its local address, so the remote one is added.
	reportAll(os.Stdout, truth{Local: c.LocalAddr().String() + " " + c.RemoteAddr().String(), PID: os.Getpid(), Kind: kind, Also: []int{os.Getppid()}})
	c.Close()
}

// recordOwn records this process's control group, sends packets, and prints how many were
// delivered and filtered.
func recordOwn() {
	loopbackUp()
	text := must(os.ReadFile("/proc/self/cgroup"))
	_, cgroup, _ := strings.Cut(string(text), "0::")
	cgroup, _, _ = strings.Cut(cgroup, "\n")
	ctx, cancel := context.WithCancel(context.Background())
	s := must(Run(ctx, Options{Stream: io.Discard, Sight: sight.Both, Cgroup: cgroup, OnStart: func(Started) {
		flood("100", 1000)
		cancel()
	}}))
	fmt.Println("own", s.Delivered, s.Filtered)
}

// recordBoth records a child's packets in both ways, and prints how often they were seen.
func recordBoth() {
	loopbackUp()
	text := must(os.ReadFile("/proc/self/cgroup"))
	_, cgroup, _ := strings.Cut(string(text), "0::")
	cgroup, _, _ = strings.Cut(cgroup, "\n")
	dir := must(os.MkdirTemp("", "both"))
	defer os.RemoveAll(dir)
	other := child("sleep", nil) // a recorder that is alone in its group excludes the group
	defer other.Process.Kill()
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan Started, 2)
	go func() {
		<-started
		<-started
		child("flood 100", nil).Wait()
		time.Sleep(150 * time.Millisecond)
		cancel()
	}()
	s := must(Run(ctx, Options{Capture: Both, Ring: &ring.Options{Dir: dir}, Cgroup: cgroup, Interface: []string{"lo"}, Filter: "udp", OnStart: func(s Started) { started <- s }}))
	counts := map[string]int64{}
	for _, seg := range must(ring.Segments(dir)) {
		f := must(os.Open(seg.Path))
		r := must(pcapng.NewReader(f, pcapng.Options{}))
		var err error
		for b := (pcapng.Batch{}); err == nil; {
			err = r.Next(&b)
		}
		counts[seg.ID.Series] += r.Packets()
		f.Close()
	}
	fmt.Println("both", counts["sockets"], counts["interfaces"], s.Dropped)
}

// flood sends UDP packets to a socket that is never read.
func flood(arg string, size int) {
	var count int
	must(fmt.Sscanf(arg, "%d", &count))
	a := must(net.ListenPacket("udp4", "127.0.0.1:0"))
	b := must(net.Dial("udp4", a.LocalAddr().String()))
	buf := make([]byte, size)
	for range count {
		if _, err := b.Write(buf); err != nil && err != syscall.ENOBUFS {
			must(0, err)
		}
	}
}
