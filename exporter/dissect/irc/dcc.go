package irc

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// transfer is a file that a message offers by DCC, and its content.
type transfer struct {
	k        *conn // nil once the message was emitted
	call     *call
	expected dissect.Expected

	conn  *dissect.Conn // nil until its first byte
	x     dissect.Exchange
	body  *dissect.Body
	ended bool
}

// offered reads an offer of a file: DCC SEND name address port size.
func (k *conn) offered(c *call, s string, dir dissect.Dir) {
	s, ok := strings.CutPrefix(strings.TrimRight(s, "\x01"), "\x01DCC SEND ")
	if !ok {
		return
	}
	c.row.Command = "DCC SEND"
	name, rest, _ := strings.Cut(s, " ")
	if strings.HasPrefix(s, `"`) {
		name, rest, _ = strings.Cut(s[1:], `"`)
	}
	f := strings.Fields(rest)
	c.row.File = table.NonEmpty(clip.Line([]byte(name), maxText))
	if len(f) < 2 {
		return
	}
	if len(f) > 2 {
		if n, err := strconv.ParseInt(f[2], 10, 64); err == nil && n >= 0 {
			c.row.Size = table.Some(n)
		}
	}
	port, err := strconv.ParseUint(f[1], 10, 16)
	addr, ok := address(f[0])
	if err != nil || !ok {
		k.c.Anomaly("malformed", "reading an offer of DCC: it has no address and port", 0)
		return
	}
	c.row.DCC = table.Some(netip.AddrPortFrom(addr, uint16(port)).String())
	if port == 0 { // the receiver waits
		return
	}
	client := k.c.Info.Client
	if k.c.Flipped() {
		client = k.c.Info.Server
	}
	t := &transfer{k: k, call: c}
	t.expected = dissect.Expected{Listener: addr, Port: uint16(port), Name: "irc_dcc", New: t.begin, Found: func(*dissect.Conn, string) { t.ended = true }}
	if dir == dissect.ToServer {
		t.expected.Other = client // it may be behind a translation
	} else {
		t.expected.Opener = client
	}
	if t.expected.Other == t.expected.Listener {
		t.expected.Other = netip.Addr{}
	}
	c.data = t
	k.c.Expect(&t.expected)
}

// address reads an address: a number of 32 bits, or the usual form.
func address(s string) (netip.Addr, bool) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n)))), n != 0
	}
	a, err := netip.ParseAddr(s)
	return a.WithZone(""), err == nil
}

// begin implements dissect.Expected.New.
func (t *transfer) begin(c *dissect.Conn) dissect.Dissector {
	t.conn = c
	t.body = c.NewBody("", "")
	t.x.CitePacket(c.Info.Opened)
	return &dataConn{t}
}

// finish ends the transfer, and emits the message if it waits.
func (t *transfer) finish() {
	if t.ended {
		return
	}
	t.ended = true
	if k := t.k; k != nil {
		k.c.Resume(t.conn)
		for _, c := range k.held {
			if c == t.call {
				k.emit(c, "")
				return
			}
		}
	}
}

// carried adds to a call the file that its connection carried.
func (k *conn) carried(c *call) {
	t := c.data
	if t == nil {
		return
	}
	c.data, t.k = nil, nil
	k.c.Unexpect(&t.expected)
	if t.body == nil || t.body.Size() == 0 {
		return
	}
	t.ended = true
	t.body.Complete = t.body.Lost() == 0 && (!c.row.Size.OK || t.body.Size() >= c.row.Size.V)
	t.body.File = &dissect.File{Name: c.row.File.V, NamedBy: "path"}
	c.x.Carried(k.c, &t.x, false)
	c.x.ReqBody = t.body
}

// dataConn is the connection of a file. Its bytes belong to the message that offers the file.
type dataConn struct{ t *transfer }

var errNotData = errors.New("reading a file sent by DCC: no message offers these bytes")

// Read implements dissect.Dissector.
func (d *dataConn) Read(in *dissect.Input) (int, error) {
	t, n := d.t, len(in.Data)
	if n > 0 {
		if t.k == nil {
			return 0, errNotData
		}
		if in.Dir == dissect.ToClient {
			t.body.Write(in.Data)
		}
		t.x.Add(in, 0, n)
	}
	if in.End && in.Dir == dissect.ToClient {
		t.finish()
	}
	return n, nil
}

// Gap implements dissect.Dissector.
func (d *dataConn) Gap(in *dissect.Input, missing int64) bool {
	if in.Dir == dissect.ToClient && d.t.k != nil {
		d.t.body.Missing(missing)
	}
	return true
}

// Resync implements dissect.Dissector.
func (d *dataConn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector.
func (d *dataConn) Kept() int { return 0 }

// Shed implements dissect.Dissector.
func (d *dataConn) Shed() bool { return d.t.k != nil && d.t.body.Spill() }

// Close implements dissect.Dissector.
func (d *dataConn) Close(why dissect.End) {
	if t := d.t; why == dissect.EndUpgrade && !t.ended { // it is another connection
		t.body, t.x = nil, dissect.Exchange{}
	}
	d.t.finish()
}
