package redact

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Texts within texts in base64 or base64url, RFC 4648: a run of its characters that decodes to
// text. Detectors look into them, and names within them are secret as elsewhere. Line breaks end
// a run.
// LIMIT: of several hits in one run only the first is told; a secret that is not text is not found.
const (
	leastRun   = 16 // characters
	maxWithin  = 2  // runs within what a run decodes to
	maxStarts  = 8  // parts of a path that are looked at
	encodedTag = "base64:"
)

// encodedChars are the characters of base64 and base64url.
var encodedChars = func() (list [256]bool) {
	for c := range list {
		list[c] = classes[c]&(alnum|plus|slash|dash|underscore) != 0
	}
	return list
}()

// nextRun is the first run of base64 in s that begins at from or later and before to, and what it
// decodes to; end is 0 where there is none.
func nextRun(s string, from, to int) (start, end int, plain string) {
	for i := from; i < to; {
		// A run covers one of every so many bytes, so that the others need not be looked at.
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

// runWithin is the part of a run that decodes to text: all of it, or what follows a slash, since
// paths have slashes too. No alphabet has both a slash and a dash or an underscore: there a slash
// ends a part.
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

// sextets are the values of base64's characters, and of base64url's.
var sextets = func() (list [256]byte) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		list[c] = byte(i)
	}
	list['-'], list['_'] = list['+'], list['/']
	return list
}()

// decoded is the text that a run stands for. What is no text is refused after a few characters.
func decoded(run string) (string, bool) {
	var head [6]byte
	if !isText(decode(head[:0], run[:8]), false) {
		return "", false
	}
	all := decode(make([]byte, 0, len(run)*3/4), run)
	return string(all), isText(all, true)
}

// decode adds the bytes that a run stands for; what is left over at its end is no byte.
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

// isText says that bytes are text that people or programs write: UTF-8 without control characters.
// Where they are not the whole text the last character may be cut.
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

// encoded is the first hit within a run that begins at from or later and before to. It covers the
// run.
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

// FindEncoded lists the hits of all detectors that are in base64.
func FindEncoded(text string) (list []Match) {
	for m := everything().encoded(text, 0, len(text), 0); m.End > 0; m = everything().encoded(text, m.End, len(text), 0) {
		list = append(list, m)
	}
	return list
}

// runs adds edits for runs of base64 in which something is masked, by its name or its form.
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
			t.saw(s[start:end])
			have = append(have, edit{start, end, t.p.mask})
		}
	}
	return tidy(have)
}
