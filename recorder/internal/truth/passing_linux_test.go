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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/uring"
)

// pass acts parts in which sockets go from process to process.
func pass(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
	case "prefork tcp": // children accept from one listener
		l := must(net.Listen("tcp", addr)).(*net.TCPListener)
		crew(must(l.File()), number(rest[0]), number(rest[1]), "accept fd -")
	case "accept fd":
		serveTCP(must(net.FileListener(os.NewFile(3, "listener"))), endless)
	case "reuse tcp": // children listen at the same port
		crew(nil, number(rest[0]), number(rest[1]), "listen tcp "+addr)
	case "listen tcp":
		c := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)) })
		}}
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
		told = os.NewFile(3, "told")
		c := must(net.FileConn(os.Stdin))
		answer(c, bufio.NewReader(c))
	case "both tcp": // parent and child keep the connection and answer in turn
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
	case "handover tcp": // two processes that were there before ask in turn
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
	case "workers udp": // processes that answer on one socket
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

// part is another process with a part, with a file as its descriptor 3.
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

// crew starts so many processes with a part, and ends them once they have told of so many
// calls.
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
		fmt.Fprintf(told, "%s\n", lines.Bytes())
	}
	time.Sleep(50 * time.Millisecond) // last acknowledgements
}

// give sends a connection over a Unix socket.
func give(pair int, c *net.TCPConn) {
	f := must(c.File())
	defer f.Close()
	must(0, unix.Sendmsg(pair, []byte{1}, unix.UnixRights(int(f.Fd())), nil, 0))
}

// receive takes a connection from a Unix socket; the process ends with that.
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

// ways are the system calls by which a message can leave.
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
			runtime.LockOSThread() // never unlocked: each message has a thread of its own
			_, err := unix.Write(fd, []byte(text))
			done <- err
		}()
		must(0, <-done)
	},
}

var way = os.Getenv(wayEnv)

// write writes a message in this process's way.
func write(c net.Conn, text string) {
	if way == "" {
		must(io.WriteString(c, text))
		return
	}
	raw := must(c.(syscall.Conn).SyscallConn())
	must(0, raw.Control(func(fd uintptr) { ways[way](int(fd), text) }))
}

// listening tells that a server of datagrams is there.
func listening() { must(0, os.WriteFile(os.Getenv(begunEnv)+".udp", nil, 0o600)) }

// await waits until the recording has begun, or with ".udp" until a server of datagrams is
// there.
func await(what string) {
	for range 1000 {
		if _, err := os.Stat(os.Getenv(begunEnv) + what); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(0, errors.New("waited for"+what))
}

// queue acts parts whose data wait in a socket's queue, and leave when the other side has
// read, while the kernel alone is at work.
func queue(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	const much = 300_000 // bytes, more than the other side's window
	switch name + " " + transport {
	case "leave tcp": // ends before its answer has left
		c := must(must(net.Listen("tcp", addr)).Accept()).(*net.TCPConn)
		room(c, unix.SO_SNDBUFFORCE, 4<<20)
		first, _ := message(bufio.NewReader(c))
		write(c, response(much))
		tell("dst", strings.Fields(first)[1])
		c.Close()
		os.Exit(0)
	case "answers tcp": // the second of two answers waits behind the first, which another process wrote
		c := must(must(net.Listen("tcp", addr)).Accept()).(*net.TCPConn)
		room(c, unix.SO_SNDBUFFORCE, 4<<20)
		r := bufio.NewReader(c)
		first, _ := message(r)
		message(r)
		write(c, response(much))
		tell("dst", strings.Fields(first)[1])
		child(must(c.File()), "respond fd - /"+rest[0]+"-1")
		time.Sleep(time.Second)
	case "respond fd":
		write(must(net.FileConn(os.NewFile(3, "connection"))), response(0))
		tell("dst", rest[0])
	case "read tcp": // asks twice at once and reads later
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8192)) })
		}}
		c := must(dial(&d, addr))
		var text string
		for i := range number(rest[0]) {
			text += fmt.Sprintf("GET /%s-%d HTTP/1.1\r\nHost: truth\r\n\r\n", rest[1], i)
		}
		write(c, text)
		time.Sleep(400 * time.Millisecond)
		r := bufio.NewReader(c)
		for i := range number(rest[0]) {
			path := fmt.Sprintf("/%s-%d", rest[1], i)
			tell("src", path)
			answered(r, path)
		}
	case "requests tcp": // the second of two requests waits behind the first, which another process wrote
		c := must(dial(&net.Dialer{}, addr)).(*net.TCPConn)
		room(c, unix.SO_SNDBUFFORCE, 4<<20)
		write(c, fmt.Sprintf("POST /a-0 HTTP/1.1\r\nHost: truth\r\nContent-Length: %d\r\n\r\n%s", much, strings.Repeat("x", much)))
		tell("src", "/a-0")
		child(must(c.File()), "request fd - /a-1")
		r := bufio.NewReader(c)
		answered(r, "/a-0")
		answered(r, "/a-1")
	case "request fd":
		write(must(net.FileConn(os.NewFile(3, "connection"))), "GET "+rest[0]+" HTTP/1.1\r\nHost: truth\r\n\r\n")
		tell("src", rest[0])
	case "late tcp": // reads later
		c := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8192)) })
		}}
		in := must(must(c.Listen(context.Background(), "tcp", addr)).Accept())
		time.Sleep(400 * time.Millisecond)
		for r := bufio.NewReader(in); answer(in, r); {
		}
	case "mapped tcp": // an IPv4 address in an IPv6 socket
		to := must(net.ResolveTCPAddr("tcp", addr))
		for i := range number(rest[0]) {
			c := mapped(unix.SOCK_STREAM, to.IP, to.Port)
			ask(c, bufio.NewReader(c), fmt.Sprintf("/%s-%d", rest[1], i))
			c.Close()
		}
	case "mapped udp":
		to := must(net.ResolveUDPAddr("udp", addr))
		await(".udp")
		for i := range number(rest[0]) {
			name := fmt.Sprintf("%s-%d", rest[1], i)
			c := mapped(unix.SOCK_DGRAM, to.IP, to.Port)
			must(c.Write(query(name)))
			must(c.Read(make([]byte, 512)))
			tell("src", name)
			c.Close()
		}
	case "each tcp": // a connection for each request
		for i := range number(rest[0]) {
			c := must(dial(&net.Dialer{}, addr))
			ask(c, bufio.NewReader(c), fmt.Sprintf("/%s-%d", rest[1], i))
			c.Close()
		}
	default:
		must(0, fmt.Errorf("no part %q", role))
	}
}

// room gives a socket's buffer so many bytes.
func room(c *net.TCPConn, option, size int) {
	raw := must(c.SyscallConn())
	must(0, raw.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, size)) }))
}

func mapped(kind int, ip net.IP, port int) net.Conn {
	for {
		fd := must(unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, 0))
		err := unix.Connect(fd, &unix.SockaddrInet6{Addr: [16]byte(ip.To16()), Port: port})
		if errors.Is(err, unix.ECONNREFUSED) {
			unix.Close(fd)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		must(0, err)
		f := os.NewFile(uintptr(fd), "mapped")
		defer f.Close()
		return must(net.FileConn(f))
	}
}
