package clickhouse

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// field is a text in a row of the preview.
func field(b []byte) string {
	if len(b) > maxStored {
		return string(sqltext.AppendField(nil, []byte(clip.Text(b, maxStored))))
	}
	return string(sqltext.AppendField(nil, []byte(strings.ToValidUTF8(string(b), "\uFFFD"))))
}

// format is a value of fixed size as text.
func (k *kind) format(b []byte) string {
	switch k.name {
	case "FixedString":
		return field([]byte(strings.TrimRight(string(b), "\x00")))
	case "Nothing":
		return `\N`
	case "Bool":
		return strconv.FormatBool(b[0] != 0)
	case "Float32":
		return strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 'g', -1, 32)
	case "Float64":
		return strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64)
	case "BFloat16":
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b))<<16)), 'g', -1, 32)
	case "Date":
		return day(int64(binary.LittleEndian.Uint16(b)))
	case "Date32":
		return day(int64(int32(binary.LittleEndian.Uint32(b))))
	case "DateTime":
		return time.Unix(int64(binary.LittleEndian.Uint32(b)), 0).UTC().Format(time.DateTime)
	case "DateTime64":
		return moment(int64(binary.LittleEndian.Uint64(b)), k.scale)
	case "UUID": // two numbers of 8 bytes
		var u [16]byte
		for i := range 8 {
			u[i], u[8+i] = b[7-i], b[15-i]
		}
		return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	case "IPv4":
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}).String()
	case "IPv6":
		return netip.AddrFrom16([16]byte(b)).String()
	}
	n := number(b, !strings.HasPrefix(k.name, "UInt"))
	if k.names != nil {
		if name, ok := k.names[n.Int64()]; ok {
			return field([]byte(name))
		}
	}
	if k.scale > 0 {
		return point(n, k.scale)
	}
	return n.String()
}

// number is a whole number in little-endian order.
func number(b []byte, signed bool) *big.Int {
	big1 := slices.Clone(b)
	slices.Reverse(big1)
	n := new(big.Int).SetBytes(big1)
	if signed && big1[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// point writes a number with digits after the point.
func point(n *big.Int, digits int) string {
	s := new(big.Int).Abs(n).String()
	if len(s) <= digits {
		s = strings.Repeat("0", digits+1-len(s)) + s
	}
	if s = s[:len(s)-digits] + "." + s[len(s)-digits:]; n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

func day(n int64) string { return time.Unix(n*86400, 0).UTC().Format(time.DateOnly) }

// moment is a time as a number of 10^-scale seconds since 1970.
func moment(n int64, scale int) string {
	unit := int64(1)
	for range min(scale, 9) {
		unit *= 10
	}
	whole, part := n/unit, n%unit
	if part < 0 {
		whole, part = whole-1, part+unit
	}
	s := time.Unix(whole, 0).UTC().Format(time.DateTime)
	if scale > 0 && scale <= 9 {
		s += "." + fmt.Sprintf("%0*d", scale, part)
	}
	return s
}

// preview is the first rows of a block, of at most most bytes.
func (d *decoder) preview(most int) string {
	var b []byte
	for i := range int(min(d.rows, maxShown)) {
		from := len(b)
		for j, c := range d.shown {
			if j > 0 {
				b = append(b, '\t')
			}
			if i < len(c.text) {
				b = append(b, c.text[i]...)
			} else {
				b = append(b, "…"...)
			}
		}
		if b = append(b, '\n'); len(b) > most {
			return string(b[:from])
		}
	}
	return string(b)
}
