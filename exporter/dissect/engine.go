package dissect

import (
	"fmt"
	"path"
	"reflect"
	"runtime"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection and of one engine.
const (
	maxBuffered    = 1 << 20  // bytes of one direction that a dissector may leave untaken, unless it asks for more
	maxNeed        = 20 << 20 // the most it may ask for with Need
	engineBudget   = 16 << 20 // bytes that all connections of one engine may hold, unless SetBudget says otherwise
	segCost        = 64       // bytes that a segment kept costs beside its payload
	detectBuffered = 32 << 10 // bytes of one direction kept until a protocol is told
	detectSegments = 64       // later segments at whose start the engine looks again
	maxKinds       = 32       // kinds of anomalies counted apart in one connection
	maxSameKind    = 4        // rows of one kind in one connection; the rest share a row
)

// Emission is a finished call on its way to the tables.
type Emission struct {
	Row      table.CallRow
	Protocol int   // index into Engine.Protocols
	Conn     *Conn // connection it belongs to
	At       int64 // number of the packet that completed it
	Reversed bool  // the server asked, see Exchange.Reversed
	Request  Span
	Response Span
	ReqBody  *Body
	RespBody *Body
	Details  []Detail
}

// Sink takes what an engine makes, in order.
type Sink interface {
	Call(e Emission)
	Anomaly(c *Conn, a table.Anomaly)
}

// Engine tells protocols and keeps the connections of one shard. It is not safe for
// concurrent use; each shard has its own.
type Engine struct {
	Protocols []*Protocol

	sink     Sink
	decodeAs map[portKey]*Protocol
	byPort   [transports]map[uint16][]*Protocol
	byKind   [transports][]*Protocol
	byName   map[string]*Protocol
	rowIndex map[reflect.Type]int
	unknown  [transports]int
	held     int   // bytes held in buffers
	limit    int   // what held may reach
	freed    int   // see Engine.Freed
	undoSpan int64 // see Engine.undoing
	undone   int64
	kept     int64
	repanic  bool

	ranked    ranked
	relieving bool // so that what is given up asks for nothing
}

type portKey struct {
	t    Transport
	port uint16
}

// DecodeAs forces a protocol on a server port, as Wireshark's -d does.
type DecodeAs struct {
	Transport Transport
	Port      uint16
	Protocol  string
}

// NewEngine makes an engine for the protocols, in the order in which they are asked.
// repanic makes a dissector's panic end the program, as tests want it.
func NewEngine(protocols []*Protocol, as []DecodeAs, sink Sink, repanic bool) (*Engine, error) {
	e := &Engine{sink: sink, byName: map[string]*Protocol{}, rowIndex: map[reflect.Type]int{},
		decodeAs: map[portKey]*Protocol{}, repanic: repanic, limit: engineBudget}
	for t := range e.byPort {
		e.byPort[t] = map[uint16][]*Protocol{}
	}
	for _, p := range protocols {
		e.add(p)
	}
	for t := range transports {
		e.unknown[t] = len(e.Protocols)
		e.add(unknownProtocol(t))
	}
	for _, d := range as {
		p := e.byName[d.Protocol]
		if p == nil || p.New == nil {
			return nil, fmt.Errorf("decoding %s/%d as %q: no such protocol", d.Transport, d.Port, d.Protocol)
		}
		e.decodeAs[portKey{d.Transport, d.Port}] = p
	}
	return e, nil
}

func (e *Engine) add(p *Protocol) {
	if _, unknown := p.Row.(*Unknown); !unknown {
		e.rowIndex[reflect.TypeOf(p.Row)] = len(e.Protocols)
	}
	e.Protocols = append(e.Protocols, p)
	e.byName[p.Name] = p
	if p.Detect == nil {
		return
	}
	for _, t := range p.Transports {
		e.byKind[t] = append(e.byKind[t], p)
		if t == TCP {
			e.byKind[QUIC] = append(e.byKind[QUIC], p)
		}
		for _, port := range p.Ports {
			e.byPort[t][port] = append(e.byPort[t][port], p)
		}
	}
}

// Info is what is known of a connection when its first byte comes.
type Info struct {
	Transport              Transport
	ClientPort, ServerPort uint16
	IPVersion              uint8  // 4 or 6; with ICMP it tells ICMP from ICMPv6
	Multicast              bool   // the server's address is a group or a broadcast
	RolesKnown             bool   // client and server were told by a handshake
	ConnectUs              int64  // duration of the TCP handshake as the client saw it; -1 unknown
	Owner                  any    // the caller's own state, given back through Conn.Info
	OpenedBy               string // what opened its encryption before it came here; "" where it comes as it was sent
}

// Conn is one connection: the engine's side of a Dissector.
type Conn struct {
	Info Info

	engine   *Engine
	parent   *Conn // the connection that carries this one inside its encryption
	by       string
	proto    *Protocol
	d        Dissector
	sides    [2]side
	in       Input  // what Read is given; here so that a segment costs no allocation
	now      Packet // packet being worked on
	calls    int64
	state    state
	flipped  bool
	closed   bool
	closing  bool
	end      End    // while closing: why
	closedAt int64  // while closing: capture time, which may be long after the last packet
	quiet    bool   // a withdrawn dissector is closing: its rows are dropped
	last     Dir    // of the bytes that came last
	claim    *claim // nil where the protocol is certain
	refused  []refusal
	upgrade  *upgrade
	tlsUs    int64 // -1 unknown
	kinds    []kindCount
	callAnom int32
	held     int // of the engine's budget, with all connections inside
	kept     int // of these, for what d keeps, see Keeper
	debt     int // of held, what the budget had no room for
	rank     rank
	shed     bool     // an anomaly says that calls were given up
	path     []string // protocols from outside in
	unknown  *unknownState
	crypt    *Encryption
	inside   []string // protocols inside, innermost last, where deeper than path

	// The account of the stream's bytes, both directions.
	RowBytes, GapBytes, AnomalyBytes int64
}

type state uint8

const (
	detecting state = iota
	reading
	skipping // no protocol was told: bytes are counted in one row
)

type side struct {
	buf     []byte // bytes not taken yet; empty while segments are taken whole
	whole   []byte // what buf is a part of, where it came out of the pool
	front   int    // bytes before buf in the same memory
	off     int64  // stream offset of the first byte not taken
	segs    []seg
	need    int // total bytes that Read asked for
	seeking bool
	ended   bool
	fin     bool // ended by the sender
	told    bool // Read saw End
	more    bool // a protocol wants more of buf before it can tell
	asked   int  // bytes that buf had when the protocols were asked last
	looks   int  // segments at whose start the engine has looked again
	charged int  // bytes of the budget that buf and segs take
}

type upgrade struct {
	name string
	info *UpgradeInfo
}

// NewConn starts a connection.
func (e *Engine) NewConn(info Info) *Conn {
	c := &Conn{Info: info, engine: e, tlsUs: -1}
	if p := e.decodeAs[portKey{info.Transport, info.ServerPort}]; p != nil {
		c.begin(p, Yes)
	}
	return c
}

// Protocol is the protocol that was told, or nil.
func (c *Conn) Protocol() *Protocol { return c.proto }

// Path are the protocols from outside in.
func (c *Conn) Path() []string { return c.path }

// Flipped reports whether content showed that the first sender is the server.
func (c *Conn) Flipped() bool { return c.flipped }

// Calls is the number of calls emitted.
func (c *Conn) Calls() int64 { return c.calls }

// Now is the packet that the engine works on.
func (c *Conn) Now() Packet { return c.now }

// SetTLSTime notes how long the TLS handshake took, for the first call inside.
func (c *Conn) SetTLSTime(us int64) { c.tlsUs = us }

// TLSTime is what SetTLSTime noted, -1 where nothing was.
func (c *Conn) TLSTime() int64 { return c.tlsUs }

// Need says that Read wants n bytes in all before it is called again for dir.
func (c *Conn) Need(dir Dir, n int) { c.sides[dir].need = min(n, maxNeed) }

// Upgrade says that after the bytes taken by this Read another protocol goes on in
// both directions: the named one, or with an empty name whatever its content tells.
// A name that no protocol has means an empty name.
func (c *Conn) Upgrade(name string, info *UpgradeInfo) { c.upgrade = &upgrade{name, info} }

// Emit hands a finished call on. The engine fills the columns that all protocols share
// from x and the connection; the row must not be touched afterwards.
func (c *Conn) Emit(x *Exchange, row table.CallRow, details ...Detail) {
	i, ok := c.engine.rowIndex[reflect.TypeOf(row)]
	if !ok {
		panic(fmt.Sprintf("dissect: %T is not the row of a registered protocol", row))
	}
	c.emit(i, x, row, details)
}

// Registered reports whether the engine knows the protocol of a row.
func (c *Conn) Registered(row table.CallRow) bool {
	_, ok := c.engine.rowIndex[reflect.TypeOf(row)]
	return ok
}

func (c *Conn) emit(proto int, x *Exchange, row table.CallRow, details []Detail) {
	if c.muted() {
		return
	}
	b := row.Base()
	b.Protocol = c.engine.Protocols[proto].Name
	b.Transport = c.Info.Transport.String()
	outer := c
	for outer.parent != nil {
		outer = outer.parent
	}
	b.Ordinal = outer.calls
	if x.Ordinal.OK {
		b.Ordinal = x.Ordinal.V
	}
	first := outer.calls == 0
	outer.calls++
	if c != outer {
		if c.calls == 0 && c.tlsUs >= 0 {
			b.TLSUs = table.Some(c.tlsUs)
		}
		first = c.calls == 0
		c.calls++
		b.DecryptedBy = table.Some(c.by)
	} else if c.Info.OpenedBy != "" {
		b.DecryptedBy = table.Some(c.Info.OpenedBy)
	}
	if first && c.Info.ConnectUs >= 0 && c.Info.Transport == TCP {
		b.ConnectUs = table.Some(c.Info.ConnectUs)
	}
	x.fill(b)
	x.release(c)
	b.CallID = c.id(x, b.Protocol)
	for _, body := range [...]*Body{x.ReqBody, x.RespBody} {
		if body != nil {
			body.Finish()
		}
	}
	fillBody(x.ReqBody, &b.RequestBodyHash, &b.RequestBodySize, &b.RequestBodyWire)
	fillBody(x.RespBody, &b.ResponseBodyHash, &b.ResponseBodySize, &b.ResponseBodyWire)
	b.Anomalies, c.callAnom = c.callAnom, 0
	c.judge(x, b)
	e := Emission{Row: row, Protocol: proto, Conn: outer, At: c.now.No, Reversed: x.Reversed, Request: x.req.span(), Response: x.resp.span(),
		ReqBody: x.ReqBody, RespBody: x.RespBody, Details: details}
	if !c.holdBack(e) {
		c.engine.sink.Call(e)
	}
}

func fillBody(b *Body, hash *table.Opt[table.Hash], size, wire *table.Opt[int64]) {
	if b == nil || b.size == 0 && b.missing == 0 {
		return
	}
	*hash, *wire = table.Some(b.Hash), table.Some(b.size)
	if !b.Large {
		*size = table.Some(b.decoded)
	}
}

type kindCount struct {
	source, kind string
	count, bytes int64
	last         table.Anomaly
}

// protect runs f, which is given n bytes of payload; a panic in it ends the dissector and
// becomes an anomaly, to which the bytes go that were on their way.
func (c *Conn) protect(n int, f func()) {
	if c.engine.repanic {
		f()
		return
	}
	due := c.settled() + int64(n)
	defer func() {
		if r := recover(); r != nil {
			source := "engine"
			if c.proto != nil {
				source = c.proto.Name
			}
			detail := fmt.Sprintf("%v at %s", r, places())
			c.d, c.upgrade, c.quiet = nil, nil, false
			c.Confirm()
			c.sides[0].looks, c.sides[1].looks = detectSegments, detectSegments
			c.giveUp()
			lost := max(due-c.settled(), 0)
			c.AnomalyBytes += lost
			c.AnomalyFrom(source, "panic", detail, lost)
		}
	}()
	f()
}

// places are the functions that panicked, innermost first. A stack as the runtime
// prints it has addresses and numbers that are others in each run.
func places() string {
	var pc [24]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(4, pc[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			fmt.Fprintf(&b, "%s:%d ", path.Base(f.Function), f.Line)
		}
		if !more || b.Len() > 250 {
			return strings.TrimSpace(b.String())
		}
	}
}

// settled is the payload that is accounted for, in rows, in anomalies or in buffers.
func (c *Conn) settled() int64 {
	return c.RowBytes + c.AnomalyBytes + int64(len(c.sides[0].buf)+len(c.sides[1].buf))
}
