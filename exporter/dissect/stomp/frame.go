package stomp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// commands are those that each side sends, and whether a body follows their headers, STOMP 1.2.
var commands = map[string]struct {
	by   dissect.Dir
	body bool
}{
	"CONNECT": {dissect.ToServer, false}, "STOMP": {dissect.ToServer, false}, "SEND": {dissect.ToServer, true}, "SUBSCRIBE": {dissect.ToServer, false},
	"UNSUBSCRIBE": {dissect.ToServer, false}, "ACK": {dissect.ToServer, false}, "NACK": {dissect.ToServer, false}, "BEGIN": {dissect.ToServer, false},
	"COMMIT": {dissect.ToServer, false}, "ABORT": {dissect.ToServer, false}, "DISCONNECT": {dissect.ToServer, false},
	"CONNECTED": {dissect.ToClient, false}, "MESSAGE": {dissect.ToClient, true}, "RECEIPT": {dissect.ToClient, false}, "ERROR": {dissect.ToClient, true},
}

const maxCommand = len("UNSUBSCRIBE\r\n")

// header is a line of a frame, as sent.
type header struct{ name, value []byte }

// frame is the command and the headers of a frame.
type frame struct {
	command string
	headers []header
	more    bool  // it has more headers
	body    bool  // a body may follow
	counted bool  // its length is announced
	size    int64 // of the body
	head    int   // bytes up to the body; 0 if they are not complete
	scanned int   // bytes in which no end was found
}

// get is the first header of a name, STOMP 1.2: repeated ones do not count.
func (f *frame) get(name string) []byte {
	for i := range f.headers {
		if string(f.headers[i].name) == name {
			return f.headers[i].value
		}
	}
	return nil
}

// parse reads the frame at the beginning of b. The end of its head is not in the first scanned bytes.
func parse(dir dissect.Dir, b []byte, scanned int) (f frame, err error) {
	line := b[:min(len(b), maxCommand)]
	eol := bytes.IndexByte(line, '\n')
	if eol < 0 {
		return f, begins(dir, line)
	}
	command := strings.TrimSuffix(string(line[:eol]), "\r")
	kind, ok := commands[command]
	if !ok || kind.by != dir {
		return f, unexpected(dir, line)
	}
	f.command, f.body = command, kind.body
	end := headEnd(b, max(scanned, eol))
	if end < 0 {
		f.scanned = max(len(b)-2, eol)
		if len(b) > maxHead {
			return f, fmt.Errorf("reading %s: its headers have more than %d bytes", command, maxHead)
		}
		return f, nil
	}
	if end > maxHead {
		return f, fmt.Errorf("reading %s: its headers have %d bytes, more than %d", command, end, maxHead)
	}
	if err := f.lines(b[eol+1 : end]); err != nil {
		return f, err
	}
	f.head = end
	return f, nil
}

// begins reports an error unless a command of that side begins with b.
func begins(dir dissect.Dir, b []byte) error {
	name := strings.TrimSuffix(string(b), "\r")
	for command, kind := range commands {
		if kind.by == dir && strings.HasPrefix(command, name) {
			return nil
		}
	}
	return unexpected(dir, b)
}

func unexpected(dir dissect.Dir, b []byte) error {
	return fmt.Errorf("reading a frame: the %s does not send %.20q", dir.Sender(), b)
}

// headEnd is where the empty line ends that follows the headers, -1 if there is none. The line of
// the command ends at or after from.
func headEnd(b []byte, from int) int {
	for from < len(b) {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch {
		case from < len(b) && b[from] == '\n':
			return from + 1
		case from+1 < len(b) && b[from] == '\r' && b[from+1] == '\n':
			return from + 2
		}
	}
	return -1
}

// lines reads the headers.
func (f *frame) lines(b []byte) error {
	for {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			break
		}
		b = rest
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.IndexByte(line, 0) >= 0 {
			return fmt.Errorf("reading %s: expected a header in a line of %d bytes", f.command, len(line)) // which may hold a passcode
		}
		if len(f.headers) == maxHeaders {
			f.more = true
			continue
		}
		f.headers = append(f.headers, header{name, value})
	}
	text := bytes.TrimSpace(f.get("content-length"))
	if len(text) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil || n > maxBody || n > 0 && !f.body {
		return fmt.Errorf("reading %s: it cannot have a body of %.20q bytes", f.command, text)
	}
	f.counted, f.size = true, int64(n)
	return nil
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.sides[in.Dir]
	return in.Each(func(at int) (int, error) {
		if s.call != nil {
			return k.piece(s, in, at)
		}
		return k.frame(s, in, at)
	})
}

// frame reads a frame without a body, or the head of one with a body, or a line end between frames,
// which is also a heart-beat.
func (k *conn) frame(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	switch {
	case b[0] == '\n':
		return 1, nil
	case b[0] == '\r' && len(b) == 1:
		return 0, nil
	case b[0] == '\r' && b[1] == '\n':
		return 2, nil
	}
	f, err := parse(in.Dir, b, s.scanned)
	if err != nil {
		return 0, err
	}
	if f.head == 0 {
		s.scanned = f.scanned
		return 0, nil
	}
	if f.more {
		k.c.Anomaly("limit", fmt.Sprintf("%s has more than %d headers", f.command, maxHeaders), 0)
	}
	if f.body {
		s.scanned = 0
		k.open(s, in, at, &f)
		return f.head, nil
	}
	if len(b) == f.head {
		return 0, nil
	}
	if b[f.head] != 0 {
		return 0, fmt.Errorf("reading %s: expected NUL after its headers, got %#x", f.command, b[f.head])
	}
	s.scanned = 0
	if in.Dir == dissect.ToServer {
		k.command(in, at, at+f.head+1, &f)
	} else {
		k.reply(in, at, at+f.head+1, &f)
	}
	k.c.Confirm()
	return f.head + 1, nil
}

// piece takes more bytes of a body.
func (k *conn) piece(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	n, end := len(b), false
	if s.counted {
		n = int(min(s.left, int64(n)))
		s.left -= int64(n)
		if end = s.left == 0 && n < len(b); end && b[n] != 0 {
			s.body.Write(b[:n])
			s.call.x.AddTo(s.answer, in, at, at+n)
			return n, fmt.Errorf("reading a body: expected NUL after %d bytes, got %#x", s.body.Size(), b[n])
		}
	} else if i := bytes.IndexByte(b, 0); i >= 0 {
		n, end = i, true
	}
	s.body.Write(b[:n])
	if !s.counted && s.body.Size() > maxBody {
		return n, fmt.Errorf("reading a body: more than %d bytes", maxBody)
	}
	if end {
		n++
	}
	s.call.x.AddTo(s.answer, in, at, at+n)
	if end {
		k.ended(in.Dir)
	}
	return n, nil
}
