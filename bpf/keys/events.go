package keys

import (
	"bytes"
	"encoding/binary"
)

// Kind is the kind of an event.
type Kind uint32

// Kinds of events.
const (
	Exec   Kind = iota + 1 // a process executed another program
	Fork                   // a chosen process created another one, which is also chosen
	Exit                   // a chosen process ended
	GoKey                  // Go's crypto/tls made a secret
	Fields                 // fields of a connection's object
	Dump                   // all of a connection's object
)

// When an object was read.
const (
	AtHandshake = 1 // when its handshake had completed
	AtFree      = 2 // before it is freed
)

// Limits of what the programs read.
const (
	MaxFields  = 8
	MaxSecret  = 64
	MaxDump    = 8192
	MaxTargets = 1024
	MaxGroups  = 65536
	HopSize    = 224 // bytes read at a pointer's target
	NoHop      = 0xffffffff
)

const (
	headSize    = 24
	randomSize  = 32
	maxLabel    = 40
	maxHops     = 128
	processSize = headSize + 16 + 256
	goSize      = headSize + 24 + maxLabel + randomSize + MaxSecret
	fieldsSize  = headSize + 24 + MaxFields*MaxSecret
	hopSize     = 8 + HopSize
	dumpSize    = headSize + 24 + MaxDump + maxHops*hopSize
)

// Event is one record of the ring buffer. Its slices point into the record.
type Event struct {
	Kind   Kind
	Time   uint64 // CLOCK_MONOTONIC, ns
	TGID   uint32
	TID    uint32
	Target uint32 // number with which the probe was attached

	Parent uint32 // of Exec and Fork
	Cgroup uint64 // of Exec and Fork: the current task's
	File   string // of Exec: as requested

	Label   string // of GoKey; empty if it could not be read
	LabelAt uint64 // address in the process
	LabelN  uint32
	Random  []byte
	Secret  []byte

	Object uint64 // of Fields and Dump
	At     uint32
	Plan   uint32            // of Fields: number of the plan
	Field  [MaxFields][]byte // of Fields: MaxSecret bytes; nil if not read
	Data   []byte            // of Dump
	Hops   []Hop             // of Dump: targets of pointers in it
}

// Hop is the target of a pointer in an object.
type Hop struct {
	At   uint32 // offset of the pointer in the object
	Data []byte // HopSize bytes
}

// Decode parses a record. It returns false for an invalid one.
func (e *Event) Decode(b []byte) bool {
	*e = Event{}
	if len(b) < headSize {
		return false
	}
	ne := binary.NativeEndian
	e.Time, e.Kind = ne.Uint64(b), Kind(ne.Uint32(b[8:]))
	e.TGID, e.TID, e.Target = ne.Uint32(b[12:]), ne.Uint32(b[16:]), ne.Uint32(b[20:])
	h := b[headSize:]
	switch {
	case e.Kind >= Exec && e.Kind <= Exit && len(b) >= processSize:
		e.Cgroup, e.Parent = ne.Uint64(h), ne.Uint32(h[8:])
		file := h[16 : 16+256]
		e.File = string(file[:min(int(ne.Uint32(h[12:])), len(file))])
		return true
	case e.Kind == GoKey && len(b) >= goSize:
		e.LabelAt, e.LabelN = ne.Uint64(h), ne.Uint32(h[8:])
		n, read, size := int(e.LabelN), ne.Uint32(h[12:]), int(ne.Uint32(h[16:]))
		if n > maxLabel || size > MaxSecret {
			return false
		}
		h = h[24:]
		if read != 0 {
			e.Label = string(bytes.TrimRight(h[:n], "\x00"))
		}
		e.Random, e.Secret = h[maxLabel:maxLabel+randomSize], h[maxLabel+randomSize:][:size]
		return true
	case e.Kind == Fields && len(b) >= fieldsSize:
		e.Object, e.At, e.Plan = ne.Uint64(h), ne.Uint32(h[8:]), ne.Uint32(h[16:])
		read := ne.Uint32(h[12:])
		for i := range e.Field {
			if read&(1<<i) != 0 {
				e.Field[i] = h[24+i*MaxSecret:][:MaxSecret]
			}
		}
		return true
	case e.Kind == Dump && len(b) >= dumpSize:
		e.Object, e.At = ne.Uint64(h), ne.Uint32(h[8:])
		size := ne.Uint32(h[12:])
		if size > MaxDump {
			return false
		}
		e.Data = h[24 : 24+size]
		hops := h[24+MaxDump:]
		for range min(ne.Uint32(h[16:]), maxHops) {
			e.Hops = append(e.Hops, Hop{ne.Uint32(hops), hops[8:hopSize]})
			hops = hops[hopSize:]
		}
		return true
	}
	return false
}

// Counters are the counters of the programs.
type Counters struct {
	Seen        uint64 // keys and objects of chosen processes that a probe saw
	Lost        uint64 // of these, not reported because the ring buffer was full
	Unread      uint64 // of these, not reported because the memory could not be read
	Odd         uint64 // of these, not reported because the function's arguments are invalid
	LostProcess uint64 // starts and ends of processes that were not reported
}

// Plan says how objects at a target are read.
type Plan struct {
	Mode    Mode
	Success int32  // return value of the handshake function on completion
	Number  uint32 // reported with each event
	Fields  []Field
	Other   bool // read the whole object if the second field is empty
}

// Mode says how much of an object is read.
type Mode uint32

// Modes.
const (
	Off Mode = iota
	Whole
	Only // Plan.Fields
)

// Field is the place of MaxSecret bytes of an object.
type Field struct {
	Hop uint32 // offset of a pointer that is followed first, or NoHop
	At  uint32
}
