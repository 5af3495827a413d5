package mysql

import "unsafe"

// statement is a prepared statement.
type statement struct {
	id     uint32
	query  string
	known  bool // its COM_STMT_PREPARE was captured
	params int
	types  []paramType // of the parameters, from the latest execution that sent them
	long   map[int]longValue
	cols   *columns
	size   int // of prepared.bytes
}

// longValue is a value that was sent in advance by COM_STMT_SEND_LONG_DATA.
type longValue struct {
	start []byte
	size  int
}

// prepared are the statements of a connection.
type prepared struct {
	statements map[uint32]*statement
	latest     *statement
	bytes      int // memory of all
}

// lastPrepared is the id that MariaDB's clients use for the latest prepared statement.
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
	k.statements[s.id], k.latest = s, s
	k.changed(s)
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

// find returns the statement with this id. If it is unknown, a new one without a text is stored.
func (k *conn) find(id uint32) *statement {
	s := k.statements[id]
	switch {
	case s != nil:
	case id == lastPrepared && k.latest != nil:
		return k.latest
	case id == lastPrepared:
		return &statement{id: id, params: -1}
	default:
		s = &statement{id: id, params: -1}
		k.remember(s)
	}
	return s
}

// longData keeps the beginning of a value that is sent in advance.
func (k *conn) longData(s *statement, param int, data []byte, cut bool) {
	if s == nil || param >= maxParams {
		return
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
	c.stmt, c.stmtID = s, someInt(int64(s.id), id != lastPrepared || s.known)
	c.query, c.known = s.query, s.known
	if c.command == comBulkExecute { // the rows of parameters are not shown
		r.Skip(2)
		return
	}
	flags := r.Uint8()
	r.Skip(4)
	n := s.params
	named := k.capsKnown && k.caps&capQueryAttrs != 0
	if named && (n > 0 || flags&8 != 0) {
		v, _ := r.lenenc()
		n = int(min(v, 1<<16))
	}
	if n > 0 {
		c.params.read(r, n, s.types, named, s.long)
		if c.params.types != nil {
			s.types = c.params.types
		}
	}
	s.long = nil
	k.changed(s)
}
