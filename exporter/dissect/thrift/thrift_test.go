package thrift

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// binaryMessage is a message in TBinaryProtocol.
func binaryMessage(kind byte, name string, sequence uint32, fields string) string {
	b := append([]byte{0x80, 1, 0, kind}, binary.BigEndian.AppendUint32(nil, uint32(len(name)))...)
	return string(binary.BigEndian.AppendUint32(append(b, name...), sequence)) + fields + "\x00"
}

// oldMessage is a message in TBinaryProtocol without a version.
func oldMessage(kind byte, name string, sequence uint32, fields string) string {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
	return string(binary.BigEndian.AppendUint32(append(b, kind), sequence)) + fields + "\x00"
}

// compactMessage is a message in TCompactProtocol.
func compactMessage(kind byte, name string, sequence uint64, fields string) string {
	b := binary.AppendUvarint([]byte{compact, kind<<5 | 1}, sequence)
	return string(append(binary.AppendUvarint(b, uint64(len(name))), name...)) + fields + "\x00"
}

func framed(message string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(message)))) + message
}

// text is a field with a string in TBinaryProtocol.
func text(id byte, s string) string {
	return "\x0b\x00" + string(rune(id)) + string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

const (
	two      = "\x08\x00\x01\x00\x00\x00\x01\x08\x00\x02\x00\x00\x00\x02" // two numbers
	three    = "\x08\x00\x00\x00\x00\x00\x03"
	declared = "\x0c\x00\x01\x08\x00\x01\x00\x00\x00\x04\x0b\x00\x02\x00\x00\x00\x05div 0\x00"
	unknown  = "\x0b\x00\x01\x00\x00\x00\x07no such\x08\x00\x02\x00\x00\x00\x01"
	// A struct with each type.
	all = "\x02\x00\x01\x01\x03\x00\x02\xff\x04\x00\x03\x3f\xf8\x00\x00\x00\x00\x00\x00\x06\x00\x04\xff\xfe\x0a\x00\x05\x00\x00\x00\x00\x00\x00\x00\x07\x0d\x00\x06\x0b\x08\x00\x00\x00\x01\x00\x00\x00\x01k\x00\x00\x00\x09" +
		"\x0e\x00\x07\x02\x00\x00\x00\x02\x01\x00\x0f\x00\x08\x0c\x00\x00\x00\x02\x00\x08\x00\x01\x00\x00\x00\x05\x00\x0b\x00\x09\x00\x00\x00\x02\x00\x01\x10\x00\x0a\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
	allText    = `1: true, 2: -1, 3: 1.5, 4: -2, 5: 7, 6: {"k": 9}, 7: {true, false}, 8: [{}, {1: 5}], 9: 2 bytes, 10: 00112233-4455-6677-8899-aabbccddeeff`
	allCompact = "\x11\x13\xff\x17\x00\x00\x00\x00\x00\x00\xf8\x3f\x14\x03\x16\x0e\x1b\x01\x85\x01k\x12\x1a\x22\x01\x02\x19\x2c\x00\x15\x0a\x00\x18\x02\x00\x01\x1d\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
)

var samples = []dissecttest.Sample{
	{Name: "binary", Rows: 2, Chunks: chunks{client(binaryMessage(1, "ping", 0, "")), server(binaryMessage(2, "ping", 0, "")), client(binaryMessage(1, "add", 0, two)), server(binaryMessage(2, "add", 0, three))}},
	{Name: "framed", Rows: 2, Chunks: chunks{client(framed(binaryMessage(1, "divide", 7, two))), server(framed(binaryMessage(2, "divide", 7, declared))), client(framed(binaryMessage(4, "zip", 8, text(1, "x"))))}},
	{Name: "compact", Rows: 2, Chunks: chunks{client(compactMessage(1, "Calc:add", 1, "\x15\x02\x15\x04")), server(compactMessage(2, "add", 1, "\x05\x00\x06")), client(compactMessage(1, "nosuch", 300, allCompact)),
		server(compactMessage(3, "nosuch", 300, "\x18\x07no such\x15\x02"))}},
	{Name: "no version", Rows: 2, Chunks: chunks{client(oldMessage(1, "divide", 7, two)), server(oldMessage(2, "divide", 7, declared)), client(oldMessage(1, "add", 8, two)), server(oldMessage(2, "add", 8, three))}},
	{Name: "no version, framed", Rows: 2, Chunks: chunks{client(framed(oldMessage(1, "divide", 7, two))), server(framed(oldMessage(2, "divide", 7, declared))), client(framed(oldMessage(1, "add", 8, two))), server(framed(oldMessage(2, "add", 8, three)))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "thrift_service", "thrift_type", "thrift_sequence", "thrift_encoding", "thrift_framed", "thrift_arguments", "thrift_result", "thrift_exception", "thrift_message"}
	long := strings.Repeat("long ", 500)
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "binary", Chunks: samples[0].Chunks, Want: []string{"ping() thrift_type=call thrift_sequence=0 thrift_encoding=binary",
			"add(1: 1, 2: 2) → 0: 3 thrift_type=call thrift_sequence=0 thrift_encoding=binary thrift_arguments=1: 1, 2: 2 thrift_result=0: 3"}},
		{Name: "framed", Chunks: samples[1].Chunks, Want: []string{
			`divide(1: 1, 2: 2) → declared exception 1: div 0 outcome=client_error thrift_type=call thrift_sequence=7 thrift_encoding=binary thrift_arguments=1: 1, 2: 2 ` +
				`thrift_result=1: {1: 4, 2: "div 0"} thrift_exception=1 thrift_message=div 0 thrift_framed=true`,
			`zip(1: "x") thrift_type=oneway thrift_sequence=8 thrift_encoding=binary thrift_arguments=1: "x" thrift_framed=true`}},
		{Name: "no version", Chunks: chunks{client(oldMessage(1, "ping", 0, "")), server(oldMessage(2, "ping", 0, "")), client(oldMessage(1, "add", 7, two)[:9]), client(oldMessage(1, "add", 7, two)[9:]), server(oldMessage(2, "add", 7, three))}, Want: []string{
			"ping() thrift_type=call thrift_sequence=0 thrift_encoding=binary",
			"add(1: 1, 2: 2) → 0: 3 thrift_type=call thrift_sequence=7 thrift_encoding=binary thrift_arguments=1: 1, 2: 2 thrift_result=0: 3"}},
		{Name: "no version, framed", Chunks: chunks{client(framed(oldMessage(1, "add", 7, two))), server(framed(oldMessage(3, "add", 7, unknown)))}, Want: []string{
			"add(1: 1, 2: 2) → UNKNOWN_METHOD: no such outcome=client_error status_code=1 thrift_type=call thrift_sequence=7 thrift_encoding=binary thrift_arguments=1: 1, 2: 2 thrift_result=1: \"no such\", 2: 1 thrift_message=no such thrift_framed=true"}},
		{Name: "compact", Chunks: samples[2].Chunks, Want: []string{
			"Calc:add(1: 1, 2: 2) → 0: 3 thrift_service=Calc thrift_type=call thrift_sequence=1 thrift_encoding=compact thrift_arguments=1: 1, 2: 2 thrift_result=0: 3",
			"nosuch(" + allText[:80] + "…) → UNKNOWN_METHOD: no such outcome=client_error status_code=1 thrift_type=call thrift_sequence=300 thrift_encoding=compact thrift_arguments=" + allText +
				` thrift_result=1: "no such", 2: 1 thrift_message=no such`}},
		{Name: "each type", Chunks: chunks{client(binaryMessage(1, "all", 0, all)), server(binaryMessage(3, "all", 0, unknown))}, Want: []string{
			"all(" + allText[:80] + "…) → UNKNOWN_METHOD: no such outcome=client_error status_code=1 thrift_type=call thrift_sequence=0 thrift_encoding=binary thrift_arguments=" + allText + ` thrift_result=1: "no such", 2: 1 thrift_message=no such`}},
		{Name: "replies in another order", Chunks: chunks{client(binaryMessage(1, "a", 1, "") + binaryMessage(1, "b", 2, "")), server(binaryMessage(2, "b", 2, three) + binaryMessage(2, "a", 1, ""))}, Want: []string{
			"b() → 0: 3 thrift_type=call thrift_sequence=2 thrift_encoding=binary thrift_result=0: 3", "a() thrift_type=call thrift_sequence=1 thrift_encoding=binary"}},
		{Name: "a long text in pieces", Chunks: chunks{client(binaryMessage(1, "put", 0, text(1, long))[:600]), client(binaryMessage(1, "put", 0, text(1, long))[600:]), server(binaryMessage(2, "put", 0, ""))}, Want: []string{
			"put(1: \"" + long[:76] + "…) thrift_type=call thrift_sequence=0 thrift_encoding=binary thrift_arguments=1: \"" + long[:128] + "…\""}},
		{Name: "a gap in a frame", Chunks: chunks{client(framed(binaryMessage(1, "put", 0, text(1, long)))[:100]), {Dir: dissect.ToServer, Data: []byte(framed(binaryMessage(1, "put", 0, text(1, long)))[200:]), Gap: 100},
			server(framed(binaryMessage(2, "put", 0, ""))), client(framed(binaryMessage(1, "ping", 0, ""))), server(framed(binaryMessage(2, "ping", 0, "")))}, Want: []string{
			"put(1: …) → gap error=gap thrift_type=call thrift_sequence=0 thrift_encoding=binary thrift_arguments=1: … thrift_framed=true", "ping() thrift_type=call thrift_sequence=0 thrift_encoding=binary thrift_framed=true"}},
		{Name: "no reply", Chunks: chunks{client(binaryMessage(1, "add", 0, two))}, End: dissect.EndReset, Want: []string{
			"add(1: 1, 2: 2) → reset error=reset outcome=no_answer thrift_type=call thrift_sequence=0 thrift_encoding=binary thrift_arguments=1: 1, 2: 2"}},
		{Name: "a oneway call with the type of others, and a last call without a reply", Chunks: chunks{client(binaryMessage(1, "fire", 1, "")), client(binaryMessage(1, "add", 2, two)), server(binaryMessage(2, "add", 2, three)), client(binaryMessage(1, "ping", 3, ""))}, Want: []string{
			"add(1: 1, 2: 2) → 0: 3 thrift_type=call thrift_sequence=2 thrift_encoding=binary thrift_arguments=1: 1, 2: 2 thrift_result=0: 3",
			"fire() → no_response error=no_response outcome=unread thrift_type=call thrift_sequence=1 thrift_encoding=binary",
			"ping() → no_response error=no_response outcome=no_answer thrift_type=call thrift_sequence=3 thrift_encoding=binary"}},
		{Name: "a reply without its call", Chunks: chunks{client(binaryMessage(4, "zip", 1, "")), server(binaryMessage(2, "add", 0, three))}, Want: []string{"zip() thrift_type=oneway thrift_sequence=1 thrift_encoding=binary",
			"add() → 0: 3 → no_request error=no_request thrift_type=reply thrift_sequence=0 thrift_encoding=binary thrift_result=0: 3"}},
	}...)
}

// TestDatagrams reads a message in a datagram, as Jaeger's clients send them.
func TestDatagrams(t *testing.T) {
	o := dissecttest.OptionsOf(Protocol())
	o.Transport = dissect.UDP
	for _, tt := range []struct {
		in   string
		rows int
	}{{compactMessage(4, "emitBatch", 1, allCompact), 1}, {compactMessage(4, "emitBatch", 1, allCompact[:20]), 1}} {
		r := dissecttest.Play(t, o, client(tt.in))
		if len(r.Emissions) != tt.rows || r.Emissions[0].Row.Base().Protocol != "thrift" {
			t.Errorf("%d rows: %+v", len(r.Emissions), r.Emissions)
		}
	}
}

// TestLimits reads fields that are nested or announce more than there is.
func TestLimits(t *testing.T) {
	deep := strings.Repeat("\x0c\x00\x01", maxDepth+1)
	for name, fields := range map[string]string{"nested": deep, "a negative length": "\x0b\x00\x01\xff\xff\xff\xff", "an unknown type": "\x07\x00\x01", "unknown elements": "\x0f\x00\x01\x09\x00\x00\x00\x01"} {
		v := newValues(false)
		if _, err := v.read([]byte(fields)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	v := newValues(false)
	if n, err := v.read([]byte("\x0f\x00\x01\x0c\x7f\xff\xff\xff" + strings.Repeat("\x00", 1000))); n != 1008 || err != nil || v.done || cap(v.text) > 2*maxText {
		t.Errorf("a list of 2147483647 structs: %d bytes read, error %v", n, err)
	}
	v = newValues(true)
	if _, err := v.read([]byte("\x16" + strings.Repeat("\xff", 11))); err == nil {
		t.Error("a number of 11 bytes: no error")
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a call", dissect.ToServer, binaryMessage(1, "add", 0, two), dissect.Yes},
		{"its beginning", dissect.ToServer, binaryMessage(1, "add", 0, two)[:6], dissect.More},
		{"a call of the server", dissect.ToClient, binaryMessage(1, "add", 0, two), dissect.No},
		{"a reply", dissect.ToClient, binaryMessage(2, "add", 0, three), dissect.Yes},
		{"an unknown type of a field", dissect.ToServer, binaryMessage(1, "add", 0, "\x07"), dissect.No},
		{"a name with a space", dissect.ToServer, binaryMessage(1, "a b", 0, ""), dissect.No},
		{"a frame", dissect.ToServer, framed(compactMessage(1, "add", 0, "")), dissect.Yes},
		{"a frame that is too short", dissect.ToServer, "\x00\x00\x00\x09" + binaryMessage(1, "add", 0, ""), dissect.No},
		{"compact", dissect.ToServer, compactMessage(1, "add", 1, "\x15\x02"), dissect.Yes},
		{"compact with a short name", dissect.ToServer, compactMessage(1, "a", 1, "\x15\x02"), dissect.Likely},
		{"compact, version 2", dissect.ToServer, "\x82\x22" + compactMessage(1, "add", 1, "")[2:], dissect.No},
		{"a length", dissect.ToServer, "\x00\x00\x00\x20abc efgh", dissect.No},
		{"no version", dissect.ToServer, oldMessage(1, "add", 7, two), dissect.Yes},
		{"no version, in a frame", dissect.ToClient, framed(oldMessage(2, "add", 7, three)), dissect.Yes},
		{"no version, its beginning", dissect.ToServer, oldMessage(1, "add", 7, two)[:7], dissect.More},
		{"no version, a part of its fields", dissect.ToServer, oldMessage(1, "add", 7, two)[:17], dissect.More},
		{"no version and no fields", dissect.ToServer, oldMessage(1, "ping", 7, ""), dissect.Likely},
		{"no version, of the other side", dissect.ToClient, oldMessage(1, "add", 7, two), dissect.No},
		{"no version, a name that is longer", dissect.ToServer, "\x00\x00\x00\x04" + oldMessage(1, "add", 7, two)[4:], dissect.No},
		{"no version, a type of a field that does not exist", dissect.ToServer, oldMessage(1, "add", 7, "\x07"), dissect.No},
	})
}
