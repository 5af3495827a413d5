//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var errCut = errors.New("the file ends inside a packet")

// countFile counts the packets of a capture and the losses in its packets (epb_dropcount). It reads
// only headers, so that gigabytes take a moment.
func countFile(path string) (packets, told uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if info.Size() == 0 {
		return 0, 0, fmt.Errorf("counting %s: the file is empty", path)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, 0, fmt.Errorf("mapping %s: %w", path, err)
	}
	defer func() { _ = unix.Munmap(data) }()
	if packets, told, err = count(data); err != nil {
		err = fmt.Errorf("counting %s: %w", path, err)
	}
	return packets, told, err
}

// count knows both formats in the byte order of this machine's tools.
func count(data []byte) (packets, told uint64, err error) {
	if len(data) < 24 {
		return 0, 0, errCut
	}
	switch magic := binary.LittleEndian.Uint32(data); magic {
	case 0x0a0d0d0a:
		return countBlocks(data)
	case 0xa1b2c3d4, 0xa1b23c4d:
		for data = data[24:]; len(data) > 0; packets++ {
			if len(data) < 16 {
				return packets, 0, errCut
			}
			n := uint64(binary.LittleEndian.Uint32(data[8:])) + 16
			if n > uint64(len(data)) {
				return packets, 0, errCut
			}
			data = data[n:]
		}
		return packets, 0, nil
	default:
		return 0, 0, fmt.Errorf("first bytes %08x: want a little-endian pcap or PCAPNG file", magic)
	}
}

func countBlocks(data []byte) (packets, told uint64, err error) {
	for len(data) > 0 {
		if len(data) < 12 {
			return packets, told, errCut
		}
		n := binary.LittleEndian.Uint32(data[4:])
		if n < 12 || n%4 != 0 {
			return packets, told, fmt.Errorf("block length %d, want a multiple of 4 from 12", n)
		}
		if uint64(n) > uint64(len(data)) {
			return packets, told, errCut
		}
		if binary.LittleEndian.Uint32(data) == 6 && n >= 32 {
			packets++
			told += dropCount(data[8 : n-4])
		}
		data = data[n:]
	}
	return packets, told, nil
}

// dropCount is epb_dropcount of an enhanced packet block's body, if it has one.
func dropCount(body []byte) uint64 {
	const end, drops = 0, 4
	kept := (uint64(binary.LittleEndian.Uint32(body[12:])) + 3) &^ 3
	if kept+20 > uint64(len(body)) {
		return 0
	}
	for o := body[20+kept:]; len(o) >= 4; {
		code, n := binary.LittleEndian.Uint16(o), (int(binary.LittleEndian.Uint16(o[2:]))+3)&^3
		if code == end || 4+n > len(o) {
			return 0
		}
		if code == drops && n == 8 {
			return binary.LittleEndian.Uint64(o[4:])
		}
		o = o[4+n:]
	}
	return 0
}
