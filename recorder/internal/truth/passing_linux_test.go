package truth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/uring"
)

// pass plays parts in which sockets are passed between processes.
func pass(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
	case "prefork tcp": // children accept from one listener
		l := must(net.Listen("tcp", addr)).(*net.TCPListener)
		crew(must(l.File()), number(rest[0]), number(rest[1]), "accept fd -")
	case "accept fd":
		serveTCP(must(net.FileListener(os.NewFile(3, "listener"))), endless)
	case "reuse tcp": // children listen on the same port
		crew(nil, number(rest[0]), number(rest[1]), "listen tcp "+addr)
	case "listen tcp":
		c := net.ListenConfig{Control: option(unix.SO_REUSEPORT, 1)}
		serveTCP(must(c.Listen(context.Background(), "tcp", addr)), endless)
	case "accept tcp": // accepts for another process
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		l := must(net.Listen("tcp", addr))
		go func() {
			for {
				c := must(l.Accept()).(*net.TCPConn)
				give(pair[0], c)
				c.Close()
			}
		}()
		crew(os.NewFile(uintptr(pair[1]), "pair"), number(rest[0]), 1, "receive fd -")
	case "receive fd":
		for {
			c := receive(3)
			for r := bufio.NewReader(c); answer(c, r); {
			}
			c.Close()
		}
	case "inetd tcp": // a server whose input and output are the connection
		l := must(net.Listen("tcp", addr))
		for range number(rest[0]) {
			f := must(must(l.Accept()).(*net.TCPConn).File())
			c := part("answer stdin -", os.Stdout)
			c.Stdin, c.Stdout = f, f
			must(0, c.Run())
			f.Close()
		}
	case "answer stdin":
		reports = os.NewFile(3, "told")
		c := must(net.FileConn(os.Stdin))
		answer(c, bufio.NewReader(c))
	default:
		quicPart(role)
	}
}

// turns plays parts in which processes take turns using one socket.
func turns(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
	case "both tcp": // parent and child share the connection and take turns responding
		l := must(net.Listen("tcp", addr))
		c := must(l.Accept()).(*net.TCPConn)
		f, r := must(c.File()), bufio.NewReader(c)
		for i := range number(rest[0]) {
			if i%2 == 0 {
				answer(c, r)
			} else {
				child(f, "answer turn - 0")
			}
		}
	case "handover tcp": // two existing processes take turns sending requests
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		other := part("takeover fd -", os.NewFile(uintptr(pair[1]), "pair"))
		must(0, other.Start())
		c := must(dial(&net.Dialer{}, addr)).(*net.TCPConn)
		r := bufio.NewReader(c)
		for i := range number(rest[0]) {
			if i%2 == 0 {
				ask(c, r, fmt.Sprintf("/here-%d", i))
				continue
			}
			give(pair[0], c)
			must(unix.Read(pair[0], make([]byte, 1)))
		}
		must(0, unix.Shutdown(pair[0], unix.SHUT_RDWR))
		must(0, other.Wait())
	case "takeover fd":
		for i := 0; ; i++ {
			c := receive(3)
			ask(c, bufio.NewReader(c), fmt.Sprintf("/there-%d", i))
			c.Close()
			must(unix.Write(3, []byte{1}))
		}
	case "workers udp": // processes that respond on one socket
		c := must(net.ListenUDP("udp", must(net.ResolveUDPAddr("udp", addr))))
		listening()
		crew(must(c.File()), number(rest[0]), number(rest[1]), "answer fd -")
	case "answer fd":
		serveUDP(must(net.FilePacketConn(os.NewFile(3, "socket"))).(*net.UDPConn), endless)
	default:
		queue(role)
	}
}

const endless = 1 << 30

// part returns a process that plays a part, with a file as its descriptor 3.
func part(role string, f *os.File) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleEnv+"="+role)
	if f != nil {
		c.ExtraFiles = []*os.File{f}
	}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// crew starts size processes with a part, and ends them when they have reported the given
// number of calls.
func crew(f *os.File, calls, size int, role string) {
	runtime.LockOSThread() // the children end with this thread
	r, w, err := os.Pipe()
	must(0, err)
	for range size {
		c := part(role, f)
		c.Stdout = w
		must(0, c.Start())
		defer c.Wait()
		defer c.Process.Kill()
	}
	lines := bufio.NewScanner(r)
	for n := 0; n < calls && lines.Scan(); n++ {
		fmt.Fprintf(reports, "%s\n", lines.Bytes())
	}
	time.Sleep(50 * time.Millisecond) // last acknowledgements
}

// give sends a connection over a Unix socket.
func give(pair int, c *net.TCPConn) {
	f := must(c.File())
	defer f.Close()
	must(0, unix.Sendmsg(pair, []byte{1}, unix.UnixRights(int(f.Fd())), nil, 0))
}

// receive receives a connection from a Unix socket; at its end, the process exits.
func receive(pair int) net.Conn {
	control := make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := unix.Recvmsg(pair, make([]byte, 1), control, 0)
	if n == 0 && err == nil {
		os.Exit(0)
	}
	must(0, err)
	messages := must(unix.ParseSocketControlMessage(control[:size]))
	fds := must(unix.ParseUnixRights(&messages[0]))
	unix.CloseOnExec(fds[0])
	f := os.NewFile(uintptr(fds[0]), "connection")
	defer f.Close()
	return must(net.FileConn(f))
}

// ways are the system calls that can send a message.
var ways = map[string]func(fd int, text string){
	"sendfile": func(fd int, text string) {
		in := must(unix.MemfdCreate("text", unix.MFD_CLOEXEC))
		defer unix.Close(in)
		must(unix.Write(in, []byte(text)))
		offset := int64(0)
		must(unix.Sendfile(fd, in, &offset, len(text)))
	},
	"splice": func(fd int, text string) {
		var pipe [2]int
		must(0, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		must(unix.Write(pipe[1], []byte(text)))
		must(unix.Splice(pipe[0], nil, fd, nil, len(text), 0))
	},
	"uring":     func(fd int, text string) { must(must(uring.New(false)).Do(uring.Send, int32(fd), []byte(text))) },
	"uringpoll": func(fd int, text string) { must(must(uring.New(true)).Do(uring.Send, int32(fd), []byte(text))) },
	"thread": func(fd int, text string) {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: each message has its own thread
			_, err := unix.Write(fd, []byte(text))
			done <- err
		}()
		must(0, <-done)
	},
}

var way = os.Getenv(wayEnv)

// write sends a message in this process's way.
func write(c net.Conn, text string) {
	if way == "" {
		must(io.WriteString(c, text))
		return
	}
	raw := must(c.(syscall.Conn).SyscallConn())
	must(0, raw.Control(func(fd uintptr) { ways[way](int(fd), text) }))
}

// listening signals that a server of datagrams is listening.
func listening() { must(0, os.WriteFile(os.Getenv(begunEnv)+".udp", nil, 0o600)) }

// await waits until the recording has started or, with ".udp", until a server of datagrams
// is listening.
func await(what string) {
	for range 1000 {
		if _, err := os.Stat(os.Getenv(begunEnv) + what); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(0, errors.New("timeout waiting for the file begun"+what))
}
