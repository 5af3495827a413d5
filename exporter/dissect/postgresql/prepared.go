package postgresql

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

// statement is a prepared statement.
type statement struct {
	name  string
	query string
	known bool     // its Parse was captured
	oids  []uint32 // types of parameters
	cols  *columns // of its result, if it was described
	named bool     // in prepared.statements
	size  int      // of prepared.bytes
}

// portal is a statement with its parameters.
type portal struct {
	name   string
	stmt   *statement
	params params
	result []int16 // format codes of the result
}

// prepared are the statements and portals of a connection, by name.
type prepared struct {
	statements    map[string]*statement
	portals       map[string]*portal
	unnamed       *statement
	unnamedPortal *portal
	bytes         int // memory of the named ones
}

// Memory in addition to text, including a map entry.
const (
	statementCost = int(unsafe.Sizeof(statement{})) + 64
	portalCost    = int(unsafe.Sizeof(portal{})) + 64
)

func (s *statement) cost() int {
	n := statementCost + len(s.name) + len(s.query) + 4*cap(s.oids)
	if s.cols != nil && s.cols.first == s {
		n += s.cols.cost()
	}
	return n
}

func (p *portal) cost() int { return portalCost + len(p.name) + p.params.cost() + 2*cap(p.result) }

func (p *params) cost() int {
	return cap(p.raw) + cap(p.vals)*int(unsafe.Sizeof(value{})) + 2*cap(p.codes)
}

// weigh updates the recorded size of a changed statement.
func (p *prepared) weigh(s *statement) {
	if s.named {
		p.bytes -= s.size
		s.size = s.cost()
		p.bytes += s.size
	}
}

// prepare stores a statement.
func (k *conn) prepare(name, query string, oids []uint32) *statement {
	s := &statement{name: name, query: query, known: true, oids: oids}
	if name == "" {
		k.unnamed = s
		return s
	}
	k.forget(name)
	k.add(s)
	return s
}

// add stores a statement under its name, if there is room.
func (k *conn) add(s *statement) {
	if len(k.statements) >= maxPrepared || k.prepared.bytes+s.cost() > maxPrepBytes {
		k.c.Anomaly("limit", "too many prepared statements in one connection", 0)
		return
	}
	if k.statements == nil {
		k.statements = map[string]*statement{}
	}
	k.statements[s.name] = s
	s.named = true
	k.weigh(s)
}

func (k *conn) forget(name string) {
	if s := k.statements[name]; s != nil {
		k.prepared.bytes -= s.size
		s.named = false
		delete(k.statements, name)
	}
}

// described records the columns of a statement's result.
func (k *conn) described(s *statement, cols *columns) {
	if cols.first == nil {
		cols.first = s
	}
	s.cols = cols
	k.weigh(s)
}

// statement finds a prepared statement. If it is unknown, a new one without a query is created,
// to store what the server reports about it.
func (k *conn) statement(name []byte) *statement {
	if len(name) == 0 {
		if k.unnamed == nil {
			k.unnamed = &statement{}
		}
		return k.unnamed
	}
	if s := k.statements[string(name)]; s != nil {
		return s
	}
	s := &statement{name: sqltext.Text(name)}
	k.add(s)
	return s
}

// remember stores a portal under its name, if there is room.
func (k *conn) remember(p *portal) {
	if p.name == "" {
		k.unnamedPortal = p
		return
	}
	k.forgetPortal(p.name)
	if len(k.portals) >= maxPrepared || k.prepared.bytes+p.cost() > maxPrepBytes {
		k.c.Anomaly("limit", "too many portals in one connection", 0)
		return
	}
	if k.portals == nil {
		k.portals = map[string]*portal{}
	}
	k.portals[p.name] = p
	k.prepared.bytes += p.cost()
}

func (k *conn) forgetPortal(name string) {
	if p := k.portals[name]; p != nil {
		k.prepared.bytes -= p.cost()
		delete(k.portals, name)
	}
}

func (k *conn) portal(name []byte) *portal {
	if len(name) == 0 {
		return k.unnamedPortal
	}
	return k.portals[string(name)]
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.prepared.bytes + cap(k.req.keep) + cap(k.rep.keep) + cap(k.scratch) + k.spareBytes
	if k.cols != nil {
		n += k.cols.cost()
	}
	if k.unnamed != nil {
		n += k.unnamed.cost()
	}
	if k.unnamedPortal != nil {
		n += k.unnamedPortal.cost()
	}
	if c := k.orphan; c != nil {
		n += callCost + c.answerCost()
	}
	if o := k.front(); o != nil && o.call != nil {
		n += o.call.answerCost()
	}
	return n
}

// answerCost is the memory of the stored part of an answer.
func (c *call) answerCost() int {
	n := cap(c.preview)
	for _, s := range c.notices {
		n += len(s) + 16
	}
	if c.err != nil {
		n += int(unsafe.Sizeof(serverError{})) + len(c.err.message) + len(c.err.detail)
	}
	return n
}
