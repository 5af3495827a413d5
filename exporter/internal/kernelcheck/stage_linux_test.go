package kernelcheck

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ends of every conversation: the server is this kernel, the client is the test.
var (
	client4, server4 = netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("10.77.0.1")
	client6, server6 = netip.MustParseAddr("fd77::2"), netip.MustParseAddr("fd77::1")
)

const (
	serverPort = 8080
	device     = "judge0"
)

// stage is a network namespace with a TUN device and the sockets of one server. It belongs to
// one operating system thread: a packet written to the device has passed the kernel's TCP when
// the write returns, so nothing here waits.
type stage struct {
	t   *testing.T
	tun int
	tcp [2]int // listeners of IPv4 and IPv6
	udp [2]int
	out *capture
	on  map[netip.AddrPort]*peer // by the client's end
}

// peer is one client with the data that the server's sockets delivered for it.
type peer struct {
	client  netip.AddrPort
	record  bool   // the capture currently shows this conversation
	socks   []int  // accepted
	got     []byte // bytes of all sockets, in order
	end     string // how the last socket ended: eof, reset, or "" while it is open
	isn     uint32 // of the kernel
	dials   bool   // the kernel is the client
	port    uint16 // of the kernel then
	said    int64  // bytes that the kernel's socket sent
	synAcks int
	acked   uint32 // highest acknowledgement that the server sent
	window  uint16 // in the server's last segment
	last    []byte // the server's last TCP segment
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// newStage moves this thread to a new namespace. The caller has locked the thread and never
// unlocks it.
func newStage(t *testing.T) *stage {
	must(t, "making a network namespace", unix.Unshare(unix.CLONE_NEWNET))
	s := &stage{t: t, out: newCapture(), on: map[netip.AddrPort]*peer{}}
	var err error
	s.tun, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, "opening /dev/net/tun", err)
	t.Cleanup(func() { unix.Close(s.tun) })
	ifr, err := unix.NewIfreq(device)
	must(t, "naming the device", err)
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(t, "making the device", unix.IoctlIfreq(s.tun, unix.TUNSETIFF, ifr))
	must(t, "device without waiting", unix.SetNonblock(s.tun, true))
	s.address()
	for i, to := range []unix.Sockaddr{
		&unix.SockaddrInet4{Port: serverPort, Addr: server4.As4()}, &unix.SockaddrInet6{Port: serverPort, Addr: server6.As16()},
	} {
		family := []int{unix.AF_INET, unix.AF_INET6}[i]
		s.tcp[i] = s.socket(family, unix.SOCK_STREAM, to)
		must(t, "listening", unix.Listen(s.tcp[i], 512))
		s.udp[i] = s.socket(family, unix.SOCK_DGRAM, to)
	}
	return s
}

func (s *stage) socket(family, kind int, to unix.Sockaddr) int {
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(s.t, "making a socket", err)
	s.t.Cleanup(func() { unix.Close(fd) })
	err = unix.Bind(fd, to)
	for end := time.Now().Add(10 * time.Second); err == unix.EADDRNOTAVAIL && time.Now().Before(end); err = unix.Bind(fd, to) {
		time.Sleep(time.Millisecond) // the kernel prepares a new IPv6 address in the background
	}
	must(s.t, "binding", err)
	return fd
}

// address assigns both addresses to the device, in a /24 and a /64, and raises it.
func (s *stage) address() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(s.t, "making a socket", err)
	defer unix.Close(fd)
	set := func(what string, req uint, fill func(*unix.Ifreq)) {
		ifr, err := unix.NewIfreq(device)
		must(s.t, what, err)
		fill(ifr)
		must(s.t, what, unix.IoctlIfreq(fd, req, ifr))
	}
	inet := func(a [4]byte) func(*unix.Ifreq) {
		return func(r *unix.Ifreq) { must(s.t, "address", r.SetInet4Addr(a[:])) }
	}
	set("setting the address", unix.SIOCSIFADDR, inet(server4.As4()))
	set("setting the netmask", unix.SIOCSIFNETMASK, inet([4]byte{255, 255, 255, 0}))
	for name, value := range map[string]string{
		"ipv4/conf/" + device + "/rp_filter": "0", "ipv6/conf/" + device + "/disable_ipv6": "0",
		"ipv6/conf/" + device + "/accept_dad": "0",
	} {
		must(s.t, "setting "+name, os.WriteFile("/proc/sys/net/"+name, []byte(value), 0))
	}
	set("raising the device", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) })
	s.address6()
}

func (s *stage) address6() {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(s.t, "making a socket", err)
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(device)
	must(s.t, "naming the device", err)
	must(s.t, "finding the device", unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr))
	req := struct { // in6_ifreq of linux/ipv6.h
		addr   [16]byte
		prefix uint32
		index  int32
	}{server6.As16(), 64, int32(ifr.Uint32())}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&req))); e != 0 {
		s.t.Fatalf("setting the IPv6 address: %v", e)
	}
}

// inject passes one IP packet to the kernel and processes its answers.
func (s *stage) inject(packet []byte) {
	_, err := unix.Write(s.tun, packet)
	must(s.t, "injecting a packet", err)
	s.answers()
}

// answers reads what the kernel has sent.
func (s *stage) answers() {
	buf := make([]byte, 65536)
	for {
		n, err := unix.Read(s.tun, buf)
		if err == unix.EAGAIN {
			return
		}
		must(s.t, "reading from the device", err)
		s.answer(append([]byte(nil), buf[:n]...))
	}
}

func (s *stage) answer(packet []byte) {
	var to netip.Addr
	l4, proto := packet, byte(0)
	switch packet[0] >> 4 {
	case 4:
		to, proto, l4 = netip.AddrFrom4([4]byte(packet[16:])), packet[9], packet[int(packet[0]&15)*4:]
	case 6:
		to, proto, l4 = netip.AddrFrom16([16]byte(packet[24:])), packet[6], packet[40:]
	}
	if proto != protoTCP || len(l4) < 20 {
		return
	}
	p := s.on[netip.AddrPortFrom(to, binary.BigEndian.Uint16(l4[2:]))]
	if p == nil {
		return
	}
	flags, ack := l4[13], binary.BigEndian.Uint32(l4[8:])
	if p.dials && flags&(syn|ack_) == syn {
		p.isn, p.port = binary.BigEndian.Uint32(l4[4:]), binary.BigEndian.Uint16(l4)
	} else if flags&(syn|ack_) == syn|ack_ {
		p.isn, p.acked = binary.BigEndian.Uint32(l4[4:]), ack
		p.synAcks++
	} else if flags&(ack_|rst) == ack_ && int32(ack-p.acked) > 0 {
		p.acked = ack
	}
	p.window, p.last = binary.BigEndian.Uint16(l4[14:]), l4
	if p.record {
		s.out.write(packet)
	}
}

// accept accepts established connections.
func (s *stage) accept() {
	for _, fd := range s.tcp {
		for {
			c, from, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err == unix.EAGAIN {
				break
			}
			if err == unix.ECONNABORTED {
				continue
			}
			must(s.t, "accepting", err)
			if p := s.on[endOf(from)]; p != nil {
				p.socks = append(p.socks, c)
				p.end = ""
			} else {
				unix.Close(c)
			}
		}
	}
}

// read reads what the sockets of a peer have delivered.
func (s *stage) read(p *peer) {
	s.accept()
	buf := make([]byte, 65536)
	for _, fd := range p.socks {
		for {
			n, err := unix.Read(fd, buf)
			if n > 0 {
				p.got = append(p.got, buf[:n]...)
				continue
			}
			switch {
			case err == unix.EAGAIN:
			case n == 0 && err == nil:
				p.end = "eof"
			default:
				p.end = "reset"
			}
			break
		}
	}
	s.answers()
}

// datagrams reads what the UDP sockets have delivered.
func (s *stage) datagrams() {
	buf := make([]byte, 65536)
	for _, fd := range s.udp {
		for {
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err == unix.EAGAIN {
				break
			}
			must(s.t, "receiving", err)
			if p := s.on[endOf(from)]; p != nil {
				p.got = append(p.got, buf[:n]...)
			}
		}
	}
}

// hangUp closes the server's side of a peer's connections.
func (s *stage) hangUp(p *peer) {
	for _, fd := range p.socks {
		unix.Close(fd)
	}
	p.socks = nil
	s.answers()
}

// close closes a peer's sockets; the kernel's answers are in no capture.
func (s *stage) close(p *peer) {
	p.record = false
	for _, fd := range p.socks {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
	}
	p.socks = nil
	s.answers()
	delete(s.on, p.client)
}

func endOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	panic(fmt.Sprintf("socket address %T", a))
}
