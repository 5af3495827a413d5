package cassandra

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Opcodes that matter here.
const (
	opError        = 0x00
	opStartup      = 0x01
	opReady        = 0x02
	opAuthenticate = 0x03
	opOptions      = 0x05
	opSupported    = 0x06
	opQuery        = 0x07
	opResult       = 0x08
	opPrepare      = 0x09
	opExecute      = 0x0a
	opRegister     = 0x0b
	opEvent        = 0x0c
	opBatch        = 0x0d
	opAuthResponse = 0x0f
)

// Flags of a message.
const (
	flagCompressed = 0x01
	flagTracing    = 0x02
	flagPayload    = 0x04
	flagWarning    = 0x08
	flagBeta       = 0x10
)

const (
	headSize   = 9
	minVersion = 3
	maxVersion = 5
	answer     = 0x80 // of the version: a response
)

// head is the head of a message.
type head struct {
	version, flags, opcode byte
	stream                 int16
	length                 int64
}

func readHead(b []byte) head {
	return head{b[0], b[1], b[4], int16(binary.BigEndian.Uint16(b[2:])), int64(int32(binary.BigEndian.Uint32(b[5:])))}
}

// check reports what contradicts a head.
func (h head) check(dir dissect.Dir) error {
	request := tables()["request"][int64(h.opcode)] != ""
	switch {
	case !legalVersion(dir, h.version) || h.later() && h.opcode != opOptions && h.opcode != opStartup:
		return fmt.Errorf("reading a message: version %#x goes %s", h.version, dir)
	case h.flags > flagCompressed|flagTracing|flagPayload|flagWarning|flagBeta:
		return fmt.Errorf("reading a message: flags %#x", h.flags)
	case tables()["opcode"][int64(h.opcode)] == "" || request != (dir == dissect.ToServer):
		return fmt.Errorf("reading a message: opcode %#x goes %s", h.opcode, dir)
	case h.length < 0 || h.length > maxMessage:
		return fmt.Errorf("reading a message: length %d is outside 0 to %d", h.length, maxMessage)
	}
	return nil
}

// later reports whether the version is one that is not read: 6, or 1 and 2 of DataStax Enterprise (0x41 and 0x42).
// Drivers offer these first, with OPTIONS or STARTUP, which all versions have in common; other servers refuse them.
func (h head) later() bool { return h.version == 6 || h.version == 0x41 || h.version == 0x42 }

// legalVersion reports whether a message of one side can begin with this byte.
func legalVersion(dir dissect.Dir, b byte) bool {
	if dir == dissect.ToServer && (head{version: b}).later() {
		return true
	}
	version := b &^ answer
	return version >= minVersion && version <= maxVersion && (b >= answer) == (dir == dissect.ToClient)
}

// plausible reports whether b may begin with a message without a frame.
func plausible(dir dissect.Dir, b []byte) bool {
	if len(b) < headSize {
		return true
	}
	return readHead(b).check(dir) == nil
}

// Size implements framed.Handler.
func (k *conn) Size(dir dissect.Dir, b []byte) (int64, error) {
	if len(b) < headSize {
		return 0, nil
	}
	h := readHead(b)
	return headSize + h.length, h.check(dir)
}

// Message implements framed.Handler.
func (k *conn) Message(in *dissect.Input, at int, b []byte, partial bool) (*call, error) {
	h := readHead(b)
	c, err := k.begin(in.Dir, h)
	if err != nil {
		return nil, err
	}
	return c, k.fill(in.Dir, c, h, b[headSize:], partial)
}

// begin finds the call of a message.
func (k *conn) begin(dir dissect.Dir, h head) (*call, error) {
	row := &Row{Version: int32(h.version &^ answer), Stream: int32(h.stream)}
	if dir == dissect.ToServer {
		row.Opcode, row.Ahead = table.Some(tables()["opcode"][int64(h.opcode)]), int32(k.Len())
		return &call{row: row, opcode: h.opcode}, nil
	}
	if h.opcode == opEvent {
		row.Opcode = table.Some("EVENT")
		return &call{row: row, opcode: opEvent, event: true}, nil
	}
	if c, ok := k.Take(h.stream); ok {
		k.unsure = false
		k.Conn.Confirm()
		return c, nil
	}
	if k.unsure || k.Conn.Unproved() && k.Conn.Info.RolesKnown {
		return nil, fmt.Errorf("reading a response: no request has stream %d", h.stream)
	}
	return &call{row: row}, nil
}

// fill reads the body of a message.
func (k *conn) fill(dir dissect.Dir, c *call, h head, b []byte, partial bool) error {
	if h.flags&flagCompressed != 0 && h.version&^answer < maxVersion {
		b, partial = k.inflate(b, partial)
		c.gap = c.gap || len(b) == 0 && k.compression == ""
	}
	f := &facts{k: k, c: c, row: c.row, version: h.version &^ answer, partial: partial, r: newReader(b)}
	if dir == dissect.ToClient {
		f.response(h)
		f.finish()
		return nil
	}
	f.request(h)
	if f.r.Short() && !f.partial {
		return fmt.Errorf("reading %s: its body is too short", c.row.Opcode.V)
	}
	f.finish()
	row := c.row
	row.User, row.Application, row.Compression = table.NonEmpty(k.user), table.NonEmpty(k.application), table.NonEmpty(k.compression)
	if !row.Keyspace.OK {
		row.Keyspace = table.NonEmpty(k.keyspace)
	}
	k.Put(h.stream, c, callCost+c.texts)
	return nil
}

// inflate decompresses a body of versions 3 and 4. If STARTUP was not captured, the first body says how.
func (k *conn) inflate(b []byte, partial bool) ([]byte, bool) {
	out, name, err := decompress(k.compression, b, maxInflate, k.Conn.Decompress)
	if err == nil {
		k.compression = name
	} else if _, long := errors.AsType[dissect.DecompressLimit](err); !long && !partial {
		k.Conn.Anomaly("compression", "reading a message: "+err.Error(), 0)
	}
	return out, partial || err != nil
}

// compressions are those of versions 3 and 4.
var compressions = [...]string{"lz4", "snappy"}

// decompress decompresses a body to at most limit bytes, with the first compression that fits if known is empty, and
// returns its name. Of a body that is longer, or cut, it returns the beginning with an error, if the compression is known.
func decompress(known string, b []byte, limit int, decode dissect.Decompressor) (out []byte, name string, err error) {
	err = errors.New("the connection has no compression")
	for _, name = range compressions {
		if known != "" && known != name {
			continue
		}
		if out, err = decompressBody(name, b, limit, decode); err == nil || known != "" {
			return out, name, err
		}
	}
	return nil, "", err
}

// decompressBody decompresses a body. A block of LZ4 comes after its size.
func decompressBody(compression string, b []byte, limit int, decode dissect.Decompressor) ([]byte, error) {
	if compression == "snappy" {
		return decode(compression, b, limit)
	}
	if len(b) < 4 {
		return nil, fmt.Errorf("%d bytes are no block of lz4", len(b))
	}
	size := int64(binary.BigEndian.Uint32(b))
	out, err := decode("lz4-block", b[4:], int(min(size, int64(limit))))
	switch _, long := errors.AsType[dissect.DecompressLimit](err); {
	case long && int64(len(out)) == size:
		err = fmt.Errorf("more than %d bytes", size)
	case err == nil && int64(len(out)) != size:
		err = fmt.Errorf("%d bytes instead of %d", len(out), size)
	}
	return out, err
}
