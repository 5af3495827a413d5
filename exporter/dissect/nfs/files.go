package nfs

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/pieces"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// file is a file whose content is transferred.
type file struct {
	handle   string
	up, down *pieces.Transfer // what is written and read; nil if nothing
	first    Row              // of the first read or write
}

const fileCost = int(unsafe.Sizeof(file{})+2*unsafe.Sizeof(pieces.Transfer{})+2*unsafe.Sizeof(dissect.Body{})) + maxHandle

// fileOf is the file with a handle, nil if nothing of it was transferred.
func (k *conn) fileOf(handle string) *file {
	if i := slices.IndexFunc(k.files, func(f *file) bool { return f.handle == handle }); i >= 0 {
		return k.files[i]
	}
	return nil
}

// carries says that the message of r has n bytes of a file at the position of r.
func (k *conn) carries(in *dissect.Input, c *call, r *reader, n int64) {
	row := c.row
	if r.short || c.handle == "" || len(c.handle) > maxHandle || !row.Offset.OK {
		return
	}
	up := in.Dir == dissect.ToServer
	f := k.fileOf(c.handle)
	if n <= 0 && (up || !c.eof || row.Offset.V == 0 || f == nil) {
		return
	}
	if f == nil {
		if len(k.files) >= maxFiles {
			k.leave()
		}
		f = &file{handle: c.handle, first: Row{Program: row.Program, Version: row.Version, Minor: row.Minor, Auth: row.Auth, UID: row.UID, GID: row.GID, Machine: row.Machine, Handle: row.Handle, File: row.File}}
		k.files = append(k.files, f)
	}
	t := &f.down
	if up {
		t = &f.up
	}
	if *t == nil {
		*t = pieces.New(k.Conn, row.File.V[strings.LastIndexByte(row.File.V, '/')+1:])
	}
	if c.eof && !up {
		(*t).Size = table.Some(row.Offset.V + max(n, 0))
	}
	k.parts[in.Dir].Data.Expect(*t, int64(r.pos()), n, row.Offset.V)
}

// failed records that a write failed.
func (k *conn) failed(handle string) {
	if f := k.fileOf(handle); f != nil && f.up != nil {
		f.up.Refused = true
	}
}

// transferred ends the transfers of a file in the call that completes them: a CLOSE of NFS 4, a COMMIT of what was
// written, or, before NFS 4, the READ that completes the file.
func (k *conn) transferred(c *call) {
	f := k.fileOf(c.handle)
	if f == nil {
		return
	}
	v4 := c.version == 4
	if c.ends {
		f.up.Into(&c.x, false, true)
		f.up = nil
	}
	if t := f.down; t != nil && (c.ends && v4 || !v4 && t.Size.OK && t.Whole(t.Size.V)) {
		t.Into(&c.x, true, true)
		f.down = nil
	}
	if f.up == nil && f.down == nil {
		k.files = slices.DeleteFunc(k.files, func(g *file) bool { return g == f })
	}
}

// leave emits the transfers of the oldest file as calls of their own, because no reply ended them.
func (k *conn) leave() {
	f := k.files[0]
	k.files = slices.Delete(k.files, 0, 1)
	for response, t := range [...]*pieces.Transfer{f.up, f.down} {
		if !t.Captured() {
			continue
		}
		row := f.first
		row.Procedure, row.Outcome = table.Some("transfer"), table.Cut
		c := &call{x: t.Part(), row: &row, version: int64(row.Version.V), done: true, single: true}
		t.Into(&c.x, response == 1, false)
		k.emit(c, "cut")
	}
}

// Shed implements dissect.Dissector: it frees the bytes of files first.
func (k *conn) Shed() bool {
	for _, f := range k.files {
		if f.up.Shed() || f.down.Shed() {
			return true
		}
	}
	return k.Table.Shed()
}
