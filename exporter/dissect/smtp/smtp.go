// Package smtp reads SMTP and LMTP (RFC 5321, RFC 2033) with pipelining, BDAT, AUTH and STARTTLS.
//
// A message is one row, from MAIL to the reply that accepts or rejects it, with its sender, its
// recipients and the reply to each command. Every other command is a row, and so is the server's
// greeting. The message's content is the request body. Passwords never leave the package.
package smtp

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one line and of one call.
const (
	maxLine       = 12288 // bytes of a line, RFC 4954 section 4
	maxHead       = 32 << 10
	maxText       = 512 // bytes shown of a name, an address or a subject
	maxRecipients = 1000
	maxCodes      = 1000
	maxExtensions = 64
	maxChunk      = 1 << 40 // bytes of BDAT
)

// Row is a message, or a command with its reply.
type Row struct {
	table.Call
	Command    string            `col:"smtp_command" enc:"dict" doc:"command; MAIL for a message, GREETING for the server's first reply"`
	Client     table.Opt[string] `col:"smtp_client" enc:"dict" doc:"name of the client: of EHLO, HELO or LHLO, also for later calls of the connection"`
	From       table.Opt[string] `col:"smtp_from" doc:"sender of the envelope; empty for a notification"`
	To         []string          `col:"smtp_to" doc:"recipients of the envelope that the server accepted; at most 1000"`
	Rejected   []string          `col:"smtp_rejected" doc:"recipients that the server did not accept, with the code, as 550 bob@example.org"`
	Recipients table.Opt[int32]  `col:"smtp_recipients" doc:"number of recipients that the client requested"`
	MessageID  table.Opt[string] `col:"smtp_message_id" enc:"bloom" doc:"header Message-ID without angle brackets"`
	Subject    table.Opt[string] `col:"smtp_subject" doc:"header Subject, decoded (RFC 2047)"`
	HeaderFrom table.Opt[string] `col:"smtp_header_from" doc:"header From, decoded; it need not be the sender of the envelope"`
	HeaderTo   table.Opt[string] `col:"smtp_header_to" doc:"header To, decoded"`
	Size       table.Opt[int64]  `col:"smtp_size" unit:"bytes" doc:"content of the message: headers and body, without the dots that protect lines"`
	Declared   table.Opt[int64]  `col:"smtp_declared_size" unit:"bytes" doc:"size that the client announced in MAIL"`
	Chunks     table.Opt[int32]  `col:"smtp_chunks" doc:"number of BDAT commands; null if the content came with DATA"`
	Codes      []string          `col:"smtp_codes" doc:"codes of all replies to the commands of the message, in order; at most 1000"`
	Reply      table.Opt[string] `col:"smtp_reply" doc:"text of the last reply, such as 2.0.0 Ok: queued as 4F2A; its first line"`
	Auth       table.Opt[string] `col:"smtp_auth" enc:"dict" doc:"mechanism of AUTH"`
	User       table.Opt[string] `col:"smtp_user" enc:"dict" doc:"user of the connection, if AUTH PLAIN, LOGIN or SCRAM named it; in the row of AUTH, the user that it names"`
	Extensions []string          `col:"smtp_extensions" doc:"extensions that the server offers in its reply to EHLO"`
	Ahead      int32             `col:"smtp_ahead" doc:"number of earlier commands that were unanswered when the first one of this call was sent (pipelining)"`
}

// Protocol is SMTP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "smtp",
		Doc:        "SMTP and LMTP, with a row for each message",
		Versions:   "SMTP, ESMTP, LMTP",
		Depth:      "mails with sender, recipients and content, commands with replies, logins",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{25, 587, 465, 24, 2525},
		Detect:     detect, DetectOnPort: grammar.OnPort,
		Resume: resume,
		New:    newConn,
		Row:    &Row{},
	}
}

// call is a row that is not complete.
type call struct {
	x        dissect.Exchange
	row      *Row
	steps    int    // commands without a reply
	over     bool   // no other command belongs to it
	body     bool   // the content is complete
	why      string // of a lost reply
	gap      bool
	doubtful bool   // another server may end the content elsewhere
	head     []byte // headers, until they end
	headEnd  bool
	size     int // bytes of texts in row
}

// open reports whether the client of a transaction may go on with it: a recipient was accepted, or none refused so far.
func (c *call) open() bool { return len(c.row.To) > 0 || len(c.row.Rejected) == 0 }

// step is a command that waits for its reply.
type step struct {
	call  *call
	verb  string
	to    string // of RCPT
	last  bool   // BDAT LAST
	gone  bool   // it no longer waits
	asked dissect.QueuedRequest
}

const stepCost = int(unsafe.Sizeof(step{}))
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// Asked implements dissect.Queued.
func (s *step) Asked() *dissect.QueuedRequest { return &s.asked }

// Waits implements dissect.Queued.
func (s *step) Waits() bool { return true }

// mode is the kind of the client's next bytes.
type mode uint8

const (
	modeCommand mode = iota
	modeAsked        // DATA was sent and not answered
	modeContent
	modeChunk
	modeSecret // an answer to a challenge of AUTH
)

// conn is the state of a connection.
type conn struct {
	dissect.Queue[*step]
	lines.Session
	replies lines.Replies
	mode    mode
	left    int64 // of a chunk
	midLine bool  // in a line of content whose beginning was read
	bare    bool  // the line of content before ended with LF alone
	cr      bool  // what was read of the line ends with CR
	mail    *call
	content *call // whose content is being sent
	auth    *step
	alone   map[string][]*step // commands with a verb of only, oldest first: those that wait for their replies, and some that do not
	stray   *call              // content whose DATA is not known
	lossy   bool               // commands before the next one may be missing
	midway  bool               // the next line may be content of a message that began before the capture
	client  string
	user    string
	answers sasl.Answers

	answering *step // whose reply has more lines
	orphan    *call // a reply without a command
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{alone: map[string][]*step{}, replies: lines.Replies{Limit: maxLine, Keep: 1, Show: maxText}}
	k.Session = lines.NewSession(c, k.line, k.reply)
	k.Queue = dissect.Queue[*step]{Conn: c, Emit: k.lose, Replies: replies, Busy: func(s *step) bool { return s == k.answering }}
	return k
}

// Continue implements dissect.Continuer: nothing of what was said before TLS counts (RFC 3207 section 4.2).
func (*conn) Continue(dissect.Dissector) {}

// replies is how many replies a command still waits for. Some have an intermediate one.
func replies(s *step) (int64, bool) {
	return 1, s.verb != "DATA" && s.verb != "BDAT" && s.verb != "AUTH"
}

// Gap implements dissect.Dissector. Content may have gaps.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	if in.Dir != dissect.ToServer || k.content == nil {
		return false
	}
	switch k.mode {
	case modeChunk:
		if missing > k.left {
			return false
		}
		k.left -= missing
	case modeContent:
		k.add(in, 0, len(in.Data))
		k.midLine = true
	default:
		return false
	}
	k.content.gap = true
	k.content.x.ReqBody.Missing(missing)
	if k.mode == modeChunk && k.left == 0 {
		k.mode = modeCommand
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Queue.Resync(dir, why)
	if dir == dissect.ToServer {
		if k.content != nil {
			k.content.gap = true
		}
		if k.mail != nil {
			k.mail.gap = true
		}
		k.mode, k.content, k.lossy, k.midway = modeCommand, nil, true, true
		k.client, k.user = "", ""
		k.answers.Lose()
		return
	}
	k.replies.Lose()
	if s := k.answering; s != nil {
		k.answering = nil
		k.lose(s, string(why))
	}
	if c := k.orphan; c != nil {
		k.orphan = nil
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.client) + len(k.user) + cap(k.replies.Text)
	if k.mail != nil {
		n += callCost + k.mail.size + cap(k.mail.head)
	}
	if c := k.content; c != nil && c != k.mail {
		n += callCost + c.size + cap(c.head)
	}
	for _, c := range [...]*call{k.orphan, k.stray} {
		if c != nil {
			n += callCost
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.content != nil && k.content.x.ReqBody.Spill() || k.Queue.Shed() {
		return true
	}
	if c := k.mail; c != nil && c != k.content {
		k.mail = nil
		k.emit(c, "cut")
		return true
	}
	return false
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.orphan; c != nil {
		k.orphan = nil
		k.emit(c, why.CallError())
	}
	k.answering, k.content = nil, nil
	if c := k.stray; c != nil {
		k.stray = nil
		k.emit(c, why.CallError())
	}
	mail := k.mail
	k.Queue.Close(why)
	if k.mail != nil && k.mail == mail { // every command was answered
		k.mail = nil
		if !mail.over && (mail.row.Size.OK && !mail.body || why == dissect.EndCapture && mail.open()) {
			mail.why = why.CallError()
		}
		k.emit(mail, mail.why)
	}
}
