package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// packet is an IPv4 packet of an Ethernet capture.
type packet struct {
	ns       int64
	data     []byte
	src, dst int // ports
	seq      uint32
	payload  []byte // of TCP or UDP
	syn      bool
}

const etherIPv4 = 14

// readPackets reads a little-endian pcap with nanoseconds, as written by tcpdump here.
func readPackets(path string) (list []packet, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	le, be := binary.LittleEndian, binary.BigEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b23c4d {
		return nil, errors.New("no pcap with nanoseconds")
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(le.Uint32(b[8:]))
		p := packet{ns: int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:])), data: b[16 : 16+n]}
		b = b[16+n:]
		if n < etherIPv4+20 || p.data[12] != 8 || p.data[13] != 0 {
			return nil, errors.New("a packet that is not IPv4")
		}
		ip := p.data[etherIPv4:]
		ip = ip[:be.Uint16(ip[2:])]
		t := ip[int(ip[0]&15)*4:]
		p.src, p.dst = int(be.Uint16(t)), int(be.Uint16(t[2:]))
		switch ip[9] {
		case 6:
			p.seq, p.payload, p.syn = be.Uint32(t[4:]), t[int(t[12]>>4)*4:], t[13]&2 != 0
		case 17:
			p.payload = t[8:]
		default:
			return nil, fmt.Errorf("a packet of protocol %d", ip[9])
		}
		list = append(list, p)
	}
	return list, nil
}

// writePackets writes packets as a pcap.
func writePackets(path string, list []packet) error {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b23c4d)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(le.AppendUint32(b, 131072), 1)
	for _, p := range list {
		b = le.AppendUint32(le.AppendUint32(b, uint32(p.ns/1e9)), uint32(p.ns%1e9))
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(p.data))), uint32(len(p.data)))
		b = append(b, p.data...)
	}
	return os.WriteFile(path, b, 0o600)
}

// pcapng writes the packets as a PCAPNG with one interface, and a key log before or after them in a
// decryption secrets block.
func pcapng(list []packet, keys []byte, after bool) []byte {
	le := binary.LittleEndian
	block := func(b []byte, kind uint32, body []byte) []byte {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		n := uint32(12 + len(body))
		b = le.AppendUint32(le.AppendUint32(b, kind), n)
		return le.AppendUint32(append(b, body...), n)
	}
	secrets := le.AppendUint32(le.AppendUint32(nil, 0x544c534b), uint32(len(keys))) // TLSK
	secrets = append(secrets, keys...)
	b := block(nil, 0x0a0d0d0a, []byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255})
	b = block(b, 1, []byte{1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0}) // Ethernet, nanoseconds
	if !after {
		b = block(b, 0x0a, secrets)
	}
	for _, p := range list {
		body := le.AppendUint32(le.AppendUint32(make([]byte, 4), uint32(p.ns>>32)), uint32(p.ns))
		body = le.AppendUint32(le.AppendUint32(body, uint32(len(p.data))), uint32(len(p.data)))
		b = block(b, 6, append(body, p.data...))
	}
	if after {
		b = block(b, 0x0a, secrets)
	}
	return b
}
