package mqtt

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Flags of CONNECT, MQTT 5.0 section 3.1.2.3.
const (
	flagClean    = 0x02
	flagWill     = 0x04
	flagPassword = 0x40
	flagUser     = 0x80
)

// connect reads CONNECT.
func (k *conn) connect(in *dissect.Input, at, end int, r *reader) error {
	name, version := string(r.text()), r.Uint8()
	if want := map[string]bool{"MQIsdp": version&0x7f == 3, "MQTT": version&0x7f == 4 || version == 5}; !want[name] {
		return fmt.Errorf("reading CONNECT: unknown protocol %.20q version %d", name, version)
	}
	k.version, r.version = version, version
	flags := r.Uint8()
	keep := r.Uint16()
	if old := k.login; old != nil {
		k.emit(old, "no_response")
	}
	c := k.newCall(in.Dir, connect)
	k.login = c
	c.x.Request(in, at, at+end)
	row := c.row
	row.KeepAlive, row.Clean = table.Some(int32(keep)), flags&flagClean != 0
	r.properties(c)
	c.x.Hide(in, r.secret[0], r.secret[1])
	k.client = message.Text(r.text())
	if flags&flagWill != 0 {
		var will call
		will.row = &Row{}
		r.properties(&will)
		row.Will = table.Some(message.Text(r.text()))
		r.text()
	}
	if k.user = ""; flags&flagUser != 0 {
		k.user = message.Text(r.text())
	}
	if flags&flagPassword != 0 {
		secret := r.text()
		from := at + end - r.Left()
		c.x.Hide(in, from-len(secret), from)
		k.c.Password(k.user, string(secret))
		if !row.AuthKind.OK {
			row.AuthKind = table.Some("password")
		}
	}
	row.Client, row.User = table.NonEmpty(k.client), table.NonEmpty(k.user)
	c.texts = len(k.client) + len(k.user) + len(row.Will.V)
	return nil
}

// connected reads CONNACK.
func (k *conn) connected(in *dissect.Input, at, end int, r *reader) *call {
	c := k.login
	if k.login = nil; c == nil {
		c = k.orphan(in.Dir, connack)
	}
	k.answer(c, in, at, end, connack)
	c.row.Present = r.Uint8()&1 != 0
	c.fails(r.Uint8(), k.version)
	assigned := c.row.Client
	c.row.Client = table.Opt[string]{}
	if r.Left() > 0 {
		r.properties(c)
		c.x.Hide(in, r.secret[0], r.secret[1])
	}
	if !c.row.Client.OK {
		c.row.Client = assigned
	}
	k.client = c.row.Client.V
	return c
}

// authenticate reads AUTH: a step of the login, or the beginning of another one.
func (k *conn) authenticate(in *dissect.Input, at, end int, r *reader) *call {
	c := k.login
	if c == nil {
		c = k.newCall(in.Dir, auth)
		c.row.Packets = nil
		c.x.Reversed = false
		k.login = c
	}
	c.row.Packets = append(c.row.Packets[:min(len(c.row.Packets), maxList)], kindName(auth))
	c.x.Add(in, at, at+end)
	if r.Left() == 0 {
		return nil
	}
	code := r.Uint8()
	if r.Left() > 0 {
		r.properties(c)
		c.x.Hide(in, r.secret[0], r.secret[1])
	}
	if c.kind == auth && in.Dir == dissect.ToClient && code == 0 { // the server accepts
		k.login, c.answered = nil, true
		c.fails(code, k.version)
		return c
	}
	return nil
}

// fails records a return or reason code.
func (c *call) fails(code, version byte) {
	t := tables()
	row := c.row
	name := t["reason"].Name(int64(code), "reason_")
	refused := code >= firstError
	if old := version&0x7f < 5 && (version != 0 || code < 6); old && (c.kind == connect || c.kind == connack) {
		name, refused = t["connack"].Name(int64(code), "return_code_"), code != 0
	}
	row.Reason, row.ReasonText = table.Some(int32(code)), table.Some(name)
	row.StatusCode = row.Reason
	if !refused {
		return
	}
	row.StatusText, row.Outcome = row.ReasonText, table.ClientError
	switch {
	case t["server"][int64(code)] != "", strings.HasPrefix(name, "server unavailable"):
		row.Outcome = table.ServerError
	case t["refused"][int64(code)] != "":
		row.Outcome = table.Refused
	}
}
