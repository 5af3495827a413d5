package memcached

import (
	"encoding/binary"
	"errors"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	frameHead    = 8    // request id, number, count of datagrams, reserved
	maxDatagrams = 1024 // of one message
)

// datagram is the place of a datagram among those of a message.
type datagram struct {
	id, no, count uint16
	open          bool // the reply continues in the next datagram
}

var errDatagram = errors.New("reading a datagram: expected a request id, a number, a count and zero")

// frame reads the head of a datagram. Some clients do not clear its reserved bytes.
func frame(b []byte) (d datagram, ok bool) {
	if len(b) <= frameHead {
		return d, false
	}
	be := binary.BigEndian
	d = datagram{id: be.Uint16(b), no: be.Uint16(b[2:]), count: be.Uint16(b[4:])}
	return d, d.count > 0 && d.count <= maxDatagrams && d.no < d.count && (d.count == 1 || b[6] == 0 && b[7] == 0)
}

// readDatagram reads one datagram. A reply of many is read as far as they come in order.
func (k *conn) readDatagram(in *dissect.Input) (int, error) {
	d, ok := frame(in.Data)
	if !ok {
		return 0, errDatagram
	}
	was := k.datagram
	follows := in.Dir == dissect.ToClient && was.open && d.id == was.id && d.no == was.no+1
	if in.Dir == dissect.ToServer || !follows {
		if in.Dir == dissect.ToClient && k.reply != nil { // the rest of an earlier reply did not come
			k.reply.gap = true
			k.Resync(in.Dir, dissect.LossGap)
		}
		k.sides[in.Dir] = side{}
	}
	if d.no > 0 && !follows {
		return 0, errors.New("reading a datagram: the one before it is missing")
	}
	k.datagram = d
	n, err := k.read(in, frameHead)
	if err != nil {
		return n, err
	}
	if in.Dir == dissect.ToServer {
		if c := k.sides[in.Dir].call; c != nil { // a value that is not there completely
			k.sides[in.Dir] = side{}
			c.gap = true
		}
		k.datagram.open = was.open
		return n, nil
	}
	k.datagram.open = d.no+1 < d.count
	if !k.datagram.open && k.reply != nil {
		k.Resync(in.Dir, dissect.LossGap)
	}
	return n, nil
}
