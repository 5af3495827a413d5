package smb

import (
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/pieces"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const transferCost = int(unsafe.Sizeof(pieces.Transfer{})+unsafe.Sizeof(dissect.Body{})+unsafe.Sizeof(Row{})) + 64

// opened records the file that a command opened. One with the same id is no longer open.
func (k *conn) opened(c *call) {
	k.leave(k.files.put(c.file, &file{name: c.row.File, size: c.row.FileSize}, len(c.row.File.V)))
}

// carries says that the current message has n bytes of a file, from a position of its command on.
func (k *conn) carries(in *dissect.Input, c *call, from int, n int64) {
	row := c.row
	if n <= 0 || c.file == "" || !row.Offset.OK || row.ShareType.V == "pipe" || row.RPC.OK {
		return
	}
	f := k.files.all[c.file]
	if f == nil {
		f = &file{}
		k.leave(k.files.put(c.file, f, 0))
	}
	if f.bound != nil {
		return
	}
	t := &f.down
	if in.Dir == dissect.ToServer {
		t = &f.up
	}
	if *t == nil {
		k.transfers++
		*t = pieces.New(k.Conn, f.name.V[strings.LastIndexByte(f.name.V, '\\')+1:])
		(*t).Size = f.size
	}
	if f.first == nil {
		f.first = &Row{Version: row.Version, Session: row.Session, User: row.User, Domain: row.Domain, Share: row.Share, ShareType: row.ShareType, FileID: row.FileID, File: f.name}
	}
	if in.Dir == dissect.ToClient && !f.size.OK && n < row.Length.V { // the end of the file
		(*t).Size = table.Some(row.Offset.V + n)
	}
	k.parts[in.Dir].Data.Expect(*t, int64(from), n, row.Offset.V)
}

// failed records that a read or a write failed. A read beyond the end of the file reveals its size.
func (k *conn) failed(c *call, write bool) {
	f := k.files.all[c.file]
	switch {
	case f == nil:
	case write && f.up != nil:
		f.up.Refused = true
	case !write && f.down != nil && c.row.StatusText.V == "STATUS_END_OF_FILE" && !f.down.Size.OK:
		f.down.Size = c.row.Offset
	}
}

// closed ends the transfers of a file in the call that closes it.
func (k *conn) closed(c *call) {
	f := k.files.all[c.file]
	if f == nil {
		return
	}
	k.hangUp(f)
	f.up.Into(&c.x, false, true)
	f.down.Into(&c.x, true, true)
	k.forget(f)
}

// forget forgets the transfers of a file.
func (k *conn) forget(f *file) {
	for _, t := range [...]**pieces.Transfer{&f.up, &f.down} {
		if *t != nil {
			*t = nil
			k.transfers--
		}
	}
	f.first = nil
}

// leave emits the transfers of a file that was not closed, as calls of their own.
func (k *conn) leave(f *file) {
	k.hangUp(f)
	if f == nil || f.first == nil {
		return
	}
	for response, t := range [...]*pieces.Transfer{f.up, f.down} {
		if !t.Captured() {
			continue
		}
		row := *f.first
		row.Command, row.Outcome = "transfer", table.Cut
		c := &call{x: t.Part(), row: &row, single: true}
		t.Into(&c.x, response == 1, false)
		k.emit(c, "cut")
	}
	k.forget(f)
}

// Shed implements dissect.Dissector: it frees the bytes of files first.
func (k *conn) Shed() bool {
	for _, id := range k.files.ring {
		if f := k.files.all[id]; k.transfers > 0 && (f.up.Shed() || f.down.Shed()) {
			return true
		}
	}
	return k.Table.Shed()
}
