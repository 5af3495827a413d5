//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	payload = 64 - 14 - 20 - 8 // without Ethernet, IPv4 and UDP headers
	atOnce  = 64               // datagrams per system call
	nap     = 200 * time.Microsecond
)

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// batch is the datagrams of one system call.
type batch struct {
	messages [atOnce]message
	vectors  [atOnce]unix.Iovec
	data     [atOnce][payload]byte
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.messages {
		b.vectors[i].Base = &b.data[i][0]
		b.vectors[i].SetLen(payload)
		b.messages[i].header.Iov = &b.vectors[i]
		b.messages[i].header.Iovlen = 1
	}
	return b
}

// call sends or receives up to n datagrams.
func (b *batch) call(number uintptr, fd, n int, flags uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])), uintptr(n), flags, 0, 0)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func socket(host string) (int, unix.Sockaddr, error) {
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return -1, nil, fmt.Errorf("host %q: want an IPv4 address", host)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("making a socket: %w", err)
	}
	var port int
	fmt.Sscan(udpPort, &port)
	return fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte(ip)}, nil
}

// udp sends at a rate, in small bursts with pauses between them.
func (k *kind) udp() error {
	runtime.LockOSThread()
	fd, to, err := socket(k.host)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return fmt.Errorf("connecting to %s: %w", k.host, err)
	}
	b := newBatch()
	start := time.Now()
	var sent int64
	for {
		passed := time.Since(start)
		if passed >= k.length {
			break
		}
		n := int64(atOnce)
		if k.rate > 0 {
			n = min(n, int64(k.rate*passed.Seconds())-sent)
		}
		if n <= 0 {
			time.Sleep(nap)
			continue
		}
		for i := range n {
			binary.BigEndian.PutUint64(b.data[i][:], uint64(sent+i))
		}
		done, err := b.call(unix.SYS_SENDMMSG, fd, int(n), 0)
		if err != nil && err != unix.ENOBUFS {
			return fmt.Errorf("sending: %w", err)
		}
		sent += int64(done)
	}
	passed := time.Since(start).Seconds()
	answer("sent", sent, "seconds", fmt.Sprintf("%.3f", passed), "rate", int64(float64(sent)/passed), "unit", "pps", "p50", "-", "p99", "-", "cpu", processor())
	return nil
}

// receive counts datagrams until the process ends.
func receive(host string, count *atomic.Int64) error {
	fd, at, err := socket(host)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("listening on %s, UDP port %s: %w", host, udpPort, err)
	}
	b := newBatch()
	go func() {
		runtime.LockOSThread()
		for {
			n, err := b.call(unix.SYS_RECVMMSG, fd, atOnce, unix.MSG_WAITFORONE)
			if err != nil {
				return
			}
			count.Add(int64(n))
		}
	}()
	return nil
}
