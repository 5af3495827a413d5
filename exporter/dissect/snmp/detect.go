package snmp

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
)

// maxCommunity is far beyond the limits of agents.
const maxCommunity = 255

// detect requires a message that fills the datagram: a version, a community or the header of version 3, and a PDU that
// this side sends, whose variables fill it.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	r := ber.New(b)
	body := r.Enter(ber.Sequence)
	if r.Bad() || r.More() {
		return dissect.No
	}
	version := body.Int(ber.Integer)
	ok := false
	switch {
	case body.Bad():
	case version == 3:
		ok = valid3(dir, &body)
	case version == 0 || version == 1:
		community := body.Expect(ber.Octets)
		ok = !body.Bad() && len(community) <= maxCommunity && validPDU(dir, version, &body)
	}
	return dissect.Yes.If(ok)
}

// valid3 checks a message of version 3.
func valid3(dir dissect.Dir, r *ber.Reader) bool {
	global := r.Enter(ber.Sequence)
	id, size, flags, model := global.Int(ber.Integer), global.Int(ber.Integer), global.Expect(ber.Octets), global.Int(ber.Integer)
	r.Expect(ber.Octets)
	if r.Bad() || global.Bad() || global.More() || id < 0 || size < 484 || len(flags) != 1 || flags[0] > 7 || flags[0]&3 == flagPriv || model < 1 {
		return false
	}
	if flags[0]&flagPriv != 0 {
		r.Expect(ber.Octets)
		// The side that sends it expects an answer, or answers.
		return !r.Bad() && !r.More() && (flags[0]&flagReportable != 0) == (dir == dissect.ToServer)
	}
	scoped := r.Enter(ber.Sequence)
	scoped.Expect(ber.Octets)
	scoped.Expect(ber.Octets)
	return !r.Bad() && !r.More() && !scoped.Bad() && validPDU(dir, 3, &scoped)
}

// validPDU checks the last element of r.
func validPDU(dir dissect.Dir, version int64, r *ber.Reader) bool {
	tag, body := r.Next()
	if r.Bad() || r.More() || tables()["pdu"][int64(tag)] == "" || (tag == tagResponse || tag == tagReport) != (dir == dissect.ToClient) {
		return false
	}
	if version == 0 && tag > tagTrap || version > 0 && tag == tagTrap || version < 3 && tag == tagReport {
		return false
	}
	p := ber.New(body)
	if tag == tagTrap {
		p.Expect(ber.OID)
		p.Expect(tagAddress)
		p.Int(ber.Integer)
		p.Int(ber.Integer)
		p.Expect(tagTicks)
	} else {
		p.Int(ber.Integer)
		p.Int(ber.Integer)
		p.Int(ber.Integer)
	}
	list := p.Enter(ber.Sequence)
	for list.More() {
		v := list.Enter(ber.Sequence)
		v.Expect(ber.OID)
		if v.Next(); v.Bad() || v.More() {
			return false
		}
	}
	return !p.Bad() && !p.More() && !list.Bad()
}
