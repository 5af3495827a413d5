package postgresql

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

// Types with a decoded binary form: object ids of pg_type.dat.
const (
	oidBool, oidBytea, oidChar, oidName, oidInt8, oidInt2, oidInt4, oidText = 16, 17, 18, 19, 20, 21, 23, 25
	oidOID, oidJSON, oidXML, oidFloat4, oidFloat8, oidUnknown               = 26, 114, 142, 700, 701, 705
	oidBPChar, oidVarchar, oidDate, oidTime, oidTimestamp, oidTimestampTZ   = 1042, 1043, 1082, 1083, 1114, 1184
	oidNumeric, oidUUID, oidJSONB                                           = 1700, 2950, 3802
)

// params are the parameters in Bind.
type params struct {
	n     int // total number
	raw   []byte
	vals  []value
	codes []int16
}

// value is a parameter: a part of raw.
type value struct {
	from, to int
	null     bool
	cut      bool
}

// read reads the format codes and parameters of Bind.
func (p *params) read(r *cursor.Cursor) {
	n := int(r.Uint16())
	if n > r.Left()/2 {
		r.Skip(r.Left() + 1)
		return
	}
	for range n {
		p.codes = append(p.codes, int16(r.Uint16()))
	}
	p.n = int(r.Uint16())
	if p.n == 0 || r.Short() {
		return
	}
	p.vals = make([]value, 0, min(p.n, maxParams, r.Left()/4))
	for range p.n {
		size := int32(r.Uint32())
		var v []byte
		if size >= 0 {
			v = r.Bytes(int(size))
		}
		if r.Short() {
			return
		}
		if len(p.vals) == maxParams {
			continue
		}
		keep := min(len(v), maxParam, maxParamBytes-len(p.raw))
		from := len(p.raw)
		p.raw = append(p.raw, v[:keep]...)
		p.vals = append(p.vals, value{from, len(p.raw), size < 0, keep < len(v)})
	}
}

// text renders the parameters as text.
func (p *params) text(oids []uint32) []string {
	if len(p.vals) == 0 {
		return nil
	}
	out := make([]string, 0, len(p.vals)+1)
	for i, v := range p.vals {
		if v.null {
			out = append(out, "NULL")
			continue
		}
		var oid uint32
		if i < len(oids) {
			oid = oids[i]
		}
		s := ""
		if raw := p.raw[v.from:v.to]; format(p.codes, i, 0) == 1 && !v.cut {
			s = string(appendBinary(nil, oid, raw))
		} else if format(p.codes, i, 0) == 1 {
			s = string(appendHex(nil, raw))
		} else {
			s = sqltext.Text(raw)
		}
		if v.cut {
			s += "…"
		}
		out = append(out, s)
	}
	if p.n > len(p.vals) {
		out = append(out, "…")
	}
	return out
}

// appendCopy appends a value in the text format of COPY.
func appendCopy(dst []byte, oid uint32, code int16, v []byte) []byte {
	if code == 1 {
		return appendBinary(dst, oid, v)
	}
	return sqltext.AppendField(dst, v)
}

func appendHex(dst, v []byte) []byte {
	return hex.AppendEncode(append(dst, `\x`...), v)
}

// appendBinary appends a binary value as text of its type, or in hex if its size does not match
// the type.
func appendBinary(dst []byte, oid uint32, v []byte) []byte {
	switch oid {
	case oidText, oidVarchar, oidBPChar, oidName, oidJSON, oidXML, oidUnknown, oidChar:
		return append(dst, sqltext.Text(v)...)
	case oidJSONB:
		if len(v) > 0 && v[0] == 1 {
			return append(dst, sqltext.Text(v[1:])...)
		}
	case oidNumeric:
		return appendNumeric(dst, v)
	case oidUUID:
		if len(v) == 16 {
			for i, at := range [...]int{0, 4, 6, 8, 10, 16} {
				if i == 0 {
					continue
				}
				if i > 1 {
					dst = append(dst, '-')
				}
				dst = hex.AppendEncode(dst, v[[...]int{0, 4, 6, 8, 10}[i-1]:at])
			}
			return dst
		}
	}
	switch len(v) {
	case 1:
		if oid == oidBool && v[0] <= 1 {
			return strconv.AppendBool(dst, v[0] == 1)
		}
	case 2:
		if oid == oidInt2 {
			return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(v))), 10)
		}
	case 4:
		if out := appendFour(dst, oid, binary.BigEndian.Uint32(v)); out != nil {
			return out
		}
	case 8:
		if out := appendEight(dst, oid, binary.BigEndian.Uint64(v)); out != nil {
			return out
		}
	}
	return appendHex(dst, v)
}

func appendFour(dst []byte, oid, v uint32) []byte {
	switch oid {
	case oidInt4:
		return strconv.AppendInt(dst, int64(int32(v)), 10)
	case oidOID:
		return strconv.AppendUint(dst, uint64(v), 10)
	case oidFloat4:
		return strconv.AppendFloat(dst, float64(math.Float32frombits(v)), 'g', -1, 32)
	case oidDate:
		switch int32(v) {
		case math.MaxInt32:
			return append(dst, "infinity"...)
		case math.MinInt32:
			return append(dst, "-infinity"...)
		}
		return time.Unix(epoch+int64(int32(v))*86400, 0).UTC().AppendFormat(dst, "2006-01-02")
	}
	return nil
}

// epoch is 2000-01-01, PostgreSQL's zero point, in seconds since 1970.
const epoch = 946684800

func appendEight(dst []byte, oid uint32, v uint64) []byte {
	switch oid {
	case oidInt8:
		return strconv.AppendInt(dst, int64(v), 10)
	case oidFloat8:
		return strconv.AppendFloat(dst, math.Float64frombits(v), 'g', -1, 64)
	case oidTime:
		if v < 86400e6+1 {
			return time.UnixMicro(int64(v)).UTC().AppendFormat(dst, "15:04:05.999999")
		}
	case oidTimestamp, oidTimestampTZ:
		switch int64(v) {
		case math.MaxInt64:
			return append(dst, "infinity"...)
		case math.MinInt64:
			return append(dst, "-infinity"...)
		}
		us := int64(v)
		t := time.Unix(epoch+us/1e6, us%1e6*1000).UTC()
		dst = t.AppendFormat(dst, "2006-01-02 15:04:05.999999")
		if oid == oidTimestampTZ {
			dst = append(dst, "+00"...)
		}
		return dst
	}
	return nil
}

// appendNumeric reads numeric: digits of base 10000.
func appendNumeric(dst, v []byte) []byte {
	r := cursor.New(v)
	n, weight, sign, scale := int(r.Uint16()), int(int16(r.Uint16())), r.Uint16(), int(r.Uint16())
	switch sign {
	case 0xC000:
		return append(dst, "NaN"...)
	case 0xD000:
		return append(dst, "Infinity"...)
	case 0xF000:
		return append(dst, "-Infinity"...)
	}
	const most = 64 // groups of digits shown
	if r.Short() || r.Left() != 2*n || weight > most || weight < -most || scale > 4*most || sign != 0 && sign != 0x4000 {
		return appendHex(dst, v)
	}
	group := func(i int) int {
		if i < 0 || i >= n {
			return 0
		}
		return int(binary.BigEndian.Uint16(v[8+2*i:])) % 10000
	}
	if sign != 0 {
		dst = append(dst, '-')
	}
	if weight < 0 {
		dst = append(dst, '0')
	}
	for i := 0; i <= weight; i++ {
		if i == 0 {
			dst = strconv.AppendInt(dst, int64(group(0)), 10)
		} else {
			dst = appendGroup(dst, group(i))
		}
	}
	if scale == 0 {
		return dst
	}
	dst = append(dst, '.')
	end := len(dst) + scale
	for i := weight + 1; len(dst) < end; i++ {
		dst = appendGroup(dst, group(i))
	}
	return dst[:end]
}

func appendGroup(dst []byte, g int) []byte {
	return append(dst, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
}
