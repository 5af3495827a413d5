// Package keys reads the TLS keys of chosen processes on this machine.
//
// A Tracker follows processes, puts uprobes on the functions of Go's crypto/tls, OpenSSL
// and GnuTLS that they run, and gives each secret to a Sink as a line of RFC 9850. Where a
// secret lies in an object of OpenSSL or GnuTLS no table says: it is found by opening
// captured records, once for each build. Nobody is chosen unless a Selector does; the
// package changes nothing in a process, never stops one, and promises no key: of each
// process it says whether a key of it opened a record, and else why not.
package keys

import (
	"errors"
	"path"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Errors that a caller may want to tell apart.
var (
	ErrUnsupported = errors.New("keys are read on Linux with amd64 or arm64 only")
	ErrNobody      = errors.New("no process is chosen")
	ErrNamespace   = errors.New("not in the machine's own PID namespace (hostPID)")
)

// Library is what made a key.
type Library uint8

// Libraries.
const (
	Unknown Library = iota
	Go              // crypto/tls, also under quic-go
	OpenSSL
	GnuTLS
)

func (l Library) String() string {
	return [...]string{"unknown", "go", "openssl", "gnutls"}[l&3]
}

// Key is one secret of one connection.
type Key struct {
	secrets.Secret
	Time       int64 // UTC, ns: when it was read
	PID, TID   uint32
	Executable string
	Library    Library
	Verified   bool // it opened a record before it was written; false says nothing
}

// Sink takes keys, from one goroutine.
type Sink interface {
	Key(Key) error
	// Flush is called when keys came and none came for a while, and at least each second
	// while keys come.
	Flush() error
}

// Captured is what a recorder has captured of connections; it is asked from several
// goroutines.
type Captured interface {
	// Records gives what both sides of a connection sent from its first byte on, as far as
	// it was captured without a hole, some tens of kilobytes at most. It answers false
	// where no ClientHello with this random was captured. The caller does not change it.
	Records(clientRandom [32]byte) (client, server []byte, ok bool)
}

// Selector says whose keys are read. Its zero value chooses nobody. A process is chosen if
// one of the rules is true of it.
type Selector struct {
	// PIDs chooses processes and what they fork, also when it runs another program.
	PIDs []uint32
	// Cgroups chooses processes in these control groups and below, as /proc/PID/cgroup
	// has them: "/kubepods.slice/kubepods-pod1.slice".
	Cgroups []string
	// Executables chooses programs by pattern (path.Match), of the whole path where it
	// has a slash, else of its last part.
	Executables []string
	// Workload chooses processes by their control group, where somebody knows who is in it.
	// It is asked again every few seconds, and has to answer from memory.
	Workload func(cgroup string) bool
	// Never takes processes out again, whatever chose them. It is asked as Workload is.
	Never func(pid uint32, executable, cgroup string) bool
}

// Empty tells that nobody is chosen.
func (s Selector) Empty() bool {
	return len(s.PIDs) == 0 && len(s.Cgroups) == 0 && len(s.Executables) == 0 && s.Workload == nil
}

// byGroup tells that control groups choose.
func (s Selector) byGroup() bool { return len(s.Cgroups) > 0 || s.Workload != nil }

// Check tells what is wrong with a pattern or a path.
func (s Selector) Check() error {
	for _, p := range s.Executables {
		if _, err := path.Match(p, ""); err != nil {
			return &SelectorError{p, err}
		}
	}
	for _, c := range s.Cgroups {
		if !strings.HasPrefix(c, "/") {
			return &SelectorError{c, errors.New("path of a control group, want one that begins with /")}
		}
	}
	return nil
}

// SelectorError is a rule that cannot be used.
type SelectorError struct {
	Rule string
	Err  error
}

// Error implements error.
func (e *SelectorError) Error() string { return "choosing " + e.Rule + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *SelectorError) Unwrap() error { return e.Err }

// matches leaves PIDs to the caller, who knows parents.
func (s Selector) matches(exe, cgroup string) bool {
	for _, p := range s.Executables {
		name := exe
		if !strings.Contains(p, "/") {
			name = path.Base(exe)
		}
		if ok, err := path.Match(p, name); ok && err == nil && exe != "" {
			return true
		}
	}
	for _, c := range s.Cgroups {
		c = strings.TrimRight(c, "/")
		if cgroup == c || strings.HasPrefix(cgroup, c+"/") {
			return true
		}
	}
	return s.Workload != nil && cgroup != "" && s.Workload(cgroup)
}

// never asks whether a process must not be read.
func (s Selector) never(pid uint32, exe, cgroup string) bool {
	return s.Never != nil && s.Never(pid, exe, cgroup)
}

// State is what became of a process's keys.
type State uint8

// States.
const (
	None       State = iota // no key; Reason says why
	Unverified              // keys were read, and none opened a record so far
	Verified                // a key of it opened a record
	Plaintext               // what it gave to a TLS library, or got from one, was read
)

func (s State) String() string {
	return [...]string{"none", "unverified", "verified", "plaintext"}[s&3]
}

// Reason is why a process has no key.
type Reason string

// Reasons.
const (
	NoTLS       Reason = "no_tls"       // runs no TLS library that is known
	NoHandshake Reason = "no_handshake" // runs one, and no handshake was seen yet
	NoSymbol    Reason = "no_symbol"    // the functions were not found in its file
	NoLayout    Reason = "no_layout"    // where the library keeps secrets is not known (yet)
	NoCapture   Reason = "no_capture"   // nothing is captured to find that out with
	BadVersion  Reason = "unsupported"  // a version or kind of file that is not read
	Refused     Reason = "refused"      // the kernel refused the probe
	Gone        Reason = "gone"         // it ended before it was looked at
	TooMany     Reason = "too_many"     // more files or processes than are followed
)

// Process is the state of one chosen process.
type Process struct {
	PID        uint32
	Executable string
	Cgroup     string
	Library    Library
	State      State
	Reason     Reason // of None
	Detail     string // text for people
	Keys       uint64 // given to the sink; of plaintext the pieces
}

// Counters balance: Seen = told + Lost + Unread + Odd, and what was told became keys, keys
// that were there already, or Unused.
type Counters struct {
	Seen       uint64 // keys and objects that probes met in chosen processes
	Lost       uint64 // not told: the ring buffer was full
	Unread     uint64 // not told: memory could not be read
	Odd        uint64 // not told: arguments that are none of the function
	Unused     uint64 // told, and no key came out: not chosen any more, no layout, no connection in it
	Repeated   uint64 // keys that had been written already
	Written    uint64 // keys the sink took
	SinkErrors uint64 // keys the sink did not take
	Processes  uint64 // beginnings and ends of processes that were lost
}

// Options of a Tracker.
type Options struct {
	Select   Selector
	Sink     Sink
	Captured Captured // nil: keys of Go only, none of them verified
	// Plain takes plaintext in the place of keys: a Tracker reads one of them, and Sink,
	// Captured and Layouts are not used then.
	Plain PlainSink
	// Layouts is a folder where found layouts are kept; empty keeps them in memory.
	Layouts   string
	RingBytes uint32                  // a power of two; 0 means 4 MiB, for plaintext 16 MiB
	UTC       func(mono uint64) int64 // what CLOCK_MONOTONIC is in UTC, ns; nil reads the clocks
}
