package bundle

import (
	"io/fs"
	"strings"
	"unicode/utf8"
)

// Limits of file names, in bytes.
const (
	maxElement = 100             // of any name
	maxName    = maxElement - 20 // of SafeName, so that a number before it and a suffix after it fit
)

// SafeName makes a file name from any text: lower-case ASCII letters, digits, dot, dash and
// underscore, neither hidden nor reserved on any system, at most 80 bytes, with the extension kept.
// Different texts may give the same name, so callers put a number first.
func SafeName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	var b strings.Builder
	last := byte(0)
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if !plain(c) {
			c = '_'
			if last == '_' {
				continue
			}
		}
		b.WriteByte(c)
		last = c
	}
	s := strings.TrimRight(strings.TrimLeft(b.String(), ".-"), ".")
	if len(s) > maxName {
		ext := ""
		if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= 16 {
			ext = s[i:]
		}
		s = strings.TrimRight(s[:maxName-len(ext)], ".") + ext
	}
	if s == "" || s == "_" {
		return "capture"
	}
	if reserved(s) {
		return "_" + s
	}
	return s
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

// reserved reports whether Windows reserves a name for a device, with any extension.
func reserved(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	stem = strings.TrimRight(stem, " ")
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "COM") || strings.HasPrefix(stem, "LPT")) && stem[3] >= '0' && stem[3] <= '9'
}

// portable reports whether a path is the same file on every system, and looks like no other: its names have only
// lower-case ASCII letters, digits, dot, dash, underscore and equals sign, are neither hidden nor an option of a command, do
// not end with a dot, which Windows drops, and are not reserved there for a device. Only tag files may have other names.
func portable(rel string) bool {
	for el := range strings.SplitSeq(rel, "/") {
		if len(el) > maxElement || strings.TrimLeft(el, ".-") != el || strings.TrimRight(el, ".") != el || reserved(el) {
			return false
		}
		for i := range len(el) {
			if !plain(el[i]) && el[i] != '=' {
				return false
			}
		}
	}
	return true
}

// validRel reports whether a path is allowed in a bundle. Paths are relative, with slashes, and
// have no byte that BagIt would percent-encode or sha256sum would escape, so that manifests, ZIP
// and disk use the same spelling. They do not begin with an asterisk, which in a manifest may
// precede a path without being part of it (RFC 8493, section 2.1.3).
func validRel(rel string) bool {
	if !fs.ValidPath(rel) || rel[0] == '*' || rel == "." || len(rel) > 1024 || !utf8.ValidString(rel) {
		return false
	}
	for _, c := range rel {
		if c < 0x20 || c == 0x7f || c == '\\' || c == '%' || c == ':' {
			return false
		}
	}
	for el := range strings.SplitSeq(rel, "/") {
		if len(el) > 255 || strings.TrimSpace(el) != el {
			return false
		}
	}
	return true
}
