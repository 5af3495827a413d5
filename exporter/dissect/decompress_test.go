package dissect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerial begins the frames of snappy-java.
const xerial = "\x82SNAPPY\x00"

func TestDecompress(t *testing.T) {
	text := []byte(strings.Repeat("shop ", 2000))
	var gz, lz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(text)
	w.Close()
	l := lz4.NewWriter(&lz)
	l.Write(text)
	l.Close()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	framed := []byte(xerial + "\x00\x00\x00\x01\x00\x00\x00\x01")
	for _, part := range [][]byte{text[:6000], text[6000:]} {
		block := snappy.Encode(nil, part)
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(block))), block...)
	}
	chunked := fmt.Appendf(nil, "1770;chunk-signature=ab\r\n%s\r\nfa0;chunk-signature=cd\r\n%s\r\n0;chunk-signature=ef\r\nx-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:12\r\n\r\n", text[:6000], text[6000:])
	for _, c := range []struct {
		name, coding string
		data         []byte
		limit        int
		fails        bool
	}{
		{"gzip", "gzip", gz.Bytes(), 1 << 20, false},
		{"zstd", "zstd", z.EncodeAll(text, nil), 1 << 20, false},
		{"lz4", "lz4", lz.Bytes(), 1 << 20, false},
		{"snappy", "snappy", snappy.Encode(nil, text), 1 << 20, false},
		{"snappy in frames", "snappy", framed, 1 << 20, false},
		{"snappy in frames, cut", "snappy", framed[:len(framed)-1], 1 << 20, true},
		{"more than the limit", "lz4", lz.Bytes(), 100, true},
		{"a block over the limit", "snappy", snappy.Encode(nil, text), 100, true},
		{"a length that lies", "snappy", []byte("\xff\xff\xff\xff\x07abc"), 1 << 20, true},
		{"signed chunks", "aws-chunked", chunked, 1 << 20, false},
		{"signed chunks without the last one", "aws-chunked", chunked[:len(chunked)-120], 1 << 20, true},
		{"signed chunks over the limit", "aws-chunked", chunked, 100, true},
		{"a size that lies", "aws-chunked", []byte("ffffffff\r\nabc"), 1 << 20, true},
		{"a size that is negative", "aws-chunked", []byte("-1\r\nabc\r\n0\r\n\r\n"), 1 << 20, true},
		{"garbage", "zstd", []byte("garbage"), 1 << 20, true},
		{"an unknown coding", "rot13", text, 1 << 20, true},
	} {
		e, err := NewEngine(nil, nil, noSink{}, true)
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.NewConn(Info{ConnectUs: -1}).Decompress(c.coding, c.data, c.limit)
		if (err != nil) != c.fails || !c.fails && !bytes.Equal(out, text) || len(out) > c.limit {
			t.Errorf("%s: %d bytes, %v", c.name, len(out), err)
		}
	}
}

// TestBlocksAreDecodedInPart decodes the beginning of blocks that are longer than the limit, or cut.
func TestBlocksAreDecodedInPart(t *testing.T) {
	var text []byte // literals of many lengths, repeated from near and far, some overlapping
	for i := range 3000 {
		text = append(text, fmt.Sprintf("%d %x", i, i*i*i)...)
		if i%7 == 0 {
			text = append(text, strings.Repeat("ab", i%200)...)
		}
		text = append(text, text[len(text)*2/3:min(len(text), len(text)*2/3+i%90)]...)
	}
	noise := make([]byte, 70_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	text = append(append(text[:9000:9000], noise...), text[9000:]...)
	block := make([]byte, lz4.CompressBlockBound(len(text)))
	n, err := lz4.CompressBlock(text, block, nil)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	for coding, data := range map[string][]byte{"snappy": snappy.Encode(nil, text), "lz4-block": block[:n]} {
		decompress := func(p []byte, limit int) ([]byte, error) {
			e, err := NewEngine(nil, nil, noSink{}, true) // each has an allowance of its own
			if err != nil {
				t.Fatal(err)
			}
			return e.NewConn(Info{ConnectUs: -1}).Decompress(coding, p, limit)
		}
		for limit := 1; limit < len(text); limit += 4999 {
			out, err := decompress(data, limit)
			if _, long := errors.AsType[DecompressLimit](err); !long || !bytes.Equal(out, text[:limit]) {
				t.Fatalf("%s: %d bytes of %d, %v", coding, len(out), limit, err)
			}
		}
		last := 0
		for cut := 1; cut < len(data); cut += 2999 {
			out, err := decompress(data[:cut], len(text))
			if coding == "snappy" && err == nil || len(out) < last || !bytes.HasPrefix(text, out) {
				t.Fatalf("%s: %d bytes of the first %d, %v", coding, len(out), cut, err)
			}
			last = len(out)
		}
		if last < len(text)*9/10 {
			t.Errorf("%s: only %d bytes of %d", coding, last, len(text))
		}
	}
}

func TestDecompressionsShareAnAllowance(t *testing.T) {
	block := snappy.Encode(nil, make([]byte, 4<<20))
	e, err := NewEngine(nil, nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for range 30 {
		out, _ := e.NewConn(Info{ConnectUs: -1}).Decompress("snappy", block, 4<<20)
		total += len(out)
	}
	if total != maxSpanDecoded {
		t.Errorf("%d bytes decompressed near one packet, want %d", total, maxSpanDecoded)
	}
}
