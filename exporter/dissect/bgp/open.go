package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// offer has the statements of an OPEN that later messages need.
type offer struct {
	as, hold int64
	id       string
	list     []string
	wide     bool            // AS numbers of 4 bytes
	paths    map[family]byte // add-path: 1 receives, 2 sends, 3 both
}

// family is an address family.
type family struct {
	afi  int
	safi byte
}

func (f family) String() string {
	return tables()["afi"].Name(int64(f.afi), "afi_") + "/" + tables()["safi"].Name(int64(f.safi), "safi_")
}

func familyAt(b []byte) family { return family{int(binary.BigEndian.Uint16(b)), b[2]} }

// readOpen reads an OPEN, RFC 4271 section 4.2.
func readOpen(b []byte) (*offer, error) {
	o := &offer{as: int64(binary.BigEndian.Uint16(b[1:])), hold: int64(binary.BigEndian.Uint16(b[3:])), id: netip.AddrFrom4([4]byte(b[5:9])).String()}
	if b[0] != 4 {
		return nil, fmt.Errorf("reading an OPEN: version %d, expected 4", b[0])
	}
	size, b := int(b[9]), b[10:]
	long := size == 255 && len(b) >= 3 && b[0] == 255 // RFC 9072
	if long {
		size, b = int(binary.BigEndian.Uint16(b[1:])), b[3:]
	}
	if size != len(b) {
		return nil, fmt.Errorf("reading an OPEN: %d bytes of parameters, %d remain", size, len(b))
	}
	for len(b) > 0 {
		var kind byte
		var value []byte
		var ok bool
		if kind, value, b, ok = field(b, long); !ok {
			return nil, fmt.Errorf("reading an OPEN: a parameter is longer than the message")
		}
		if kind != 2 {
			o.note(fmt.Sprintf("parameter_%d", kind))
			continue
		}
		for len(value) > 0 {
			var of []byte
			if kind, of, value, ok = field(value, false); !ok {
				return nil, fmt.Errorf("reading an OPEN: a capability is longer than its parameter")
			}
			o.capability(int64(kind), of)
		}
	}
	return o, nil
}

// field reads a type, a length and a value.
func field(b []byte, long bool) (kind byte, value, rest []byte, ok bool) {
	n, at := 0, 2
	if long {
		at = 3
	}
	if len(b) < at {
		return 0, nil, nil, false
	}
	if n = int(b[1]); long {
		n = int(binary.BigEndian.Uint16(b[1:]))
	}
	if n > len(b)-at {
		return 0, nil, nil, false
	}
	return b[0], b[at : at+n], b[at+n:], true
}

func (o *offer) note(s string) {
	if len(o.list) < maxList {
		o.list = append(o.list, s)
	}
}

// capability reads a capability, RFC 5492.
func (o *offer) capability(code int64, b []byte) {
	name := tables()["capability"].Name(code, "capability_")
	switch {
	case code == 1 && len(b) == 4:
		name += " " + familyAt([]byte{b[0], b[1], b[3]}).String()
	case code == 65 && len(b) == 4:
		o.wide, o.as = true, int64(binary.BigEndian.Uint32(b))
		name += fmt.Sprintf(" %d", o.as)
	case code == 69 && len(b)%4 == 0:
		for ; len(b) > 0; b = b[4:] {
			f := familyAt(b)
			if o.paths == nil {
				o.paths = map[family]byte{}
			}
			if len(o.paths) < maxList && b[3] >= 1 && b[3] <= 3 {
				o.paths[f] = b[3]
				name += " " + f.String() + " " + []string{"receive", "send", "both"}[b[3]-1]
			}
		}
	case code == 64 && len(b) >= 2:
		name += fmt.Sprintf(" %d s", binary.BigEndian.Uint16(b)&0xfff)
	case code == 9 && len(b) == 1:
		name += " " + tables()["role"].Name(int64(b[0]), "role_")
	case code == 73 && len(b) > 1 && int(b[0]) < len(b):
		name += " " + line(b[1:1+int(b[0])])
	}
	o.note(clip.Text(name, maxText))
}

// line is text of the peer on one line.
func line(b []byte) string { return strings.TrimSpace(clip.Line(b, maxText)) }
