// Package memcached reads the protocols of memcached: text, meta commands and binary, on TCP and on
// UDP.
//
// A row is one command with its reply. Text is paired by order, binary by opcode and opaque. Quiet
// commands, whose reply may be absent, are complete without one once a later command was answered.
// Values are bodies. The payload of SASL never leaves the package.
package memcached

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one command.
const (
	maxLine  = 16 << 10 // bytes of a line
	maxKey   = 250      // bytes of a key, the server's own limit
	maxValue = 1 << 30  // bytes of a value; the server's largest limit
	maxKeys  = 64       // keys in a row
	maxText  = 256      // bytes shown of a line or a key
	maxFlags = 64       // letters of flags of a command that are compared with those of replies

	minSearched = 64 // commands among which that of a reply is looked for at least, see conn.search
	searchCost  = 16 // commands that searches without result may visit for each one that was sent
	maxSpilled  = 64 // commands whose values are given up before a command is
)

// Row is one command with its reply.
type Row struct {
	table.Call
	Form    string            `col:"memcached_form" enc:"dict" doc:"text, meta or binary"`
	Command table.Opt[string] `col:"memcached_command" enc:"dict" doc:"the command, such as get, ms or getkq; null if it was not captured"`
	Key     table.Opt[string] `col:"memcached_key" doc:"the first key"`
	Keys    []string          `col:"memcached_keys" doc:"the keys, at most 64"`
	Status  table.Opt[string] `col:"memcached_status" enc:"dict" doc:"result: the first word of the reply's last line, such as STORED, END or HD; of binary replies ok, KEY_NOT_FOUND, …"`
	Items   table.Opt[int64]  `col:"memcached_items" doc:"values, or lines of statistics, in the reply; 0 if no key was found; null if the reply has none of them"`
	Flags   table.Opt[int64]  `col:"memcached_flags" doc:"the client's flags of the value: of the request, else of the first value of the reply"`
	Expiry  table.Opt[int64]  `col:"memcached_expiry" unit:"s" doc:"time to live as sent: seconds, or seconds since 1970 if it is more than 30 days"`
	CAS     table.Opt[string] `col:"memcached_cas" doc:"unique number of the value's version: of the request, else of the first value of the reply"`
	Delta   table.Opt[string] `col:"memcached_delta" doc:"amount of an increment or a decrement"`
	Opaque  table.Opt[string] `col:"memcached_opaque" doc:"opaque of the request, which the reply repeats; binary in hexadecimal digits"`
	Quiet   bool              `col:"memcached_quiet" doc:"the client asked for no reply, or for none if nothing is to report"`
	Args    table.Opt[string] `col:"memcached_args" doc:"the other words of a command: of stats, of a meta command its flags; at most 256 bytes"`
	ErrText table.Opt[string] `col:"memcached_error" doc:"text of an error, at most 256 bytes"`
	Ahead   int32             `col:"memcached_ahead" doc:"number of earlier commands that were unanswered when this one was sent (pipelining)"`
}

// Protocol is memcached.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "memcached",
		Doc:          "protocols of memcached: text, meta commands, binary",
		Versions:     "text, meta and binary protocol",
		Depth:        "commands with replies, keys, flags, expiry and values",
		Transports:   []dissect.Transport{dissect.TCP, dissect.UDP},
		Ports:        []uint16{11211, 11212, 11210},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		Resume:       resume,
		New:          newConn,
		Row:          &Row{},
		Traits:       table.Traits{Store: true, Data: "method NOT IN ('version', 'quit', 'sasl_list_mechs', 'sasl_auth', 'sasl_step', 'verbosity', 'stats', 'noop', 'mn')", Login: true, Before: "method IN ('version', 'quit', 'sasl_list_mechs', 'sasl_auth', 'sasl_step')"},
	}
}

// call is a command that waits for its reply, or a reply without its command.
type call struct {
	x        dissect.Exchange
	asked    dissect.QueuedRequest
	row      *Row
	replies  replies
	opcode   byte
	opaque   uint32
	flags    string // letters of the flags of a meta command
	datagram uint16
	binary   bool
	silent   bool // it has no reply
	quiet    bool // it may have none
	last     bool // those behind it were lost
	secret   bool // its value is a credential
	whole    bool // the command was captured completely
	done     bool // the reply is complete
	failed   bool
	gap      bool
	bad      bool
}

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return !c.silent && !c.done }

// callCost is the memory of a pending call in addition to its texts.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// pending is how many replies a command still waits for. A quiet one may have none, and statistics
// have many in the binary protocol.
func pending(c *call) (int64, bool) { return 1, !c.quiet && c.replies != repliesStats }

// search returns the command that a reply answers: the first for which is returns answers. stop ends the search.
// A search that finds a command is never repeated, because quiet commands before it then have no reply. Replies
// without a command would repeat the search, so they visit searchCost commands for each one that was sent; beyond
// that, only the oldest minSearched.
func (k *conn) search(is func(c *call) (answers, stop bool)) *call {
	all := k.queue.All()
	if len(all) > minSearched && len(all) > k.credit {
		all = all[:minSearched]
	}
	for i, c := range all {
		answers, stop := is(c)
		if answers {
			return c
		}
		if stop {
			k.searched(i)
			return nil
		}
	}
	k.searched(len(all))
	return nil
}

// searched counts commands that a search without result visited.
func (k *conn) searched(n int) {
	if n > minSearched {
		k.credit -= n
	}
}

// side is a position in a value.
type side struct {
	call *call
	left int64 // bytes of the value still to come
	tail int64 // bytes of its line's end still to come
	body *dissect.Body
}

type conn struct {
	queue    dissect.Queue[*call]
	c        *dissect.Conn
	sides    [2]side
	reply    *call // a reply with more lines, or the one whose value is read
	datagram datagram
	credit   int // commands that searches without result may still visit
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Replies: pending, Busy: func(c *call) bool { return c == k.reply || c == k.sides[dissect.ToServer].call }}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if in.Datagram {
		return k.readDatagram(in)
	}
	return k.read(in, 0)
}

func (k *conn) read(in *dissect.Input, at int) (int, error) {
	for at < len(in.Data) {
		var n int
		var err error
		b := in.Data[at:]
		switch s := &k.sides[in.Dir]; {
		case s.left+s.tail > 0:
			n, err = k.value(s, in, at)
		case b[0] == magicRequest && in.Dir == dissect.ToServer, b[0] == magicResponse && in.Dir == dissect.ToClient:
			n, err = k.readBinary(in, at)
		case in.Dir == dissect.ToServer:
			n, err = k.command(in, at)
		default:
			n, err = k.line(in, at)
		}
		at += n
		if n == 0 || err != nil {
			return at, err
		}
	}
	return at, nil
}

func (k *conn) cite(c *call, in *dissect.Input, from, to int) {
	if c == nil {
		return
	}
	if in.Datagram && from == frameHead {
		from = 0
	}
	c.x.Add(in, from, to)
}

// expect begins a value of n bytes, and tail bytes after it.
func (k *conn) expect(dir dissect.Dir, c *call, n, tail int64) {
	s := &k.sides[dir]
	*s = side{call: c, left: n, tail: tail}
	if c == nil || c.secret || n == 0 {
		return
	}
	at := &c.x.ReqBody
	if dir == dissect.ToClient {
		at = &c.x.RespBody
	}
	if *at == nil {
		*at = k.c.NewBody("", "")
		(*at).Expect(n)
	} else {
		(*at).Write([]byte{'\n'})
	}
	(*at).Complete = false
	s.body = *at
}

// value reads bytes of a value and of the end of its line.
func (k *conn) value(s *side, in *dissect.Input, at int) (int, error) {
	n := int(min(s.left+s.tail, int64(len(in.Data)-at)))
	part := in.Data[at : at+n]
	content := part[:min(int64(n), s.left)]
	if end := part[len(content):]; len(end) > 0 && string(end) != "\r\n"[2-s.tail:][:len(end)] {
		if in.Dir == dissect.ToClient || in.Datagram || k.c.Unproved() {
			return 0, errEnd
		}
		if s.call == nil || !s.call.bad { // the server answers CLIENT_ERROR, and the next command begins after these two bytes
			k.c.Anomaly("malformed", errEnd.Error(), 0)
		}
		if s.call != nil { // else its answer came before the value's end
			s.call.bad = true
		}
	}
	if s.body != nil {
		s.body.Write(content)
	}
	s.left -= int64(len(content))
	s.tail -= int64(n - len(content))
	k.cite(s.call, in, at, at+n)
	if s.left+s.tail == 0 {
		k.valueEnded(in.Dir)
	}
	return n, nil
}

// valueEnded ends a command with its value, or a value of a reply.
func (k *conn) valueEnded(dir dissect.Dir) {
	s := k.sides[dir]
	k.sides[dir] = side{}
	if s.body != nil {
		s.body.Complete = s.body.Lost() == 0
	}
	switch c := s.call; {
	case c == nil:
	case dir == dissect.ToServer:
		k.sent(c)
	case c.replies != repliesValues && c.replies != repliesStats:
		k.answered(c)
	}
}

// sent ends a command.
func (k *conn) sent(c *call) {
	if c.whole = !c.gap; c.silent {
		k.emit(c, "")
	}
}

// answered ends a reply.
func (k *conn) answered(c *call) {
	k.reply = nil
	c.done = true
	k.emit(c, "")
}

// Gap implements dissect.Dissector. Bytes of a value can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if len(in.Data) > 0 || s.left < missing {
		return false
	}
	if s.body != nil {
		s.body.Missing(missing)
	}
	if s.call != nil {
		s.call.gap = true
	}
	if s.left -= missing; s.left+s.tail == 0 {
		k.valueEnded(in.Dir)
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.queue.Resync(dir, why)
	if all := k.queue.All(); dir == dissect.ToServer && len(all) > 0 {
		all[len(all)-1].last = true
	}
	c := k.sides[dir].call
	k.sides[dir] = side{}
	if dir == dissect.ToClient {
		if c == nil {
			c = k.reply
		}
		k.reply = nil
	}
	if c == nil {
		return
	}
	c.gap, c.bad = c.gap || why == dissect.LossGap, c.bad || why == dissect.LossMalformed
	if dir == dissect.ToClient || c.silent {
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	if k.reply != nil && !k.reply.x.HasRequest() {
		return callCost
	}
	return 0
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for i := range k.sides {
		if k.sides[i].body.Spill() {
			return true
		}
	}
	for _, c := range k.queue.All()[:min(len(k.queue.All()), maxSpilled)] {
		if c.x.ReqBody.Spill() {
			return true
		}
	}
	return k.queue.Shed()
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := why.CallError()
	if why == dissect.EndFin {
		word = "cut"
	}
	if c := k.reply; c != nil {
		k.emit(c, word)
	}
	for len(k.queue.All()) > 0 {
		c := k.queue.All()[0]
		switch {
		case !c.whole:
			k.emit(c, word)
		case c.quiet && !c.gap && !k.queue.Lost() && why == dissect.EndFin:
			k.emit(c, "")
		default:
			k.emit(c, why.CallError())
		}
	}
}
