package keys

import "net/netip"

// Plain is what a process gave to a TLS library in one call, or got from one: the whole of
// it, or a piece of a long call.
type Plain struct {
	Time       int64 // UTC, ns: the end of a call that reads, the beginning of one that writes
	PID, TID   uint32
	Executable string
	Cgroup     string
	Library    Library
	Sent       bool   // given to the library
	Connection uint64 // counts connections of a Tracker from 1
	Call       uint64 // bytes of the whole call
	Offset     uint64 // of Data in them
	Data       []byte // not to be kept
	// Local and Remote are the connection's ends as the process's socket has them, where
	// Ends says that they are known.
	Ends          Ends
	Local, Remote netip.AddrPort
}

// Ends is how the ends of a connection are known.
type Ends uint8

// Kinds of knowledge.
const (
	NoEnds     Ends = iota // not
	LastSocket             // the thread received from there last before the library gave it the bytes: a guess
	CallSocket             // the library used that socket within a call of the connection
)

func (e Ends) String() string { return [...]string{"none", "last_socket", "call_socket", "none"}[e&3] }

// PlainSink takes plaintext, from one goroutine.
type PlainSink interface {
	Plain(*Plain) error
	// Flush is called when some came and none came for a while, and at least each second.
	Flush() error
}

// PlainCounters balance: Seen = Written + Lost + Unread + Odd + Unused + SinkErrors once a
// Tracker is closed.
type PlainCounters struct {
	Calls      uint64 // of chosen processes that gave or got bytes
	Seen       uint64 // pieces of them; a call has one for each 64 KiB
	Lost       uint64 // the ring buffer was full
	Unread     uint64 // memory could not be read
	Odd        uint64 // more bytes than a call can have
	Unused     uint64 // of a process that is not chosen any more
	Written    uint64 // the sink took
	SinkErrors uint64 // the sink did not take
	Bytes      uint64 // written
	Cut        uint64 // bytes of calls behind the first MiB, which is what is read of one
}
