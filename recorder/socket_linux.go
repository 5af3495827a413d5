package recorder

import (
	"encoding/binary"
	"net/netip"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// described remembers which side file has the line of a process, for some processes.
type described [64]struct {
	pid  uint32
	file uint64
}

// forget is called when a process runs another program or moves to another control group.
func (d *described) forget(pid uint32) { d[pid%uint32(len(d))].pid = 0 }

// owned writes the line of a packet's process unless the output's side file has it.
func (r *recording) owned(p *bpf.Packet, l *output, at int64) {
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

// socketOf returns the socket in the packet's block. It uses ends as memory for the socket's
// own ends.
func socketOf(p *bpf.Packet, ip []byte, ends *pcapng.SocketEnds) pcapng.Socket {
	s := pcapng.Socket{Cookie: p.Cookie, Netns: p.Netns, Kind: uint8(p.Kind)}
	if p.Kind != bpf.None && p.Kind != bpf.Writer { // the writer is in a standard option
		s.PID, s.TID = p.TGID, p.TID
	}
	if p.Ends.Version != 0 && translated(&p.Ends, ip, ends) {
		s.Ends = ends
	}
	return s
}

// translated compares the ends of an outgoing packet with those of its socket. If they
// differ, it puts those of the socket into own.
func translated(s *bpf.Ends, ip []byte, own *pcapng.SocketEnds) bool {
	src, dst, ok := ends(ip, true)
	if !ok || src.Port() == 0 || dst.Port() == 0 { // a later fragment, or not TCP or UDP
		return false
	}
	local, remote := socketEnd(s.Version, s.Local, s.LocalPort), socketEnd(s.Version, s.Remote, s.RemotePort)
	if local.Addr().IsUnspecified() {
		if remote.Addr() == dst.Addr() {
			return false // a server on any address: the response has the address that the request was sent to
		}
		local = netip.AddrPortFrom(src.Addr(), local.Port())
	}
	if remote.Addr().Is4() != dst.Addr().Is4() || local == src && remote == dst {
		return false
	}
	own.Local, own.Remote = local, remote
	return true
}

// socketEnd returns one end of a socket; IPv4 may be mapped, RFC 4291 section 2.5.5.2.
func socketEnd(version uint8, addr [16]byte, port uint16) netip.AddrPort {
	if version == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(addr).Unmap(), port)
}

// ends reads both ends of a packet, from the socket's point of view.
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
