package stomp

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// reply handles CONNECTED and RECEIPT.
func (k *conn) reply(in *dissect.Input, at, end int, f *frame) {
	place := request{login: true}
	if f.command == "RECEIPT" {
		place = request{receipt: string(k.value(f, "receipt-id"))}
	} else if k.version = string(f.get("version")); k.version == "" {
		k.version = "1.0"
	}
	c, ok := k.asked.Take(place)
	if !ok {
		c = k.newCall(f)
		c.row.Receipt = table.NonEmpty(message.Text([]byte(place.receipt)))
	} else {
		k.headers(c, f, httpfield.Response)
	}
	c.x.Response(in, at, end)
	c.answered = true
	if f.command == "CONNECTED" {
		row := c.row
		row.Version, row.Server, row.Session = table.Some(message.Text([]byte(k.version))), k.text(f, "server"), k.text(f, "session")
		k.version, k.server = row.Version.V, row.Server.V
		if beats := k.text(f, "heart-beat"); beats.OK {
			row.HeartBeat = table.Some(strings.TrimPrefix(row.HeartBeat.V+" / "+beats.V, " / "))
		}
	}
	k.emit(c, "")
}

// open begins to read SEND, MESSAGE or ERROR.
func (k *conn) open(s *side, in *dissect.Input, at int, f *frame) {
	*s = side{counted: f.counted, left: f.size}
	if f.command == "ERROR" {
		k.fail(s, f)
	} else {
		s.call = k.newCall(f)
	}
	row := s.call.row
	switch f.command {
	case "SEND":
		k.login = false
		if row.OwnID = k.text(f, "message-id"); !row.OwnID.OK {
			row.OwnID = k.text(f, "amqp-message-id")
		}
	case "MESSAGE":
		k.deliver(s.call, f)
	}
	kind := row.RequestContentType
	if s.answer {
		kind = row.ResponseContentType
	}
	s.body = k.c.NewBody(kind.V, string(k.value(f, "content-encoding")))
	if s.counted {
		s.body.Expect(s.left)
	}
	s.call.x.AddTo(s.answer, in, at, at+f.head)
}

// deliver reads the headers of MESSAGE.
func (k *conn) deliver(c *call, f *frame) {
	c.sent, c.x.Reversed = true, true
	row := c.row
	row.MessageID, row.OwnID = k.text(f, "message-id"), k.text(f, "amqp-message-id")
	row.Redelivered = string(k.value(f, "redelivered")) == "true"
	c.sub = k.subKey(f, "subscription")
	sub, known := k.subs[c.sub]
	row.Mode = table.NonEmpty(sub.mode)
	ack := k.value(f, "ack")
	switch {
	case len(ack) > 0:
		c.may, c.place = true, delivery{"a" + string(ack), ""}
	case known && sub.mode == "auto", k.version == "1.2":
	case row.MessageID.OK:
		c.may, c.place = true, delivery{"m" + string(k.value(f, "message-id")), string(k.value(f, "subscription"))}
	}
	c.texts += len(c.place.id) + len(c.place.sub) + len(c.sub)
}

// fail begins to read an error: the answer of the frame whose receipt it names, or of the login.
func (k *conn) fail(s *side, f *frame) {
	c, ok := k.asked.Take(request{receipt: string(k.value(f, "receipt-id"))})
	if !ok && k.login {
		c, ok = k.asked.Take(request{login: true})
	}
	if s.answer = ok; ok {
		k.headers(c, f, httpfield.Response)
		c.row.ResponseContentType = k.text(f, "content-type")
	} else {
		c = k.newCall(f)
		c.sent, c.x.Reversed, c.alone = true, true, true
	}
	if c.row.ErrorText = k.text(f, "message"); !c.row.ErrorText.OK {
		c.row.ErrorText = table.Some("ERROR")
	}
	c.row.StatusText, c.row.Outcome = c.row.ErrorText, table.Unread // until its body has the details
	s.call = c
}

// ended handles the end of a body.
func (k *conn) ended(dir dissect.Dir) {
	s := k.sides[dir]
	k.sides[dir] = side{}
	s.body.Complete = s.body.Lost() == 0
	k.c.Confirm()
	s.call.x.SetBody(s.answer, s.body)
	c := s.call
	shown := table.NonEmpty(message.Show(s.body.Kept()))
	c.texts += len(shown.V)
	if !s.answer {
		c.size = s.body.Size() + s.body.Lost()
		c.whole = !c.gap
	}
	switch {
	case c.row.ErrorText.OK:
		c.answered = true
		c.row.ErrorDetail = shown
		c.row.Outcome = blame(c.row.ErrorText.V + " " + shown.V)
		k.emit(c, "")
		return
	case c.may:
		c.row.Value = shown
		k.await(c)
		return
	}
	if c.row.Value = shown; c.sent {
		c.alone = true
		k.emit(c, "")
		return
	}
	k.sent(c)
}

// blame returns the side that an error blames.
func blame(text string) string {
	lower := strings.ToLower(text)
	for _, word := range [...]string{"connection limit", "maximum connections", "too many connections"} {
		if strings.Contains(lower, word) {
			return table.Refused
		}
	}
	for _, word := range [...]string{"processing error", "internal", "server cancelled", "shutdown", "shutting down", "connection closed", "unavailable", "disk", "memory"} {
		if strings.Contains(lower, word) {
			return table.ServerError
		}
	}
	return table.ClientError
}
