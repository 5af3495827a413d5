package pdf

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Errors of files that Archive did not write.
var (
	ErrNoFile  = errors.New("the PDF carries no file")
	ErrSeveral = errors.New("the PDF carries several files")
)

// object is an object of a file.
type object struct {
	number     int
	dictionary string
	stream     []byte // as stored
}

var (
	header  = regexp.MustCompile(`(?:^|[\r\n])(\d{1,9}) 0 obj\b`)
	ending  = regexp.MustCompile(`endobj|stream\n`)
	length  = regexp.MustCompile(`/Length (\d{1,10})\b`)
	content = regexp.MustCompile(`/Contents (\d{1,9}) 0 R`)
)

// objects lists the objects of a file in their order. It does not read the table at the end, so that
// it can name what differs in a file whose table is wrong.
func objects(file []byte) (out []object) {
	for {
		at := header.FindSubmatchIndex(file)
		if at == nil {
			return out
		}
		o := object{}
		o.number, _ = strconv.Atoi(string(file[at[2]:at[3]])) // digits
		file = file[at[1]:]
		end := ending.FindIndex(file)
		if end == nil {
			return append(out, object{number: o.number, dictionary: string(file)})
		}
		o.dictionary = string(file[:end[0]])
		isStream := file[end[0]] == 's'
		if file = file[end[1]:]; !isStream {
			out = append(out, o)
			continue
		}
		n := bytes.Index(file, []byte("\nendstream"))
		if m := length.FindStringSubmatch(o.dictionary); m != nil {
			if stated, err := strconv.Atoi(m[1]); err == nil && stated <= len(file) && bytes.HasPrefix(file[stated:], []byte("\nendstream")) {
				n = stated
			}
		}
		if n < 0 {
			n = len(file)
		}
		o.stream, file = file[:n], file[n:]
		out = append(out, o)
	}
}

// data decompresses a stream of at most a number of bytes, and subtracts its size from the number.
func (o *object) data(most *int64) ([]byte, error) {
	r := io.Reader(bytes.NewReader(o.stream))
	if strings.Contains(o.dictionary, "/FlateDecode") {
		z, err := zlib.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", o.number, err)
		}
		r = z
	}
	text, err := io.ReadAll(io.LimitReader(r, *most+1))
	if err != nil {
		return nil, fmt.Errorf("object %d: %w", o.number, err)
	}
	if *most -= int64(len(text)); *most < 0 {
		return nil, fmt.Errorf("object %d: the file is too large when decompressed", o.number)
	}
	return text, nil
}

// Attached returns the file that a document carries, of at most a number of bytes. It returns
// ErrNoFile, ErrSeveral, or an error of the compression.
func Attached(file []byte, most int64) ([]byte, error) {
	var found *object
	for _, o := range objects(file) {
		if !strings.Contains(o.dictionary, "/Type /EmbeddedFile") {
			continue
		}
		if found != nil {
			return nil, ErrSeveral
		}
		found = &o
	}
	if found == nil {
		return nil, ErrNoFile
	}
	return found.data(&most)
}

// Part is a line of a page, or another part of a file. In lines, text that is shown is in quotes.
type Part struct{ Place, Text string }

// Parts lists what a file consists of, in its order: each line of each page, and other objects as a
// whole. A stream that cannot be decompressed, or that makes the file larger than a number of bytes, is
// a part with the error.
func Parts(file []byte, most int64) (out []Part) {
	list := objects(file)
	pages := map[int]int{} // the number of the page by that of its content
	for _, o := range list {
		if m := content.FindStringSubmatch(o.dictionary); m != nil && o.stream == nil {
			n, _ := strconv.Atoi(m[1]) // digits
			pages[n] = len(pages) + 1
		}
	}
	for _, o := range list {
		place := fmt.Sprintf("object %d of the PDF", o.number)
		page, isPage := pages[o.number]
		if isPage {
			place = fmt.Sprintf("page %d", page)
		}
		out = append(out, Part{place, strings.TrimSpace(o.dictionary)})
		if o.stream == nil {
			continue
		}
		text, err := o.data(&most)
		switch {
		case err != nil:
			out = append(out, Part{place, err.Error()})
		case isPage:
			for _, line := range lines(text) {
				out = append(out, Part{place, line})
			}
		default:
			out = append(out, Part{place, string(text)})
		}
	}
	return out
}

// lines splits the content of a page into lines, and decodes the text that it shows.
func lines(content []byte) (out []string) {
	var line, shown []byte
	inside, escaped := false, false
	for _, c := range content {
		switch {
		case !inside && c == '\n':
			out, line = append(out, string(line)), nil
		case !inside && c == '(':
			inside, shown = true, nil
		case !inside:
			line = append(line, c)
		case escaped:
			escaped = false
			if c == 'r' {
				c = '\r'
			}
			shown = append(shown, c)
		case c == '\\':
			escaped = true
		case c == ')':
			inside, line = false, fmt.Appendf(line, "“%s”", decode(shown))
		default:
			shown = append(shown, c)
		}
	}
	return append(out, string(line))
}

// decode reads text as fonts of a document have it: UTF-16, the high byte first.
func decode(b []byte) string {
	var halves []uint16
	for ; len(b) >= 2; b = b[2:] {
		halves = append(halves, binary.BigEndian.Uint16(b))
	}
	return string(utf16.Decode(halves))
}
