package indicator

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Error is a mistake in a file.
type Error struct {
	File string
	Line int // 0: of the file as a whole
	Err  error
}

// Error names the file and the line.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("reading indicators in %s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("reading indicators in %s, line %d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the mistake.
func (e *Error) Unwrap() error { return e.Err }

// Read reads files. Its errors are those of the file system, or *Error.
func Read(paths []string) (*Set, error) {
	if len(paths) > maxFiles {
		return nil, fmt.Errorf("reading indicators from files: at most %d are read, not %d", maxFiles, len(paths))
	}
	s := newSet()
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return nil, fmt.Errorf("reading indicators: %w", err)
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			s.expect(info.Size())
		}
		err = s.add(filepath.Base(p), f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	s.finish()
	return s, nil
}

// file is a file while it is read.
type file struct {
	set     *Set
	source  *Source
	at      int            // index of the source
	reasons map[string]int // indexes in source.Skipped
}

// add reads one file.
func (s *Set) add(name string, r io.Reader) error {
	f := &file{set: s, source: &Source{File: clip.Line([]byte(name), maxName)}, at: len(s.Sources), reasons: map[string]int{}}
	s.Sources = append(s.Sources, f.source)
	hash := sha256.New()
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	in := bufio.NewReaderSize(io.TeeReader(limited, hash), 256<<10)
	start, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading indicators: %w", err)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")): // a byte order mark, which many programs for tables write
		in.Discard(3)
		start = start[3:]
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return &Error{File: name, Line: 1, Err: errors.New("the text is UTF-16: save it as UTF-8")}
	case bytes.HasPrefix(start, []byte("\x1f\x8b")), bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return &Error{File: name, Err: errors.New("the file is compressed: unpack it first")}
	}
	read := f.text
	if c := bytes.TrimLeft(start, " \t\r\n"); len(c) > 0 && (c[0] == '{' || c[0] == '[' && !bytes.HasPrefix(c, []byte("[.]"))) && !fangedAddress(c) {
		read = f.json
	}
	line, err := read(in)
	if limited.N <= 0 {
		return &Error{File: name, Err: fmt.Errorf("the file has more than %d bytes", maxFile)}
	}
	if err != nil {
		return &Error{File: name, Line: line, Err: err}
	}
	f.source.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// fangedAddress reports whether a text begins with an IPv6 address in brackets, not with a list of JSON.
func fangedAddress(text []byte) bool {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	_, err := guess(string(line[:min(len(line), maxLine)]))
	return text[0] == '[' && (err == nil || errors.Is(err, errSkip))
}

// put stores what a reader found, or counts it among what is left out.
func (f *file) put(v value, err error, d detail, line int) error {
	if err == nil && d.until != 0 && d.until <= d.from {
		err = errNever
	}
	if err == nil {
		d.source, d.name, d.feed = f.at, clip.Line([]byte(d.name), maxName), clip.Line([]byte(d.feed), maxName)
		return f.set.put(v, d, line)
	}
	if !errors.Is(err, errSkip) {
		return err
	}
	f.skip(err, line)
	return nil
}

func (f *file) skip(err error, line int) {
	at, known := f.reasons[err.Error()]
	if !known {
		if len(f.source.Skipped) >= 20 {
			err = errType // hostile lists have any number of schemes
		}
		if at, known = f.reasons[err.Error()]; !known {
			at = len(f.source.Skipped)
			f.reasons[err.Error()] = at
			f.source.Skipped = append(f.source.Skipped, Skip{Reason: err.Error(), Line: line})
		}
	}
	f.source.Skipped[at].Count++
}

// lines reads a text line by line.
type lines struct {
	in *bufio.Scanner
	no int
}

func newLines(r io.Reader) *lines {
	l := &lines{in: bufio.NewScanner(r)}
	l.in.Buffer(make([]byte, 0, maxLine), maxLine)
	return l
}

// next returns the next line. At the end it returns io.EOF.
func (l *lines) next() (string, error) {
	if !l.in.Scan() {
		switch err := l.in.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			l.no++
			return "", fmt.Errorf("the line has more than %d bytes", maxLine)
		case err != nil:
			return "", err
		}
		return "", io.EOF
	}
	l.no++
	if b := l.in.Bytes(); !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return "", errors.New("the line is not text (UTF-8)")
	}
	return l.in.Text(), nil
}
