package tds

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const sessionCost = unsafe.Sizeof(session{})

// requestTypes are the kinds of requests.
var requestTypes = map[byte]string{typeBatch: "SQL_BATCH", typeRPC: "RPC", typeAttention: "ATTENTION", typeBulk: "BULK_LOAD", typeFedAuth: "FEDAUTH",
	typeTransaction: "TRANSACTION", typeLogin: "LOGIN7", typeSSPI: "SSPI", typePrelogin: "PRELOGIN"}

// requestPacket reads a packet of the client.
func (k *conn) requestPacket(s *session, in *dissect.Input, from, to int, head, payload []byte) error {
	r := &s.request
	if c := r.call; c != nil && c.kind != head[0] {
		c.bad, r.call, r.buf = true, nil, nil // the rest of the message before was not sent
	}
	c := r.call
	if c == nil {
		c = k.begin(s)
		c.kind = head[0]
		c.row.Type = table.Some(requestTypes[c.kind])
		r.call, r.buf, r.rows = c, r.buf[:0], tokens{k: k, c: c, bulk: true}
		s.queue.Push(c, in.Packet(from).Ack, callCost)
		k.alone = k.c.Info.OpenedBy != "" && c.kind == typeLogin
	}
	c.x.Request(in, from, to)
	c.row.Requested++
	last := head[1]&eom != 0
	if in.Tracing() && (c.kind == typeLogin || c.kind == typeSSPI || c.kind == typeFedAuth) {
		c.hide(in, to-len(payload), append(r.buf[:len(r.buf):len(r.buf)], payload...), len(payload), last)
	}
	switch {
	case c.kind == typeBulk:
		r.rows.feed(payload)
	case len(r.buf)+len(payload) > maxRead:
		c.row.Partial = true
		payload = payload[:maxRead-len(r.buf)]
		fallthrough
	default:
		if !last || len(r.buf) > 0 {
			r.buf = append(r.buf, payload...)
			payload = r.buf
		}
	}
	if !last {
		return nil
	}
	r.call, r.buf = nil, nil
	c.whole = true
	if c.kind == typeBulk {
		r.rows.end()
		c.row.Bulk = table.Some(r.rows.rows)
		r.rows = tokens{}
		return nil
	}
	err := k.content(c, payload)
	c.texts = len(c.row.SQL.V)
	s.queue.Grow(c, c.texts)
	if err != nil && !c.row.Partial {
		c.bad = true
		k.c.Anomaly("malformed", err.Error(), 0)
	}
	return nil
}

// content reads a message of the client.
func (k *conn) content(c *call, b []byte) error {
	switch c.kind {
	case typePrelogin:
		return k.prelogin(c, dissect.ToServer, b)
	case typeLogin:
		return k.login(c, b)
	case typeSSPI:
		c.row.AuthKind = table.Some(integrated(b))
	case typeFedAuth:
		c.row.AuthKind = table.Some("bearer")
	case typeBatch:
		if b = k.headers(b); len(b) > 2*maxQuery {
			c.row.Partial = true
		}
		c.row.SQL = table.Some(wide(b, maxQuery))
	case typeRPC:
		return k.rpc(c, k.headers(b))
	case typeTransaction:
		return k.transaction(c, k.headers(b))
	}
	return nil
}

// headers skips ALL_HEADERS, section 2.2.5.3, which messages have from version 7.2 on.
func (k *conn) headers(b []byte) []byte {
	if k.modern == no && k.version != "" {
		return b
	}
	n := headersSize(b)
	if n > 0 {
		k.modern = yes
		return b[n:]
	}
	if k.modern == unknown {
		k.modern = no
	}
	return b
}

// headersSize is the length of ALL_HEADERS at the front of b, or 0 if there are none.
func headersSize(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	total := int64(binary.LittleEndian.Uint32(b))
	if total < 4+6 || total > int64(len(b)) || total > 1<<12 {
		return 0
	}
	for rest := b[4:total]; len(rest) > 0; {
		if len(rest) < 6 {
			return 0
		}
		n, kind := int64(binary.LittleEndian.Uint32(rest)), binary.LittleEndian.Uint16(rest[4:])
		if n < 6 || n > int64(len(rest)) || kind < 1 || kind > 3 || kind == 2 && n != 18 {
			return 0
		}
		rest = rest[n:]
	}
	return int(total)
}

// wide is UTF-16 as text of at most n characters.
func wide(b []byte, n int) string {
	cut := len(b) > 2*n
	if cut {
		b = b[:2*n]
	}
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	s := string(utf16.Decode(u))
	if len(s) > n {
		s, cut = strings.ToValidUTF8(s[:n], ""), true
	}
	if cut {
		s += "…"
	}
	return s
}

// little reads numbers, which are little-endian, and strings of UTF-16.
type little struct{ cursor.Cursor }

func newLittle(b []byte) *little { return &little{cursor.New(b)} }

func (r *little) u16() int { return int(r.Uint8()) | int(r.Uint8())<<8 }

func (r *little) u32() uint32 { return uint32(r.u16()) | uint32(r.u16())<<16 }

func (r *little) u64() uint64 { return uint64(r.u32()) | uint64(r.u32())<<32 }

// short is B_VARCHAR, and long US_VARCHAR, section 2.2.5.1.2.
func (r *little) short() string { return wide(r.Bytes(2*int(r.Uint8())), maxText) }

func (r *little) long(n int) string { return wide(r.Bytes(2*r.u16()), n) }

// transaction reads a request to the transaction manager, section 2.2.6.9.
func (k *conn) transaction(c *call, b []byte) error {
	r := newLittle(b)
	kind := r.u16()
	if r.Short() {
		return fmt.Errorf("reading a request to the transaction manager: %d bytes", len(b))
	}
	c.row.Transaction = table.Some(tables()["transaction"].Name(int64(kind), "transaction_"))
	return nil
}

// rpc reads calls of procedures, section 2.2.6.6. The row has the first.
func (k *conn) rpc(c *call, b []byte) error {
	row := c.row
	n := int64(0)
	r := newLittle(b)
	for r.Left() > 0 {
		var p procedure
		if k.modern == no {
			p.separator = 0x80
		} else {
			p.separator = 0xff
		}
		complete := p.read(k, r)
		if n++; n == 1 {
			k.call(c, &p)
		}
		if !complete {
			row.Partial = true
			break
		}
	}
	row.Requests = table.Some(n)
	if n == 0 || !row.Procedure.OK {
		return fmt.Errorf("reading an RPC: it has no procedure")
	}
	return nil
}

// procedure is a call of a procedure.
type procedure struct {
	separator byte
	name      string
	params    []param
}

type param struct {
	name   string
	text   string
	long   string // the statement, if it may be one
	number int64
	null   bool
	output bool
}

// read reads a call. It returns false if the rest could not be read.
func (p *procedure) read(k *conn, r *little) bool {
	if n := r.u16(); n == 0xffff {
		id := r.u16()
		p.name = tables()["procedure"].Name(int64(id), "procedure_")
	} else {
		p.name = wide(r.Bytes(2*n), maxText)
	}
	r.Skip(2)
	if r.Short() {
		p.name = ""
		return false
	}
	total := 0
	for r.Left() > 0 {
		switch c := r.Rest()[0]; {
		case c == p.separator, c == 0xff, c == 0xfe:
			r.Skip(1)
			return true
		}
		var v param
		v.name = r.short()
		v.output = r.Uint8()&1 != 0
		var col column
		if ok := col.readType(r, k, false); !ok || r.Short() {
			return false
		}
		value := value{col: &col, keep: maxRead}
		n, done := value.read(r.Rest())
		r.Skip(n)
		v.null = value.null
		if len(p.params) < maxParams && total < maxParamAll || len(p.params) < 4 {
			v.text, v.number = value.text(maxText), value.number()
			if len(p.params) < 4 && col.isText() && !v.null {
				v.long = value.text(maxQuery)
			}
			total += len(v.text)
			p.params = append(p.params, v)
		}
		if !done {
			return false
		}
	}
	return true
}

// places are the positions of the statement, the handle and the first value among a server procedure's parameters.
type places struct{ statement, handle, values int }

// procedures are those that execute statements, [MS-TDS] section 2.2.6.6 and the documentation of SQL Server.
var procedures = map[string]places{
	"sp_executesql":                     {0, -1, 2},
	"sp_prepare":                        {2, -1, 4},
	"sp_prepexec":                       {2, -1, 3},
	"sp_prepexecrpc":                    {1, -1, 2},
	"sp_execute":                        {-1, 0, 1},
	"sp_unprepare":                      {-1, 0, 1},
	"sp_cursoropen":                     {1, -1, 5},
	"sp_cursorprepare":                  {2, -1, 6},
	"sp_cursorprepexec":                 {3, -1, 7},
	"sp_cursorexecute":                  {-1, 0, 5},
	"sp_cursorunprepare":                {-1, 0, 1},
	"sp_describe_undeclared_parameters": {0, -1, 1},
}

// call puts a call of a procedure into a row.
func (k *conn) call(c *call, p *procedure) {
	row := c.row
	row.Procedure = table.NonEmpty(p.name)
	where, special := procedures[strings.ToLower(p.name)]
	if !special {
		where = places{-1, -1, 0}
		if p.name != "" {
			row.SQL = table.Some("EXEC " + p.name)
		}
	}
	if i := where.statement; i >= 0 && i < len(p.params) {
		row.SQL = table.NonEmpty(p.params[i].long)
	}
	prepares := strings.Contains(strings.ToLower(p.name), "prep") && where.statement > 0
	if prepares {
		c.prepare = row.SQL.V
	}
	if i := where.handle; i >= 0 && i < len(p.params) {
		handle := p.params[i].number
		row.Handle = table.Some(handle)
		row.SQL = table.NonEmpty(k.prepared[handle])
		if strings.HasSuffix(p.name, "unprepare") {
			c.forget = row.Handle
		}
	}
	for i, v := range p.params {
		if i < where.values {
			continue
		}
		text := v.text
		if v.name != "" {
			text = v.name + "=" + text
		}
		row.Params = append(row.Params, text)
	}
}

// remember keeps a prepared statement under its handle.
func (k *conn) remember(handle int64, query string) {
	const entry = 64
	k.unprepare(handle)
	if len(k.prepared) >= maxPrepared || k.prepBytes+len(query)+entry > maxPrepAll {
		k.c.Anomaly("limit", "too many prepared statements in one connection", 0)
		return
	}
	if k.prepared == nil {
		k.prepared = map[int64]string{}
	}
	k.prepared[handle] = query
	k.prepBytes += len(query) + entry
}

func (k *conn) unprepare(handle int64) {
	const entry = 64
	if q, ok := k.prepared[handle]; ok {
		k.prepBytes -= len(q) + entry
		delete(k.prepared, handle)
	}
}

// verb is the method of a request.
func (c *call) verb() table.Opt[string] {
	row := c.row
	prepares := strings.HasPrefix(row.Procedure.V, "sp_") && (strings.HasSuffix(row.Procedure.V, "prepare"))
	if row.SQL.OK && !prepares {
		if v := sqltext.Verb(row.SQL.V); v != "" {
			return table.Some(v)
		}
	}
	if row.Procedure.OK {
		return row.Procedure
	}
	return row.Type
}
