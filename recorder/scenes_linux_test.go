package recorder

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/internal/uring"
)

// More scenes, in which sockets pass in other ways from their creator to their user.

// part starts another part with files from descriptor 3 on.
func part(role string, stdin, stdout *os.File, files ...*os.File) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleEnv+"="+role)
	c.Stdout, c.Stderr, c.ExtraFiles = os.Stdout, os.Stderr, files
	if stdin != nil {
		c.Stdin = stdin
	}
	if stdout != nil {
		c.Stdout = stdout
	}
	if err := c.Start(); err != nil {
		must(0, err)
	}
	return c
}

const answerText = "answer answer answer "

func moreScene(name, network, addr string, wait func()) {
	wait()
	switch name {
	case "inetd": // a server whose input and output are the connection
		l := must(net.Listen(network, addr))
		cl := child("client "+l.Addr().String(), nil)
		file := accepted(l)
		c := part("inetd", file, file, os.Stdout)
		file.Close()
		c.Wait()
		cl.Wait()
	case "threads": // one thread accepts, others respond
		threads(must(net.Listen(network, addr)))
	case "forked": // a child that is only forked and does not run another program
		l := must(net.Listen(network, addr))
		cl := child("client "+l.Addr().String(), nil)
		file := accepted(l)
		local, remote := namesOf(int(file.Fd()), network)
		pid := forkServe(int(file.Fd()))
		file.Close()
		must(unix.Wait4(pid, nil, 0, nil))
		reportAll(os.Stdout, truth{Local: local + " " + remote, PID: pid, TID: pid, Kind: "writer", Also: []int{os.Getpid()}})
		cl.Wait()
	case "gone": // the server ends while the kernel is still sending its data
		l := must(net.Listen(network, addr)).(*net.TCPListener)
		r, w := mustBoth(os.Pipe())
		cl := part("slow "+l.Addr().String(), r, nil)
		r.Close()
		c := child("gone", must(l.File()))
		c.Wait()
		w.Close() // now the client reads
		cl.Wait()
	case "moved": // the worker moves to another control group between two responses
		l := must(net.Listen(network, addr)).(*net.TCPListener)
		go1, goOn := mustBoth(os.Pipe())
		done, done1 := mustBoth(os.Pipe())
		c := part("moved", nil, nil, must(l.File()), go1, done1)
		conn := must(net.Dial(network, l.Addr().String()))
		must(conn.Write([]byte("question")))
		must(done.Read(make([]byte, 1)))
		wait()
		other := filepath.Join(ownCgroup(), "other")
		must(0, os.Mkdir(other, 0o755))
		must(0, os.WriteFile(filepath.Join(other, "cgroup.procs"), fmt.Append(nil, c.Process.Pid), 0))
		must(goOn.Write([]byte("x")))
		converse(conn, "writer")
		c.Wait()
		must(0, os.Remove(other))
	case "shared": // one datagram socket of two processes
		a := must(net.ListenPacket("udp"+network[3:], addr)).(*net.UDPConn)
		ask := func() *exec.Cmd { return child("client udp "+a.LocalAddr().String(), nil) }
		one := ask()
		answer(a, os.Getpid(), nil)
		one.Wait()
		c := part("datagrams", nil, nil, must(a.File()))
		two := ask()
		c.Wait()
		two.Wait()
	case "uring", "uringpoll":
		l := must(net.Listen(network, addr)).(*net.TCPListener)
		cl := child("client "+l.Addr().String(), nil)
		file := accepted(l)
		c := part("uring "+name, nil, nil, file)
		file.Close()
		c.Wait()
		cl.Wait()
	case "unix": // Unix sockets are not network traffic
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		path := filepath.Join(must(os.MkdirTemp("", "u")), "s")
		ul := must(net.Listen("unix", path))
		go func() {
			for {
				c := must(ul.Accept())
				must(io.Copy(c, c))
				c.Close()
			}
		}()
		for range 20 {
			must(unix.Write(pair[0], []byte("over a pair")))
			must(unix.Read(pair[1], make([]byte, 100)))
			c := must(net.Dial("unix", path))
			must(c.Write([]byte("over a name")))
			must(c.Read(make([]byte, 100)))
			c.Close()
		}
		os.RemoveAll(filepath.Dir(path))
		scene("single", func() {})
	}
}

// more plays the parts of these scenes.
func more(name, arg string) {
	switch name {
	case "inetd":
		must(io.ReadAll(os.Stdin))
		for range 100 {
			must(os.Stdout.Write([]byte(answerText)))
		}
		local, remote := namesOf(0, "")
		reportAll(os.NewFile(3, "told"), truth{Local: local + " " + remote, PID: os.Getpid(), Kind: "writer", Also: []int{os.Getppid()}})
	case "gone":
		l := must(net.FileListener(os.NewFile(3, "listener"))).(*net.TCPListener)
		c := must(l.AcceptTCP())
		must(0, c.SetWriteBuffer(1<<20))
		must(c.Read(make([]byte, 100)))
		must(c.Write(make([]byte, 120_000)))
		reportAll(os.Stdout, truth{Local: c.LocalAddr().String() + " " + c.RemoteAddr().String(), PID: os.Getpid(), Kind: "writer", Gone: true})
	case "slow":
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)) })
		}}
		c := must(d.Dial("tcp", arg))
		must(c.Write([]byte("question")))
		must(io.ReadAll(os.Stdin)) // until the server is gone
		if n := must(io.Copy(io.Discard, c)); n != 120_000 {
			must(0, fmt.Errorf("received %d bytes", n))
		}
		report(c.LocalAddr(), "writer")
		c.Close()
	case "moved":
		l := must(net.FileListener(os.NewFile(3, "listener")))
		c := must(l.Accept())
		must(c.Read(make([]byte, 100)))
		must(c.Write([]byte(answerText)))
		must(os.NewFile(5, "done").Write([]byte("x")))
		must(os.NewFile(4, "go").Read(make([]byte, 1)))
		serveOne(c, "writer")
	case "datagrams":
		a := must(net.FilePacketConn(os.NewFile(3, "socket"))).(*net.UDPConn)
		answer(a, os.Getpid(), []int{os.Getppid()})
	}
}

func mustBoth[A, B any](a A, b B, err error) (A, B) {
	must(0, err)
	return a, b
}

// accepted returns the next connection as a blocking file.
func accepted(l net.Listener) *os.File {
	conn := must(l.Accept()).(*net.TCPConn)
	file := must(conn.File())
	must(0, unix.SetNonblock(int(file.Fd()), false))
	conn.Close()
	return file
}

// namesOf returns both ends of a connection.
func namesOf(fd int, _ string) (local, remote string) {
	text := func(sa unix.Sockaddr) string {
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			return net.JoinHostPort(net.IP(sa.Addr[:]).String(), fmt.Sprint(sa.Port))
		case *unix.SockaddrInet6:
			return net.JoinHostPort(net.IP(sa.Addr[:]).String(), fmt.Sprint(sa.Port))
		}
		return ""
	}
	return text(must(unix.Getsockname(fd))), text(must(unix.Getpeername(fd)))
}

// threads accepts in one thread and responds in others, each locked to its thread of the
// kernel.
func threads(l net.Listener) {
	work := make(chan int)
	done := make(chan bool)
	for range 3 {
		go func() {
			runtime.LockOSThread()
			for fd := range work {
				buf := make([]byte, 100)
				for {
					if n := must(unix.Read(fd, buf)); n == 0 {
						break
					}
				}
				for range 50 {
					must(unix.Write(fd, []byte(answerText)))
				}
				local, remote := namesOf(fd, "")
				reportAll(os.Stdout, truth{Local: local + " " + remote, PID: os.Getpid(), TID: unix.Gettid(), Kind: "writer"})
				unix.Close(fd)
				done <- true
			}
		}()
	}
	var clients []*exec.Cmd
	for range 3 {
		clients = append(clients, child("client "+l.Addr().String(), nil))
	}
	go func() {
		runtime.LockOSThread()
		for range 3 {
			file := accepted(l)
			work <- must(unix.Dup(int(file.Fd())))
			file.Close()
		}
	}()
	for range 3 {
		<-done
	}
	for _, c := range clients {
		c.Wait()
	}
}

// forkServe responds in a child that makes only system calls.
func forkServe(fd int) int {
	text := []byte(strings.Repeat(answerText, 50))
	buf := make([]byte, 100)
	in, out := uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&text[0]))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno != 0 {
		must(0, errno)
	}
	if pid == 0 {
		for {
			n, _, _ := unix.RawSyscall(unix.SYS_READ, uintptr(fd), in, 100)
			if n == 0 || n > 100 {
				break
			}
		}
		unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), out, uintptr(len(text)))
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	runtime.KeepAlive(buf)
	runtime.KeepAlive(text)
	return int(pid)
}

// answer answers three datagrams of one peer.
func answer(a *net.UDPConn, pid int, also []int) {
	buf := make([]byte, 100)
	peer := ""
	for range 3 {
		_, from, err := a.ReadFrom(buf)
		must(0, err)
		must(a.WriteTo([]byte("answer"), from))
		peer = from.String()
	}
	reportAll(os.Stdout, truth{Local: a.LocalAddr().String() + " " + peer, PID: pid, Kind: "writer", Also: also})
}

// ownCgroup returns the folder of this process's control group.
func ownCgroup() string {
	text := must(os.ReadFile("/proc/self/cgroup"))
	_, path, _ := strings.Cut(string(text), "0::")
	path, _, _ = strings.Cut(path, "\n")
	return filepath.Join(must(machine.CgroupRoot()), path)
}

// uringServe reads and responds only with io_uring.
func uringServe(name string) {
	r := must(uring.New(name == "uringpoll"))
	const fd = 3
	buf := make([]byte, 100)
	for {
		if n := must(r.Do(uring.Recv, fd, buf)); n == 0 {
			break
		}
	}
	for range 20 {
		must(r.Do(uring.Send, fd, []byte(answerText)))
	}
	local, remote := namesOf(fd, "")
	reportAll(os.Stdout, truth{Local: local + " " + remote, PID: os.Getpid(), Kind: "writer", Also: []int{os.Getppid()}})
	must(0, unix.Shutdown(fd, unix.SHUT_WR))
	time.Sleep(time.Millisecond)
}

// huge sends as much at once as a socket accepts, both ways, and checks the total.
func huge() {
	l := must(net.Listen("tcp4", "127.0.0.1:0"))
	go func() {
		c := must(l.Accept())
		must(io.Copy(c, c))
		c.Close()
	}()
	c := must(net.Dial("tcp4", l.Addr().String())).(*net.TCPConn)
	const total = 32 << 20
	go func() {
		buf := make([]byte, 1<<20)
		for range total >> 20 {
			must(c.Write(buf))
		}
		c.CloseWrite()
	}()
	if n := must(io.Copy(io.Discard, c)); n != total {
		must(0, fmt.Errorf("%d bytes came back, want %d", n, total))
	}
	a := must(net.ListenPacket("udp4", "127.0.0.1:0")).(*net.UDPConn)
	must(0, a.SetReadBuffer(1<<20))
	b := must(net.Dial("udp4", a.LocalAddr().String()))
	buf := make([]byte, 65507)
	for range 50 {
		must(b.Write(buf))
		if n := must(a.Read(buf)); n != len(buf) {
			must(0, fmt.Errorf("received a datagram of %d bytes", n))
		}
	}
}

// loopbackHas adds an address to the loopback.
func loopbackHas(addr string) {
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	defer unix.Close(fd)
	req := must(unix.NewIfreq("lo:1"))
	must(0, req.SetInet4Addr(net.ParseIP(addr).To4()))
	must(0, unix.IoctlIfreq(fd, unix.SIOCSIFADDR, req))
}
