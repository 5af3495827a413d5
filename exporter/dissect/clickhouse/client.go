package clickhouse

import (
	"errors"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Packets of the client.
const (
	clientHello       = 0
	clientQuery       = 1
	clientData        = 2
	clientCancel      = 3
	clientPing        = 4
	clientTables      = 5
	clientKeepAlive   = 6
	clientScalar      = 7
	clientIgnored     = 8
	clientSSHRequest  = 11
	clientSSHResponse = 12
)

// fromClient reads a packet of the client, without a block that follows.
func (k *conn) fromClient(in *input, at int) (int, error) {
	b := in.data[at:]
	if k.addendum {
		n := k.afterHello(b)
		if n < 0 {
			return 0, nil
		}
		if k.addendum = false; n > 0 {
			if c := k.sides[in.Dir].call; c != nil {
				in.add(&c.x, at, at+n)
			}
			return n, nil
		}
	}
	r := &cursor{b: b, at: 1}
	switch b[0] {
	case clientHello:
		if k.endsMessage(in.Dir, b) {
			return 0, nil
		}
		h := readHello(r)
		return k.packet(in, at, r, func() { k.login(in, at, r.at, h) })
	case clientQuery:
		q, so, r := readAnyQuery(b, k.revs)
		return k.packet(in, at, r, func() {
			k.revs = so
			k.query(in, at, r.at, q)
		})
	case clientPing, clientKeepAlive:
		return k.packet(in, at, r, func() {
			if b[0] == clientPing {
				k.push(in, at, r.at, k.newCall("PING"))
			}
		})
	case clientCancel:
		return k.packet(in, at, r, func() {
			if c := k.newest(); c != nil {
				c.row.Cancelled = true
				in.add(&c.x, at, at+1)
			}
		})
	case clientData, clientScalar:
		name := r.name()
		return k.packet(in, at, r, func() { k.begin(in, at, r.at, k.sender(), name == "" && b[0] == clientData) })
	case clientTables:
		n := r.uvarint()
		for range min(n, maxColumns) {
			r.name()
			r.name()
		}
		return k.packet(in, at, r, func() { k.push(in, at, r.at, k.newCall("TABLES")) })
	case clientIgnored:
		r.take(int(min(r.uvarint(), maxColumns)) * 16)
		return k.packet(in, at, r, func() {})
	case clientSSHRequest:
		return k.packet(in, at, r, func() {})
	case clientSSHResponse:
		r.bytes(maxType)
		return k.packet(in, at, r, func() {})
	}
	return 0, errBytes
}

// packet finishes a packet of the cursor's length.
func (k *conn) packet(in *input, at int, r *cursor, done func()) (int, error) {
	switch {
	case errors.Is(r.err, errShort):
		if at == 0 && r.need > 0 {
			in.need(k.Conn, r.need)
		}
		return 0, nil
	case r.err != nil:
		return 0, r.err
	}
	done()
	return r.at, nil
}

// afterHello returns the length of the rest of a login, which newer clients send after the answer: a
// key of quotas, and from later revisions two words about chunks and a version. It returns -1 if it
// needs more bytes.
func (k *conn) afterHello(b []byte) int {
	if b[0] == clientQuery {
		if _, _, r := readAnyQuery(b, k.revs); r.err == nil || errors.Is(r.err, errShort) && len(b) > 1 && r.at > 1 {
			return 0
		}
	}
	if b[0] == clientPing && len(b) == 1 {
		return 0
	}
	r := &cursor{b: b}
	r.name()
	end := r.at
	if r.err != nil || end == len(b) {
		return -1
	}
	if next := b[end:]; next[0] != byte(len(notChunked)) && !(next[0] == byte(len(chunked)) && (len(next) == 1 || next[1] == chunked[0])) {
		return end
	}
	send, receive := r.name(), r.name()
	if k.revs.most >= revParallel {
		r.uvarint()
	}
	if r.err != nil {
		return -1
	}
	k.choose(send == chunked, receive == chunked)
	return r.at
}

// choose records which sides send chunks.
func (k *conn) choose(client, server bool) {
	for dir, c := range [2]bool{client, server} {
		s := &k.sides[dir]
		s.chunked, s.known, s.never, s.left = c, true, !c, 0
	}
}

// login begins the call of a hello.
func (k *conn) login(in *input, at, n int, h hello) {
	k.revs, k.version = revisions{h.revision, h.revision}, ""
	k.user, k.database, k.application = clip.Text(h.user, maxName), clip.Text(h.database, maxName), clip.Text(h.client, maxName)
	k.addendum = h.revision >= revAddendum
	c := k.newCall("HELLO")
	c.row.AuthKind = table.Some("none")
	if from, to := at+h.password[0], at+h.password[1]; from < to {
		c.row.AuthKind = table.Some("password")
		c.x.Hide(in.Input, in.place(from), in.after(to-1))
	}
	k.push(in, at, n, c)
}

// push adds a request to those that wait.
func (k *conn) push(in *input, at, n int, c *call) {
	k.endStray()
	c.whole = true
	in.add(&c.x, at, at+n)
	k.Push(c, in.Packet(at).Ack, callCost+c.texts)
	k.sides[dissect.ToServer].call = c
}

// newest is the request that the client sent last, if it waits.
func (k *conn) newest() *call { return k.sides[dissect.ToServer].call }

// sender is the call to which data of the client belong.
func (k *conn) sender() *call {
	if c := k.newest(); c != nil {
		return c
	}
	if k.stray == nil {
		k.stray = k.newCall("DATA")
		k.stray.whole, k.stray.lost = true, k.missed
	}
	return k.stray
}

// endStray emits data that the server ignored.
func (k *conn) endStray() {
	if c := k.stray; c != nil {
		k.emit(c, "")
	}
}
