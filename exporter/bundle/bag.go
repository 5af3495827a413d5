package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of the tag files.
const (
	maxTagFile  = 1 << 20  // bytes of bagit.txt and of bag-info.txt
	maxListFile = 64 << 20 // bytes of a manifest
	maxFiles    = 200_000  // files in a bundle
)

const bagitText = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

// tagFiles are the files that tagmanifest-sha256.txt lists, in its order. Bundles of older
// releases have no README.html.
var tagFiles = [...]string{readmeName, bagInfoName, bagitName, manifestName}

// line is one line of a manifest.
type line struct {
	path   string
	sha256 Digest
}

// writeLines writes a manifest that BagIt tools and sha256sum -c can read.
func writeLines(lines []line) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&b, "%s  %s\n", l.sha256, l.path)
	}
	return b.Bytes()
}

func readLines(src source, rel string) ([]line, error) {
	data, err := readAll(src, rel, maxListFile)
	if err != nil {
		return nil, err
	}
	return linesOf(rel, data)
}

func linesOf(rel string, data []byte) ([]line, error) {
	lines, err := parseLines(data)
	if err != nil {
		return nil, &DamagedError{File: rel, What: err.Error(), Err: err}
	}
	return lines, nil
}

// ParseList reads the content of a manifest or tag manifest, the file rel. The list is sorted by path; an
// error is a *DamagedError.
func ParseList(rel string, data []byte) ([]Payload, error) {
	lines, err := linesOf(rel, data)
	return exported(lines), err
}

// parseLines reads a manifest and returns its lines sorted by path. It accepts any order,
// because other tools may have rewritten the manifest.
func parseLines(data []byte) ([]line, error) {
	var lines []line
	seen := map[string]bool{}
	sc := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; sc.Scan(); n++ {
		text := strings.TrimSuffix(sc.Text(), "\r")
		hash, rest, ok := strings.Cut(text, " ")
		var l line
		if err := l.sha256.UnmarshalText([]byte(hash)); err != nil || !ok {
			return nil, fmt.Errorf("line %d: not a SHA-256, blanks and a path", n)
		}
		l.path = strings.TrimPrefix(strings.TrimLeft(rest, " \t"), "*")
		if !validRel(l.path) {
			return nil, fmt.Errorf("line %d: path %q leads out of the bundle or cannot be one of its files", n, l.path)
		}
		if seen[l.path] {
			return nil, fmt.Errorf("line %d: path %q twice", n, l.path)
		}
		if len(lines) == maxFiles {
			return nil, fmt.Errorf("line %d: more than %d files", n, maxFiles)
		}
		seen[l.path] = true
		lines = append(lines, l)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(lines)+1, err)
	}
	sortLines(lines)
	return lines, nil
}

func sortLines(lines []line) {
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.path, b.path) })
}

// bagInfo is the content of bag-info.txt. It may contain times and people, and is not part of
// the reproducible data.
func bagInfo(o CreateOptions, agent string, bytes int64, files int) []byte {
	var b strings.Builder
	put := func(key, value string) {
		if value = oneLine(value); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	put("Source-Organization", o.Organization)
	put("Contact-Name", o.User)
	put("External-Identifier", o.Identifier)
	put("Bagging-Date", o.Time.UTC().Format(time.DateOnly))
	put("Bag-Software-Agent", agent)
	put("Bag-Size", bagSize(bytes))
	put("Payload-Oxum", fmt.Sprintf("%d.%d", bytes, files))
	return []byte(b.String())
}

// bagSize is the size of the payload for people, as RFC 8493 section 2.2.2 writes it: "42.6 GB".
func bagSize(bytes int64) string {
	size, unit := float64(bytes), 0
	units := [...]string{"B", "KB", "MB", "GB", "TB", "PB", "EB"}
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// oneLine makes a text fit after a label: no control characters, and no blanks around it.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, clip.Text(s, maxText))
	return strings.TrimSpace(s)
}

// oxum finds Payload-Oxum in bag-info.txt: bytes and files of the payload. A file that other readers could read
// differently (RFC 8493 section 2.2.2) is an error.
func oxum(info []byte) (size, files int64, err error) {
	if !utf8.Valid(info) {
		return 0, 0, errors.New("bytes that are not UTF-8")
	}
	found, value, inside := false, "", false
	for text := range strings.Lines(string(info)) {
		text = strings.TrimRight(text, "\r\n")
		if text != "" && (text[0] == ' ' || text[0] == '\t') { // it continues the value
			if inside {
				value += text
			}
			continue
		}
		label, after, ok := strings.Cut(text, ":")
		if !ok && text != "" {
			return 0, 0, fmt.Errorf("line %.40q has no label", text)
		}
		if inside = strings.EqualFold(strings.TrimSpace(label), "Payload-Oxum"); !inside {
			continue
		}
		if found {
			return 0, 0, errors.New("Payload-Oxum twice")
		}
		found, value = true, after
	}
	if !found {
		return 0, 0, errors.New("no Payload-Oxum")
	}
	value = strings.TrimSpace(value)
	a, b, ok := strings.Cut(value, ".")
	if !ok {
		return 0, 0, fmt.Errorf("Payload-Oxum %q, expected bytes.files", value)
	}
	if size, err = parseCount(a); err == nil {
		files, err = parseCount(b)
	}
	return size, files, err
}

func parseCount(s string) (n int64, err error) {
	if s == "" || len(s) > 18 {
		return 0, fmt.Errorf("Payload-Oxum: %q is not a count", s)
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("Payload-Oxum: %q is not a count", s)
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}
