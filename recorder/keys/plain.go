package keys

import "net/netip"

// Plain is data that a process passed to a TLS library in one call, or received from one: all of
// it, or a piece of a long call.
type Plain struct {
	Time       int64 // UTC, ns: the end of a call that reads, the beginning of one that writes
	PID, TID   uint32
	Executable string
	Cgroup     string
	Library    Library
	Sent       bool   // passed to the library
	Connection uint64 // number of the connection in a Tracker, from 1
	Call       uint64 // bytes of the whole call
	Offset     uint64 // of Data in the call
	Data       []byte // must not be kept
	// Local and Remote are the ends of the connection according to the process's socket, if
	// Ends says that they are known.
	Ends          Ends
	Local, Remote netip.AddrPort
}

// Ends is how the ends of a connection are known.
type Ends uint8

// Values of Ends.
const (
	NoEnds     Ends = iota // unknown
	LastSocket             // the thread's last receive before the library returned the bytes used it: a guess
	CallSocket             // the library used it during a call of the connection
)

func (e Ends) String() string { return [...]string{"none", "last_socket", "call_socket", "none"}[e&3] }

// PlainSink receives plaintext, from one goroutine.
type PlainSink interface {
	Plain(*Plain) error
	// Flush is called when no piece has followed for a while, and at least each second.
	Flush() error
}

// PlainCounters balance once a Tracker is closed: Seen = Written + Lost + Unread + Odd +
// Unused + SinkErrors.
type PlainCounters struct {
	Calls      uint64 // of chosen processes, with at least one byte
	Seen       uint64 // pieces of them; a call has one for each 64 KiB
	Lost       uint64 // the ring buffer was full
	Unread     uint64 // memory could not be read
	Odd        uint64 // more bytes than a call can have
	Unused     uint64 // of a process that is no longer chosen
	Written    uint64 // accepted by the sink
	SinkErrors uint64 // refused by the sink
	Bytes      uint64 // written
	Cut        uint64 // bytes of calls after the first MiB, which is the part that is read
}
