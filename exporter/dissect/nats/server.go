package nats

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// reply handles a line of the server.
func (k *conn) reply(in *dissect.Input, at, end int, f *frame) {
	switch f.op {
	case "INFO":
		k.info(in, at, end, f.rest)
	case "PING":
		if c := k.ping; c != nil {
			k.emit(c, "no_response")
		}
		k.ping = k.newCall("PING")
		k.ping.x.Reversed = true
		k.ping.x.Request(in, at, end)
	case "PONG":
		k.pong(in, at, end)
	case "+OK":
		k.ok(in, at, end)
	case "-ERR":
		k.fail(in, at, end, message.Text(f.rest))
	}
}

// serverInfo has the fields of INFO.
type serverInfo struct {
	Name    string `json:"server_name"`
	ID      string `json:"server_id"`
	Version string `json:"version"`
	LDM     bool   `json:"ldm"`
}

// info reads INFO, with which a connection begins and which later reports changes to the client.
func (k *conn) info(in *dissect.Input, at, end int, text []byte) {
	var o serverInfo
	if err := json.Unmarshal(text, &o); err != nil {
		k.c.Anomaly("malformed", "reading INFO: "+err.Error(), 0)
	}
	if o.Name == "" {
		o.Name = o.ID
	}
	if k.server == "" && k.count == 0 {
		k.begun = true
	}
	k.server = message.Text([]byte(strings.TrimSpace(o.Name + " " + o.Version)))
	c := k.newCall("INFO")
	c.x.Reversed = true
	c.x.Request(in, at, end)
	c.delivered, c.whole = true, true
	if o.LDM {
		c.row.StatusText = table.Some("lame duck mode")
	}
	k.emit(c, "")
}

// pong answers a ping of the client. The server has accepted the commands before it.
func (k *conn) pong(in *dissect.Input, at, end int) {
	c := k.order.Answer(in.Seq(at))
	if c == nil || c.row.Method.V != "PING" {
		k.unasked("PONG", in, at, end)
		return
	}
	n := 0
	for n < len(k.recent) && k.recent[n].no < c.no {
		n++
	}
	k.settle(n)
	c.x.Response(in, at, end)
	c.waitsOK, c.answered = false, true
	k.c.Confirm()
	k.emit(c, "")
}

// ok answers the oldest command of a client that asked for it.
func (k *conn) ok(in *dissect.Input, at, end int) {
	c := k.order.Answer(in.Seq(at))
	if c == nil || c.row.Method.V == "PING" {
		if !k.connected { // what CONNECT asked for was not captured
			k.verbose = true
			for _, c := range k.recent {
				c.gap = true
			}
		}
		k.unasked("+OK", in, at, end)
		return
	}
	c.waitsOK, c.answered = false, true
	if c.waitsMsg {
		c.x.Cite(in, at, end)
		k.order.Remove(c)
		return
	}
	c.x.Response(in, at, end)
	k.emit(c, "")
}

// unasked emits an answer whose command was not captured.
func (k *conn) unasked(method string, in *dissect.Input, at, end int) {
	c := k.newCall(method)
	c.x.Response(in, at, end)
	c.answered = true
	k.emit(c, "no_request")
}

// fail answers the command that an error names, or the login.
func (k *conn) fail(in *dissect.Input, at, end int, text string) {
	c := k.failed(text, in.Seq(at))
	if c == nil {
		c = k.newCall("-ERR")
		_, named := quoted(text) // a command that was not captured, or too long ago
		c.delivered, c.whole = !named && k.begun, true
	}
	c.x.Response(in, at, end)
	c.answered, c.waitsOK = true, false
	c.row.ErrorText = table.Some(text)
	c.row.StatusText = table.Some(text)
	if subject, ok := quoted(text); ok {
		c.row.StatusText = table.Some(strings.TrimSpace(text[:strings.IndexByte(text, '"')]))
		if !c.row.Subject.OK {
			c.about([]byte(subject), nil)
		}
	}
	c.row.Outcome = blame(text)
	k.emit(c, "")
}

// quoted is the subject that an error names.
func quoted(text string) (string, bool) {
	_, rest, _ := strings.Cut(text, `"`)
	subject, _, ok := strings.Cut(rest, `"`)
	return subject, ok
}

const maxNamed = 64 // commands among which that of an error, a delivery or a confirmation is looked for

// failed finds and removes the command of an error.
func (k *conn) failed(text string, seq uint32) *call {
	if k.verbose && k.order.Passes(seq) {
		return nil
	}
	subject, named := quoted(text)
	method := "CONNECT"
	switch lower := strings.ToLower(text); {
	case named && strings.Contains(lower, "publish"):
		method = "PUB"
	case named && strings.Contains(lower, "subscription"):
		method = "SUB"
	case !strings.Contains(lower, "auth"):
		if method = ""; k.verbose {
			return k.order.Answer(seq)
		}
	}
	for i, c := range k.recent {
		if c.row.Method.V == method && (!named || c.subject == subject) {
			k.settle(i) // those before it were accepted
			return k.recall(0)
		}
	}
	for i, c := range k.order.All() {
		if i < maxNamed && c.row.Method.V == method && (!named || c.subject == subject) {
			return c
		}
	}
	if method == "PUB" {
		for c := range k.asked.Newest(maxNamed) {
			if c.subject == subject {
				return c
			}
		}
	}
	return nil
}

// blame returns the side that an error blames.
func blame(text string) string {
	lower := strings.ToLower(text)
	for _, word := range [...]string{"maximum connections", "maximum account", "secure connection"} {
		if strings.Contains(lower, word) {
			return table.Refused
		}
	}
	for _, word := range [...]string{"slow consumer", "stale connection", "server shutdown", "internal", "leader"} {
		if strings.Contains(lower, word) {
			return table.ServerError
		}
	}
	return table.ClientError
}

// delivering begins to read a message of the server: the answer to a published one, or a delivery.
func (k *conn) delivering(s *side, in *dissect.Input, at int, f *frame) {
	if c, ok := k.asked.Take(string(f.subject)); ok {
		switch {
		case c.pull && c.no <= k.doubted: // it had an answer that may be lost
			k.emit(c, "gap")
		case !c.waitsOK || !k.order.Lost():
			s.call, s.answer = c, true
			return
		default:
			k.asked.Put(c.reply, c, callCost+c.texts)
		}
	}
	c := k.newCall("MSG")
	c.x.Reversed, c.delivered = true, true
	c.row.SID = table.Some(message.Text(f.sid))
	if _, ok := k.subs[string(f.sid)]; !ok && k.begun && !k.unsubs {
		k.c.Anomaly("unknown_subscription", fmt.Sprintf("the server sends a message to subscription %.20q, which the client did not begin", f.sid), 0)
	}
	c.about(f.subject, f.reply)
	c.size = f.total - f.headers
	if i := slices.Index(k.acked, string(f.subject)); i >= 0 {
		c.confirms, k.acked = true, slices.Delete(k.acked, i, i+1)
	}
	if strings.HasPrefix(c.reply, "$JS.ACK.") {
		c.row.delivery(c.reply)
		k.pulled(c.row, string(f.sid), in, at, at+f.line)
	}
	s.call = c
}

// pulled answers the request for messages that a delivery fulfils, if there is one.
func (k *conn) pulled(d *Row, sid string, in *dissect.Input, at, end int) {
	c := k.pullOf(d, k.subs[sid])
	if c == nil {
		return
	}
	k.asked.Take(c.reply)
	c.x.Response(in, at, end)
	c.answered, c.waitsMsg, c.answer = true, false, "messages"
	k.emit(c, "")
}

// pullOf returns the oldest request for messages of the same consumer whose reply subject belongs to a
// subscription. Some clients subscribe to one inbox for each request, others to one with a wildcard for all.
func (k *conn) pullOf(d *Row, inbox string) *call {
	if !wild(inbox) {
		if c, ok := k.asked.Get(inbox); ok && c.pull {
			return c
		}
		return nil
	}
	for c := range k.asked.Oldest(maxNamed) {
		if c.pull && c.row.Stream == d.Stream && c.row.Consumer == d.Consumer && matches(inbox, c.reply) {
			return c
		}
	}
	return nil
}

// answered handles the end of a message that answers another one.
func (k *conn) answered(s *side) {
	c := s.call
	c.x.RespBody = s.body
	c.answered, c.waitsMsg = true, false
	c.row.Answer = shown(s.body)
	c.row.refused()
	if c.delivered {
		if strings.HasPrefix(c.reply, "$JS.ACK.") && c.row.acknowledge(s.body.Kept()) {
			c.answered = false
			c.x.RespBody = nil
			s.body.Spill()
			k.delivered.Put(c.reply, c, callCost+c.texts)
			return
		}
	} else {
		if c.pull && c.row.Status.OK && c.row.Status.V == 100 { // a heartbeat: the messages will come
			c.answered, c.waitsMsg, c.x.RespBody = false, true, nil
			s.body.Spill()
			k.asked.Put(c.reply, c, callCost+c.texts)
			return
		}
		c.row.stored(s.body.Kept())
	}
	k.emit(c, "")
}
