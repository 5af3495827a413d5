// Package ftp reads the control connections of FTP (RFC 959, 2228, 2389, 2428, 3659).
//
// A row is a command with its reply; for a transfer, that is the reply after the data. A transfer
// knows the address of its data connection, as PASV, EPSV, PORT or EPRT named it. Passwords never
// leave the package.
package ftp

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one line and of one call.
const (
	maxLine      = 8 << 10 // bytes of a line
	maxText      = 1 << 10 // bytes shown of an argument or a reply
	maxCodes     = 16
	maxLinesKept = 64 // lines of a reply that are shown
)

// Row is a command with its reply.
type Row struct {
	table.Call
	Command  string            `col:"ftp_command" enc:"dict" doc:"command; GREETING for the server's first reply, NOTICE for one that no captured command requested"`
	Argument table.Opt[string] `col:"ftp_argument" doc:"argument of the command, at most 1 KiB; null for passwords; the whole line if it does not begin with a word of 1 to 16 letters"`
	User     table.Opt[string] `col:"ftp_user" enc:"dict" doc:"user of the connection: of the last USER"`
	Codes    []string          `col:"ftp_codes" doc:"codes of the replies in order, such as 150, 226"`
	Reply    table.Opt[string] `col:"ftp_reply" doc:"text of the last reply; the lines of a long one are joined by a newline"`
	Type     table.Opt[string] `col:"ftp_type" enc:"dict" doc:"type of the data of a transfer: A is text, I bytes; null if TYPE was not captured"`
	Mode     table.Opt[string] `col:"ftp_mode" enc:"dict" doc:"who opens the data connection of a transfer: passive (the client) or active (the server)"`
	DataIP   table.Opt[string] `col:"ftp_data_ip" enc:"dict" doc:"address to which the data connection is opened; null for EPSV, which means the server's own"`
	DataPort table.Opt[int32]  `col:"ftp_data_port" doc:"port to which the data connection is opened"`
	Size     table.Opt[int64]  `col:"ftp_size" unit:"bytes" doc:"size of the file, as the server's reply states it"`
	Offset   table.Opt[int64]  `col:"ftp_offset" unit:"bytes" doc:"where a transfer begins in the file, if REST came before it"`
	Data     table.Opt[string] `col:"ftp_data" enc:"dict" doc:"what the data connection of a transfer was: read (its bytes belong to this call), tls (encrypted), another protocol by its content, or other; null if it was not captured"`
}

// Protocol is FTP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ftp",
		Doc:        "FTP: control connections, and the files of their data connections",
		Versions:   "RFC 959, 2228, 2428, 3659, 4217",
		Depth:      "commands with replies, logins, and the files of data connections",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{21, 2121, 990},
		Detect:     detect, DetectOnPort: grammar.OnPort,
		Resume: grammar.Resume,
		New:    newConn,
		Row:    &Row{},
	}
}

// call is a command that waits for its reply, or a reply without a command.
type call struct {
	x     dissect.Exchange
	asked dissect.QueuedRequest
	row   *Row
	data  *transfer // of a transfer; nil if there is none
	first bool      // a reply at the start of the connection
}

const (
	callCost     = int(unsafe.Sizeof(call{})+unsafe.Sizeof(Row{})) + transferCost
	transferCost = int(unsafe.Sizeof(transfer{}))
)

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return true }

// data is the address of the next data connection.
type data struct {
	mode, ip string
	port     table.Opt[int32]
}

// conn is the state of a connection.
type conn struct {
	dissect.Queue[*call]
	lines.Session
	replies    lines.Replies
	user, kind string
	data       data
	offset     table.Opt[int64]

	answering *call // whose reply has more lines
	orphan    bool  // answering has no command
	missed    bool  // replies may follow whose commands are not known

	next *transfer // announced, and not used yet
	held *call     // has its last reply, but its data connection has not ended
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{replies: lines.Replies{Limit: maxLine, Keep: maxLinesKept, Show: maxText, Free: true}}
	k.Session = lines.NewSession(c, k.command, k.reply)
	k.Queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Busy: func(c *call) bool { return c == k.answering }}
	return k
}

// Continue implements dissect.Continuer (RFC 4217 section 4.2).
func (*conn) Continue(dissect.Dissector) {}

// Gap implements dissect.Dissector: a line with a gap has lost its meaning.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Queue.Resync(dir, why)
	k.missed = true
	k.kind, k.data, k.offset = "", data{}, table.Opt[int64]{} // a command that was lost, or refused, may have changed them
	if dir == dissect.ToServer {
		k.user = ""
	}
	if c := k.answering; c != nil && dir == dissect.ToClient {
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user) + cap(k.replies.Text) + len(k.data.ip)
	if k.next != nil {
		n += transferCost
	}
	if k.held != nil {
		n += callCost
	}
	if k.answering != nil && k.orphan {
		n += callCost
	}
	return n
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.release()
	k.forget()
	if c := k.answering; c != nil {
		k.emit(c, why.CallError())
	}
	k.Queue.Close(why)
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool { return k.release() || k.Queue.Shed() }

// release emits the call that waits for its data connection.
func (k *conn) release() bool {
	if k.held == nil {
		return false
	}
	k.emit(k.held, "")
	return true
}
