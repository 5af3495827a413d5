package smb

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// transaction reads the parameters of a transaction, MS-CIFS section 2.2.4.33.
func (k *conn) transaction(in *dissect.Input, c *call, m *message, words, data int) {
	row := c.row
	if c.command == ntTransact {
		c.partial = m.u32(36) > m.u32(52) || m.u32(40) > m.u32(60)
		if words >= 19 {
			c.kind = m.u16(69)
			row.Info = table.Some("nt_transact/" + tables()["nt_transact"].Name(int64(c.kind), ""))
		}
		return
	}
	if words < 14 {
		return
	}
	c.partial = m.u16(33) > m.u16(51) || m.u16(35) > m.u16(55)
	params, from, size := m.u16(53), m.u16(57), m.u16(55)
	if setup := m.u8(59); setup > 0 {
		c.kind = m.u16(61)
	}
	if c.command == transaction1 {
		name, _ := m.text(data, m.unicode())
		row.Info = table.NonEmpty(name)
		if c.kind == 0x26 || c.kind == 0x36 || c.kind == 0x37 {
			row.Info = table.Some("transaction/" + tables()["transaction"].Name(int64(c.kind), ""))
			k.of1(c, m, 63)
			k.pipe(in, c, m, from, int64(size))
		}
		return
	}
	row.Info = table.Some("transaction2/" + tables()["transaction2"].Name(int64(c.kind), ""))
	switch c.kind {
	case 0x0e: // session_setup
		k.Conn.Anomaly("reserved_command", "TRANS2_SESSION_SETUP is reserved (MS-CIFS section 2.2.6.15); DoublePulsar takes its orders by it", 0)
	case 0, 0x0d: // open2, create_directory
	case 1: // find_first2
		pattern, _ := m.text(params+12, m.unicode())
		row.Pattern = table.NonEmpty(pattern)
	case 5, 6: // information of a path
		name, _ := m.text(params+6, m.unicode())
		row.File = table.Some(name)
	case 7, 8: // information of a file
		k.of1(c, m, params)
	}
}

// response1 reads a response, and returns whether its call ends with it.
func (k *conn) response1(in *dissect.Input, m *message, id key) (*call, bool) {
	c, ok := k.Get(id)
	if !ok || c.command != m.u8(4) {
		c, ok = k.call1(m, id), false
	}
	status, words := m.u32(5), m.u8(head1)
	if ok && c.partial && words == 0 && status == 0 {
		return c, false // the server asks for the rest of a transaction (MS-CIFS section 2.2.4.33.2): it has no status yet
	}
	if m.u16(10)&0x4000 == 0 { // a class and a code of DOS
		c.dosStatus(status)
	} else {
		c.status(status)
	}
	if c.session == 0 || c.command == sessionAndX {
		c.session = uint64(m.u16(28))
		l := c.login
		if c.session != 0 && l.auth == "" {
			k.inside(c, int64(m.u16(24)))
		}
	}
	switch {
	case c.row.Outcome != "" && (c.command == readAndX || c.command == writeAndX):
		k.failed(c, c.command == writeAndX)
	case c.row.Outcome == "" && c.command == close1:
		k.closed(c)
	}
	if words == 0 || status>>30 == 3 && status != statusMore {
		return c, true
	}
	return c, k.answer1(in, c, m, words)
}

// dosStatus records a status of the form before NT.
func (c *call) dosStatus(n int64) {
	c.row.Status = table.Some(n)
	if n == 0 {
		c.row.StatusText = table.Some("STATUS_SUCCESS")
		return
	}
	class, code := n&0xff, n>>16
	c.row.StatusText = table.Some(fmt.Sprintf("dos_%d_%d", class, code))
	c.row.Outcome = table.ClientError
	switch {
	case class == 1 && code == 5 || class == 2 && code <= 4:
		c.row.Outcome = table.Refused
	case class == 3:
		c.row.Outcome = table.ServerError
	case class == 1 && code == 18: // no more files
		c.row.Outcome = ""
	}
}

// answer1 reads the fields of a response.
func (k *conn) answer1(in *dissect.Input, c *call, m *message, words int) bool {
	row, data := c.row, head1+3+2*words
	switch c.command {
	case negotiate1:
		if i := m.u16(33); i < len(row.Dialects) {
			row.Dialect = table.Some(row.Dialects[i])
		}
		if words == 17 {
			row.Signing = table.Some([]string{"disabled", "enabled", "required", "required"}[m.u8(35)>>2&3])
		}
	case sessionAndX:
		if words == 4 {
			k.authenticate(in, c, m, data, m.u16(39))
		}
		if row.Status.V == 0 {
			if m.u16(37)&1 != 0 {
				c.login.auth = "guest"
			}
			k.loggedIn(c)
		}
	case treeAndX:
		kind, _ := m.text(data, false)
		row.ShareType = table.Some("disk")
		if kind == "IPC" {
			row.ShareType = table.Some("pipe")
		} else if kind == "LPT1:" {
			row.ShareType = table.Some("print")
		}
		k.trees.put(treeKey{uint64(m.u16(28)), int64(m.u16(24))}, tree{row.Share.V, row.ShareType.V}, len(row.Share.V))
	case ntCreateAndX:
		if words < 34 {
			break
		}
		row.Action, row.FileSize = table.Some(tables()["action"].Name(m.u32(40), "action_")), table.Some(int64(m.u64(88)))
		k.opened1(c, m, 38)
	case openAndX:
		k.opened1(c, m, 37)
	case readAndX:
		row.Bytes = table.Some(int64(m.u16(43) | m.u16(47)<<16))
		k.pipe(in, c, m, m.u16(45), row.Bytes.V)
		k.carries(in, c, m.u16(45), row.Bytes.V)
	case writeAndX:
		row.Bytes = table.Some(int64(m.u16(37) | m.u16(41)<<16))
	case transaction1, transaction2:
		if c.kind == 0x26 && c.command == transaction1 {
			k.pipe(in, c, m, m.u16(47), int64(m.u16(45)))
		}
		return c.more(words >= 10, int64(m.u16(33)), int64(m.u16(35)), int64(m.u16(39)), int64(m.u16(45)))
	case ntTransact:
		return c.more(words >= 18, m.u32(36), m.u32(40), m.u32(44), m.u32(56))
	}
	return true
}

// more counts the parameters and data of a transaction's response, and returns whether all have come.
func (c *call) more(valid bool, parameters, data, p, d int64) bool {
	c.got[0] += p
	c.got[1] += d
	return !valid || c.got[0] >= parameters && c.got[1] >= data
}

// opened1 records the number of an opened file.
func (k *conn) opened1(c *call, m *message, at int) {
	if id := m.bytes(at, 2); id != nil {
		c.file, c.row.FileID = string(id), fileID(id)
		k.opened(c)
	}
}
