package smb

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/msrpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ntlm"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Messages of DCE/RPC, C706 section 12.6.
const (
	rpcRequest = 0
	rpcBind    = 11
	rpcAlter   = 14
	rpcHead    = 16
)

// pipe reads the head of a message of DCE/RPC in data that is written to or read from a file: n
// bytes at a position of m.
func (k *conn) pipe(in *dissect.Input, c *call, m *message, at int, n int64) {
	if c.row.ShareType.OK && c.row.ShareType.V != "pipe" || n < rpcHead || at < 0 || at >= len(m.b) {
		return
	}
	b := m.b[at:min(int64(len(m.b)), int64(at)+n)]
	name := tables()["rpc"]
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
		opnum := r.u16(22)
		c.row.Opnum = table.Some(int32(opnum))
		if f := k.files.all[c.file]; f != nil {
			c.row.Interface = table.NonEmpty(f.bound[r.u16(20)])
		}
		if c.row.Interface.OK {
			c.row.Operation = table.Some(msrpc.Operation(c.row.Interface.V, opnum))
		}
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
