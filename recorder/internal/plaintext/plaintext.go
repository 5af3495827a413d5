//go:build linux

// Package plaintext writes the data that processes pass to TLS libraries and receive from them as a
// capture of upper PDUs, docs/format/plaintext.md. A piece whose connection has unknown ends waits
// for a moment, because a later piece may reveal them.
package plaintext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

const (
	LinkType = 252       // LINKTYPE_WIRESHARK_UPPER_PDU
	SnapLen  = 128 << 10 // bytes of a packet, more than a piece with its tags

	maxSpeakers = 4096  // processes with their own interface
	maxTalks    = 65536 // connections whose protocol is remembered
)

// Options of a Writer.
type Options struct {
	Out     Out
	Flush   func()
	OnError func(error) // about the first error of Out
	// Hides reports whether the policy forbids a piece.
	Hides func(*keys.Plain) bool
	// EndsKnown reports whether the ends of a connection can become known later.
	EndsKnown  func() bool
	Source     workload.Source // of the names of processes; may be nil
	Node, Ring string
}

// Out is the part of a series that a Writer needs.
type Out interface {
	Interface(pcapng.Interface) (ring.InterfaceID, error)
	Append(*ring.Packet) error
}

// Writer implements keys.PlainSink. It is safe for concurrent use.
type Writer struct {
	o         Options
	forbidden atomic.Uint64
	failed    atomic.Uint64 // writes of pieces that had waited

	mu       sync.Mutex // guards the fields below; held while Out is called
	rest     *ring.InterfaceID
	talks    map[uint64]string // Wireshark's name for the protocol of each connection
	order    []uint64
	head     []byte
	reported bool

	waiting   map[uint64][]keys.Plain // pieces of connections with unknown ends, by connection
	settled   map[uint64]bool         // connections whose pieces do not wait
	waits     int                     // bytes
	waitsFrom time.Time

	speakers map[speaker]ring.InterfaceID

	list sync.Mutex // guards all; the ring reads it from its own goroutines
	all  []ring.InterfaceID
}

// speaker is a process that uses a TLS library.
type speaker struct {
	pid     uint32
	exe     string
	library keys.Library
}

// New returns a Writer.
func New(o Options) *Writer {
	return &Writer{o: o, speakers: map[speaker]ring.InterfaceID{}, talks: map[uint64]string{}, waiting: map[uint64][]keys.Plain{}, settled: map[uint64]bool{}}
}

// Forbidden counts the pieces that Options.Hides removed, and Failed those that had waited and
// then could not be written.
func (p *Writer) Forbidden() uint64 { return p.forbidden.Load() }

// Failed is described at Forbidden.
func (p *Writer) Failed() uint64 { return p.failed.Load() }

// Interfaces lists those that were declared, one for each process.
func (p *Writer) Interfaces() []ring.InterfaceID {
	p.list.Lock()
	defer p.list.Unlock()
	return slices.Clone(p.all)
}

// Flush implements keys.PlainSink.
func (p *Writer) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.o.Flush()
	return nil
}

func (p *Writer) trouble(err error) {
	if !p.reported {
		p.reported = true
		p.o.OnError(fmt.Errorf("writing plaintext: %w", err))
	}
}

// comment describes a piece in the fields that the format lacks.
type comment struct {
	Connection uint64 `json:"connection"`
	Ends       string `json:"ends"`
	Call       uint64 `json:"call,omitempty"` // size of the whole call, if this is a part of it
	Offset     uint64 `json:"offset,omitempty"`
}

// Plain implements keys.PlainSink.
func (p *Writer) Plain(x *keys.Plain) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.waiting[x.Connection]
	switch {
	case x.Ends != keys.NoEnds:
		for i := range before {
			before[i].Ends, before[i].Local, before[i].Remote = x.Ends, x.Local, x.Remote
		}
		p.release(x.Connection)
	case p.wait(x):
		return nil
	default:
		p.release(x.Connection)
	}
	return p.writeIfAllowed(x)
}

// writeIfAllowed writes a piece unless the policy forbids it.
func (p *Writer) writeIfAllowed(x *keys.Plain) error {
	if p.o.Hides(x) {
		p.forbidden.Add(1)
		return nil
	}
	err := p.write(x)
	if err != nil {
		p.trouble(err)
	}
	return err
}

const (
	maxWaiting = 8 << 20 // bytes
	patience   = 2 * time.Second
)

// wait keeps a piece for a moment: a client may write before its library is seen with a
// socket. It returns false if waiting is useless or there is no room.
func (p *Writer) wait(x *keys.Plain) bool {
	if !p.o.EndsKnown() || p.settled[x.Connection] || p.waits+len(x.Data) > maxWaiting {
		return false
	}
	if len(p.waiting) == 0 {
		p.waitsFrom = time.Now()
	}
	kept := *x
	kept.Data = bytes.Clone(x.Data)
	p.waiting[x.Connection] = append(p.waiting[x.Connection], kept)
	p.waits += len(x.Data)
	return true
}

// release writes the waiting pieces of a connection.
func (p *Writer) release(connection uint64) {
	for i := range p.waiting[connection] {
		x := &p.waiting[connection][i]
		p.waits -= len(x.Data)
		if p.writeIfAllowed(x) != nil {
			p.failed.Add(1)
		}
	}
	delete(p.waiting, connection)
}

// End writes all waiting pieces.
func (p *Writer) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseAll()
}

// releaseAll writes all waiting pieces, because the first of them has waited too long.
func (p *Writer) releaseAll() {
	for _, c := range slices.Sorted(maps.Keys(p.waiting)) {
		p.release(c)
		if len(p.settled) >= maxTalks {
			clear(p.settled)
		}
		p.settled[c] = true // it has no socket: its pieces no longer wait
	}
}

// Tick writes the pieces that have waited too long.
func (p *Writer) Tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && time.Since(p.waitsFrom) > patience {
		p.releaseAll()
		p.o.Flush()
	}
}

func (p *Writer) write(x *keys.Plain) error {
	id, err := p.speaker(x)
	if err != nil {
		return err
	}
	c := comment{Connection: x.Connection, Ends: x.Ends.String()}
	if uint64(len(x.Data)) < x.Call {
		c.Call, c.Offset = x.Call, x.Offset
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("describing plaintext: %w", err)
	}
	p.head = tags(p.head[:0], p.dissector(x), x)
	flags := uint32(pcapng.DirectionInbound)
	if x.Sent {
		flags = uint32(pcapng.DirectionOutbound)
	}
	packet := ring.Packet{Interface: id, Time: x.Time, Prefix: p.head, Data: x.Data, OrigLen: uint32(len(p.head) + len(x.Data)), Flags: flags,
		PID: x.PID, TID: x.TID, Comment: string(text)}
	return p.o.Out.Append(&packet)
}

// speaker returns the interface of a process.
func (p *Writer) speaker(x *keys.Plain) (ring.InterfaceID, error) {
	s := speaker{x.PID, x.Executable, x.Library}
	if id, ok := p.speakers[s]; ok {
		return id, nil
	}
	if p.rest != nil {
		return *p.rest, nil
	}
	i := pcapng.Interface{Name: "others", Description: "plaintext read at library calls, not packets, of all other processes"}
	if len(p.speakers) < maxSpeakers {
		text, err := json.Marshal(struct {
			Executable string `json:"executable"`
			Library    string `json:"library"`
		}{machine.Clean(x.Executable, 512), x.Library.String()})
		if err != nil {
			return 0, fmt.Errorf("describing plaintext: %w", err)
		}
		i = pcapng.Interface{Name: machine.Clean(fmt.Sprintf("%s/%d/%s", filepath.Base(x.Executable), x.PID, x.Library), 200),
			Description: "plaintext read at library calls, not packets", Comments: []string{workload.FormatInterfaceComment(p.identify(x)), string(text)}}
	}
	id, err := p.o.Out.Interface(i)
	if err != nil {
		return 0, err
	}
	p.list.Lock()
	p.all = append(p.all, id)
	p.list.Unlock()
	if len(p.speakers) < maxSpeakers {
		p.speakers[s] = id
	} else {
		p.rest = &id
	}
	return id, nil
}

// identify returns the known fields of a process, in the same form as for packets.
func (p *Writer) identify(x *keys.Plain) workload.InterfaceComment {
	container, pod := workload.ParseCgroup(x.Cgroup)
	var c workload.InterfaceComment
	if p.o.Source != nil {
		c, _ = p.o.Source.Find(workload.Key{Container: container, PodUID: pod, Cgroup: x.Cgroup})
	}
	if c.Identity.PodUID == "" {
		c.Identity.PodUID = pod
	}
	if c.Identity.Container == "" && container != "" {
		c.Identity.Container = container[:12]
	}
	if c.Identity.Node == "" {
		c.Identity.Node = p.o.Node
	}
	if c.Identity.ValidFrom == 0 {
		c.Identity.ValidFrom = x.Time
	}
	c.Ring, c.Cgroup, c.How = p.o.Ring, x.Cgroup, "process"
	c.Identity.Process, c.Identity.PID = machine.Clean(filepath.Base(x.Executable), 64), int64(x.PID)
	return c
}
