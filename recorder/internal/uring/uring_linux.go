// Package uring makes io_uring calls for tests, one at a time. A library is not needed for so few
// calls. A Ring must be used by one goroutine only, and is closed when its process ends.
package uring

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring is a ring of the kernel's asynchronous calls, one call at a time.
type Ring struct {
	fd                     int
	sq, cq, entries        []byte
	head, tail, mask, flag uint32 // offsets in sq
	array                  uint32
	chead, ctail, cmask    uint32 // offsets in cq
	cqes                   uint32
	poll                   bool
	buf                    []byte // of the current call: the kernel has its address
}

type params struct {
	SQEntries, CQEntries, Flags, CPU, Idle, Features, WQ uint32
	Resv                                                 [3]uint32
	SQ                                                   struct{ Head, Tail, Mask, Entries, Flags, Dropped, Array, Resv1, Addr, Addr2 uint32 }
	CQ                                                   struct{ Head, Tail, Mask, Entries, Overflow, CQEs, Flags, Resv1, Addr, Addr2 uint32 }
}

// New creates a ring; with poll, a kernel thread polls for calls. Its error is the
// kernel's.
func New(poll bool) (*Ring, error) {
	var p params
	if poll {
		p.Flags, p.Idle = 2, 1000 // IORING_SETUP_SQPOLL
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	u := &Ring{fd: int(fd), poll: poll, head: p.SQ.Head, tail: p.SQ.Tail, mask: p.SQ.Mask, flag: p.SQ.Flags, array: p.SQ.Array,
		chead: p.CQ.Head, ctail: p.CQ.Tail, cmask: p.CQ.Mask, cqes: p.CQ.CQEs}
	var err error
	for _, m := range []struct {
		to     *[]byte
		offset int64
		size   uint32
	}{{&u.sq, 0, p.SQ.Array + 4*p.SQEntries}, {&u.cq, 0x8000000, p.CQ.CQEs + 16*p.CQEntries}, {&u.entries, 0x10000000, 64 * p.SQEntries}} {
		if *m.to, err = unix.Mmap(u.fd, m.offset, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
			return nil, fmt.Errorf("mapping io_uring: %w", err)
		}
	}
	return u, nil
}

func word(b []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[at])) }

// Operations, as in linux/io_uring.h.
const (
	Send = 26
	Recv = 27
)

// Do makes one call on a socket, in a kernel worker unless the ring is polled, and waits for
// its result: a number of bytes, or the kernel's error.
func (u *Ring) Do(op byte, fd int32, buf []byte) (int, error) {
	tail := atomic.LoadUint32(word(u.sq, u.tail))
	i := tail & *word(u.sq, u.mask)
	e := u.entries[64*i : 64*i+64]
	clear(e)
	e[0] = op
	if !u.poll {
		e[1] = 1 << 4 // IOSQE_ASYNC
	}
	u.buf = buf
	*(*int32)(unsafe.Pointer(&e[4])) = fd
	*(*uint64)(unsafe.Pointer(&e[16])) = uint64(uintptr(unsafe.Pointer(&buf[0])))
	*word(e, 24) = uint32(len(buf))
	*word(u.sq, u.array+4*i) = i
	atomic.StoreUint32(word(u.sq, u.tail), tail+1)
	submit, flags := uintptr(1), uintptr(1) // IORING_ENTER_GETEVENTS
	if u.poll {
		submit, flags = 0, 1|2 // and IORING_ENTER_SQ_WAKEUP
	}
	for atomic.LoadUint32(word(u.cq, u.ctail)) == *word(u.cq, u.chead) {
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), submit, 1, flags, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return 0, errno
		}
		submit = 0
	}
	head := *word(u.cq, u.chead)
	at := u.cqes + 16*(head&*word(u.cq, u.cmask))
	n := *(*int32)(unsafe.Pointer(&u.cq[at+8]))
	atomic.StoreUint32(word(u.cq, u.chead), head+1)
	if n < 0 {
		return 0, unix.Errno(-n)
	}
	return int(n), nil
}
