package smb

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Commands of SMB 2, MS-SMB2 section 2.2.1.2.
const (
	negotiate2      = 0
	sessionSetup2   = 1
	treeConnect2    = 3
	create2         = 5
	close2          = 6
	flush2          = 7
	read2           = 8
	write2          = 9
	lock2           = 10
	ioctl2          = 11
	cancel2         = 12
	queryDirectory2 = 14
	changeNotify2   = 15
	queryInfo2      = 16
	setInfo2        = 17
	oplockBreak2    = 18
)

// Flags of a head.
const (
	flagResponse = 1
	flagAsync    = 2
	flagRelated  = 4
	flagSigned   = 8
)

const (
	statusPending = 0x103
	statusMore    = 0xc0000016 // STATUS_MORE_PROCESSING_REQUIRED
	notification  = 1<<64 - 1  // message id
	pipeTransact  = 0x11c017   // FSCTL_PIPE_TRANSCEIVE
)

func hex64(n uint64) table.Opt[string] { return table.Some("0x" + strconv.FormatUint(n, 16)) }

// message2 reads a command of SMB 2 or 3.
func (k *conn) message2(in *dissect.Input, m *message, partial bool) (c *call, final bool, err error) {
	flags := m.u32(16)
	if flags&flagResponse == 0 {
		c = k.request2(in, m)
		final = c.single
	} else {
		c, final = k.response2(in, m)
	}
	c.row.Signed = c.row.Signed || flags&flagSigned != 0
	if m.short && !partial {
		c.bad = true
		k.Conn.Anomaly("malformed", "smb: a field of "+c.row.Command+" is beyond the end of its message", 0)
	}
	return c, final, nil
}

// call2 begins the call of a message.
func (k *conn) call2(m *message) *call {
	id := m.u64(24)
	c := &call{row: &Row{Version: "smb2"}, key: key{id: id}, command: m.u16(12)}
	row := c.row
	row.Command = tables()["command2"].Name(int64(c.command), "command_")
	if id != notification {
		row.MessageID = table.Some(int64(id))
	}
	c.session = m.u64(40)
	if m.u32(16)&flagAsync == 0 {
		k.inside(c, m.u32(36))
	}
	return c
}

// inside records the session and the tree of a call.
func (k *conn) inside(c *call, id int64) {
	row := c.row
	if c.session != 0 {
		row.Session = hex64(c.session)
	}
	if l, ok := k.sessions.all[c.session]; ok {
		row.User, row.Domain = table.NonEmpty(l.user), table.NonEmpty(l.domain)
	}
	if t, ok := k.trees.all[treeKey{c.session, id}]; ok {
		row.Share, row.ShareType = table.NonEmpty(t.share), table.NonEmpty(t.kind)
	}
}

// request2 reads a request.
func (k *conn) request2(in *dissect.Input, m *message) *call {
	s := &k.chains[in.Dir]
	c := k.call2(m)
	row := c.row
	if prior := s.prior; prior != nil && m.u32(16)&flagRelated != 0 {
		c.session, row.Session, row.User, row.Domain, row.Share, row.ShareType = prior.session, prior.row.Session, prior.row.User, prior.row.Domain, prior.row.Share, prior.row.ShareType
	}
	row.Compound = s.prior != nil || m.u32(20) != 0
	k.ask2(in, c, m)
	s.prior = c
	if c.command == cancel2 {
		c.single = true
		return c
	}
	k.Put(c.key, c, callCost+min(len(m.b), 4*maxText))
	return c
}

// ask2 reads the fields of a request, MS-SMB2 section 2.2.
func (k *conn) ask2(in *dissect.Input, c *call, m *message) {
	row := c.row
	switch c.command {
	case negotiate2:
		for i := range min(m.u16(66), maxList) {
			row.Dialects = append(row.Dialects, dialect(m.u16(100+2*i)))
		}
	case sessionSetup2:
		k.authenticate(in, c, m, m.u16(76), m.u16(78))
	case treeConnect2:
		row.Share = table.NonEmpty(m.wide(m.u16(68), m.u16(70)))
	case create2:
		row.File = table.Some(m.wide(m.u16(108), m.u16(110)))
		row.Access, row.Disposition = access(m.u32(88)), table.Some(tables()["disposition"].Name(m.u32(100), "disposition_"))
		row.Delete = m.u32(104)&0x1000 != 0 // FILE_DELETE_ON_CLOSE
	case close2, flush2, lock2:
		k.of(in, c, m.bytes(72, 16))
	case oplockBreak2:
		if m.u16(64) == 24 {
			k.of(in, c, m.bytes(72, 16))
		}
	case read2:
		k.of(in, c, m.bytes(80, 16))
		row.Length, row.Offset = table.Some(m.u32(68)), table.Some(int64(m.u64(72)))
	case write2:
		k.of(in, c, m.bytes(80, 16))
		row.Length, row.Offset = table.Some(m.u32(68)), table.Some(int64(m.u64(72)))
		k.pipe(in, c, m, m.u16(66), row.Length.V)
		k.carries(in, c, m.u16(66), row.Length.V)
	case ioctl2:
		k.of(in, c, m.bytes(72, 16))
		row.Ioctl = ioctl(m.u32(68))
		if m.u32(68) == pipeTransact {
			k.pipe(in, c, m, int(m.u32(88)), m.u32(92))
		}
	case queryDirectory2:
		k.of(in, c, m.bytes(72, 16))
		row.Pattern = table.NonEmpty(m.wide(m.u16(88), m.u16(90)))
		row.Info = info(1, m.u8(66))
	case changeNotify2:
		k.of(in, c, m.bytes(72, 16))
	case queryInfo2:
		k.of(in, c, m.bytes(88, 16))
		row.Info = info(m.u8(66), m.u8(67))
	case setInfo2:
		k.of(in, c, m.bytes(80, 16))
		row.Info = info(m.u8(66), m.u8(67))
		if m.u8(66) == 1 {
			c.change(m, m.u8(67), m.u16(72))
		}
	}
}

// change reads a rename, a link or a deletion, MS-FSCC section 2.4. The information begins at a position of
// the message.
func (c *call) change(m *message, class, at int) {
	switch class {
	case 10, 11, 65, 72: // rename, link
		c.row.NewName = table.NonEmpty(m.wide(at+20, int(min(m.u32(at+16), maxWhole))))
	case 13, 64: // disposition
		c.row.Delete = m.u8(at)&1 != 0
	}
}

// of records which file a request is about.
func (k *conn) of(in *dissect.Input, c *call, id []byte) {
	if id == nil {
		return
	}
	c.file = string(id)
	all := true
	for _, b := range id {
		all = all && b == 0xff
	}
	if prior := k.chains[in.Dir].prior; all && prior != nil { // the file of the command before
		c.file, c.row.FileID, c.row.File = prior.file, prior.row.FileID, prior.row.File
		return
	}
	if all && c.command == ioctl2 && !c.row.Compound { // it is about a tree or the session, MS-SMB2 section 2.2.31
		c.file = ""
		return
	}
	c.row.FileID = fileID(id)
	if f := k.files.all[c.file]; f != nil {
		c.row.File = f.name
	}
}

// response2 reads a response, and returns whether its call ends with it.
func (k *conn) response2(in *dissect.Input, m *message) (*call, bool) {
	command, status := m.u16(12), m.u32(8)
	c, ok := k.Get(key{id: m.u64(24)})
	if old := k.negotiate; !ok && old != nil && command == negotiate2 {
		c, ok = old, true // MS-SMB2 section 3.3.5.3
	} else if ok && c.command != command {
		ok = false
	}
	if !ok {
		c = k.call2(m)
		if m.u64(24) == notification {
			c.key.server, c.single, c.x.Reversed = true, true, true
			return c, true
		}
	}
	row := c.row
	row.Credits = table.Some(row.Credits.V + int32(m.u16(14)))
	if status == statusPending && m.u32(16)&flagAsync != 0 {
		row.Async = true
		return c, false
	}
	c.status(status)
	if status>>30 == 3 && (command == read2 || command == write2) {
		k.failed(c, command == write2)
	}
	if c.session == 0 {
		c.session = m.u64(40)
		k.inside(c, -1)
	}
	if status>>30 != 3 || status == statusMore {
		k.answer2(in, c, m, command)
	}
	return c, true
}

// answer2 reads the fields of a response.
func (k *conn) answer2(in *dissect.Input, c *call, m *message, command int) {
	row := c.row
	switch command {
	case negotiate2:
		k.negotiated2(c, m)
	case sessionSetup2:
		k.authenticate(in, c, m, m.u16(68), m.u16(70))
		switch flags := m.u16(66); {
		case row.Status.V != 0:
			return
		case flags&1 != 0:
			c.login.auth = "guest"
		case flags&2 != 0:
			c.login.auth = "anonymous"
		}
		k.loggedIn(c)
	case treeConnect2:
		row.ShareType = table.Some(tables()["share"].Name(int64(m.u8(66)), "share_"))
		k.trees.put(treeKey{c.session, m.u32(36)}, tree{row.Share.V, row.ShareType.V}, len(row.Share.V))
	case create2:
		row.Action = table.Some(tables()["action"].Name(m.u32(68), "action_"))
		row.FileSize = table.Some(int64(m.u64(112)))
		if id := m.bytes(128, 16); id != nil {
			row.FileID, c.file = fileID(id), string(id)
			k.opened(c)
		}
	case read2:
		row.Bytes = table.Some(m.u32(68))
		k.pipe(in, c, m, m.u8(66), row.Bytes.V)
		k.carries(in, c, m.u8(66), row.Bytes.V)
	case write2:
		row.Bytes = table.Some(m.u32(68))
	case close2:
		k.closed(c)
	case ioctl2:
		if !row.Ioctl.OK {
			row.Ioctl = ioctl(m.u32(68))
		}
		if m.u32(68) == pipeTransact {
			k.pipe(in, c, m, int(m.u32(96)), m.u32(100))
		}
	}
}

// negotiated2 reads the server's selection.
func (k *conn) negotiated2(c *call, m *message) {
	row := c.row
	row.Dialect = table.Some(dialect(m.u16(68)))
	row.Signing = table.Some("disabled")
	if mode := m.u16(66); mode&2 != 0 {
		row.Signing = table.Some("required")
	} else if mode&1 != 0 {
		row.Signing = table.Some("enabled")
	}
	if m.u16(68) != 0x311 {
		return
	}
	at := int(m.u32(124))
	for range min(m.u16(70), 16) { // MS-SMB2 section 2.2.4.1
		kind, size := m.u16(at), m.u16(at+2)
		if kind == 2 && m.u16(at+8) > 0 {
			row.Cipher = table.Some(tables()["cipher"].Name(int64(m.u16(at+10)), "cipher_"))
		}
		at += (8 + size + 7) &^ 7
	}
}

func dialect(n int) string { return tables()["dialect"].Name(int64(n), "dialect_") }

func ioctl(n int64) table.Opt[string] {
	if s := tables()["ioctl"][n]; s != "" {
		return table.Some(s)
	}
	return table.Some("0x" + strconv.FormatInt(n, 16))
}

// info is a kind of information and its class.
func info(kind, class int) table.Opt[string] {
	s := tables()["info_type"].Name(int64(kind), "info_")
	if classes := tables()[s]; classes != nil && kind <= 2 {
		return table.Some(s + "/" + classes.Name(int64(class), ""))
	}
	return table.Some(s)
}

// access lists the rights of a mask, MS-SMB2 section 2.2.13.1.
func access(mask int64) (list []string) {
	for bit := int64(1); bit <= mask; bit <<= 1 {
		if mask&bit != 0 {
			list = append(list, tables()["access"].Name(bit, "access_"))
		}
	}
	return list
}

func fileID(b []byte) table.Opt[string] {
	const digits = "0123456789abcdef"
	s := make([]byte, 0, 2*len(b))
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return table.Some(string(s))
}
