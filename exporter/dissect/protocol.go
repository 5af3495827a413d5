// Package dissect turns the bytes of connections into calls.
//
// It defines the contract of every protocol (Protocol, Dissector), the engine that detects
// protocols by content, feeds them, enforces limits and accounts for every byte (Conn), and what
// dissectors share (Exchange, Body). A protocol is one folder next to this file and one line in
// all/all.go; it imports this package, never the reverse.
//
// The engine allocates nothing for a segment that a dissector consumes whole. Nothing here reads
// a clock: all times come from packets. A panic in a dissector ends that dissector, not the run;
// it becomes an anomaly, and in tests it panics again.
package dissect

import (
	"net/netip"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Dir is the direction that bytes travel.
type Dir uint8

// The two directions.
const (
	ToServer Dir = iota // from the side that opened the connection
	ToClient
)

// Other is the opposite direction.
func (d Dir) Other() Dir { return d ^ 1 }

// String is "to_server" or "to_client".
func (d Dir) String() string {
	if d == ToServer {
		return "to_server"
	}
	return "to_client"
}

// Sender is the side that sends in the direction: "client" or "server".
func (d Dir) Sender() string {
	if d == ToServer {
		return "client"
	}
	return "server"
}

// Transport is the protocol that carries a connection.
type Transport uint8

// The transports that the engine feeds.
const (
	TCP         Transport = iota // a stream: Read gets bytes in order and Gap reports missing ones
	UDP                          // datagrams: each Read gets one
	ICMP                         // ICMP and ICMPv6 messages from the type byte on, one per Read
	SCTP                         // packets from the common header on, one per Read
	Other                        // payload of another IP protocol, one packet per Read
	QUIC                         // a stream of a QUIC connection; any dissector for TCP can read it
	Association                  // user messages of an SCTP association; any dissector for TCP can read them
	transports
)

var transportNames = [...]string{"tcp", "udp", "icmp", "sctp", "ip", "quic", "sctp"}

// String is the value of column transport.
func (t Transport) String() string { return transportNames[t] }

// Blind reports whether Seq and Ack of a Packet only identify its bytes, so that Ack does not tell which bytes of the other
// side had arrived.
func (t Transport) Blind() bool { return t == QUIC || t == Association }

// Verdict is Detect's answer about the first bytes that one side sent.
type Verdict uint8

// The verdicts.
const (
	No     Verdict = iota // these bytes cannot be this protocol
	More                  // too few bytes to decide
	Likely                // they match, but another protocol's bytes may look the same
	Yes                   // these bytes can only be this protocol
)

// If is v if ok is true, else No.
func (v Verdict) If(ok bool) Verdict {
	if ok {
		return v
	}
	return No
}

// Protocol is one application protocol.
type Protocol struct {
	Name       string      // the folder's name, and the value of column protocol
	Doc        string      // one sentence for readers
	Versions   string      // the versions that it reads, for readers
	Depth      string      // what it reads of the messages, for readers, such as "heads and bodies"
	Transports []Transport // what can carry it
	Excluded   bool        // calls that others carry are not read as this protocol either, see Conn.Excludes
	Ports      []uint16    // hints: tried first on these server ports, never decisive

	// Detect looks at the first bytes that one side sent. It returns
	//   - Yes:    these bytes can only be this protocol
	//   - Likely: that side may send them, but another protocol's bytes may look the same.
	//     The claim is withdrawn if Read returns an error before Conn.Confirm or a complete row;
	//     on Ports it counts as Yes
	//   - No:     they cannot be this protocol
	//   - More:   too few bytes to decide; called again when more arrive
	//
	// For a datagram, head is the whole datagram. Detect is also called at the start of a later
	// segment when the engine looks for the next message after a gap or in a connection whose
	// start was not captured, so Yes must be rare on random bytes: check lengths and fixed
	// values, not one magic byte. Detect must not keep head. If it is nil, content never
	// identifies the protocol (grpc is found inside http2), and Inside lists those that pass it on.
	Detect func(dir Dir, head []byte) Verdict
	Inside []string

	// Prefaced states that Detect always answers Yes to the first message of each side. Likely
	// then counts only if the start of the connection was not captured.
	Prefaced bool

	// Sender, if not nil, is for a protocol whose messages do not show the client, because both sides may send each: the
	// side that probably sent bytes that Detect accepts. It decides if the handshake was not captured.
	Sender func(head []byte) Dir

	// Resume, if not nil, replaces Detect once the protocol is identified: at the start of a
	// segment after a gap. It may accept what Detect must not.
	Resume func(dir Dir, head []byte) Verdict

	// DetectOnPort, if not nil, is called for connections on Ports after no Detect answered Yes.
	// The port is evidence too, so it may accept damaged bytes.
	DetectOnPort func(dir Dir, head []byte) Verdict

	// DetectLast, if not nil, is called for the first datagrams of a conversation that nothing
	// above identified. It may be more expensive than Detect. Likely begins a trial for protocols
	// that only several datagrams prove: the dissector must call Conn.Confirm before it emits a
	// row. Else the claim is withdrawn, without an anomaly, by an error of Read or by the end of
	// the conversation. Yes counts only for the first datagram.
	DetectLast func(dir Dir, head []byte) Verdict

	// Identify, if not nil, finds the connection of a datagram without its ends. It may be expensive. name is the same
	// for all datagrams of a connection, and empty if the datagram proves none; id, if not nil, is that by which the
	// datagram's receiver finds the connection.
	Identify func(datagram []byte) (name string, id []byte, fromClient bool)

	// Beside, if not nil, states that datagrams of the protocol may come between those of any other
	// one in the same conversation (RFC 7983), which reads the rest. It reports whether a datagram is
	// the protocol's. d is this protocol's dissector of the conversation, nil before its first
	// datagram. Without d, only datagrams that Detect accepts are the protocol's.
	Beside func(d Dissector, datagram []byte) bool

	// Doubts, if not nil, says whether another protocol may begin with this datagram, because nothing that was read so
	// far proves that the conversation is the protocol's: one forged datagram must not hide all others. It returns
	//   - No:     the protocol is proven, or the datagram is the protocol's
	//   - Likely: it may be the protocol's, such as encrypted data; on Ports another protocol begins only if Detect
	//     answers Yes
	//   - Yes:    it cannot be the protocol's
	Doubts func(d Dissector, datagram []byte) Verdict

	// New makes the state for one connection.
	New func(c *Conn) Dissector

	// NewStreams, if not nil, makes the state for all streams of a QUIC connection together.
	// ALPN lists the names by which the two sides select it (RFC 7301). New and Detect may then
	// be nil.
	NewStreams func(c *Conn) Streams
	ALPN       []string

	// Row is a pointer to a zero row of this protocol, a struct that embeds table.Call. The
	// protocol's own columns are prefixed with its name.
	Row table.CallRow

	// Traits are for the questions about its calls.
	Traits table.Traits
}

// End is the reason why no more bytes will come.
type End uint8

// The ends of a connection.
const (
	EndFin     End = iota // both sides closed
	EndReset              // RST seen
	EndTimeout            // silent for too long
	EndReuse              // the same ports opened a new connection
	EndCapture            // the capture ended
	EndEvicted            // dropped at a memory limit
	EndUpgrade            // another protocol follows, see Conn.Upgrade
)

var endNames = [...]string{"fin", "reset", "timeout", "reuse", "end_of_capture", "evicted", "upgrade"}

// String is the value of column close_reason.
func (e End) String() string { return endNames[e] }

// CallError is the value of column error for a call without a complete answer when the
// connection ended this way: reset, timeout, cut or no_response.
func (e End) CallError() string {
	switch e {
	case EndReset:
		return "reset"
	case EndTimeout:
		return "timeout"
	case EndFin, EndReuse, EndUpgrade:
		return "no_response"
	}
	return "cut"
}

// Dissector reads the messages of one connection. The engine never calls two of its methods
// concurrently.
type Dissector interface {
	// Read consumes whole messages, or pieces of a body, from the front of in.Data and returns
	// the number of bytes consumed. It returns
	//   - n > 0, nil: consumed n bytes; called again at once while bytes are left
	//   - 0, nil:     needs more bytes (call Conn.Need if the total is known) or must first
	//                 see the other side; called again when either side has more
	//   - any, err:   the bytes at n cannot be this protocol. The engine counts them as an
	//                 anomaly and looks for the next segment that Detect accepts.
	//
	// If in.End is set, no more bytes will come in this direction; Read is then called at least
	// once, perhaps with no data. For datagram transports Data is exactly one datagram; bytes
	// not consumed are an anomaly. Read must not keep Data.
	Read(in *Input) (n int, err error)

	// Gap reports that missing bytes of this direction were not captured. in.Data holds the
	// unread bytes, which are dropped afterwards. It returns
	//   - true:  the bytes are accounted for (inside a body of known length): continue
	//   - false: the position in the stream is lost; the engine calls Resync with LossGap. The unread bytes
	//     are an anomaly, unless in.Taken is set
	Gap(in *Input, missing int64) bool

	// Resync reports that the position in a direction was lost: after Gap returned false or Read
	// an error, when memory ran out, or before the first Read if the beginning of the connection
	// was not captured (Conn.Starting). The message being read will not continue, and the next
	// Read begins where Detect accepts a segment, or several together if it answers More. A request that was being read may still be
	// answered, so it stays pending; a response that was being read ends its call.
	Resync(dir Dir, why Loss)

	// Kept is the memory of the dissector's state in bytes, without what Conn.Keep and Conn.Hold
	// took and without bodies and citations. The engine calls it after each piece of input.
	Kept() int

	// Shed gives up what costs least, because memory ran out: it spills a body, or emits the call
	// that has waited longest with error "cut". It returns
	//   - true:  something was given up; called again while that is not enough
	//   - false: nothing waits
	//
	// It is called between two calls of Read, or from inside one by Conn.Keep.
	Shed() bool

	// Close ends the connection; pending calls are emitted with why.CallError().
	Close(why End)
}

// Loss is why a position was lost. It is also the value of column error of a call that it cuts.
type Loss string

// The losses.
const (
	LossGap       Loss = "gap"       // bytes were not captured
	LossMalformed Loss = "malformed" // the bytes cannot be this protocol, or were dropped
)

// Stateless is embedded by a Dissector that keeps nothing between two calls of Read.
type Stateless struct{}

// Resync implements Dissector.
func (Stateless) Resync(Dir, Loss) {}

// Kept implements Dissector.
func (Stateless) Kept() int { return 0 }

// Shed implements Dissector.
func (Stateless) Shed() bool { return false }

// Streams reads a protocol with messages on many streams of one connection, such as HTTP/3 on
// QUIC. The connection supplies each stream's bytes in order, see StreamBuffer. The low two bits
// of a stream's id say who opened it and whether it is bidirectional, RFC 9000 section 2.1. No
// two methods are called concurrently.
type Streams interface {
	// ReadStream is Dissector.Read for one stream; in.Data holds all its unread bytes. It
	// returns
	//   - n > 0, nil: consumed n bytes; called again at once while bytes are left
	//   - 0, nil:     needs more bytes, or must first see another stream; called again when
	//                 the stream has more, and after any other stream was read
	//   - any, err:   the bytes at n cannot be this protocol; they are counted as an
	//                 anomaly and the stream is no longer read
	//
	// If in.End is set, nothing will follow; ReadStream is then called at least once, perhaps
	// with no data.
	ReadStream(id int64, in *Input) (n int, err error)

	// GapStream reports that missing bytes of a stream were not captured. It returns what Dissector.Gap does, but after
	// false the stream is no longer read, and its pending calls were emitted.
	GapStream(id int64, in *Input, missing int64) bool

	// ResetStream reports that side dir gave up a stream (RESET_STREAM), or asked the other side
	// to do so (stop, STOP_SENDING), with the application's error code.
	ResetStream(id int64, dir Dir, stop bool, code int64, p Packet)

	// ReadDatagram gets the payload of a DATAGRAM frame, RFC 9221.
	ReadDatagram(in *Input)

	// Kept and Shed are those of Dissector.
	Kept() int
	Shed() bool

	// Close ends the connection; code is the application's error code if a CONNECTION_CLOSE of
	// type 0x1d ended it, else -1.
	Close(why End, code int64)
}

// Detail is a row of another table that belongs to a call, such as table.TLSHandshake.
type Detail interface {
	// OfCall receives the finished call once its number is known.
	OfCall(c *table.Call)
}

// NameAnswer is an address from the answer to a name lookup. If a row has a method Names()
// []NameAnswer, these names label external addresses.
type NameAnswer struct {
	Name string
	Addr netip.Addr
}

// IDNamer is a row of a protocol whose calls name things by ids that calls on other connections
// explain, such as Kafka topics. Rows come in the order of the bundle.
type IDNamer interface {
	// NameIDs adds the names that this row gives to ids, and puts the names of ids in their place in
	// its text.
	NameIDs(names *IDNames)
}

// UpgradeInfo is the old protocol's information about the first call of the new one.
type UpgradeInfo struct {
	Exchange      *Exchange // the request's bytes and times
	Method, Path  string
	Query, Host   string
	Headers       []table.Header
	Settings      []byte // HTTP2-Settings, decoded
	HeadersSize   int64
	UpgradeTarget string // the token of the Upgrade header
}

// Continuer is a Dissector that continues inside TLS, which its connection changed to (STARTTLS).
type Continuer interface {
	// Continue is called before the first Read. before is the dissector of the same protocol that read the connection
	// up to there, and is closed.
	Continue(before Dissector)
}

// Upgrader is a Dissector that can continue after an upgrade from another protocol.
type Upgrader interface {
	Upgraded(info *UpgradeInfo)
}
