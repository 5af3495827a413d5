// Package recorder records the packets of this machine's sockets, with their owners, from
// the kernel into a ring or a file.
//
// Recording changes and rejects no packet, and costs the traffic only processor time. It never
// names an owner that it does not know. It accounts for every packet that it saw: seen = filtered +
// delivered + dropped. It does not use Kubernetes; a control group's path or a workload.Source
// identifies its workload.
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

// Capture selects the packets to record.
type Capture string

// Captures.
const (
	Sockets    Capture = "sockets"    // packets of this machine's sockets, with owners
	Interfaces Capture = "interfaces" // frames of network interfaces, without owners
	Both       Capture = "both"       // both, in two series of a ring

	// Auto is Sockets, or Interfaces if this kernel or the process's rights do not allow
	// Sockets; Started has the reason. It fails if an option needs Sockets.
	Auto Capture = "auto"
)

// DefaultPin is the Pin of the recorders of cluster nodes.
const DefaultPin = "/sys/fs/bpf/pcapsule"

// MinSegment is the smallest segment size that users may set: a ring of smaller segments consists mostly of overhead.
const MinSegment = 64 << 10

// Options of a recording. Set exactly one of File, Stream and Ring as the output.
type Options struct {
	Capture Capture // "" means Sockets

	File   string        // one capture file, which must not exist yet
	Stream io.Writer     // a live stream; each packet is written within milliseconds
	Ring   *ring.Options // a ring of segments; Node, BootID and Recorder are set by Run

	Cgroup      string         // control group whose sockets are recorded, with all groups below it; "" is the root
	Interface   []string       // for Interfaces; none means all
	Filter      string         // in the syntax of pcap-filter(7)
	Policy      *policy.Policy // whose packets are wanted or forbidden; nil: all are wanted
	Snap        uint32         // bytes of a packet to keep; 0 means all
	HeadersOnly bool           // keep network and transport headers
	NoOwners    bool           // do not look up the owners of sockets
	NoEvents    bool           // do not record what processes and the network stack do
	Comments    bool           // write the owner as a comment on each packet
	Sight       sight.Sight    // "": Once for a stream, Both for a file or ring
	RingBuffer  uint32         // bytes, a power of two; 0 means 32 MiB
	Pin         string         // folder of a BPF file system: after the end, the kernel keeps taking packets for the next recorder of the ring; "": it does not

	Node    string          // name of this node; "" is the host name
	Program string          // name and version of the program
	Count   uint64          // number of packets after which to end; 0 does not end
	Source  workload.Source // identifies workloads; nil: only this machine's runtimes and control groups do
	NoNames bool            // do not ask container runtimes for names
	Keys    *Keys           // whose TLS keys are read; nil reads none

	// Mask masks the secrets in the command line of a process; it may change args. Nil: no argument is recorded.
	Mask func(args []string) []string

	OnStart func(Started)
	OnError func(error) // receives errors that do not end the recording
	Every   time.Duration
	OnStats func(Stats) // receives the statistics at each interval of Every and at the end

	writer *ring.Writer       // shared by two recordings
	opened func(*ring.Writer) // gets the ring that this recording opened for both; the caller closes it
	root   string             // of the file system where runtimes keep names; "" means /
}

// Started describes a recording, once packets arrive.
type Started struct {
	Where     string         // what it is attached to
	Filter    string         // where the filter is applied: kernel, recorder, or none
	Only      string         // whose packets are wanted; "" means all
	Sight     sight.Sight    // whether packets between two local sockets are recorded once
	Policy    string         // which packets are forbidden; "" forbids none
	Own       string         // how the recorder's own traffic is excluded
	Ring      string         // id of the ring, or of this recording
	Sockets   uint64         // found that were opened before the recording
	Degraded  []string       // what the recording lacks on this kernel, with the reasons
	Interface map[int]string // for Interfaces: names by index
	Resumed   *ring.Resumed  // what the kernel did while no recorder ran; nil if that is not known
	Instead   error          // with Auto: why interfaces are recorded rather than sockets
}

// Stats is the state of a recording. Seen = Filtered + Delivered + Dropped, both after the
// end and before it for the packets read so far.
type Stats struct {
	ring.Counters
	Bytes      uint64 // captured
	InKernel   uint64 // packets waiting in the ring buffer or to be ordered
	Late       uint64 // packets too late to be ordered by time
	Interfaces int
	Processes  int
	Events     uint64
	EventsLost uint64
	Clock      ring.Clock
	CPUs       []CPU  // by number; of Sockets
	Parts      []Part // by interface, at most 1000
	Keys       *KeyStats
	Containers *ContainerStats // nil if runtimes are not used
}

// Unwritten counts the packets that were lost because they could not be written.
func (s *Stats) Unwritten() (n uint64) {
	for _, d := range s.Drops {
		if d.Reason == reasonWriter {
			n += d.Packets
		}
	}
	return n
}

// ContainerStats counts containers with and without names.
type ContainerStats struct {
	Named    int
	Nameless int            // no runtime has named them yet
	Runtimes map[string]int // named, by runtime
}

// Reasons why packets are dropped.
const (
	reasonBuffer      = "ring buffer full"
	reasonUnread      = "kernel could not read it"
	reasonWriter      = "output"
	reasonUnaccounted = "unaccounted for after the kernel delivered it"
)

// Errors that a caller may want to distinguish.
var (
	ErrPlatform = errors.New("recording needs Linux")

	// ErrStreamKeys means that keys were requested for a stream. Keys arrive after the packets that
	// they decrypt, but readers of a capture need them before.
	ErrStreamKeys = errors.New("keys cannot be written to a stream: record to a file or a ring")

	// ErrPinned means that a recorder still uses the programs to remove.
	ErrPinned = errors.New("a recorder uses it")

	// ErrPolicy means that this recording cannot enforce the policy. The recording does not begin
	// then.
	ErrPolicy = errors.New("the policy cannot be held")
)

// BalanceError means that counters do not account for every packet.
type BalanceError struct{ Counters ring.Counters }

func (e *BalanceError) Error() string {
	c := &e.Counters
	return fmt.Sprintf("counters do not balance: seen %d, filtered %d, delivered %d, dropped %d", c.Seen, c.Filtered, c.Delivered, c.Dropped)
}

// Known reports whether c is one of the captures above.
func (c Capture) Known() bool {
	return c == Sockets || c == Interfaces || c == Both || c == Auto
}

func (o *Options) setDefaults() error {
	if o.Capture == "" {
		o.Capture = Sockets
	}
	switch {
	case !o.Capture.Known():
		return fmt.Errorf("capture %q: use sockets, interfaces, both or auto", o.Capture)
	case o.Capture == Both && o.Ring == nil:
		return errors.New("capture both: record to a ring, because a file has one link type")
	}
	outputs := 0
	for _, given := range []bool{o.File != "", o.Stream != nil, o.Ring != nil} {
		if given {
			outputs++
		}
	}
	if outputs != 1 {
		return fmt.Errorf("%d outputs, set one file, stream or ring", outputs)
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
	errNoNames   = fmt.Errorf("%w: namespaces, workloads and labels are not known here", ErrPolicy)
	errAgesRing  = fmt.Errorf("%w: only a ring has a retention time for each namespace", ErrPolicy)
	errNoOwners  = fmt.Errorf("%w: rules about processes need owners", ErrPolicy)
	errFrames    = fmt.Errorf("%w: frames of interfaces have no process, control group or namespace: record sockets only", ErrPolicy)
	errAddresses = fmt.Errorf("%w: frames of interfaces have only addresses, whose owners are not known here", ErrPolicy)
)

// checkPolicy rejects a policy that this kind of recording cannot apply.
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
