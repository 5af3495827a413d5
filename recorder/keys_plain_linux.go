package recorder

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
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
	linkUpperPDU   = 252 // LINKTYPE_WIRESHARK_UPPER_PDU
	plainSeries    = "plaintext"
	plainSnap      = 128 << 10
	maxSpeakers    = 4096  // processes with their own interface
	maxPlainTalks  = 65536 // connections whose protocol is remembered
	reasonLibraryN = "unexpected library call"
)

// plaintext writes what processes pass to TLS libraries and receive from them as a capture
// of upper PDUs, next to that of packets. It implements keys.PlainSink.
type plaintext struct {
	tracker   atomic.Pointer[keys.Tracker]
	onError   func(error)
	close     func() error
	flush     func()
	begin     int64
	rules     *keyPolicy
	source    workload.Source
	node      string
	forbidden atomic.Uint64
	failed    atomic.Uint64 // writes of pieces that had waited

	mu       sync.Mutex // guards the fields below; held while the ring is called
	out      plainOut
	name     string
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

// plainOut is the part of a series that plaintext needs.
type plainOut interface {
	Interface(pcapng.Interface) (ring.InterfaceID, error)
	Append(*ring.Packet) error
}

// plainPath returns the plaintext file for a capture file.
func plainPath(file string) string {
	dir, name := filepath.Split(file)
	return dir + plainSeries + "-" + strings.TrimSuffix(name, filepath.Ext(name)) + ".pcapng"
}

// startPlaintext starts to read plaintext. Its output is a series of the recording's ring,
// or a file next to the capture file.
func startPlaintext(o *Options, out *sink, rules *keyPolicy, now func() *ring.Clock, utc func(uint64) int64) (*plaintext, error) {
	p := &plaintext{onError: o.OnError, rules: rules, source: o.Source, speakers: map[speaker]ring.InterfaceID{}, talks: map[uint64]string{}, waiting: map[uint64][]keys.Plain{}, settled: map[uint64]bool{}}
	here := machine.This()
	if o.Node != "" {
		here.Node = o.Node
	}
	p.node = here.Node
	header := func(h *ring.Header) {
		h.Kernel, h.OS, h.Hardware = here.Kernel, "linux", here.Hardware
		if c := now(); c != nil {
			h.Clocks = []ring.Clock{*c}
		}
	}
	if c := now(); c != nil {
		p.begin = int64(c.Real)
	}
	account := func(taken ring.Totals) ring.Account { return p.account(taken, now()) }
	to := *o
	to.Keys, to.writer = nil, out.w
	name := plainSeries
	if list := ages(o.Policy); len(list) > 0 {
		name = ring.AgedSeries(name, list[0]) // nothing is kept longer than the policy allows
	}
	if o.File != "" {
		to.File, to.writer = plainPath(o.File), nil
	}
	s, err := newSink(&to, here, ring.SeriesOptions{Name: name, LinkType: linkUpperPDU, SnapLen: plainSnap, Header: header, Account: account, Private: true})
	if err != nil {
		return nil, err
	}
	p.name, _ = s.ids()
	p.out, p.flush, p.close = s.series, s.series.Flush, s.close
	tracker, err := keys.Start(keys.Options{Select: selectorFor(o.Keys.Plaintext, o.Keys.PlaintextWorkloads, o.Source, rules), Plain: p, UTC: utc})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.tracker.Store(tracker)
	return p, nil
}

// end writes what is left and closes the output.
func (p *plaintext) end() error {
	err := p.tracker.Load().Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseAll()
	return errors.Join(err, p.close())
}

func (p *plaintext) stats() (*PlainStats, error) {
	t := p.tracker.Load()
	c, err := t.PlainCounters()
	late := min(p.failed.Load(), c.Written)
	c.Written, c.SinkErrors = c.Written-late, c.SinkErrors+late
	return &PlainStats{PlainCounters: c, Forbidden: p.forbidden.Load(), EndsUnknown: t.EndsUnknown()}, err
}

// account balances the pieces that the kernel programs counted as lost with what became of
// the others.
func (p *plaintext) account(taken ring.Totals, clock *ring.Clock) ring.Account {
	a := ring.Account{Clock: clock}
	t := p.tracker.Load()
	if t == nil {
		return a
	}
	k, err := t.PlainCounters()
	if err != nil {
		return a
	}
	p.list.Lock()
	for _, v := range p.all {
		i := ring.InterfaceAccount{ID: v, Start: p.begin}
		if clock != nil {
			i.At = int64(clock.Real)
		}
		a.Interfaces = append(a.Interfaces, i)
	}
	p.list.Unlock()
	c := ring.Counters{Filtered: k.Unused + p.forbidden.Load(), Policy: p.forbidden.Load(), Delivered: taken.Kept, Dropped: taken.Dropped + k.Lost + k.Unread + k.Odd,
		Drops: []ring.Drop{{Reason: reasonBuffer, Packets: k.Lost}, {Reason: reasonUnread, Packets: k.Unread}, {Reason: reasonLibraryN, Packets: k.Odd}, {Reason: reasonWriter, Packets: taken.Dropped}}}
	c.Seen = c.Filtered + c.Delivered + c.Dropped
	a.Counters = &c
	return a
}

func (p *plaintext) trouble(err error) {
	if !p.reported {
		p.reported = true
		p.onError(fmt.Errorf("writing plaintext: %w", err))
	}
}

// Flush implements keys.PlainSink.
func (p *plaintext) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	return nil
}

// plainComment describes a piece in the fields that the format lacks.
type plainComment struct {
	Connection uint64 `json:"connection"`
	Ends       string `json:"ends"`
	Call       uint64 `json:"call,omitempty"` // size of the whole call, if this is a part of it
	Offset     uint64 `json:"offset,omitempty"`
}

// Plain implements keys.PlainSink.
func (p *plaintext) Plain(x *keys.Plain) error {
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
func (p *plaintext) writeIfAllowed(x *keys.Plain) error {
	if p.rules.hides(x) {
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
	maxWaitingPlain = 8 << 20 // bytes
	plainPatience   = 2 * time.Second
)

// wait keeps a piece for a moment: a client may write before its library is seen with a
// socket. It returns false if waiting is useless or there is no room.
func (p *plaintext) wait(x *keys.Plain) bool {
	if t := p.tracker.Load(); t == nil || t.EndsUnknown() != nil || p.settled[x.Connection] || p.waits+len(x.Data) > maxWaitingPlain {
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
func (p *plaintext) release(connection uint64) {
	for i := range p.waiting[connection] {
		x := &p.waiting[connection][i]
		p.waits -= len(x.Data)
		if p.writeIfAllowed(x) != nil {
			p.failed.Add(1)
		}
	}
	delete(p.waiting, connection)
}

// releaseAll writes all waiting pieces, because the first of them has waited too long.
func (p *plaintext) releaseAll() {
	for _, c := range slices.Sorted(maps.Keys(p.waiting)) {
		p.release(c)
		if len(p.settled) >= maxPlainTalks {
			clear(p.settled)
		}
		p.settled[c] = true // it has no socket: its pieces no longer wait
	}
}

// tick writes the pieces that have waited too long.
func (p *plaintext) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && time.Since(p.waitsFrom) > plainPatience {
		p.releaseAll()
		p.flush()
	}
}

func (p *plaintext) write(x *keys.Plain) error {
	id, err := p.speaker(x)
	if err != nil {
		return err
	}
	c := plainComment{Connection: x.Connection, Ends: x.Ends.String()}
	if uint64(len(x.Data)) < x.Call {
		c.Call, c.Offset = x.Call, x.Offset
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("describing plaintext: %w", err)
	}
	p.head = plainTags(p.head[:0], p.dissector(x), x)
	flags := uint32(pcapng.DirectionInbound)
	if x.Sent {
		flags = uint32(pcapng.DirectionOutbound)
	}
	packet := ring.Packet{Interface: id, Time: x.Time, Prefix: p.head, Data: x.Data, OrigLen: uint32(len(p.head) + len(x.Data)), Flags: flags,
		PID: x.PID, TID: x.TID, Comment: string(text)}
	return p.out.Append(&packet)
}

// speaker returns the interface of a process.
func (p *plaintext) speaker(x *keys.Plain) (ring.InterfaceID, error) {
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
	id, err := p.out.Interface(i)
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

// identify returns what is known of a process, in the same form as for packets.
func (p *plaintext) identify(x *keys.Plain) workload.InterfaceComment {
	container, pod := workload.ParseCgroup(x.Cgroup)
	var c workload.InterfaceComment
	if p.source != nil {
		c, _ = p.source.Find(workload.Key{Container: container, PodUID: pod, Cgroup: x.Cgroup})
	}
	if c.Identity.PodUID == "" {
		c.Identity.PodUID = pod
	}
	if c.Identity.Container == "" && container != "" {
		c.Identity.Container = container[:12]
	}
	if c.Identity.Node == "" {
		c.Identity.Node = p.node
	}
	if c.Identity.ValidFrom == 0 {
		c.Identity.ValidFrom = x.Time
	}
	c.Ring, c.Cgroup, c.How = p.name, x.Cgroup, "process"
	c.Identity.Process, c.Identity.PID = machine.Clean(filepath.Base(x.Executable), 64), int64(x.PID)
	return c
}

// dissector returns Wireshark's name for the protocol of a connection, from its first bytes.
func (p *plaintext) dissector(x *keys.Plain) string {
	name, ok := p.talks[x.Connection]
	if !ok {
		name = dissectorOf(x.Data)
		if len(p.order) >= maxPlainTalks {
			delete(p.talks, p.order[0])
			p.order = p.order[1:]
		}
		p.talks[x.Connection] = name
		p.order = append(p.order, x.Connection)
	}
	return name
}

func dissectorOf(b []byte) string {
	if bytes.HasPrefix(b, []byte("PRI * HTTP/2.0\r\n")) {
		return "http2"
	}
	if bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return "http"
	}
	for _, m := range []string{"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE "} {
		if bytes.HasPrefix(b, []byte(m)) {
			return "http"
		}
	}
	return "data"
}

// Tags of an upper PDU, docs/format/plaintext.md.
const (
	tagDissector = 12
	tagIPv4Src   = 20
	tagIPv4Dst   = 21
	tagIPv6Src   = 22
	tagIPv6Dst   = 23
	tagPortType  = 24
	tagSrcPort   = 25
	tagDstPort   = 26
	portTCP      = 2
)

// plainTags appends the tags that precede a PDU's bytes.
func plainTags(b []byte, dissector string, x *keys.Plain) []byte {
	tag := func(n uint16, v []byte) {
		size := (len(v) + 3) &^ 3
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, n), uint16(size))
		b = append(append(b, v...), make([]byte, size-len(v))...)
	}
	number := func(n uint16, v uint16) { tag(n, []byte{0, 0, byte(v >> 8), byte(v)}) }
	tag(tagDissector, []byte(dissector))
	if x.Ends != keys.NoEnds {
		from, to := x.Remote, x.Local
		if x.Sent {
			from, to = to, from
		}
		if a, c := from.Addr(), to.Addr(); a.Is4() && c.Is4() {
			tag(tagIPv4Src, a.AsSlice())
			tag(tagIPv4Dst, c.AsSlice())
		} else {
			src, dst := a.As16(), c.As16()
			tag(tagIPv6Src, src[:])
			tag(tagIPv6Dst, dst[:])
		}
		number(tagPortType, portTCP)
		number(tagSrcPort, from.Port())
		number(tagDstPort, to.Port())
	}
	return append(b, 0, 0, 0, 0)
}
