package mongodb

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// reply reads a reply.
func (k *conn) reply(m *body) (*call, error) {
	c, err := k.answered(m)
	if err != nil {
		return nil, err
	}
	a := &answer{row: c.row, partial: m.partial}
	if err := a.read(m); err != nil && !m.partial {
		k.Conn.Anomaly("malformed", fmt.Sprintf("reading the reply to %s: %v", c.row.Command.V, err), 0)
		c.bad = true
	}
	a.finish()
	c.texts += len(c.row.Preview.V) + len(c.row.ErrMessage.V) + 24*len(c.row.Columns)
	if !c.row.Compression.OK {
		c.row.Compression = table.NonEmpty(m.coding)
	}
	k.exhaust.on = k.exhaust.on && c.pushed
	if c.more = m.op == opMsg && len(m.data) >= 4 && le.Uint32(m.data)&msgMoreToCome != 0; c.more {
		if !c.pushed {
			c.row.Exhaust = true
			k.exhaust.call = &call{row: &Row{Opcode: c.row.Opcode, Command: c.row.Command, Database: c.row.Database, Collection: c.row.Collection,
				User: c.row.User, Mechanism: c.row.Mechanism, Application: c.row.Application, Driver: c.row.Driver, Exhaust: true}}
		}
		k.exhaust.on, k.exhaust.id = true, m.id
	} else {
		k.exhaust = exhausting{}
	}
	return c, nil
}

// answered finds the call of a reply.
func (k *conn) answered(m *body) (*call, error) {
	if k.exhaust.on && k.exhaust.call != nil && m.answer == k.exhaust.id {
		row := *k.exhaust.call.row
		return &call{id: m.answer, pushed: true, row: &row}, nil
	}
	if c, ok := k.Take(m.answer); ok {
		k.unsure = false
		k.Conn.Confirm()
		return c, nil
	}
	if k.unsure || k.Conn.Unproved() {
		return nil, fmt.Errorf("reading a reply: no request has id %d", m.answer)
	}
	return &call{id: m.answer, row: &Row{Request: table.Some(int64(m.answer)), Opcode: table.Some(tables().op[int64(m.op)])}}, nil
}

// answer collects the fields of a reply.
type answer struct {
	row     *Row
	partial bool
	failed  bool
	ok      bool
	docs    [][]byte // the first documents, which alias the message
	listed  bool
	count   int64
}

func (a *answer) read(m *body) error {
	switch m.op {
	case opMsg:
		return sections(m, func(name string, doc []byte) error {
			if name == "" {
				return a.command(doc)
			}
			a.document(doc)
			return nil
		})
	case opCommandReply: // metadata, reply, documents
		r := littleCursor{cursor.New(m.data)}
		r.document()
		return a.command(r.document())
	}
	if len(m.data) < 20 {
		return errDocument
	}
	flags, cursorID := le.Uint32(m.data), int64(le.Uint64(m.data[4:]))
	n := int32(le.Uint32(m.data[16:]))
	r := littleCursor{cursor.New(m.data[20:])}
	if a.row.Command.OK && a.row.Opcode.V == "OP_QUERY" && a.row.Command.V != "find" && n == 1 {
		return a.command(r.document())
	}
	a.ok, a.listed = true, true
	a.row.Cursor = table.Some(cursorID)
	if flags&replyNotFound != 0 {
		a.fail(cursorNotFound, "", "")
	}
	for range n {
		doc := r.document()
		if len(doc) == 0 {
			break
		}
		if flags&replyFailed != 0 {
			a.ok = false
			return a.command(doc)
		}
		a.document(doc)
	}
	if flags&replyFailed != 0 {
		a.fail(0, "", "")
	}
	if a.count < int64(n) && !a.partial {
		return fmt.Errorf("%d of %d documents are there", a.count, n)
	}
	a.count = int64(n)
	return nil
}

// document counts a document of the reply and keeps the first ones.
func (a *answer) document(doc []byte) {
	a.listed = true
	if a.count++; len(a.docs) < maxFirst {
		a.docs = append(a.docs, doc)
	}
	if a.row.Command.V == "bulkWrite" && !succeeded(doc) { // its documents are the results of the writes
		a.failure(doc)
	}
}

// succeeded reports whether a document does not say "ok: 0".
func succeeded(doc []byte) bool {
	ok := true
	_, _ = elements(doc, func(e element) bool {
		if string(e.key) == "ok" {
			f, is := e.number()
			ok = !is || f != 0
		}
		return ok
	})
	return ok
}

// command reads the document that answers a command.
func (a *answer) command(doc []byte) error {
	var code int64
	var name, message []byte
	whole, err := elements(doc, func(e element) bool {
		s, _ := e.text()
		n, isNumber := e.integer()
		switch string(e.key) {
		case "ok":
			f, _ := e.number()
			a.ok, a.failed = f == 1, f != 1
		case "code":
			code = n
		case "codeName":
			name = s
		case "errmsg", "$err":
			message = s
		case "err": // of getLastError: the write before it failed
			if e.kind == typeString && e.whole {
				message, a.failed = s, true
			}
		case "n", "nModified":
			if isNumber && string(e.key) == "n" {
				a.row.Affected = table.Some(n)
			} else if isNumber {
				a.row.Modified = table.Some(n)
			}
		case "writeErrors":
			a.errors(e)
		case "writeConcernError":
			if e.kind == typeDocument {
				a.failure(e.value)
			}
		case "cursor":
			a.cursor(e)
		case "values":
			a.list(e)
		}
		return true
	})
	if a.failed || len(message) > 0 && !a.ok {
		a.fail(code, text(name), shorten(message))
	}
	a.partial = a.partial || !whole && err == nil
	return err
}

// errors reads writeErrors.
func (a *answer) errors(e element) {
	if e.kind != typeArray {
		return
	}
	_, _ = elements(e.value, func(in element) bool {
		if in.kind == typeDocument {
			a.failure(in.value)
		}
		return true
	})
}

// failure reads the document of an error.
func (a *answer) failure(doc []byte) {
	var code int64
	var name, message []byte
	_, _ = elements(doc, func(e element) bool {
		switch s, _ := e.text(); string(e.key) {
		case "code":
			code, _ = e.integer()
		case "codeName":
			name = s
		case "errmsg":
			message = s
		}
		return true
	})
	a.fail(code, text(name), shorten(message))
}

// fail counts an error and keeps the first.
func (a *answer) fail(code int64, name, message string) {
	row := a.row
	if row.Errors++; row.Errors > 1 {
		return
	}
	if code != 0 { // otherwise an old server sent none, or it was cut off
		row.ErrCode, name = table.Some(int32(code)), cmp.Or(name, tables().code.Name(code, "error_"))
	}
	row.ErrName, row.ErrMessage = table.NonEmpty(name), table.NonEmpty(message)
}

func shorten(b []byte) string { return clip.Text(b, maxError) }

// cursor reads the batch of a reply.
func (a *answer) cursor(e element) {
	if e.kind != typeDocument {
		return
	}
	_, _ = elements(e.value, func(in element) bool {
		switch string(in.key) {
		case "id":
			if n, ok := in.integer(); ok {
				a.row.Cursor = table.Some(n)
			}
		case "firstBatch", "nextBatch":
			a.list(in)
		}
		return true
	})
}

func (a *answer) list(e element) {
	if e.kind != typeArray {
		return
	}
	a.listed = true
	_, _ = elements(e.value, func(in element) bool {
		if in.kind == typeDocument {
			a.document(in.value)
		} else {
			a.count++
		}
		return true
	})
}

// finish shows the first documents as rows under the names of their fields.
func (a *answer) finish() {
	row := a.row
	row.Partial = row.Partial || a.partial
	row.Success = row.Errors == 0 && (a.ok || a.partial && a.listed) // "ok" comes last; no error has a list
	if a.listed {
		row.Rows = table.Some(a.count)
	}
	for _, doc := range a.docs {
		_, _ = elements(doc, func(e element) bool {
			if name := text(e.key); !slices.Contains(row.Columns, name) {
				row.Columns = append(row.Columns, name)
			}
			return len(row.Columns) < maxColumns
		})
	}
	var b []byte
	for _, doc := range a.docs {
		if len(b) >= maxPreview {
			break
		}
		if len(b) > 0 {
			b = append(b, '\n')
		}
		b = appendRow(b, doc, row.Columns)
	}
	if len(b) > maxPreview {
		b = append(bytes.ToValidUTF8(b[:maxPreview], nil), "…"...)
	}
	row.Preview = table.NonEmpty(string(b))
}

// appendRow appends the values of a document's fields.
func appendRow(b, doc []byte, columns []string) []byte {
	values := make([]element, len(columns))
	has := make([]bool, len(columns))
	_, _ = elements(doc, func(e element) bool {
		if i := slices.Index(columns, text(e.key)); i >= 0 && !has[i] {
			values[i], has[i] = e, true
		}
		return true
	})
	for i := range columns {
		if i > 0 {
			b = append(b, '\t')
		}
		switch {
		case len(b) >= maxPreview:
			return b
		case !has[i] || values[i].kind == typeNull:
			b = append(b, `\N`...)
		default:
			b = sqltext.AppendField(b, show(nil, values[i], maxPreview, 0))
		}
	}
	return b
}
