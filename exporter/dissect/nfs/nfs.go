// Package nfs reads NFS 2, 3 and 4 over ONC RPC (RFC 5531) on TCP and in datagrams, and the related
// programs: portmap, mount, locks (NLM) and their monitor (NSM).
//
// A row is a call with its reply. Paths come from lookups in the same connection. Content that
// RPCSEC_GSS protects is not decrypted.
package nfs

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/pieces"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one message and of a connection.
const (
	maxMessage = 64 << 20 // bytes of a fragment
	maxWhole   = 64 << 10 // bytes of a message that are read; the rest is counted
	maxText    = 1 << 10  // bytes shown of a name
	maxPath    = 4 << 10  // bytes shown of a path
	maxOps     = 128      // operations of a compound
	maxHandle  = 128      // bytes of a file handle
	maxPaths   = 4096     // file handles whose paths are known
	maxFiles   = 64       // files whose content is put together at a time
	wait       = 60e9     // ns after which a call in a datagram counts as unanswered
)

// Row is one call with its reply.
type Row struct {
	table.Call
	Program    string            `col:"nfs_program" enc:"dict" doc:"nfs, mount, portmap, nlm, nsm, nfs_acl or nfs_callback; null if only the reply was captured"`
	Version    table.Opt[int32]  `col:"nfs_version" doc:"version of the program; of NFS 2, 3 or 4"`
	Minor      table.Opt[int32]  `col:"nfs_minor_version" doc:"minor version of NFS 4: 0, 1 or 2"`
	Procedure  table.Opt[string] `col:"nfs_procedure" enc:"dict" doc:"procedure, such as lookup, read or compound; transfer for what was read or written of a file without a reply that ends it"`
	XID        int64             `col:"nfs_xid" doc:"number that pairs call and reply"`
	Operations []string          `col:"nfs_operations" doc:"operations of a compound in order; at most 128"`
	FailedOp   table.Opt[string] `col:"nfs_failed_operation" enc:"dict" doc:"operation of a compound that failed"`
	Auth       table.Opt[string] `col:"nfs_auth" enc:"dict" doc:"kind of credentials: none, sys, gss, …"`
	UID        table.Opt[int64]  `col:"nfs_uid" doc:"user number that the client states (AUTH_SYS); not proven"`
	GID        table.Opt[int64]  `col:"nfs_gid" doc:"group number that the client states"`
	Machine    table.Opt[string] `col:"nfs_machine" enc:"dict" doc:"machine name that the client states (AUTH_SYS)"`
	Service    table.Opt[string] `col:"nfs_gss_service" enc:"dict" doc:"what RPCSEC_GSS does with the call: none (authentication only), integrity or privacy"`
	Handle     table.Opt[string] `col:"nfs_handle" doc:"file handle of the call, or of the reply if the call has a name, hexadecimal"`
	File       table.Opt[string] `col:"nfs_path" enc:"bloom" doc:"path of the file, as far as lookups and mounts on the connection show it, else its name; at most 4 KiB"`
	NewName    table.Opt[string] `col:"nfs_new_name" doc:"new name of a rename or a link"`
	Offset     table.Opt[int64]  `col:"nfs_offset" unit:"bytes" doc:"position in the file of a read or a write"`
	Length     table.Opt[int64]  `col:"nfs_length" unit:"bytes" doc:"bytes that a read or a write requests"`
	Bytes      table.Opt[int64]  `col:"nfs_bytes" unit:"bytes" doc:"bytes that were read or written, as the reply states"`
	Status     table.Opt[int64]  `col:"nfs_status" doc:"status of the reply; its name is in status_text"`
	Asked      table.Opt[string] `col:"nfs_mapped" enc:"dict" doc:"program, version and transport that portmap is asked for, such as nfs 3 tcp"`
	Port       table.Opt[int64]  `col:"nfs_mapped_port" doc:"port that portmap answers; 0 means none"`
}

// Protocol is NFS.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "nfs",
		Doc:        "NFS with mount, portmap and locks, over ONC RPC",
		Versions:   "NFS 2, 3, 4.0, 4.1, 4.2; portmap 2 to 4, mount 1 to 3, NLM, NSM",
		Depth:      "procedures and operations with names, offsets and statuses; of portmap, locks and their monitor less",
		Transports: []dissect.Transport{dissect.TCP, dissect.UDP},
		Ports:      []uint16{2049, 111},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Harmless: "status_text IN ('NFSERR_NOENT', 'NFSERR_DELAY')"},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a call: its sender and its number.
type key struct {
	server bool
	xid    uint32
}

// call is a call that waits for its reply, or a reply without a call.
type call struct {
	x       dissect.Exchange
	row     *Row
	key     key
	program int64
	version int64
	proc    int64
	handle  string // directory or file
	name    string // in the directory
	steps   []step // of a compound
	eof     bool   // the reply has the end of the file
	ends    bool   // the reply ends the transfers of the file
	gap     bool
	done    bool
	single  bool // it is part of another message
}

// step is an operation of a compound, and the path after it.
type step struct {
	op   int64
	path string
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// fragments is the state of one direction.
type fragments struct {
	last bool // the fragment ends its message
	more bool // the next fragment continues the message
}

type conn struct {
	byid.Table[key, *call]
	parts framed.Parts[*call]
	marks [2]fragments
	paths map[string]string // by file handle
	order []string
	next  int
	cost  int
	files []*file // whose content is transferred, the oldest first
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Table = byid.Table[key, *call]{Conn: c, Emit: k.emit}
	if c.Info.Transport == dissect.UDP {
		k.Wait = wait
	}
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.cost + len(k.files)*fileCost
	for i := range k.parts {
		if k.parts[i].Call != nil {
			n += callCost
		}
	}
	return n
}

// remember records the path of a file handle.
func (k *conn) remember(handle, path string) {
	if handle == "" || path == "" || len(handle) > maxHandle {
		return
	}
	if k.paths == nil {
		k.paths = map[string]string{}
	}
	old, ok := k.paths[handle]
	k.cost += len(path) - len(old)
	if !ok {
		k.cost += 128 + len(handle)
		if len(k.order) < maxPaths {
			k.order = append(k.order, handle)
		} else {
			oldest := k.order[k.next]
			k.cost -= 128 + len(oldest) + len(k.paths[oldest])
			delete(k.paths, oldest)
			k.order[k.next] = handle
			k.next = (k.next + 1) % maxPaths
		}
	}
	k.paths[handle] = path
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if in.Datagram {
		if len(in.Data) == 0 {
			return 0, nil
		}
		s := &k.parts[in.Dir]
		s.Data = pieces.Stream{}
		c, reply, err := k.message(in, in.Data[:min(len(in.Data), maxWhole)])
		if err != nil {
			return 0, err
		}
		c.Add(in, 0, len(in.Data))
		s.Data.Feed(in, 0, len(in.Data))
		s.Data.Cut()
		k.ended(c, reply)
		return len(in.Data), nil
	}
	return k.parts.Read(k, in, in.End)
}

const (
	mark  = 4       // bytes before a fragment, RFC 5531 section 11
	last  = 1 << 31 // flag of the last fragment
	least = 20      // bytes of a message
)

// Next implements framed.Owner: it reads the beginning of a fragment.
func (k *conn) Next(in *dissect.Input, at int, cut bool) (int, error) {
	s, f, b := &k.parts[in.Dir], &k.marks[in.Dir], in.Data[at:]
	if len(b) < mark {
		return 0, nil
	}
	head := binary.BigEndian.Uint32(b)
	size, final := int64(head&^last), head&last != 0
	if size > maxMessage || size < least && !f.more {
		return 0, fmt.Errorf("reading a fragment: it has %d bytes", size)
	}
	if f.more { // of the message before
		s.Call.Add(in, at, at+mark)
		s.Left, f.last = size, final
		if size == 0 {
			k.Ended(in.Dir, "")
		}
		return mark, nil
	}
	want := int(min(size, maxWhole))
	b = b[mark:]
	if len(b) < want {
		if !cut || len(b) < 64 {
			k.Conn.Need(in.Dir, mark+want)
			return 0, nil
		}
		want = len(b)
	}
	s.Data = pieces.Stream{}
	c, reply, err := k.message(in, b[:want])
	if err != nil {
		return 0, err
	}
	c.Add(in, at, at+mark+want)
	*s, *f = framed.Side[*call]{Left: size - int64(want), Call: c, Final: reply, Data: s.Data}, fragments{last: final}
	s.Data.Feed(in, at+mark, at+mark+want)
	if s.Left == 0 {
		k.Ended(in.Dir, "")
	}
	return mark + want, nil
}

// Ended implements framed.Owner.
func (k *conn) Ended(dir dissect.Dir, why string) {
	f := &k.marks[dir]
	if why == "" && !f.last {
		f.more = true
		return
	}
	*f = fragments{}
	s := k.parts.Take(dir)
	c := s.Call
	if c == nil {
		return
	}
	c.gap = c.gap || s.Gap || why != ""
	switch {
	case why == "":
		k.ended(c, s.Final)
	case s.Final:
		byid.Drop(&k.Table, c.key, c)
		k.emit(c, why)
	}
}

// ended handles the end of a message.
func (k *conn) ended(c *call, reply bool) {
	if c == nil || !reply {
		return
	}
	c.done = true
	byid.Drop(&k.Table, c.key, c)
	k.transferred(c)
	k.emit(c, "")
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil { // else it was given up
		c.x.AddTo((in.Dir == dissect.ToServer) == c.key.server, in, from, to)
	}
}

// Gap implements dissect.Dissector. Bytes in a fragment of known length can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool { return k.parts.Gap(k, in, missing) }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.parts.Stop(k, dir, string(why))
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.parts.Stop(k, dissect.ToServer, "cut")
	k.parts.Stop(k, dissect.ToClient, "cut")
	k.Table.Close(why)
	for len(k.files) > 0 {
		k.leave()
	}
}
