package kernelcheck

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// continued is an interim response of the server: bytes that the client acknowledges, without a body.
const continued = "HTTP/1.1 100 Continue\r\n\r\n"

// says makes the kernel's socket send a text. The segments that the test sends afterwards acknowledge it.
func (c *client) says(text string) {
	c.accept()
	_, err := unix.Write(c.socks[len(c.socks)-1], []byte(text))
	must(c.t, "writing to a socket", err)
	c.answers()
	c.peer.said += int64(len(text))
}

// dial makes the kernel the client of the conversation, which sends a request. The test is the
// server, and its head and body are a response.
func (c *client) dial() {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(c.client.Port()), Addr: client4.As4()})
	if c.client.Addr().Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(c.client.Port()), Addr: client6.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(c.t, "making a socket", err)
	c.peer.dials = true
	if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
		must(c.t, "connecting", err)
	}
	c.answers() // with the SYN
	c.server = netip.AddrPortFrom(c.server.Addr(), c.peer.port)
	c.head = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", bodySize)
	c.text = append(append([]byte(nil), c.head...), c.text[len(c.text)-bodySize:]...)
	if c.decoy {
		c.segment(0, nil, how{flags: syn, seq: 1 << 20, decoy: true})
	}
	c.segment(0, nil, how{flags: syn, seq: -1})
	c.socks = append(c.socks, fd)
	c.says(fmt.Sprintf("GET /case%d HTTP/1.1\r\nHost: judge\r\n\r\n", c.client.Port()))
	c.segment(0, nil, how{})
}

// acknowledgements are forged segments that acknowledge what the other side never sent, or what it
// sent long ago (RFC 9293 section 3.10.7.4, RFC 5961 section 5).
func acknowledgements(add adder) {
	for _, side := range []struct {
		name  string
		begin func(c *client)
	}{
		{"of the client", func(c *client) { c.connect(); c.sendHead() }},
		{"of the client, after data of the server", func(c *client) { c.connect(); c.sendHead(); c.says(continued); c.segment(c.at(0), nil, how{}) }},
		{"of the client, in the middle", func(c *client) { c.connect(true); c.sendHead() }},
		{"of the client, in the middle, after data of the server", func(c *client) {
			c.connect(true)
			c.sendHead()
			c.says(continued)
			c.segment(c.at(0), nil, how{})
		}},
		{"of the server, after a forged SYN-ACK", func(c *client) {
			c.decoy = true
			c.dial()
			c.sendHead()
		}},
		{"of the server", func(c *client) { c.dial(); c.sendHead() }},
	} {
		for _, move := range []int64{1, 5000, 70_000, 1 << 20, 17 << 20, 1 << 30, 1<<31 - 1, 1 << 31, -100_000, -1 << 20, -1 << 30} {
			w := equal
			if move < 0 {
				w = either // Linux accepts the next segment that it expects, whatever old bytes it acknowledges
			}
			ackCases(move, func(name string, middle func(c *client)) {
				add("unacceptable acknowledgements", fmt.Sprintf("%s, %+d: %s", side.name, move, name), w, func(c *client) {
					side.begin(c)
					c.send(0, 16, how{})
					middle(c)
					c.finish()
				})
			})
		}
	}
}

func ackCases(move int64, add func(name string, middle func(c *client))) {
	bad, badFIN := how{ackMove: move}, how{ackMove: move, flags: fin}
	rest := func(c *client) { c.send(16, 40, how{}); c.send(40, -1, how{}) }
	forge := func(from, to int) func(c *client) {
		return func(c *client) { c.forge("X", from, to, bad) }
	}
	for _, f := range []struct {
		name string
		play func(c *client)
	}{
		{"the real segment's bytes", forge(16, 40)},
		{"a part of them", forge(20, 30)},
		{"more bytes than the real one", forge(16, 60)},
		{"more bytes than the stream", func(c *client) { c.segment(c.at(16), other("X", 100), bad) }},
		{"ahead", forge(44, 52)},
		{"twice", func(c *client) { c.forge("X", 16, 40, bad); c.forge("Y", 16, 40, bad) }},
		{"with a FIN", func(c *client) { c.forge("X", 16, 40, badFIN) }},
		{"a FIN alone", func(c *client) { c.segment(c.at(16), nil, badFIN) }},
		{"no data", func(c *client) { c.segment(c.at(16), nil, bad) }},
	} {
		add(f.name+", before", func(c *client) { f.play(c); rest(c) })
	}
	add("the real segment's bytes, after", func(c *client) { c.send(16, 40, how{}); c.forge("X", 16, 40, bad); c.send(40, -1, how{}) })
	add("more bytes than the real one, after", func(c *client) { c.send(16, 40, how{}); c.forge("X", 16, 60, bad); c.send(40, -1, how{}) })
	add("at the end of the body", func(c *client) {
		rest(c)
		c.segment(len(c.text), []byte("HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nevil"), bad)
	})
	add("the real segment comes out of order", func(c *client) {
		c.forge("X", 16, 40, bad)
		c.send(40, -1, how{})
		c.send(28, 40, how{})
		c.send(16, 28, how{})
	})
	add("300 segments before the real one", func(c *client) {
		c.forge("X", 16, 40, bad)
		for range 300 {
			c.segment(c.at(16), nil, how{})
		}
		rest(c)
	})
	add("a minute before the real one", func(c *client) { c.forge("X", 16, 40, bad); c.out.now += 61e6; rest(c) })
}
