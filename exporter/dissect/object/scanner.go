package object

import (
	"bufio"
	"bytes"
	"cmp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// Limits of one message.
const (
	maxBoundary = 200      // bytes; RFC 2046 section 5.1.1 allows 70
	maxHeader   = 32 << 10 // bytes of the header fields of a part
	maxLevels   = 16       // nested messages and multiparts
	maxFiles    = 1000
	maxLine     = 1 << 10 // bytes of a line that may be a boundary
)

// Scanner finds the files in a body of type multipart/* or message/rfc822.
type Scanner struct {
	files  []File
	levels []*level
	more   bool // files above the limit

	off   int64 // of the next byte
	kept  []byte
	begun bool // a part of the line has been read
}

// level is a message or a part whose end is not known yet.
type level struct {
	part     string
	header   []byte // of its fields; see inHeader
	inHeader bool
	boundary []byte // of its parts, if it is a multipart
	parts    int
	ended    bool  // after its last boundary
	file     *open // nil if it is not one
}

// NewScanner returns a Scanner for a body, or nil if such a body has no parts.
func NewScanner(contentType string) *Scanner {
	if MediaType(contentType) == "message/rfc822" {
		return &Scanner{levels: []*level{{inHeader: true}}}
	}
	if b := boundaryOf(contentType); b != nil {
		return &Scanner{levels: []*level{{boundary: b}}}
	}
	return nil
}

// Write reads the next bytes of the body. It never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	if len(s.kept) > 0 {
		i := bytes.IndexByte(p, '\n') + 1
		if i == 0 {
			i = len(p)
		}
		s.kept = append(s.kept, p[:i]...)
		p = p[i:]
		if s.kept[len(s.kept)-1] == '\n' {
			s.line(s.kept)
			s.kept = s.kept[:0]
		}
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n') + 1
		if i == 0 {
			break
		}
		s.line(p[:i])
		p = p[i:]
	}
	s.kept = append(s.kept, p...)
	if len(s.kept) > maxLine {
		at := len(s.kept)
		if s.kept[at-1] == '\r' {
			at--
		}
		s.line(s.kept[:at])
		s.kept = append(s.kept[:0], s.kept[at:]...)
	}
	return n, nil
}

// Close ends the body and returns the files. why is the reason if the body is not complete.
func (s *Scanner) Close(why string) (files []File, more bool) {
	s.flush()
	if top := s.levels[0]; why == "" && (len(top.boundary) > 0 && !top.ended) {
		why = Cut
	}
	s.close(0, why)
	slices.SortStableFunc(s.files, func(a, b File) int {
		if a.Offset != b.Offset {
			return int(min(max(a.Offset-b.Offset, -1), 1))
		}
		return len(a.Part) - len(b.Part)
	})
	return s.files, s.more
}

func (s *Scanner) flush() {
	if len(s.kept) > 0 {
		s.line(s.kept)
		s.kept = s.kept[:0]
	}
	s.begun = false
}

// line reads a line with its end, or a piece of a long one.
func (s *Scanner) line(b []byte) {
	whole := b[len(b)-1] == '\n'
	content := bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if !whole {
		content = b
	}
	end := b[len(content):]
	first := !s.begun
	s.begun = !whole
	if first && bytes.HasPrefix(content, []byte("--")) {
		for i, l := range s.levels {
			if rest, ok := bytes.CutPrefix(content[2:], l.boundary); ok && l.boundary != nil && !l.ended {
				last := bytes.HasPrefix(rest, []byte("--"))
				if rest = bytes.TrimPrefix(rest, []byte("--")); len(bytes.TrimSpace(rest)) == 0 {
					s.separate(i, last, content, end)
					return
				}
			}
		}
	}
	s.give(content, end)
	s.off += int64(len(b))
	if l := s.levels[len(s.levels)-1]; l.inHeader {
		l.header = append(l.header, b[:min(len(b), maxHeader-len(l.header))]...)
		if whole && first && len(content) == 0 {
			s.begin(l)
		}
	}
}

// give passes a line to the open files.
func (s *Scanner) give(content, end []byte) {
	for _, l := range s.levels {
		if o := l.file; o != nil {
			if len(o.pending) > 0 {
				o.write(o.pending)
			}
			o.write(content)
			o.pending = append(o.pending[:0], end...)
		}
	}
}

// separate reads the boundary of a level: the line end before it belongs to it.
func (s *Scanner) separate(i int, last bool, content, end []byte) {
	s.drop(i + 1)
	s.close(i+1, "")
	s.give(content, end)
	s.off += int64(len(content) + len(end))
	l := s.levels[i]
	if l.ended = last; last {
		return
	}
	l.parts++
	part := strconv.Itoa(l.parts)
	if l.part != "" {
		part = l.part + "." + part
	}
	s.push(&level{part: part, inHeader: true})
}

// push opens a level. A level above the limit is not looked into.
func (s *Scanner) push(l *level) {
	if len(s.levels) == maxLevels {
		s.more = true
		return
	}
	s.levels = append(s.levels, l)
}

// drop forgets the line ends that belong to a boundary.
func (s *Scanner) drop(from int) {
	for _, l := range s.levels[from:] {
		if l.file != nil {
			l.file.pending = nil
		}
	}
}

// close ends the levels above one.
func (s *Scanner) close(from int, why string) {
	for i := len(s.levels) - 1; i >= from; i-- {
		l := s.levels[i]
		if l.file == nil {
			continue
		}
		if len(l.file.pending) > 0 {
			l.file.write(l.file.pending)
		}
		s.files = append(s.files, l.file.end(why))
	}
	s.levels = s.levels[:max(from, 1)]
	if from == 0 {
		s.levels[0].file = nil
	}
}

// begin decides the kind of a level, once its header fields have been read.
func (s *Scanner) begin(l *level) {
	h, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(l.header))).ReadMIMEHeader() // fields before a damaged line are read in spite of the error
	l.inHeader, l.header = false, nil
	contentType, disposition := h.Get("Content-Type"), h.Get("Content-Disposition")
	kind := MediaType(contentType)
	if l.boundary = boundaryOf(contentType); l.boundary != nil {
		return
	}
	name, by, attached := NameOf(disposition, contentType)
	transfer := transferOf(h.Get("Content-Transfer-Encoding"))
	leaf := kind != "" && kind != "text/plain" && kind != "text/html" && !strings.HasPrefix(kind, "multipart/") && !Payload(kind)
	if attached || leaf && MediaType(disposition) != "form-data" {
		if len(s.files)+len(s.levels) >= maxFiles {
			s.more = true
			return
		}
		l.file = newOpen(File{Name: name, NamedBy: by, ContentType: contentType[:min(len(contentType), MaxType+1)], Part: cmp.Or(l.part, "1"), Offset: s.off, Transfer: transfer})
	}
	if kind == "message/rfc822" && transfer == "" {
		s.push(&level{part: l.part + ".0", inHeader: true})
	}
}
