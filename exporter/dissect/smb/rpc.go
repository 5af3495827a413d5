package smb

import (
	"encoding/binary"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/msrpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ntlm"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Messages of DCE/RPC, C706 section 12.6.
const (
	rpcRequest  = 0
	rpcResponse = 2
	rpcFault    = 3
	rpcBind     = 11
	rpcAlter    = 14
	rpcHead     = 16
	requestHead = 24
	trailerSize = 8 // before a token
	lastPart    = 2 // flag of the last message of a response
	hasObject   = 0x80
	sealedLevel = 6 // what the message says is encrypted
)

// maxPart is the largest message that is joined from several reads; those of Windows and Samba have at most 5840 bytes.
const maxPart = 16 << 10

// asked is a call that waits for its result.
type asked struct {
	call msrpc.Call
	tail msrpc.Tail
}

const askedCost = int(unsafe.Sizeof(asked{})) + 64

// pipe reads the head of a message of DCE/RPC in data that is written to or read from a file: n
// bytes at a position of m.
func (k *conn) pipe(in *dissect.Input, c *call, m *message, at int, n int64) {
	if c.row.ShareType.OK && c.row.ShareType.V != "pipe" || n < rpcHead || at < 0 || at >= len(m.b) {
		return
	}
	b := m.b[at:min(int64(len(m.b)), int64(at)+n)]
	name := tables()["rpc"]
	if in.Dir == dissect.ToClient {
		k.results(c, b, n)
	}
	if len(b) < rpcHead || b[0] != 5 || b[1] > 1 || name[int64(b[2])] == "" || b[4] != 0x10 || int64(binary.LittleEndian.Uint16(b[8:])) > n {
		return
	}
	if i := ntlm.Find(b); i >= 0 { // a login inside the pipe
		k.ntlmInside(in, c, b[i:], m.at+at+i)
	}
	if in.Dir == dissect.ToClient && c.row.RPC.OK {
		return
	}
	c.row.RPC = table.Some(name[int64(b[2])])
	r := &message{b: b}
	switch b[2] {
	case rpcBind, rpcAlter:
		k.bind(c, r)
	case rpcRequest:
		ask := msrpc.Call{Operation: r.u16(22)}
		f := k.files.all[c.file]
		if f != nil {
			ask.Interface = f.bound[r.u16(20)]
		}
		if stub := requestHead + 16; b[3]&hasObject != 0 && len(b) > stub {
			ask.Object = msrpc.IsORPC(b[stub:], binary.LittleEndian)
		}
		c.row.names(ask)
		k.ask(c, f, uint32(r.u32(12)), ask)
	}
}

// names names what is called.
func (r *Row) names(ask msrpc.Call) {
	r.Opnum, r.Interface = table.Some(int32(ask.Operation)), table.NonEmpty(ask.Interface)
	if r.Interface.OK {
		r.Operation = table.Some(msrpc.Operation(ask.Interface, ask.Operation))
	}
}

// ask remembers what is called until its result comes.
func (k *conn) ask(c *call, f *file, id uint32, ask msrpc.Call) {
	if c.file == "" {
		return
	}
	if f == nil { // what opened it was not captured
		f = &file{}
		k.leave(k.files.put(c.file, f, 0))
	}
	if f.asked == nil {
		f.asked = map[uint32]*asked{}
	}
	if f.asked[id] == nil {
		if len(f.asked) >= maxPDU {
			return
		}
		k.piped += askedCost
	}
	f.asked[id] = &asked{call: ask}
}

// hangUp forgets what was asked in a pipe.
func (k *conn) hangUp(f *file) {
	if f != nil {
		k.piped -= askedCost*len(f.asked) + cap(f.part)
		f.asked, f.part = nil, nil
	}
}

// results reads the messages that a response brings, of n bytes. One may come in several reads.
func (k *conn) results(c *call, b []byte, n int64) {
	f := k.files.all[c.file]
	if f == nil || f.asked == nil {
		return
	}
	rest := b
	if f.part != nil {
		rest = append(f.part, b...)
	}
	k.piped -= cap(f.part)
	f.part = nil
	if int64(len(b)) < n { // not all of it was captured
		return
	}
	for len(rest) >= requestHead && rest[0] == 5 && rest[4] == 0x10 {
		size := int(binary.LittleEndian.Uint16(rest[8:]))
		if size < requestHead || size > maxPart {
			return
		}
		if size > len(rest) {
			f.part = append(make([]byte, 0, size), rest...)
			k.piped += cap(f.part)
			return
		}
		k.result(c, f, rest[:size])
		rest = rest[size:]
	}
}

// result reads a message of the server: a part of a response, or a fault.
func (k *conn) result(c *call, f *file, b []byte) {
	id := binary.LittleEndian.Uint32(b[12:])
	a := f.asked[id]
	if a == nil {
		return
	}
	var r msrpc.Result
	switch b[2] {
	case rpcResponse:
		end, auth := len(b), int(binary.LittleEndian.Uint16(b[10:]))
		if at := len(b) - auth - trailerSize; auth > 0 && at >= requestHead {
			a.tail.Sealed = a.tail.Sealed || b[at+1] == sealedLevel
			end = max(requestHead, at-int(b[at+2]))
		}
		a.tail.Add(b[requestHead:end])
		if b[3]&lastPart == 0 {
			return
		}
		r = a.call.Result(&a.tail, binary.LittleEndian)
	case rpcFault:
		if len(b) < requestHead+4 {
			return
		}
		r = msrpc.Fault(binary.LittleEndian.Uint32(b[requestHead:]), false)
	default:
		return
	}
	delete(f.asked, id)
	k.piped -= askedCost
	row := c.row
	if !row.RPC.OK {
		row.RPC = table.Some(tables()["rpc"][int64(b[2])])
		row.names(a.call)
	}
	row.RPCStatus, c.unknown = r.Value, r.Why
	if r.Name != "" {
		row.StatusText = table.Some(r.Name)
	}
	if row.Outcome == "" {
		row.Outcome = r.Outcome
	}
}

// ntlmInside hides the credentials of a login inside a pipe, which is not the session's login.
func (k *conn) ntlmInside(in *dissect.Input, c *call, b []byte, at int) {
	row, l := *c.row, c.login
	k.ntlm(in, c, b, at)
	*c.row, c.login = row, l
}

// bind reads the interfaces that a client wants to use.
func (k *conn) bind(c *call, r *message) {
	f := k.files.all[c.file]
	at := rpcHead + 12
	for i := range min(r.u8(rpcHead+8), maxPDU) {
		uuid := r.bytes(at+4, 16)
		if uuid == nil {
			return
		}
		name := msrpc.Interface(uuid, binary.LittleEndian)
		if i == 0 {
			c.row.Interface = table.Some(name)
		}
		if f != nil {
			if f.bound == nil {
				f.bound = map[int]string{}
			}
			if len(f.bound) < maxPDU {
				f.bound[r.u16(at)] = name
			}
		}
		at += 24 + 20*r.u8(at+2)
	}
}
