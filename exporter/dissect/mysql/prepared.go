package mysql

import (
	"strings"
	"unsafe"
)

// statement is a prepared statement.
type statement struct {
	id       uint32
	numbered bool // id is known; else the server has not answered COM_STMT_PREPARE yet
	query    string
	known    bool        // its COM_STMT_PREPARE was captured
	params   int         // negative: unknown
	types    []paramType // of the parameters, from the latest execution that sent them
	long     map[int]longValue
	losses   uint32 // prepared.losses at its latest execution
	cols     *columns
	size     int // of prepared.bytes
}

// longValue is a value that was sent in advance by COM_STMT_SEND_LONG_DATA.
type longValue struct {
	start []byte
	size  int
}

// prepared are the statements of a connection.
type prepared struct {
	statements map[uint32]*statement
	latest     *statement // of the newest COM_STMT_PREPARE, answered or not
	bytes      int        // memory of all
	losses     uint32     // how often bytes of the client were lost
}

// lastPrepared is the id that MariaDB's clients use for the latest prepared statement, for example to execute it
// before the server has answered COM_STMT_PREPARE.
const lastPrepared = 1<<32 - 1

func (s *statement) cost() int {
	n := int(unsafe.Sizeof(statement{})) + 64 + len(s.query) + cap(s.types)*int(unsafe.Sizeof(paramType{}))
	for _, v := range s.long {
		n += 64 + cap(v.start)
	}
	if s.cols != nil {
		n += s.cols.cost()
	}
	return n
}

// changed updates the recorded size of a statement.
func (k *conn) changed(s *statement) {
	if s != nil && k.statements[s.id] == s {
		k.prepared.bytes -= s.size
		s.size = s.cost()
		k.prepared.bytes += s.size
	}
}

// remember stores a statement, if there is room.
func (k *conn) remember(s *statement) {
	k.forget(s.id)
	if len(k.statements) >= maxPrepared || k.prepared.bytes+s.cost() > maxPrepBytes {
		k.c.Anomaly("limit", "too many prepared statements in one connection", 0)
		return
	}
	if k.statements == nil {
		k.statements = map[uint32]*statement{}
	}
	k.statements[s.id] = s
	k.changed(s)
}

// prepare begins a statement whose number the server has not sent yet.
func (k *conn) prepare(c *call) {
	c.stmt = &statement{query: c.query, known: c.known, params: -1}
	k.latest = c.stmt
}

func (k *conn) forget(id uint32) {
	if s := k.statements[id]; s != nil {
		k.prepared.bytes -= s.size
		delete(k.statements, id)
		if k.latest == s {
			k.latest = nil
		}
	}
}

// named is the statement with this id, or nil.
func (k *conn) named(id uint32) *statement {
	if id == lastPrepared {
		return k.latest
	}
	return k.statements[id]
}

// find returns the statement with this id. If it is unknown, a new one without a text is stored.
func (k *conn) find(id uint32) *statement {
	s := k.named(id)
	if s == nil {
		if s = (&statement{id: id, numbered: id != lastPrepared, params: -1}); s.numbered {
			k.remember(s)
		}
	}
	return s
}

// longData keeps the beginning of a value that is sent in advance. Of the parameters that are not shown, the entry
// maxParams tells only that one of them was sent.
func (k *conn) longData(s *statement, param int, data []byte, cut bool) {
	if s == nil {
		return
	}
	if param >= maxParams {
		param, data = maxParams, nil
	}
	v := s.long[param]
	v.start = append(v.start, data[:min(len(data), maxParam-min(len(v.start), maxParam))]...)
	if v.size += len(data); cut {
		v.size++
	}
	if s.long == nil {
		s.long = map[int]longValue{}
	}
	s.long[param] = v
	k.changed(s)
}

func (k *conn) resetData(s *statement) {
	if s != nil {
		s.long = nil
		k.changed(s)
	}
}

// execute reads COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE.
func (k *conn) execute(c *call, r *reader) {
	id := uint32(r.number(4))
	s := k.find(id)
	c.stmt = s
	c.query, c.known = s.query, s.known
	if c.command == comBulkExecute { // the rows of parameters are not shown
		r.Skip(2)
		return
	}
	flags := r.Uint8()
	r.Skip(4)
	n := s.params
	if k.queryAttrs == unknown && n > 0 && !s.fits(*r, n, false) {
		counted := *r
		if v, _ := counted.lenenc(); s.fits(counted, int(min(v, 1<<16)), true) {
			k.queryAttrs = yes
		}
	}
	named := k.queryAttrs == yes
	if named && (n > 0 || flags&8 != 0) {
		v, _ := r.lenenc()
		n = int(min(v, 1<<16))
	}
	if n > 0 {
		before := *r
		c.params.read(r, n, s.types, named, s.long)
		if s.losses != k.losses && (r.Short() || r.Left() > 0) { // values that were sent in advance are lost
			*r = before
			r.Skip(r.Left())
			c.params.values, c.params.size = nil, 0
		}
	} else if n < 0 && s.known && !named { // the server has not said yet how many there are
		if guess := placeholders(s.query); s.fits(*r, guess, false) {
			c.params.read(r, guess, s.types, false, s.long)
		}
	}
	if c.params.types != nil {
		s.types = c.params.types
	}
	s.long, s.losses = nil, k.losses
	k.changed(s)
}

// fits reports whether n parameters take exactly the rest of an execution.
func (s *statement) fits(r reader, n int, named bool) bool {
	var p params
	p.read(&r, n, s.types, named, s.long)
	return !r.Short() && r.Left() == 0
}

// placeholders is the number of question marks in a statement that are not in quotes or comments.
func placeholders(q string) (n int) {
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '?':
			n++
		case c == '\'' || c == '"' || c == '`':
			for i++; i < len(q) && q[i] != c; i++ {
				if q[i] == '\\' && c != '`' {
					i++
				}
			}
		case c == '#' || strings.HasPrefix(q[i:], "-- "):
			i += strings.IndexByte(q[i:]+"\n", '\n')
		case strings.HasPrefix(q[i:], "/*") && !strings.HasPrefix(q[i:], "/*!"):
			i += strings.Index(q[i:]+"*/", "*/") + 1
		}
	}
	return n
}
