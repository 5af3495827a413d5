package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// frame is an IP packet captured at one host's interface.
type frame struct {
	real int64 // ns, the machine's clock
	sent bool  // by this host
	data []byte
}

// recording captures every IP packet that a host sends or receives.
type recording struct {
	fd     int
	frames []frame
	stop   atomic.Bool
	wg     sync.WaitGroup
	err    error
}

const (
	maxFrame   = 64 << 10
	recvBuffer = 64 << 20
)

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (h *host) record() (*recording, error) {
	r := &recording{}
	err := h.in(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP)))
		if err != nil {
			return err
		}
		r.fd = fd
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: dev.Index}); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, recvBuffer); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	})
	if err != nil {
		return nil, fmt.Errorf("recording in %s: %w", h.ns, err)
	}
	r.wg.Go(r.run)
	return r, nil
}

func (r *recording) run() {
	buf, oob := make([]byte, maxFrame), make([]byte, 128)
	for {
		n, no, _, from, err := unix.Recvmsg(r.fd, buf, oob, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if r.stop.Load() {
				return
			}
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			r.err = err
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || ll.Protocol != htons(unix.ETH_P_IP) {
			continue // ARP, which is not the socket's
		}
		at, ok := stampOf(oob[:no])
		if !ok {
			r.err = errors.New("a packet without a time")
			return
		}
		r.frames = append(r.frames, frame{at, ll.Pkttype == unix.PACKET_OUTGOING, append([]byte(nil), buf[:n]...)})
	}
}

func stampOf(oob []byte) (int64, bool) {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range list {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return int64(binary.NativeEndian.Uint64(m.Data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(m.Data[8:])), true
		}
	}
	return 0, false
}

// finish ends the recording and fails if a packet is missing.
func (r *recording) finish() ([]frame, error) {
	r.stop.Store(true)
	r.wg.Wait()
	defer unix.Close(r.fd)
	if r.err != nil {
		return nil, fmt.Errorf("recording: %w", r.err)
	}
	st, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return nil, err
	}
	if st.Drops != 0 {
		return nil, fmt.Errorf("the recording lacks %d packets; hint: run it again on a quieter machine", st.Drops)
	}
	return r.frames, nil
}
