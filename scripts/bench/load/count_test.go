//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"testing"
)

func pcap(packets ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, make([]byte, 20)...)
	for _, p := range packets {
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func block(kind uint32, body []byte) []byte {
	n := uint32(len(body) + 12)
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, n)
}

func packetBlock(drops uint64) []byte {
	body := make([]byte, 12, 64)
	body = binary.LittleEndian.AppendUint32(body, 5)
	body = binary.LittleEndian.AppendUint32(body, 5)
	body = append(body, "hello\x00\x00\x00"...)
	if drops > 0 {
		body = binary.LittleEndian.AppendUint32(body, 4|8<<16)
		body = binary.LittleEndian.AppendUint64(body, drops)
	}
	return block(6, body)
}

func TestCount(t *testing.T) {
	section := block(0x0a0d0d0a, make([]byte, 16))
	ng := append(append(append([]byte(nil), section...), packetBlock(0)...), packetBlock(7)...)
	for _, c := range []struct {
		name          string
		data          []byte
		packets, told uint64
		err           error
	}{
		{"a pcap file with two packets", pcap("one", "three"), 2, 0, nil},
		{"a pcap file with none", pcap(), 0, 0, nil},
		{"a pcap file cut in its last packet", pcap("one", "three")[:24+16+3+16+2], 1, 0, errCut},
		{"PCAPNG with a packet that reports seven lost", ng, 2, 7, nil},
		{"PCAPNG cut in its last block", ng[:len(ng)-1], 1, 0, errCut},
		{"nothing", nil, 0, 0, errCut},
	} {
		t.Run(c.name, func(t *testing.T) {
			packets, told, err := count(c.data)
			if packets != c.packets || told != c.told || !errors.Is(err, c.err) {
				t.Errorf("count = %d, %d, %v; want %d, %d, %v", packets, told, err, c.packets, c.told, c.err)
			}
		})
	}
}

func FuzzCount(f *testing.F) {
	f.Add(pcap("one", "three"))
	f.Add(append(block(0x0a0d0d0a, make([]byte, 16)), packetBlock(7)...))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _, _ = count(data) })
}
