// Package recorder brings packets of this machine's sockets, with their owners, from the
// kernel into a ring or a file.
//
// It promises that what it records costs the traffic nothing but time: nothing is changed,
// delayed or refused. It never rewrites a packet, never names an owner it does not know,
// and accounts for every packet it saw: seen = filtered + delivered + dropped. It knows no
// Kubernetes; who is behind a control group is told by its path, or by a workload.Source.
package recorder

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Capture says which packets are recorded.
type Capture string

// Captures.
const (
	Sockets    Capture = "sockets"    // packets of this machine's sockets, with owners
	Interfaces Capture = "interfaces" // frames of network interfaces, without owners
	Both       Capture = "both"       // both, in two series of a ring

	// Auto is Sockets, and Interfaces where this kernel or the process's rights do not allow
	// it; Started says so. It is not taken where the options ask for what only sockets tell.
	Auto Capture = "auto"
)

// DefaultPin is the Pin of recorders of nodes.
const DefaultPin = "/sys/fs/bpf/pcapsule"

// MinSegment is the smallest segment that people may ask for: a ring of smaller ones is
// mostly names.
const MinSegment = 64 << 10

// Options of a recording. Exactly one of File, Stream and Ring is where packets go.
type Options struct {
	Capture Capture // "" means Sockets

	File   string        // one capture file, which must not be there yet
	Stream io.Writer     // a live stream; each packet is out within milliseconds of its turn
	Ring   *ring.Options // a ring of segments; Node, BootID and Recorder may be left out

	Cgroup      string         // control group whose sockets are recorded, with all below; "" is the root
	Interface   []string       // for Interfaces; none means all
	Filter      string         // in the language of pcap-filter(7)
	Policy      *policy.Policy // whose packets are wanted, and which never; nil: all
	Snap        uint32         // bytes of a packet to keep; 0 means all
	HeadersOnly bool           // keep network and transport headers
	NoOwners    bool           // do not find out whose sockets are
	NoEvents    bool           // do not record what processes and the network stack do
	Comments    bool           // write the owner as a comment on each packet
	Sight       sight.Sight    // "": once in a stream, both in a file or ring
	RingBuffer  uint32         // bytes, a power of two; 0 means 32 MiB
	Pin         string         // folder of a BPF file system: packets go on to be taken in the kernel after the end, for the next recorder of the ring; "": they do not

	Node    string          // name of this node; "" is the host's name
	Program string          // name and version of the program
	Count   uint64          // end after so many packets; 0 does not end
	Source  workload.Source // who workloads are; nil where only this machine's runtimes and control groups tell
	NoNames bool            // do not ask container runtimes for names
	Keys    *Keys           // whose TLS keys are read; nil reads none

	OnStart func(Started)
	OnError func(error) // is told of troubles that do not end the recording
	Every   time.Duration
	OnStats func(Stats) // is told how it stands, Every so often and at the end

	writer *ring.Writer // that two recordings share
	root   string       // of the file system in which runtimes keep names; "" means /
}

// Started says what a recording does, once packets arrive.
type Started struct {
	Where     string         // what it is attached to
	Filter    string         // where the filter is asked: kernel, recorder, or none
	Only      string         // whose packets are wanted; "" is everybody's
	Sight     sight.Sight    // whether packets between two sockets here are there once
	Policy    string         // which packets never; "" forbids none
	Own       string         // how the recorder's own traffic is left out
	Ring      string         // id of the ring, or of this recording
	Sockets   uint64         // found that are older than the recording
	Degraded  []string       // what the recording lacks on this kernel, with the reasons
	Interface map[int]string // for Interfaces: names by index
	Resumed   *ring.Resumed  // what the kernel did while no recorder ran; nil where that is not known
	Instead   error          // with Auto: why interfaces are recorded rather than sockets
}

// Stats is how a recording stands. Seen = Filtered + Delivered + Dropped, once it has ended
// and, as far as packets have been read, at any time before.
type Stats struct {
	ring.Counters
	Bytes      uint64 // captured
	InKernel   uint64 // packets that wait in the ring buffer or for their turn
	Late       uint64 // packets that came too late for the order of time
	Interfaces int
	Processes  int
	Events     uint64
	EventsLost uint64
	Clock      ring.Clock
	CPUs       []CPU  // by number; of Sockets
	Parts      []Part // by interface, at most 1000
	Keys       *KeyStats
	Containers *ContainerStats // nil where runtimes are not asked
}

// ContainerStats says which containers have names.
type ContainerStats struct {
	Named    int
	Nameless int            // no runtime told of them, yet
	Runtimes map[string]int // named, by runtime
}

// Reasons for which packets are dropped.
const (
	reasonBuffer = "ring buffer full"
	reasonUnread = "kernel could not read it"
	reasonWriter = "output"
	reasonAstray = "the kernel handed it over, and it went nowhere"
)

// Errors that a caller may want to tell apart.
var (
	ErrPlatform = errors.New("recording needs Linux")

	// ErrStreamKeys is for keys beside a stream: they come after the packets they open, and
	// readers of a capture want them before.
	ErrStreamKeys = errors.New("a stream has no place for keys: want a file or a ring")

	// ErrPinned means that a recorder uses what is to be removed.
	ErrPinned = errors.New("a recorder uses it")

	// ErrPolicy is for a policy that this recording cannot hold. It does not begin then.
	ErrPolicy = errors.New("the policy cannot be held")
)

// BalanceError means that counters do not account for every packet.
type BalanceError struct{ Counters ring.Counters }

func (e *BalanceError) Error() string {
	c := &e.Counters
	return fmt.Sprintf("counters do not balance: seen %d, filtered %d, delivered %d, dropped %d", c.Seen, c.Filtered, c.Delivered, c.Dropped)
}

// Known reports whether it is one of those above.
func (c Capture) Known() bool {
	return c == Sockets || c == Interfaces || c == Both || c == Auto
}

func (o *Options) setDefaults() error {
	if o.Capture == "" {
		o.Capture = Sockets
	}
	switch {
	case !o.Capture.Known():
		return fmt.Errorf("capture %q: want sockets, interfaces, both or auto", o.Capture)
	case o.Capture == Both && o.Ring == nil:
		return errors.New("capture both: want a ring, since a file has one link type")
	}
	outputs := 0
	for _, given := range []bool{o.File != "", o.Stream != nil, o.Ring != nil} {
		if given {
			outputs++
		}
	}
	if outputs != 1 {
		return fmt.Errorf("%d outputs, want one file, stream or ring", outputs)
	}
	if o.Sight == "" {
		o.Sight = sight.Both
		if o.Stream != nil {
			o.Sight = sight.Once
		}
	}
	if o.Keys != nil {
		if o.Stream != nil {
			return ErrStreamKeys
		}
		if err := o.Keys.check(); err != nil {
			return err
		}
	}
	if err := o.checkPolicy(); err != nil {
		return err
	}
	if o.OnStart == nil {
		o.OnStart = func(Started) {}
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.OnStats == nil {
		o.OnStats = func(Stats) {}
	}
	if o.Every <= 0 {
		o.Every = time.Second
	}
	return nil
}

var (
	errNoNames   = fmt.Errorf("%w: nobody here knows namespaces, workloads or labels", ErrPolicy)
	errAgesRing  = fmt.Errorf("%w: only a ring keeps namespaces for times of their own", ErrPolicy)
	errNoOwners  = fmt.Errorf("%w: rules about processes need owners", ErrPolicy)
	errFrames    = fmt.Errorf("%w: frames of interfaces tell no processes and control groups, and cannot be kept by namespace: want to record sockets only", ErrPolicy)
	errAddresses = fmt.Errorf("%w: frames of interfaces have addresses only, and their owners are unknown here", ErrPolicy)
)

// checkPolicy refuses what a recording of this kind cannot hold.
func (o *Options) checkPolicy() error {
	p := o.Policy
	if p == nil {
		return nil
	}
	j, err := policy.New(p)
	switch {
	case err != nil:
		return err
	case len(p.MaxAge) > 0 && o.Ring == nil:
		return errAgesRing
	case o.Capture == Sockets || o.Capture == Auto:
		if j != nil && j.Processes() && o.NoOwners {
			return errNoOwners
		}
	case p.NeedsSockets():
		return errFrames
	case j != nil && j.Owned() && o.Source == nil:
		return errAddresses
	}
	return nil
}
