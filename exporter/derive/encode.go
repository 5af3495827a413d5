package derive

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"strconv"
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

// container is the framing of a coding around and between blocks of bytes that are not compressed.
type container struct {
	before      []byte
	after, head int // bytes behind the blocks, and in front of each
	block       int // longest block
}

func containerOf(coding string) (c container, ok bool) {
	switch coding {
	case "gzip", "x-gzip":
		return container{[]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, 8, 5, deflateBlock}, true
	case "deflate":
		return container{[]byte{0x78, 0x01}, 4, 5, deflateBlock}, true
	case "zstd": // no checksum, a window of 128 KiB
		return container{[]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3}, 0, 3, zstdBlock}, true
	case "br":
		return container{nil, 1, 3, brotliBlock}, true
	}
	return c, false
}

// stored returns an encoding of exactly size bytes that decodes to a run of the fill byte. ok is
// false if size is too small for one, or the coding is unknown.
func stored(coding string, size int) (out []byte, ok bool) {
	if coding == "aws-chunked" {
		const frame = 24 // bytes around one chunk, at most, and of a trailer
		if size <= frame {
			return nil, false
		}
		return recode(coding, []byte(strings.Repeat(string(fill), size-frame)), size)
	}
	c, ok := containerOf(coding)
	if !ok {
		return nil, false
	}
	room := size - len(c.before) - c.after
	blocks := max(1, (room+c.block+c.head-1)/(c.block+c.head))
	n := room - blocks*c.head
	if n < blocks { // Brotli has no empty block
		return nil, false
	}
	text := []byte(strings.Repeat(string(fill), n))
	out = append(out, c.before...)
	for rest := text; len(rest) > 0; blocks-- {
		part := rest[:min(c.block, len(rest)-(blocks-1))] // a byte is left for each further block
		rest = rest[len(part):]
		out = append(storedHead(coding, out, len(part), len(rest) == 0), part...)
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

// storedHead appends the head of a block that is not compressed.
func storedHead(coding string, out []byte, n int, last bool) []byte {
	final := byte(0)
	if last {
		final = 1
	}
	switch coding {
	case "zstd":
		h := uint32(final) | uint32(n)<<3
		return append(out, byte(h), byte(h>>8), byte(h>>16))
	case "br":
		// ISLAST 0, MNIBBLES 4, MLEN-1, ISUNCOMPRESSED 1; the first block follows WBITS, one bit.
		h := uint32(n-1)<<3 | 1<<19
		if len(out) == 0 {
			h <<= 1
		}
		return append(out, byte(h), byte(h>>8), byte(h>>16))
	}
	out = append(out, final)
	out = binary.LittleEndian.AppendUint16(out, uint16(n))
	return binary.LittleEndian.AppendUint16(out, ^uint16(n))
}

// recode compresses text to exactly size bytes. ok is false if it does not get that small, or the
// format has no way to fill the rest.
func recode(coding string, text []byte, size int) (out []byte, ok bool) {
	switch coding {
	case "aws-chunked": // one chunk without a signature; a trailer takes the rest
		out = append(strconv.AppendInt(nil, int64(len(text)), 16), "\r\n"...)
		out = append(append(out, text...), "\r\n0\r\n"...)
		spare := size - len(out) - len("\r\n")
		if spare > 0 && spare < len("x:\r\n") || spare < 0 {
			return nil, false
		}
		if spare > 0 {
			out = append(out, "x:"+strings.Repeat(string(fill), spare-len("x:\r\n"))+"\r\n"...)
		}
		return append(out, "\r\n"...), true
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
