package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// splitter splits a stream of JSON documents into objects and buffers one object at most.
//
//	{"kind":"List","items":[ {…}, {…} ]}   each item is an object, endList follows
//	[ {…}, {…} ]                           likewise
//	{"kind":"Pod",…} {"kind":"Node",…}     each document is an object
//
// It finds only where values begin and end; the decoder after it validates them. Objects
// over a limit are skipped, not buffered.
type splitter struct {
	r        io.Reader
	buf      []byte
	pos, end int
	off      int64 // offset in the stream of buf[0]

	obj    []byte // the value being kept, without white space
	keep   bool
	over   bool // the value exceeds maxObject or maxValues
	deep   bool // the value is nested deeper than maxDepth
	values int

	object  func(raw []byte, listKind string, inList bool)
	refuse  func(oversize bool)
	endList func(whole bool)
}

var errCut = errors.New("the text ends inside a value")

// run reads to the end of the stream or to the first invalid byte.
func (s *splitter) run() error {
	s.buf = make([]byte, 64<<10)
	if err := s.start(); err != nil {
		return err
	}
	for {
		c, err := s.token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch c {
		case '{':
			err = s.document()
		case '[':
			err = s.items("")
			s.endList(err == nil)
		case 0x1e: // record separator of JSON text sequences, RFC 7464
			s.pos++
		default:
			err = fmt.Errorf("expected a JSON object, found %q", c)
		}
		if err == io.EOF {
			err = errCut
		}
		if err != nil {
			return err
		}
	}
}

// start skips a byte order mark and reports the two usual mistakes.
func (s *splitter) start() error {
	for s.end < 4 {
		if err := s.fill(); err != nil {
			break
		}
	}
	head := s.buf[:s.end]
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		s.pos = 3
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return errors.New("the text is UTF-16 and must be UTF-8 (a Windows shell writes UTF-16 when it redirects)")
	case bytes.HasPrefix(head, []byte("apiVersion:")), bytes.HasPrefix(head, []byte("---")):
		return errors.New("the text is YAML and must be JSON (kubectl get … -o json)")
	}
	return nil
}

// document reads one object at the top level: a list of objects or a single object.
func (s *splitter) document() error {
	s.pos++
	head := []byte{'{'}
	var kind string
	var list, over, deep bool
	values := 0
	for {
		c, err := s.token()
		if err != nil {
			return s.cutList(list, err)
		}
		if c == '}' {
			s.pos++
			break
		}
		if c == ',' {
			s.pos++
			continue
		}
		if c != '"' {
			return s.cutList(list, fmt.Errorf("expected a key, found byte %#02x", c))
		}
		s.begin(true)
		if err := s.str(); err != nil {
			return s.cutList(list, err)
		}
		key := string(s.obj)
		if c, err = s.token(); err != nil {
			return s.cutList(list, err)
		}
		if c != ':' {
			return s.cutList(list, fmt.Errorf("expected a colon after a key, found byte %#02x", c))
		}
		s.pos++
		if c, err = s.token(); err != nil {
			return s.cutList(list, err)
		}
		if key == `"items"` && c == '[' {
			list = true
			if err := s.items(kind); err != nil {
				return s.cutList(list, err)
			}
			continue
		}
		s.begin(!over)
		s.values = values
		if err := s.value(); err != nil {
			return s.cutList(list, err)
		}
		values, over, deep = s.values, over || s.over, deep || s.deep
		if key == `"kind"` && len(s.obj) < maxName && len(s.obj) > 2 {
			kind = string(s.obj[1 : len(s.obj)-1])
		}
		if len(head)+len(key)+len(s.obj)+2 > maxObject {
			over = true
		}
		if over {
			head = head[:1]
			continue
		}
		if len(head) > 1 {
			head = append(head, ',')
		}
		head = append(append(append(head, key...), ':'), s.obj...)
	}
	switch {
	case list:
		s.endList(true)
	case over || deep:
		s.refuse(over)
	default:
		s.object(append(head, '}'), "", false)
	}
	return nil
}

// cutList ends a truncated list, so that its objects are kept.
func (s *splitter) cutList(list bool, err error) error {
	if list {
		s.endList(false)
	}
	return err
}

// items reads an array of objects.
func (s *splitter) items(listKind string) error {
	s.pos++
	for {
		c, err := s.token()
		if err != nil {
			return err
		}
		switch c {
		case ']':
			s.pos++
			return nil
		case ',':
			s.pos++
		default:
			s.begin(true)
			if err := s.value(); err != nil {
				return err
			}
			if c != '{' || s.over || s.deep {
				s.refuse(s.over)
				continue
			}
			s.object(s.obj, listKind, true)
		}
	}
}

// begin prepares for a value.
func (s *splitter) begin(keep bool) {
	s.obj, s.keep, s.over, s.deep, s.values = s.obj[:0], keep, false, false, 0
}

// unread are the fields of pods that are not read and make up most of their text. Their values are left out if they are objects
// or lists, so that the decoder need not read them; a label may have such a name, and its value is a text.
var unread = map[string]bool{
	`"annotations"`: true, `"managedFields"`: true, `"env"`: true, `"envFrom"`: true, `"command"`: true, `"args"`: true, `"volumes"`: true, `"volumeMounts"`: true, `"volumeDevices"`: true,
	`"resources"`: true, `"allocatedResources"`: true, `"livenessProbe"`: true, `"readinessProbe"`: true, `"startupProbe"`: true, `"lifecycle"`: true, `"securityContext"`: true,
	`"tolerations"`: true, `"affinity"`: true, `"topologySpreadConstraints"`: true, `"imagePullSecrets"`: true, `"readinessGates"`: true, `"volumeClaimTemplates"`: true, `"images"`: true,
}

// value reads one value of any kind.
func (s *splitter) value() error {
	depth, last := 0, 0
	for {
		c, err := s.token()
		if err != nil {
			return err
		}
		switch c {
		case '"':
			last = len(s.obj)
			err = s.str()
		case '{', '[':
			depth++
			s.values++
			if depth > maxDepth {
				s.deep, s.keep = true, false
			}
			if s.values > maxValues {
				s.over, s.keep = true, false
			}
			s.advance(1)
		case '}', ']':
			if depth == 0 {
				return fmt.Errorf("expected a value, found byte %#02x", c)
			}
			depth--
			s.advance(1)
		case ',', ':':
			if depth == 0 {
				return fmt.Errorf("expected a value, found byte %#02x", c)
			}
			s.advance(1)
			if c == ':' && s.keep && unread[string(s.obj[last:len(s.obj)-1])] {
				err = s.leaveOut(depth)
			}
		default:
			err = s.scalar()
		}
		if err != nil {
			return err
		}
		if depth == 0 {
			return nil
		}
	}
}

// leaveOut puts null in the place of the next value if that is an object or a list.
func (s *splitter) leaveOut(outer int) error {
	c, err := s.token()
	if err != nil || c != '{' && c != '[' {
		return err
	}
	s.obj, s.keep = append(s.obj, "null"...), false
	for depth := outer; ; {
		n := s.pos
		for n < s.end && !structural[s.buf[n]] {
			n++
		}
		if s.pos = n; n == s.end {
			if err := s.fill(); err != nil {
				return err
			}
			continue
		}
		switch s.buf[n] {
		case '"':
			if err := s.str(); err != nil {
				return err
			}
			continue
		case '{', '[':
			depth++
			s.values++
			s.deep, s.over = s.deep || depth > maxDepth, s.over || s.values > maxValues
		default:
			depth--
		}
		if s.pos++; depth == outer {
			s.keep = !s.deep && !s.over
			return nil
		}
	}
}

// structural are the bytes at which strings, objects and lists begin or end.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// scalar reads a number or a literal word.
func (s *splitter) scalar() error {
	for {
		n := s.pos
		for n < s.end && !ends(s.buf[n]) {
			n++
		}
		s.advance(n - s.pos)
		if s.pos < s.end {
			return nil
		}
		if err := s.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// ends reports whether c ends a number or word.
func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

// str reads a string with its quotes.
func (s *splitter) str() error {
	s.advance(1)
	escaped := false
	for {
		for s.pos < s.end {
			if escaped {
				s.advance(1)
				escaped = false
				continue
			}
			rest := s.buf[s.pos:s.end]
			n := bytes.IndexByte(rest, '"')
			if n < 0 {
				n = len(rest)
			}
			if b := bytes.IndexByte(rest[:n], '\\'); b >= 0 {
				s.advance(b + 1)
				escaped = true
				continue
			}
			if n < len(rest) {
				s.advance(n + 1)
				return nil
			}
			s.advance(n)
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// advance skips n bytes of the buffer, and keeps them if keep is set.
func (s *splitter) advance(n int) {
	if s.keep {
		if len(s.obj)+n > maxObject {
			s.over, s.keep = true, false
			s.obj = s.obj[:0]
		} else {
			s.obj = append(s.obj, s.buf[s.pos:s.pos+n]...)
		}
	}
	s.pos += n
}

// token skips white space and returns the next byte without consuming it.
func (s *splitter) token() (byte, error) {
	for {
		for ; s.pos < s.end; s.pos++ {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
			default:
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads more bytes after those that are still needed.
func (s *splitter) fill() error {
	if s.pos > 0 {
		s.off += int64(s.pos)
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// place is the offset of the next byte.
func (s *splitter) place() int64 { return s.off + int64(s.pos) }
