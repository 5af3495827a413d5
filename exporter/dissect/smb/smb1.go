package smb

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Commands of SMB 1, MS-CIFS section 2.2.2.1.
const (
	createDirectory1 = 0x00
	deleteDirectory1 = 0x01
	open1            = 0x02
	close1           = 0x04
	flush1           = 0x05
	delete1          = 0x06
	rename1          = 0x07
	queryInfo1       = 0x08
	checkDirectory1  = 0x10
	locking1         = 0x24
	transaction1     = 0x25
	transSecondary1  = 0x26
	openAndX         = 0x2d
	readAndX         = 0x2e
	writeAndX        = 0x2f
	transaction2     = 0x32
	trans2Secondary  = 0x33
	negotiate1       = 0x72
	sessionAndX      = 0x73
	treeAndX         = 0x75
	ntTransact       = 0xa0
	ntSecondary      = 0xa1
	ntCreateAndX     = 0xa2
	ntCancel         = 0xa4
)

// message1 reads a message of SMB 1.
func (k *conn) message1(in *dissect.Input, m *message) (c *call, final bool, err error) {
	fromServer, reply := in.Dir == dissect.ToClient, m.u8(9)&0x80 != 0
	id := key{v1: true, server: fromServer != reply, id: uint64(m.u16(12))<<32 | uint64(m.u16(26))<<16 | uint64(m.u16(30))}
	if reply {
		c, final = k.response1(in, m, id)
	} else {
		c, final = k.request1(in, m, id)
	}
	if m.u16(10)&4 != 0 {
		c.row.Signed = true
	}
	return c, final, nil
}

func (k *conn) call1(m *message, id key) *call {
	c := &call{row: &Row{Version: "smb1"}, key: id, command: m.u8(4), session: uint64(m.u16(28))}
	c.x.Reversed = id.server
	c.row.Command = tables()["command1"].Name(int64(c.command), "command_")
	c.row.MessageID = table.Some(int64(m.u16(30)))
	k.inside(c, int64(m.u16(24)))
	return c
}

// request1 reads a request.
func (k *conn) request1(in *dissect.Input, m *message, id key) (*call, bool) {
	switch m.u8(4) {
	case transSecondary1, trans2Secondary, ntSecondary: // more of a transaction
		if c, ok := k.Get(id); ok {
			if c.command == ntTransact && m.u8(4) == trans2Secondary && !c.mixed {
				c.mixed = true
				k.Conn.Anomaly("mixed_transaction", "a transaction begun by NT_TRANSACT continues with TRANSACTION2_SECONDARY, so that a server mistakes its length (MS-CIFS section 3.2.4.1.5, CVE-2017-0144)", 0)
			}
			return c, false
		}
	}
	c := k.call1(m, id)
	k.ask1(in, c, m)
	c.chain(m)
	if c.command == ntCancel || id.server || c.command == locking1 && m.u16(30) == 0xffff {
		c.single = true
		return c, true
	}
	if c.command == negotiate1 {
		k.negotiate = c
	}
	k.Put(id, c, callCost+min(len(m.b), 4*maxText))
	return c, false
}

// chain records the commands that follow in the same message, and reads a tree connect there.
func (c *call) chain(m *message) {
	command, at := m.u8(4), head1
	for len(c.row.Chain) < 8 && m.u8(at) >= 2 && isAndX(command) {
		next, to := m.u8(at+1), m.u16(at+3)
		if next == 0xff || to <= at || to+1 > len(m.b) {
			return
		}
		command, at = next, to
		c.row.Chain = append(c.row.Chain, tables()["command1"].Name(int64(next), "command_"))
	}
}

func isAndX(command int) bool {
	switch command {
	case locking1, openAndX, readAndX, writeAndX, sessionAndX, 0x74, treeAndX, ntCreateAndX:
		return true
	}
	return false
}

// unicode reports whether texts are UTF-16.
func (m *message) unicode() bool { return m.u16(10)&0x8000 != 0 }

// ask1 reads the fields of a request, MS-CIFS section 2.2.4.
func (k *conn) ask1(in *dissect.Input, c *call, m *message) {
	row, words := c.row, m.u8(head1)
	data := head1 + 3 + 2*words // after the number of bytes
	switch c.command {
	case negotiate1:
		for at := data; at < len(m.b) && len(row.Dialects) < maxList && m.u8(at) == 2; {
			var s string
			s, at = m.text(at+1, false)
			row.Dialects = append(row.Dialects, s)
		}
	case sessionAndX:
		k.session1(in, c, m, words, data)
	case treeAndX:
		n := m.u16(39)
		if n > 1 && m.bytes(data, n) != nil {
			c.x.Hide(in, m.at+data, m.at+data+n)
		}
		share, _ := m.text(data+n, m.unicode())
		row.Share = table.NonEmpty(share)
	case ntCreateAndX:
		if words < 24 {
			return
		}
		name, _ := m.text(data, m.unicode())
		row.File, row.Access = table.Some(name), access(m.u32(48))
		row.Disposition = table.Some(tables()["disposition"].Name(m.u32(68), "disposition_"))
		row.Delete = m.u32(72)&0x1000 != 0
	case openAndX:
		name, _ := m.text(data, m.unicode())
		row.File = table.Some(name)
	case createDirectory1, deleteDirectory1, open1, delete1, queryInfo1, checkDirectory1, rename1:
		name, at := m.text(data+1, m.unicode())
		row.File, row.Delete = table.Some(name), c.command == delete1 || c.command == deleteDirectory1
		if c.command == rename1 {
			name, _ = m.text(at+1, m.unicode())
			row.NewName = table.NonEmpty(name)
		}
	case close1, flush1:
		k.of1(c, m, 33)
	case readAndX:
		k.of1(c, m, 37)
		row.Offset, row.Length = table.Some(m.u32(39)), table.Some(int64(m.u16(43)))
		if words >= 12 {
			row.Offset = table.Some(m.u32(39) | m.u32(53)<<32)
		}
	case writeAndX:
		k.of1(c, m, 37)
		row.Offset, row.Length = table.Some(m.u32(39)), table.Some(int64(m.u16(53)|m.u16(51)<<16))
		if words >= 14 {
			row.Offset = table.Some(m.u32(39) | m.u32(57)<<32)
		}
		k.pipe(in, c, m, m.u16(55), row.Length.V)
		k.carries(in, c, m.u16(55), row.Length.V)
	case locking1:
		k.of1(c, m, 37)
	case transaction1, transaction2, ntTransact:
		k.transaction(in, c, m, words, data)
	}
}

// session1 reads a login.
func (k *conn) session1(in *dissect.Input, c *call, m *message, words, data int) {
	if words == 12 {
		k.authenticate(in, c, m, data, m.u16(47))
		return
	}
	if words != 13 {
		return
	}
	lm, nt := m.u16(47), m.u16(49)
	for _, p := range [...][2]int{{data, lm}, {data + lm, nt}} {
		if p[1] > 1 && m.bytes(p[0], p[1]) != nil {
			c.x.Hide(in, m.at+p[0], m.at+p[0]+p[1])
		}
	}
	l := login{auth: "plaintext"}
	switch {
	case nt == 24 || lm == 24 && nt == 0:
		l.auth = "ntlmv1"
	case nt > 24:
		l.auth = "ntlmv2"
	case lm <= 1 && nt <= 1:
		l.auth = "anonymous"
	}
	at := data + lm + nt
	l.user, at = m.text(at, m.unicode())
	l.domain, _ = m.text(at, m.unicode())
	c.setLogin(l)
	switch l.auth {
	case "plaintext":
		c.row.AuthKind = table.Some("password")
	case "ntlmv1", "ntlmv2":
		c.row.AuthKind = table.Some("ntlm")
	}
}

// of1 records which file a request is about; its number is at a position.
func (k *conn) of1(c *call, m *message, at int) {
	id := m.bytes(at, 2)
	if id == nil {
		return
	}
	c.file, c.row.FileID = string(id), fileID(id)
	if f := k.files.all[c.file]; f != nil {
		c.row.File = f.name
	}
}
