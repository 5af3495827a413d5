package cassandra

import (
	"bytes"
	"encoding/hex"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// facts collects the fields of a message for its call's row, within limits.
type facts struct {
	k        *conn
	c        *call
	row      *Row
	r        *reader
	version  byte
	partial  bool // only the beginning of the message is there
	paramAll int
}

// statement is a prepared statement.
type statement struct {
	query   string
	params  []kind
	columns []string
	kinds   []kind
}

func (s *statement) cost() int {
	n := 200 + len(s.query) + 2*(len(s.params)+len(s.kinds))
	for _, c := range s.columns {
		n += 16 + len(c)
	}
	return n
}

// remember stores a prepared statement, if there is room.
func (k *conn) remember(id string, s *statement) {
	if old := k.statements[id]; old != nil {
		k.stmtBytes -= old.cost()
	} else if len(k.statements) >= maxPrepared || k.stmtBytes+s.cost() > maxPrepAll {
		k.Conn.Anomaly("limit", "too many prepared statements in one connection", 0)
		return
	}
	if k.statements == nil {
		k.statements = map[string]*statement{}
	}
	k.statements[id] = s
	k.stmtBytes += s.cost()
}

// finish completes the row after a message.
func (f *facts) finish() {
	row := f.row
	row.Partial = row.Partial || f.partial
	f.c.texts = len(row.CQL.V) + f.paramAll + 16*len(row.Params) + len(row.Preview.V) + len(row.ErrMessage.V) + len(row.Change.V)
}

// Flags of the parameters of a query.
const (
	withValues   = 0x01
	withPageSize = 0x04
	withPaging   = 0x08
	withSerial   = 0x10
	withTime     = 0x20
	withNames    = 0x40
	withKeyspace = 0x80
)

// request reads the body of a request.
func (f *facts) request(h head) {
	r := f.r
	if h.flags&flagPayload != 0 {
		f.payload()
	}
	switch h.opcode {
	case opStartup:
		f.startup()
	case opAuthResponse:
		f.credentials()
	case opQuery:
		f.statement(r.longString())
		f.parameters(nil)
	case opPrepare:
		f.statement(r.longString())
		f.c.prepare = f.row.CQL.V
		if f.version >= 5 && r.int()&1 != 0 {
			f.row.Keyspace = table.NonEmpty(r.text())
		}
	case opExecute:
		s := f.prepared(r.shortBytes())
		if f.version >= 5 {
			r.shortBytes()
		}
		f.parameters(s)
	case opBatch:
		f.batch()
	case opRegister:
		var list []string
		for n := int(r.Uint16()); n > 0 && !r.Short() && len(list) < 16; n-- {
			list = append(list, r.text())
		}
		f.row.Change = table.NonEmpty(strings.Join(list, ", "))
	}
}

// payload skips a custom payload.
func (f *facts) payload() {
	for n := int(f.r.Uint16()); n > 0 && !f.r.Short(); n-- {
		f.r.string()
		f.r.bytes()
	}
}

func (f *facts) startup() {
	var name, driver, version string
	f.k.compression = ""
	f.r.stringMap(func(key, value []byte) {
		switch string(key) {
		case "COMPRESSION":
			f.k.compression = strings.ToLower(text(value))
		case "APPLICATION_NAME":
			name = text(value)
		case "DRIVER_NAME":
			driver = text(value)
		case "DRIVER_VERSION":
			version = text(value)
		}
	})
	if name == "" {
		name = strings.TrimSpace(driver + " " + version)
	}
	f.k.application = name
}

// credentials takes the user's name from a token of PLAIN (RFC 4616), and nothing else of it.
func (f *facts) credentials() {
	token, _ := f.r.bytes()
	f.row.AuthKind = table.Some("sasl")
	if parts := bytes.Split(token, []byte{0}); len(parts) == 3 {
		f.k.user = text(parts[1])
		f.row.AuthKind = table.Some("password")
		f.k.Conn.Password(f.k.user, string(parts[2]))
	}
}

// statement takes the text of a statement.
func (f *facts) statement(q []byte) {
	cut := f.r.Short() && f.partial
	if cut {
		q = f.r.Rest()
	}
	text := sqltext.Text(q[:min(len(q), maxQuery)])
	if cut || len(q) > maxQuery { // calls that execute it later show the same text
		text += "…"
	}
	f.row.CQL = table.NonEmpty(text)
}

// prepared takes the statement with an id.
func (f *facts) prepared(id []byte) *statement {
	f.row.Prepared = table.NonEmpty(hex.EncodeToString(id[:min(len(id), 64)]))
	s := f.k.statements[string(id)]
	if s != nil {
		f.row.CQL, f.c.stmt = table.NonEmpty(s.query), s
	}
	return s
}

// parameters reads the fields after a statement.
func (f *facts) parameters(s *statement) {
	r := f.r
	f.consistency()
	flags := uint32(0)
	if f.version >= 5 {
		flags = r.Uint32()
	} else {
		flags = uint32(r.Uint8())
	}
	if flags&withValues != 0 {
		f.values(s, flags&withNames != 0)
	}
	if flags&withPageSize != 0 {
		r.Skip(4)
	}
	if flags&withPaging != 0 {
		r.bytes()
	}
	if flags&withSerial != 0 {
		r.Skip(2)
	}
	if flags&withTime != 0 {
		r.Skip(8)
	}
	if f.version >= 5 && flags&withKeyspace != 0 {
		f.row.Keyspace = table.NonEmpty(r.text())
	}
}

func (f *facts) consistency() {
	level := f.r.Uint16()
	if !f.r.Short() {
		f.row.Consistency = table.Some(tables()["consistency"].Name(int64(level), "consistency_"))
	}
}

// values reads the values of a statement.
func (f *facts) values(s *statement, named bool) {
	r := f.r
	for i := range int(r.Uint16()) {
		name := ""
		if named {
			name = r.text() + "="
		}
		b, set := r.bytes()
		if r.Short() {
			return
		}
		if len(f.row.Params) >= maxParams || f.paramAll >= maxParamAll {
			continue
		}
		v := "NULL"
		if set {
			of := kindUnknown
			if s != nil && i < len(s.params) {
				of = s.params[i]
			}
			v = show(of, b)
		}
		f.row.Params = append(f.row.Params, name+v)
		f.paramAll += len(name) + len(v)
	}
}

// batch reads the statements of a batch.
func (f *facts) batch() {
	r := f.r
	r.Skip(1)
	n := int(r.Uint16())
	f.row.Statements = table.Some(int64(n))
	var list []string
	size := 0
	for range n {
		var s *statement
		q := "?"
		if r.Uint8() == 0 {
			q = string(r.longString())
		} else if s = f.prepared(r.shortBytes()); s != nil {
			q = s.query
		}
		if size += len(q) + 2; size <= maxQuery {
			list = append(list, sqltext.Text([]byte(q)))
		}
		f.values(s, false)
		if r.Short() {
			break
		}
	}
	f.row.Prepared = table.Opt[string]{}
	f.row.CQL = table.NonEmpty(strings.Join(list, "; "))
	f.c.stmt = nil
	f.consistency()
}
