package keys

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

const (
	maxSealed  = 48 // protected records of a side that are used to prove keys
	maxHello   = 16 << 10
	recordHead = 5
)

const (
	recordCCS       = 20
	recordHandshake = 22
	recordData      = 23
)

var (
	errNotTLS = errors.New("not TLS")
	errMore   = errors.New("more must be captured")
	errSuite  = errors.New("an unsupported version or cipher suite")
)

// helloRetry is the random of a ServerHello that is a HelloRetryRequest, RFC 8446 section 4.1.3.
var helloRetry = [32]byte{0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c}

// conversation has the parameters and records from the beginning of a connection.
type conversation struct {
	version                    uint16
	suite                      *secrets.Suite
	encryptThenMAC             bool
	clientRandom, serverRandom []byte
	client, server             []secrets.Record // protected records; before TLS 1.3 only the first one
}

// eachRecord calls f with complete records until it returns false.
func eachRecord(b []byte, f func(r secrets.Record) bool) {
	for len(b) >= recordHead {
		n := int(binary.BigEndian.Uint16(b[3:]))
		if b[1] != 3 || n > 1<<14+2048 || len(b) < recordHead+n {
			return
		}
		r := secrets.Record{Type: b[0], Version: binary.BigEndian.Uint16(b[1:]), Header: b[:recordHead], Body: b[recordHead : recordHead+n]}
		if !f(r) {
			return
		}
		b = b[recordHead+n:]
	}
}

// hello calls each with the messages of a type in the unencrypted beginning of a side.
func hello(side []byte, typ byte, each func(body []byte) bool) {
	var text []byte
	eachRecord(side, func(r secrets.Record) bool {
		if r.Type == recordCCS {
			return true // TLS 1.3; in earlier versions nothing unencrypted follows
		}
		if r.Type != recordHandshake || len(text)+len(r.Body) > maxHello {
			return false
		}
		text = append(text, r.Body...)
		return true
	})
	for len(text) >= 4 {
		n := int(text[1])<<16 | int(text[2])<<8 | int(text[3])
		if n > len(text)-4 || text[0] == typ && !each(text[4:4+n]) {
			return
		}
		text = text[4+n:]
	}
}

// randomOf returns the client random in the first bytes of a connection.
func randomOf(client []byte) (random [32]byte, ok bool) {
	hello(client, 1, func(b []byte) bool {
		if len(b) >= 34 {
			copy(random[:], b[2:34])
			ok = true
		}
		return false
	})
	return random, ok
}

// converse parses the beginning of a connection.
func converse(client, server []byte) (*conversation, error) {
	random, ok := randomOf(client)
	if !ok {
		return nil, errNotTLS
	}
	c := &conversation{clientRandom: random[:]}
	err := errMore
	hello(server, 2, func(b []byte) bool {
		if len(b) < 35 || len(b) < 35+int(b[34])+3 {
			err = errNotTLS
			return false
		}
		if bytes.Equal(b[2:34], helloRetry[:]) {
			return true
		}
		err = nil
		c.version, c.serverRandom = binary.BigEndian.Uint16(b), b[2:34]
		b = b[35+int(b[34]):]
		c.suite = secrets.SuiteOf(binary.BigEndian.Uint16(b))
		c.extensions(b[3:])
		return false
	})
	if err != nil {
		return nil, err
	}
	if c.suite == nil || c.version < secrets.TLS10 || c.version > secrets.TLS13 || c.suite.TLS13 != (c.version == secrets.TLS13) {
		return nil, errSuite
	}
	c.client, c.server = c.sealed(client), c.sealed(server)
	return c, nil
}

func (c *conversation) extensions(b []byte) {
	if len(b) < 2 {
		return
	}
	for b = b[2:]; len(b) >= 4; {
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return
		}
		switch {
		case typ == 43 && n == 2:
			c.version = binary.BigEndian.Uint16(b[4:])
		case typ == 22:
			c.encryptThenMAC = true
		}
		b = b[4+n:]
	}
}

// sealed returns protected records. For TLS 1.3 it returns all of them, each as if it were the
// first one of its keys, because it is unknown where keys change.
func (c *conversation) sealed(side []byte) (list []secrets.Record) {
	changed := false
	eachRecord(side, func(r secrets.Record) bool {
		switch {
		case c.version == secrets.TLS13:
			if r.Type == recordData {
				list = append(list, r)
			}
		case changed:
			list = append(list, r)
		case r.Type == recordCCS:
			changed = true
		}
		return len(list) < maxSealed && (c.version == secrets.TLS13 || len(list) == 0)
	})
	return list
}

// opens13 reports whether a TLS 1.3 traffic secret opens a record of the side as the first
// record of the secret.
func (c *conversation) opens13(secret []byte, side, most int) bool {
	if c.version != secrets.TLS13 || len(secret) != c.suite.Hash.Size() {
		return false
	}
	o, err := secrets.Open13(c.suite, secret)
	if err != nil {
		return false
	}
	list := c.client
	if side != 0 {
		list = c.server
	}
	for i := range list[:min(most, len(list))] {
		if _, _, err := o.Open(nil, &list[i]); err == nil {
			return true
		}
	}
	return false
}

// continues reports whether a side has records after those of its handshake, which a TLS 1.3
// traffic secret opens.
func (c *conversation) continues(handshake []byte, side int) bool {
	o, err := secrets.Open13(c.suite, handshake)
	if err != nil {
		return false
	}
	list := c.client
	if side != 0 {
		list = c.server
	}
	seq := uint64(0)
	for _, r := range list {
		r.Seq = seq
		if _, _, err := o.Open(nil, &r); err == nil {
			seq++
		} else if seq > 0 {
			return true
		}
	}
	return false
}

// opens12 reports whether a master secret opens a side's first protected record.
func (c *conversation) opens12(master []byte) bool {
	if c.version == secrets.TLS13 || len(master) != 48 {
		return false
	}
	client, server, err := secrets.Open12(c.version, c.suite, c.encryptThenMAC, master, c.clientRandom, c.serverRandom)
	if err != nil {
		return false
	}
	if len(c.client) > 0 {
		_, _, err := client.Open(nil, &c.client[0])
		return err == nil
	}
	if len(c.server) > 0 {
		_, _, err := server.Open(nil, &c.server[0])
		return err == nil
	}
	return false
}

// opens reports whether a secret opens a record.
func (c *conversation) opens(s secrets.Secret) bool {
	switch s.Label {
	case secrets.ClientRandom:
		return c.opens12(s.Value)
	case secrets.ClientHandshakeTraffic, secrets.ClientEarlyTraffic:
		return c.opens13(s.Value, 0, maxSealed)
	case secrets.ServerHandshakeTraffic:
		return c.opens13(s.Value, 1, maxSealed)
	case secrets.ClientTraffic:
		return s.N == 0 && c.opens13(s.Value, 0, maxSealed)
	case secrets.ServerTraffic:
		return s.N == 0 && c.opens13(s.Value, 1, maxSealed)
	}
	return false
}

// proven reports whether a secret opens a captured record or packet.
func proven(from Captured, s secrets.Secret) bool {
	if c, err := conversationOf(from, s.ID); err == nil {
		return c.opens(s)
	}
	q, ok := from.(interface{ opensPacket(secrets.Secret) bool })
	return ok && q.opensPacket(s)
}

// conversationOf parses the captured part of the connection with a client random.
func conversationOf(from Captured, random []byte) (*conversation, error) {
	if from == nil || len(random) != 32 {
		return nil, errMore
	}
	client, server, ok := from.Records([32]byte(random))
	if !ok {
		return nil, errMore
	}
	return converse(client, server)
}
