package mongodb

import (
	"bytes"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Operations.
const (
	opReply        = 1
	opUpdate       = 2001
	opInsert       = 2002
	opQuery        = 2004
	opGetMore      = 2005
	opDelete       = 2006
	opKillCursors  = 2007
	opCommand      = 2010
	opCommandReply = 2011
	opCompressed   = 2012
	opMsg          = 2013
)

// Flags of OP_MSG and OP_REPLY.
const (
	msgChecksum    = 1 << 0
	msgMoreToCome  = 1 << 1
	msgExhaust     = 1 << 16
	replyNotFound  = 1 << 0
	replyFailed    = 1 << 1
	queryExhaust   = 1 << 6
	cursorNotFound = 43 // error code
)

const headSize = 16

// head is the head of a message.
type head struct {
	size       int64
	id, answer int32
	op         int32
}

func readHead(b []byte) head {
	return head{int64(int32(le.Uint32(b))), int32(le.Uint32(b[4:])), int32(le.Uint32(b[8:])), int32(le.Uint32(b[12:]))}
}

// check reports what contradicts a head.
func (h head) check(dir dissect.Dir) error {
	switch {
	case h.size < headSize || h.size > maxMessage:
		return fmt.Errorf("reading a message: length %d is outside %d to %d", h.size, headSize, maxMessage)
	case h.op == opMsg || h.op == opCompressed:
		return nil
	case dir == dissect.ToClient && (h.op == opReply || h.op == opCommandReply):
		return nil
	case dir == dissect.ToServer && h.op != opReply && h.op != opCommandReply && tables().op[int64(h.op)] != "":
		return nil
	}
	return fmt.Errorf("reading a message: operation %d is none that goes %s", h.op, dir)
}

// Size implements framed.Handler.
func (k *conn) Size(dir dissect.Dir, b []byte) (int64, error) {
	if len(b) < headSize {
		return 0, nil
	}
	h := readHead(b)
	return h.size, h.check(dir)
}

// body is a message without its head, decompressed.
type body struct {
	head
	data    []byte
	partial bool
	coding  string // its compression
}

// Message implements framed.Handler.
func (k *conn) Message(in *dissect.Input, at int, b []byte, partial bool) (*call, error) {
	m := body{head: readHead(b), data: b[headSize:], partial: partial}
	if m.op == opCompressed {
		if err := k.inflate(&m); err != nil {
			return nil, err
		}
	}
	if in.Dir == dissect.ToServer {
		return k.request(&m)
	}
	return k.reply(&m)
}

const compressedHead = 9 // operation, size without compression, compressor

// inflate puts what is inside OP_COMPRESSED in its place.
func (k *conn) inflate(m *body) error {
	if len(m.data) < compressedHead {
		return fmt.Errorf("reading OP_COMPRESSED: %d bytes are too few", len(m.data))
	}
	op, size, by := int32(le.Uint32(m.data)), int64(int32(le.Uint32(m.data[4:]))), m.data[8]
	coding := tables().compressor[int64(by)]
	if size < 0 || size > maxMessage || coding == "" || op == opCompressed || tables().op[int64(op)] == "" {
		return fmt.Errorf("reading OP_COMPRESSED: operation %d, size %d and compressor %d", op, size, by)
	}
	m.op, m.data = op, m.data[compressedHead:]
	if coding == "noop" {
		return nil
	}
	m.coding = coding
	if coding == "zlib" {
		coding = "deflate"
	}
	out, err := k.Conn.Decompress(coding, m.data, maxInflate)
	if err != nil && !m.partial && size <= maxInflate {
		k.Conn.Anomaly("compression", "reading OP_COMPRESSED: "+err.Error(), 0)
	}
	m.data, m.partial = out, m.partial || err != nil || int64(len(out)) != size
	return nil
}

// request reads a request.
func (k *conn) request(m *body) (*call, error) {
	c := &call{id: m.id, row: &Row{Request: table.Some(int64(m.id)), Opcode: table.Some(tables().op[int64(m.op)]), Compression: table.NonEmpty(m.coding), Ahead: int32(k.Len())}}
	f := &facts{k: k, c: c, row: c.row, partial: m.partial}
	if err := f.request(m); err != nil && !m.partial {
		return nil, fmt.Errorf("reading %s: %w", tables().op[int64(m.op)], err)
	}
	f.finish()
	c.row.User, c.row.Mechanism = table.NonEmpty(k.user), table.NonEmpty(k.mechanism)
	c.row.Application, c.row.Driver = table.NonEmpty(k.application), table.NonEmpty(k.driver)
	if !c.silent {
		k.Put(m.id, c, callCost+c.texts)
	}
	return c, nil
}

// request reads the operation of a request.
func (f *facts) request(m *body) error {
	if m.op == opMsg {
		return f.msg(m)
	}
	r := littleCursor{cursor.New(m.data)}
	if m.op != opQuery && m.op != opCommand {
		r.Skip(4)
	}
	if m.op == opKillCursors {
		f.c.silent = true
		f.command("killCursors")
		n := r.int32()
		if n > 0 {
			f.row.Cursor = table.Some(r.int64())
		}
		return nil
	}
	flags := int32(0)
	if m.op == opQuery {
		flags = r.int32()
	}
	name := r.CString()
	if m.op == opCommand { // database, command, metadata, arguments
		f.row.Database = table.NonEmpty(text(name))
		r.CString()
		metadata := r.document()
		if len(metadata) == 0 {
			return errDocument
		}
		return f.commandDocument(r.document())
	}
	database, collection, ok := bytes.Cut(name, []byte("."))
	if !ok && !r.Short() {
		return fmt.Errorf("expected a namespace, got %.40q", name)
	}
	f.row.Database, f.row.Collection = table.NonEmpty(text(database)), table.NonEmpty(text(collection))
	return f.operation(m, &r, flags)
}

// operation reads the fields after the namespace of an operation before OP_MSG.
func (f *facts) operation(m *body, r *littleCursor, flags int32) error {
	switch m.op {
	case opQuery:
		r.Skip(8)
		return f.query(r.document(), flags)
	case opGetMore:
		f.command("getMore")
		r.Skip(4)
		f.row.Cursor = table.Some(r.int64())
		return nil
	case opInsert:
		f.command("insert")
		for r.Left() > 0 && !r.Short() {
			if err := f.written("documents", r.document()); err != nil {
				return err
			}
		}
	case opUpdate:
		f.command("update")
		r.Skip(4)
		f.row.Documents = table.Some[int64](1)
		if err := f.part("q", r.document()); err != nil {
			return err
		}
		f.c.silent = true
		return f.part("u", r.document())
	case opDelete:
		f.command("delete")
		r.Skip(4)
		f.row.Documents = table.Some[int64](1)
		f.c.silent = true
		return f.part("q", r.document())
	}
	f.c.silent = true
	return nil
}

// query reads the document of OP_QUERY: a command if the collection is $cmd, else a filter.
func (f *facts) query(doc []byte, flags int32) error {
	f.row.Exhaust = flags&queryExhaust != 0
	inner := doc
	_, err := elements(doc, func(e element) bool {
		if k := string(e.key); (k == "$query" || k == "query") && e.kind == typeDocument {
			inner = e.value
		}
		return false // only the first
	})
	if err != nil {
		return err
	}
	if f.row.Collection.V == "$cmd" {
		f.row.Collection = table.Opt[string]{}
		return f.commandDocument(inner)
	}
	f.command("find")
	return f.part("filter", inner)
}

// msg reads the sections of OP_MSG of a request.
func (f *facts) msg(m *body) error {
	if len(m.data) < 5 {
		return errDocument
	}
	flags := le.Uint32(m.data)
	f.row.Exhaust = flags&msgExhaust != 0
	f.c.silent = flags&msgMoreToCome != 0
	return sections(m, func(name string, doc []byte) error {
		if name == "" {
			return f.commandDocument(doc)
		}
		return f.written(name, doc)
	})
}

// sections calls f for each document of OP_MSG; name is empty for its body.
func sections(m *body, f func(name string, doc []byte) error) error {
	if len(m.data) < 4 {
		return errDocument
	}
	flags := le.Uint32(m.data)
	if flags&0xffff&^(msgChecksum|msgMoreToCome) != 0 { // the meaning of the lower 16 bits must be known
		return fmt.Errorf("flags %#x are not defined", flags)
	}
	b := m.data[4:]
	if flags&msgChecksum != 0 && !m.partial {
		if len(b) < 4 {
			return errDocument
		}
		b = b[:len(b)-4]
	}
	var listed []func() error // documents after the body, which may come before it
	for len(b) > 0 {
		kind, rest := b[0], b[1:]
		size, err := sectionSize(rest, m.partial)
		if err != nil {
			return err
		}
		section := rest[:size]
		b = rest[size:]
		switch kind {
		case 0:
			if err := f("", section); err != nil {
				return err
			}
		case 1:
			listed = append(listed, func() error { return sequence(section, f) })
		default:
			return fmt.Errorf("a section of kind %d is not defined", kind)
		}
		if len(listed) > 16 {
			return fmt.Errorf("more than 16 sections")
		}
	}
	for _, list := range listed {
		if err := list(); err != nil && !m.partial {
			return err
		}
	}
	return nil
}

func sectionSize(b []byte, partial bool) (int, error) {
	if len(b) < 4 {
		if partial {
			return len(b), nil
		}
		return 0, errDocument
	}
	size := int64(int32(le.Uint32(b)))
	switch {
	case size < minDocument || size > maxMessage || size > int64(len(b)) && !partial:
		return 0, errDocument
	case size > int64(len(b)):
		return len(b), nil
	}
	return int(size), nil
}

// sequence reads a section of kind 1: a name and documents.
func sequence(b []byte, f func(name string, doc []byte) error) error {
	r := littleCursor{cursor.New(b)}
	r.Skip(4)
	name := text(r.CString())
	if r.Short() {
		return errDocument
	}
	for r.Left() > 0 {
		doc := r.document()
		if len(doc) == 0 {
			return errDocument
		}
		if err := f(name, doc); err != nil {
			return err
		}
	}
	return nil
}

// littleCursor reads little-endian numbers.
type littleCursor struct{ cursor.Cursor }

func (r *littleCursor) int32() int32 {
	if b := r.Bytes(4); b != nil {
		return int32(le.Uint32(b))
	}
	return 0
}

func (r *littleCursor) int64() int64 {
	if b := r.Bytes(8); b != nil {
		return int64(le.Uint64(b))
	}
	return 0
}

// document reads a document, or as much of it as there is.
func (r *littleCursor) document() []byte {
	b := r.Rest()
	if len(b) < 4 || r.Short() {
		r.Bytes(-1)
		return nil
	}
	size := int64(int32(le.Uint32(b)))
	if size < minDocument {
		r.Bytes(-1)
		return nil
	}
	return r.Bytes(int(min(size, int64(len(b)))))
}
