//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// LedgerVersion is the version of the content of ring buffers and ledgers. Raise it with any change of src/packets.h or
// of this file, because a recorder does not read those of another version.
const LedgerVersion = 1

// Ledger is memory of the kernel in which the reader of a ring buffer notes its position, so that the next recorder
// continues there if this one is killed. It is for one goroutine.
type Ledger struct {
	m     *ebpf.Map
	mem   []byte
	words []uint64
	notes []uint64 // pairs: id, end; their number is a power of two
}

// Words of a ledger.
const (
	wordVersion  = iota
	wordRing     // the ring that ids belong to
	wordSettings // of the recorder
	wordStart    // number of its start record
	wordCurrent  // which of the two places is valid
	wordPlaces   // two pairs: position in the ring buffer, packets before it
	wordDropped  = wordPlaces + 4
	wordStated   = wordDropped + 1

	ledgerHead  = 32 // words before the notes
	ledgerValue = 16 // bytes of a note
)

// ledgerSpec is the map of a ledger. It has room for twice as many notes as packets fit into the ring buffer; each
// packet needs at least 264 bytes.
func ledgerSpec(ringBytes uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: "ledger", Type: ebpf.Array, KeySize: 4, ValueSize: ledgerValue, MaxEntries: ledgerHead*8/ledgerValue + ringBytes/128, Flags: unix.BPF_F_MMAPABLE}
}

// errLedger means that another version of the recorder made a ledger.
var errLedger = errors.New("written by a release that notes its progress in another way")

func openLedger(m *ebpf.Map) (*Ledger, error) {
	size := int(m.MaxEntries()) * ledgerValue
	n := m.MaxEntries() - ledgerHead*8/ledgerValue
	if m.ValueSize() != ledgerValue || m.MaxEntries() <= ledgerHead*8/ledgerValue || n&(n-1) != 0 {
		return nil, errLedger
	}
	page := os.Getpagesize()
	mem, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping a ledger: %w", err)
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), size/8)
	return &Ledger{m: m, mem: mem, words: words[:ledgerHead], notes: words[ledgerHead:]}, nil
}

// Begin records the owner of the ledger, before the first packet.
func (l *Ledger) Begin(ring, settings, start uint64) {
	l.words[wordRing], l.words[wordSettings], l.words[wordStart] = ring, settings, start
	atomic.StoreUint64(&l.words[wordVersion], LedgerVersion)
}

// Close unmaps it; the notes stay.
func (l *Ledger) Close() error { return errors.Join(unix.Munmap(l.mem), l.m.Close()) }

// Ring identifies the ring that noted ids belong to.
func (l *Ledger) Ring() uint64 { return l.words[wordRing] }

// Settings identifies the settings with which packets were recorded.
func (l *Ledger) Settings() uint64 { return l.words[wordSettings] }

// Start is the number of the recorder's start record in the ring.
func (l *Ledger) Start() uint64 { return l.words[wordStart] }

// Note records the id of the packet that ends at a position of the ring buffer. It is called before the packet can
// reach the output.
func (l *Ledger) Note(id, end uint64) {
	at := id * 2 & uint64(len(l.notes)-1)
	atomic.StoreUint64(&l.notes[at+1], 0) // never the end of another
	atomic.StoreUint64(&l.notes[at], id)
	atomic.StoreUint64(&l.notes[at+1], end)
}

// Noted returns all valid notes about packets after a position. It removes those for which keep returns false.
func (l *Ledger) Noted(position uint64, keep func(id, end uint64) bool) {
	for at := 0; at < len(l.notes); at += 2 {
		if end := l.notes[at+1]; end != 0 && (end <= position || !keep(l.notes[at], end)) {
			l.notes[at+1] = 0
		}
	}
}

// Release records that everything before a position is finished, before the kernel learns it. packets is their number
// since the ring buffer was made.
func (l *Ledger) Release(position, packets uint64) {
	next := l.words[wordCurrent] ^ 1
	place := wordPlaces + 2*next
	atomic.StoreUint64(&l.words[place], position)
	atomic.StoreUint64(&l.words[place+1], packets)
	atomic.StoreUint64(&l.words[wordCurrent], next)
}

// Released returns the last values of Release.
func (l *Ledger) Released() (position, packets uint64) {
	place := wordPlaces + 2*(l.words[wordCurrent]&1)
	return l.words[place], l.words[place+1]
}

// SetDropped records the number of dropped packets that the programs' counters lack: those of the output, and of earlier
// programs.
func (l *Ledger) SetDropped(n uint64) { atomic.StoreUint64(&l.words[wordDropped], n) }

// Losses returns the last value of SetDropped, and how many losses a start record states.
func (l *Ledger) Losses() (dropped, stated uint64) { return l.words[wordDropped], l.words[wordStated] }

// State marks all losses up to now as stated in the recording. kernel is how many of them the programs counted.
func (l *Ledger) State(kernel uint64) {
	atomic.StoreUint64(&l.words[wordStated], kernel)
	atomic.StoreUint64(&l.words[wordDropped], 0)
}
