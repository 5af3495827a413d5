package lines

import (
	"bytes"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const tlsHandshake = 0x16 // first byte of a TLS connection

// Session has Dissector.Read for a protocol in which the client sends lines and the server answers
// with lines, and which may change to TLS within a connection. Embed it in a Dissector.
type Session struct {
	conn     *dissect.Conn
	read     [2]Side
	tls      bool // TLS was accepted and may follow
	upgraded bool
}

// Side reads one line of a side, or a piece of content, from in.Data[at:], which is not empty. It
// returns the number of bytes read: 0 if it needs more. An error means that the bytes cannot be
// this protocol.
type Side func(in *dissect.Input, at int) (int, error)

// NewSession is a session of a connection whose sides are read by client and server.
func NewSession(c *dissect.Conn, client, server Side) Session {
	return Session{conn: c, read: [2]Side{dissect.ToServer: client, dissect.ToClient: server}}
}

// StartTLS records that the server accepted TLS. A byte that begins a TLS handshake ends the session from now on; other
// bytes do not, because a client may continue without TLS.
func (s *Session) StartTLS() { s.tls = true }

// Read implements dissect.Dissector.
func (s *Session) Read(in *dissect.Input) (int, error) {
	at := 0
	for at < len(in.Data) && !s.upgraded {
		if s.tls && in.Data[at] == tlsHandshake {
			s.upgraded = true
			s.conn.Upgrade("tls", nil)
			break
		}
		n, err := s.read[in.Dir](in, at)
		if at += n; n == 0 || err != nil {
			return at, err
		}
	}
	return at, nil
}

// Bounded is Next for a line of at most limit bytes. A longer one is an error that names the
// expected line. While the line is not complete, n is 0.
func Bounded(b []byte, limit int, what string) (line []byte, n int, err error) {
	line, n = Next(b)
	if n > limit || n == 0 && len(b) >= limit {
		return nil, 0, fmt.Errorf("reading a %s: a line of more than %d bytes", what, limit)
	}
	return line, n, nil
}

// NotOne is the error of a line that the protocol does not allow. It does not quote the line, which
// may be a password.
func NotOne(what string, line []byte) error {
	return fmt.Errorf("reading a %s: a line of %d bytes is not one", what, len(line))
}

// Replies reads numbered replies, which may have several lines.
type Replies struct {
	Limit int  // bytes of a line
	Keep  int  // lines of a reply that Text has
	Show  int  // bytes of a reply that Text has
	Free  bool // any text may stand between the first and the last line, RFC 959 section 4.2

	Code  int    // of the reply being read
	Text  []byte // its lines, joined by newlines; one byte more than Show if it was cut
	lines int
}

// Line is one line of a reply.
type Line struct {
	Text        []byte // without the code
	N           int    // bytes, 0 if the line is not complete
	First, Last bool   // of its reply
}

// Read reads the line at the start of b.
func (r *Replies) Read(b []byte) (Line, error) {
	line, n, err := Bounded(b, r.Limit, "reply")
	if n == 0 {
		return Line{}, err
	}
	code, text, last, ok := Reply(line)
	l := Line{Text: text, N: n, First: r.lines == 0, Last: last}
	if !l.First && r.Free {
		if l.Last = ok && last && code == r.Code; !l.Last {
			l.Text = line
		}
		ok, code = true, r.Code
	}
	if !ok || !Plain(line) || !l.First && code != r.Code {
		return Line{}, NotOne("reply", line)
	}
	if l.First {
		r.Code, r.Text = code, r.Text[:0]
	}
	if r.lines++; r.lines <= r.Keep {
		if !l.First {
			r.Text = append(r.Text, '\n')
		}
		r.Text = append(r.Text, l.Text...)
		r.Text = r.Text[:min(len(r.Text), r.Show+1)]
	}
	if l.Last {
		r.lines = 0
	}
	return l, nil
}

// Lose forgets the lines of a reply whose end is missing.
func (r *Replies) Lose() { r.lines = 0 }

// Grammar recognizes a protocol's lines in the middle of a connection.
type Grammar struct {
	Limit   int                    // bytes of a line
	Command func(line []byte) bool // whether a line of the client is a command
	Reply   func(line []byte) bool // whether a line of the server is a reply, or begins one if its end is missing
}

// Resume is Protocol.Resume: any command and any reply. It waits for the end of a reply's line,
// because a greeting may be long.
func (g Grammar) Resume(dir dissect.Dir, head []byte) dissect.Verdict {
	line, n := Next(head)
	switch {
	case n == 0 && dir == dissect.ToClient && len(head) < g.Limit && Plain(bytes.TrimSuffix(head, []byte("\r"))) && g.Reply(head):
		return dissect.More
	case n == 0 || !Plain(line):
		return dissect.No
	case dir == dissect.ToClient && g.Reply(line), dir == dissect.ToServer && g.Command(line):
		return dissect.Likely
	}
	return dissect.No
}

// MaxWait is how many bytes of a line detection waits for.
const MaxWait = 2 << 10

// OnPort is Protocol.DetectOnPort: a command or a reply, also one whose line is longer than detection waits for. Other
// protocols have such lines too, but not on this port.
func (g Grammar) OnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	line, n := Next(head)
	if n == 0 {
		line = head
	}
	if n == 0 && len(line) < MaxWait {
		return dissect.No
	}
	if line = line[:min(len(line), g.Limit)]; Plain(line) && (dir == dissect.ToClient && g.Reply(line) || dir == dissect.ToServer && g.Command(line)) {
		return dissect.Yes
	}
	return dissect.No
}
