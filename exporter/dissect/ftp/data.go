package ftp

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// transfer is an announced data connection, and its content.
type transfer struct {
	k        *conn // nil once the control connection has ended, or announced another one
	expected dissect.Expected
	active   bool  // the server opens it
	call     *call // the command to which it belongs

	conn  *dissect.Conn // nil until its first byte
	x     dissect.Exchange
	body  *dissect.Body
	ended bool // no more bytes will come
	what  string
}

// announce expects a data connection.
func (k *conn) announce(d data) {
	k.forget()
	addr, _ := netip.ParseAddr(d.ip)
	client, server := k.Conn.Info.Client, k.Conn.Info.Server
	if k.Conn.Flipped() {
		client, server = server, client
	}
	t := &transfer{k: k, active: d.mode == "active"}
	t.expected = dissect.Expected{Opener: client, Listener: server, Other: addr, Port: uint16(d.port.V), Name: "ftp_data", New: t.begin, Found: t.other}
	if t.active { // to the client only: a server that is sent elsewhere is being abused (RFC 2577)
		t.expected.Opener, t.expected.Listener, t.expected.Other = server, client, netip.Addr{}
	}
	if t.expected.Other == t.expected.Listener {
		t.expected.Other = netip.Addr{}
	}
	k.next = t
	k.Conn.Expect(&t.expected)
}

// forget withdraws the announcement that no command has used.
func (k *conn) forget() {
	if t := k.next; t != nil {
		k.next, t.k = nil, nil
		k.Conn.Unexpect(&t.expected)
	}
}

// begin implements dissect.Expected.New.
func (t *transfer) begin(c *dissect.Conn) dissect.Dissector {
	t.conn = c
	return &dataConn{t}
}

// other implements dissect.Expected.Found.
func (t *transfer) other(_ *dissect.Conn, as string) {
	t.what, t.ended = as, true
	if t.call != nil {
		t.call.row.Data = table.Some(as)
	}
}

// download reports whether bytes of a direction of the data connection go to the client.
func (t *transfer) download(d dissect.Dir) bool { return (d == dissect.ToClient) != t.active }

// finish ends the transfer. whole reports whether its sender closed it.
func (t *transfer) finish(whole bool) {
	if t.ended {
		return
	}
	t.ended = true
	if t.body != nil {
		t.body.Complete = whole && t.body.Lost() == 0
	}
	if k := t.k; k != nil && k.held != nil && k.held == t.call {
		k.Conn.Resume(t.conn)
		k.emit(t.call, "")
	}
}

// dataConn is a data connection. Its bytes belong to the call of its command.
type dataConn struct{ t *transfer }

var errNotData = errors.New("reading a data connection: no command asked for these bytes")

// Read implements dissect.Dissector.
func (d *dataConn) Read(in *dissect.Input) (int, error) {
	t, n := d.t, len(in.Data)
	if n > 0 {
		if t.k == nil || t.call == nil || t.ended || t.download(in.Dir) == uploads[t.call.row.Command] {
			return 0, errNotData
		}
		t.store().Write(in.Data)
		t.x.Add(in, 0, n)
	}
	if in.End && t.call != nil && t.download(in.Dir) != uploads[t.call.row.Command] {
		t.finish(in.Fin)
	}
	return n, nil
}

// store returns the body of the transfer.
func (t *transfer) store() *dissect.Body {
	if t.body == nil {
		t.body = t.conn.NewBody("", "")
		t.x.CitePacket(t.conn.Info.Opened)
		if n := t.conn.GapBytes; n > 0 { // before its first byte
			t.body.Missing(n)
		}
	}
	return t.body
}

// Gap implements dissect.Dissector.
func (d *dataConn) Gap(in *dissect.Input, missing int64) bool {
	t := d.t
	if t.k != nil && t.call != nil && !t.ended && t.download(in.Dir) != uploads[t.call.row.Command] {
		if t.body == nil {
			t.store() // which knows of this gap
		} else {
			t.body.Missing(missing)
		}
	}
	return true
}

// Resync implements dissect.Dissector.
func (d *dataConn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector.
func (d *dataConn) Kept() int { return 0 }

// Shed implements dissect.Dissector.
func (d *dataConn) Shed() bool { return !d.t.ended && d.t.body.Spill() }

// Close implements dissect.Dissector.
func (d *dataConn) Close(why dissect.End) {
	t := d.t
	if why == dissect.EndUpgrade && !t.ended { // it is not a data connection
		t.body, t.x, t.what, t.ended = nil, dissect.Exchange{}, "other", true
		if t.call != nil {
			t.call.row.Data = table.Some(t.what)
		}
		return
	}
	t.finish(why == dissect.EndFin)
}

// uploads are the commands whose data the client sends.
var uploads = map[string]bool{"STOR": true, "STOU": true, "APPE": true}

// bind connects a command with the data connection that was announced.
func (k *conn) bind(c *call) {
	t := k.next
	if t == nil {
		return
	}
	k.next, t.call, c.data = nil, c, t
	if t.what != "" {
		c.row.Data = table.Some(t.what)
	}
}

// carried adds to a call what its data connection carried.
func (k *conn) carried(c *call) {
	t := c.data
	if t == nil {
		return
	}
	c.data, t.k = nil, nil
	k.Conn.Unexpect(&t.expected)
	if t.body == nil {
		return
	}
	if t.ended = true; c.row.StatusCode.V >= 400 || !c.row.StatusCode.OK {
		t.body.Complete = false
	}
	up := uploads[c.row.Command]
	c.x.Carried(k.Conn, &t.x, !up)
	c.row.Data = table.Some("read")
	if up {
		c.x.ReqBody = t.body
	} else {
		c.x.RespBody = t.body
		if n := c.row.Size; c.row.Command == "RETR" && n.OK && !c.row.Offset.OK && c.row.Type.V == "I" && t.body.Size() < n.V {
			t.body.Complete = false
		}
	}
	if c.row.Command == "RETR" || up {
		t.body.File = c.file()
	}
}

var stored = regexp.MustCompile(`(?i)FILE:\s*(\S.*)`)

// file is the file of a transfer. A server names it if the command did not.
func (c *call) file() *dissect.File {
	name := c.row.Argument.V
	if m := stored.FindStringSubmatch(c.row.Reply.V); m != nil && name == "" {
		name = m[1]
	}
	f := &dissect.File{Name: clip.Line([]byte(name[strings.LastIndexAny(name, `/\`)+1:]), maxText)}
	if f.Name != "" {
		f.NamedBy = "path"
	}
	if c.row.Offset.V > 0 {
		f.Offset = c.row.Offset
	}
	return f
}
