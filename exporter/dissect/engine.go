package dissect

import (
	"fmt"
	"net/netip"
	"path"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/guess"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection and of one engine.
const (
	maxBuffered    = 1 << 20  // bytes of one direction that a dissector may leave unread, unless it needs more
	maxNeed        = 20 << 20 // the most it may request with Need
	engineBudget   = 16 << 20 // bytes that all connections of one engine may hold, unless SetBudget changes it
	segCost        = 64       // memory of a kept segment in addition to its payload
	detectBuffered = 32 << 10 // bytes of one direction kept until a protocol is detected
	detectSegments = 64       // later segments that detection examines at their start
	maxKinds       = 32       // kinds of anomalies counted separately in one connection
	maxSameKind    = 4        // rows of one kind in one connection; the rest share a row
)

// Engine detects protocols and keeps the connections of one shard. It is not safe for concurrent
// use; each shard has its own.
type Engine struct {
	catalogue
	memory
	work

	sink     Sink
	kinds    fileKinds
	repanic  bool
	trace    bool // see Trace
	hidden   map[*Exchange]*hidden
	expected map[listening]*Expected // announced connections
}

// catalogue is the protocols, and how connections find theirs.
type catalogue struct {
	Protocols []*Protocol
	decodeAs  map[portKey]*Protocol
	byPort    [transports]map[uint16][]*Protocol
	byKind    [transports][]*Protocol
	byName    map[string]*Protocol
	besides   []*Protocol // see Protocol.Beside
	rowIndex  map[reflect.Type]int
	unknown   [transports]int
}

// memory is what all connections of an engine hold, in bytes.
type memory struct {
	held      int // in buffers
	limit     int // what held may reach
	kept      int64
	ranked    ranked
	relieving bool    // prevents nested calls of relieve
	segs      [][]seg // for sides that have none
}

// work is the state of the piece of input that an engine reads.
type work struct {
	spanNo      int64 // see Engine.undoing
	spanDecoded int64
	datagram    datagramState
	tail        tail
	loss        loss     // that is being reported to a dissector
	inputs      []*Input // of the calls of Read in progress, one inside the other, and of earlier ones
	depth       int      // calls of Read in progress
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

// NewEngine makes an engine for the protocols, which detection tries in this order. With
// repanic, a dissector's panic ends the program, for tests.
func NewEngine(protocols []*Protocol, as []DecodeAs, sink Sink, repanic bool) (*Engine, error) {
	most := len(protocols) + int(transports)
	e := &Engine{sink: sink, kinds: fileKinds{}, repanic: repanic, memory: memory{limit: engineBudget},
		catalogue: catalogue{Protocols: make([]*Protocol, 0, most), byName: make(map[string]*Protocol, most),
			rowIndex: make(map[reflect.Type]int, most), decodeAs: map[portKey]*Protocol{}}}
	var ports [transports]int
	for _, p := range protocols {
		for _, t := range p.Transports {
			ports[t] += len(p.Ports)
		}
	}
	for t, n := range ports {
		e.byPort[t], e.byKind[t] = make(map[uint16][]*Protocol, n), make([]*Protocol, 0, most)
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
			return nil, d.unknown()
		}
		e.decodeAs[portKey{d.Transport, d.Port}] = p
	}
	return e, nil
}

// CheckDecodeAs returns the error that NewEngine would return.
func CheckDecodeAs(protocols []*Protocol, as []DecodeAs) error {
	for _, d := range as {
		if !slices.ContainsFunc(protocols, func(p *Protocol) bool { return p.Name == d.Protocol && p.New != nil }) {
			return d.unknown()
		}
	}
	return nil
}

func (d *DecodeAs) unknown() error {
	return fmt.Errorf("decoding %s/%d as %q: no such protocol", d.Transport, d.Port, d.Protocol)
}

func (e *Engine) add(p *Protocol) {
	if _, unknown := p.Row.(*Unknown); !unknown {
		e.rowIndex[reflect.TypeOf(p.Row)] = len(e.Protocols)
	}
	e.Protocols = append(e.Protocols, p)
	e.byName[p.Name] = p
	if p.Beside != nil {
		e.besides = append(e.besides, p)
	}
	if p.Detect == nil {
		return
	}
	for _, t := range p.Transports {
		e.byKind[t] = append(e.byKind[t], p)
		if t == TCP {
			e.byKind[QUIC] = append(e.byKind[QUIC], p)
			e.byKind[Association] = append(e.byKind[Association], p)
		}
		for _, port := range p.Ports {
			e.byPort[t][port] = append(e.byPort[t][port], p)
		}
	}
}

// Info describes a connection when its first byte arrives.
type Info struct {
	Transport              Transport
	ClientPort, ServerPort uint16
	IPVersion              uint8   // 4 or 6; it distinguishes ICMP from ICMPv6
	Multicast              bool    // the server's address is a group or a broadcast
	RolesKnown             bool    // a handshake identified client and server
	Began                  [2]bool // the first byte of a direction follows the packet that began it
	ConnectUs              int64   // duration of the TCP handshake as the client saw it; -1 unknown
	Owner                  any     // the caller's own state, available as Conn.Info.Owner
	OpenedBy               string  // what decrypted it before; "" if it arrives as sent
	Client, Server         netip.Addr
	Opened                 Packet // its first packet
}

// Conn is one connection: the engine's side of a Dissector.
type Conn struct {
	Info Info

	engine *Engine
	relatives
	reader
	phase
	account
	rare
}

// relatives are the connections around one that share its packets.
type relatives struct {
	parent   *Conn // the connection that carries this one inside its encryption, or that uses the same ports
	beside   *Conn // reads a protocol that has datagrams between those of this connection, see Protocol.Beside
	isBeside bool
	turned   bool     // of a second connection on the same ports: phase.flipped of the other one when it began
	path     []string // protocols, outermost first
	inside   []string // protocols of the inner connections, outermost first, if there are more than in path
}

// reader is what reads a connection, and where it is.
type reader struct {
	proto   *Protocol
	d       Dissector
	streams Streams // in place of d, see Protocol.NewStreams
	sides   [2]side
	now     Packet // packet being worked on
	claim   *claim // nil if the protocol is certain
	refused []refusal
	upgrade *upgrade
	unknown *unknownState
	tlsUs   int64 // -1 unknown
}

// phase is how far a connection is.
type phase struct {
	state    state
	flipped  bool
	closed   bool
	closing  bool
	end      End     // reason of the close, during it
	quiet    bool    // a withdrawn dissector is being closed: its rows are dropped
	starting bool    // see Starting
	cut      bool    // an anomaly already says that calls were cut
	begun    bool    // both directions were captured from where proto began, see intact
	doubt    bool    // a request ended before its response could come, see notePending
	last     Dir     // direction of the latest bytes
	closedAt Instant // of the close, during it; it may be long after the last packet
}

// account counts what a connection holds and what it brought, in bytes unless said otherwise.
type account struct {
	calls    int64 // not bytes
	held     int   // of the engine's budget, including all inner connections
	kept     int   // of these, what reader.d keeps, see Dissector.Kept
	debt     int   // of held, the part that exceeded the budget
	rank     rank
	arrivals uint32 // not bytes
	callAnom int32  // not bytes

	RowBytes, GapBytes, AnomalyBytes int64 // of the stream, in both directions
}

// rare is what most connections lack, or have little of.
type rare struct {
	kinds     []kindCount
	losses    losses
	crypt     *Encryption
	sightings *sightings    // nil until another clock sees one of its packets again
	left      *[2]departure // of a TCP connection, by direction; nil before the first
	acks      *acknowledged // of a TCP connection, or of one with streams, nil before the first
	facts     *facts
}

// facts are what few connections have, apart from Conn to keep that small.
type facts struct {
	likely      guess.Guess          // of the last unknown payload in it or in what it carries, or of the last upgrade
	passedTo    table.Opt[string]    // see PassedTo
	before      *before              // what it was before TLS; nil if nothing
	undelivered []undelivered        // by the number of the datagram
	expect      *Expected            // that announced it, until its content is known
	untaken     []untaken            // calls that wait, see awaitTaken
	again       []sentAgain          // the newest ones
	unasked     *unasked             // the newest response without a request
	doubtful    table.Opt[uint32]    // sequence number of the response to the first request of the capture, see Line
	begins      [2]table.Opt[uint32] // by direction as captured, see Begins
	stream      *streamPlace         // see SetStreamAcks
	unread      [2]int64             // by direction: 1 + the number of the latest datagram that was cut or malformed and answers no call
}

// known returns the facts for a change.
func (c *Conn) known() *facts {
	if c.facts == nil {
		c.facts = &facts{}
	}
	return c.facts
}

type state uint8

const (
	detecting state = iota
	reading
	skipping // no protocol was detected: one row counts the bytes
)

type side struct {
	buf      []byte // unread bytes; empty while segments are consumed whole
	whole    []byte // the pool's buffer that contains buf, if any
	front    int32  // bytes before buf in the same memory
	next     uint32 // sequence number after the latest bytes
	off      int64  // stream offset of the first unread byte
	start    int64  // stream offset of the first byte of the current protocol, see Input.First
	segs     []seg
	need     int // total number of bytes that Read needs
	seeking  bool
	lossy    bool // bytes were lost after the last ones that were read
	ended    bool
	fin      bool   // the sender ended it
	endSeen  bool   // Read was called with End
	more     bool   // a protocol needs more of buf to decide
	looks    int16  // segments whose start detection has examined again
	examined int32  // length of buf when detection last ran
	resynced uint32 // off of the other direction at the latest Resync, its lower half
	charged  int    // bytes of the budget that buf and segs use
}

type upgrade struct {
	name string
	info *UpgradeInfo
}

// NewConn starts a connection.
func (e *Engine) NewConn(info Info) *Conn {
	c := &Conn{Info: info, engine: e, reader: reader{tlsUs: -1}}
	if x := e.expectedOf(&c.Info); x != nil {
		c.known().expect = x
	}
	if p := e.decodeAs[portKey{info.Transport, info.ServerPort}]; p != nil {
		c.begin(p, Yes)
	}
	return c
}

// Protocol is the detected protocol, or nil.
func (c *Conn) Protocol() *Protocol { return c.proto }

// Path lists the protocols, outermost first.
func (c *Conn) Path() []string {
	if len(c.path) == 0 && c.beside != nil {
		return c.beside.path
	}
	return c.path
}

// Flipped reports whether the content showed that the first sender is the server.
func (c *Conn) Flipped() bool { return c.flipped }

// Likely is the protocol that payload without a matching protocol probably is.
func (c *Conn) Likely() guess.Guess {
	if c.facts == nil {
		return guess.Guess{}
	}
	return c.facts.likely
}

// Calls is the number of calls emitted.
func (c *Conn) Calls() int64 { return c.calls }

// Now is the packet that the engine is processing.
func (c *Conn) Now() Packet { return c.now }

// SetTLSTime records the duration of the TLS handshake for the first inner call.
func (c *Conn) SetTLSTime(us int64) { c.tlsUs = us }

// TLSTime is the duration from SetTLSTime, or -1 if it is unknown.
func (c *Conn) TLSTime() int64 { return c.tlsUs }

// Need requests n bytes in all before Read is called again for dir.
func (c *Conn) Need(dir Dir, n int) { c.sides[dir].need = min(n, maxNeed) }

// Unread is the number of bytes that the dissector has left unread in a direction. If both sides have
// such bytes, either may have been sent first.
func (c *Conn) Unread(dir Dir) int { return len(c.sides[dir].buf) }

// Upgrade states that another protocol follows the bytes consumed by this Read, in both
// directions: the named one, or the one that detection finds if the name is empty or unknown.
func (c *Conn) Upgrade(name string, info *UpgradeInfo) { c.upgrade = &upgrade{name, info} }

// PassedTo states that the server is a proxy which passes the rest of the connection to a target, as column proxied_to
// has it. Without a target it does not.
func (c *Conn) PassedTo(target table.Opt[string]) {
	if target.OK || c.facts != nil {
		c.known().passedTo = target
	}
}

// protect runs f, which processes n bytes of payload. A panic in f ends the dissector and
// becomes an anomaly that counts the bytes being processed.
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
			detail := fmt.Sprintf("%v at %s", r, panicStack())
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

// panicStack lists the functions that panicked, innermost first. It omits addresses and numbers,
// which differ between runs.
func panicStack() string {
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

// settled is the payload accounted for in rows, anomalies and buffers.
func (c *Conn) settled() int64 {
	return c.RowBytes + c.AnomalyBytes + int64(len(c.sides[0].buf)+len(c.sides[1].buf))
}
