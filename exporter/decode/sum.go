package decode

import (
	"encoding/binary"
	"math/bits"
)

// Sum is a checksum of TCP or UDP in a packet, and the bytes that it covers in addition to the pseudo-header, as
// offsets in Input.Data. The snap length may have cut bytes at the end.
type Sum struct {
	Start, End, Place int
	UDP               bool // 0 means none, RFC 768
	Unfinished        bool // it is the sum of the pseudo-header, to which a network adapter adds the rest
}

// Change is the checksum after old was replaced with bytes of the same length at offset at in the
// packet, RFC 1624 section 3. An invalid checksum stays invalid.
func (s Sum) Change(stated uint16, at int, old, with []byte) uint16 {
	n := uint64(^stated)
	for i := range old {
		a, b := uint64(^old[i]), uint64(with[i])
		if (at+i-s.Start)%2 == 0 {
			a, b = a<<8|0xff, b<<8
		} else {
			a |= 0xff00
		}
		n += a + b
	}
	sum := ^fold(n)
	if sum == 0 && s.UDP {
		sum = 0xffff
	}
	return sum
}

// checksum is the Internet checksum of RFC 1071 over b, added to sum, folded and not inverted.
// It adds 8 bytes at once in the machine's byte order, which RFC 1071 section 2 (B) allows, and
// swaps the result.
func checksum(b []byte, sum uint64) uint16 {
	var carry uint64
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(last[:]), carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	return bits.ReverseBytes16(fold(sum))
}

// fold adds the 16-bit words of n with their carries.
func fold(n uint64) uint16 {
	n = n>>32 + n&0xffffffff
	n = n>>32 + n&0xffffffff
	n = n>>16 + n&0xffff
	return uint16(n>>16 + n&0xffff)
}

// header4 verifies the checksum of an IPv4 header. 0 means that the network adapter computes it.
func (w *walk) header4(h []byte) {
	if h[10] == 0 && h[11] == 0 || w.f.Problems&BadIPSum != 0 {
		return
	}
	if w.f.Sums.IP = checksum(h, 0); w.f.Sums.IP != 0xffff {
		w.f.Problems |= BadIPSum
	}
}

// transportSum verifies the checksum of the TCP segment or UDP datagram b, which is at offset
// place, if b was captured completely. A machine that leaves the checksum to its network adapter
// sets the sum of the pseudo-header only (RFC 9293 section 3.1, RFC 8200 section 8.1), or 0. Windows
// leaves the length out of the sum of a segment that the adapter is to split (large send offload).
func (w *walk) transportSum(b []byte, size, place int) {
	f := w.f
	told := w.d != nil && w.d.OnSum != nil
	if len(b) < size && (!told || len(b) < place+2) {
		return
	}
	stated := be16(b[place:])
	if stated == 0 && f.Proto == protoUDP && f.IPVersion == 4 { // the sender omitted the checksum, RFC 768
		return
	}
	pseudo := uint64(f.Proto)
	if f.IPVersion == 6 {
		pseudo += uint64(checksum(f.Src[:], 0)) + uint64(checksum(f.Dst[:], 0))
	} else {
		pseudo += uint64(checksum(f.Src[12:], 0)) + uint64(checksum(f.Dst[12:], 0))
	}
	large := fold(pseudo)
	head := fold(pseudo + uint64(size>>16) + uint64(size&0xffff))
	unfinished := stated == head || stated == large && f.Proto == protoTCP
	if told && stated != 0 {
		w.d.OnSum(Sum{Start: w.whole - cap(b), End: w.whole - cap(b) + min(size, len(b)), Place: w.whole - cap(b) + place, UDP: f.Proto == protoUDP, Unfinished: unfinished})
	}
	if len(b) < size {
		return
	}
	off := checksum(b[:size], uint64(bits.ReverseBytes16(head)))
	switch {
	case off == 0xffff:
		if f.Problems&BadSum == 0 {
			f.Sums.L4 = off
		}
	case unfinished, stated == 0: // a correct TCP checksum may be 0 too
		f.Problems |= UnfinishedSum
	default:
		f.Problems |= BadSum
		f.Sums.L4, f.Sums.Pseudo = off, fold(uint64(stated)+uint64(^head))
	}
}
