package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Types of path attributes.
const (
	attrOrigin    = 1
	attrASPath    = 2
	attrNextHop   = 3
	attrCommunity = 8
	attrReach     = 14
	attrUnreach   = 15
	attrAS4Path   = 17
	attrLarge     = 32
)

var ipv4 = family{1, 1}

// routes are the routes of an UPDATE in the making.
type routes struct {
	row      *Row
	more     func(family) bool // whether prefixes have path identifiers
	unread   [2]bool           // a family whose prefixes are not read was announced, withdrawn
	path     [][]segment       // AS_PATH, then AS4_PATH
	wide     func([]byte) bool
	families []family
}

// update reads an UPDATE, RFC 4271 section 4.3. ok is false if a field does not fit.
func (k *conn) update(dir dissect.Dir, row *Row, b []byte) (ok bool) {
	u := &routes{row: row, more: func(f family) bool { return k.addPath(dir, f) }, path: make([][]segment, 2)}
	u.wide = func(b []byte) bool {
		mine, peer := k.sent[dir], k.sent[dir.Other()]
		if mine != nil && peer != nil {
			return mine.wide && peer.wide
		}
		_, fits := segments(b, 4)
		return fits
	}
	row.Announced, row.Withdrawn = table.Some(int64(0)), table.Some(int64(0))
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-4 {
		return false
	}
	withdrawn, b := b[2:2+n], b[2+n:]
	n = int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return false
	}
	attributes, announced := b[2:2+n], b[2+n:]
	ok = u.withdraw(ipv4, withdrawn)
	ok = u.attributes(attributes) && ok
	ok = u.announce(ipv4, announced) && ok
	for i, list := range []*table.Opt[int64]{&row.Announced, &row.Withdrawn} {
		if u.unread[i] {
			*list = table.Opt[int64]{}
		}
	}
	row.ASPath = table.NonEmpty(clip.Text(pathText(joined(u.path[0], u.path[1])), maxPath))
	none := row.Announced.OK && row.Announced.V == 0 && row.Withdrawn.OK && row.Withdrawn.V == 0
	switch {
	case none && len(attributes) == 0 && len(withdrawn) == 0:
		row.EndOfRIB = true
		u.family(ipv4)
	case none && len(u.families) == 1 && !row.ASPath.OK && !row.Origin.OK:
		row.EndOfRIB = true
	}
	for _, f := range u.families {
		row.Families = append(row.Families, f.String())
	}
	return ok
}

// addPath reports whether the prefixes that a side sends have path identifiers, RFC 7911 section 4.
func (k *conn) addPath(dir dissect.Dir, f family) bool {
	mine, peer := k.sent[dir], k.sent[dir.Other()]
	return mine != nil && peer != nil && mine.paths[f]&2 != 0 && peer.paths[f]&1 != 0
}

func (u *routes) family(f family) {
	if !slices.Contains(u.families, f) && len(u.families) < maxList {
		u.families = append(u.families, f)
	}
}

func (u *routes) announce(f family, b []byte) bool {
	if len(b) > 0 {
		u.family(f)
	}
	return u.prefixes(f, b, 0, &u.row.Announced, &u.row.Prefixes)
}

func (u *routes) withdraw(f family, b []byte) bool {
	if len(b) > 0 {
		u.family(f)
	}
	return u.prefixes(f, b, 1, &u.row.Withdrawn, &u.row.WithdrawnList)
}

// prefixes counts prefixes, and lists those of IPv4 and IPv6.
func (u *routes) prefixes(f family, b []byte, kind int, count *table.Opt[int64], list *[]string) bool {
	bits := map[int]int{1: 32, 2: 128}[f.afi]
	plain := bits > 0 && (f.safi == 1 || f.safi == 2)
	most := bits
	switch {
	case bits > 0 && f.safi == 4:
		most += 24 * 16
	case bits > 0 && f.safi == 128:
		most += 64 + 24*16
	case !plain:
		u.unread[kind] = u.unread[kind] || len(b) > 0
		return true
	}
	for len(b) > 0 {
		if u.more(f) {
			if len(b) < 5 {
				return false
			}
			b = b[4:]
		}
		n := int(b[0])
		size := (n + 7) / 8
		if n > most || size > len(b)-1 {
			return false
		}
		count.V++
		if plain && len(*list) < maxList {
			var a [16]byte
			copy(a[:], b[1:1+size])
			addr := netip.AddrFrom16(a)
			if bits == 32 {
				addr = netip.AddrFrom4([4]byte(a[:4]))
			}
			*list = append(*list, netip.PrefixFrom(addr, n).Masked().String())
		}
		b = b[1+size:]
	}
	return true
}

// attributes reads path attributes, RFC 4271 section 4.3.
func (u *routes) attributes(b []byte) bool {
	ok := true
	for len(b) > 0 {
		if len(b) < 3 {
			return false
		}
		kind := b[1]
		n, at := int(b[2]), 3
		if b[0]&0x10 != 0 {
			if len(b) < 4 {
				return false
			}
			n, at = int(binary.BigEndian.Uint16(b[2:])), 4
		}
		if n > len(b)-at {
			return false
		}
		ok = u.attribute(kind, b[at:at+n]) && ok
		b = b[at+n:]
	}
	return ok
}

func (u *routes) attribute(kind byte, b []byte) bool {
	row := u.row
	switch kind {
	case attrOrigin:
		if len(b) != 1 {
			return false
		}
		row.Origin = table.Some(tables()["origin"].Name(int64(b[0]), "origin_"))
	case attrASPath, attrAS4Path:
		size, i := 4, 1
		if kind == attrASPath {
			if i = 0; !u.wide(b) {
				size = 2
			}
		}
		list, ok := segments(b, size)
		if ok {
			u.path[i] = list
		}
		return ok
	case attrNextHop:
		if len(b) != 4 {
			return false
		}
		row.NextHop = table.Some(netip.AddrFrom4([4]byte(b)).String())
	case attrCommunity, attrLarge:
		return u.communities(b, map[byte]int{attrCommunity: 4, attrLarge: 12}[kind])
	case attrReach:
		return u.reach(b)
	case attrUnreach:
		if len(b) < 3 {
			return false
		}
		u.family(familyAt(b))
		return u.withdraw(familyAt(b), b[3:])
	}
	return true
}

// reach reads the announced routes of other families, RFC 4760 section 3.
func (u *routes) reach(b []byte) bool {
	if len(b) < 5 || 5+int(b[3]) > len(b) {
		return false
	}
	f, hop := familyAt(b), b[4:4+int(b[3])]
	u.family(f)
	if f.safi == 128 && len(hop) > 8 { // after a route distinguisher
		hop = hop[8:]
	}
	switch {
	case len(hop) >= 16:
		u.row.NextHop = table.Some(netip.AddrFrom16([16]byte(hop[:16])).String())
	case len(hop) == 4:
		u.row.NextHop = table.Some(netip.AddrFrom4([4]byte(hop)).String())
	}
	return u.announce(f, b[5+int(b[3]):])
}

// communities reads communities (RFC 1997) and large communities (RFC 8092).
func (u *routes) communities(b []byte, size int) bool {
	if len(b)%size != 0 {
		return false
	}
	for ; len(b) > 0 && len(u.row.Communities) < maxList; b = b[size:] {
		s := fmt.Sprintf("%d:%d", binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
		if size == 12 {
			s = fmt.Sprintf("%d:%d:%d", binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]))
		}
		u.row.Communities = append(u.row.Communities, s)
	}
	return true
}

// segment is a part of an AS path.
type segment struct {
	kind byte
	as   []uint32
}

// segments reads an AS path whose numbers have size bytes.
func segments(b []byte, size int) (list []segment, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 || b[0] < 1 || b[0] > 4 || int(b[1])*size > len(b)-2 {
			return nil, false
		}
		s := segment{kind: b[0]}
		n := int(b[1])
		for b = b[2:]; n > 0; n, b = n-1, b[size:] {
			if size == 2 {
				s.as = append(s.as, uint32(binary.BigEndian.Uint16(b)))
			} else {
				s.as = append(s.as, binary.BigEndian.Uint32(b))
			}
		}
		list = append(list, s)
	}
	return list, true
}

// joined replaces the end of a path of 2-byte numbers by AS4_PATH, RFC 6793 section 4.2.3.
func joined(path, wide []segment) []segment {
	skip := length(path) - length(wide)
	if len(wide) == 0 || skip < 0 {
		return path
	}
	var list []segment
	for _, s := range path {
		switch n := length([]segment{s}); {
		case skip <= 0:
			return append(list, wide...)
		case n <= skip:
			list = append(list, s)
			skip -= n
		default:
			list = append(list, segment{s.kind, s.as[:skip]})
			skip = 0
		}
	}
	return append(list, wide...)
}

// length counts the systems of a path; a set counts as one, and confederations do not.
func length(path []segment) (n int) {
	for _, s := range path {
		switch s.kind {
		case 1:
			n++
		case 2:
			n += len(s.as)
		}
	}
	return n
}

func pathText(path []segment) string {
	var parts []string
	for _, s := range path {
		var as []string
		for _, n := range s.as {
			as = append(as, strconv.FormatUint(uint64(n), 10))
		}
		switch s.kind {
		case 1:
			parts = append(parts, "{"+strings.Join(as, ",")+"}")
		case 3:
			parts = append(parts, "("+strings.Join(as, " ")+")")
		case 4:
			parts = append(parts, "({"+strings.Join(as, ",")+"})")
		default:
			parts = append(parts, as...)
		}
	}
	return strings.Join(parts, " ")
}
