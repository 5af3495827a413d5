package dissect

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

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
