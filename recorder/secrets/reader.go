package secrets

import (
	"bytes"
	"hash"
	"io"
)

// logReader reads the lines of a key log with a buffer of fixed size. Lines end in LF, CR or
// both.
type logReader struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	sum  hash.Hash // over all bytes

	line []byte // without its end; valid until the next call
	at   int64  // offset of the line
	long bool   // longer than maxLine; line has its beginning
	last bool   // the line has no end
	err  error

	have []byte // bytes that were read but not returned yet
	from int64  // offset of have
	read int64  // bytes read so far
}

// fill reads more bytes; false at the end.
func (l *logReader) fill() bool {
	if l.read >= l.size || l.err != nil {
		return false
	}
	n := copy(l.buf, l.have)
	want := min(int64(len(l.buf)-n), l.size-l.read)
	k, err := l.r.ReadAt(l.buf[n:n+int(want)], l.read)
	if int64(k) < want {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // it became shorter while it was read
		}
		l.err = err
		return false
	}
	l.sum.Write(l.buf[n : n+k])
	l.read += int64(k)
	l.have = l.buf[:n+k]
	return true
}

func (l *logReader) advance(n int) {
	l.have, l.from = l.have[n:], l.from+int64(n)
}

// next reads the next line; false at the end or after an error.
func (l *logReader) next() bool {
	l.long, l.last = false, false
	if l.read == 0 && l.fill() && bytes.HasPrefix(l.have, []byte("\xef\xbb\xbf")) {
		l.advance(3) // a byte order mark
	}
	// A log that was truncated while its writer continued begins with zeros.
	for {
		for len(l.have) > 0 && l.have[0] == 0 {
			l.advance(len(l.have) - len(bytes.TrimLeft(l.have, "\x00")))
		}
		if len(l.have) > 0 || !l.fill() {
			break
		}
	}
	if len(l.have) == 0 {
		return false
	}
	for seen := 0; ; {
		if n := lineEnd(l.have[seen:]); n >= 0 {
			l.setLine(seen+n, l.endAt(seen+n))
			return true
		}
		seen = len(l.have)
		if seen > maxLine {
			l.long = true
			return l.skip()
		}
		if !l.fill() {
			l.last = true
			l.setLine(seen, seen)
			return l.err == nil
		}
	}
}

// lineEnd finds the first end of a line, or returns -1.
func lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n')
	if n >= 0 {
		b = b[:n]
	}
	if r := bytes.IndexByte(b, '\r'); r >= 0 {
		return r
	}
	return n
}

// endAt is the offset of the line after an end at n.
func (l *logReader) endAt(n int) int {
	if l.have[n] == '\r' {
		if n+1 == len(l.have) {
			l.fill()
		}
		if n+1 < len(l.have) && l.have[n+1] == '\n' {
			return n + 2
		}
	}
	return n + 1
}

func (l *logReader) setLine(n, next int) {
	l.line, l.at = l.have[:n], l.from
	l.long = l.long || n > maxLine
	l.advance(next)
}

// skip skips the rest of a long line.
func (l *logReader) skip() bool {
	l.line, l.at = nil, l.from
	for {
		if n := lineEnd(l.have); n >= 0 {
			l.advance(l.endAt(n))
			return true
		}
		l.advance(len(l.have))
		if !l.fill() {
			l.last = true
			return l.err == nil
		}
	}
}
