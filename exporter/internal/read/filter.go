package read

import (
	"errors"

	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Link types for which an expression is compiled.
const (
	linkEthernet    = 1
	linkCookedLinux = 276 // its packets carry their direction and interface
)

// packetFilter selects packets for the tables. A capture can have packets of several link types;
// each gets its program with its first packet.
type packetFilter struct {
	expr     string // empty selects every packet
	programs map[uint16]*filter.Program
	last     *filter.Program
	lastType uint16
}

// newFilter checks the expression before any packet is read. It returns *filter.Error for an
// invalid expression and for one that no packet can match. An expression that only Linux cooked
// packets can match is valid.
func newFilter(expr string) (*packetFilter, error) {
	var first error
	for _, linkType := range []uint16{linkEthernet, linkCookedLinux} {
		p, err := filter.Compile(expr, linkType, 0)
		if err == nil && p.CanMatch() {
			return &packetFilter{expr: expr, programs: map[uint16]*filter.Program{}}, nil
		}
		if err == nil {
			err = &filter.Error{Msg: "no packet can match the expression; vlan and mpls must come before the protocols that they carry"}
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// match returns an error if the expression cannot be evaluated for the packet's link type.
func (f *packetFilter) match(p *pcapng.Packet) (bool, error) {
	if f.expr == "" {
		return true, nil
	}
	if f.last == nil || f.lastType != p.LinkType {
		program := f.programs[p.LinkType]
		if program == nil {
			var err error
			if program, err = filter.Compile(f.expr, p.LinkType, 0); err != nil {
				return false, unfit(err, p.LinkType)
			}
			f.programs[p.LinkType] = program
		}
		f.last, f.lastType = program, p.LinkType
	}
	return f.last.Match(p.Data, p.OrigLen), nil
}

// unfit is the error of a valid expression that cannot be evaluated for a link type.
func unfit(err error, linkType uint16) error {
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		return &filter.LinkTypeError{LinkType: linkType, Offset: wrong.Offset, Msg: wrong.Msg}
	}
	return err
}
