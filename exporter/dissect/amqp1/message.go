package amqp1

import (
	"fmt"
	"slices"
	"sort"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// incoming is a message that is being read: sections, of which some are its body.
type incoming struct {
	dir      dissect.Dir
	session  *session
	settled  bool
	encoding string
	head     []byte // beginning of a section
	left     int64  // bytes of a section
	isBody   bool   // it is one of the body
	lost     bool   // the beginning of the next section is not known
	body     *dissect.Body
}

// transfer reads the performative of a message's frame.
func (k *conn) transfer(s *session, in *dissect.Input, from, to int, number uint16, f fields) {
	at := handleOf{in.Dir, uint32(f.at(0).uint())}
	l := s.links[at]
	if l == nil { // its attach was not captured
		if l = (&link{session: s, held: linkCost}); k.c.Hold(l.held) {
			k.held += l.held
			s.links[at] = l
		}
	}
	id := f.at(1)
	c := l.reading
	if c != nil && !id.null() && c.row.Delivery.OK && c.row.Delivery.V != int64(id.uint()) {
		k.cut(c, "malformed")
		c = nil
	}
	if c == nil {
		c = k.newCall(in.Dir, number, transfer)
		c.about(l)
		c.message = &incoming{dir: in.Dir, session: s}
		c.whole = !id.null() // else its first frame was not captured
		c.message.lost = id.null()
		if !id.null() {
			c.row.Delivery = table.Some(int64(id.uint()))
		}
		for len(k.reading) >= maxReading {
			k.cut(k.reading[0], "cut")
		}
		l.reading = c
		k.reading = append(k.reading, c)
	}
	c.x.Request(in, from, to)
	c.message.settled = c.message.settled || f.at(4).yes()
	k.c.Confirm()
	if f.at(9).yes() { // aborted
		c.row.State, c.row.StatusText = table.Some("aborted"), table.Some("aborted")
		c.message.settled, c.message.lost = true, true
	}
	k.sides[in.Dir] = side{call: c, more: f.at(5).yes() && !f.at(9).yes()}
}

// drop ends the reading of a message.
func (k *conn) drop(c *call) {
	m := c.message
	if m == nil {
		return
	}
	for i := range k.sides {
		if k.sides[i].call == c {
			k.sides[i].call = nil
		}
	}
	k.buffered -= cap(m.head)
	c.link.reading = nil
	c.x.ReqBody = m.body
	if i := slices.Index(k.reading, c); i >= 0 {
		k.reading = slices.Delete(k.reading, i, i+1)
	}
	c.message = nil
}

// delivered handles the end of a message.
func (k *conn) delivered(c *call) {
	m := c.message
	if m.left > 0 || len(m.head) > 0 {
		c.whole, c.bad = false, !c.gap && !m.lost
	}
	if m.body == nil && !m.lost {
		m.body = k.c.NewBody(c.row.RequestContentType.V, m.encoding)
	}
	if m.body != nil {
		m.body.Complete = m.body.Lost() == 0 && c.whole && !c.gap
		c.row.Value = table.NonEmpty(message.Show(m.body.Kept()))
		c.texts += len(c.row.Value.V)
	}
	k.drop(c)
	switch {
	case !c.row.Delivery.OK:
		k.emit(c, "cut")
	case m.settled:
		c.alone, c.row.Settled = true, c.row.State.V == ""
		k.emit(c, "")
	default:
		id := uint32(c.row.Delivery.V)
		c.may = m.dir == dissect.ToClient
		k.put(deliveryKey(m.dir, m.session, id), c)
		m.session.sent[m.dir].add(c)
	}
}

func deliveryKey(by dissect.Dir, s *session, id uint32) key {
	return key{by: by, code: transfer, session: s.no, id: id}
}

// sections reads more bytes of a message, AMQP 1.0 section 3.2.
func (k *conn) sections(c *call, b []byte) error {
	m := c.message
	for len(b) > 0 && !m.lost {
		if m.left > 0 {
			n := int(min(m.left, int64(len(b))))
			if m.isBody {
				m.body.Write(b[:n])
			}
			m.left, b = m.left-int64(n), b[n:]
			continue
		}
		n := min(len(b), maxSection-len(m.head))
		before := cap(m.head)
		had := len(m.head)
		all := b[:n]
		if had > 0 {
			m.head = append(m.head, b[:n]...)
			all = m.head
		}
		used, err := k.section(c, all)
		if err != nil {
			m.lost = true
			return err
		}
		switch {
		case used > 0:
			m.head, b = nil, b[used-had:]
		case had > 0:
			b = b[n:]
		default:
			m.head, b = append([]byte(nil), all...), b[n:]
		}
		k.buffered += cap(m.head) - before
	}
	return nil
}

// section reads a section, of the body only its head. It returns 0 if b is too short.
func (k *conn) section(c *call, b []byte) (int, error) {
	m := c.message
	r := newReader(b)
	if b[0] != 0 {
		return 0, fmt.Errorf("reading a message: a section cannot begin with %#x", b[0])
	}
	r.Skip(1)
	desc := r.plain(r.Uint8()).uint()
	if r.Short() {
		return 0, short(b)
	}
	if desc < 0x70 || desc > 0x78 {
		return 0, fmt.Errorf("reading a message: unknown section %#x", desc)
	}
	begin := r.Used()
	size := length(r)
	if r.Short() {
		return 0, short(b)
	}
	used := r.Used()
	m.isBody = desc >= sectionData && desc <= sectionValue
	switch {
	case m.isBody:
		if m.body == nil {
			m.body = k.c.NewBody(c.row.RequestContentType.V, m.encoding)
			m.body.Expect(size)
		}
		if high := b[begin] >> 4; high != 0xa && high != 0xb { // not bytes or text: as encoded
			m.body.Write(b[begin:used])
			c.size += int64(used - begin)
		}
		c.size += size
		m.left = size
		return used, nil
	case int64(used)+size > maxSection:
		k.c.Anomaly("limit", fmt.Sprintf("a section of %d bytes was not read", size), 0)
		m.left = size
		return used, nil
	}
	r = newReader(b)
	v := r.value()
	if r.Short() {
		return 0, nil
	}
	switch desc {
	case sectionProperties:
		c.properties(v.items(8))
	case sectionValues:
		c.headers(v.items(4 * maxList))
	}
	return r.Used(), nil
}

// short is an error if b, which has no whole head of a section, is long enough for one.
func short(b []byte) error {
	if len(b) < 16 {
		return nil
	}
	return fmt.Errorf("reading a message: a section cannot begin with % x", b[:16])
}

// length reads the beginning of a value. It returns how many bytes follow.
func length(r *reader) int64 {
	code := r.Uint8()
	if code == 0 && !r.Short() { // a descriptor
		r.plain(r.Uint8())
		code = r.Uint8()
	}
	switch high := code >> 4; high {
	case 4:
		return 0
	case 5, 6, 7, 8, 9:
		return 1 << (high - 5)
	case 0xa, 0xc, 0xe:
		return int64(r.Uint8())
	case 0xb, 0xd, 0xf:
		return int64(r.Uint32())
	}
	r.Bytes(-1)
	return 0
}

// missing records bytes of a message that were not captured.
func (k *conn) missing(c *call, n int64) {
	m := c.message
	if m.isBody && n <= m.left {
		m.body.Missing(n)
		m.left -= n
		return
	}
	m.lost, c.whole = true, false
	if m.body != nil {
		m.body.Missing(n)
	}
}

// properties reads the properties of a message.
func (c *call) properties(f fields) {
	row := c.row
	row.MessageID, row.Subject, row.ReplyTo, row.Correlation = f.at(0).opt(), f.at(3).opt(), f.at(4).opt(), f.at(5).opt()
	row.RequestContentType, c.message.encoding = f.at(6).opt(), f.at(7).text()
	if to := f.at(2).opt(); to.OK && !row.Address.OK {
		row.Address, row.Path = to, to
	}
	c.texts += len(row.MessageID.V) + len(row.Subject.V) + len(row.ReplyTo.V) + len(row.Correlation.V) + len(row.RequestContentType.V)
}

// headers reads the application properties of a message.
func (c *call) headers(f fields) {
	for i := 0; i+1 < len(f) && len(c.row.Headers) < maxList; i += 2 {
		h := table.Header{Name: f[i].text(), Value: f[i+1].text(), Kind: httpfield.Request}
		c.row.Headers = append(c.row.Headers, h)
		c.texts += len(h.Name) + len(h.Value) + 48
	}
}

// deliveries are the messages of a side that wait for their disposition, and some that no longer wait.
type deliveries struct {
	ids   []uint32 // ascending
	waits int
}

// add adds a message. The ids of a side ascend; one that does not is settled by its own id only.
func (d *deliveries) add(c *call) {
	c.sent = d
	d.waits++
	id := uint32(c.row.Delivery.V)
	if n := len(d.ids); n == 0 || int32(id-d.ids[n-1]) > 0 {
		d.ids = append(d.ids, id)
	}
}

// settled records that a message no longer waits.
func (k *conn) settled(c *call) {
	d, place := c.sent, c.place
	c.sent = nil
	if d.waits--; len(d.ids) > 2*d.waits+16 {
		d.ids = slices.Clone(slices.DeleteFunc(d.ids, func(id uint32) bool {
			place.id = id
			_, waits := k.pending.Get(place)
			return !waits
		}))
	}
}

// take removes and returns the ids of a range.
func (d *deliveries) take(first, last uint32) []uint32 {
	i := sort.Search(len(d.ids), func(i int) bool { return int32(d.ids[i]-first) >= 0 })
	j := sort.Search(len(d.ids), func(i int) bool { return int32(d.ids[i]-last) > 0 })
	if i >= j {
		return nil
	}
	list := slices.Clone(d.ids[i:j])
	d.ids = slices.Delete(d.ids, i, j)
	return list
}

// disposition reads the state of messages that the other side sent, or that this side settles.
func (k *conn) disposition(s *session, in *dissect.Input, from, to int, number uint16, f fields) {
	first, state, settled := uint32(f.at(1).uint()), f.at(4), f.at(3).yes()
	last := first
	if !f.at(2).null() {
		last = uint32(f.at(2).uint())
	}
	by := in.Dir
	if f.at(0).yes() { // from the receiver
		by = in.Dir.Other()
	}
	final := settled || state.desc >= stateAccepted && state.desc <= stateModified
	list := []uint32{first}
	if final && last != first {
		list = s.sent[by].take(first, last)
	}
	n := 0
	for _, id := range list {
		place := deliveryKey(by, s, id)
		c, ok := k.pending.Get(place)
		if !ok {
			continue
		}
		n++
		if by == in.Dir {
			c.x.Request(in, from, to)
		} else {
			c.x.Response(in, from, to)
		}
		if !final {
			continue
		}
		k.pending.Take(place)
		c.answered = by != in.Dir
		c.alone = !c.answered
		c.settles(state)
		k.emit(c, "")
	}
	if n > 0 {
		k.c.Confirm()
		return
	}
	k.single(in, from, to, number, disposition, func(c *call) {
		c.row.Delivery, c.row.State = table.Some(int64(first)), table.Some(stateName(state))
	})
}
