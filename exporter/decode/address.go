package decode

// Address is an IP address in the headers of a packet.
type Address struct {
	At   int // offset in Input.Data
	Size int // 4 or 16 bytes
	Role Role
}

// Role is what an address is in its header.
type Role uint8

const (
	RoleOther       Role = iota // in ARP, on the route of a packet, in an option, or in an export of Wireshark
	RoleSource                  // in the fixed part of an IP header, of which it is the first address
	RoleDestination             // the second
	RoleHome                    // counts as the source in the checksums behind the header (RFC 6275 section 11.3.1)
	RoleLast                    // counts as the destination there: the end of the packet's route (RFC 8200 section 8.1)
)

// address reports that b begins with an address.
func (w *walk) address(b []byte, size int, role Role) {
	if w.d != nil && w.d.OnAddress != nil && w.f.FragNos == nil {
		w.d.OnAddress(Address{At: w.whole - cap(b), Size: size, Role: role})
	}
}

// route reports a list of addresses. last is the role of the last one.
func (w *walk) route(list []byte, size int, last Role) {
	for ; len(list) >= size; list = list[size:] {
		role := RoleOther
		if len(list) < 2*size {
			role = last
		}
		w.address(list, size, role)
	}
}

// Options of IPv4 with addresses (RFC 791 section 3.1).
const (
	optionEnd         = 0
	optionNop         = 1
	optionRecordRoute = 7
	optionTimestamp   = 68
	optionLooseRoute  = 131
	optionStrictRoute = 137
)

// options4 reads the options of an IPv4 header. While a source route has addresses left, the last of them is the packet's
// destination, as for IPv6. There is at most one source route (RFC 1122 section 3.2.1.8).
func (w *walk) options4(b []byte) {
	routed := false
	for len(b) >= 2 && b[0] != optionEnd {
		if b[0] == optionNop {
			b = b[1:]
			continue
		}
		size := int(b[1])
		if size < 2 || size > len(b) {
			return
		}
		option := b[:size]
		b = b[size:]
		if size < 3+4 {
			continue
		}
		switch option[0] {
		case optionRecordRoute:
			w.route(option[3:], 4, RoleOther)
		case optionLooseRoute, optionStrictRoute:
			list, last := option[3:size-(size-3)%4], RoleOther
			if !routed && int(option[2])+3 <= size { // its pointer, which counts from 1, is not behind the last address
				last = RoleLast
				w.f.Dst.set4(list[len(list)-4:])
			}
			routed = true
			w.route(list, 4, last)
		case optionTimestamp:
			if flag := option[3] & 15; flag == 1 || flag == 3 { // addresses before times
				for list := option[4:]; len(list) >= 4; list = list[min(8, len(list)):] {
					w.address(list, 4, RoleOther)
				}
			}
		}
	}
}

// routing reads a routing header. While it has segments left, the end of the route is the packet's destination: the
// packet's checksum covers it (RFC 8200 section 8.1), and answers come from it.
func (w *walk) routing(b []byte) {
	size := (int(b[1]) + 1) * 8
	if len(b) < size || size < 24 {
		return
	}
	last := RoleOther
	if b[3] != 0 { // segments left
		last = RoleLast
	}
	switch b[2] {
	case 0, 2: // RFC 2460 section 4.4 and RFC 6275 section 6.4: addresses in order of travel
		list := b[8 : size-(size-8)%16]
		if last == RoleLast {
			w.f.Dst = Addr(list[len(list)-16:])
		}
		w.route(list, 16, last)
	case 4: // segment routing, RFC 8754 section 2: the last segment comes first
		if last == RoleLast {
			w.f.Dst = Addr(b[8:24])
		}
		w.address(b[8:], 16, last)
		if segments := 8 + 16*(int(b[4])+1); segments > 24 && segments <= size {
			w.route(b[24:segments], 16, RoleOther)
		}
	}
}

// home finds the home address option among destination options (RFC 6275 section 6.3). It is the packet's
// source; the header has the present address of the machine.
func (w *walk) home(b []byte) {
	const pad1, homeAddress = 0, 0xc9
	b = b[:min(len(b), (int(b[1])+1)*8)]
	for at := 2; at+1 < len(b); {
		if b[at] == pad1 {
			at++
			continue
		}
		size := int(b[at+1])
		if b[at] == homeAddress && size == 16 && at+2+16 <= len(b) {
			w.f.Src = Addr(b[at+2 : at+18])
			w.address(b[at+2:], 16, RoleHome)
			return
		}
		at += 2 + size
	}
}
