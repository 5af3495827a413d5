package smb

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/pieces"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Sizes of heads.
const (
	frameHead = 4 // a session message of NetBIOS, RFC 1002 section 4.3.1, or MS-SMB2 section 2.1
	head1     = 32
	head2     = 64
)

// Protocol ids, the first 4 bytes of a message.
const (
	magic1     = "\xffSMB"
	magic2     = "\xfeSMB"
	encrypted  = "\xfdSMB"
	compressed = "\xfcSMB"
)

// chain is the state of one direction: a message with a chain of commands, each read in parts.
type chain struct {
	frame    int64 // bytes of the message after this command
	compound *call // first of the commands in this message
	prior    *call // command before in this message
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) { return k.parts.Read(k, in, in.End) }

// Next implements framed.Owner: it reads the next command of a message, or a NetBIOS message
// between them.
func (k *conn) Next(in *dissect.Input, at int, cut bool) (int, error) {
	s, f, b := &k.parts[in.Dir], &k.chains[in.Dir], in.Data[at:]
	size, prefix := f.frame, 0
	if size == 0 {
		if len(b) < frameHead {
			return 0, nil
		}
		size, prefix = int64(binary.BigEndian.Uint32(b)&0xffffff), frameHead
		switch {
		case b[0] != 0:
			return k.netbios(in, at, b)
		case size == 0:
			return frameHead, nil // a keepalive of some clients
		}
		f.compound, f.prior = nil, nil
		b = b[frameHead:]
	}
	kind, length, err := commandSize(in.Dir, b, size)
	if err != nil || length == 0 {
		return 0, err
	}
	want := int(min(length, maxWhole))
	if len(b) < want {
		if !cut || len(b) < leastOf(kind, b) {
			k.Conn.Need(in.Dir, prefix+want)
			return 0, nil
		}
		want = len(b)
	}
	m := &message{b: b[:want], at: at + prefix}
	s.Data = pieces.Stream{}
	c, final, err := k.message(in, kind, m, int64(want) < length)
	if err != nil {
		return 0, err
	}
	c.Add(in, at, at+prefix+want)
	s.Data.Feed(in, at+prefix, at+prefix+want)
	f.frame, s.Left, s.Call, s.Final = size-length, length-int64(want), c, final
	if s.Left == 0 {
		k.Ended(in.Dir, "")
	}
	return prefix + want, nil
}

// leastOf is how many bytes of a command are worth reading if no more will come. A name that is cut is a wrong
// name, so only data may be cut.
func leastOf(kind string, b []byte) int {
	switch {
	case kind == magic1 && len(b) > 4 && (b[4] == readAndX || b[4] == writeAndX):
		return head1 + 32
	case kind == magic2 && len(b) > 12 && (b[12] == read2 || b[12] == write2):
		return head2 + 48
	case kind == encrypted || kind == compressed:
		return 52
	}
	return maxWhole
}

// commandSize is the length of the command at the beginning of b, which has size bytes at most. It is 0 if b is too
// short.
func commandSize(dir dissect.Dir, b []byte, size int64) (kind string, length int64, err error) {
	if len(b) < 4 {
		return "", 0, nil
	}
	kind = string(b[:4])
	least := map[string]int64{magic1: head1 + 3, magic2: head2 + 2, encrypted: 52, compressed: 16}[kind]
	switch {
	case least == 0:
		return "", 0, fmt.Errorf("reading a message: expected a protocol id of SMB, got % x", b[:4])
	case size < least:
		return "", 0, fmt.Errorf("reading a message: its %d bytes are too few, at least %d are needed", size, least)
	case kind != magic2:
		return kind, size, nil
	case len(b) < head2:
		return kind, 0, nil
	case binary.LittleEndian.Uint16(b[4:]) != head2:
		return "", 0, fmt.Errorf("reading a head: its size is %d, expected %d", binary.LittleEndian.Uint16(b[4:]), head2)
	case (b[16]&1 != 0) != (dir == dissect.ToClient):
		return "", 0, fmt.Errorf("reading a head: a message of the other side")
	}
	next := int64(binary.LittleEndian.Uint32(b[20:]))
	if next == 0 {
		return kind, size, nil
	}
	if next < head2+2 || next&7 != 0 || next > size-head2 {
		return "", 0, fmt.Errorf("reading a head: the next command begins at %d of %d bytes", next, size)
	}
	return kind, next, nil
}

// netbios reads what opens a session of NetBIOS, RFC 1002 section 4.3.
func (k *conn) netbios(in *dissect.Input, at int, b []byte) (int, error) {
	kind, size := b[0], int(binary.BigEndian.Uint32(b)&0x1ffff)
	if tables()["netbios"][int64(kind)] == "" || size > 512 {
		return 0, fmt.Errorf("reading a message of NetBIOS: type %#x with %d bytes", kind, size)
	}
	if len(b) < frameHead+size {
		return 0, nil
	}
	end := at + frameHead + size
	id := key{v1: true, id: 1 << 63}
	switch {
	case kind == 0x85: // keepalive
	case kind == 0x81 && in.Dir == dissect.ToServer:
		c := &call{row: &Row{Version: "netbios", Command: "session_request"}, key: id}
		c.row.Share = table.NonEmpty(netbiosName(b[frameHead : frameHead+size]))
		c.Add(in, at, end)
		k.Put(id, c, callCost)
	case in.Dir == dissect.ToClient:
		c, ok := k.Take(id)
		if !ok {
			c = &call{row: &Row{Version: "netbios", Command: "session_request"}, key: id}
		}
		c.row.StatusText = table.Some(tables()["netbios"].Name(int64(kind), ""))
		if kind == 0x83 {
			c.row.Outcome = table.Refused
		}
		c.Add(in, at, end)
		k.emit(c, "")
	default:
		return 0, fmt.Errorf("reading a message of NetBIOS: type %#x of the other side", kind)
	}
	return frameHead + size, nil
}

// netbiosName is the called name of a session request: each letter is half a byte, RFC 1001 section 14.1.
func netbiosName(b []byte) string {
	if len(b) < 34 || b[0] != 32 {
		return ""
	}
	var name []byte
	for i := 1; i < 31; i += 2 { // the last byte is a kind of service
		if b[i] < 'A' || b[i] > 'P' || b[i+1] < 'A' || b[i+1] > 'P' {
			return ""
		}
		name = append(name, (b[i]-'A')<<4|(b[i+1]-'A'))
	}
	return clip.Line(name, 16)
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil { // else it was given up
		c.x.AddTo((in.Dir == dissect.ToServer) == c.key.server, in, from, to)
	}
}

// Ended implements framed.Owner.
func (k *conn) Ended(dir dissect.Dir, why string) {
	s := k.parts.Take(dir)
	c := s.Call
	if why != "" {
		k.chains[dir] = chain{}
	}
	if c == nil {
		return
	}
	c.gap = c.gap || s.Gap || why != ""
	if s.Final {
		c.done = why == ""
		byid.Drop(&k.Table, c.key, c)
		k.emit(c, why)
	}
}

// Gap implements dissect.Dissector. Bytes in a command of known length can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool { return k.parts.Gap(k, in, missing) }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.missed = true
	for _, c := range k.counted {
		if c != nil {
			c.gap = true // messages may be missing
		}
	}
	k.parts.Stop(k, dir, string(why))
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.parts.Stop(k, dissect.ToServer, "cut")
	k.parts.Stop(k, dissect.ToClient, "cut")
	k.Table.Close(why)
	for i, c := range k.counted {
		if c != nil {
			k.counted[i], c.done = nil, true
			k.emit(c, "")
		}
	}
	for _, id := range k.files.ring {
		k.leave(k.files.all[id])
	}
}

// message reads one command and returns its call, and whether the call ends with it.
func (k *conn) message(in *dissect.Input, kind string, m *message, partial bool) (*call, bool, error) {
	switch kind {
	case magic1:
		return k.message1(in, m)
	case magic2:
		return k.message2(in, m, partial)
	case encrypted:
		return k.count(0, "encrypted", m.u64(44)), false, nil
	}
	if m.u16(10) == 0 && m.u32(4)+m.u32(12) > math.MaxUint32 {
		k.Conn.Anomaly("compression_overflow", "the length and the offset of a compressed message have a sum of more than 32 bits (MS-SMB2 section 2.2.42.1, CVE-2020-0796)", 0)
	}
	return k.count(1, "compressed", 0), false, nil
}

// count is the call for all messages that are not readable.
func (k *conn) count(i int, command string, session uint64) *call {
	c := k.counted[i]
	if c == nil {
		c = &call{row: &Row{Version: "smb2", Command: command}, single: true, gap: k.missed}
		c.row.Outcome = table.Unread
		if session != 0 {
			c.row.Session = hex64(session)
			if l, ok := k.sessions.all[session]; ok {
				c.row.User, c.row.Domain = table.NonEmpty(l.user), table.NonEmpty(l.domain)
			}
		}
		k.counted[i] = c
	}
	c.row.Messages = table.Some(c.row.Messages.V + 1)
	return c
}
