// Package keys reads the TLS keys of chosen processes on this machine.
//
// A Tracker follows processes, attaches uprobes to the functions of Go's crypto/tls, OpenSSL and
// GnuTLS that they run, and passes each secret to a Sink as a line of RFC 9850. There is no table
// of the places of secrets in OpenSSL's and GnuTLS's objects: the place is found once for each
// build, by decrypting captured records. Only processes that a Selector chooses are read. The
// package changes nothing in a process and never stops one. It does not promise keys: it reports
// for each process whether a key decrypted a record, or why there is none.
package keys

import (
	"errors"
	"path"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Errors that a caller may need to distinguish.
var (
	ErrUnsupported = errors.New("keys can be read only on Linux with amd64 or arm64")
	ErrNobody      = errors.New("no process is chosen")
	ErrNamespace   = errors.New("not in the machine's own PID namespace: run with hostPID")
)

// Library is the library that made a key.
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
	Verified   bool // it opened a record before it was written; false means not tested
}

// Sink receives keys, from one goroutine.
type Sink interface {
	Key(Key) error
	// Flush is called when no key has followed for a while, and at least each second while
	// keys arrive.
	Flush() error
}

// Captured provides a recorder's captured bytes of connections. Several goroutines call it.
type Captured interface {
	// Records returns what both sides of a connection sent from the first byte on, up to the
	// first gap or some tens of kilobytes. It returns false if no ClientHello with this random
	// was captured. The caller must not change the bytes.
	Records(clientRandom [32]byte) (client, server []byte, ok bool)
	// Keyed records that a key of a connection was written.
	Keyed(clientRandom [32]byte)
	// Keyless returns the handshakes that have no key although their connections ended before
	// a time (UTC, ns), each once.
	Keyless(before int64) []Handshake
}

// Selector selects the processes whose keys are read. The zero value chooses none. A process is
// chosen if at least one rule matches it.
type Selector struct {
	// PIDs chooses processes and their descendants, even if these run another program.
	PIDs []uint32
	// Cgroups chooses processes in these control groups and below, in the form of /proc/PID/cgroup
	// entries: "/kubepods.slice/kubepods-pod1.slice".
	Cgroups []string
	// Executables chooses programs by pattern (path.Match), which is compared with the whole
	// path if it contains a slash, and with the file name otherwise.
	Executables []string
	// Workload chooses processes by their control group, if its workload is known. It is
	// called again every few seconds, and must answer from memory.
	Workload func(cgroup string) bool
	// Never excludes processes, regardless of the rule that chose them. It is called like Workload.
	Never func(pid uint32, executable, cgroup string) bool
}

// Empty reports whether no process can be chosen.
func (s Selector) Empty() bool {
	return len(s.PIDs) == 0 && len(s.Cgroups) == 0 && len(s.Executables) == 0 && s.Workload == nil
}

// byGroup reports whether control groups are used to choose.
func (s Selector) byGroup() bool { return len(s.Cgroups) > 0 || s.Workload != nil }

// Check reports the first invalid pattern or path.
func (s Selector) Check() error {
	for _, p := range s.Executables {
		if _, err := path.Match(p, ""); err != nil {
			return &SelectorError{p, err}
		}
	}
	for _, c := range s.Cgroups {
		if !strings.HasPrefix(c, "/") {
			return &SelectorError{c, errors.New("the path of a control group must begin with /")}
		}
	}
	return nil
}

// SelectorError is an invalid rule.
type SelectorError struct {
	Rule string
	Err  error
}

// Error implements error.
func (e *SelectorError) Error() string { return "choosing " + e.Rule + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SelectorError) Unwrap() error { return e.Err }

// matches ignores PIDs: the caller handles them, because it knows the parents.
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

// never reports whether a process must not be read.
func (s Selector) never(pid uint32, exe, cgroup string) bool {
	return s.Never != nil && s.Never(pid, exe, cgroup)
}

// State is how far the keys of a process were read.
type State uint8

// States.
const (
	None       State = iota // no key; Reason says why
	Unverified              // keys were read, but none has opened a record yet
	Verified                // one of its keys opened a record
	Plaintext               // what it passed to or received from a TLS library was read
)

func (s State) String() string {
	return [...]string{"none", "unverified", "verified", "plaintext"}[s&3]
}

// Reason is why a process has no key.
type Reason string

// Reasons. A Process has the first reason that applies now; a Missing the one at its handshake.
const (
	NoTLS       Reason = "no_tls"       // runs no known TLS library
	NoHandshake Reason = "no_handshake" // runs one, but its functions saw no handshake (of the connection)
	NoSymbol    Reason = "no_symbol"    // the functions were not found in its file
	NoLayout    Reason = "no_layout"    // the place of the library's secrets is not known (yet)
	NoCapture   Reason = "no_capture"   // nothing was captured to find that place with
	BadVersion  Reason = "unsupported"  // an unsupported library, version or kind of file
	Refused     Reason = "refused"      // the kernel refused the probe, or reading the program's file
	Gone        Reason = "gone"         // it ended before it was examined
	TooMany     Reason = "too_many"     // more files or processes than can be followed
	Waiting     Reason = "not_examined" // its files have not been examined yet
	Late        Reason = "late"         // the handshake began before the probe was attached
	Lost        Reason = "lost"         // keys or processes were lost meanwhile, because the buffer was full or memory not readable
	Unwritten   Reason = "not_written"  // the key was read, but its file could not be written
	Unfinished  Reason = "unfinished"   // the server did not answer: there are no keys
	NotChosen   Reason = "not_chosen"   // no rule chooses the process
	Forbidden   Reason = "forbidden"    // the policy forbids to read the process
	NoOwner     Reason = "no_owner"     // the process is not known
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
	Keys       uint64 // passed to the sink; for plaintext, the number of pieces
}

// Missing is a captured handshake without a key. There is one for each chosen process that took
// part in it, or a single one if none is chosen.
type Missing struct {
	Process      // Reason and Detail are those of this handshake
	ClientRandom [32]byte
	Time         int64  // of the ClientHello, UTC, ns
	Server       bool   // the process is the server
	Limited      uint64 // handshakes before this one that are not listed, because there were too many at once
}

// Counters balance: Seen = reported + Lost + Unread + Odd. What was reported became a new key,
// a key that was already written, or Unused.
type Counters struct {
	Seen       uint64 // keys and objects that probes saw in chosen processes
	Lost       uint64 // not reported: the ring buffer was full
	Unread     uint64 // not reported: memory could not be read
	Odd        uint64 // not reported: invalid arguments of the function
	Unused     uint64 // reported, but without a key: no longer chosen, no layout, or no connection
	Repeated   uint64 // keys that were already written
	Written    uint64 // keys the sink accepted
	SinkErrors uint64 // keys the sink refused
	Processes  uint64 // lost events about starts and ends of processes
}

// Options of a Tracker.
type Options struct {
	Select   Selector
	Sink     Sink
	Captured Captured // nil: only Go's keys, none of them verified
	// Plain receives plaintext instead of keys: a Tracker reads one or the other, and Sink,
	// Captured and Layouts are then not used.
	Plain PlainSink
	// Layouts is a folder for the layouts that were found; if empty, they are kept in memory.
	Layouts   string
	RingBytes uint32                  // a power of two; 0 means 4 MiB, for plaintext 16 MiB
	UTC       func(mono uint64) int64 // converts CLOCK_MONOTONIC to UTC, ns; nil reads the clocks
}
