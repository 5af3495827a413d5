package bpf

import "encoding/binary"

// PacketHeader is the number of bytes before the packet's own bytes in the ring buffer.
const PacketHeader = 104

// Largest is the largest number of bytes of one packet in the ring buffer.
const Largest = 65464 - PacketHeader

// Kind is how the owner of a packet is known. docs/format/owners.md describes how reliable each kind is;
// workload.KnowledgeOf has the names.
type Kind uint8

// Kinds of knowledge, the most reliable first after None.
const (
	None     Kind = iota
	Writer        // the current task held the socket when the packet left
	LastUser      // the task that last wrote, read or connected
	Acceptor      // the task that accepted the connection
	Creator       // the task that made the socket
	Listener      // owner of the listener that the socket came from
	Holder        // the only process that had it open when recording began
	Shared        // one of several that had it open when recording began
)

// Packet describes a packet, as reported by the programs.
type Packet struct {
	Time      uint64 // CLOCK_MONOTONIC, ns
	Cookie    uint64 // of the socket
	Cgroup    uint64 // of the socket
	Netns     uint64 // cookie of the socket's network namespace; 0 if unknown
	Len       uint32 // true length
	Cap       uint32 // bytes that follow
	IfIndex   uint32
	TGID, TID uint32 // owner
	Lost      uint32 // packets of the cgroup lost so far, modulo 2^32
	GSOSize   uint16
	GSOSegs   uint16
	Protocol  uint16 // EtherType
	Outgoing  bool
	PktType   uint8 // as in the Linux cooked header
	Kind      Kind
	Transport uint8 // protocol of the socket
	Ends      Ends  // the socket's own, only of outgoing packets
}

// Decode parses a record of the ring buffer and returns the packet's bytes. It returns
// false for an invalid record.
func (p *Packet) Decode(b []byte) ([]byte, bool) {
	if len(b) < PacketHeader {
		return nil, false
	}
	h := b[:PacketHeader:PacketHeader]
	ne := binary.NativeEndian
	p.Time, p.Cookie, p.Cgroup, p.Netns = ne.Uint64(h), ne.Uint64(h[8:]), ne.Uint64(h[16:]), ne.Uint64(h[24:])
	p.Len, p.Cap, p.IfIndex = ne.Uint32(h[32:]), ne.Uint32(h[36:]), ne.Uint32(h[40:])
	p.TGID, p.TID, p.Lost = ne.Uint32(h[44:]), ne.Uint32(h[48:]), ne.Uint32(h[52:])
	p.GSOSize, p.GSOSegs, p.Protocol = ne.Uint16(h[56:]), ne.Uint16(h[58:]), ne.Uint16(h[60:])
	p.Outgoing, p.PktType, p.Kind, p.Transport = h[62] != 0, h[63], Kind(h[64]), h[65]
	p.Ends = Ends{Version: h[66], LocalPort: ne.Uint16(h[68:]), RemotePort: ne.Uint16(h[70:]), Local: [16]byte(h[72:]), Remote: [16]byte(h[88:])}
	if uint64(p.Cap) > uint64(len(b)-PacketHeader) {
		return nil, false
	}
	return b[PacketHeader : PacketHeader+int(p.Cap)], true
}

// Ends are the two ends of a socket. Local is zero if the socket has no local address.
type Ends struct {
	Version               uint8 // 4 or 6; 0 if unknown
	LocalPort, RemotePort uint16
	Local, Remote         [16]byte // IPv4 in the first four bytes
}

// Counters of one direction. Seen = Excluded + Filtered + Forbidden + Delivered + Failed +
// Unread.
type Counters struct {
	Seen      uint64
	Excluded  uint64 // the recorder's own
	Filtered  uint64 // refused by the filter
	Delivered uint64
	Failed    uint64 // lost: no room in the ring buffer
	Unread    uint64 // lost: the kernel could not read the packet's bytes
	Truncated uint64 // of those delivered, shortened by the snap length
	Capped    uint64 // of those delivered, shortened to the longest record
	Forbidden uint64 // refused by a never-rule
}

// Running converts totals that only grow, modulo 2^32 and not quite in order, to increments.
// Its zero value starts at 0.
type Running uint64

// New returns by how much a total exceeds the previous ones. The sum of all its results is the
// largest total.
func (r *Running) New(total uint32) uint32 {
	ahead := int32(total - uint32(*r))
	if ahead <= 0 {
		return 0
	}
	*r += Running(ahead)
	return uint32(ahead)
}

// Rest returns by how much the final total exceeds the previous ones.
func (r *Running) Rest(total uint64) uint64 {
	return total - min(total, uint64(*r))
}

// Add sums counters.
func (c *Counters) Add(o Counters) {
	c.Seen += o.Seen
	c.Excluded += o.Excluded
	c.Filtered += o.Filtered
	c.Delivered += o.Delivered
	c.Failed += o.Failed
	c.Unread += o.Unread
	c.Truncated += o.Truncated
	c.Capped += o.Capped
	c.Forbidden += o.Forbidden
}

// Minus returns how much counters are ahead of earlier ones.
func (c *Counters) Minus(o *Counters) Counters {
	return Counters{Seen: c.Seen - o.Seen, Excluded: c.Excluded - o.Excluded, Filtered: c.Filtered - o.Filtered, Delivered: c.Delivered - o.Delivered,
		Failed: c.Failed - o.Failed, Unread: c.Unread - o.Unread, Truncated: c.Truncated - o.Truncated, Capped: c.Capped - o.Capped, Forbidden: c.Forbidden - o.Forbidden}
}

// Balanced reports whether every packet seen is accounted for.
func (c *Counters) Balanced() bool {
	return c.Seen == c.Excluded+c.Filtered+c.Forbidden+c.Delivered+c.Failed+c.Unread
}

// EventKind is the kind of an event.
type EventKind uint32

// Kinds of events.
const (
	EventExec EventKind = iota + 1
	EventFork
	EventExit
	EventOOM
	EventCgroupMake
	EventCgroupRemove
	EventState
	EventRetransmit
	EventResetSent
	EventResetReceived
	EventDrop
	EventMove  // to another control group
	EventKinds // number of kinds, including 0
)

var eventNames = [...]string{"", "exec", "fork", "exit", "oom_kill", "cgroup_make", "cgroup_remove", "tcp_state", "tcp_retransmit", "tcp_reset_sent", "tcp_reset_received", "packet_drop", "move"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// Event is an event of the machine. Fields that its kind does not have are zero.
type Event struct {
	Kind     EventKind
	Time     uint64 // CLOCK_MONOTONIC, ns
	Cgroup   uint64
	TGID     uint32
	TID      uint32
	Limited  uint32 // events of the kind omitted so far, modulo 2^32
	Start    uint64 // of the process, CLOCK_BOOTTIME, ns
	Parent   uint32
	UID      uint32
	Code     int32  // exit status as returned by wait
	Comm     string // process name
	File     string // executed, as it was called
	Exe      string // path of the file that runs, in its own mount namespace; "" if it is too long
	Cwd      string // folder in which a script was called by a relative path
	Script   bool   // File is one, which Exe runs
	Args     []byte // with zero bytes between; aliases the record
	ArgsLen  uint32 // true length
	Path     string // of a cgroup
	Cookie   uint64
	Local    [16]byte // IPv4 in the first four bytes
	Remote   [16]byte
	Ports    [2]uint16 // local, remote
	Family   uint16
	Protocol uint16
	Before   uint32 // TCP state, or reason
	After    uint32
	Len      uint32
}

// Lengths of the records.
const (
	eventSize   = 32
	processSize = eventSize + 40
	execFile    = 256
	execArgs    = 1024
	execPath    = 512
	execSize    = processSize + execFile + execArgs + 8 + 2*execPath + 8
	cgroupPath  = 512
	netSize     = eventSize + 64

	countersSize = 72
)

// Decode parses a record of the ring buffer of events.
func (e *Event) Decode(b []byte) bool {
	if len(b) < eventSize {
		return false
	}
	ne := binary.NativeEndian
	*e = Event{
		Time: ne.Uint64(b), Cgroup: ne.Uint64(b[8:]), Kind: EventKind(ne.Uint32(b[16:])),
		TGID: ne.Uint32(b[20:]), TID: ne.Uint32(b[24:]), Limited: ne.Uint32(b[28:]),
	}
	switch e.Kind {
	case EventExec, EventFork, EventExit, EventOOM, EventMove:
		return e.process(b)
	case EventCgroupMake, EventCgroupRemove:
		if len(b) < eventSize+cgroupPath {
			return false
		}
		e.Path = text(b[eventSize : eventSize+cgroupPath])
		return true
	case EventState, EventRetransmit, EventResetSent, EventResetReceived, EventDrop:
		if len(b) < netSize {
			return false
		}
		n := b[eventSize:]
		e.Cookie = ne.Uint64(n)
		copy(e.Local[:], n[8:])
		copy(e.Remote[:], n[24:])
		e.Ports = [2]uint16{ne.Uint16(n[40:]), ne.Uint16(n[42:])}
		e.Family, e.Protocol = ne.Uint16(n[44:]), ne.Uint16(n[46:])
		e.Before, e.After, e.Len = ne.Uint32(n[48:]), ne.Uint32(n[52:]), ne.Uint32(n[56:])
		return true
	}
	return false
}

func (e *Event) process(b []byte) bool {
	if len(b) < processSize {
		return false
	}
	ne := binary.NativeEndian
	p := b[eventSize:]
	e.Start, e.Parent, e.UID = ne.Uint64(p), ne.Uint32(p[8:]), ne.Uint32(p[12:])
	e.Code, e.ArgsLen = int32(ne.Uint32(p[16:])), ne.Uint32(p[20:])
	e.Comm = text(p[24:40])
	if e.Kind != EventExec {
		return true
	}
	if len(b) < execSize {
		return false
	}
	x := b[processSize:]
	e.File = text(x[:execFile])
	e.Args = x[execFile : execFile+int(min(e.ArgsLen, execArgs))]
	x = x[execFile+execArgs:]
	e.Exe = reversed(x[8:8+execPath], ne.Uint32(x))
	e.Cwd = reversed(x[8+execPath:8+2*execPath], ne.Uint32(x[4:]))
	e.Script = ne.Uint32(x[8+2*execPath:]) != 0
	return true
}

// reversed is a path whose last component comes first.
func reversed(b []byte, n uint32) string {
	var path string
	for b = b[:min(n, uint32(len(b)))]; len(b) > 0; {
		name := text(b)
		path = "/" + name + path
		b = b[min(len(name)+1, len(b)):]
	}
	return path
}

// text is a string up to its zero byte.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
