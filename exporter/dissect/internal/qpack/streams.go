package qpack

import (
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
)

// Insertions reads complete instructions from the front of the encoder stream and returns their
// length in bytes, RFC 9204 section 4.3. It stops when Count reaches until, so that a section
// waiting for that count is read before its entries are evicted. After an error the rest cannot
// be decoded and the decoder is Lost.
func (d *Decoder) Insertions(p []byte, until int64) (int, error) {
	if d.lost {
		return 0, nil
	}
	n := 0
	for n < len(p) && d.count < until {
		rest, err := d.instruction(p[n:])
		if errors.Is(err, ErrShort) {
			if len(p)-n > 2*maxString+64 {
				d.Lose()
				return n, ErrLimit
			}
			return n, nil
		}
		if err != nil {
			d.Lose()
			return n, err
		}
		n = len(p) - len(rest)
	}
	return n, nil
}

// instruction reads one instruction, or returns ErrShort if it is incomplete. Strings are
// decoded only once it is complete, so a string in many pieces costs no more.
func (d *Decoder) instruction(p []byte) ([]byte, error) {
	b := p[0]
	switch {
	case b&0x80 != 0: // insert with name reference
		i, p, err := integer(p, 6)
		if err != nil {
			return p, err
		}
		value, coded, p, err := cutString(p, 7)
		if err != nil {
			return p, tooLong(p, err)
		}
		e, err := d.named(i, b&0x40 != 0)
		if err != nil {
			return p, err
		}
		if e.value, err = plain(value, coded); err != nil {
			return p, err
		}
		return p, d.add(e)
	case b&0x40 != 0: // insert with literal name
		name, nameCoded, p, err := cutString(p, 5)
		if err != nil {
			return p, tooLong(p, err)
		}
		value, coded, p, err := cutString(p, 7)
		if err != nil {
			return p, tooLong(p, err)
		}
		var e entry
		if e.name, err = plain(name, nameCoded); err != nil {
			return p, err
		}
		if e.value, err = plain(value, coded); err != nil {
			return p, err
		}
		return p, d.add(e)
	case b&0x20 != 0: // set capacity
		n, p, err := integer(p, 5)
		if err == nil {
			d.resize(n)
		}
		return p, err
	default: // duplicate
		i, p, err := integer(p, 5)
		if err != nil {
			return p, err
		}
		if i >= d.count {
			return p, fmt.Errorf("duplicate of %d entries back with %d inserted: %w", i+1, d.count, ErrIndex)
		}
		return p, d.add(d.get(d.count - 1 - i))
	}
}

// tooLong returns ErrLimit for an incomplete string that can never become complete.
func tooLong(p []byte, err error) error {
	if errors.Is(err, ErrShort) && len(p) > maxString {
		return ErrLimit
	}
	return err
}

// named is an entry with the name of the entry that an instruction refers to.
func (d *Decoder) named(i int64, isStatic bool) (entry, error) {
	if isStatic {
		if i >= int64(len(static)) {
			return entry{}, fmt.Errorf("static index %d: %w", i, ErrIndex)
		}
		return entry{name: static[i].name}, nil
	}
	if i >= d.count {
		return entry{}, fmt.Errorf("the name of %d entries back with %d inserted: %w", i+1, d.count, ErrIndex)
	}
	e := d.get(d.count - 1 - i)
	return entry{name: e.name, unknown: e.unknown}, nil
}

func plain(p []byte, coded bool) (string, error) {
	if !coded {
		return string(p), nil
	}
	var buf [256]byte
	out, err := hpack.AppendHuffman(buf[:0], p)
	return string(out), err
}

// Acks reads complete instructions from the front of the other side's decoder stream and returns
// their length in bytes, RFC 9204 section 4.4.
func (d *Decoder) Acks(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		b := p[n]
		bits := uint(6)
		if b&0x80 != 0 {
			bits = 7
		}
		v, rest, err := integer(p[n:], bits)
		if errors.Is(err, ErrShort) {
			return n, nil
		}
		if err == nil && b&0xc0 == 0 && v == 0 {
			err = fmt.Errorf("an insert count increment of 0: %w", ErrInteger)
		}
		if err != nil {
			d.LoseAcks()
			return n, err
		}
		switch {
		case b&0x80 != 0:
			d.acknowledge(v)
		case b&0x40 != 0:
			d.cancel(v)
		default:
			if d.acked += v; d.acked > maxInteger {
				d.acked = maxInteger / 2
				d.LoseAcks()
			}
		}
		n = len(p) - len(rest)
	}
	return n, nil
}

// remember stores the entries that a section needs until it is acknowledged.
func (d *Decoder) remember(stream, need int64) {
	if d.nUnacked >= maxUnacked {
		d.LoseAcks()
		return
	}
	if d.unacked == nil {
		d.unacked = map[int64][]int64{}
	}
	d.unacked[stream] = append(d.unacked[stream], need)
	d.nUnacked++
}

// acknowledge records that the other side has read the oldest section of a stream.
func (d *Decoder) acknowledge(stream int64) {
	if d.ackLost {
		return
	}
	list := d.unacked[stream]
	if len(list) == 0 { // its section was not captured
		d.LoseAcks()
		return
	}
	d.acked = max(d.acked, list[0])
	d.nUnacked--
	if len(list) == 1 {
		delete(d.unacked, stream)
	} else {
		d.unacked[stream] = list[1:]
	}
}

// cancel records that the other side will not read the sections of a stream.
func (d *Decoder) cancel(stream int64) {
	d.nUnacked -= len(d.unacked[stream])
	delete(d.unacked, stream)
}
