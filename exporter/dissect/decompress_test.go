package dissect

import (
	"bytes"
	"encoding/binary"
	"fmt"
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
