package kerberos

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
)

const (
	apReqTag = application | 14
	paTGSReq = 1
	paSealed = 138 // PA-ENCRYPTED-CHALLENGE, RFC 6113 section 5.4.6
)

// secrets lists the credentials in a message: what is encrypted, checksums, and pre-authentication data that
// is not known to have none. A part that cannot be read is one as a whole.
type secrets struct{ list [][]byte }

// hide marks the credentials in a message, which is a part of the input.
func hide(in *dissect.Input, x *dissect.Exchange, b []byte) {
	if !in.Tracing() {
		return
	}
	var s secrets
	kind, fields, _ := head(b)
	if each(fields, func(n byte, v ber.Reader) { s.field(kind, n, v) }) != "" {
		s.add(b)
	}
	x.Hide(in, 0, 0) // there may be none
	for _, part := range s.list {
		x.HidePart(in, part)
	}
}

func (s *secrets) add(b []byte) { s.list = append(s.list, b) }

// field reads a field of a message, RFC 4120 sections 5.4.1, 5.4.2 and 5.9.1.
func (s *secrets) field(kind int64, n byte, v ber.Reader) {
	request := kind == asReq || kind == tgsReq
	switch {
	case kind == krbError && n == 12: // of some errors it is a list
		s.all(ber.New(v.Expect(ber.Octets)))
	case kind == krbError:
	case request && n == 3, !request && n == 2:
		s.all(v)
	case request && n == 4:
		s.sequence(v, func(n byte, v ber.Reader) {
			switch n {
			case 10:
				s.octets(v, 2)
			case 11:
				whole := v.Rest()
				list := v.Enter(ber.Sequence)
				for list.More() {
					s.ticket(&list)
				}
				if list.Bad() {
					s.add(whole)
				}
			}
		})
	case !request && n == 5:
		s.ticket(&v)
	case !request && n == 6:
		s.octets(v, 2)
	}
}

// sequence reads the fields of a SEQUENCE.
func (s *secrets) sequence(v ber.Reader, f func(n byte, v ber.Reader)) {
	whole := v.Rest()
	if each(v.Enter(ber.Sequence), f) != "" || v.Bad() {
		s.add(whole)
	}
}

// octets adds field no of a SEQUENCE: 2 of EncryptedData, 1 of Checksum.
func (s *secrets) octets(v ber.Reader, no byte) {
	s.sequence(v, func(n byte, v ber.Reader) {
		if n == no {
			whole := v.Rest()
			if b := v.Expect(ber.Octets); !v.Bad() {
				whole = b
			}
			s.add(whole)
		}
	})
}

// ticket reads Ticket, section 5.3.
func (s *secrets) ticket(v *ber.Reader) {
	whole := v.Rest()
	ticket := v.Enter(ticketTag)
	if v.Bad() {
		s.add(whole)
		return
	}
	s.sequence(ticket, func(n byte, v ber.Reader) {
		if n == 3 {
			s.octets(v, 2)
		}
	})
}

// all reads a list of pre-authentication data.
func (s *secrets) all(v ber.Reader) {
	whole := v.Rest()
	list := v.Enter(ber.Sequence)
	for list.More() {
		one := list.Enter(ber.Sequence)
		kind, value := one.Enter(context|1), one.Enter(context|2)
		n, b := kind.Int(ber.Integer), value.Expect(ber.Octets)
		if one.Bad() || kind.Bad() || value.Bad() {
			s.add(whole)
			return
		}
		s.padata(n, b)
	}
	if v.Bad() || list.Bad() {
		s.add(whole)
	}
}

// padata reads pre-authentication data.
func (s *secrets) padata(n int64, b []byte) {
	v := ber.New(b)
	switch {
	case tables()["open"][n] != "":
	case n == paTimestamp, n == paSealed:
		s.octets(v, 2)
	case n == paTGSReq:
		request := v.Enter(apReqTag)
		if v.Bad() {
			s.add(b)
			return
		}
		s.sequence(request, func(n byte, v ber.Reader) {
			switch n {
			case 3:
				s.ticket(&v)
			case 4:
				s.octets(v, 2)
			}
		})
	case n == paForUser:
		s.sequence(v, func(n byte, v ber.Reader) {
			if n == 2 {
				s.octets(v, 1)
			}
		})
	default:
		s.add(b)
	}
}
