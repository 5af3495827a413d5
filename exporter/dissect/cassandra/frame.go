package cassandra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Frames of version 5: a head with its CRC-24, a payload, and its CRC-32 (native_protocol_v5.spec,
// section 2.2).
const (
	plainHead  = 3 // payload length, 17 bits, and the flag that it is self-contained
	packedHead = 5 // length with and without compression, and the flag
	crcHead    = 3
	crcTail    = 4
	maxPayload = 1<<17 - 1
)

// side is the position in a message of several frames.
type side struct {
	call *call
	h    head
	body []byte
	left int64 // bytes of the body still to come
}

// crc24 is the checksum of a frame's head.
func crc24(b []byte) uint32 {
	crc := uint32(0x875060)
	for _, c := range b {
		crc ^= uint32(c) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1974f0b
			}
		}
	}
	return crc
}

func little(b []byte) (n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}

// isFrame reports whether b begins with the head of a frame.
func isFrame(b []byte, size int) bool {
	if len(b) < size+crcHead || uint64(crc24(b[:size])) != little(b[size:size+crcHead]) {
		return false
	}
	padding := little(b[:size]) >> (17*(size/2) + 1)
	return padding == 0
}

// payloadSum is the checksum of a frame's payload, which begins with 4 bytes that are not sent.
func payloadSum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte{0xfa, 0x2d, 0x55, 0xca}), crc32.IEEETable, b)
}

var errFrame = errors.New("reading a frame: its head has another checksum")

// readFrames reads whole frames.
func (k *conn) readFrames(in *dissect.Input) (int, error) {
	size := plainHead
	if k.compression != "" {
		size = packedHead
	}
	at := 0
	for at < len(in.Data) {
		b := in.Data[at:]
		if len(b) < size+crcHead {
			return at, nil
		}
		if !isFrame(b, size) {
			return at, errFrame
		}
		h := little(b[:size])
		n, plain := int(h&maxPayload), 0
		if size == packedHead {
			plain = int(h >> 17 & maxPayload)
		}
		whole := size + crcHead + n + crcTail
		if len(b) < whole {
			if at == 0 {
				k.Conn.Need(in.Dir, whole)
			}
			return at, nil
		}
		payload := b[size+crcHead : whole-crcTail]
		if payloadSum(payload) != binary.LittleEndian.Uint32(b[whole-crcTail:]) {
			return at, errors.New("reading a frame: its payload has another checksum")
		}
		if plain > 0 {
			out, err := k.Conn.Decompress("lz4-block", payload, plain)
			if err != nil || len(out) != plain {
				return at, fmt.Errorf("reading a frame: %d bytes instead of %d, %w", len(out), plain, err)
			}
			payload = out
		}
		if err := k.messages(in, at, whole, payload); err != nil {
			return at, err
		}
		at += whole
	}
	return at, nil
}

// messages reads the messages in the payload of the frame in.Data[at:at+size]. The frame counts for
// each of them.
func (k *conn) messages(in *dissect.Input, at, size int, b []byte) error {
	s := &k.sides[in.Dir]
	for len(b) > 0 {
		if s.left == 0 {
			if len(b) < headSize {
				return errors.New("reading a frame: a message's head goes over two frames")
			}
			h := readHead(b)
			if err := h.check(in.Dir); err != nil {
				return err
			}
			s.h, s.left, b = h, h.length, b[headSize:]
			c, err := k.begin(in.Dir, h)
			if err != nil {
				s.left = 0
				return err
			}
			s.call = c
		}
		n := int(min(s.left, int64(len(b))))
		if room := maxRead - len(s.body); room > 0 {
			s.body = append(s.body, b[:min(n, room)]...)
		}
		s.left -= int64(n)
		b = b[n:]
		if c := s.call; c != nil {
			c.x.Add(in, at, at+size)
		}
		if s.left == 0 {
			if err := k.message(in.Dir, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// message reads a message that is complete.
func (k *conn) message(dir dissect.Dir, s *side) error {
	c, h, body := s.call, s.h, s.body
	*s = side{body: body[:0]}
	if cap(body) > 4<<10 {
		s.body = nil
	}
	if c == nil {
		return nil
	}
	if err := k.fill(dir, c, h, body, int64(len(body)) < h.length); err != nil {
		return err
	}
	k.Ended(dir, c, "")
	return nil
}

// dropFrame ends a message that will not be complete.
func (k *conn) dropFrame(dir dissect.Dir, why string) {
	c := k.sides[dir].call
	k.sides[dir] = side{}
	if c == nil {
		return
	}
	if dir == dissect.ToServer && c.opcode != 0 {
		k.Put(int16(c.row.Stream), c, callCost)
		c.bad = why == string(dissect.LossMalformed)
		return
	}
	k.emit(c, why)
}
