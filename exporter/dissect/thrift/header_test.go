package thrift

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// headerFrame is a frame of THeaderTransport with the fields of a header.
func headerFrame(sequence uint32, fields, message string) string {
	fields += strings.Repeat("\x00", (4-len(fields)%4)%4)
	b := binary.BigEndian.AppendUint32(nil, uint32(headerCounted+len(fields)+len(message)))
	b = append(b, 0x0f, 0xff, 0, 0)
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint16(b, uint16(len(fields)/4))
	return string(b) + fields + message
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zstandard(s string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

func lz4Block(s string) string {
	b := make([]byte, lz4.CompressBlockBound(len(s)))
	n, err := lz4.CompressBlock([]byte(s), b, nil)
	if err != nil || n == 0 {
		panic(fmt.Sprint(n, err))
	}
	return string(binary.AppendUvarint(nil, uint64(len(s)))) + string(b[:n])
}

// Fields of headers.
const (
	plainBinary  = "\x00\x00"
	plainCompact = "\x02\x00"
	zlibBinary   = "\x00\x01\x01"
	pairs        = "\x01\x02\x0cx-request-id\x03r-1\x01k\x01v" // two
)

var headerSamples = []dissecttest.Sample{
	{Name: "header", Rows: 3, Chunks: chunks{client(headerFrame(1, plainBinary+pairs, binaryMessage(1, "add", 0, two))), client(headerFrame(2, plainCompact, compactMessage(1, "sub", 0, "\x15\x02"))),
		server(headerFrame(2, plainCompact, compactMessage(2, "sub", 0, "\x05\x00\x06"))), server(headerFrame(1, plainBinary+"\x02\x01\x01k\x01w", binaryMessage(2, "add", 0, three))), client(headerFrame(3, plainCompact, compactMessage(4, "log", 0, "")))}},
	{Name: "header with zlib", Rows: 2, Chunks: chunks{client(headerFrame(1, zlibBinary+pairs, deflated(binaryMessage(1, "add", 1, two)))), server(headerFrame(1, zlibBinary, deflated(binaryMessage(2, "add", 1, three)))),
		client(headerFrame(2, zlibBinary, deflated(binaryMessage(1, "divide", 2, two)))), server(headerFrame(2, zlibBinary, deflated(binaryMessage(2, "divide", 2, declared))))}},
}

func TestHeaderSuite(t *testing.T) { dissecttest.Run(t, Protocol(), headerSamples...) }

func FuzzHeaders(f *testing.F) { dissecttest.Fuzz(f, Protocol(), headerSamples...) }

// headerColumns are the columns of a message with a header that differ in the tests.
var headerColumns = []string{"headers", "status_code", "request_id", "thrift_method", "thrift_type", "thrift_sequence", "thrift_encoding", "thrift_framed", "thrift_header", "thrift_transforms", "thrift_arguments", "thrift_result", "thrift_exception", "thrift_message"}

func TestHeaders(t *testing.T) {
	call := func(fields, message string) dissecttest.Chunk { return client(headerFrame(1, fields, message)) }
	reply := func(fields, message string) dissecttest.Chunk { return server(headerFrame(1, fields, message)) }
	add, three := binaryMessage(1, "add", 1, two), binaryMessage(2, "add", 1, three)
	long := binaryMessage(1, "put", 1, text(1, strings.Repeat("0123456789abcdef", 1<<14))+text(2, "end"))
	noise := make([]byte, 100<<10) // that zlib does not shorten
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	many := strings.Repeat("\x01k\x01v", maxInfo+1)
	const ends = " thrift_type=call thrift_sequence=1 thrift_encoding=binary"
	const head = " thrift_framed=true thrift_header=true"
	sum := "add(1: 1, 2: 2) → 0: 3 thrift_method=add" + ends
	values := " thrift_arguments=1: 1, 2: 2 thrift_result=0: 3"
	unread := " error=unread outcome=unread"
	dissecttest.Converse(t, Protocol(), headerColumns, []dissecttest.Conversation{
		{Name: "replies in another order", Chunks: headerSamples[0].Chunks, Want: []string{
			"sub(1: 1) → 0: 3 thrift_method=sub thrift_type=call thrift_sequence=2 thrift_encoding=compact thrift_arguments=1: 1 thrift_result=0: 3" + head,
			"add(1: 1, 2: 2) → 0: 3 headers=[{x-request-id r-1 request} {k v request} {k w response}] request_id=r-1 thrift_method=add" + ends + values + head,
			"log() thrift_method=log thrift_type=oneway thrift_sequence=3 thrift_encoding=compact thrift_framed=true thrift_header=true"}},
		{Name: "zlib", Chunks: chunks{call(zlibBinary, deflated(add)), reply(zlibBinary, deflated(three))}, Want: []string{sum + values + head + " thrift_transforms=[zlib]"}},
		{Name: "zlib of the call only", Chunks: chunks{call(zlibBinary, deflated(add)), reply(plainBinary, three)}, Want: []string{sum + values + head + " thrift_transforms=[zlib]"}},
		{Name: "other transforms", Chunks: chunks{call("\x00\x02\x03\x05", zstandard(string(snappy.Encode(nil, []byte(add))))), reply("\x00\x02\x00\x06", lz4Block(three+strings.Repeat("\x00", 64)))}, Want: []string{
			sum + values + head + " thrift_transforms=[snappy zstd lz4]"}},
		{Name: "blocks over the limit", Chunks: chunks{call("\x00\x01\x03", string(snappy.Encode(nil, []byte(long)))), reply("\x00\x01\x06", lz4Block(binaryMessage(2, "put", 1, "\x0b\x00\x00"+text(1, strings.Repeat("0123456789abcdef", 1<<14))[3:])))}, Want: []string{
			`put(1: "` + strings.Repeat("0123456789abcdef", 5)[:76] + "…) → 0: \"" + strings.Repeat("0123456789abcdef", 8)[:76] + "… thrift_method=put" + ends + ` thrift_arguments=1: "` + strings.Repeat("0123456789abcdef", 8) + `…"…` + ` thrift_result=0: "` + strings.Repeat("0123456789abcdef", 8) + `…"…` + head + " thrift_transforms=[snappy lz4]"}},
		{Name: "a large message", Chunks: chunks{call(zlibBinary, deflated(long)), reply(plainBinary, binaryMessage(2, "put", 1, ""))}, Want: []string{
			`put(1: "` + strings.Repeat("0123456789abcdef", 5)[:76] + "…) thrift_method=put" + ends + ` thrift_arguments=1: "` + strings.Repeat("0123456789abcdef", 8) + `…"…` + head + " thrift_transforms=[zlib]"}},
		{Name: "a message that is long in zlib too", Chunks: chunks{call(zlibBinary, deflated(binaryMessage(1, "put", 1, text(1, string(noise))+text(2, "end")))), reply(plainBinary, binaryMessage(2, "put", 1, ""))}, Want: []string{
			`put(1: 102400 bytes…) thrift_method=put` + ends + ` thrift_arguments=1: 102400 bytes…` + head + " thrift_transforms=[zlib]"}},
		{Name: "many pairs", Chunks: chunks{client(headerFrame(1, plainBinary+"\x01"+string(rune(maxInfo+1))+many, binaryMessage(4, "log", 1, "")))}, Want: []string{
			"log() headers=[" + strings.TrimSpace(strings.Repeat("{k v request} ", maxInfo)) + "] thrift_method=log thrift_type=oneway thrift_sequence=1 thrift_encoding=binary thrift_framed=true thrift_header=true"}},
		{Name: "many transforms", Anomalies: 1, Chunks: chunks{call("\x00\x05\x01\x01\x01\x01\x01", deflated(deflated(deflated(deflated(deflated(add)))))), reply(plainBinary, three)}, Want: []string{
			"add(…) → 0: 3 → unread" + unread + " thrift_method=add" + ends + " thrift_arguments=… thrift_result=0: 3" + head + " thrift_transforms=[zlib]"}},
		{Name: "a transform that is not known", Anomalies: 1, Chunks: chunks{call("\x00\x01\x02\x10", "mac"), reply(plainBinary, binaryMessage(3, "", 1, unknown)), client(headerFrame(2, plainBinary, add)), server(headerFrame(2, plainBinary, three))}, Want: []string{
			"?(…) → UNKNOWN_METHOD: no such → unread error=unread outcome=client_error status_code=1 thrift_method=" + ends + ` thrift_arguments=… thrift_result=1: "no such", 2: 1 thrift_message=no such` + head,
			strings.Replace(sum+values+head, "sequence=1", "sequence=2", 1)}},
		{Name: "a protocol that is not known", Anomalies: 1, Chunks: chunks{call("\x01\x00", `[1,"add",1,1,{}]`), reply(plainBinary, three)}, Want: []string{"add(…) → 0: 3 → unread" + unread + " thrift_method=add" + ends + " thrift_arguments=… thrift_result=0: 3" + head}},
		{Name: "damaged bytes of zlib", Anomalies: 1, Chunks: chunks{call(zlibBinary, deflated(add)), reply(zlibBinary, "x\x9cnonsense")}, Want: []string{"add(1: 1, 2: 2) → … → unread" + unread + " thrift_method=add" + ends + " thrift_arguments=1: 1, 2: 2 thrift_result=…" + head + " thrift_transforms=[zlib]"}},
		{Name: "a reply that cannot be read, without its call", Anomalies: 1, Chunks: chunks{client(headerFrame(7, plainBinary, binaryMessage(4, "log", 1, ""))), reply(zlibBinary, "x\x9cnonsense")}, Want: []string{
			"log() thrift_method=log thrift_type=oneway thrift_sequence=7 thrift_encoding=binary thrift_framed=true thrift_header=true",
			"?() → … → no_request error=no_request outcome=unread thrift_method= thrift_type=reply thrift_sequence=1 thrift_encoding=binary thrift_result=…" + head + " thrift_transforms=[zlib]"}},
	}...)
}

// TestHeadersFromTheMiddle reads connections whose beginning was not captured, and whose sides are not known.
func TestHeadersFromTheMiddle(t *testing.T) {
	for _, s := range headerSamples {
		o := dissecttest.OptionsOf(Protocol())
		o.ServerPort = 0
		r := dissecttest.Play(t, o, s.Chunks...)
		if len(r.Emissions) != s.Rows || len(r.Anomalies) > 0 || r.Emissions[0].Row.Base().Protocol != "thrift" {
			t.Errorf("%s: %d rows, anomalies %v", s.Name, len(r.Emissions), r.Anomalies)
		}
	}
}

// TestHeaderLimits reads headers whose sizes are wrong, and content that is much longer than its bytes.
func TestHeaderLimits(t *testing.T) {
	add := binaryMessage(1, "add", 1, two)
	for name, frame := range map[string]string{
		"a header longer than its frame":    "\x00\x00\x00\x14\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x40" + strings.Repeat("\x00", 300),
		"no header":                         "\x00\x00\x00\x20\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x00" + add,
		"a frame of 2 GiB":                  "\x7f\xff\xff\xff\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01" + plainBinary + "\x00\x00" + add,
		"a text longer than its header":     headerFrame(1, plainBinary+"\x01\x01\x7fkey", add),
		"4294967295 pairs":                  headerFrame(1, plainBinary+"\x01\xff\xff\xff\xff\x0f\x01k\x01v", add),
		"a number of 11 bytes":              headerFrame(1, strings.Repeat("\xff", 11), add),
		"another protocol inside":           headerFrame(1, plainCompact, add),
		"a message longer than its frame":   headerFrame(1, plainBinary, add[:10]),
		"nothing inside":                    headerFrame(1, plainBinary, ""),
		"half a message in zlib":            headerFrame(1, zlibBinary, deflated(add[:10])),
		"half the fields of one, in zlib":   headerFrame(1, zlibBinary, deflated(add[:len(add)-4])),
		"a field of an unknown type inside": headerFrame(1, zlibBinary, deflated(binaryMessage(1, "add", 1, "\x07"))),
	} {
		o := dissecttest.OptionsOf(Protocol())
		r := dissecttest.Play(t, o, client(headerFrame(0, plainBinary, binaryMessage(4, "log", 1, ""))), client(frame))
		if len(r.Anomalies) == 0 || r.Anomalies[0].Kind != "malformed" {
			t.Errorf("%s: anomalies %v", name, r.Anomalies)
		}
	}
	huge := header{transforms: []transform{transforms[6]}}
	if plain, cut, ok := huge.undo([]byte("\xff\xff\xff\xff\x07"+lz4Block(add + strings.Repeat("\x00", 1<<20))[3:]), true, maxPlain, dissect.Decompress); !ok || !cut || len(plain) != maxPlain {
		t.Errorf("a block that claims 32 GiB: %d bytes, cut %v, ok %v", len(plain), cut, ok)
	}
	bomb := deflated(binaryMessage(1, "put", 1, text(1, strings.Repeat("0", 32<<20))))
	made := 0
	h := header{transforms: []transform{transforms[1], transforms[1]}}
	plain, cut, ok := h.undo([]byte(deflated(bomb)), true, maxPlain, func(coding string, p []byte, limit int) ([]byte, error) {
		out, err := dissect.Decompress(coding, p, limit)
		made += len(out)
		return out, err
	})
	if !ok || !cut || len(plain) != maxPlain || made > 2*maxPlain {
		t.Errorf("32 MiB compressed twice: %d bytes, %d made, cut %v, ok %v", len(plain), made, cut, ok)
	}
}

func TestDetectHeaders(t *testing.T) {
	add, sum := binaryMessage(1, "add", 1, two), binaryMessage(2, "add", 1, three)
	long := headerFrame(1, zlibBinary, deflated(add))
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a call", dissect.ToServer, headerFrame(1, plainBinary, add), dissect.Yes},
		{"its beginning", dissect.ToServer, headerFrame(1, plainBinary, add)[:16], dissect.More},
		{"a call of the server", dissect.ToClient, headerFrame(1, plainBinary, add), dissect.No},
		{"a reply", dissect.ToClient, headerFrame(1, plainBinary, sum), dissect.Yes},
		{"compact with a short name", dissect.ToServer, headerFrame(1, plainCompact, compactMessage(1, "a", 1, "")), dissect.Yes},
		{"a compressed call", dissect.ToServer, long, dissect.Yes},
		{"its beginning", dissect.ToServer, long[:len(long)-1], dissect.More},
		{"a compressed call of the server", dissect.ToClient, long, dissect.No},
		{"a compressed text", dissect.ToServer, headerFrame(1, zlibBinary, deflated("no message of Thrift")), dissect.No},
		{"bytes that are not zlib", dissect.ToServer, headerFrame(1, zlibBinary, "nonsense"), dissect.Likely},
		{"an unknown transform", dissect.ToServer, headerFrame(1, "\x00\x01\x02\x10", "nonsense"), dissect.Likely},
		{"no header", dissect.ToServer, "\x00\x00\x00\x20\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x00" + add, dissect.No},
		{"a header longer than its frame", dissect.ToServer, "\x00\x00\x00\x14\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x40" + add, dissect.No},
		{"a frame without a name", dissect.ToServer, headerFrame(1, plainBinary, binaryMessage(1, "", 1, two)), dissect.No},
	})
}
