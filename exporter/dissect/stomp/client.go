package stomp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// newCall begins a call with the fields of a frame's headers.
func (k *conn) newCall(f *frame) *call {
	c := &call{row: &Row{}}
	row := c.row
	row.Method = table.Some(f.command)
	row.Version = table.NonEmpty(k.version)
	row.User, row.Host, row.Server = table.NonEmpty(k.user), table.NonEmpty(k.host), table.NonEmpty(k.server)
	k.headers(c, f, httpfield.Request)
	row.Destination = k.text(f, "destination")
	row.Selector = k.text(f, "selector")
	row.Correlation, row.ReplyTo = k.text(f, "correlation-id"), k.text(f, "reply-to")
	row.Transaction = k.text(f, "transaction")
	row.RequestContentType = k.text(f, "content-type")
	if row.Subscription = k.text(f, "subscription"); !row.Subscription.OK && strings.HasSuffix(f.command, "SUBSCRIBE") {
		row.Subscription = k.text(f, "id")
	}
	if f.command != "CONNECT" && f.command != "STOMP" && f.command != "MESSAGE" { // which may have the header of SEND
		c.receipt = string(k.value(f, "receipt"))
		row.Receipt = table.NonEmpty(message.Text([]byte(c.receipt)))
	}
	if d := row.Destination; d.OK && !strings.HasPrefix(d.V, "/reply-queue/") { // which names no endpoint
		row.Path = d
	}
	c.texts += 2 * len(c.receipt)
	return c
}

// headers adds the headers of a frame to a row, without the passcode.
func (k *conn) headers(c *call, f *frame, kind string) {
	row := c.row
	for _, h := range f.headers {
		if len(row.Headers) == maxList {
			break
		}
		if string(h.name) == "passcode" {
			continue
		}
		v := table.Header{Name: message.Text(k.plain(f, h.name)), Value: message.Text(k.plain(f, h.value)), Kind: kind}
		row.Headers = append(row.Headers, v)
		c.texts += len(v.Name) + len(v.Value) + 48
	}
}

// value is a header without escapes.
func (k *conn) value(f *frame, name string) []byte { return k.plain(f, f.get(name)) }

// text is a header as a column.
func (k *conn) text(f *frame, name string) table.Opt[string] {
	return table.NonEmpty(message.Text(k.value(f, name)))
}

var escapes = strings.NewReplacer(`\\`, `\`, `\c`, ":", `\n`, "\n", `\r`, "\r")

// plain resolves the escapes of a header. STOMP 1.0 and the frames of the login have none; headers of
// 1.0 may have spaces.
func (k *conn) plain(f *frame, b []byte) []byte {
	if k.version == "1.0" {
		return bytes.TrimSpace(b)
	}
	if strings.HasPrefix(f.command, "CONNECT") || f.command == "STOMP" || bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	return []byte(escapes.Replace(string(b)))
}

// command handles a frame of the client without a body.
func (k *conn) command(in *dissect.Input, at, end int, f *frame) {
	k.login = false // which the server has answered, else the client would wait
	settled := 0
	if f.command == "ACK" || f.command == "NACK" {
		if settled = k.acknowledge(in, at, end, f); settled > 0 && !f.apart() {
			return
		}
	}
	if f.command == "CONNECT" || f.command == "STOMP" {
		if k.version = ""; len(f.get("accept-version")) == 0 {
			k.version = "1.0"
		}
	}
	c := k.newCall(f)
	c.whole = true
	c.x.Request(in, at, end)
	switch f.command {
	case "CONNECT", "STOMP":
		k.connect(c, in, at, end, f)
		k.begun, k.login = true, true
		k.asked.Put(request{login: true}, c, callCost+c.texts)
		return
	case "SUBSCRIBE":
		c.row.Mode = table.Some("auto")
		if m := k.text(f, "ack"); m.OK {
			c.row.Mode = m
		}
		k.subscribe(k.subKey(f, "id"), subscription{string(k.value(f, "destination")), c.row.Mode.V})
	case "UNSUBSCRIBE":
		key := k.subKey(f, "id")
		if s, ok := k.subs[key]; ok {
			c.row.Destination = table.NonEmpty(message.Text([]byte(s.destination)))
			c.row.Path = c.row.Destination
		}
		k.unsubscribe(key)
	case "COMMIT", "ABORT":
		k.endTransaction(in, at, end, f)
	case "ACK", "NACK":
		if settled == 0 && k.begun {
			k.c.Anomaly("unknown_message", fmt.Sprintf("the client sends %s of a message that does not wait for it", f.command), 0)
		}
		c.row.Ack, c.unheard = table.Some(strings.ToLower(f.command)), settled == 0
		if c.row.MessageID = k.text(f, "message-id"); !c.row.MessageID.OK {
			c.row.MessageID = k.text(f, "id")
		}
	}
	k.sent(c)
}

// sent keeps a frame until its receipt comes, if it asks for one.
func (k *conn) sent(c *call) {
	if c.receipt == "" {
		c.alone = true
		k.emit(c, "")
		return
	}
	k.asked.Put(request{receipt: c.receipt}, c, callCost+c.texts)
}

// connect reads a login. Of a passcode only its existence is kept.
func (k *conn) connect(c *call, in *dissect.Input, at, end int, f *frame) {
	row := c.row
	row.Version = table.Opt[string]{}
	row.User, row.Host, row.HeartBeat = k.text(f, "login"), k.text(f, "host"), k.text(f, "heart-beat")
	k.user, k.host = row.User.V, row.Host.V
	if secret := f.get("passcode"); len(secret) > 0 {
		row.AuthKind = table.Some("password")
		k.c.Password(row.User.V, string(secret))
		from := at + bytes.Index(in.Data[at:end], append([]byte("\npasscode:"), secret...)) + len("\npasscode:")
		c.x.Hide(in, from, from+len(secret))
		return
	}
	var t table.Call
	httpfield.Fill(&t, row.Headers) // a token, as HTTP has it
	row.AuthKind = t.AuthKind
}

// subKey is the key of a subscription: its id, or its destination in STOMP 1.0.
func (k *conn) subKey(f *frame, id string) string {
	if v := k.value(f, id); len(v) > 0 {
		return "i" + string(v)
	}
	return "d" + string(k.value(f, "destination"))
}

const subCost = 96 // memory of a subscription and of its place in the map

func (s subscription) cost(key string) int {
	return subCost + len(key) + len(s.destination) + len(s.mode)
}

// subscribe remembers a subscription.
func (k *conn) subscribe(key string, s subscription) {
	k.unsubscribe(key)
	if !k.c.Hold(s.cost(key)) {
		return
	}
	if k.subs == nil {
		k.subs = map[string]subscription{}
	}
	k.subs[key] = s
	k.have += s.cost(key)
}

func (k *conn) unsubscribe(key string) {
	if s, ok := k.subs[key]; ok {
		delete(k.subs, key)
		k.have -= s.cost(key)
		k.c.Release(s.cost(key))
	}
}

// forget drops the known subscriptions and transactions.
func (k *conn) forget() {
	k.c.Release(k.have)
	k.subs, k.transactions, k.have = nil, nil, 0
}

// acknowledge adds ACK or NACK to the messages that it answers. It returns their number.
func (k *conn) acknowledge(in *dissect.Input, at, end int, f *frame) int {
	c := k.acknowledged(f)
	if c == nil {
		return 0
	}
	list := []*call{c}
	if k.subs[c.sub].mode == "client" {
		list = k.upTo(c)
	}
	transaction := string(k.value(f, "transaction"))
	for _, d := range list {
		if f.apart() {
			d.x.Cite(in, at, end)
		} else {
			d.x.Response(in, at, end)
		}
		d.gap = d.gap || d.no <= k.unsure && len(list) > 1
		if transaction == "" || !k.postpone(transaction, postponed{waiting{d.no, d.place}, f.command}) {
			k.settle(d, f.command)
		}
	}
	return len(list)
}

// apart reports whether an acknowledgement is a row of its own: it has an answer, or it is valid only later.
func (f *frame) apart() bool { return f.get("receipt") != nil || len(f.get("transaction")) > 0 }

// await keeps a message until its acknowledgement.
func (k *conn) await(c *call) {
	k.count++
	c.no = k.count
	k.delivered.Put(c.place, c, callCost+waitCost+c.texts)
	if k.lines == nil {
		k.lines = map[string][]waiting{}
	}
	k.lines[c.sub] = append(k.lines[c.sub], waiting{c.no, c.place})
	if k.inLines++; k.inLines <= 2*k.delivered.Len()+64 {
		return
	}
	k.inLines = 0
	for sub, line := range k.lines {
		line = slices.DeleteFunc(line, func(w waiting) bool { return k.waits(w) == nil })
		if k.inLines += len(line); len(line) == 0 {
			delete(k.lines, sub)
		} else {
			k.lines[sub] = slices.Clip(line)
		}
	}
}

// waits is the message in a line, nil if it no longer waits.
func (k *conn) waits(w waiting) *call {
	if c, ok := k.delivered.Get(w.place); ok && c.no == w.no {
		return c
	}
	return nil
}

// upTo removes c and the messages before it from the line of its subscription, and returns them.
func (k *conn) upTo(c *call) (list []*call) {
	line := k.lines[c.sub]
	for len(line) > 0 && line[0].no <= c.no {
		if d := k.waits(line[0]); d != nil {
			list = append(list, d)
		}
		line = line[1:]
		k.inLines--
	}
	k.lines[c.sub] = line
	return list
}

// acknowledged is the message that ACK or NACK names: by its ack header in STOMP 1.2, else by its id.
func (k *conn) acknowledged(f *frame) *call {
	if id := k.value(f, "id"); len(id) > 0 {
		c, _ := k.delivered.Get(delivery{"a" + string(id), ""})
		return c
	}
	place := delivery{"m" + string(k.value(f, "message-id")), string(k.value(f, "subscription"))}
	if c, ok := k.delivered.Get(place); ok {
		return c
	}
	for c := range k.delivered.Oldest(maxList) { // one without its subscription
		if c.place.id == place.id && (place.sub == "" || c.place.sub == "") {
			return c
		}
	}
	return nil
}
