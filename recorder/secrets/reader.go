package secrets

import (
	"bytes"
	"hash"
	"io"
)

// logReader walks the lines of a key log in a buffer of fixed size. Lines end in LF, CR or
// both.
type logReader struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	sum  hash.Hash // over all bytes

	line []byte // without its end; good until the next call
	at   int64  // where the line begins
	long bool   // longer than maxLine: line is its beginning
	last bool   // has no end
	err  error

	have []byte // read and not yet given
	from int64  // where have begins
	read int64  // how much was read
}

// fill reads on; false at the end.
func (l *logReader) fill() bool {
	if l.read >= l.size || l.err != nil {
		return false
	}
	n := copy(l.buf, l.have)
	want := min(int64(len(l.buf)-n), l.size-l.read)
	k, err := l.r.ReadAt(l.buf[n:n+int(want)], l.read)
	if int64(k) < want {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // it became shorter while we read
		}
		l.err = err
		return false
	}
	l.sum.Write(l.buf[n : n+k])
	l.read += int64(k)
	l.have = l.buf[:n+k]
	return true
}

func (l *logReader) take(n int) {
	l.have, l.from = l.have[n:], l.from+int64(n)
}

// next gives the next line; false at the end or with err.
func (l *logReader) next() bool {
	l.long, l.last = false, false
	if l.read == 0 && l.fill() && bytes.HasPrefix(l.have, []byte("\xef\xbb\xbf")) {
		l.take(3) // a byte order mark
	}
	// A log that was cut while its writer went on begins with zeros.
	for {
		for len(l.have) > 0 && l.have[0] == 0 {
			l.take(len(l.have) - len(bytes.TrimLeft(l.have, "\x00")))
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
			l.give(seen+n, l.endAt(seen+n))
			return true
		}
		seen = len(l.have)
		if seen > maxLine {
			l.long = true
			return l.skip()
		}
		if !l.fill() {
			l.last = true
			l.give(seen, seen)
			return l.err == nil
		}
	}
}

// lineEnd finds the first end of a line, or gives -1.
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

// endAt is where the line after an end at n begins.
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

func (l *logReader) give(n, next int) {
	l.line, l.at = l.have[:n], l.from
	l.long = l.long || n > maxLine
	l.take(next)
}

// skip passes over the rest of a long line.
func (l *logReader) skip() bool {
	l.line, l.at = nil, l.from
	for {
		if n := lineEnd(l.have); n >= 0 {
			l.take(l.endAt(n))
			return true
		}
		l.take(len(l.have))
		if !l.fill() {
			l.last = true
			return l.err == nil
		}
	}
}
