//go:build linux

// Package mapped reads the kernel's ring buffers in place and returns records in time order.
//
// A record stays where the kernel wrote it until its turn, so nothing is copied. The package
// delays records for a fixed time, because processors write concurrently; it never changes a
// time, and counts records that arrive later than that.
package mapped

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	headerLen  = 8
	busyBit    = 1 << 31
	discardBit = 1 << 30
)

// Reader reads one ring buffer. It must be used by one goroutine only.
type Reader struct {
	epoll    int
	size     uint64
	consumer []byte // page that we write
	producer []byte // page that the kernel writes, then the data, twice in a row
	consumed *atomic.Uint64
	produced *atomic.Uint64
	data     []byte
	scan     uint64 // start of the next record

	queue    queue
	inFlight inFlight
	written  uint64 // the position last released to the kernel
	newest   uint64 // time of the newest record seen
	last     uint64 // time of the last record returned

	Late uint64 // records returned after a newer one

	Each func(body []byte) // is shown each record when it is met first; nil: nobody looks

	// Skip reports whether a record that ends at a position was dealt with before; nil: none was.
	Skip func(end uint64) bool
	// Keep learns, before the kernel does, up to where records may be overwritten, and how many
	// they are; nil: nobody is.
	Keep func(end, records uint64)
}

// New maps the ring buffer of a map.
func New(fd int, size uint32) (*Reader, error) {
	page := os.Getpagesize()
	consumer, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping ring buffer: %w", err)
	}
	producer, err := unix.Mmap(fd, int64(page), page+2*int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mapping ring buffer: %w", err), unix.Munmap(consumer))
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		// Edge triggered: a level would be set whenever a record waits for its turn.
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for ring buffer: %w", err), unix.Munmap(consumer), unix.Munmap(producer))
	}
	r := &Reader{
		epoll: epoll, size: uint64(size), consumer: consumer, producer: producer, data: producer[page:],
		consumed: (*atomic.Uint64)(unsafe.Pointer(&consumer[0])),
		produced: (*atomic.Uint64)(unsafe.Pointer(&producer[0])),
	}
	r.scan = r.consumed.Load()
	r.written = r.scan
	r.inFlight.end = r.scan
	return r, nil
}

// Resume continues where a reader of another process ended: all records before a position were
// handled, and their number is known.
func (r *Reader) Resume(position, records uint64) {
	if position > r.scan {
		r.consumed.Store(position)
		r.scan, r.written, r.inFlight.end = position, position, position
	}
	r.inFlight.records = records
}

// Close unmaps the ring buffer; records returned before become invalid.
func (r *Reader) Close() error {
	return errors.Join(unix.Close(r.epoll), unix.Munmap(r.consumer), unix.Munmap(r.producer))
}

// Wait returns when the kernel wakes the reader, or after the time. It does not return because
// there are records: they may still be delayed.
func (r *Reader) Wait(d time.Duration) error {
	var events [1]unix.EpollEvent
	if _, err := unix.EpollWait(r.epoll, events[:], int(d.Milliseconds())); err != nil && err != unix.EINTR {
		return fmt.Errorf("waiting for the ring buffer: %w", err)
	}
	return nil
}

// Fill reads up to limit new records, whose first eight bytes must be their time. It returns
// their number and whether it reached the end.
func (r *Reader) Fill(limit int) (n int, end bool) {
	produced := r.produced.Load()
	mask := r.size - 1
	for n < limit && r.scan < produced {
		at := r.scan & mask
		head := (*atomic.Uint32)(unsafe.Pointer(&r.data[at])).Load()
		if head&busyBit != 0 {
			return n, true // the kernel is still writing it
		}
		size := uint64(head &^ (busyBit | discardBit))
		next := r.scan + (headerLen+size+7)&^7
		real := head&discardBit == 0 && size >= 8
		seq := r.inFlight.add(next, real)
		r.scan = next
		if !real || r.Skip != nil && r.Skip(next) {
			r.inFlight.done(seq)
			continue
		}
		body := r.data[at+headerLen : at+headerLen+size : at+headerLen+size]
		t := binary.NativeEndian.Uint64(body)
		r.newest = max(r.newest, t)
		if r.Each != nil {
			r.Each(body)
		}
		r.queue.push(record{t, seq, body})
		n++
	}
	return n, r.scan >= produced
}

// Empty reports whether every record that the kernel has written was returned.
func (r *Reader) Empty() bool { return r.queue.n == 0 && r.scan >= r.produced.Load() }

// Drained reports whether the kernel may overwrite every record that it has written.
func (r *Reader) Drained() bool { return r.written >= r.produced.Load() }

// Newest is the time of the newest record that Fill has seen.
func (r *Reader) Newest() uint64 { return r.newest }

// Next returns the oldest record if its time is not after limit. Each record must be passed to
// Done, in any order.
func (r *Reader) Next(limit uint64) (body []byte, seq uint64, ok bool) {
	rec, ok := r.queue.pop(limit)
	if !ok {
		return nil, 0, false
	}
	if rec.time < r.last {
		r.Late++
	} else {
		r.last = rec.time
	}
	return rec.body, rec.seq, true
}

// End is where a record ends in the ring buffer, which counts on and on.
func (r *Reader) End(seq uint64) uint64 { return r.inFlight.at(seq).end }

// Done releases a record; its bytes must not be used afterwards.
func (r *Reader) Done(seq uint64) { r.inFlight.done(seq) }

// Release lets the kernel overwrite released records. Call it once for many records.
func (r *Reader) Release() {
	if r.inFlight.end != r.written {
		r.written = r.inFlight.end
		if r.Keep != nil {
			r.Keep(r.written, r.inFlight.records)
		}
		r.consumed.Store(r.written)
	}
}
