package mysql

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Types with a binary form of their own; all others are strings. names.txt has their names.
const (
	typeTiny, typeShort, typeLong, typeFloat, typeDouble, typeNull      = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
	typeTimestamp, typeLongLong, typeInt24, typeDate, typeTime          = 0x07, 0x08, 0x09, 0x0a, 0x0b
	typeDateTime, typeYear, typeNewDate, typeTimestamp2                 = 0x0c, 0x0d, 0x0e, 0x11
	typeDateTime2, typeTime2                                            = 0x12, 0x13
	unsignedParam                                                  byte = 0x80 // of a parameter's second type byte
)

// params are the parameters of an execution, or query attributes.
type params struct {
	n      int // total number
	types  []paramType
	values []string // of the first ones
	size   int      // bytes of values
}

// paramType is the type of a parameter.
type paramType struct {
	columnType
	name string
}

func (p *params) cost() int { return p.size + 40*cap(p.types) + 16*cap(p.values) }

// read reads n parameters: which are null, their types unless an earlier execution sent them, and the values. named
// parameters have names in addition to their types. Values in long were sent before.
func (p *params) read(r *reader, n int, known []paramType, named bool, long map[int]longValue) {
	if n <= 0 {
		return
	}
	p.n = n
	nulls := r.Bytes((n + 7) / 8)
	if bound := r.Uint8(); r.Short() {
		return
	} else if bound == 1 {
		known = make([]paramType, 0, min(n, r.Left()/2))
		for range cap(known) {
			var t paramType
			t.typ, t.unsigned = r.Uint8(), r.Uint8()&unsignedParam != 0
			if named {
				t.name = clip.Text(r.text(), maxParam)
			}
			known = append(known, t)
		}
	}
	if p.types = known; len(known) < n || r.Short() {
		return
	}
	_, beyond := long[maxParams]
	for i := range n {
		if i == maxParams && beyond { // which of the rest follow is not known
			r.Skip(r.Left())
			return
		}
		v, sent := long[i]
		var text []byte
		switch {
		case nulls[i/8]&(1<<(i%8)) != 0:
			text = []byte("NULL")
		case sent:
			if text = appendText(nil, v.start); v.size > len(v.start) {
				text = append(text, "…"...)
			}
		default:
			text = appendValue(nil, known[i].columnType, r)
		}
		if r.Short() {
			return
		}
		p.show(text)
	}
}

// show keeps the text of a parameter.
func (p *params) show(text []byte) {
	if len(p.values) >= maxParams || p.size >= maxParamBytes {
		return
	}
	p.values = append(p.values, clip.Text(string(text), maxParam))
	p.size += min(len(text), maxParam)
}

// texts are the parameters as text, with an ellipsis if some are not shown.
func (p *params) texts() []string {
	if p.n > len(p.values) {
		return append(p.values, "…")
	}
	return p.values
}

// typeNames are the names of the parameters' types.
func (p *params) typeNames() (list []string) {
	for _, t := range p.types[:min(len(p.types), maxParams)] {
		s := nameOf("type", int(t.typ))
		if t.unsigned {
			s += " UNSIGNED"
		}
		list = append(list, s)
	}
	return list
}

// named are query attributes as name=value.
func (p *params) named() (list []string) {
	for i, v := range p.values {
		list = append(list, p.types[i].name+"="+v)
	}
	return list
}

// appendValue reads a value of the binary protocol and appends it as text.
func appendValue(dst []byte, t columnType, r *reader) []byte {
	integer := func(n int) []byte {
		v := r.number(n)
		if t.unsigned {
			return strconv.AppendUint(dst, v, 10)
		}
		shift := 64 - 8*n
		return strconv.AppendInt(dst, int64(v<<shift)>>shift, 10)
	}
	switch t.typ {
	case typeTiny:
		return integer(1)
	case typeShort, typeYear:
		return integer(2)
	case typeLong, typeInt24:
		return integer(4)
	case typeLongLong:
		return integer(8)
	case typeFloat:
		return strconv.AppendFloat(dst, float64(math.Float32frombits(uint32(r.number(4)))), 'g', -1, 32)
	case typeDouble:
		return strconv.AppendFloat(dst, math.Float64frombits(r.number(8)), 'g', -1, 64)
	case typeDate, typeDateTime, typeTimestamp, typeNewDate, typeTimestamp2, typeDateTime2:
		return appendDate(dst, t.typ, r)
	case typeTime, typeTime2:
		return appendTime(dst, r)
	case typeNull:
		return append(dst, `\N`...)
	}
	return appendText(dst, r.text())
}

// appendDate reads a date, with a time of day if there is one.
func appendDate(dst []byte, typ byte, r *reader) []byte {
	n := r.Uint8()
	v := newReader(r.Bytes(int(n)))
	dst = fmt.Appendf(dst, "%04d-%02d-%02d", v.number(2), v.Uint8(), v.Uint8())
	if n > 4 || typ != typeDate && typ != typeNewDate {
		dst = fmt.Appendf(dst, " %02d:%02d:%02d", v.Uint8(), v.Uint8(), v.Uint8())
	}
	if n > 7 {
		dst = fmt.Appendf(dst, ".%06d", v.number(4))
	}
	return dst
}

// appendTime reads a duration.
func appendTime(dst []byte, r *reader) []byte {
	n := r.Uint8()
	v := newReader(r.Bytes(int(n)))
	if v.Uint8() == 1 {
		dst = append(dst, '-')
	}
	hours := 24 * v.number(4)
	hours += uint64(v.Uint8())
	dst = fmt.Appendf(dst, "%02d:%02d:%02d", hours, v.Uint8(), v.Uint8())
	if n > 8 {
		dst = fmt.Appendf(dst, ".%06d", v.number(4))
	}
	return dst
}

// appendText appends a string as a field of a row, or in hex if it is not text.
func appendText(dst, v []byte) []byte {
	if !utf8.Valid(v) {
		return hex.AppendEncode(append(dst, "0x"...), v)
	}
	for _, c := range v {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return hex.AppendEncode(append(dst, "0x"...), v)
		}
	}
	return sqltext.AppendField(dst, v)
}
