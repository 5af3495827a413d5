package derive_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

// The searcher of the leak tests. It shares no code with the product: it decodes everything that looks like an
// encoding, whatever is in it, and looks at all that comes out, again up to maxSeek times.

const (
	maxSeek  = 4
	mostSeek = 1 << 20 // bytes of one decoded text
)

var (
	seekPercent = regexp.MustCompile(`(?:[!-~]*%[0-9a-fA-F]{2})+[!-~]*`)
	seekSlash   = regexp.MustCompile(`(?:[ -~]*\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[0-7]{3}|[\\/n]))+[ -~]*`)
	seekEntity  = regexp.MustCompile(`(?:[ -~]*&#?[0-9a-zA-Z]{1,8};)+[ -~]*`)
	seekQuoted  = regexp.MustCompile(`(?:[ -~]*=(?:[0-9A-F]{2}|\r\n))+[ -~]*`)
	seek64      = regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}`)
	seekLines   = regexp.MustCompile(`[A-Za-z0-9+/]{60,}(?:(?:\r?\n|\\n)[A-Za-z0-9+/]+)+`)
	seek32      = regexp.MustCompile(`[A-Z2-7]{16,}|[a-z2-7]{16,}`)
	seekHex     = regexp.MustCompile(`[0-9a-fA-F]{16,}`)
	seekWide    = regexp.MustCompile(`(?s)(?:[\x09-\xff]\x00){6,}|(?:\x00[\x09-\xff]){6,}`)
	seekWider   = regexp.MustCompile(`(?s)(?:[\x09-\xff]\x00\x00\x00){6,}|(?:\x00\x00\x00[\x09-\xff]){6,}`)
	oneSlash    = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[0-7]{3}|[\\/n])`)
	oneEntity   = regexp.MustCompile(`&#?[0-9a-zA-Z]{1,8};`)
	onePercent  = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	oneQuoted   = regexp.MustCompile(`=(?:[0-9A-F]{2}|\r\n)`)
)

// seek calls see for data and for everything that can be decoded from it.
func seek(data []byte, depth int, see func([]byte)) {
	see(data)
	if depth >= maxSeek || len(data) < 8 {
		return
	}
	next := func(b []byte) {
		if len(b) >= 6 {
			seek(b, depth+1, see)
		}
	}
	each := func(r *regexp.Regexp, do func(string)) {
		for _, m := range r.FindAll(data, -1) {
			do(string(m))
		}
	}
	each(seekPercent, func(s string) {
		next([]byte(onePercent.ReplaceAllStringFunc(s, func(e string) string {
			n, _ := strconv.ParseUint(e[1:], 16, 8)
			return string([]byte{byte(n)})
		})))
	})
	each(seekSlash, func(s string) { next(unslash(s)) })
	each(seekEntity, func(s string) {
		next([]byte(oneEntity.ReplaceAllStringFunc(s, entityOf)))
	})
	each(seekQuoted, func(s string) {
		next([]byte(oneQuoted.ReplaceAllStringFunc(s, func(e string) string {
			n, err := strconv.ParseUint(e[1:], 16, 8)
			if err != nil {
				return ""
			}
			return string([]byte{byte(n)})
		})))
	})
	each(seek64, func(s string) { un64(s, next) })
	each(seekLines, func(s string) { un64(strings.NewReplacer("\r", "", "\n", "", `\n`, "").Replace(s), next) })
	each(seek32, func(s string) {
		for k := range 8 {
			if len(s) > k {
				b, _ := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(s[k : len(s)-(len(s)-k)%8]))
				next(b)
			}
		}
	})
	each(seekHex, func(s string) {
		for k := range 2 {
			b, _ := hex.DecodeString(s[k : len(s)-(len(s)-k)%2])
			next(b)
		}
	})
	for _, r := range []*regexp.Regexp{seekWide, seekWider} {
		each(r, func(s string) { next(bytes.ReplaceAll([]byte(s), []byte{0}, nil)) })
	}
	for i := 0; i+8 < len(data); i++ {
		if b := unpacked(data[i:]); len(b) > 0 {
			next(b)
		}
	}
	if depth > 0 && (data[0] < ' ' || data[0] > '~' || data[1] < ' ' || data[1] > '~') {
		next(readAll(flate.NewReader(bytes.NewReader(data)), nil))
	}
}

// un64 decodes base64 at every place where it may begin.
func un64(s string, next func([]byte)) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	for _, part := range append(strings.SplitAfter(s, "/"), s) {
		for k := range 4 {
			if len(part) > k+8 {
				p := part[k:]
				if len(p)%4 == 1 {
					p = p[:len(p)-1]
				}
				b, _ := base64.RawStdEncoding.DecodeString(p)
				next(b)
			}
		}
		if part == s {
			break
		}
	}
}

func unslash(s string) []byte {
	var wide []uint16 // a pair of units is one character
	var out []byte
	flush := func() {
		out = append(out, string(utf16.Decode(wide))...)
		wide = wide[:0]
	}
	for len(s) > 0 {
		at := oneSlash.FindStringIndex(s)
		if at == nil || at[0] > 0 {
			flush()
		}
		if at == nil {
			return append(out, s...)
		}
		out = append(out, s[:at[0]]...)
		e := s[at[0]+1 : at[1]]
		s = s[at[1]:]
		switch e[0] {
		case 'u':
			n, _ := strconv.ParseUint(e[1:], 16, 16)
			wide = append(wide, uint16(n))
			continue
		case 'x':
			n, _ := strconv.ParseUint(e[1:], 16, 8)
			flush()
			out = append(out, byte(n))
		case '\\', '/':
			flush()
			out = append(out, e[0])
		case 'n':
			flush()
			out = append(out, '\n')
		default:
			n, _ := strconv.ParseUint(e, 8, 9)
			flush()
			out = append(out, byte(n))
		}
	}
	flush()
	return out
}

func entityOf(e string) string {
	e = e[1 : len(e)-1]
	if t, ok := map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}[e]; ok {
		return t
	}
	base, digits := 10, strings.TrimPrefix(e, "#")
	if h := strings.TrimPrefix(strings.ToLower(digits), "x"); h != strings.ToLower(digits) {
		base, digits = 16, h
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if err != nil || n == 0 {
		return ""
	}
	return string(rune(n))
}

// unpacked decompresses what begins as a known format does.
func unpacked(b []byte) []byte {
	switch {
	case b[0] == 0x1f && b[1] == 0x8b && b[2] == 8:
		return readAll(gzip.NewReader(bytes.NewReader(b)))
	case b[0] == 0x78 && binary.BigEndian.Uint16(b)%31 == 0:
		return readAll(zlib.NewReader(bytes.NewReader(b)))
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil
		}
		defer z.Close()
		return readAll(z, nil)
	case bytes.HasPrefix(b, []byte("PK\x03\x04")) && len(b) > 30:
		at := 30 + int(binary.LittleEndian.Uint16(b[26:])) + int(binary.LittleEndian.Uint16(b[28:]))
		if at < len(b) && b[8] == byte(zip.Deflate) {
			return readAll(flate.NewReader(bytes.NewReader(b[at:])), nil)
		}
	}
	return nil
}

// readAll reads what there is, also of a damaged stream.
func readAll(r io.Reader, err error) []byte {
	if err != nil {
		return nil
	}
	b, _ := io.ReadAll(io.LimitReader(r, mostSeek))
	return b
}
