// Package dissect turns the bytes of connections into calls.
//
// It holds the contract that every protocol fulfils (Protocol, Dissector), the engine
// that tells protocols by content, feeds them, watches limits and keeps the account of
// every byte (Conn), and what dissectors share (Exchange, Body). A protocol is one folder
// beside this file and one line in all/all.go; it imports this package, never the reverse.
//
// The engine allocates nothing for a segment that a dissector takes whole. Nothing here
// reads a clock: time is the packets'. A panic in a dissector ends that dissector, not the
// run; it becomes an anomaly, and under test it panics again.
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

// Transport is what carries a connection.
type Transport uint8

// The transports that the engine feeds.
const (
	TCP   Transport = iota // a stream: Read gets bytes in order, gaps are told
	UDP                    // datagrams: each Read gets one
	ICMP                   // ICMP and ICMPv6 messages from the type byte on, one a Read
	SCTP                   // chunks of one packet, one packet a Read
	Other                  // payload of another IP protocol, one packet a Read
	QUIC                   // a stream of a QUIC connection; what can read TCP's can read it
	transports
)

var transportNames = [...]string{"tcp", "udp", "icmp", "sctp", "ip", "quic"}

// String is the name that rows have in column transport.
func (t Transport) String() string { return transportNames[t] }

// Verdict is what Detect thinks of the first bytes that one side sent.
type Verdict uint8

// The verdicts.
const (
	No     Verdict = iota // these bytes cannot be this protocol
	More                  // too few bytes to tell
	Likely                // they look like it, and so may another protocol's
	Yes                   // these bytes can only be this protocol
)

// Protocol is one application protocol.
type Protocol struct {
	Name       string      // the folder's name, and the value of column protocol
	Doc        string      // one sentence for people
	Transports []Transport // what can carry it
	Ports      []uint16    // hints: asked first on these server ports, never decisive

	// Detect looks at the first bytes one side sent. It answers
	//   - Yes:    these bytes can only be this protocol
	//   - Likely: they are what that side may send, but another protocol's may look the same.
	//     The claim is withdrawn if Read finds an error before Conn.Confirm or a complete row;
	//     on Ports it counts as Yes
	//   - No:     they cannot be
	//   - More:   too few bytes to tell; asked again when more arrive
	//
	// For a datagram it is given the whole datagram. It is also asked at the start of a
	// later segment when the engine looks for the next message after a gap or in a
	// connection whose start was not captured, so Yes must be rare on random bytes: check
	// lengths and fixed values, not one magic byte. Detect must not keep head.
	// nil: the protocol is never told by content (grpc comes out of http2).
	Detect func(dir Dir, head []byte) Verdict

	// Prefaced says that the first message of each side is always told by Yes. Likely then
	// counts only if the start of the connection was not captured.
	Prefaced bool

	// Resume, where it is not nil, is asked instead of Detect once the protocol is known: at
	// the start of a segment after a gap. It may accept what Detect must not.
	Resume func(dir Dir, head []byte) Verdict

	// DetectOnPort, where it is not nil, is asked on Ports after no protocol's Detect
	// said Yes. The port speaks for the protocol too, so it may accept what is damaged.
	DetectOnPort func(dir Dir, head []byte) Verdict

	// DetectLast, where it is not nil, is asked once about the first datagram of a
	// conversation that nothing above told. It may cost what Detect must not.
	DetectLast func(dir Dir, head []byte) Verdict

	// New makes the state for one connection.
	New func(c *Conn) Dissector

	// NewStreams, where it is not nil, makes the state for what a QUIC connection carries
	// on all its streams together; ALPN are the names by which the two sides chose it
	// (RFC 7301). New and Detect may then be nil.
	NewStreams func(c *Conn) Streams
	ALPN       []string

	// Row is a pointer to a zero row of this protocol, a struct that embeds table.Call.
	// Its own columns are prefixed with the protocol's name.
	Row table.CallRow
}

// End is why no more bytes will come.
type End uint8

// The ends of a connection.
const (
	EndFin     End = iota // both sides closed
	EndReset              // RST seen
	EndTimeout            // silent for too long
	EndReuse              // the same ports opened a new connection
	EndCapture            // the capture ended
	EndEvicted            // dropped at a memory limit
	EndUpgrade            // another protocol goes on, see Conn.Upgrade
)

var endNames = [...]string{"fin", "reset", "timeout", "reuse", "end_of_capture", "evicted", "upgrade"}

// String is the word in column close_reason.
func (e End) String() string { return endNames[e] }

// CallError is the word for column error of a call that had no whole answer when the
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

// Dissector reads the messages of one connection. The engine never calls two of its
// methods at once.
type Dissector interface {
	// Read takes whole messages, or pieces of a body, from the front of in.Data and
	// returns how many bytes it took. It answers
	//   - n > 0, nil: took n bytes; called again at once while bytes are left
	//   - 0, nil:     needs more bytes (say how many in all with Conn.Need if known) or
	//                 must first see the other side; called again when either side has more
	//   - any, err:   the bytes at n cannot be this protocol. They are counted as an
	//                 anomaly and the engine looks for the next place where Detect says Yes.
	//
	// With in.End set no more bytes will come in this direction; Read is then called
	// at least once, perhaps with no data. For datagram transports Data is exactly one
	// datagram; bytes not taken are an anomaly. Read must not keep Data.
	Read(in *Input) (n int, err error)

	// Gap says that missing bytes of this direction were not captured. in.Data holds what
	// Read did not take yet; it is gone afterwards. It answers
	//   - true:  the bytes are accounted for (inside a body of known length), go on
	//   - false: place in the stream lost; calls under way in this direction were emitted
	//            as cut ("gap"), and the next Read begins where Detect said Yes
	Gap(in *Input, missing int64) bool

	// Close ends the connection; calls under way are emitted with why.CallError().
	Close(why End)
}

// Streams reads a protocol whose messages lie on many streams of one connection, such as
// HTTP/3 on QUIC. The connection gives each stream's bytes in order, see Lane. The low two
// bits of a stream's id say who opened it and whether it goes both ways, RFC 9000 section
// 2.1. No two methods are called at once.
type Streams interface {
	// ReadStream is Dissector.Read for one stream: in.Data is all that was not taken yet. It
	// answers
	//   - n > 0, nil: took n bytes; called again at once while bytes are left
	//   - 0, nil:     needs more bytes, or must first see another stream; called again when
	//                 the stream has more, and after any other stream was read
	//   - any, err:   the bytes at n cannot be this protocol; they are counted as an
	//                 anomaly and the stream is not read any more
	//
	// With in.End nothing will follow; it is then called at least once, perhaps with no data.
	ReadStream(id int64, in *Input) (n int, err error)

	// GapStream says that missing bytes of a stream were not captured; it answers as
	// Dissector.Gap does, but a stream that answers false is not read any more.
	GapStream(id int64, in *Input, missing int64) bool

	// ResetStream says that a side gave a stream up (RESET_STREAM), or asked the other side to
	// (stop, STOP_SENDING), with the application's error code. dir is that side's.
	ResetStream(id int64, dir Dir, stop bool, code int64, p Packet)

	// ReadDatagram gets the payload of a DATAGRAM frame, RFC 9221.
	ReadDatagram(in *Input)

	// Close ends the connection; code is the application's error code where the end was
	// said with one (CONNECTION_CLOSE of type 0x1d), else -1.
	Close(why End, code int64)
}

// Detail is a row of another table that belongs to a call, such as table.TLSHandshake.
type Detail interface {
	// OfCall gives the finished call when its number is known.
	OfCall(c *table.Call)
}

// NameAnswer is an address that a name look-up gave for a name. A row with a method
// Names() []NameAnswer names outside addresses.
type NameAnswer struct {
	Name string
	Addr netip.Addr
}

// UpgradeInfo is what the old protocol knows about the new one's first call.
type UpgradeInfo struct {
	Exchange      *Exchange // the request's bytes and times
	Method, Path  string
	Query, Host   string
	Headers       []table.Header
	Settings      []byte // HTTP2-Settings, decoded
	HeadersSize   int64
	UpgradeTarget string // the token of the Upgrade header
}

// Upgrader is a Dissector that can go on where another protocol upgraded to it.
type Upgrader interface {
	Upgraded(info *UpgradeInfo)
}
