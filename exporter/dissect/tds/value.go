package tds

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxBinary = 64 // bytes shown of a binary value

// text is the value as text of at most n bytes.
func (v *value) text(n int) string {
	if v.null {
		return "NULL"
	}
	b := v.head
	cut := v.size > int64(len(b))
	switch v.col.kind {
	case tNVarChar, tNChar, tNText, tXML:
		s := wide(b, n)
		if cut && !strings.HasSuffix(s, "…") {
			s += "…"
		}
		return s
	case tVarChar, tChar, tBigVarChar, tBigChar, tText, tJSON:
		s := clip.Text(b, n)
		if cut && len(b) <= n {
			s += "…"
		}
		return s
	}
	if !cut {
		if s, ok := v.scalar(b); ok {
			return s
		}
	}
	s := "0x" + hex.EncodeToString(b[:min(len(b), maxBinary)])
	if cut || len(b) > maxBinary {
		s += "…"
	}
	return s
}

// number is the value of an integer.
func (v *value) number() int64 {
	switch v.col.kind {
	case tIntN, tInt1, tInt2, tInt4, tInt8:
		return integer(v.head)
	}
	return 0
}

// integer is a signed number; one byte is unsigned.
func integer(b []byte) int64 {
	r := newLittle(b)
	switch len(b) {
	case 1:
		return int64(r.Uint8())
	case 2:
		return int64(int16(r.u16()))
	case 4:
		return int64(int32(r.u32()))
	case 8:
		return int64(r.u64())
	}
	return 0
}

// scalar is a value of a fixed form as text.
func (v *value) scalar(b []byte) (string, bool) {
	n := len(b)
	switch v.col.kind {
	case tIntN, tInt1, tInt2, tInt4, tInt8, tBit, tBitN:
		return strconv.FormatInt(integer(b), 10), n == 1 || n == 2 || n == 4 || n == 8
	case tFloat4, tFloat8, tFloatN:
		r := newLittle(b)
		if n == 4 {
			return strconv.FormatFloat(float64(math.Float32frombits(r.u32())), 'g', -1, 32), true
		}
		return strconv.FormatFloat(math.Float64frombits(r.u64()), 'g', -1, 64), n == 8
	case tMoney, tMoney4, tMoneyN:
		return money(b), n == 4 || n == 8
	case tDecimal, tNumeric, tDecimalN, tNumericN:
		return decimal(b, int(v.col.scale)), n >= 2
	case tGUID:
		if n != 16 {
			return "", false
		}
		return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8:10], b[10:]), true
	case tDateTime, tDateTime4, tDateTimeN:
		return oldTime(b), n == 4 || n == 8
	case tDateN, tTimeN, tDateTime2, tDateOffset:
		return newTime(b, v.col.kind, int(v.col.scale))
	}
	return "", false
}

// money is a number of ten-thousandths; of 8 bytes, the upper 4 come first.
func money(b []byte) string {
	r := newLittle(b)
	x := int64(int32(r.u32()))
	if len(b) == 8 {
		x = x<<32 | int64(r.u32())
	}
	return scaled(big.NewInt(x), 4)
}

// decimal is a sign and a number.
func decimal(b []byte, scale int) string {
	if len(b) < 2 {
		return ""
	}
	mag := make([]byte, len(b)-1)
	for i := range mag {
		mag[i] = b[len(b)-1-i]
	}
	x := new(big.Int).SetBytes(mag)
	if b[0] == 0 {
		x.Neg(x)
	}
	return scaled(x, scale)
}

// scaled is x with its last digits after the point.
func scaled(x *big.Int, scale int) string {
	s := new(big.Int).Abs(x).String()
	if scale > 0 {
		if len(s) <= scale {
			s = strings.Repeat("0", scale+1-len(s)) + s
		}
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	}
	if x.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// oldTime is a day since 1900 and a time in minutes, or in 300ths of a second.
func oldTime(b []byte) string {
	r := newLittle(b)
	day := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	if len(b) == 4 {
		days := r.u16()
		return day.AddDate(0, 0, days).Add(time.Duration(r.u16()) * time.Minute).Format("2006-01-02 15:04")
	}
	days := int(int32(r.u32()))
	ms := (int64(r.u32())*10 + 1) / 3
	return day.AddDate(0, 0, min(max(days, -1<<20), 1<<22)).Add(time.Duration(ms%86400000) * time.Millisecond).Format("2006-01-02 15:04:05.000")
}

// newTime is a time of the types of version 7.3: a time in units of 10^-scale s, a day since the year 1 and
// an offset in minutes.
func newTime(b []byte, kind byte, scale int) (string, bool) {
	timed, dated, moved := kind != tDateN, kind != tTimeN, kind == tDateOffset
	sizes := [8]int{3, 3, 3, 4, 4, 5, 5, 5}
	if scale > 7 {
		return "", false
	}
	want := 0
	if timed {
		want += sizes[scale]
	}
	if dated {
		want += 3
	}
	if moved {
		want += 2
	}
	if len(b) != want {
		return "", false
	}
	number := func(n int) (x int64) {
		for i := range n {
			x |= int64(b[i]) << (8 * i)
		}
		b = b[n:]
		return x
	}
	at, layout := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), ""
	if timed {
		ns := number(sizes[scale])
		for range 9 - scale {
			ns *= 10
		}
		at, layout = at.Add(time.Duration(ns)), "15:04:05.0000000"[:9+scale]
		if scale == 0 {
			layout = "15:04:05"
		}
	}
	if dated {
		at, layout = at.AddDate(0, 0, int(number(3))), strings.TrimSpace("2006-01-02 "+layout)
	}
	if moved {
		minutes := int16(number(2))
		at, layout = at.In(time.FixedZone("", int(minutes)*60)), layout+" -07:00"
	}
	return at.Format(layout), true
}
