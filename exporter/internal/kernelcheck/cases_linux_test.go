package kernelcheck

import (
	"fmt"
	"slices"
)

// hostileCases are packets that an attacker or a fault adds to a conversation.
func hostileCases() (list []testCase) {
	for _, v6 := range []bool{false, true} {
		add := func(class, name string, w want, play func(c *client)) {
			list = append(list, testCase{class: class, name: name + " " + family(v6), v6: v6, want: w, play: play})
		}
		decoys(add)
		checksums(add, v6)
		strays(add)
		resets(add)
		ends(add)
		urgent(add)
		acknowledgements(add)
	}
	return list
}

type adder func(class, name string, w want, play func(c *client))

// around plays an exchange with additional packets in the middle of the body.
func around(middle func(c *client)) func(c *client) {
	return func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 16, how{})
		middle(c)
		c.send(40, -1, how{})
		c.finish()
	}
}

func decoys(add adder) {
	const class = "decoys that never arrive"
	lost := how{decoy: true, ttl: 2}
	add(class, "before the real segment", told, around(func(c *client) { c.forge("X", 16, 40, lost); c.send(16, 40, how{}) }))
	add(class, "after the real segment", told, around(func(c *client) { c.send(16, 40, how{}); c.forge("X", 16, 40, lost) }))
	add(class, "with the same bytes", exact, around(func(c *client) { c.send(16, 40, lost); c.send(16, 40, how{}) }))
	add(class, "with the same IP id", told, around(func(c *client) { c.forge("X", 16, 40, lost); c.id--; c.send(16, 40, how{}) }))
	add(class, "with the same IP id, after", told, around(func(c *client) { c.send(16, 40, how{}); c.id--; c.forge("X", 16, 40, lost) }))
	add(class, "part of the real segment", told, around(func(c *client) { c.forge("X", 20, 30, lost); c.send(16, 40, how{}) }))
	add(class, "one byte, which looks like a keep-alive", told, around(func(c *client) {
		c.forge("X", 16, 17, lost)
		c.send(16, 17, how{})
		c.send(17, 40, how{})
	}))
	add(class, "every byte twice", told, around(func(c *client) {
		for i := 16; i < 40; i++ {
			c.forge("X", i, i+1, lost)
			c.send(i, i+1, how{})
		}
	}))
	for _, n := range []int{9, 20, 200} { // the copy arrives late
		add(class, fmt.Sprintf("%d segments before the real one", n), told, func(c *client) {
			c.connect()
			c.sendHead()
			c.forge("X", 0, 8, lost)
			for i := range n {
				c.send(8+i%56, 9+i%56, lost)
			}
			c.send(0, -1, how{})
			c.finish()
		})
	}
	add(class, "ahead of the stream", told, around(func(c *client) { c.forge("X", 40, 48, lost); c.send(16, 40, how{}) }))
	add(class, "FIN inside the body", either, around(func(c *client) { c.segment(c.at(16), nil, how{decoy: true, flags: fin}); c.send(16, 40, how{}) }))
	add(class, "RST", either, around(func(c *client) { c.segment(c.at(16), nil, how{decoy: true, flags: rst}); c.send(16, 40, how{}) }))
	add(class, "behind the body, before the FIN", either, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, -1, how{})
		c.segment(len(c.text), []byte("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nevil"), how{decoy: true})
		c.finish()
	})
	add(class, "SYN with another number first", either, func(c *client) {
		c.isn += 5000
		c.syn(how{decoy: true})
		c.isn -= 5000
		c.connect()
		c.sendHead()
		c.send(0, -1, how{})
		c.finish()
	})
}

func checksums(add adder, v6 bool) {
	const class = "wrong checksums"
	bad := how{badSum: true}
	add(class, "other bytes before the real segment", equal, around(func(c *client) { c.forge("X", 16, 40, bad); c.send(16, 40, how{}) }))
	add(class, "other bytes after the real segment", equal, around(func(c *client) { c.send(16, 40, how{}); c.forge("X", 16, 40, bad) }))
	add(class, "same bytes", equal, around(func(c *client) { c.send(16, 40, bad); c.send(16, 40, how{}) }))
	add(class, "ahead of the stream", equal, around(func(c *client) { c.forge("X", 24, 48, bad); c.send(16, 40, how{}) }))
	add(class, "RST", equal, around(func(c *client) { c.segment(c.at(16), nil, how{badSum: true, flags: rst}); c.send(16, 40, how{}) }))
	add(class, "FIN", equal, around(func(c *client) { c.segment(c.at(16), nil, how{badSum: true, flags: fin}); c.send(16, 40, how{}) }))
	add(class, "SYN", equal, around(func(c *client) {
		c.segment(c.at(16), nil, how{badSum: true, flags: syn, noAck: true})
		c.send(16, 40, how{})
	}))
	add(class, "FIN with data", equal, around(func(c *client) {
		c.forge("X", 16, 40, how{badSum: true, flags: fin})
		c.send(16, 40, how{})
	}))
	add(class, "the last segment alone", equal, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 32, how{})
		c.send(32, -1, bad)
	})
	add(class, "first SYN", equal, func(c *client) {
		c.isn += 5000
		c.syn(how{badSum: true})
		c.isn -= 5000
		c.connect()
		c.sendHead()
		c.send(0, -1, how{})
		c.finish()
	})
	if v6 {
		return
	}
	add(class, "of the IP header, before", equal, around(func(c *client) { c.forge("X", 16, 40, how{badIP: true}); c.send(16, 40, how{}) }))
	add(class, "of the IP header, after", equal, around(func(c *client) { c.send(16, 40, how{}); c.forge("X", 16, 40, how{badIP: true}) }))
	add(class, "of the IP header, RST", equal, around(func(c *client) { c.segment(c.at(16), nil, how{badIP: true, flags: rst}); c.send(16, 40, how{}) }))
}

func strays(add adder) {
	const class = "stray SYN and SYN-ACK"
	for _, flags := range []struct {
		name string
		bits byte
	}{{"SYN", syn}, {"SYN-ACK", syn | ack_}, {"SYN-FIN", syn | fin}} {
		for _, move := range []int64{-100_000, -1, 0, 8, 30_000, 1 << 20, 1 << 31} {
			for _, data := range []string{"", "XXXXXXXX"} {
				name := fmt.Sprintf("%s at %+d, %d bytes", flags.name, move, len(data))
				add(class, name, equal, around(func(c *client) {
					c.segment(c.at(16), []byte(data), how{seq: move, flags: flags.bits, noAck: flags.bits&ack_ == 0})
					c.send(16, 40, how{})
				}))
			}
		}
	}
	add(class, "SYN again", exact, around(func(c *client) { c.syn(how{}); c.send(16, 40, how{}) }))
	add(class, "SYN with data", equal, func(c *client) {
		c.segment(0, other("X", 8), how{flags: syn, noAck: true, seq: -1})
		c.connect()
		c.sendHead()
		c.send(0, -1, how{})
		c.finish()
	})
	add("ports used again", "SYN while the old connection is open", either, func(c *client) {
		again(c, func() { c.segment(c.at(bodySize), nil, how{flags: rst}) })
	})
	add("ports used again", "after a FIN of the client", either, func(c *client) {
		again(c, func() { c.finish(); c.segment(c.at(bodySize)+1, nil, how{flags: rst}) })
	})
	add("ports used again", "after both FINs", exact, func(c *client) {
		again(c, func() {
			c.finish()
			c.stage.read(c.peer)
			c.stage.hangUp(c.peer)
			c.segment(c.at(bodySize)+1, nil, how{ackMove: 1})
		})
	})
	add("ports used again", "the old connection continues after the SYN", equal, around(func(c *client) {
		was := c.isn
		c.isn += 1 << 24
		c.syn(how{})
		c.isn = was
		c.send(16, 40, how{})
	}))
}

// again plays two connections on the same ports.
func again(c *client, between func()) {
	c.connect()
	c.sendHead()
	c.send(0, -1, how{})
	between()
	c.stage.read(c.peer)
	c.isn += 1 << 24
	c.connect()
	c.sendHead()
	c.send(0, -1, how{})
	c.finish()
}

func resets(add adder) {
	const class = "resets"
	for _, move := range []int64{0, 1, 8, 60_000, -1, -16, -100_000, 1 << 20, 1 << 31} {
		for _, noAck := range []bool{false, true} {
			for _, data := range []string{"", "XXXXXXXX"} {
				w := equal
				if move > 0 && move <= 60_000 {
					w = either // RFC 5961 sends a challenge ACK, RFC 793 resets
				}
				if move == 0 {
					w = either // data after an exact reset shows that the reset did not count
				}
				add(class, fmt.Sprintf("at %+d, ack %v, %d bytes", move, !noAck, len(data)), w, around(func(c *client) {
					c.segment(c.at(16), []byte(data), how{seq: move, flags: rst, noAck: noAck})
					c.send(16, 40, how{})
				}))
			}
		}
	}
	add(class, "at the end of the body", exact, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, -1, how{})
		c.segment(len(c.text), nil, how{flags: rst})
	})
	add(class, "in place of the handshake's ACK", exact, func(c *client) {
		c.syn(how{})
		c.segment(0, nil, how{flags: rst, noAck: true})
	})
	add(class, "behind a hole", either, around(func(c *client) {
		c.send(24, 32, how{})
		c.segment(c.at(32), nil, how{flags: rst})
		c.send(16, 40, how{})
	}))
}

func ends(add adder) {
	const class = "FIN"
	add(class, "before the data", exact, func(c *client) {
		c.connect()
		c.sendHead()
		c.finish()
		c.send(0, -1, how{})
	})
	add(class, "with the last data", exact, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 32, how{})
		c.send(32, -1, how{flags: fin})
	})
	add(class, "sent again with data", exact, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 32, how{})
		c.finish()
		c.send(32, -1, how{flags: fin})
	})
	add(class, "twice", exact, around(func(c *client) { c.send(16, 40, how{}); c.send(40, -1, how{}); c.finish() }))
	add(class, "then data behind it", either, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 32, how{flags: fin})
		c.segment(c.at(33), c.text[c.at(33):], how{})
		c.segment(c.at(32), c.text[c.at(32):], how{})
	})
	add(class, "inside the body, out of order", either, around(func(c *client) {
		c.segment(c.at(24), nil, how{flags: fin})
		c.send(16, 40, how{})
	}))
	add(class, "with data inside the body, out of order", either, around(func(c *client) {
		c.send(24, 32, how{flags: fin})
		c.send(16, 40, how{})
	}))
	for _, move := range []int64{-8, -100_000, 200_000, 1 << 24, 1 << 31} {
		add(class, fmt.Sprintf("out of the window at %+d", move), either, around(func(c *client) {
			c.segment(c.at(16), nil, how{seq: move, flags: fin})
			c.send(16, 40, how{})
		}))
	}
	add(class, "at two places", either, func(c *client) {
		c.connect()
		c.sendHead()
		c.segment(c.at(48), nil, how{flags: fin})
		c.segment(c.at(32), nil, how{flags: fin})
		c.send(0, -1, how{})
	})
	add(class, "without ACK", either, around(func(c *client) { c.segment(c.at(16), nil, how{flags: fin, noAck: true}); c.send(16, 40, how{}) }))
}

func urgent(add adder) {
	const class = "urgent data"
	for _, p := range []uint16{1, 8, 24, 30} {
		for _, off := range []int{16, 24} {
			add(class, fmt.Sprintf("pointer %d in the segment at %d", p, off), told, around(func(c *client) {
				if off > 16 {
					c.send(16, off, how{})
				}
				c.send(off, 40, how{flags: urg, urgent: p})
			}))
		}
	}
	add(class, "sent again without the pointer", told, around(func(c *client) {
		c.send(24, 40, how{flags: urg, urgent: 4})
		c.send(16, 40, how{})
	}))
}

// orderCases are honest conversations under difficult conditions.
func orderCases() (list []testCase) {
	for _, v6 := range []bool{false, true} {
		add := func(class, name string, w want, play func(c *client)) {
			list = append(list, testCase{class: class, name: name + " " + family(v6), v6: v6, want: w, play: play})
		}
		wraps(add)
		windows(add)
		midway(add)
		lates(add)
		views(add)
	}
	return list
}

func wraps(add adder) {
	const class = "sequence numbers wrap"
	for _, back := range []uint32{1, 2, 10, 60, 80, 100, 140} {
		begin := func(c *client) { c.isn = -back }
		add(class, fmt.Sprintf("%d bytes on", back), exact, func(c *client) {
			begin(c)
			around(func(c *client) { c.send(16, 40, how{}) })(c)
		})
		add(class, fmt.Sprintf("%d bytes on, out of order", back), exact, func(c *client) {
			begin(c)
			around(func(c *client) { c.send(32, 40, how{}); c.send(24, 36, how{}); c.send(16, 24, how{}) })(c)
		})
		add(class, fmt.Sprintf("%d bytes on, other bytes", back), told, func(c *client) {
			begin(c)
			around(func(c *client) { c.forge("X", 24, 40, how{}); c.forge("Y", 16, 32, how{}) })(c)
		})
	}
	add(class, "half the sequence space away from 0", exact, func(c *client) {
		c.isn = 1<<31 - 90
		around(func(c *client) { c.send(24, 40, how{}); c.send(16, 24, how{}) })(c)
	})
}

func windows(add adder) {
	const class = "windows"
	add(class, "the client's is zero", exact, around(func(c *client) { c.send(16, 40, how{zeroWin: true}) }))
	add(class, "the client's shrinks", exact, around(func(c *client) {
		c.send(16, 24, how{window: 8000})
		c.send(24, 32, how{window: 100})
		c.send(32, 40, how{window: 1})
	}))
	for _, far := range []int64{70_000, 200_000, 1 << 22} {
		add(class, fmt.Sprintf("data %d beyond", far), either, around(func(c *client) {
			c.segment(c.at(16), other("X", 8), how{seq: far})
			c.send(16, 40, how{})
		}))
	}
	add(class, "keep-alive without data", exact, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 40, how{})
		c.segment(c.at(40)-1, nil, how{})
		c.send(40, -1, how{})
	})
	add(class, "keep-alive with a byte that is acknowledged", either, func(c *client) {
		c.connect()
		c.sendHead()
		c.send(0, 40, how{})
		c.segment(c.at(39), []byte{0}, how{})
		c.send(40, -1, how{})
	})
	add(class, "acknowledgements of nothing", either, around(func(c *client) {
		c.segment(c.at(16), nil, how{ackMove: 5000})
		c.send(16, 24, how{ackMove: 5000})
		c.send(16, 40, how{})
	}))
	add(class, "data without ACK", either, around(func(c *client) {
		c.forge("X", 16, 40, how{noAck: true})
		c.send(16, 40, how{})
	}))
	add(class, "data with no flag at all", either, around(func(c *client) {
		c.send(16, 40, how{noAck: true})
		c.send(16, 40, how{})
	}))
	stamp := func(n byte) []byte { return []byte{1, 1, 8, 10, 0, 0, 0, n, 0, 0, 0, 0} }
	add(class, "old time stamp, other bytes", told, func(c *client) {
		c.opts = stamp(100)
		c.syn(how{})
		c.segment(0, nil, how{options: stamp(100)})
		c.segment(0, c.head, how{options: stamp(101)})
		c.forge("X", 0, 32, how{options: stamp(7)})
		c.send(0, 32, how{options: stamp(102)})
		c.send(32, -1, how{options: stamp(103)})
	})
}

func midway(add adder) {
	const class = "handshake not captured"
	rest := func(c *client) {
		c.sendHead()
		c.send(0, 40, how{})
		c.send(40, -1, how{})
		c.finish()
	}
	hide := func(syn, synAck, ack bool) func(c *client) {
		return func(c *client) {
			c.record = !synAck
			c.syn(how{decoy: false, hidden: syn})
			c.record = true
			c.segment(0, nil, how{hidden: ack})
			rest(c)
		}
	}
	add(class, "no SYN", exact, hide(true, false, false))
	add(class, "no SYN-ACK", exact, hide(false, true, false))
	add(class, "no ACK", exact, hide(false, false, true))
	add(class, "no SYN and no SYN-ACK", exact, hide(true, true, false))
	add(class, "nothing", exact, func(c *client) { c.connect(true); rest(c) })
	orders := permutations(4)
	for _, order := range orders {
		add("captures that begin in the middle", fmt.Sprintf("pieces in order %v", order), exact, func(c *client) {
			c.connect(true)
			for _, i := range order {
				switch i {
				case 0:
					c.sendHead()
				default:
					c.send([]int{0, 0, 16, 40}[i], []int{0, 16, 40, 64}[i], how{})
				}
			}
			c.finish()
		})
	}
	add("captures that begin in the middle", "the first piece comes again with other bytes", told, func(c *client) {
		c.connect(true)
		c.sendHead()
		c.forge("X", 0, 16, how{})
		c.forge("Y", 0, 16, how{})
		c.send(16, -1, how{})
		c.finish()
	})
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for i := range n {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

func lates(add adder) {
	const class = "late in the capture"
	for _, n := range []int{1, 3, 15, 17, 40, 500, 3000} {
		for _, first := range []bool{false, true} {
			add(class, fmt.Sprintf("%d segments late, first %v", n, first), either, func(c *client) {
				c.connect()
				c.sendHead()
				hole := span{0, 8}
				if !first {
					c.send(0, 8, how{})
					hole = span{8, 16}
				}
				// The kernel gets everything in order; the capture shows one segment late.
				c.send(hole.from, hole.to, how{hidden: true})
				for i := range n {
					c.send(hole.to+i%(bodySize-hole.to), hole.to+i%(bodySize-hole.to)+1, how{})
				}
				c.send(hole.from, hole.to, how{decoy: true})
				c.send(hole.to, -1, how{})
				c.finish()
			})
		}
	}
	for _, n := range []int{1, 5, 15, 60} {
		add(class, fmt.Sprintf("acknowledged %d packets before", n), exact, around(func(c *client) {
			c.send(16, 40, how{hidden: true})
			for range n {
				c.segment(c.at(40), nil, how{})
				c.out.write(ipPacket(c.server.Addr(), c.client.Addr(), protoTCP, 0, 64,
					tcpSegment(c.server, c.client, c.peer.isn+1, c.isn+1+uint32(c.at(40)), ack_, 500, 0, nil, nil)))
			}
			c.send(16, 40, how{decoy: true})
		}))
	}
	add(class, "the server sees the reverse order", exact, around(func(c *client) {
		for i := 39; i >= 16; i-- {
			c.send(i, i+1, how{})
		}
	}))
	add(class, "one-byte segments", exact, func(c *client) {
		c.connect()
		for i := range c.text {
			c.segment(i, c.text[i:i+1], how{})
		}
		c.finish()
	})
	add(class, "all sent again in one segment", exact, around(func(c *client) {
		c.send(16, 40, how{})
		c.segment(0, c.text[:c.at(40)], how{})
	}))
	add(class, "all sent again in one segment with one other byte", told, around(func(c *client) {
		c.send(16, 40, how{})
		data := slices.Clone(c.text[:c.at(40)])
		data[c.at(3)] = 'X'
		c.segment(0, data, how{})
	}))
}

func views(add adder) {
	const class = "seen twice"
	twice := func(play func(c *client)) func(c *client) {
		return func(c *client) {
			c.stage.out.copies = 2
			play(c)
			c.stage.out.copies = 1
		}
	}
	add(class, "honest", exact, twice(around(func(c *client) { c.send(16, 40, how{}) })))
	add(class, "out of order", exact, twice(around(func(c *client) { c.send(24, 40, how{}); c.send(16, 24, how{}) })))
	add(class, "other bytes", told, twice(around(func(c *client) { c.forge("X", 24, 40, how{}); c.forge("Y", 16, 32, how{}) })))
	add(class, "sent again", exact, twice(around(func(c *client) { c.send(16, 40, how{}); c.send(16, 40, how{}) })))
	add(class, "from the middle", exact, twice(func(c *client) {
		c.connect(true)
		c.send(0, 40, how{})
		c.sendHead()
		c.send(40, -1, how{})
		c.finish()
	}))
}

// fragmentCases are fragments that contradict each other.
func fragmentCases() (list []testCase) {
	for _, v6 := range []bool{false, true} {
		add := func(name string, w want, udp bool, play func(c *client)) {
			list = append(list, testCase{class: "odd fragments and datagrams", name: name + " " + family(v6), v6: v6, want: w, udp: udp, play: play})
		}
		datagram := func(c *client) []byte { return udpDatagram(c.client, c.server, c.text[len(c.head):]) }
		send := func(c *client, l4 []byte, from, to int, more bool, h how) {
			p := fragment(c.client.Addr(), c.server.Addr(), protoUDP, c.id, from, more, l4[from:to])
			if h.badIP {
				p[10] ^= 0x55
			}
			c.copies.note(from-(len(l4)-bodySize), l4[from:to])
			c.emit(p, h)
		}
		add("two ends", either, true, func(c *client) {
			l4 := datagram(c)
			send(c, l4, 0, 24, true, how{})
			send(c, l4, 24, 48, false, how{})
			send(c, l4, 24, 72, false, how{})
		})
		add("beyond the end", either, true, func(c *client) {
			l4 := datagram(c)
			send(c, l4, 24, 48, false, how{})
			send(c, l4, 48, 72, true, how{})
			send(c, l4, 0, 24, true, how{})
		})
		add("the same fragment again", equal, true, func(c *client) {
			l4 := datagram(c)
			send(c, l4, 0, 24, true, how{})
			send(c, l4, 0, 24, true, how{})
			send(c, l4, 24, 72, false, how{})
		})
		add("last first", exact, true, func(c *client) {
			l4 := datagram(c)
			send(c, l4, 48, 72, false, how{})
			send(c, l4, 24, 48, true, how{})
			send(c, l4, 0, 24, true, how{})
		})
		add("one that never arrives, with other bytes", told, true, func(c *client) {
			l4 := datagram(c)
			send(c, l4, 0, 24, true, how{})
			send(c, turn(l4, 1), 24, 48, true, how{decoy: true})
			send(c, l4, 24, 48, true, how{})
			send(c, l4, 48, 72, false, how{})
		})
		add("wrong UDP checksum, then right", equal, true, func(c *client) {
			bad := datagram(c)
			bad[30] ^= 1
			c.emit(ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 7, 64, bad), how{})
			c.emit(ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 8, 64, datagram(c)), how{})
		})
		add("wrong UDP checksum alone", either, true, func(c *client) {
			bad := datagram(c)
			bad[30] ^= 1
			c.emit(ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 7, 64, bad), how{})
		})
		add("wrong checksum of the joined datagram, then right", equal, true, func(c *client) {
			bad := datagram(c)
			bad[30] ^= 1
			send(c, bad, 0, 24, true, how{})
			send(c, bad, 24, 72, false, how{})
			c.id++
			c.emit(ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 8, 64, datagram(c)), how{})
		})
		if v6 {
			continue
		}
		add("other bytes in a fragment with a wrong IP checksum", either, true, func(c *client) {
			l4 := datagram(c)
			send(c, l4, 0, 24, true, how{})
			send(c, turn(l4, 1), 24, 48, true, how{badIP: true})
			send(c, l4, 24, 48, true, how{})
			send(c, l4, 48, 72, false, how{})
		})
		add("UDP without checksum", exact, true, func(c *client) {
			l4 := datagram(c)
			l4[6], l4[7] = 0, 0
			c.emit(ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 8, 64, l4), how{})
		})
		add("wrong IP checksum, then right", equal, true, func(c *client) {
			p := ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 7, 64, datagram(c))
			p[10] ^= 0x55
			p[50] ^= 1
			c.emit(p, how{})
			c.emit(ipPacket(c.client.Addr(), c.server.Addr(), protoUDP, 8, 64, datagram(c)), how{})
		})
	}
	return list
}
