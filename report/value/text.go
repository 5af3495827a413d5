package value

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of text from captures.
const (
	MaxText  = 160 // characters of a cell
	MaxLabel = 24  // characters of a label in a figure
)

// Clean shortens text and writes characters that are invisible, or change the display of others, as
// their code point: \u{202e} for a change of direction.
func Clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n == most && i < len(s) {
			b.WriteRune('…')
			break
		}
		n++
		switch {
		case r == utf8.RuneError:
			b.WriteRune('\uFFFD')
		case Hidden(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Hidden reports whether a character is a control, format, direction, separator or private one.
func Hidden(r rune) bool {
	return r != ' ' && !unicode.IsPrint(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r == 0x034F || r == 0x115F || r == 0x1160 || r == 0x3164 || r == 0xFFA0 ||
		r >= 0xFE00 && r <= 0xFE0F || r >= 0xE0100 && r <= 0xE01EF
}

// Text returns clean text.
func Text(s string) string { return Clean(s, MaxText) }

// Some joins the first words of a list as clean text.
func Some(list []string) string {
	const most = 6
	if len(list) > most {
		list = append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
	}
	return Clean(strings.Join(list, ", "), MaxText)
}

// digits writes v with two or three leading digits.
func digits(v float64) string {
	if v < 9.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// Bytes writes a number of bytes in powers of 1000.
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v /= 1000; v < 999.5 {
			return digits(v) + " " + unit
		}
	}
	return digits(v/1000) + " EB"
}

// Micros writes a duration in microseconds.
func Micros(us int64) string { return Duration(time.Duration(min(us, 1<<53)) * time.Microsecond) }

// Duration writes a duration for people.
func Duration(d time.Duration) string {
	switch s := d.Seconds(); {
	case d < 0:
		return "−" + Duration(-d)
	case d == 0:
		return "0 s"
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + " ns"
	case s < 999.5e-6:
		return strconv.FormatFloat(s*1e6, 'f', 0, 64) + " µs"
	case s < 0.9995:
		return digits(s*1e3) + " ms"
	case s < 9.995:
		return strconv.FormatFloat(s, 'f', 2, 64) + " s"
	case d >= time.Minute && d < 2*time.Hour && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	case s < 119.5:
		return digits(s) + " s"
	case s < 119.5*60:
		return pair(int64(s+0.5), 60, "min", "s")
	case s < 47.5*3600:
		return pair(int64(s/60+0.5), 60, "h", "min")
	case s < 365*86400:
		return pair(int64(s/3600+0.5), 24, "days", "h")
	default:
		return digits(s/86400/365.25) + " years"
	}
}

func pair(n, base int64, big, small string) string {
	if n%base == 0 {
		return fmt.Sprintf("%d %s", n/base, big)
	}
	return fmt.Sprintf("%d %s %d %s", n/base, big, n%base, small)
}

// Percent writes a part of a whole.
func Percent(part, all int64) string {
	if all <= 0 {
		return ""
	}
	switch p := 100 * float64(part) / float64(all); {
	case part == 0:
		return "0 %"
	case p < 0.1:
		return "under 0.1 %"
	case p < 9.95:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	case p > 99 && part < all:
		return "over 99 %"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
}

// Stamp writes a time in UTC with the digits that are useful for a span.
func Stamp(ns int64, span time.Duration) string {
	t := time.Unix(0, ns).UTC()
	if span < 10*time.Minute {
		return t.Format("2006-01-02 15:04:05.000")
	}
	return t.Format(time.DateTime)
}

// And joins words with commas and "and".
func And(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}

// ShellQuote writes s as one word of a POSIX shell.
func ShellQuote(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,+@%", r))
	}) < 0
	switch {
	case plain:
		return s
	case strings.Contains(s, "'") && !strings.ContainsAny(s, "\"$`\\!"):
		return `"` + s + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Clock writes a time, with its date if the case covers more than one.
func Clock(ns, first, last int64) string {
	full := Stamp(ns, time.Duration(last-first))
	if time.Unix(0, first).UTC().Format(time.DateOnly) == time.Unix(0, last).UTC().Format(time.DateOnly) {
		return full[len("2006-01-02 "):]
	}
	return full
}
