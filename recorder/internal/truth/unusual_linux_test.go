package truth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder"
)

// unusual plays parts with kinds of sockets and uses of them that few programs have.
func unusual(role []string) {
	name, transport, addr, rest := role[0], role[1], role[2], role[3:]
	switch name + " " + transport {
	case "sniff udp": // a server beside a raw socket of another process, which receives its datagrams too
		raw := must(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP))
		server := part("serve udp "+addr+" "+rest[0], nil)
		must(0, server.Start())
		b := make([]byte, 1500)
		for range 2 * number(rest[0]) {
			must(unix.Read(raw, b))
		}
		must(0, server.Wait())
	case "spin tcp": // reads all the time while the kernel sends what another process wrote
		c := must(must(net.Listen("tcp", addr)).Accept()).(*net.TCPConn)
		fill(c)
		n := number(rest[0])
		r := bufio.NewReader(c)
		for range n {
			message(r)
		}
		write(c, response(much))
		report("dst", "/a-0")
		f := must(c.File())
		child(f, fmt.Sprintf("respond each - %d", n))
		fd := int(f.Fd())
		must(0, unix.SetNonblock(fd, true))
		for b, err := []byte{0}, error(unix.EAGAIN); errors.Is(err, unix.EAGAIN); {
			_, _, err = unix.Recvfrom(fd, b, 0)
		}
		runtime.KeepAlive(f)
	case "respond each":
		c := must(net.FileConn(os.NewFile(3, "connection")))
		for i := 1; i < number(rest[0]); i++ {
			write(c, response(20000))
			report("dst", fmt.Sprintf("/a-%d", i))
		}
	case "again tcp", "again udp": // processes that use the same port one after another
		if transport == "udp" {
			await(".udp")
		}
		for i := range number(rest[0]) {
			child(nil, fmt.Sprintf("bound %s %s %d", transport, addr, i))
		}
	case "bound tcp":
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}, Control: option(unix.SO_REUSEADDR, 1)}
		c := must(dial(&d, addr)).(*net.TCPConn)
		ask(c, bufio.NewReader(c), "/again-"+rest[0])
		must(0, c.SetLinger(0)) // a reset leaves nothing behind
		c.Close()
	case "bound udp":
		c := must(net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}, must(net.ResolveUDPAddr("udp", addr))))
		must(c.Write(query("again-" + rest[0])))
		must(c.Read(make([]byte, 512)))
		report("src", "again-"+rest[0])
	case "left tcp": // its network is another by the time it accepts
		l := must(net.Listen("tcp", addr))
		must(0, unix.Unshare(unix.CLONE_NEWNET))
		serveTCP(l, number(rest[0]))
	case "leaving tcp":
		c := must(dial(&net.Dialer{}, addr))
		must(0, unix.Unshare(unix.CLONE_NEWNET))
		r := bufio.NewReader(c)
		for i := range number(rest[0]) {
			ask(c, r, fmt.Sprintf("/leaving-%d", i))
		}
	case "serve mptcp":
		c := net.ListenConfig{}
		c.SetMultipathTCP(true)
		serveTCP(must(c.Listen(context.Background(), "tcp", addr)), number(rest[0]))
	case "ask mptcp":
		d := net.Dialer{}
		d.SetMultipathTCP(true)
		c := must(dial(&d, addr))
		for tries := 0; tries < 20 && !must(c.(*net.TCPConn).MultipathTCP()); tries++ { // a busy kernel falls back to TCP
			c.Close()
			c = must(dial(&d, addr))
		}
		if !must(c.(*net.TCPConn).MultipathTCP()) {
			must(0, fmt.Errorf("not Multipath TCP"))
		}
		r := bufio.NewReader(c)
		for i := range number(rest[0]) {
			ask(c, r, fmt.Sprintf("/mp-%d", i))
		}
		c.Close()
	case "serve fast": // data in the SYN
		c := net.ListenConfig{Control: tcpOption(unix.TCP_FASTOPEN, 16)}
		serveTCP(must(c.Listen(context.Background(), "tcp", addr)), number(rest[0]))
	case "ask fast":
		to := must(net.ResolveTCPAddr("tcp", addr))
		for i := range number(rest[0]) {
			path := fmt.Sprintf("/fast-%d", i)
			c := fastOpen(to, "GET "+path+" HTTP/1.1\r\nHost: truth\r\n\r\n")
			report("src", path)
			answered(bufio.NewReader(c), path)
			c.Close()
		}
	case "many udp": // queries in one system call
		await(".udp")
		to := must(net.ResolveUDPAddr("udp", addr))
		c := must(net.ListenUDP("udp4", nil))
		var list []ipv4.Message
		for i := range number(rest[0]) {
			list = append(list, ipv4.Message{Buffers: [][]byte{query(fmt.Sprintf("many-%d", i))}, Addr: to})
		}
		if n := must(ipv4.NewPacketConn(c).WriteBatch(list, 0)); n != len(list) {
			must(0, fmt.Errorf("%d sent", n))
		}
		for i := range list {
			report("src", fmt.Sprintf("many-%d", i))
			must(c.Read(make([]byte, 512)))
		}
	case "serve transparent": // for any address
		c := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)) })
		}}
		serveTCP(must(c.Listen(context.Background(), "tcp4", addr)), number(rest[0]))
	case "raw udp": // datagrams through a raw socket
		await(".udp")
		to := must(net.ResolveUDPAddr("udp", addr))
		in := must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40001}))
		raw := must(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP))
		for i := range number(rest[0]) {
			q := query(fmt.Sprintf("raw-%d", i))
			head := []byte{40001 >> 8, 40001 & 255, byte(to.Port >> 8), byte(to.Port), 0, byte(8 + len(q)), 0, 0}
			must(0, unix.Sendto(raw, append(head, q...), 0, &unix.SockaddrInet4{Addr: [4]byte(to.IP.To4())}))
			report("src", fmt.Sprintf("raw-%d", i))
			must(in.Read(make([]byte, 512)))
		}
	case "redial udp": // a socket that is connected to one server after the other
		await(".udp")
		to := must(net.ResolveUDPAddr("udp", addr))
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
		for i := range number(rest[0]) {
			must(0, unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}))
			must(0, unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte(to.IP.To4()), Port: to.Port}))
			name := fmt.Sprintf("redial-%d", i)
			must(unix.Write(fd, query(name)))
			report("src", name)
			must(unix.Read(fd, make([]byte, 512)))
		}
	case "host tcp": // a server whose recorder has inherited its listener
		plain := net.ListenConfig{} // with Multipath TCP, the process has another socket than the connections
		plain.SetMultipathTCP(false)
		l := must(plain.Listen(context.Background(), "tcp", addr)).(*net.TCPListener)
		c := part("record fd - "+rest[1]+" "+rest[2], must(l.File()))
		stop := must(c.StdinPipe())
		must(0, c.Start())
		await("")
		serveTCP(l, number(rest[0]))
		must(0, stop.Close())
		must(0, c.Wait())
	case "newer tcp": // than the start of the recording
		await("")
		play(append([]string{"ask"}, role[1:]...))
	case "record fd": // until its input ends
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			os.Stdin.Read(make([]byte, 1))
			cancel()
		}()
		must(recorder.Run(ctx, recorder.Options{File: rest[0], Cgroup: rest[1], NoNames: true, RingBuffer: 4 << 20, OnError: func(err error) { must(0, err) },
			OnStart: func(recorder.Started) { must(0, os.WriteFile(os.Getenv(begunEnv), nil, 0o600)) }}))
	default:
		must(0, fmt.Errorf("no part %q", role))
	}
}

func tcpOption(name, value int) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { must(0, unix.SetsockoptInt(int(fd), unix.SOL_TCP, name, value)) })
	}
}

// fastOpen connects and sends in one call.
func fastOpen(to *net.TCPAddr, text string) net.Conn {
	for {
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		err := unix.Sendto(fd, []byte(text), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Addr: [4]byte(to.IP.To4()), Port: to.Port})
		if errors.Is(err, unix.ECONNREFUSED) {
			unix.Close(fd)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		must(0, err)
		f := os.NewFile(uintptr(fd), "fast")
		defer f.Close()
		return must(net.FileConn(f))
	}
}

func unusualScenes() []scene {
	const to, datagrams = "127.0.0.1:8080", "127.0.0.1:5353"
	transparent := append(append([]string(nil), addresses...), "ip rule add fwmark 1 lookup 100", "ip route add local 0.0.0.0/0 dev lo table 100",
		"nft add table ip proxy", "nft add chain ip proxy out { type route hook output priority mangle ; }", "nft add rule ip proxy out ip daddr 10.96.0.10 tcp dport 80 meta mark set 1",
		"nft add chain ip proxy pre { type filter hook prerouting priority mangle ; }", "nft add rule ip proxy pre ip daddr 10.96.0.10 tcp dport 80 tproxy to 127.0.0.1:15001 meta mark set 1 accept")
	hairpin := pods("nft add rule ip nat prerouting ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.2:8080", "nft add rule ip nat postrouting ip daddr 10.1.1.2 masquerade")
	return []scene{
		{name: "a raw socket beside a server", roles: []string{"sniff udp 127.0.0.1:5353 3", "ask udp 127.0.0.1:5353 3 a -"}, dst: datagrams},
		{name: "responses that are sent while another process reads", roles: []string{"spin tcp 127.0.0.1:8080 15", "read tcp 127.0.0.1:8080 15 a"}, dst: to, guess: guesses("dst /a-%d", 15)},
		{name: "a port used again", roles: []string{"serve tcp 127.0.0.1:8080 6", "again tcp 127.0.0.1:8080 6"}, dst: to},
		{name: "a port used again, datagrams", roles: []string{"serve udp 127.0.0.1:5353 6", "again udp 127.0.0.1:5353 6"}, dst: datagrams},
		{name: "sockets of a network that was left", roles: []string{"left tcp 127.0.0.1:8080 3", "leaving tcp 127.0.0.1:8080 3"}, dst: to},
		{name: "Multipath TCP", roles: []string{"serve mptcp 127.0.0.1:8080 3", "ask mptcp 127.0.0.1:8080 3"}, dst: to},
		{name: "data in the SYN", net: []string{"sysctl -qw net.ipv4.tcp_fastopen=1539"}, roles: []string{"serve fast 127.0.0.1:8080 3", "ask fast 127.0.0.1:8080 3"}, dst: to},
		{name: "several datagrams in one call to a service", net: nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.2:5353"),
			roles: []string{"serve udp 10.1.1.2:5353 3", "many udp 10.96.0.10:53 3"}, dst: "10.96.0.10:53"},
		{name: "a transparent proxy", net: transparent, roles: []string{"serve transparent 0.0.0.0:15001 3", "ask tcp 10.96.0.10:80 3 a"}, dst: "10.96.0.10:80"},
		{name: "datagrams through a raw socket", roles: []string{"serve udp 127.0.0.1:5353 3", "raw udp 127.0.0.1:5353 3"}, dst: datagrams},
		{name: "a datagram socket connected again", roles: []string{"serve udp 127.0.0.1:5353 3", "redial udp 127.0.0.1:5353 3"}, dst: datagrams},
		{name: "pod to itself by a service", net: hairpin, roles: []string{"@pod serve tcp 10.1.1.2:8080 3", "@pod ask tcp 10.96.0.10:80 3 a"}, dst: "10.96.0.10:80", flows: 2},
	}
}

// guesses lists sides of calls by their numbers.
func guesses(form string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf(form, i))
	}
	return list
}
