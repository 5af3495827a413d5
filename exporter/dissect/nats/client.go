package nats

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// newCall begins a call.
func (k *conn) newCall(method string) *call {
	k.count++
	c := &call{row: &Row{Verbose: k.verbose}, no: k.count}
	c.row.Method = table.Some(method)
	c.row.Server, c.row.Client, c.row.User = table.NonEmpty(k.server), table.NonEmpty(k.client), table.NonEmpty(k.user)
	return c
}

// about sets the subjects of a call.
func (c *call) about(subject, reply []byte) {
	c.subject, c.reply = string(subject), string(reply)
	c.row.Subject, c.row.Reply = table.NonEmpty(message.Text(subject)), table.NonEmpty(message.Text(reply))
	c.texts += 2*len(subject) + 2*len(reply)
	if !unique(c.subject) {
		c.row.Path = c.row.Subject
	}
	c.row.jetStream(c.subject)
}

// unique reports whether a subject is made for one answer, so that it names no endpoint.
func unique(subject string) bool {
	return strings.HasPrefix(subject, "_INBOX.") || strings.HasPrefix(subject, "$JS.ACK.") || strings.HasPrefix(subject, "_R_.") || strings.HasPrefix(subject, "$JS.FC.")
}

// command handles a line without a payload.
func (k *conn) command(in *dissect.Input, at int, f *frame) {
	end := at + f.line
	if in.Dir == dissect.ToClient {
		k.reply(in, at, end, f)
		return
	}
	if f.op == "PONG" {
		if c := k.ping; c != nil {
			k.ping = nil
			c.x.Response(in, at, end)
			c.answered, c.whole = true, true
			k.emit(c, "")
		}
		return
	}
	c := k.newCall(f.op)
	c.whole = true
	c.x.Request(in, at, end)
	switch f.op {
	case "CONNECT":
		k.connect(c, in, at, f.rest)
	case "SUB":
		c.about(f.subject, nil)
		c.row.SID, c.row.Queue = table.Some(message.Text(f.sid)), table.NonEmpty(message.Text(f.queue))
		k.subscribe(string(f.sid), c.subject)
	case "UNSUB":
		k.unsubs = true
		c.row.SID = table.Some(message.Text(f.sid))
		c.about([]byte(k.subs[string(f.sid)]), nil)
		if len(f.rest) == 0 {
			k.unsubscribe(string(f.sid))
		}
	}
	k.commanded(c, in.Packet(at).Ack)
}

// commanded keeps a command until its answer, or until no error can name it.
func (k *conn) commanded(c *call, ack uint32) {
	if k.verbose || c.row.Method.V == "PING" {
		c.waitsOK = true
		k.order.Push(c, ack, callCost+c.texts)
		return
	}
	if c.waitsMsg {
		return
	}
	k.recent = append(k.recent, c)
	k.recentHas += k.c.Keep(callCost + c.texts)
	if len(k.recent) > maxRecent {
		k.settle(1)
	}
}

// settle emits the first n commands that nothing answers.
func (k *conn) settle(n int) {
	for range n {
		k.emit(k.recall(0), "")
	}
}

// recall removes a command from those that an error may still name.
func (k *conn) recall(i int) *call {
	c := k.recent[i]
	k.recent = slices.Delete(k.recent, i, i+1)
	cost := min(callCost+c.texts, k.recentHas)
	k.recentHas -= cost
	k.c.Release(cost)
	return c
}

// credentials are the fields of CONNECT that are read.
type credentials struct {
	Verbose  *bool  `json:"verbose"`
	Name     string `json:"name"`
	Lang     string `json:"lang"`
	Version  string `json:"version"`
	User     string `json:"user"`
	Pass     string `json:"pass"`
	Token    string `json:"auth_token"`
	JWT      string `json:"jwt"`
	NKey     string `json:"nkey"`
	Sig      string `json:"sig"`
	Headers  bool   `json:"headers"`
	Protocol int    `json:"protocol"`
}

// connect reads CONNECT. Only the kind of the credentials is kept.
func (k *conn) connect(c *call, in *dissect.Input, at int, text []byte) {
	var o credentials
	if err := json.Unmarshal(text, &o); err != nil {
		k.c.Anomaly("malformed", "reading CONNECT: "+err.Error(), 0)
	}
	k.connected = true
	k.verbose = o.Verbose == nil || *o.Verbose // the protocol's default
	k.client, k.user = message.Text([]byte(o.Name)), message.Text([]byte(o.User))
	row := c.row
	switch {
	case o.JWT != "":
		row.AuthKind = table.Some("jwt")
	case o.NKey != "":
		row.AuthKind, k.user = table.Some("nkey"), message.Text([]byte(o.NKey))
	case o.Token != "":
		row.AuthKind = table.Some("token")
	case o.User != "" || o.Pass != "":
		row.AuthKind = table.Some("password")
		k.c.Password(o.User, o.Pass)
	}
	row.Verbose = k.verbose
	row.Client, row.User = table.NonEmpty(k.client), table.NonEmpty(k.user)
	row.Software = table.NonEmpty(message.Text([]byte(strings.TrimSpace(o.Lang + " " + o.Version))))
	for _, secret := range [...]string{o.Pass, o.Token, o.JWT, o.Sig} {
		if i := bytes.Index(in.Data[at:], []byte(secret)); secret != "" && i >= 0 {
			c.x.Hide(in, at+i, at+i+len(secret))
		}
	}
}

// subscribe remembers the subject of a subscription.
func (k *conn) subscribe(sid, subject string) {
	k.unsubscribe(sid)
	if wild(subject) && len(k.patterns) >= maxPatterns {
		k.forget()
		return
	}
	cost := subCost + len(sid) + len(subject)
	if !k.c.Hold(cost) {
		k.begun = false
		return
	}
	if k.subs == nil {
		k.subs, k.patterns, k.subjects = map[string]string{}, map[string]string{}, map[string]int{}
	}
	k.subs[sid] = subject
	k.subsHave += cost
	if wild(subject) {
		k.patterns[sid] = subject
	} else {
		k.subjects[subject]++
	}
}

const subCost = 160 // memory of a subscription and of its places in the maps

// wild reports whether a subject has wildcards.
func wild(subject string) bool { return strings.ContainsAny(subject, "*>") }

func (k *conn) unsubscribe(sid string) {
	subject, ok := k.subs[sid]
	if !ok {
		return
	}
	delete(k.subs, sid)
	if wild(subject) {
		delete(k.patterns, sid)
	} else if k.subjects[subject]--; k.subjects[subject] == 0 {
		delete(k.subjects, subject)
	}
	cost := subCost + len(sid) + len(subject)
	k.subsHave -= cost
	k.c.Release(cost)
}

// listens reports whether a known subscription of this connection gets messages to a subject.
func (k *conn) listens(subject string) bool {
	if k.subjects[subject] > 0 {
		return true
	}
	for _, p := range k.patterns {
		if matches(p, subject) {
			return true
		}
	}
	return false
}

// matches reports whether a subject belongs to a subscription with wildcards.
func matches(pattern, subject string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, ".")
		s, restS, moreS := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return s != ""
		case p != "*" && p != s:
			return false
		case moreP != moreS:
			return false
		case !moreP:
			return true
		}
		pattern, subject = restP, restS
	}
}

// publishing begins to read a message of the client: an answer to a delivered one, or a new one.
func (k *conn) publishing(s *side, in *dissect.Input, at int, f *frame) {
	if c, ok := k.delivered.Take(string(f.subject)); ok {
		s.call, s.answer = c, true
		if len(f.reply) > 0 { // the client asks for a confirmation of its acknowledgement
			c.row.Reply = table.Some(message.Text(f.reply))
			k.acked = append(k.acked[max(len(k.acked)-maxNamed+1, 0):], string(f.reply))
		}
		return
	}
	c := k.newCall("PUB")
	c.about(f.subject, f.reply)
	c.size, c.waitsMsg = f.total-f.headers, len(f.reply) > 0
	c.listens = c.waitsMsg && k.listens(c.reply)
	c.asked.Ack = in.Packet(at).Ack
	s.call = c
}

// published handles the end of a message that is not an answer.
func (k *conn) published(s *side) {
	c := s.call
	c.x.ReqBody = s.body
	c.row.Value = shown(s.body)
	if c.delivered {
		if c.reply == "" || c.row.Status.OK {
			k.emit(c, "")
		} else {
			k.delivered.Put(c.reply, c, callCost+c.texts)
		}
		return
	}
	c.pull = c.row.API.V == apiNext
	if c.waitsMsg {
		k.asked.Put(c.reply, c, callCost+c.texts)
	}
	k.commanded(c, c.asked.Ack)
}

// shown is the beginning of a payload.
func shown(b *dissect.Body) table.Opt[string] {
	return table.NonEmpty(message.Show(b.Kept()))
}
