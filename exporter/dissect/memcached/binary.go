package memcached

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const (
	magicRequest  = 0x80
	magicResponse = 0x81
	binaryHead    = 24
)

// Opcodes that matter here.
const (
	opGet       = 0x00
	opSet       = 0x01
	opReplace   = 0x03
	opIncrement = 0x05
	opDecrement = 0x06
	opQuit      = 0x07
	opGetQ      = 0x09
	opNoop      = 0x0a
	opGetKQ     = 0x0d
	opStat      = 0x10
	opSetQ      = 0x11
	opAppendQ   = 0x19
	opPrependQ  = 0x1a
	opTouch     = 0x1c
	opGAT       = 0x1d
	opGATQ      = 0x1e
	opSASLAuth  = 0x21
	opSASLStep  = 0x22
	opGATK      = 0x23
	opGATKQ     = 0x24
)

// packet is the head of a binary message with its extras and key.
type packet struct {
	opcode      byte
	status      uint16 // of a response
	opaque      uint32
	cas         uint64
	extras, key []byte
	size        int // bytes of all this
	value       int64
}

// readPacket reads a head. size is 0 if it is not complete.
func readPacket(b []byte, magic byte) (p packet, err error) {
	if len(b) < binaryHead {
		return p, nil
	}
	key, extras, body := int(binary.BigEndian.Uint16(b[2:])), int(b[4]), int64(binary.BigEndian.Uint32(b[8:]))
	p = packet{opcode: b[1], status: binary.BigEndian.Uint16(b[6:]), opaque: binary.BigEndian.Uint32(b[12:]), cas: binary.BigEndian.Uint64(b[16:]), value: body - int64(key+extras)}
	switch {
	case b[0] != magic || b[5] != 0 || tables()["opcode"][int64(p.opcode)] == "":
		return p, fmt.Errorf("reading a binary message: magic %#x, opcode %#x, data type %d", b[0], p.opcode, b[5])
	case p.value < 0 || p.value > maxValue || key > maxKey:
		return p, fmt.Errorf("reading %s: lengths %d, %d, %d", tables()["opcode"][int64(p.opcode)], key, extras, body)
	case magic == magicRequest && !p.fits(key, extras):
		return p, fmt.Errorf("reading %s: key of %d bytes, extras of %d", tables()["opcode"][int64(p.opcode)], key, extras)
	case magic == magicResponse && (extras > 8 || tables()["status"][int64(p.status)] == ""):
		return p, fmt.Errorf("reading the response to %s: status %#x, extras of %d bytes", tables()["opcode"][int64(p.opcode)], p.status, extras)
	}
	if n := binaryHead + extras + key; len(b) >= n {
		p.size, p.extras, p.key = n, b[binaryHead:binaryHead+extras], b[binaryHead+extras:n]
	}
	return p, nil
}

// base is the opcode without "quiet".
func base(op byte) byte {
	switch {
	case op == opGetQ:
		return opGet
	case op >= opSetQ && op <= 0x18:
		return op - opSetQ + opSet
	case op == opAppendQ || op == opPrependQ:
		return op - opAppendQ + 0x0e
	case op == opGATQ:
		return opGAT
	}
	return op
}

// isQuiet reports whether an opcode has no response if nothing is to report.
func isQuiet(op byte) bool {
	return op == opGetQ || op == opGetKQ || op >= opSetQ && op <= opPrependQ || op == opGATQ || op == opGATKQ
}

// fits reports whether a request of this opcode has such a key, extras and value.
func (p *packet) fits(key, extras int) bool {
	hasKey, hasValue := key > 0, p.value > 0
	switch base(p.opcode) {
	case opGet, 0x0c, opGetKQ, 0x04: // get, getk, delete
		return hasKey && extras == 0 && !hasValue
	case opSet, 0x02, opReplace:
		return hasKey && extras == 8
	case opIncrement, opDecrement:
		return hasKey && extras == 20 && !hasValue
	case 0x0e, 0x0f: // append, prepend
		return hasKey && extras == 0
	case opQuit, opNoop, 0x0b, 0x20: // quit, noop, version, sasl_list_mechs
		return !hasKey && extras == 0 && !hasValue
	case 0x08: // flush
		return !hasKey && (extras == 0 || extras == 4) && !hasValue
	case opTouch, opGAT, opGATK, opGATKQ:
		return hasKey && extras == 4 && !hasValue
	case 0x1b: // verbosity
		return !hasKey && extras == 4 && !hasValue
	case opStat:
		return extras == 0 && !hasValue
	}
	return hasKey && extras == 0 // sasl
}

// readBinary reads the head of a binary message.
func (k *conn) readBinary(in *dissect.Input, at int) (int, error) {
	magic := byte(magicRequest)
	if in.Dir == dissect.ToClient {
		magic = magicResponse
	}
	p, err := readPacket(in.Data[at:], magic)
	if err != nil || p.size == 0 {
		return 0, err
	}
	if in.Dir == dissect.ToClient {
		return k.response(in, at, &p)
	}
	row := &Row{Form: "binary", Command: table.Some(tables()["opcode"][int64(p.opcode)]), Opaque: table.Some(strconv.FormatUint(uint64(p.opaque), 16))}
	c := &call{row: row, binary: true, opcode: p.opcode, opaque: p.opaque, quiet: isQuiet(p.opcode), datagram: k.datagram.id}
	row.Quiet = c.quiet
	c.secret = p.opcode == opSASLAuth || p.opcode == opSASLStep
	if p.cas != 0 {
		row.CAS = table.Some(strconv.FormatUint(p.cas, 10))
	}
	switch {
	case c.secret:
		row.AuthKind = table.NonEmpty(sasl.Kind(text(p.key)))
		row.Args = table.NonEmpty(text(p.key))
	case base(p.opcode) == opStat:
		row.Args = table.NonEmpty(text(p.key))
	case len(p.key) > 0:
		row.Keys = []string{text(p.key)}
	}
	c.extras(p.extras)
	k.cite(c, in, at, at+p.size)
	k.credit += searchCost
	row.Ahead = int32(k.queue.Push(c, in.Packet(at).Ack, callCost+row.texts()))
	if p.value > 0 {
		k.expect(in.Dir, c, p.value, 0)
	} else {
		k.sent(c)
	}
	return p.size, nil
}

// extras reads the numbers before the key.
func (c *call) extras(b []byte) {
	be := binary.BigEndian
	row := c.row
	switch {
	case len(b) == 8:
		row.Flags, row.Expiry = table.Some(int64(be.Uint32(b))), table.Some(int64(be.Uint32(b[4:])))
	case len(b) == 20:
		row.Delta, row.Expiry = table.Some(strconv.FormatUint(be.Uint64(b), 10)), table.Some(int64(be.Uint32(b[16:])))
	case len(b) == 4 && c.opcode != 0x1b:
		row.Expiry = table.Some(int64(be.Uint32(b)))
	}
}

// response reads the head of a response.
func (k *conn) response(in *dissect.Input, at int, p *packet) (int, error) {
	c := k.reply
	if c == nil || c.opcode != p.opcode {
		if c = k.asked(in, at, p); c == nil {
			if k.c.Unproved() && k.c.Info.RolesKnown {
				return 0, fmt.Errorf("reading the response to %s: no such request", tables()["opcode"][int64(p.opcode)])
			}
			c = &call{row: &Row{Form: "binary", Command: table.Some(tables()["opcode"][int64(p.opcode)])}, binary: true, opcode: p.opcode, opaque: p.opaque}
		}
	}
	k.cite(c, in, at, at+p.size)
	row := c.row
	row.Status = table.Some(tables()["status"][int64(p.status)])
	c.failed = tables()["result"][int64(p.status)] == ""
	row.StatusCode = table.Some(int32(p.status))
	if len(p.extras) == 4 && !row.Flags.OK {
		row.Flags = table.Some(int64(binary.BigEndian.Uint32(p.extras)))
	}
	if p.cas != 0 && !row.CAS.OK {
		row.CAS = table.Some(strconv.FormatUint(p.cas, 10))
	}
	if !c.x.HasRequest() && len(p.key) > 0 && p.opcode != opStat {
		row.Keys = []string{text(p.key)}
	}
	c.replies = repliesLine
	k.reply = c
	switch base(p.opcode) {
	case opStat:
		if p.status == 0 && len(p.key)+int(p.value) > 0 { // an empty one ends them
			row.Items = table.Some(row.Items.V + 1)
			c.replies = repliesStats
			if p.value > 0 {
				k.skip(in.Dir, c, p.value)
			}
			return p.size, nil
		}
	case opGet, 0x0c, opGetKQ, opGAT, opGATK, opGATKQ:
		row.Items = table.Some[int64](0)
		if p.status == 0 {
			row.Items = table.Some[int64](1)
		}
	}
	switch {
	case p.value == 0:
		k.answered(c)
	case p.status != 0 || base(p.opcode) == opIncrement || base(p.opcode) == opDecrement || c.secret:
		k.skip(in.Dir, c, p.value) // a text for people, or a number
	default:
		k.expect(in.Dir, c, p.value, 0)
	}
	return p.size, nil
}

// skip begins a value that is not kept.
func (k *conn) skip(dir dissect.Dir, c *call, n int64) { k.sides[dir] = side{call: c, left: n} }

// asked finds the request of a response: the first with its opcode and opaque. Quiet ones before it
// had nothing to report.
func (k *conn) asked(in *dissect.Input, at int, p *packet) *call {
	if !in.Datagram {
		if seq := in.Seq(at); k.queue.Passes(seq) {
			return nil
		} else {
			k.queue.Answer(seq)
		}
	}
	var skipped []*call
	c := k.search(func(c *call) (bool, bool) {
		if !c.Waits() || !c.binary || in.Datagram && c.datagram != k.datagram.id {
			return false, false
		}
		if c.opcode == p.opcode && c.opaque == p.opaque {
			return true, true
		}
		if c.quiet {
			skipped = append(skipped, c)
		}
		return false, false
	})
	if c != nil {
		k.silence(skipped)
	}
	return c
}
