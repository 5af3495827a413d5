package protoview

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

func field(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func number(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func TestText(t *testing.T) {
	inner := number(field(nil, 1, []byte("héllo")), 2, 7)
	group := protowire.AppendTag(number(protowire.AppendTag(nil, 4, protowire.StartGroupType), 1, 1), 4, protowire.EndGroupType)
	deep := number(nil, 1, 1)
	for range 40 {
		deep = field(nil, 1, deep)
	}
	for _, c := range []struct {
		name string
		msg  []byte
		want string
	}{
		{"an empty message", nil, "{}"},
		{"a string", field(nil, 1, []byte("world")), `{1: "world"}`},
		{"a string with quotes and line ends", field(nil, 1, []byte("say \"a\\b\"\n\tx")), `{1: "say \"a\\b\"\n\tx"}`},
		{"text that could be a message stays text", field(nil, 1, []byte("abcdefghi")), `{1: "abcdefghi"}`},
		{"a message whose tag and length are line ends", field(nil, 3, field(nil, 1, []byte("helloworld"))), `{3: {1: "helloworld"}}`},
		{"numbers", number(number(nil, 2, 150), 16, math.MaxUint64), `{2: 150, 16: -1}`},
		{"a message in a message", field(number(nil, 1, 1), 3, inner), `{1: 1, 3: {1: "héllo", 2: 7}}`},
		{"every occurrence of a repeated field", field(field(nil, 5, []byte("a")), 5, []byte("b")), `{5: "a", 5: "b"}`},
		{"packed numbers", field(nil, 4, []byte{1, 2, 3, 0xac, 2}), `{4: [1, 2, 3, 300]}`},
		{"bytes", field(nil, 4, []byte{0xff, 0xfe, 0, 0x80}), `{4: 0xfffe0080}`},
		{"an empty field", field(nil, 4, nil), `{4: ""}`},
		{"a float and a double", protowire.AppendFixed64(protowire.AppendTag(protowire.AppendFixed32(protowire.AppendTag(nil, 1, protowire.Fixed32Type),
			math.Float32bits(2.5)), 2, protowire.Fixed64Type), math.Float64bits(-0.125)), `{1: 2.5, 2: -0.125}`},
		{"fixed integers", protowire.AppendFixed64(protowire.AppendTag(protowire.AppendFixed32(protowire.AppendTag(nil, 1, protowire.Fixed32Type),
			42), 2, protowire.Fixed64Type), 1<<33), `{1: 42, 2: 8589934592}`},
		{"a group in a known message", append(number(nil, 1, 1), group...), "{1: 1, 4: {1: 1}}"},
		{"bytes that are not a message", []byte{0xff, 0xff, 0xff}, "0xffffff"},
		{"a truncated message", []byte{0x0a, 0x05, 'a'}, "0x0a0561"},
		{"levels beyond the limit are not decoded", deep, strings.Repeat("{1: ", maxDepth) + "["},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(Append(nil, c.msg, 4096))
			if c.name == "levels beyond the limit are not decoded" {
				got = got[:min(len(got), len(c.want))] // the rest is a guess
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	long := field(nil, 1, bytes.Repeat([]byte("ab"), 10_000))
	got := string(Append(nil, long, 100))
	if len(got) > 120 || !strings.Contains(got, "…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	var many []byte
	for range 1 << 20 {
		many = number(many, 1, 1)
	}
	if got = string(Append(nil, many, 100)); len(got) > 120 {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzText(f *testing.F) {
	f.Add(field(number(nil, 1, 1), 3, field(nil, 1, []byte("x"))))
	f.Add([]byte{0x0b, 0x0b, 0x0c, 0x0c})
	f.Add([]byte{0x0a, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := string(Append(nil, b, 512))
		if len(s) > 1024 || !utf8.ValidString(s) {
			t.Errorf("%d bytes, valid %v", len(s), utf8.ValidString(s))
		}
	})
}
