package thrift

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
)

// jsonKinds are the names of types in TJSONProtocol (specs/thrift-json-protocol.md).
var jsonKinds = map[string]kind{"tf": kindBool, "i8": kindByte, "i16": kindI16, "i32": kindI32, "i64": kindI64, "dbl": kindDouble,
	"str": kindString, "rec": kindStruct, "map": kindMap, "set": kindSet, "lst": kindList, "uid": kindUUID}

// fromJSON rewrites a message of TJSONProtocol as one of TBinaryProtocol, so that one reader reads both. Of a message
// that is cut it rewrites the values that are complete.
func fromJSON(text []byte, cut bool) ([]byte, bool) {
	if cut {
		text = text[:bytes.LastIndexByte(text, ',')+1] // a value before a comma is complete
	} else if !json.Valid(text) {
		return nil, false
	}
	var parts [][]byte
	for part := range content.Elements(text) {
		if parts = append(parts, part); len(parts) > 5 {
			return nil, false
		}
	}
	if cut && len(parts) == 4 {
		parts = append(parts, []byte("{"))
	}
	if len(parts) < 5 || string(parts[0]) != "1" {
		return nil, false
	}
	name := content.String(parts[1])
	kind, err := strconv.ParseUint(string(parts[2]), 10, 8)
	sequence, err2 := strconv.ParseInt(string(parts[3]), 10, 32)
	if err != nil || err2 != nil {
		return nil, false
	}
	b := []byte{0x80, 1, 0, byte(kind)}
	b = appendString(b, name)
	b = binary.BigEndian.AppendUint32(b, uint32(sequence))
	b, ok := appendValue(b, kindStruct, parts[4], 1)
	return b, ok || cut
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// appendValue appends a value that TJSONProtocol wrote. If it is not one of type k, ok is false.
func appendValue(b []byte, k kind, text []byte, depth int) (_ []byte, ok bool) {
	switch {
	case depth > maxDepth:
		return b, false
	case k == kindStruct:
		return appendStruct(b, text, depth)
	case k == kindList || k == kindSet || k == kindMap:
		return appendContainer(b, k, text, depth)
	case !json.Valid(text), text[0] == '{', text[0] == '[': // cut, or no scalar
		return b, false
	}
	return appendScalar(b, k, content.Scalar(text))
}

// appendStruct appends an object of objects: {"1":{"i32":5}}.
func appendStruct(b, text []byte, depth int) (_ []byte, ok bool) {
	if text[0] != '{' {
		return b, false
	}
	for id, field := range content.Members(text) {
		number, err := strconv.ParseInt(id, 10, 16)
		if err != nil {
			return b, false
		}
		ok = false
		for name, value := range content.Members(field) {
			k := jsonKinds[name]
			b = binary.BigEndian.AppendUint16(append(b, byte(k)), uint16(number))
			if b, ok = appendValue(b, k, value, depth+1); !ok {
				return b, false
			}
			break
		}
		if !ok {
			return b, false
		}
	}
	if text[len(text)-1] != '}' {
		return b, false
	}
	return append(b, byte(kindStop)), true
}

// appendContainer appends an array: ["i32",2,5,6], or ["str","i32",1,{"a":5}] for a map.
func appendContainer(b []byte, k kind, text []byte, depth int) (_ []byte, ok bool) {
	types := 1
	if k == kindMap {
		types = 2
	}
	var head, values [][]byte
	for part := range content.Elements(text) {
		if len(head) <= types {
			head = append(head, part)
		} else {
			values = append(values, part)
		}
	}
	if len(head) <= types {
		return b, false
	}
	first, last := jsonKinds[content.String(head[0])], jsonKinds[content.String(head[types-1])]
	count, err := strconv.ParseInt(string(head[types]), 10, 32)
	if err != nil {
		return b, false
	}
	b = append(b, byte(first))
	if k == kindMap {
		b = append(b, byte(last))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	if k != kindMap {
		for _, value := range values {
			if b, ok = appendValue(b, first, value, depth+1); !ok {
				return b, false
			}
		}
		return b, count == int64(len(values))
	}
	if len(values) != 1 || values[0][0] != '{' {
		return b, false
	}
	for key, value := range content.Members(values[0]) {
		count--
		if b, ok = appendScalar(b, first, key); !ok {
			return b, false
		}
		if b, ok = appendValue(b, last, value, depth+1); !ok {
			return b, false
		}
	}
	return b, count == 0
}

// appendScalar appends a number or a text. Keys of maps are texts of either.
func appendScalar(b []byte, k kind, s string) ([]byte, bool) {
	switch size := sizes[k]; k {
	case kindString:
		return appendString(b, s), true
	case kindDouble:
		f, err := strconv.ParseFloat(s, 64)
		return binary.BigEndian.AppendUint64(b, math.Float64bits(f)), err == nil
	case kindUUID:
		u, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		return append(b, u...), err == nil && len(u) == size
	case kindBool, kindByte, kindI16, kindI32, kindI64:
		i, err := strconv.ParseInt(s, 10, 8*size)
		return append(b, binary.BigEndian.AppendUint64(nil, uint64(i))[8-size:]...), err == nil
	}
	return b, false
}
