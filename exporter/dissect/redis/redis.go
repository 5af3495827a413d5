// Package redis reads the Redis serialization protocol, RESP2 and RESP3, and the inline
// commands that servers accept beside it.
//
// A row is one command with its reply, or one message that the server pushed: pub/sub
// messages, invalidations, lines of MONITOR, and commands that replicate. Replies are
// paired with commands in order, as the protocol demands; after a loss acknowledgement
// numbers help to find the pair again. Values are read in pieces and kept up to a limit
// only, so a string of 512 MB costs no memory. Passwords never leave the package.
package redis

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxDepth   = 32        // aggregates in aggregates
	maxBulk    = 512 << 20 // bytes of one string, the server's own default limit
	maxCount   = 1 << 31   // elements of one aggregate, arguments of one command
	maxLine    = 64 << 10  // simple strings, errors and inline commands, the server's own limit
	maxText    = 1 << 10   // bytes kept of a command, a key or a reply
	maxPending = 1 << 14   // commands that wait for their replies
	maxSpare   = 8         // records kept for the next calls
	maxWait    = 64 << 10  // bytes of a reply that may come before its command was captured
)

// Row is one command with its reply, or one pushed message.
type Row struct {
	table.Call
	Type     table.Opt[string] `col:"redis_type" enc:"dict" doc:"type of the reply: simple_string, error, integer, bulk_string, array, null, map, set, boolean, double, big_number, bulk_error, verbatim_string, push, rdb"`
	Command  table.Opt[string] `col:"redis_command" doc:"command with its arguments, at most 1 KiB; arguments that are not plain text are quoted and escaped; passwords are ***"`
	Key      table.Opt[string] `col:"redis_key" enc:"bloom" doc:"first key of the command, at most 1 KiB; escaped if it is not text"`
	Keys     int32             `col:"redis_keys" doc:"number of keys of the command; 0 if it has none or its keys are unknown"`
	DB       table.Opt[int32]  `col:"redis_db" doc:"database selected by an earlier SELECT; null if no SELECT was seen"`
	User     table.Opt[string] `col:"redis_user" enc:"dict" doc:"user name from AUTH or HELLO on this connection"`
	Reply    table.Opt[string] `col:"redis_reply" doc:"reply as text, at most 1 KiB; aggregates in brackets"`
	Elements table.Opt[int64]  `col:"redis_elements" doc:"number of elements of an aggregate reply, or of pairs of a map"`
	ErrText  table.Opt[string] `col:"redis_error" doc:"error reply of the server, whole line; for EXEC and similar commands the first error inside"`
	Errors   int32             `col:"redis_errors" doc:"number of errors in the reply, including those inside aggregates"`
	Push     table.Opt[string] `col:"redis_push" enc:"dict" doc:"kind of a message without a command: message, pmessage, smessage, invalidate, monitor, replication, …"`
	Channel  table.Opt[string] `col:"redis_channel" enc:"dict" doc:"channel of a published message, or first channel or pattern of a subscription"`
	Inline   bool              `col:"redis_inline" doc:"the command was sent as a line of text"`
	Queued   bool              `col:"redis_queued" doc:"the command was queued for EXEC"`
	Ahead    int32             `col:"redis_ahead" doc:"number of earlier commands that were unanswered when this one was sent (pipelining)"`
}

// Protocol is Redis.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "redis",
		Doc:        "Redis serialization protocol, RESP2 and RESP3",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{6379, 6380, 6381, 6378, 16379, 26379, 7000, 7001, 7002, 7003, 7004, 7005},
		Detect:     detect,
		New:        func(c *dissect.Conn) dissect.Dissector { return &conn{c: c, commands: commands()} },
		Row:        &Row{},
	}
}

// callCost is the memory of a waiting call beside its text.
const callCost = int(unsafe.Sizeof(call{}))

// span is a part of a call's text.
type span struct{ from, to int }

// call is a command on its way, or a reply without one.
type call struct {
	x     dissect.Exchange
	asked inorder.Request
	spec  *spec  // nil for commands not in the table
	verb  string // in upper case

	line     []byte  // the command as text
	words    [4]span // its first words in line
	argc     int64
	cut      bool // line is not whole
	key      string
	keySpan  span
	keyAt    int64 // argument that is the first key; -1 none, 0 not known yet
	keys     int32
	masked   int64 // argument that is a password; -1 none
	user     string
	db       table.Opt[int32]
	ahead    int32
	confirms int64 // confirmations that (un)subscribing still awaits
	whole    bool  // all of the command was read
	inline   bool
	queued   bool // in conn.pending
	size     int  // of the budget that it takes

	reply    []byte // as text
	first    [4]span
	kind     byte // type byte of the reply; 0 none yet
	null     bool
	full     bool // reply is not whole
	elements int64
	errText  string
	errors   int32
	push     string
	answered bool
	gap      bool
	bad      bool
}

// side is one direction's place in its messages.
type side struct {
	call  *call // whose message is read
	left  int64 // arguments that follow
	arg   int64 // number of the next argument
	body  int64 // bytes of a string that follow
	crlf  bool  // then its line end
	keep  []byte
	into  *dissect.Body
	size  int64
	ended bool
}

type conn struct {
	c          *dissect.Conn
	commands   map[string]*spec
	req        side
	w          walker
	resp       *call   // whose reply is read
	pending    []*call // commands not yet emitted, oldest first, from head on
	head       int
	spare      []*call
	spareBytes int
	scratch    []byte

	line       inorder.Line
	lost       bool // replies may be missing: pairing by order alone is not safe
	off, skip  bool // CLIENT REPLY
	subscribed bool
	monitor    bool
	streaming  bool // a primary sends its commands
	rdb        rdb
	db         table.Opt[int32]
	user       string
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	at := 0
	for {
		var n int
		var err error
		if in.Dir == dissect.ToServer {
			n, err = k.readRequest(in, at)
		} else {
			n, err = k.readReply(in, at)
		}
		at += n
		if err != nil || n == 0 || at == len(in.Data) {
			return at, err
		}
	}
}

func (k *conn) newCall() *call {
	if n := len(k.spare); n > 0 {
		c := k.spare[n-1]
		k.spare = k.spare[:n-1]
		k.spareBytes -= callCost + cap(c.line) + cap(c.reply)
		return c
	}
	return &call{keyAt: -1, masked: -1}
}

// free keeps a call's memory for the next one.
func (k *conn) free(c *call) {
	if len(k.spare) < maxSpare {
		*c = call{line: c.line[:0], reply: c.reply[:0], keyAt: -1, masked: -1}
		k.spare = append(k.spare, c)
		k.spareBytes += callCost + cap(c.line) + cap(c.reply)
	}
}

// front is the oldest command without a whole reply, or nil.
func (k *conn) front() *call {
	if k.head < len(k.pending) {
		return k.pending[k.head]
	}
	return nil
}

// push puts a command into the queue. The queue is bounded: where one side alone was
// captured no command is ever answered.
func (k *conn) push(c *call) {
	if n := len(k.pending) - k.head; n >= maxPending {
		i := k.head
		if k.pending[i] == k.resp {
			i++
		}
		k.c.Anomaly("limit", "commands without a reply", 0)
		k.shed(i)
	}
	c.size = k.c.Keep(callCost+cap(c.line), k.Shed)
	if k.head > 64 && k.head*2 > len(k.pending) {
		n := copy(k.pending, k.pending[k.head:])
		clear(k.pending[n:])
		k.pending, k.head = k.pending[:n], 0
	}
	var oldest *inorder.Request
	if f := k.front(); f != nil && !k.lost {
		oldest = &f.asked
	}
	c.asked = k.line.Sent(c.asked.Ack, k.c.Now().Time, oldest)
	c.ahead, c.queued = int32(len(k.pending)-k.head), true
	k.pending = append(k.pending, c)
}

// shed gives up a command that waits; its reply may still come.
func (k *conn) shed(i int) {
	var next *inorder.Request
	if i+1 < len(k.pending) {
		next = &k.pending[i+1].asked
	}
	k.line.Missing(next)
	k.emit(k.pending[i], "cut")
}

// Shed implements dissect.Shedder.
func (k *conn) Shed() bool {
	for i := k.head; i < len(k.pending); i++ {
		if k.pending[i] != k.resp {
			k.shed(i)
			return true
		}
	}
	switch c := k.req.call; {
	case k.resp != nil:
		k.loseReply()
	case c != nil:
		k.req = side{keep: k.req.keep[:0], ended: k.req.ended}
		k.line.Missing(nil)
		k.emit(c, "cut")
	default:
		return false
	}
	return true
}

// Kept implements dissect.Keeper.
func (k *conn) Kept() int {
	n := cap(k.scratch) + cap(k.req.keep) + cap(k.w.keep) + k.spareBytes
	for _, c := range [...]*call{k.resp, k.req.call} {
		if c != nil {
			n += callCost + cap(c.line) + cap(c.reply) - c.size
		}
	}
	return n
}

// drop takes a call out of the queue.
func (k *conn) drop(c *call) {
	if !c.queued {
		return
	}
	k.c.Release(c.size)
	c.size = 0
	for i := k.head; i < len(k.pending); i++ {
		if k.pending[i] != c {
			continue
		}
		copy(k.pending[k.head+1:i+1], k.pending[k.head:i])
		k.pending[k.head] = nil
		if k.head++; k.head == len(k.pending) {
			k.pending, k.head = k.pending[:0], 0
		}
		return
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	if in.Dir == dissect.ToServer {
		return k.gapRequest(missing)
	}
	return k.gapReply(missing)
}

func (k *conn) gapRequest(missing int64) bool {
	s := &k.req
	if c := s.call; c != nil {
		c.gap = true
		if missing <= s.body {
			s.body -= missing
			if s.into != nil {
				s.into.Missing(missing)
			}
			return true
		}
	}
	k.loseRequest()
	return false
}

func (k *conn) gapReply(missing int64) bool {
	w := &k.w
	if k.rdb.state == rdbBytes && (k.rdb.left < 0 || missing <= k.rdb.left) {
		if k.rdb.left >= 0 {
			k.rdb.left -= missing
		}
		if c := k.front(); c != nil {
			c.gap = true
		}
		return true
	}
	if c := k.resp; c != nil {
		c.gap = true
		if missing <= w.body {
			w.body -= missing
			if c.x.RespBody != nil {
				c.x.RespBody.Missing(missing)
			}
			c.full = true
			return true
		}
	}
	k.loseReply()
	return false
}

// Lost implements dissect.Resyncer: Read gave an error, the rest of what came is gone.
func (k *conn) Lost(dir dissect.Dir) {
	if dir == dissect.ToServer {
		if k.req.call != nil {
			k.req.call.bad = true
		}
		k.loseRequest()
		return
	}
	if k.resp != nil {
		k.resp.bad = true
	}
	k.loseReply()
}

// loseRequest ends the command under way; its reply may still come.
func (k *conn) loseRequest() {
	c := k.req.call
	k.req = side{keep: k.req.keep[:0], ended: k.req.ended}
	if c != nil {
		k.push(c)
	}
	k.line.Missing(nil)
}

func (k *conn) loseReply() {
	c := k.resp
	k.resp, k.w, k.lost = nil, walker{}, true
	k.rdb = rdb{}
	switch {
	case c == nil:
	case c.x.HasRequest() || c.x.HasResponse():
		k.emit(c, "gap")
	default:
		k.free(c)
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.resp; c != nil && !c.x.HasRequest() {
		k.resp = nil
		k.emit(c, why.CallError())
	}
	for c := k.front(); c != nil; c = k.front() {
		word := why.CallError()
		switch {
		case c.spec != nil && c.spec.act == actShutdown && (why == dissect.EndFin || why == dissect.EndReset):
			c.answered, word = true, "" // a server that goes away says nothing
		case c == k.resp && why == dissect.EndFin:
			word = "cut"
		case c.confirms > 0 && c.kind != 0:
			word = ""
		}
		k.emit(c, word)
	}
	if c := k.req.call; c != nil {
		k.req.call = nil
		k.emit(c, why.CallError())
	}
}
