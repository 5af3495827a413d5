// Command floods writes captures that cost a careless reader much more than their size.
//
//	floods dns 100000 > dns.pcap        answered questions, each from a port of its own
//	floods gets 50000 > gets.pcap       connections with five requests each that nobody answers
//	floods syn 1000000 > syn.pcap       connections that nobody accepts
//	floods streams 400000 > streams.pcap  streams of HTTP/2 that stay open
//
// The same arguments give the same bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/pcapsule/pcapsule/samples/frames"
)

const server = 0x0a800001

var kinds = map[string]func(w *writer, n int){"dns": dns, "gets": gets, "syn": syn, "streams": streams}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "floods:", err)
		os.Exit(1)
	}
}

func run(args []string, to io.Writer) error {
	if len(args) != 2 || kinds[args[0]] == nil {
		return fmt.Errorf("want dns, gets, syn or streams, and a number")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of at least 1", args[1])
	}
	w := &writer{out: bufio.NewWriterSize(to, 1<<20)}
	w.header()
	kinds[args[0]](w, n)
	return w.out.Flush()
}

type writer struct {
	out *bufio.Writer
	us  uint64 // since 2026-01-01
	buf []byte
}

// header begins a pcap file of Ethernet.
func (w *writer) header() {
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, 1} {
		w.buf = binary.LittleEndian.AppendUint32(w.buf, v)
	}
	w.out.Write(w.buf)
}

// frame writes what add appends as one packet, 10 µs after the one before.
func (w *writer) frame(add func(to []byte, id int) []byte) {
	w.us += 10
	w.buf = add(append(w.buf[:0], make([]byte, 16)...), int(w.us/10))
	size := uint32(len(w.buf) - 16)
	for i, v := range []uint32{uint32(1767225600 + w.us/1e6), uint32(w.us % 1e6), size, size} {
		binary.LittleEndian.PutUint32(w.buf[4*i:], v)
	}
	w.out.Write(w.buf)
}

// from is the address and port of client i.
func from(i int) (addr uint32, port uint16) {
	return 0x0a000000 + uint32(i/50_000), uint16(10_000 + i%50_000)
}

func dns(w *writer, n int) {
	for i := range n {
		a, p := from(i)
		question := frames.Query(uint16(i), fmt.Sprintf("host-%06d.shop.example", i))
		w.frame(func(to []byte, _ int) []byte { return frames.AppendUDP(to, a, server, p, 53, []byte(question)) })
		w.frame(func(to []byte, _ int) []byte {
			return frames.AppendUDP(to, server, a, 53, p, []byte(frames.Reply(question, byte(i))))
		})
	}
}

// TCP flags.
const (
	synFlag = 2
	ackFlag = 16
)

func gets(w *writer, n int) {
	open(w, n)
	at := uint32(101)
	for call := range 5 {
		var size int
		for i := range n {
			a, p := from(i)
			text := fmt.Sprintf("GET /orders/%06d/%d HTTP/1.1\r\nHost: shop.example\r\n\r\n", i, call)
			size = len(text)
			w.frame(func(to []byte, id int) []byte {
				return frames.AppendTCP(to, a, server, p, 80, at, 501, ackFlag, id, []byte(text))
			})
		}
		at += uint32(size)
	}
}

func open(w *writer, n int) {
	for i := range n {
		a, p := from(i)
		w.frame(func(to []byte, id int) []byte {
			return frames.AppendTCP(to, a, server, p, 80, 100, 0, synFlag, id, nil)
		})
		w.frame(func(to []byte, id int) []byte {
			return frames.AppendTCP(to, server, a, 80, p, 500, 101, synFlag|ackFlag, id, nil)
		})
	}
}

func syn(w *writer, n int) {
	for i := range n {
		w.frame(func(to []byte, id int) []byte {
			return frames.AppendTCP(to, 0x0b000000+uint32(i)*2654435761>>8, server, uint16(i), 80, uint32(i)*7919, 0, synFlag, id, nil)
		})
	}
}

func streams(w *writer, n int) {
	const conns, each = 64, 50
	start := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	var seq [conns]uint32
	var last [conns]uint32
	send := func(c int, data string) {
		a, p := from(c)
		w.frame(func(to []byte, id int) []byte {
			return frames.AppendTCP(to, a, server, p, 80, 101+seq[c], 501, ackFlag, id, []byte(data))
		})
		seq[c] += uint32(len(data))
	}
	open(w, conns)
	for c := range conns {
		send(c, start)
	}
	for i := 0; i < n; i += each {
		var data []byte
		c := i / each % conns
		for range each {
			data = append(data, 0, 0, 9, 1, 5)
			data = binary.BigEndian.AppendUint32(data, last[c]*2+1)
			data = append(data, "\x82\x84\x86\x41\x04shop"...)
			last[c]++
		}
		send(c, string(data))
	}
}
