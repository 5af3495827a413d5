// Package redis reads the Redis serialization protocol, RESP2 and RESP3, and the inline commands
// that servers also accept.
//
// A row is one command with its reply, or one message that the server pushed: pub/sub messages,
// invalidations, lines of MONITOR, and replicated commands. Replies are paired with commands in
// order, as the protocol requires; after a gap, acknowledgement numbers help to restore the
// pairing. Values are read in pieces and kept up to a limit only, so a string of 512 MB costs no
// memory. Passwords never leave the package.
package redis

import (
	"hash"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxDepth = 32        // nested aggregates
	maxBulk  = 512 << 20 // bytes of one string, the server's own default limit
	maxCount = 1 << 31   // elements of one aggregate, arguments of one command
	maxLine  = 64 << 10  // simple strings, errors and inline commands, the server's own limit
	maxText  = 1 << 10   // bytes kept of a command, a key or a reply
	maxSpare = 8         // records kept for later calls
	maxWait  = 64 << 10  // bytes of a reply that may come before its command was captured
)

// Row is one command with its reply, or one pushed message.
type Row struct {
	table.Call
	Type     table.Opt[string] `col:"redis_reply_type" enc:"dict" doc:"type of the reply: simple_string, error, integer, bulk_string, array, null, map, set, boolean, double, big_number, bulk_error, verbatim_string, push, rdb"`
	Command  table.Opt[string] `col:"redis_command" doc:"command with its arguments, at most 1 KiB; arguments that are not plain text are quoted; passwords are ***"`
	Key      table.Opt[string] `col:"redis_key" enc:"bloom" doc:"first key of the command, at most 1 KiB"`
	Keys     int32             `col:"redis_keys" doc:"number of keys of the command; 0 if it has none or its keys are unknown"`
	DB       table.Opt[int32]  `col:"redis_db" doc:"database selected by an earlier SELECT; null if no SELECT was seen"`
	User     table.Opt[string] `col:"redis_user" enc:"dict" doc:"user name from AUTH or HELLO on this connection"`
	Reply    table.Opt[string] `col:"redis_reply" doc:"reply as text, at most 1 KiB; lists in [ ], maps in { }, null as (nil), without attributes"`
	Elements table.Opt[int64]  `col:"redis_elements" doc:"number of elements of an aggregate reply, or of pairs of a map"`
	ErrText  table.Opt[string] `col:"redis_error" doc:"error reply of the server, complete line; for EXEC and similar commands the first error inside"`
	Slot     table.Opt[int32]  `col:"redis_slot" doc:"hash slot of a redirect, MOVED or ASK"`
	Target   table.Opt[string] `col:"redis_target" enc:"dict" doc:"node to which MOVED or ASK redirects, as host:port; without a host, another port of the same node"`
	Script   table.Opt[string] `col:"redis_script" enc:"dict" doc:"script that the command runs or loads: SHA-1 of its text for EVAL, EVALSHA and SCRIPT LOAD; name of the function for FCALL"`
	Errors   int32             `col:"redis_errors" doc:"number of errors in the reply, including those inside aggregates"`
	Push     table.Opt[string] `col:"redis_push" enc:"dict" doc:"kind of a message without a command: message, pmessage, smessage, invalidate, monitor, replication, …"`
	Channel  table.Opt[string] `col:"redis_channel" enc:"dict" doc:"channel of a published message, or first channel or pattern of a subscription"`
	Inline   bool              `col:"redis_inline" doc:"the command was sent as a line of text"`
	Queued   bool              `col:"redis_queued" doc:"the command was queued for EXEC, whose result is its reply; QUEUED if it has none"`
	Ahead    int32             `col:"redis_ahead" doc:"number of earlier commands that were unanswered when this one was sent (pipelining)"`
}

// Protocol is Redis.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "redis",
		Doc:        "Redis serialization protocol, RESP2 and RESP3",
		Versions:   "RESP2, RESP3",
		Depth:      "commands with replies, pipelining, transactions with the result of each command, scripts, cluster redirects, pub/sub, MONITOR, replication",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{6379, 6380, 6381, 6378, 16379, 26379, 7000, 7001, 7002, 7003, 7004, 7005},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits: table.Traits{Store: true, Pooled: true, Login: true, Before: "upper(method) IN ('HELLO', 'AUTH', 'QUIT', 'RESET')", Port: 6379, Data: "upper(method) NOT IN " + serverCommands,
			Words:    "method || ' ' || coalesce(redis_key, '')",
			Harmless: "upper(method) IN ('CLIENT', 'HELLO')", TooMany: "redis_error ILIKE '%max number of clients%'"},
	}
}

// serverCommands are about the connection, the server or its cluster, not about keys or messages.
const serverCommands = "('HELLO', 'AUTH', 'QUIT', 'RESET', 'PING', 'ECHO', 'SELECT', 'CLIENT', 'COMMAND', 'READONLY', 'READWRITE', 'ASKING', 'CLUSTER', 'INFO', 'CONFIG', 'SLOWLOG', 'LATENCY', 'MODULE', 'ACL', 'ROLE', 'REPLCONF', 'SENTINEL', 'WAIT', 'WAITAOF', 'TIME', 'LASTSAVE', 'MULTI', 'DISCARD', 'WATCH', 'UNWATCH')"

// callCost is the memory of a pending call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}))

// span is a part of a call's text.
type span struct{ from, to int }

// call is a pending command, or a reply without a command.
type call struct {
	x     dissect.Exchange
	asked dissect.QueuedRequest
	spec  *spec  // nil for commands not in the table
	verb  string // in upper case

	line     []byte  // the command as text
	words    [4]span // its first words in line
	argc     int64
	cut      bool // line is incomplete
	key      string
	keySpan  span
	keyAt    int64 // index of the argument that is the first key; -1 none, 0 not known yet
	keys     int32
	masked   int64 // index of the argument that is a password; -1 none
	secrets  bool  // an argument, or a value of the reply, was one
	user     string
	db       table.Opt[int32]
	ahead    int32
	confirms int64 // confirmations that an (un)subscribe command still awaits
	whole    bool  // the command was read completely
	inline   bool
	silent   bool // see conn

	reply      []byte   // as text
	unplaced   [][]byte // passwords of the reply whose places are not noted yet
	nextSecret bool     // the next value of the reply is one
	first      [4]span
	kind       byte // type byte of the reply; 0 none yet
	null       bool
	full       bool // reply is incomplete
	elements   int64
	errText    string
	errors     int32
	push       string
	queued     bool // for EXEC
	script     string
	answered   bool
	gap        bool
	bad        bool
}

// side is the reading position in one direction.
type side struct {
	call  *call // the call of the current message
	left  int64 // arguments still to come
	arg   int64 // number of the next argument
	body  int64 // bytes of a string still to come
	crlf  bool  // then its line end
	keep  []byte
	into  *dissect.Body
	size  int64
	hash  hash.Hash // of a script that is being read
	ended bool
}

type conn struct {
	c          *dissect.Conn
	commands   map[string]*spec
	req        side
	w          walker
	resp       *call // the call of the current reply
	tx         transaction
	queue      dissect.Queue[*call]
	spare      []*call
	spareBytes int
	scratch    []byte

	off, skip  bool // CLIENT REPLY
	silent     bool // a lost command may have been one of these, and no reply shows that it was not
	subscribed bool
	resp3      bool // what the server pushes begins with >, so an array is a reply
	monitor    bool
	streaming  bool // a primary sends its commands
	rdb        rdb
	db         table.Opt[int32]
	user       string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c, commands: commands()}
	k.queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Replies: replies, Busy: func(c *call) bool { return c == k.resp }}
	return k
}

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued: a call is emitted with its reply.
func (c *call) Waits() bool { return true }

// replies is how many replies a command still waits for. Those of a subscription look like what the server pushes, and
// what follows replication is not a reply.
func replies(c *call) (int64, bool) {
	if c.spec == nil {
		return 1, true
	}
	switch c.spec.act {
	case actSubscribe, actUnsubscribe, actSync, actPsync, actMonitor:
		return 0, false
	}
	return 1, true
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

// free keeps a call's memory for a later one.
func (k *conn) free(c *call) {
	if len(k.spare) < maxSpare {
		*c = call{line: c.line[:0], reply: c.reply[:0], keyAt: -1, masked: -1}
		k.spare = append(k.spare, c)
		k.spareBytes += callCost + cap(c.line) + cap(c.reply)
	}
}

// push appends a command to those that wait for a reply.
func (k *conn) push(c *call) {
	c.ahead = int32(k.queue.Push(c, c.asked.Ack, callCost+cap(c.line)))
	if c.silent = k.silent; c.silent {
		c.x.MayWantNone()
	}
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.tx.shed(k) || k.queue.Shed() {
		return true
	}
	switch c := k.req.call; {
	case k.resp != nil:
		k.loseReply()
	case c != nil:
		k.req = side{keep: k.req.keep[:0], ended: k.req.ended}
		k.queue.Resync(dissect.ToServer, dissect.LossMalformed)
		k.emit(c, "cut")
	default:
		return false
	}
	return true
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := cap(k.scratch) + cap(k.req.keep) + cap(k.w.keep) + k.spareBytes + k.tx.bytes
	for _, c := range [...]*call{k.resp, k.req.call} {
		if c != nil {
			n += callCost + cap(c.line) + cap(c.reply) - c.asked.Cost()
		}
	}
	return n
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
	return false
}

func (k *conn) gapReply(missing int64) bool {
	w := &k.w
	if k.rdb.state == rdbBytes && (k.rdb.left < 0 || missing <= k.rdb.left) {
		if k.rdb.left >= 0 {
			k.rdb.left -= missing
		}
		if c := k.queue.Front(); c != nil {
			c.gap = true
		}
		return true
	}
	if c := k.value(); c != nil {
		c.gap, k.resp.gap = true, true
		if missing <= w.body {
			w.body -= missing
			if c.x.RespBody != nil {
				c.x.RespBody.Missing(missing)
			}
			c.full = true
			return true
		}
	}
	return false
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	if dir == dissect.ToServer {
		if c := k.req.call; c != nil && why == dissect.LossMalformed {
			c.bad = true
		}
		k.loseRequest()
		return
	}
	if c := k.resp; c != nil && why == dissect.LossMalformed {
		c.bad = true
	}
	k.loseReply()
}

// loseRequest ends the current command; its reply may still come.
func (k *conn) loseRequest() {
	c := k.req.call
	k.req = side{keep: k.req.keep[:0], ended: k.req.ended}
	k.silent, k.tx.doubt = true, true
	if c != nil {
		k.push(c)
	}
	k.queue.Resync(dissect.ToServer, dissect.LossGap)
	k.db, k.user = table.Opt[int32]{}, "" // a lost command may have changed them
}

func (k *conn) loseReply() {
	c := k.resp
	k.resp, k.w = nil, walker{}
	k.queue.Resync(dissect.ToClient, dissect.LossGap)
	k.tx.end(k, "gap")
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
	k.tx.end(k, why.CallError())
	for c := k.queue.Front(); c != nil; c = k.queue.Front() {
		word := why.CallError()
		switch {
		case c.spec != nil && c.spec.act == actShutdown && (why == dissect.EndFin || why == dissect.EndReset):
			c.answered, word = true, "" // a server that closes the connection does not answer
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
