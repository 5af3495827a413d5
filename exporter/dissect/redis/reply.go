package redis

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// rdb is a position in the file with which replication begins.
type rdb struct {
	state rdbState
	left  int64  // bytes to come; -1 until mark
	mark  []byte // the 40 bytes that end a file of unknown length
}

type rdbState uint8

const (
	rdbNone rdbState = iota
	rdbHead          // a line with the length, or with the mark
	rdbBytes
)

const rdbMark = 40 // length of the mark

// readReply reads the available part of a reply.
func (k *conn) readReply(in *dissect.Input, at int) (n int, err error) {
	b := in.Data[at:]
	if len(b) == 0 {
		return 0, nil
	}
	if k.rdb.state != rdbNone {
		return k.readRDB(in, at)
	}
	if k.resp == nil {
		f := k.queue.Front()
		syncs := f != nil && f.spec != nil && (f.spec.act == actSync || f.spec.act == actPsync)
		switch {
		case (k.streaming || syncs) && (b[0] == '\n' || b[0] == '\r'):
			return 1, nil // a keep-alive of the primary
		case syncs && f.spec.act == actSync && b[0] == '$':
			k.rdb.state = rdbHead
			return k.readRDB(in, at)
		}
		if k.resp = k.target(f, in, at); k.resp == nil {
			return 0, nil
		}
	}
	c := k.resp
	var done bool
	if c.spec != nil && c.spec.act == actExec && (k.tx.open || c.kind == 0 && len(k.tx.calls) > 0) {
		n, done, err = k.readResults(in, at)
	} else {
		n, done, err = k.w.walk(k.c, c, b)
	}
	c.x.Response(in, at, at+n)
	c.hideReply(in, at, at+n)
	if done {
		k.resp = nil
		k.endReply(c)
	} else if n == 0 && err == nil && !c.x.HasResponse() {
		k.resp = nil // nothing of it was read: look again when more bytes arrive
		if !c.x.HasRequest() {
			k.free(c)
		}
	}
	return n, err
}

// target finds the command for the reply at in.Data[at]. It returns a new call if there is none,
// and nil if more bytes are needed to decide.
func (k *conn) target(f *call, in *dissect.Input, at int) *call {
	b := in.Data[at:]
	subscribes := f != nil && f.spec != nil && (f.spec.act == actSubscribe || f.spec.act == actUnsubscribe)
	switch {
	case k.streaming:
		return k.pushed("replication")
	case b[0] == '>' || b[0] == '*' && (k.subscribed && !k.resp3 || subscribes):
		k.resp3 = b[0] == '>'
		word, rest, whole := firstWord(b)
		var channel []byte
		if whole && confirms(word) && k.queue.Lost() {
			channel, _, whole = shortWord(rest)
		}
		if !whole && !in.End && len(b) < 128 {
			return nil
		}
		switch {
		case subscribes && fold(word, f.verb) && f.names(channel):
			return f
		case subscribes && f.kind != 0 && k.confirms(word, channel) != nil: // f has all of its confirmations
			f.answered = true
			k.emit(f, "")
			return k.queue.Front()
		case k.queue.Lost() && k.confirms(word, channel) != nil:
			c := k.confirms(word, channel)
			for k.queue.Front() != c {
				k.emit(k.queue.Front(), "gap")
			}
			return c
		case b[0] == '>' || published(word) || confirms(word):
			return k.pushed(pushKind(word))
		}
	case k.monitor && b[0] == '+' && len(b) == 1 && !in.End:
		return nil
	case k.monitor && b[0] == '+' && len(b) > 1 && b[1] >= '0' && b[1] <= '9':
		return k.pushed("monitor")
	}
	if subscribes && f.kind != 0 { // fewer confirmations than expected
		f.answered = true
		k.emit(f, "")
		f = k.queue.Front()
	}
	if f == nil || !f.x.HasResponse() {
		f = k.queue.Answer(in.Seq(at))
	}
	if f != nil {
		return f
	}
	if k.queue.Front() == nil && !k.queue.Passes(in.Seq(at)) && k.c.Info.RolesKnown && !k.queue.Lost() && !in.End && b[0] != '-' && len(b) < maxWait && k.req.call == nil {
		return nil // captured before its command
	}
	return k.newCall()
}

func (k *conn) pushed(kind string) *call {
	c := k.newCall()
	c.push = kind
	return c
}

// firstWord is the first element of an aggregate, and what follows it; whole is false if it is still incomplete.
func firstWord(b []byte) (word, rest []byte, whole bool) {
	_, n := number(b[1:])
	if n <= 0 {
		return nil, nil, n < 0
	}
	return shortWord(b[1+n:])
}

// shortWord is the string at b, nil if it has more than 32 bytes, and what follows it.
func shortWord(b []byte) (word, rest []byte, whole bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	if b[0] == '+' {
		i := bytes.IndexByte(b, '\r')
		return b[1:max(i, 1)], b[min(max(i, 0)+2, len(b)):], i >= 0
	}
	size, n := number(b[1:])
	switch {
	case b[0] != '$' || n < 0 || n > 0 && (size < 0 || size > 32):
		return nil, nil, true
	case n == 0 || int64(len(b)) < 1+int64(n)+size:
		return nil, nil, false
	}
	end := 1 + n + int(size)
	return b[1+n : end], b[min(end+2, len(b)):], true
}

// names reports whether c can get a confirmation for channel: it names that channel, or none. nil is any channel.
func (c *call) names(channel []byte) bool {
	if channel == nil || c.argc == 1 || c.cut || c.argc > int64(len(c.words)) {
		return true
	}
	shown := appendArg(nil, channel)
	for i := range c.argc - 1 {
		if bytes.Equal(c.word(int(i+1)), shown) {
			return true
		}
	}
	return false
}

// confirms is the command that a confirmation answers, if that is not the oldest: the next one, or any after a loss. It is
// nil if there is none.
func (k *conn) confirms(word, channel []byte) *call {
	if !confirms(word) {
		return nil
	}
	for i, c := range k.queue.All() {
		switch {
		case i > 1 && !k.queue.Lost():
			return nil
		case i > 0 && fold(word, c.verb) && c.names(channel):
			return c
		}
	}
	return nil
}

func published(word []byte) bool {
	return fold(word, "MESSAGE") || fold(word, "PMESSAGE") || fold(word, "SMESSAGE")
}

func confirms(word []byte) bool {
	switch string(word) {
	case "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		return true
	}
	return false
}

// pushKind is the value of column redis_push.
func pushKind(word []byte) string {
	switch string(word) {
	case "message":
		return "message"
	case "pmessage":
		return "pmessage"
	case "smessage":
		return "smessage"
	case "invalidate":
		return "invalidate"
	case "":
		return "push"
	}
	return text(word[:min(len(word), 32)])
}

// endReply handles a completely read reply.
func (k *conn) endReply(c *call) {
	if !c.x.HasRequest() {
		k.endPush(c)
		return
	}
	k.silent = k.silent && !c.silent
	ok := c.kind == '+'
	if k.queued(c) {
		return
	}
	if c.confirms > 0 {
		if !k.confirmed(c) {
			return
		}
	} else if c.spec != nil && c.spec.act != actNone {
		switch c.spec.act {
		case actMonitor:
			k.monitor = k.monitor || ok && string(c.reply) == "OK"
		case actMulti, actExec, actDiscard:
			k.tx.end(k, "")
		case actReset:
			if ok {
				k.tx.end(k, "")
				k.monitor, k.subscribed, k.resp3, k.off, k.db, k.user = false, false, false, false, table.Opt[int32]{}, ""
			}
		case actSelect:
			if n, err := strconv.ParseInt(string(c.word(1)), 10, 32); c.isError() && err == nil && k.db == table.Some(int32(n)) {
				k.db = c.db
			}
		case actAuth, actHello:
			if c.isError() {
				k.user = ""
			} else if string(c.word(1)) == "2" {
				k.resp3 = false
			}
		case actPsync:
			if ok && bytes.HasPrefix(c.reply, []byte("FULLRESYNC")) {
				k.rdb.state = rdbHead
				return
			}
			k.streaming = ok && bytes.HasPrefix(c.reply, []byte("CONTINUE"))
		}
	}
	c.answered = true
	k.emit(c, "")
}

// confirmed counts one confirmation of a subscription and reports whether it was the last.
func (k *conn) confirmed(c *call) bool {
	if c.kind != '*' && c.kind != '>' {
		return true
	}
	c.confirms--
	count, err := strconv.ParseInt(string(c.element(2)), 10, 64)
	if err == nil {
		k.subscribed = count > 0
	}
	if c.confirms == 0 || c.spec.act == actUnsubscribe && c.argc == 1 && count == 0 {
		c.confirms = 0
		return true
	}
	if !c.full {
		c.reply = append(c.reply, ' ')
	}
	return false
}

// element is the displayed form of element i of an aggregate reply.
func (c *call) element(i int) []byte { return c.reply[c.first[i].from:c.first[i].to] }

func (c *call) isError() bool { return c.kind == '-' || c.kind == '!' }

// endPush ends a message that answers no command, or a reply to a command that was not captured.
func (k *conn) endPush(c *call) {
	if c.push == "" && k.queued(c) {
		return
	}
	if c.push == "" && c.kind == '*' && (published(c.element(0)) && c.elements >= 3 || confirms(c.element(0)) && c.elements == 3) {
		c.push = pushKind(c.element(0))
		k.subscribed = true
	}
	c.answered = true
	k.emit(c, "")
}

// readRDB reads the file with which replication begins, counting its bytes only.
func (k *conn) readRDB(in *dissect.Input, at int) (n int, err error) {
	b := in.Data[at:]
	c := k.queue.Front()
	if c == nil { // it was given up
		k.rdb = rdb{}
		return 0, fmt.Errorf("reading a replication file: its command was dropped")
	}
	r := &k.rdb
	if r.state == rdbHead {
		if b[0] == '\n' || b[0] == '\r' {
			n = 1
		} else {
			n, err = r.head(b)
		}
		c.x.Response(in, at, at+n)
		return n, err
	}
	done := false
	if r.left >= 0 {
		n = int(min(r.left, int64(len(b))))
		r.left -= int64(n)
		done = r.left == 0
	} else if i := bytes.Index(b, r.mark); i >= 0 {
		n, done = i+rdbMark, true
	} else if n = max(len(b)-rdbMark+1, 0); in.End {
		n = len(b)
	}
	c.x.Response(in, at, at+n)
	if done {
		k.rdb = rdb{}
		k.streaming, c.answered = true, true
		if c.kind == 0 {
			c.kind = 'r'
		}
		k.emit(c, "")
	}
	return n, nil
}

// head reads the line before the file: $ and a length, or $EOF: and the mark.
func (r *rdb) head(b []byte) (int, error) {
	const eof = "$EOF:"
	i := bytes.IndexByte(b, '\n')
	if i < 0 && len(b) < 64 {
		return 0, nil
	}
	if i == len(eof)+rdbMark+1 && string(b[:len(eof)]) == eof {
		r.left, r.mark, r.state = -1, bytes.Clone(b[len(eof):len(eof)+rdbMark]), rdbBytes
		return i + 1, nil
	}
	if i > 0 && b[0] == '$' {
		if size, n := number(b[1:]); n > 0 && size > 0 {
			r.left, r.state = size, rdbBytes
			return 1 + n, nil
		}
	}
	return 0, fmt.Errorf("reading a replication file: expected its length, got %.60q", b)
}
