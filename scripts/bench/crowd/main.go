// Command crowd writes a capture of many connections that are open at the same time.
//
//	crowd -conns 30000 -calls 2 > keepalive.pcap     all send a request, then all get the response, twice
//	crowd -conns 10000 -unanswered -size 27000 > unanswered.pcap
//
// The same arguments give the same bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	conns := flag.Int("conns", 30_000, "connections")
	calls := flag.Int("calls", 2, "requests of each connection")
	size := flag.Int("size", 0, "bytes of each request's body")
	turns := flag.Bool("turns", false, "each response follows its request, so that no two calls wait at once")
	unanswered := flag.Bool("unanswered", false, "leave out all responses")
	flag.Parse()
	w := &writer{out: bufio.NewWriterSize(os.Stdout, 1<<20)}
	w.header()
	list := make([]conn, *conns)
	for i := range list {
		list[i] = conn{client: uint32(10<<24 | i/50_000<<16 | 1), port: uint16(10_000 + i%50_000), seq: [2]uint32{uint32(i) * 7919, uint32(i) * 104729}}
		w.open(&list[i])
	}
	for call := range *calls {
		for i := range list {
			w.request(&list[i], i, call, *size)
			if *turns && !*unanswered {
				w.response(&list[i], i)
			}
		}
		for i := range list {
			if !*turns && !*unanswered {
				w.response(&list[i], i)
			}
		}
	}
	if err := w.out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

// conn is one connection and the next sequence numbers of its two sides.
type conn struct {
	client uint32
	port   uint16
	seq    [2]uint32
}

const (
	server     = 10<<24 | 255<<16 | 1
	serverPort = 8080
	maxSegment = 1448
)

// TCP flags.
const (
	syn = 2
	ack = 16
)

type writer struct {
	out *bufio.Writer
	us  uint64 // since 2026-01-01
	id  uint16
	buf []byte
}

// header begins a pcap file of raw IPv4.
func (w *writer) header() {
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 65535, 101} {
		w.buf = binary.LittleEndian.AppendUint32(w.buf, v)
	}
	w.out.Write(w.buf)
}

func (w *writer) open(c *conn) {
	w.segment(c, 0, syn, "")
	c.seq[0]++
	w.segment(c, 1, syn|ack, "")
	c.seq[1]++
	w.segment(c, 0, ack, "")
}

func (w *writer) request(c *conn, no, call, size int) {
	method := "GET"
	if size > 0 {
		method = "POST"
	}
	w.send(c, 0, fmt.Sprintf("%s /orders/%d/%d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: crowd/1\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n%s",
		method, no, call, size, strings.Repeat("x", size)))
}

func (w *writer) response(c *conn, no int) {
	w.send(c, 1, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\norder %06d", no%1_000_000))
}

func (w *writer) send(c *conn, side int, text string) {
	for len(text) > 0 {
		n := min(len(text), maxSegment)
		w.segment(c, side, ack, text[:n])
		c.seq[side] += uint32(n)
		text = text[n:]
	}
}

// segment writes one packet without checksums, as captured with checksum offloading.
func (w *writer) segment(c *conn, side int, flags byte, text string) {
	src, dst, sport, dport := c.client, uint32(server), c.port, uint16(serverPort)
	if side == 1 {
		src, dst, sport, dport = dst, src, dport, sport
	}
	w.us += 5
	w.id++
	size := uint32(40 + len(text))
	b := w.buf[:0]
	for _, v := range []uint32{uint32(1767225600 + w.us/1e6), uint32(w.us % 1e6), size, size} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = binary.BigEndian.AppendUint16(b, w.id)
	b = append(b, 0x40, 0, 64, 6, 0, 0)
	b = binary.BigEndian.AppendUint32(b, src)
	b = binary.BigEndian.AppendUint32(b, dst)
	b = binary.BigEndian.AppendUint16(b, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint32(b, c.seq[side])
	b = binary.BigEndian.AppendUint32(b, c.seq[side^1])
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	w.out.Write(b)
	w.out.WriteString(text)
	w.buf = b
}
