package main

import (
	"bufio"
	"container/heap"
	"encoding/binary"
)

// packet is queued to be written in order of time.
type packet struct {
	at   int64
	no   int
	data []byte
}

type queue []packet

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].no < q[j].no
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(packet)) }
func (q *queue) Pop() any {
	old := *q
	p := old[len(old)-1]
	old[len(old)-1].data = nil
	*q = old[:len(old)-1]
	return p
}

// wire writes Ethernet packets to a classic pcap file with nanoseconds.
type wire struct {
	w       *bufio.Writer
	q       queue
	packets int
	err     error
}

func (w *wire) header() {
	var h [24]byte
	binary.LittleEndian.PutUint32(h[0:], 0xa1b23c4d)
	binary.LittleEndian.PutUint16(h[4:], 2)
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], 262144)
	binary.LittleEndian.PutUint32(h[20:], 1)
	_, w.err = w.w.Write(h[:])
}

// flush writes the packets before a time.
func (w *wire) flush(before int64) {
	for len(w.q) > 0 && w.q[0].at < before && w.err == nil {
		p := heap.Pop(&w.q).(packet)
		var h [16]byte
		binary.LittleEndian.PutUint32(h[0:], uint32(p.at/1e9))
		binary.LittleEndian.PutUint32(h[4:], uint32(p.at%1e9))
		binary.LittleEndian.PutUint32(h[8:], uint32(len(p.data)))
		binary.LittleEndian.PutUint32(h[12:], uint32(len(p.data)))
		if _, w.err = w.w.Write(h[:]); w.err == nil {
			_, w.err = w.w.Write(p.data)
		}
	}
}

func (w *wire) push(at int64, data []byte) {
	w.packets++
	heap.Push(&w.q, packet{at, w.packets, data})
}

type end struct {
	ip   [4]byte
	port int
}

// ip begins a packet: Ethernet and IPv4, without payload.
func ip(from, to end, proto byte, size int) []byte {
	b := make([]byte, 34, 34+size)
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0})
	binary.BigEndian.PutUint16(b[16:], uint16(20+size))
	b[20], b[22], b[23] = 0x40, 64, proto
	copy(b[26:], from.ip[:])
	copy(b[30:], to.ip[:])
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum))
	return b
}

func (w *wire) tcp(at int64, from, to end, seq, ack uint32, flags byte, payload string) {
	b := ip(from, to, 6, 20+len(payload))
	var h [20]byte
	binary.BigEndian.PutUint16(h[0:], uint16(from.port))
	binary.BigEndian.PutUint16(h[2:], uint16(to.port))
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13] = 5<<4, flags
	binary.BigEndian.PutUint16(h[14:], 65000)
	w.push(at, append(append(b, h[:]...), payload...))
}

func (w *wire) udp(at int64, from, to end, payload []byte) {
	b := ip(from, to, 17, 8+len(payload))
	var h [8]byte
	binary.BigEndian.PutUint16(h[0:], uint16(from.port))
	binary.BigEndian.PutUint16(h[2:], uint16(to.port))
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	w.push(at, append(append(b, h[:]...), payload...))
}
