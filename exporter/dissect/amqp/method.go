package amqp

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Classes and methods whose meaning matters here.
const (
	classConnection = 10

	connStart, connStartOK, connSecure, connSecureOK = 10<<16 | 10, 10<<16 | 11, 10<<16 | 20, 10<<16 | 21
	connTune, connTuneOK, connOpen                   = 10<<16 | 30, 10<<16 | 31, 10<<16 | 40
	connClose, connCloseOK                           = 10<<16 | 50, 10<<16 | 51
	chanOpen                                         = 20<<16 | 10
	chanClose, chanCloseOK                           = 20<<16 | 40, 20<<16 | 41
	exDeclare, exDelete, exBind, exUnbind            = 40<<16 | 10, 40<<16 | 20, 40<<16 | 30, 40<<16 | 40
	quDeclare, quBind, quPurge, quDelete, quUnbind   = 50<<16 | 10, 50<<16 | 20, 50<<16 | 30, 50<<16 | 40, 50<<16 | 50
	quDeclareOK, quPurgeOK, quDeleteOK               = 50<<16 | 11, 50<<16 | 31, 50<<16 | 41
	consume, consumeOK, cancel                       = 60<<16 | 20, 60<<16 | 21, 60<<16 | 30
	publish, returned, deliver                       = 60<<16 | 40, 60<<16 | 50, 60<<16 | 60
	get, getOK, getEmpty                             = 60<<16 | 70, 60<<16 | 71, 60<<16 | 72
	ack, reject, nack, recoverAsync                  = 60<<16 | 80, 60<<16 | 90, 60<<16 | 120, 60<<16 | 100
	txSelect, txCommit, txRollback                   = 90<<16 | 10, 90<<16 | 20, 90<<16 | 30
	confirmSelect                                    = 85<<16 | 10
)

// answerOf is the method that answers another one; 0 if none does. Usually it is the next number.
func answerOf(id uint32) uint32 {
	switch id {
	case connStartOK, connSecureOK:
		return connTune
	case exUnbind:
		return 40<<16 | 51
	case get:
		return getOK
	case connStart, connTune, connTuneOK, connSecure, publish, returned, deliver, ack, reject, nack, recoverAsync, 10<<16 | 60, 10<<16 | 61:
		return 0
	}
	return id + 1
}

// newCall begins a method of a side.
func (k *conn) newCall(dir dissect.Dir, number uint16, id uint32) *call {
	name := methodName(dir, id)
	if id == 0 {
		name = "protocol header"
	}
	c := &call{row: &Row{Channel: int32(number)}, id: id, channel: number}
	c.x.Reversed = dir == dissect.ToClient
	c.row.Method, c.row.Call.Method = table.Some(name), table.Some(name)
	c.row.Host, c.row.User = table.NonEmpty(k.host), table.NonEmpty(k.user)
	c.said(name)
	return c
}

// said records a method of the call.
func (c *call) said(name string) {
	if len(c.row.Methods) < maxList {
		c.row.Methods = append(c.row.Methods, name)
	}
}

// method reads a method frame.
func (k *conn) method(in *dissect.Input, at, end int, number uint16) error {
	b := in.Data[at+frameHead : at+end-1]
	id := binary.BigEndian.Uint32(b)
	name := methodName(in.Dir, id)
	if name == "" {
		return fmt.Errorf("reading a method: the %s does not send class %d, method %d", in.Dir.Sender(), id>>16, id&0xffff)
	}
	if (id>>16 == classConnection) != (number == 0) {
		return fmt.Errorf("reading %s: it cannot be on channel %d", name, number)
	}
	if t := k.contentOf(in.Dir, number); t != nil {
		if c := k.drop(t); c != nil { // a message without its body
			k.emit(c, "malformed")
		}
	}
	r := newReader(b[4:])
	var err error
	switch {
	case id == ack || id == nack || id == reject:
		k.acknowledge(in, at, end, number, id, r)
	case isAnswer(id):
		k.answer(in, at, end, number, id, r)
	default:
		k.ask(in, at, end, number, id, r)
	}
	if r.Short() {
		err = fmt.Errorf("reading %s: it ends within a field", name)
	}
	return err
}

// isAnswer reports whether a method answers another one.
func isAnswer(id uint32) bool {
	return id == connSecure || id == connTune || id == getEmpty || strings.HasSuffix(methodName(dissect.ToClient, id), "-ok") ||
		id != connStartOK && id != connSecureOK && id != connTuneOK && strings.HasSuffix(methodName(dissect.ToServer, id), "-ok")
}

// ask reads a method that is not an answer.
func (k *conn) ask(in *dissect.Input, at, end int, number uint16, id uint32, r *reader) {
	c := k.newCall(in.Dir, number, id)
	c.x.Request(in, at, at+end)
	wait := k.arguments(c, in, at, id, r)
	if r.Short() {
		return
	}
	k.c.Confirm()
	switch id {
	case publish, returned, deliver:
		k.begin(c, in.Dir, false)
		return
	case connClose, chanClose:
		k.closing(c, in, at, end)
	}
	c.whole = true
	answer := answerOf(id)
	if answer == 0 || !wait {
		c.alone = true
		k.emit(c, "")
		return
	}
	k.wait(c, in, at, answer)
}

// wait keeps a request until its answer.
func (k *conn) wait(c *call, in *dissect.Input, at int, answer uint32) {
	place := asked{by: in.Dir, channel: c.channel, answer: answer}
	c.ack = in.Packet(at).Ack
	l := k.lines[place]
	c.key = place
	c.key.n = l.next
	l.next++
	k.lines[place] = l
	k.asked.Put(c.key, c, callCost+c.texts)
}

// next returns and removes the oldest request on a channel that a method at seq answers. After a loss, only the request
// that was sent when exactly the data before seq had come is certain, or the only one that waits. If neither exists, all
// that could be meant end, and the method answers none.
func (k *conn) next(by dissect.Dir, number uint16, answer, seq uint32) *call {
	place := asked{by: by, channel: number, answer: answer}
	l, ok := k.lines[place]
	doubt := false
	for ok && l.first < l.next {
		key := place
		key.n = l.first
		l.first++
		lost := k.asked.MayBeLost(key)
		c, there := k.asked.Take(key)
		if l.first == l.next {
			delete(k.lines, place)
		} else {
			k.lines[place] = l
		}
		switch doubt = doubt || there && lost && k.another(place, l, seq); {
		case there && (!doubt || c.ack == seq):
			return c
		case there:
			k.emit(c, string(dissect.LossGap))
			if !k.another(place, l, seq) {
				return nil
			}
		}
	}
	return nil
}

// another reports whether one more request waits at a place that was sent before a method at seq.
func (k *conn) another(place asked, l line, seq uint32) bool {
	for place.n = l.first; place.n < l.next; place.n++ {
		if c, ok := k.asked.Get(place); ok {
			return k.c.Info.Transport.Blind() || int32(c.ack-seq) <= 0
		}
	}
	return false
}

// answer reads a method that answers another one.
func (k *conn) answer(in *dissect.Input, at, end int, number uint16, id uint32, r *reader) {
	kind := id
	switch id {
	case connSecure:
		kind = connTune
	case getEmpty:
		kind = getOK
	}
	c := k.next(in.Dir.Other(), number, kind, in.Seq(at))
	if c == nil {
		c = k.newCall(in.Dir.Other(), number, 0)
		name := methodName(in.Dir, id)
		c.row.Method, c.row.Call.Method, c.row.Methods = table.Some(name), table.Some(name), nil
		c.id = id
	}
	c.x.Response(in, at, at+end)
	c.said(methodName(in.Dir, id))
	c.answered = true
	k.c.Confirm()
	k.results(c, id, r)
	switch id {
	case getOK:
		k.begin(c, in.Dir, true)
		return
	case chanCloseOK:
		k.emit(c, "")
		k.abandon(number)
		return
	}
	k.emit(c, "")
	if ch := k.channels[number]; ch != nil && (id == txCommit+1 || id == txRollback+1) {
		if !c.x.HasRequest() {
			c.upTo = ch.made
		}
		k.decide(number, id-1, c.upTo)
	}
}

// closing adds the error of close to the request that caused it.
func (k *conn) closing(c *call, in *dissect.Input, at, end int) {
	row := c.row
	if row.ReplyCode.V == 200 || row.ReplyCode.V == 0 {
		row.StatusText = table.Opt[string]{}
		row.Outcome = ""
		return
	}
	cause := c.cause
	a := answerOf(cause)
	if c.id == connClose && (cause == 0 || cause == connStartOK) {
		a = connTune // a login that failed names no method
	}
	victim := k.next(in.Dir.Other(), c.channel, a, in.Seq(at))
	if victim == nil && c.id == connClose {
		for ch := range k.asked.Newest(maxList) {
			if ch.id == cause {
				k.asked.Take(ch.key)
				victim = ch
				break
			}
		}
	}
	if victim == nil {
		return
	}
	victim.x.Response(in, at, at+end)
	victim.answered = true
	victim.refused(row.ReplyCode.V, row.ReplyText.V)
	k.emit(victim, "")
	row.Outcome = table.OK // the failure is that of the request
}

// abandon ends a channel: nothing on it will be answered.
func (k *conn) abandon(number uint16) {
	if ch := k.channels[number]; ch != nil {
		k.take(ch, published, number, ch.sent, func(c *call) { k.emit(c, "no_response") })
		k.decide(number, txRollback, ch.made) // the server forgets the transaction
	}
	k.forget(number)
}

// refused records a reply code.
func (c *call) refused(code int32, text string) {
	row := c.row
	row.ReplyText = table.NonEmpty(text)
	word, _, _ := strings.Cut(text, " - ")
	row.StatusText, row.Outcome = table.NonEmpty(message.Text([]byte(word))), table.ClientError
	if code > 0 {
		row.ReplyCode, row.StatusCode = table.Some(code), table.Some(code)
	}
	if tables()["server_error"][int64(code)] != "" {
		row.Outcome = table.ServerError
	}
}
