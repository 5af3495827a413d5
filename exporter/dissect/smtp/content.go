package smtp

import (
	"bytes"
	"mime"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// begin begins the content of a message, or its next chunk.
func (k *conn) begin(c *call) {
	k.content, k.mode, k.midLine, k.bare = c, modeContent, false, false
	if c.x.ReqBody == nil {
		c.x.ReqBody = k.Conn.NewBody("message/rfc822", "")
		c.row.Size = table.Some(int64(0))
	}
}

// contentLine reads a line of content, or as much of it as there is.
func (k *conn) contentLine(in *dissect.Input, at int) int {
	b := in.Data[at:]
	line, n := lines.Next(b)
	switch {
	case n == 0 && !k.midLine && len(b) < 3 && !in.End: // it may be the end
		return 0
	case n == 0:
		n = len(b)
		if b[n-1] == '\r' && n > 1 && !in.End {
			n--
		}
		k.hiddenEnd(b[:n])
		k.dotted(in, at, at+n, b[:n])
		k.midLine, k.cr = true, b[n-1] == '\r'
	case !k.midLine && string(line) == ".":
		k.content.x.Request(in, at, at+n)
		if k.bare || n == len(".\n") {
			k.smuggling("a dot between line ends of which one is LF alone; it ended the message, and a server that accepts CR LF only reads on")
		}
		k.finish()
	default:
		k.hiddenEnd(b[:n])
		k.dotted(in, at, at+n, b[:n])
		k.bare = n == len(line)+1 && !(n == 1 && k.midLine && k.cr)
		k.midLine = false
	}
	return n
}

// smuggling reports content whose end may differ between two servers (RFC 5321 section 4.1.1.4, CVE-2023-51764).
func (k *conn) smuggling(detail string) {
	if c := k.content; !c.doubtful {
		c.doubtful = true
		k.Conn.Anomaly("smuggling", "the content of a message has "+detail+" (RFC 5321 section 4.1.1.4)", 0)
	}
}

// hiddenEnd reports a dot in a line of content that a server takes for the end if it accepts CR alone as a line end.
func (k *conn) hiddenEnd(b []byte) {
	if i := bytes.IndexByte(b, '\r'); i < 0 || i >= len(b)-2 {
		return
	}
	if bytes.Contains(b, []byte("\r.\r")) || bytes.Contains(b, []byte("\r.\n")) || !k.midLine && bytes.HasPrefix(b, []byte(".\r")) {
		k.smuggling("a dot between line ends of which one is CR alone; it did not end the message, and a server that accepts CR as a line end takes what follows for commands")
	}
}

// restOfContent reads the end of a message whose beginning is missing: a row with the reply, but without the content.
func (k *conn) restOfContent(in *dissect.Input, at int) int {
	line, _ := lines.Next(in.Data[at:])
	was := k.midway
	if k.midway = false; !was || k.mode != modeCommand || k.mail != nil || fits(line) {
		return 0
	}
	n := contentEnd(in.Data[at:])
	if n == 0 {
		return 0
	}
	s := &step{verb: "DATA", call: &call{row: &Row{Command: "MAIL"}, steps: 1, over: true, gap: true}}
	s.call.x.Request(in, at, at+n)
	k.Push(s, in.Packet(at+n-1).Ack, stepCost+callCost)
	s.asked.After = false // content follows the reply to DATA, and that all others (RFC 2920 section 3.1)
	return n
}

// dotted adds a line of content without the dot that protects it (RFC 5321 section 4.5.2).
func (k *conn) dotted(in *dissect.Input, from, to int, b []byte) {
	if !k.midLine && b[0] == '.' {
		b = b[1:]
	}
	k.write(in, from, to, b)
}

// add counts bytes of the content.
func (k *conn) add(in *dissect.Input, from, to int) { k.write(in, from, to, in.Data[from:to]) }

// write adds in.Data[from:to], which carries b, to the content.
func (k *conn) write(in *dissect.Input, from, to int, b []byte) {
	c := k.content
	c.x.Request(in, from, to)
	c.row.Size.V += int64(len(b))
	c.x.ReqBody.Write(b)
	if c.headEnd || c.gap {
		return
	}
	c.head = append(c.head, b[:min(len(b), maxHead-len(c.head))]...)
	if len(c.head) == maxHead || ends(c.head) {
		c.headers()
	}
}

func ends(head []byte) bool {
	tail := head[max(0, len(head)-1024):]
	return bytes.Contains(tail, []byte("\r\n\r\n")) || bytes.Contains(tail, []byte("\n\n")) || len(head) > 1024 && bytes.Contains(head, []byte("\r\n\r\n"))
}

// finish ends the content of DATA.
func (k *conn) finish() {
	if c := k.content; c != nil {
		c.complete()
	}
	k.mode, k.content = modeCommand, nil
}

// complete marks the content as complete.
func (c *call) complete() {
	if c.x.ReqBody != nil {
		c.body = true
		c.x.ReqBody.Complete = c.x.ReqBody.Lost() == 0
	}
	c.headers()
}

// headers reads the headers that identify a message from its content (RFC 5322 section 2.2).
func (c *call) headers() {
	if c.headEnd {
		return
	}
	c.headEnd = true
	head := c.head
	c.head = nil
	name, value := "", []byte(nil)
	field := func() {
		if name != "" {
			c.header(name, strings.TrimSpace(string(value)))
		}
	}
	for len(head) > 0 {
		line, n := lines.Next(head)
		if n == 0 {
			line, n = head, len(head)
		}
		head = head[n:]
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(value) < 4*maxText {
				value = append(append(value, ' '), bytes.TrimSpace(line)...)
			}
			continue
		}
		field()
		before, after, ok := bytes.Cut(line, []byte(":"))
		if name = ""; ok {
			name, value = strings.ToLower(string(bytes.TrimSpace(before[:min(len(before), 64)]))), append([]byte(nil), bytes.TrimSpace(after[:min(len(after), 4*maxText)])...)
		}
	}
	field()
}

func (c *call) header(name, value string) {
	row := c.row
	var at *table.Opt[string]
	switch name {
	case "message-id":
		value = strings.Trim(value, "<>")
		at = &row.MessageID
	case "subject":
		at = &row.Subject
	case "from":
		at = &row.HeaderFrom
	case "to":
		at = &row.HeaderTo
	default:
		return
	}
	if at.OK {
		return
	}
	if text, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		value = text
	}
	*at = table.NonEmpty(clip.Line([]byte(value), maxText))
	c.size += len(at.V)
}
