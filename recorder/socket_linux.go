package recorder

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// described remembers for some processes which side file has their line.
type described [64]struct {
	pid  uint32
	file uint64
}

// forget is called when a process becomes another program or moves.
func (d *described) forget(pid uint32) { d[pid%uint32(len(d))].pid = 0 }

// owned writes the line of a packet's process where the lane's side file does not have it.
func (r *recording) owned(p *bpf.Packet, l *lane, at int64) {
	if p.Kind == bpf.None {
		return
	}
	d := &r.described[p.TGID%uint32(len(r.described))]
	if d.pid == p.TGID && d.file == l.file {
		return
	}
	x := r.processes.Of(p.TGID, at)
	if x == nil {
		return
	}
	d.pid, d.file = p.TGID, l.file
	if x.Written != l.file {
		x.Written = l.file
		r.journal.owner(l, r.describe(x))
	}
}

// socketOf is what the packet's block says of its socket; ends is where the socket's own
// ends may stay.
func socketOf(p *bpf.Packet, ip []byte, ends *pcapng.SocketEnds) pcapng.Socket {
	s := pcapng.Socket{Cookie: p.Cookie, Netns: p.Netns, Kind: uint8(p.Kind)}
	if p.Kind != bpf.None && p.Kind != bpf.Writer { // the writer is in an option that all readers know
		s.PID, s.TID = p.TGID, p.TID
	}
	if p.Ends.Version != 0 && translated(&p.Ends, ip, ends) {
		s.Ends = ends
	}
	return s
}

// translated compares the ends of an outgoing packet with those of its socket, which it
// puts into ends where they are others.
func translated(s *bpf.Ends, ip []byte, ends *pcapng.SocketEnds) bool {
	if len(ip) < 20 {
		return false
	}
	size, at, next := 4, int(ip[0]&15)*4, ip[9]
	src, dst := ip[12:16], ip[16:20]
	local, remote := s.Local[:4], s.Remote[:4]
	switch ip[0] >> 4 {
	case 4:
		if binary.BigEndian.Uint16(ip[6:])&0x1FFF != 0 {
			return false // a later fragment has no ports
		}
		if s.Version == 6 { // mapped, RFC 4291 section 2.5.5.2
			local, remote = s.Local[12:], s.Remote[12:]
		}
	case 6:
		if len(ip) < 40 || s.Version != 6 {
			return false
		}
		size, at, next = 16, 40, ip[6]
		src, dst, local, remote = ip[8:24], ip[24:40], s.Local[:], s.Remote[:]
	default:
		return false
	}
	if next != 6 && next != 17 || len(ip) < at+4 {
		return false
	}
	var none [16]byte
	if bytes.Equal(local, none[:size]) {
		if bytes.Equal(remote, dst) {
			return false // a server's, on any address: which of them the packet came to is in that one
		}
		local = src
	}
	if s.LocalPort == binary.BigEndian.Uint16(ip[at:]) && s.RemotePort == binary.BigEndian.Uint16(ip[at+2:]) && bytes.Equal(local, src) && bytes.Equal(remote, dst) {
		return false
	}
	l, _ := netip.AddrFromSlice(local)
	m, _ := netip.AddrFromSlice(remote)
	ends.Local, ends.Remote = netip.AddrPortFrom(l, s.LocalPort), netip.AddrPortFrom(m, s.RemotePort)
	return true
}

// ends reads both ends of a packet, as the socket has them.
func ends(ip []byte, outgoing bool) (local, remote netip.AddrPort, ok bool) {
	if len(ip) < 20 {
		return
	}
	var src, dst netip.Addr
	var next uint8
	at := 40
	switch {
	case ip[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		at, next = int(ip[0]&15)*4, ip[9]
		if binary.BigEndian.Uint16(ip[6:])&0x1FFF != 0 {
			return // a later fragment has no ports
		}
	case ip[0]>>4 == 6 && len(ip) >= 40:
		src, dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		next = ip[6]
	default:
		return
	}
	var sport, dport uint16
	if (next == 6 || next == 17) && len(ip) >= at+4 {
		sport, dport = binary.BigEndian.Uint16(ip[at:]), binary.BigEndian.Uint16(ip[at+2:])
	}
	local, remote = netip.AddrPortFrom(dst, dport), netip.AddrPortFrom(src, sport)
	if outgoing {
		local, remote = remote, local
	}
	return local, remote, true
}
