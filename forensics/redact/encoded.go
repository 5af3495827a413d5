package redact

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Nested texts in base64 or base64url (RFC 4648): a run of such characters that decodes to text, or to
// text in gzip, zlib or zstd.
// Detectors search them, and secret names apply inside them. Line breaks end a run.
// LIMIT: only the first match in a run is reported; a secret that is not text is not found.
const (
	leastRun   = 16 // characters
	maxWithin  = 2  // nested runs
	maxStarts  = 8  // parts of a path that are checked
	encodedTag = "base64:"

	encodedKind = "base64" // kind of a run that holds a secret
)

// encodedChars are the characters of base64 and base64url.
var encodedChars = func() (list [256]bool) {
	for c := range list {
		list[c] = classes[c]&(alnum|plus|slash|dash|underscore) != 0
	}
	return list
}()

// nextRun returns the first run of base64 in s that begins at from or later and before to, and its
// decoded text. end is 0 if there is none.
func nextRun(s string, from, to int) (start, end int, plain string) {
	for i := from; i < to; {
		// A run has at least leastRun bytes, so checking one byte in that many finds every run.
		probe := i + leastRun - 1
		if probe >= len(s) {
			return 0, 0, ""
		}
		if !encodedChars[s[probe]] {
			i = probe + 1
			continue
		}
		start := probe
		for start > i && encodedChars[s[start-1]] {
			start--
		}
		if start >= to {
			break
		}
		end := probe + 1
		for end < len(s) && encodedChars[s[end]] {
			end++
		}
		if end-start >= leastRun {
			if at, till, plain := runWithin(s[start:end]); till > 0 && start+at < to {
				for pad := 0; pad < 2 && till == end-start && end < len(s) && s[end] == '='; pad++ {
					end, till = end+1, till+1
				}
				return start + at, start + till, plain
			}
		}
		i = end
	}
	return 0, 0, ""
}

// runWithin returns the part of a run that decodes to text: all of it, or the part after a slash,
// because paths also have slashes. No alphabet has both a slash and a dash or underscore: with these,
// a slash ends a part.
func runWithin(run string) (start, end int, plain string) {
	parted := false
	for tries := 0; tries < maxStarts && len(run)-start >= leastRun; tries++ {
		part := run[start:]
		slash := strings.IndexByte(part, '/')
		if tries == 0 {
			parted = slash >= 0 && strings.ContainsAny(part, "-_")
		}
		if parted && slash >= 0 {
			part = part[:slash]
		}
		if len(part) >= leastRun {
			if plain, ok := decoded(part); ok {
				return start, start + len(part), plain
			}
		}
		if slash < 0 {
			break
		}
		start += slash + 1
	}
	return 0, 0, ""
}

// sextets are the values of the characters of base64 and base64url.
var sextets = func() (list [256]byte) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		list[c] = byte(i)
	}
	list['-'], list['_'] = list['+'], list['/']
	return list
}()

// decoded returns the text of a run, which may be compressed. It rejects other data after a few
// characters.
func decoded(run string) (string, bool) {
	var head [6]byte
	first := decode(head[:0], run[:8])
	if !isText(first, false) {
		if first[0] != 0x1f && first[0] != 0x28 && first[0] != 0x78 {
			return "", false
		}
		text, whole, ok := inflated(decode(make([]byte, 0, len(run)*3/4), run))
		return string(text), ok && isText(text, whole)
	}
	all := decode(make([]byte, 0, len(run)*3/4), run)
	return string(all), isText(all, true)
}

// decode appends the bytes of a run; remaining bits at its end are dropped.
func decode(to []byte, run string) []byte {
	i := 0
	for ; i+4 <= len(run); i += 4 {
		n := uint32(sextets[run[i]])<<18 | uint32(sextets[run[i+1]])<<12 | uint32(sextets[run[i+2]])<<6 | uint32(sextets[run[i+3]])
		to = append(to, byte(n>>16), byte(n>>8), byte(n))
	}
	switch len(run) - i {
	case 2:
		to = append(to, sextets[run[i]]<<2|sextets[run[i+1]]>>4)
	case 3:
		to = append(to, sextets[run[i]]<<2|sextets[run[i+1]]>>4, sextets[run[i+1]]<<4|sextets[run[i+2]]>>2)
	}
	return to
}

// isText reports whether bytes are text: UTF-8 without control characters. If they are not the whole
// text, the last character may be cut.
func isText(b []byte, whole bool) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return !whole && !utf8.FullRune(b[i:])
		}
		if !unicode.IsPrint(r) {
			return false
		}
		i += n
	}
	return true
}

// encoded returns the first match inside a run that begins at from or later and before to. The match
// covers the run.
func (sc *scanner) encoded(s string, from, to, depth int) Match {
	if depth >= maxWithin {
		return Match{}
	}
	for from < to {
		start, end, plain := nextRun(s, from, to)
		if end == 0 {
			break
		}
		if m := sc.within(plain, 0, depth+1); m.End > 0 {
			return Match{Kind: m.Kind, Start: start, End: end, Masked: encodedTag + strings.TrimPrefix(m.Masked, encodedTag)}
		}
		from = end
	}
	return Match{}
}

// FindEncoded lists the matches of all detectors in base64.
func FindEncoded(text string) (list []Match) {
	for m := everything().encoded(text, 0, len(text), 0); m.End > 0; m = everything().encoded(text, m.End, len(text), 0) {
		list = append(list, m)
	}
	return list
}

// runs adds edits for runs of base64 that contain a secret, by name or by form.
func (t *task) runs(s string, have []edit, depth int) []edit {
	if depth >= maxWithin {
		return have
	}
	fixed := len(have)
	for from := 0; from < len(s); {
		start, end, plain := nextRun(s, from, len(s))
		if end == 0 {
			break
		}
		from = end
		if inside(have[:fixed], start, end) {
			continue
		}
		within := task{p: t.p, seen: t.seen, depth: depth + 1}
		if within.text("", plain, 0); within.n > 0 {
			t.n++
			t.report(encodedKind, s[start:end])
			have = append(have, edit{start, end, t.p.mask})
		}
	}
	return tidy(have)
}
