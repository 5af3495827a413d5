package derive

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// Longest blocks of bytes that are not compressed.
const (
	deflateBlock = 65535     // RFC 1951 section 3.2.4
	zstdBlock    = 128 << 10 // RFC 8878 section 3.1.1.2
	brotliBlock  = 65536     // RFC 7932 section 9.2, with four nibbles
)

// stored returns an encoding of exactly size bytes that decodes to a run of the fill byte. ok is
// false if size is too small for one, or the coding is unknown.
func stored(coding string, size int) (out []byte, ok bool) {
	before, after, block, head := 0, 0, 0, 0
	switch coding {
	case "gzip", "x-gzip":
		before, after, block, head = 10, 8, deflateBlock, 5
	case "deflate":
		before, after, block, head = 2, 4, deflateBlock, 5
	case "zstd":
		before, block, head = 6, zstdBlock, 3
	case "br":
		after, block, head = 1, brotliBlock, 3
	default:
		return nil, false
	}
	room := size - before - after
	blocks := max(1, (room+block+head-1)/(block+head))
	n := room - blocks*head
	if n < blocks { // Brotli has no empty block
		return nil, false
	}
	text := []byte(strings.Repeat(string(fill), n))
	switch coding {
	case "gzip", "x-gzip":
		out = append(out, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
	case "deflate":
		out = append(out, 0x78, 0x01)
	case "zstd":
		out = append(out, 0x28, 0xb5, 0x2f, 0xfd, 0, 7<<3) // no checksum, a window of 128 KiB
	}
	for rest := text; len(rest) > 0; {
		part := rest[:min(len(rest), block)]
		if left := len(rest) - len(part); left == 0 && blocks > 1 {
			part = rest
		} else if blocks > 1 && left < blocks-1 { // leave a byte for each block
			part = rest[:len(rest)-(blocks-1)]
		}
		rest = rest[len(part):]
		blocks--
		last := byte(0)
		if len(rest) == 0 {
			last = 1
		}
		switch coding {
		case "zstd":
			h := uint32(last) | uint32(len(part))<<3
			out = append(out, byte(h), byte(h>>8), byte(h>>16))
		case "br":
			// ISLAST 0, MNIBBLES 4, MLEN-1, ISUNCOMPRESSED 1; the first block follows WBITS, one bit.
			h := uint32(len(part)-1)<<3 | 1<<19
			if len(out) == 0 {
				h <<= 1
			}
			out = append(out, byte(h), byte(h>>8), byte(h>>16))
		default:
			out = append(out, last)
			out = binary.LittleEndian.AppendUint16(out, uint16(len(part)))
			out = binary.LittleEndian.AppendUint16(out, ^uint16(len(part)))
		}
		out = append(out, part...)
	}
	switch coding {
	case "gzip", "x-gzip":
		out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(text))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	case "deflate":
		out = binary.BigEndian.AppendUint32(out, adler32.Checksum(text))
	case "br":
		out = append(out, 3) // ISLAST and ISLASTEMPTY
	}
	return out, len(out) == size
}

// recode compresses text to exactly size bytes. ok is false if it does not get that small, or the
// format has no way to fill the rest.
func recode(coding string, text []byte, size int) (out []byte, ok bool) {
	switch coding {
	case "gzip", "x-gzip":
		const head, foot = 10, 8
		body := deflated(text, flate.BestCompression)
		spare := size - head - foot - len(body)
		if spare < 0 {
			return nil, false
		}
		out = append(out, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
		if spare > 0 { // a name takes any number of bytes, RFC 1952 section 2.3.1
			out[3] = 1 << 3
			out = append(out, strings.Repeat(string(fill), spare-1)+"\x00"...)
		}
		out = append(out, body...)
		out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(text))
		return binary.LittleEndian.AppendUint32(out, uint32(len(text))), true
	case "deflate":
		for level := flate.BestCompression; level >= flate.BestSpeed; level-- {
			body := deflated(text, level)
			spare := size - 6 - len(body)
			if spare < 0 || spare%5 != 0 {
				continue
			}
			out = append(out, 0x78, 0x01)
			out = append(out, bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, spare/5)...) // empty blocks
			out = append(out, body...)
			return binary.BigEndian.AppendUint32(out, adler32.Checksum(text)), true
		}
	case "zstd":
		const skip = 8 // head of a skippable frame, RFC 8878 section 3.1.2
		for level := zstd.SpeedBestCompression; level >= zstd.SpeedFastest; level-- {
			e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1))
			if err != nil {
				return nil, false
			}
			out = e.EncodeAll(text, nil)
			_ = e.Close()
			switch spare := size - len(out); {
			case spare == 0:
				return out, true
			case spare >= skip:
				out = binary.LittleEndian.AppendUint32(out, 0x184D2A50)
				out = binary.LittleEndian.AppendUint32(out, uint32(spare-skip))
				return append(out, make([]byte, spare-skip)...), true
			}
		}
	}
	return nil, false
}

func deflated(text []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil // a buffer takes everything, and the levels are fixed
	}
	return b.Bytes()
}
