package mysql

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// owner finds the call of a message with this sequence number and size. b is its beginning. wait
// is true if the other side must be seen first.
func (k *conn) owner(o *source, seq byte, size int, b []byte) (c *call, wait bool, err error) {
	if k.phase == phaseUnknown {
		k.begin(o, seq, size, b)
	}
	if o.in.Dir == dissect.ToClient {
		return k.answering(o, seq, size, b)
	}
	if h := k.hello; h != nil {
		switch {
		case seq == h.seq+1:
			return h, false, nil
		case seq != 0:
			return nil, false, errSequence(o, seq, h.seq+1)
		case k.mayWait(o):
			return nil, true, nil
		}
		h.gap = true // the verdict was not captured
		k.phase = phaseCommand
		k.accepted(h)
		k.emit(h, "")
	}
	if seq == 0 {
		return k.command(o, size)
	}
	if all := k.queue.All(); len(all) > 0 {
		if c := all[len(all)-1]; seq == c.seq+1 || o.packed {
			if c.stage == stageFirst && k.mayWait(o) { // the server's request for a file was not read yet
				return nil, true, nil
			}
			return c, false, nil
		}
	}
	if k.queue.Lost() {
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("reading a command: sequence number %d instead of 0", seq)
}

// mayWait reports whether a message can wait for an earlier one of the other side that was
// captured later.
func (k *conn) mayWait(o *source) bool {
	return k.c.Info.RolesKnown && !k.queue.Lost() && !o.in.End && !o.packed && len(o.in.Data)-o.at < maxWait
}

// begin finds the position of the first message in the connection.
func (k *conn) begin(o *source, seq byte, size int, b []byte) {
	k.phase = phaseCommand
	switch greeting, _ := isGreeting(b, size); {
	case o.in.Dir == dissect.ToClient:
		if !greeting && (seq != 0 || size == 0 || len(b) > 0 && b[0] != packetErr) {
			return
		}
		k.hello = k.newCall(kindConnect)
		k.hello.seq = seq - 1
	default:
		if is, _ := isResponse(b, size); !is || seq == 0 {
			return
		}
		k.hello = k.newCall(kindConnect)
		k.hello.stage, k.hello.seq = stageAuth, seq-1
		if g := k.greet; g != nil {
			k.serverCaps, k.hello.version, k.hello.thread, k.hello.plugin = g.caps, g.version, g.thread, g.plugin
		} else {
			k.hello.gap = true // the greeting was not captured
		}
	}
	k.phase = phaseConnect
}

// command begins the call of a command.
func (k *conn) command(o *source, size int) (*call, bool, error) {
	k.commanded = true
	if size == 0 {
		return nil, false, fmt.Errorf("reading a command: an empty packet")
	}
	if f := k.queue.Front(); f != nil && f.stage == stageMaybe {
		k.emit(f, "")
	}
	c := k.newCall(kindCommand)
	c.ahead = int32(k.queue.Push(c, o.in.Packet(o.at).Ack, callCost))
	return c, false, nil
}

// request reads a message of the client.
func (k *conn) request(c *call, b []byte, size int64, cut bool) error {
	switch {
	case c.stage == stageFile:
		if size > 0 {
			if c.x.ReqBody != nil {
				c.x.ReqBody.Write(b)
			}
			return nil
		}
		fileEnd(c.x.ReqBody)
		c.stage = stageFirst
		return nil
	case c.kind == kindConnect && !k.capsKnown:
		return k.response(c, b)
	case c.stage == stageAuth:
		k.credentials(c, 0, len(b))
		return nil
	case c.command != 0: // more than the command
		return fmt.Errorf("reading %s: a packet that does not follow", nameOf("command", int(c.command)))
	}
	if len(b) == 0 {
		return fmt.Errorf("reading a command: its beginning is missing")
	}
	c.command = b[0]
	if tables()["command"][int64(b[0])] == "" {
		return fmt.Errorf("reading a command: %#x is not one", b[0])
	}
	r := newReader(b[1:])
	k.arguments(c, &r, cut)
	if r.Short() && !cut {
		return fmt.Errorf("reading %s: it is too short for its fields: %.60q", nameOf("command", int(b[0])), b)
	}
	k.queue.Grow(c, len(c.query)+c.params.cost()+c.attrs.cost())
	if c.silent {
		c.answered = true
		k.emit(c, "")
	}
	return nil
}

// arguments reads the fields after the number of a command.
func (k *conn) arguments(c *call, r *reader, cut bool) {
	switch c.command {
	case comQuery:
		k.queryAttributes(c, r)
		c.statement(r.Rest(), cut)
	case comPrepare:
		c.statement(r.Rest(), cut)
		k.prepare(c)
	case comInitDB:
		c.use = clip.Text(r.Rest(), maxParam)
	case comExecute, comBulkExecute:
		k.execute(c, r)
	case comFetch, comReset, comClose, comLongData:
		id := uint32(r.number(4))
		c.stmt, c.stmtID = k.named(id), someInt(int64(id), id != lastPrepared)
		switch c.command {
		case comFetch:
			c.stage, c.rows.OK = stageRows, true
			if c.stmt != nil {
				c.cols, c.query, c.known = c.stmt.cols, c.stmt.query, c.stmt.known
			}
		case comReset:
			k.resetData(c.stmt)
		case comClose:
			k.forget(id)
			c.silent = true
		case comLongData:
			k.longData(c.stmt, int(r.number(2)), r.Rest(), cut)
			c.silent = true
		}
	case comProcessKill:
		c.thread = table.Some(int64(r.number(4)))
	case comChangeUser:
		k.changeUser(c, r)
	case comFieldList:
		c.stage = stageColumns
		c.left = -1 // their number is not sent
		c.query, c.known = sqltext.Text(r.CString()), true
	case comRegister: // the password that a replica reports is another server's
		r.Skip(4)
		r.Skip(int(r.Uint8())) // host
		r.Skip(int(r.Uint8())) // user
		n := int(r.Uint8())
		if from := 1 + r.Used(); n > 0 { // r is behind the command's number
			c.plugin = "mysql_clear_password"
			k.credentials(c, from, from+n)
		}
		r.Skip(n)
	case comBinlogDump, comBinlogGTID:
		c.stage = stageStream
	case comQuit:
		c.silent = true
	}
}

// statement records the text of a statement.
func (c *call) statement(b []byte, cut bool) {
	c.known = true
	c.query = sqltext.Text(b[:min(len(b), maxQuery)])
	if cut || len(b) > maxQuery {
		c.query += "…"
	}
}

// queryAttributes reads the attributes before the text of COM_QUERY. If the capabilities are
// unknown, the number of sets shows them: it is always 1, a byte that no statement has there.
func (k *conn) queryAttributes(c *call, r *reader) {
	if k.queryAttrs == unknown {
		b := r.Rest()
		if len(b) < 2 {
			return
		}
		k.queryAttrs = ternaryOf(b[1] == 1)
	}
	if k.queryAttrs == no {
		return
	}
	n, _ := r.lenenc()
	r.lenenc() // number of sets, always 1
	c.attrs.read(r, int(min(n, 1<<16)), nil, true, nil)
}
