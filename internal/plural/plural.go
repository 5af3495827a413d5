// Package plural writes numbers with their nouns: "1 call", "2 calls".
package plural

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Count writes a number with its noun: "1 call", "1,234 calls".
func Count(n int64, one, many string) string {
	if n == 1 {
		many = one
	}
	return Thousands(n) + " " + many
}

// Thousands writes a number as 1,234,567.
func Thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Digits writes a number with up to n significant digits, and never with an exponent, as %g does:
// 1235, not 1.235e+03.
func Digits(v float64, n int) string {
	return strconv.FormatFloat(Significant(v, n), 'f', -1, 64)
}

// Significant rounds v to n significant digits.
func Significant(v float64, n int) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', n, 64), 64)
	return v
}

// Amount writes a number as Digits does, with its noun: "1 call", "1.5 calls".
func Amount(v float64, n int, one, many string) string {
	text := Digits(v, n)
	if text == "1" {
		many = one
	}
	return text + " " + many
}

// Sprintf is fmt.Sprintf with one more rule: for {one|many} it writes the first word if the last %d
// before it is 1, and otherwise the second: "%d {packet carries|packets carry} this call". It
// interprets only the format, never the arguments. Arguments are used in order.
func Sprintf(format string, args ...any) string {
	var b strings.Builder
	last, next := int64(0), 0
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c == '{' {
			if one, many, end, ok := choice(format[i:]); ok {
				if last == 1 {
					many = one
				}
				b.WriteString(many)
				i += end
				continue
			}
		}
		b.WriteByte(c)
		if c != '%' {
			continue
		}
		for i++; i < len(format); i++ { // flags, width and precision, then the verb
			b.WriteByte(format[i])
			if !strings.ContainsRune("+-# 0123456789.", rune(format[i])) {
				break
			}
		}
		if i == len(format) || format[i] == '%' {
			continue
		}
		if format[i] == 'd' && next < len(args) {
			last = whole(args[next])
		}
		next++
	}
	return fmt.Sprintf(b.String(), args...)
}

// choice parses {one|many}; end is the index of the closing brace.
func choice(s string) (one, many string, end int, ok bool) {
	end = strings.IndexByte(s, '}')
	if end < 0 {
		return "", "", 0, false
	}
	one, many, ok = strings.Cut(s[1:end], "|")
	return one, many, end, ok
}

func whole(v any) int64 {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return r.Int()
	case r.CanUint() && r.Uint() == 1:
		return 1
	}
	return 0
}
