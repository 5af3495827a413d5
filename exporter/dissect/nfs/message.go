package nfs

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Programs.
const (
	portmap  = 100000
	nfs      = 100003
	mount    = 100005
	nfsACL   = 100227
	callback = 0x40000000
)

const maxCredentials = 400 // bytes, RFC 5531 section 8.2

// message reads a message, and returns whether it is a reply.
func (k *conn) message(in *dissect.Input, b []byte) (c *call, reply bool, err error) {
	if len(b) < least {
		return nil, false, fmt.Errorf("reading a message: its %d bytes are too few", len(b))
	}
	id := key{server: in.Dir == dissect.ToClient, xid: binary.BigEndian.Uint32(b)}
	r := &reader{b: b[4:], size: len(b)}
	switch kind := r.u32(); kind {
	case 0:
		c, err = k.request(in, id, r, len(b))
		return c, false, err
	case 1:
		id.server = !id.server
		c, err = k.reply(in, id, r)
		return c, true, err
	default:
		return nil, false, fmt.Errorf("reading a message: type %d is neither a call nor a reply", kind)
	}
}

// request reads a call.
func (k *conn) request(in *dissect.Input, id key, r *reader, size int) (*call, error) {
	version := r.u32()
	c := &call{row: &Row{XID: int64(id.xid)}, key: id, program: r.u32(), version: r.u32(), proc: r.u32()}
	row := c.row
	if version != 2 || !isProgram(c.program, c.version, c.proc) {
		return nil, fmt.Errorf("reading a call: RPC version %d, program %d version %d procedure %d", version, c.program, c.version, c.proc)
	}
	c.x.Reversed = id.server
	row.Program, row.Version = tables()["program"].Name(c.program, "program_"), table.Some(int32(c.version))
	row.Procedure = table.Some(tables()[procedures(c.program, c.version)].Name(c.proc, "procedure_"))
	sealed := c.credentials(r)
	r.u32() // verifier
	r.opaque()
	if !sealed {
		k.arguments(in, c, r)
	}
	if old, ok := k.Get(id); ok && old.program == c.program && old.proc == c.proc && in.Datagram {
		row.Attempt = table.Some(max(old.row.Attempt.V, 1) + 1)
	}
	k.Put(id, c, callCost+min(size, 4*maxText))
	return c, nil
}

// procedures is the section with the names of a program's procedures.
func procedures(program, version int64) string {
	if program == nfs {
		return fmt.Sprintf("nfs%d", version)
	}
	return tables()["program"][program]
}

// isProgram reports whether a program has that version and procedure.
func isProgram(program, version, proc int64) bool {
	most := map[int64]int64{portmap: 4, nfs: 4, mount: 3, 100021: 4, 100024: 1, nfsACL: 3, callback: 4}[program]
	if most == 0 || version < 1 || version > most {
		return false
	}
	return tables()[procedures(program, version)][proc] != ""
}

// credentials reads who calls, and reports whether the arguments are protected.
func (c *call) credentials(r *reader) bool {
	row, flavor := c.row, r.u32()
	body := reader{b: r.opaque()}
	row.Auth = table.Some(tables()["auth"].Name(flavor, "auth_"))
	switch flavor {
	case 1:
		body.u32() // stamp
		row.Machine = table.NonEmpty(body.name())
		uid, gid := body.u32(), body.u32()
		if !body.short {
			row.UID, row.GID, row.AuthKind = table.Some(uid), table.Some(gid), table.Some("sys")
		}
	case 6: // RFC 2203 section 5.3.1
		body.u32()
		step := body.u32()
		body.u32()
		service := body.u32()
		row.AuthKind = table.Some("gss")
		if service >= 1 && service <= 3 {
			row.Service = table.Some([]string{"none", "integrity", "privacy"}[service-1])
		}
		return step != 0 || service != 1
	}
	return false
}

// handleText is a file handle.
func handleText(h string) table.Opt[string] {
	return table.NonEmpty(hex.EncodeToString([]byte(h[:min(len(h), maxHandle)])))
}

// fileHandle reads a file handle; of NFS 2 it has a fixed size.
func (c *call) fileHandle(r *reader) string {
	if c.version == 2 && c.program == nfs || c.version < 3 && c.program == mount {
		return string(r.take(32))
	}
	return string(r.opaque())
}

// file records the file of a call: a handle, and with named a name in that directory.
func (k *conn) file(c *call, r *reader, named bool) {
	c.handle = c.fileHandle(r)
	path := k.paths[c.handle]
	if named {
		c.name = r.name()
		path = join(path, c.name)
	}
	c.row.Handle, c.row.File = handleText(c.handle), table.NonEmpty(path)
}

// join is a name in a directory; of an unknown directory, it is the name.
func join(dir, name string) string {
	switch {
	case name == "" || name == ".":
		return dir
	case dir == "":
		return name
	}
	return clip.Text(strings.TrimSuffix(dir, "/")+"/"+name, maxPath)
}

// arguments reads the arguments of a call.
func (k *conn) arguments(in *dissect.Input, c *call, r *reader) {
	row := c.row
	switch {
	case c.program == nfs && c.version == 4 && c.proc == 1:
		k.compound(in, c, r)
	case c.program == nfs && c.proc > 0:
		k.file34(in, c, r)
	case c.program == mount && (c.proc == 1 || c.proc == 3):
		c.name = r.name()
		row.File = table.NonEmpty(c.name)
	case c.program == portmap && c.version == 2 && c.proc >= 1 && c.proc <= 3:
		program, version, transport := r.u32(), r.u32(), r.u32()
		name := map[int64]string{6: "tcp", 17: "udp"}[transport]
		row.Asked = table.Some(strings.TrimSpace(fmt.Sprintf("%s %d %s", tables()["program"].Name(program, "program_"), version, name)))
		if c.proc == 3 {
			row.Asked = table.Some(strings.TrimSpace(row.Asked.V))
		}
	case c.program == portmap && (c.proc >= 1 && c.proc <= 3 || c.proc == 9):
		program, version, netid := r.u32(), r.u32(), r.name()
		row.Asked = table.Some(strings.TrimSpace(fmt.Sprintf("%s %d %s", tables()["program"].Name(program, "program_"), version, netid)))
	case c.program == nfsACL && c.proc > 0:
		k.file(c, r, false)
	}
}

// file34 reads the arguments of NFS 2 and 3, RFC 1094 section 2.2 and RFC 1813 section 3.3.
func (k *conn) file34(in *dissect.Input, c *call, r *reader) {
	row, name := c.row, c.row.Procedure.V
	switch name {
	case "lookup", "create", "mkdir", "symlink", "mknod", "remove", "rmdir":
		k.file(c, r, true)
	case "rename":
		k.file(c, r, true)
		to := c.fileHandle(r)
		row.NewName = table.NonEmpty(join(k.paths[to], r.name()))
	case "link":
		k.file(c, r, false)
		to := c.fileHandle(r)
		row.NewName = table.NonEmpty(join(k.paths[to], r.name()))
	case "read", "write":
		k.file(c, r, false)
		switch {
		case c.version == 3:
			row.Offset, row.Length = table.Some(r.u64()), table.Some(r.u32())
		case name == "read":
			row.Offset, row.Length = table.Some(r.u32()), table.Some(r.u32())
		default:
			r.u32()
			row.Offset = table.Some(r.u32())
			r.u32()
			row.Length = table.Some(r.u32())
		}
		if name == "write" {
			if c.version == 3 {
				r.u32() // how stable
				r.u32()
			}
			k.carries(in, c, r, row.Length.V)
		}
	default:
		k.file(c, r, false)
	}
}

// reply reads a reply and finds its call.
func (k *conn) reply(in *dissect.Input, id key, r *reader) (*call, error) {
	state := r.u32()
	if state > 1 {
		return nil, fmt.Errorf("reading a reply: state %d is neither accepted nor denied", state)
	}
	c, ok := k.Get(id)
	if !ok {
		c = &call{row: &Row{XID: int64(id.xid)}, key: id}
		c.x.Reversed = id.server
	}
	if state == 1 {
		c.denied(r)
		return c, nil
	}
	r.u32() // verifier
	r.opaque()
	switch accepted := r.u32(); {
	case accepted > 5 || r.short:
		return nil, fmt.Errorf("reading a reply: its verifier or its state %d is wrong", accepted)
	case accepted != 0:
		c.row.StatusText, c.row.Outcome = table.Some(tables()["accepted"][accepted]), table.ClientError
		if accepted == 5 {
			c.row.Outcome = table.ServerError
		}
	case c.program != 0 && c.row.Auth.V != "gss":
		k.result(in, c, r)
	}
	return c, nil
}

// denied reads why a call was denied.
func (c *call) denied(r *reader) {
	c.row.Outcome = table.Refused
	if r.u32() == 0 {
		c.row.StatusText = table.Some("RPC_MISMATCH")
		return
	}
	c.row.StatusText = table.Some(tables()["auth_stat"].Name(r.u32(), "AUTH_"))
}

// result reads the result of a call.
func (k *conn) result(in *dissect.Input, c *call, r *reader) {
	row := c.row
	switch {
	case c.proc == 0:
	case c.program == nfs || c.program == nfsACL:
		c.status(r.u32(), "status")
		if c.program == nfs && c.version < 4 && c.row.Procedure.V == "write" && row.Status.V != 0 {
			k.failed(c.handle)
		}
		if c.version == 4 {
			k.compounded(in, c, r)
		} else if row.Status.V == 0 && c.program == nfs {
			k.results34(in, c, r)
		}
	case c.program == mount && c.proc == 1:
		c.status(r.u32(), "mount_status")
		if row.Status.V == 0 {
			h := c.fileHandle(r)
			row.Handle = handleText(h)
			k.remember(h, c.name)
		}
	case c.program == portmap && c.version == 2 && c.proc == 3:
		row.Port = table.Some(r.u32())
	case c.program == callback:
		c.status(r.u32(), "status")
	}
}

// results34 reads the results of NFS 2 and 3.
func (k *conn) results34(in *dissect.Input, c *call, r *reader) {
	row := c.row
	attributes := func() { // perhaps
		if r.u32() != 0 {
			r.take(84)
		}
	}
	switch row.Procedure.V {
	case "lookup":
		k.made(c, c.fileHandle(r))
	case "create", "mkdir", "symlink", "mknod":
		if c.version == 2 && row.Procedure.V != "symlink" || c.version == 3 && r.u32() != 0 {
			k.made(c, c.fileHandle(r))
		}
	case "read":
		if c.version == 3 {
			attributes()
			row.Bytes = table.Some(r.u32())
			c.eof = r.u32() != 0
			r.u32()
		} else {
			size := int64(-1)
			if b := r.take(68); b != nil {
				size = int64(binary.BigEndian.Uint32(b[20:]))
			}
			row.Bytes = table.Some(r.u32())
			c.eof = row.Offset.V+row.Bytes.V == size
		}
		k.carries(in, c, r, row.Bytes.V)
	case "write":
		if c.version == 2 {
			row.Bytes = row.Length
			break
		}
		if r.u32() != 0 { // attributes before
			r.take(24)
		}
		attributes()
		row.Bytes = table.Some(r.u32())
	case "commit":
		c.ends = true
	}
}

// made records the handle of the file that a call names.
func (k *conn) made(c *call, handle string) {
	c.row.Handle = handleText(handle)
	k.remember(handle, join(k.paths[c.handle], c.name))
}

// status records the status of a reply.
func (c *call) status(n int64, section string) {
	row := c.row
	row.Status, row.StatusText = table.Some(n), table.Some(tables()[section].Name(n, "NFSERR_"))
	switch {
	case n == 0 || n == 10008: // the client must ask again
	case tables()[table.Refused][n] != "":
		row.Outcome = table.Refused
	case tables()[table.ServerError][n] != "":
		row.Outcome = table.ServerError
	default:
		row.Outcome = table.ClientError
	}
}
