package truth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const much = 300_000 // bytes, more than the receiver's window

// queue plays parts whose data wait in a socket's queue, and are sent by the kernel when the
// receiver has read.
func queue(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
	case "leave tcp": // ends before its response is sent
		c := must(must(net.Listen("tcp", addr)).Accept()).(*net.TCPConn)
		fill(c)
		first, _ := message(bufio.NewReader(c))
		write(c, response(much))
		report("dst", strings.Fields(first)[1])
		c.Close()
		os.Exit(0)
	case "answers tcp": // the second of two responses waits behind the first, which another process wrote
		c := must(must(net.Listen("tcp", addr)).Accept()).(*net.TCPConn)
		fill(c)
		r := bufio.NewReader(c)
		first, _ := message(r)
		message(r)
		write(c, response(much))
		report("dst", strings.Fields(first)[1])
		child(must(c.File()), "respond fd - /"+rest[0]+"-1")
		time.Sleep(time.Second)
	case "respond fd":
		write(must(net.FileConn(os.NewFile(3, "connection"))), response(0))
		report("dst", rest[0])
	case "read tcp": // sends its requests at once and reads later
		c := must(dial(&net.Dialer{Control: option(unix.SO_RCVBUF, 8192)}, addr))
		var text string
		for i := range number(rest[0]) {
			text += fmt.Sprintf("GET /%s-%d HTTP/1.1\r\nHost: truth\r\n\r\n", rest[1], i)
		}
		write(c, text)
		time.Sleep(400 * time.Millisecond)
		r := bufio.NewReader(c)
		for i := range number(rest[0]) {
			path := fmt.Sprintf("/%s-%d", rest[1], i)
			report("src", path)
			answered(r, path)
		}
	case "requests tcp": // the second of two requests waits behind the first, which another process wrote
		c := must(dial(&net.Dialer{}, addr)).(*net.TCPConn)
		fill(c)
		write(c, fmt.Sprintf("POST /a-0 HTTP/1.1\r\nHost: truth\r\nContent-Length: %d\r\n\r\n%s", much, strings.Repeat("x", much)))
		report("src", "/a-0")
		child(must(c.File()), "request fd - /a-1")
		r := bufio.NewReader(c)
		answered(r, "/a-0")
		answered(r, "/a-1")
	case "request fd":
		write(must(net.FileConn(os.NewFile(3, "connection"))), "GET "+rest[0]+" HTTP/1.1\r\nHost: truth\r\n\r\n")
		report("src", rest[0])
	case "late tcp": // reads later
		c := net.ListenConfig{Control: option(unix.SO_RCVBUF, 8192)}
		in := must(must(c.Listen(context.Background(), "tcp", addr)).Accept())
		time.Sleep(400 * time.Millisecond)
		for r := bufio.NewReader(in); answer(in, r); {
		}
	default:
		asks(role)
	}
}

// asks plays other kinds of clients.
func asks(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
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
			report("src", name)
			c.Close()
		}
	case "each tcp": // a connection for each request
		for i := range number(rest[0]) {
			c := must(dial(&net.Dialer{}, addr))
			ask(c, bufio.NewReader(c), fmt.Sprintf("/%s-%d", rest[1], i))
			c.Close()
		}
	default:
		unusual(role)
	}
}

// option returns a function that sets an option of a socket before it is used.
func option(name, value int) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, name, value)) })
	}
}

// fill enlarges the send buffer of a socket.
func fill(c *net.TCPConn) { must(0, option(unix.SO_SNDBUFFORCE, 4<<20)("", "", must(c.SyscallConn()))) }

// mapped connects an IPv6 socket to an IPv4 address.
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
