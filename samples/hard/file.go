package hard

import (
	"encoding/binary"
	"slices"
)

// Block types, draft-ietf-opsawg-pcapng section 11.1.
const (
	sectionBlock    = 0x0a0d0d0a
	interfaceBlock  = 1
	simpleBlock     = 3
	namesBlock      = 4
	statisticsBlock = 5
	packetBlock     = 6
	secretsBlock    = 10
)

// pcap writes a classic capture with nanoseconds, little-endian.
func pcap(packets []packet) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b23c4d)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, 262144)
	b = le.AppendUint32(b, linkEthernet)
	for i, p := range packets {
		at := uint64(start + i*step)
		b = le.AppendUint32(b, uint32(at/1e9))
		b = le.AppendUint32(b, uint32(at%1e9))
		b = le.AppendUint32(b, uint32(len(p.frame)))
		b = le.AppendUint32(b, uint32(p.length()))
		b = append(b, p.frame...)
	}
	return b
}

func (p packet) length() int {
	if p.original > 0 {
		return p.original
	}
	return len(p.frame)
}

// order is a byte order that can also append.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// ng writes PCAPNG blocks.
type ng struct {
	b  []byte
	at int // packets so far
	order
}

func newNG(o order) *ng {
	w := &ng{order: o}
	w.section()
	return w
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

func (w *ng) block(kind uint32, body []byte) {
	size := uint32(12 + len(body) + -len(body)&3)
	w.b = w.AppendUint32(w.AppendUint32(w.b, kind), size)
	w.b = w.AppendUint32(append(w.b, pad(slices.Clone(body))...), size)
}

func (w *ng) option(code uint16, value []byte) []byte {
	b := w.AppendUint16(w.AppendUint16(nil, code), uint16(len(value)))
	return pad(append(b, value...))
}

func (w *ng) end() []byte { return make([]byte, 4) }

func (w *ng) section() {
	b := w.AppendUint32(nil, 0x1a2b3c4d)
	b = w.AppendUint16(b, 1)
	b = w.AppendUint16(b, 0)
	b = w.AppendUint64(b, 1<<64-1) // length not known
	w.block(sectionBlock, slices.Concat(b, w.option(4, []byte("pcapsule samples/hard")), w.end()))
}

// iface declares an Ethernet interface with nanoseconds.
func (w *ng) iface(name string) {
	b := w.AppendUint16(nil, linkEthernet)
	b = w.AppendUint16(b, 0)
	b = w.AppendUint32(b, 262144)
	w.block(interfaceBlock, slices.Concat(b, w.option(2, []byte(name)), w.option(9, []byte{9}), w.end()))
}

func (w *ng) now() uint64 { return uint64(start + w.at*step) }

func (w *ng) time() []byte {
	at := w.now()
	return w.AppendUint32(w.AppendUint32(nil, uint32(at>>32)), uint32(at))
}

func (w *ng) packet(iface uint32, p packet, options ...[]byte) {
	b := append(w.AppendUint32(nil, iface), w.time()...)
	b = w.AppendUint32(b, uint32(len(p.frame)))
	b = w.AppendUint32(b, uint32(p.length()))
	b = append(b, pad(slices.Clone(p.frame))...)
	if len(options) > 0 {
		b = slices.Concat(b, slices.Concat(options...), w.end())
	}
	w.block(packetBlock, b)
	w.at++
}

func (w *ng) packets(iface uint32, list []packet) {
	for _, p := range list {
		w.packet(iface, p)
	}
}

// simple writes a packet without time and interface.
func (w *ng) simple(p packet) {
	w.block(simpleBlock, append(w.AppendUint32(nil, uint32(p.length())), p.frame...))
	w.at++
}

// names gives an address its name.
func (w *ng) names(ip, name string) {
	value := append(append(addr(ip), name...), 0)
	b := w.AppendUint16(w.AppendUint16(nil, 1), uint16(len(value)))
	w.block(namesBlock, slices.Concat(b, pad(value), w.end()))
}

// secrets holds a TLS key log.
func (w *ng) secrets(keylog string) {
	b := w.AppendUint32(nil, 0x544c534b)
	w.block(secretsBlock, append(w.AppendUint32(b, uint32(len(keylog))), keylog...))
}

// statistics says what an interface received and lost.
func (w *ng) statistics(iface uint32, received, dropped uint64) {
	b := append(w.AppendUint32(nil, iface), w.time()...)
	w.block(statisticsBlock, slices.Concat(b, w.option(4, w.AppendUint64(nil, received)), w.option(5, w.AppendUint64(nil, dropped)), w.end()))
}
