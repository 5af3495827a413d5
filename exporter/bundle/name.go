package bundle

import (
	"io/fs"
	"strings"
	"unicode/utf8"
)

// maxName limits SafeName, so that a number before it and a suffix after it fit in the 255 bytes
// of a file name.
const maxName = 100

// SafeName makes a file name from any text: lower-case ASCII letters, digits, dot, dash and
// underscore, neither hidden nor reserved on any system, at most 100 bytes, with the extension kept.
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

// portable reports whether a path is valid on every system: Windows rejects these characters,
// drops dots and blanks at the end of a name, and reserves names for devices. Bundles from other
// tools may have such names, so this only applies to those we write.
func portable(rel string) bool {
	for el := range strings.SplitSeq(rel, "/") {
		if strings.ContainsAny(el, `<>:"|?*\`) || strings.TrimRight(el, ". ") != el || reserved(el) {
			return false
		}
	}
	return true
}

// validRel reports whether a path is allowed in a bundle. Paths are relative, with slashes, and
// have no byte that BagIt would percent-encode or sha256sum would escape, so that manifests, ZIP
// and disk use the same spelling.
func validRel(rel string) bool {
	if !fs.ValidPath(rel) || rel == "." || len(rel) > 1024 || !utf8.ValidString(rel) {
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
