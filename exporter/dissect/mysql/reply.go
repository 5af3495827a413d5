package mysql

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// serverError holds the fields of ERR_Packet.
type serverError struct {
	code           int
	state, message string
	partial        bool // the bytes of code or state were lost
}

// progress is the code of MariaDB's progress report, which looks like an error.
const progress = 0xffff

// isEOF reports whether a message is EOF_Packet.
func isEOF(b []byte, size int) bool {
	return len(b) > 0 && b[0] == packetEOF && (size == 5 || size == 1)
}

// reply reads a message of the server; b is its beginning.
func (k *conn) reply(c *call, b []byte, size int64, cut bool) error {
	if size == 0 {
		return fmt.Errorf("reading a reply: an empty packet")
	}
	if len(b) == 0 {
		return nil // a gap hides it
	}
	if b[0] == packetErr {
		if len(b) > 2 && int(b[1])|int(b[2])<<8 == progress {
			return nil
		}
		k.failed(c, b)
		k.emit(c, "")
		return nil
	}
	switch c.stage {
	case stageParams:
		c.left--
		k.described(c)
	case stageParamsEnd, stageColumnsEnd:
		return k.endOfDefinitions(c, b, size, cut)
	case stageColumns:
		if c.left < 0 && isEnd(b, size) { // COM_FIELD_LIST
			return k.end(c, b, size)
		}
		k.define(c, b, cut)
		c.left--
		k.described(c)
	case stageRows:
		if isEnd(b, size) {
			return k.end(c, b, size)
		}
		k.row(c, b, cut)
	case stageFile:
		return k.result(c, b, size)
	case stageStream:
		if isEnd(b, size) {
			return k.end(c, b, size)
		}
		c.rows.V, c.rows.OK = c.rows.V+1, true
	case stageMaybe: // it is EOF_Packet, see answering
		k.noEOF = no
		k.emit(c, "")
	default:
		return k.result(c, b, size)
	}
	return nil
}

// isEnd reports whether a message ends the rows of a result: as a row, it would begin with a
// value of at least 16 MiB.
func isEnd(b []byte, size int64) bool { return b[0] == packetEOF && size < maxPacket }

// result reads the first message of a result.
func (k *conn) result(c *call, b []byte, size int64) error {
	metadata := k.capsKnown && k.caps&capMetadata != 0 && b[0] <= 1 && size > 1 && size < 5
	switch {
	case c.command == comStatistics:
		c.info, c.answered = clip.Text(b, maxErrorText), true
		k.emit(c, "")
	case isPrepared(c, b, size):
		k.preparedOK(c, b)
	case c.command == comPrepare: // its OK was lost, and this is a later part of the reply
		return fmt.Errorf("reading the reply to COM_STMT_PREPARE: it begins with %d, not with OK", b[0])
	case b[0] == packetOK && !metadata:
		if size < 7 && k.caps&cap41 != 0 {
			return fmt.Errorf("reading a reply: OK of %d bytes", size)
		}
		return k.end(c, b, size)
	case b[0] == packetEOF:
		return k.end(c, b, size)
	case b[0] == packetFile:
		c.file = clip.Text(b[1:], maxErrorText)
		c.stage = stageFile
		c.x.ReqBody = k.c.NewBody("", "")
	default:
		return k.shape(c, b, metadata)
	}
	return nil
}

// isPrepared reports whether a message is COM_STMT_PREPARE_OK. If the command was not captured, it
// differs from OK by a status that has no bit.
func isPrepared(c *call, b []byte, size int64) bool {
	return b[0] == packetOK && size >= 12 && len(b) >= 12 &&
		(c.command == comPrepare || c.command == 0 && size == 12 && b[3] == 0 && b[4] == 0 && b[9] == 0)
}

// preparedOK reads COM_STMT_PREPARE_OK.
func (k *conn) preparedOK(c *call, b []byte) {
	r := newReader(b[1:])
	if c.stmt == nil { // the command was not captured
		k.prepare(c)
	}
	s := c.stmt
	s.id, s.numbered = uint32(r.number(4)), true
	c.defs, s.params = int(r.number(2)), int(r.number(2))
	r.Skip(1)
	c.warnings += int32(r.number(2))
	c.command, c.answered = comPrepare, true
	k.remember(s)
	c.left, c.stage = s.params, stageParams
	if c.left == 0 {
		c.stage = stageParamsEnd
		k.columnsNext(c)
	}
}

// shape reads the number of columns of a result.
func (k *conn) shape(c *call, b []byte, metadata bool) error {
	r := newReader(b)
	defined := true
	if metadata {
		defined = r.Uint8() == 1
	}
	n, null := r.lenenc()
	if r.Short() || null || n == 0 || n > maxColumns {
		return fmt.Errorf("reading a result: invalid number of columns: %.20q", b)
	}
	if r.Left() == 1 && (!k.capsKnown || k.caps&capCacheMeta != 0) {
		defined = r.Uint8() == 1
	}
	if r.Left() > 0 {
		return fmt.Errorf("reading a result: %d bytes after the number of columns", r.Left())
	}
	c.rows.OK = true
	c.left, c.stage = int(n), stageColumns
	c.cols = k.similar(int(n))
	c.defs = 0
	if !defined {
		if c.left = 0; c.stmt != nil {
			c.cols = c.stmt.cols
		}
		c.stage = stageColumnsEnd
		if k.noEOF == yes {
			c.stage = stageRows
		}
	}
	return nil
}

// described continues after the last definition of parameters or columns.
func (k *conn) described(c *call) {
	switch {
	case c.left != 0:
	case c.stage == stageParams:
		if c.stage = stageParamsEnd; k.noEOF == yes {
			k.columnsNext(c)
		} else if k.noEOF == unknown && c.defs == 0 {
			c.stage = stageMaybe
		}
	case c.command == comPrepare:
		k.newest, c.stmt.cols = c.cols, c.cols
		k.changed(c.stmt)
		switch c.stage = stageColumnsEnd; k.noEOF {
		case yes:
			k.emit(c, "")
		case unknown:
			c.stage = stageMaybe
		}
	default:
		k.newest = c.cols
		if c.stage = stageColumnsEnd; k.noEOF == yes {
			c.stage = stageRows
		}
	}
}

// columnsNext continues a reply to COM_STMT_PREPARE after its parameters.
func (k *conn) columnsNext(c *call) {
	if c.left = c.defs; c.left == 0 {
		k.emit(c, "")
		return
	}
	c.cols = k.similar(c.left)
	c.stage = stageColumns
}

// endOfDefinitions reads the EOF packet after definitions, or the packet in its place.
func (k *conn) endOfDefinitions(c *call, b []byte, size int64, cut bool) error {
	eof := isEOF(b, int(size))
	r := newReader(b[1:]) // b may be shorter than size
	r.Skip(2)
	status := uint16(r.number(2))
	if !eof && k.noEOF == no {
		return fmt.Errorf("reading a result: no EOF packet after the definitions: %.20q", b)
	}
	k.noEOF = ternaryOf(!eof)
	switch {
	case c.stage == stageParamsEnd:
		k.columnsNext(c)
	case c.command == comPrepare:
		k.emit(c, "")
		return nil
	default:
		if c.stage = stageRows; eof && status&statusCursor != 0 {
			return k.end(c, b, size) // the rows come with COM_STMT_FETCH
		}
	}
	if eof {
		return nil
	}
	return k.reply(c, b, size, cut)
}

// end reads the packet that ends a result: OK, or EOF.
func (k *conn) end(c *call, b []byte, size int64) error {
	switch {
	case size == 5 && b[0] == packetEOF:
		r := newReader(b[1:])
		c.warnings += int32(r.number(2))
		c.status, c.ended = uint16(r.number(2)), true
	case size > 5:
		k.ok(c, b)
	}
	c.results++
	c.answered = true
	if c.first == nil {
		c.first = c.cols
	}
	if c.command == comExecute && c.cols != nil && c.stmt.cols != c.cols { // for COM_STMT_FETCH
		c.stmt.cols = c.cols
		k.changed(c.stmt)
	}
	if c.cols, c.full = nil, c.full || len(c.preview) > 0; c.status&statusMoreResults != 0 {
		c.stage = stageFirst
		return nil
	}
	k.emit(c, "")
	return nil
}

// ok reads OK_Packet.
func (k *conn) ok(c *call, b []byte) {
	r := newReader(b[1:])
	affected, _ := r.lenenc()
	id, _ := r.lenenc()
	status, warnings := uint16(r.number(2)), int32(r.number(2))
	c.answered = true
	if r.Short() {
		return
	}
	c.status, c.ended = status, true
	c.warnings += warnings
	if b[0] == packetOK && c.changes() {
		c.affected = table.Some(c.affected.V + int64(affected))
	}
	if id != 0 && !c.insertID.OK {
		c.insertID = table.Some(int64(id))
	}
	info := r.Rest()
	if tracked := k.agreed(capSessionTrack) == yes; tracked || len(info) > 0 && int(info[0]) == len(info)-1 { // servers also send the length without the capability
		info = r.text()
		if tracked && status&statusSessionState != 0 {
			k.session(r.text())
		}
	}
	if len(info) > 0 && clip.Printable(info) {
		c.info = clip.Text(info, maxErrorText)
	}
}

// changes reports whether a number of changed rows says something about the command.
func (c *call) changes() bool {
	switch c.command {
	case comQuery, comExecute, comBulkExecute:
		return true
	}
	return c.kind == kindReply
}

// session reads the changes of the session's state: the database.
func (k *conn) session(b []byte) {
	const schema = 1
	r := newReader(b)
	for r.Left() > 0 && !r.Short() {
		what := r.Uint8()
		value := newReader(r.text())
		if what == schema {
			k.database = clip.Text(value.text(), maxParam)
		}
	}
}

// failed reads ERR_Packet.
func (k *conn) failed(c *call, b []byte) {
	r := newReader(b[1:])
	e := &serverError{code: int(r.number(2))}
	switch rest := r.Rest(); {
	case len(rest) == 0, rest[0] == '#' && len(rest) < 6:
		e.partial = true
		r.Skip(len(rest))
	case rest[0] == '#':
		e.state = sqltext.Text(rest[1:6])
		r.Skip(6)
	}
	message := r.Rest()
	e.message = clip.Text(message[:min(len(message), maxErrorText)], maxErrorText)
	c.err, c.answered = e, true
	if c.command == comPrepare && k.latest == c.stmt {
		k.latest = nil
	}
}
