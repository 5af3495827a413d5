package amqp1

import (
	"bytes"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Memory of a session and of a direction of a link.
const (
	sessionCost = int(unsafe.Sizeof(session{})) + 2*96
	linkCost    = int(unsafe.Sizeof(link{})) + 96
)

// newCall begins a performative of a side.
func (k *conn) newCall(dir dissect.Dir, number uint16, code byte) *call {
	c := &call{row: &Row{Channel: int32(number)}, code: code, whole: true}
	c.x.Reversed = dir == dissect.ToClient
	c.row.Method = table.Some(names[code])
	c.row.Host, c.row.User = table.NonEmpty(k.host), table.NonEmpty(k.user)
	return c
}

// pair reads a performative that both sides send: first one as a request, then the other as its
// answer. fill sets columns of the row.
func (k *conn) pair(in *dissect.Input, from, to int, code byte, place key, number uint16, fill func(c *call)) {
	place.by, place.code = in.Dir.Other(), code
	k.c.Confirm()
	if c, ok := k.pending.Take(place); ok {
		c.x.Response(in, from, to)
		c.answered = true
		fill(c)
		k.emit(c, "")
		return
	}
	c := k.newCall(in.Dir, number, code)
	c.x.Request(in, from, to)
	fill(c)
	place.by = in.Dir
	k.put(place, c)
}

// single reads a performative that nothing answers.
func (k *conn) single(in *dissect.Input, from, to int, number uint16, code byte, fill func(c *call)) {
	k.c.Confirm()
	c := k.newCall(in.Dir, number, code)
	c.x.Request(in, from, to)
	c.alone = true
	fill(c)
	k.emit(c, "")
}

// sasl reads a frame of SASL. Of the credentials, only the user's name is kept.
func (k *conn) sasl(in *dissect.Input, from, to int, code byte, f fields) {
	login := key{by: dissect.ToServer, code: initial}
	switch code {
	case mechanisms:
		k.single(in, from, to, 0, code, func(*call) {})
	case initial:
		c := k.newCall(in.Dir, 0, code)
		c.x.Request(in, from, to)
		mechanism, secret := message.Text(f.at(0).bytes()), f.at(1).bytes()
		c.row.AuthKind = table.NonEmpty(sasl.Kind(mechanism))
		k.user = message.Text(sasl.User(k.c, mechanism, secret))
		c.row.User, c.row.Host = table.NonEmpty(k.user), table.NonEmpty(message.Text(f.at(2).bytes()))
		if parts := bytes.SplitN(secret, []byte{0}, 3); len(parts) == 3 { // the password comes last
			secret = parts[2]
		}
		hide(c, in, from, to, secret)
		c.texts = len(k.user)
		k.put(login, c)
	case challenge, response:
		c, ok := k.pending.Get(login)
		switch {
		case !ok:
			k.single(in, from, to, 0, code, func(c *call) { hide(c, in, from, to, f.at(0).bytes()) })
		case code == challenge:
			c.x.Response(in, from, to)
		default:
			c.x.Request(in, from, to)
			hide(c, in, from, to, f.at(0).bytes())
		}
	case outcome:
		c, ok := k.pending.Take(login)
		if !ok {
			c = k.newCall(dissect.ToServer, 0, initial)
		}
		c.x.Response(in, from, to)
		c.answered = true
		switch n := f.at(0).uint(); n {
		case 0:
		case 1:
			c.refused("auth", "", table.ClientError)
		default: // AMQP 1.0 section 5.3.3.6
			c.refused(map[uint64]string{2: "sys", 3: "sys-perm", 4: "sys-temp"}[n], "", table.ServerError)
		}
		k.c.Confirm()
		k.emit(c, "")
	}
}

// hide marks a credential.
func hide(c *call, in *dissect.Input, from, to int, secret []byte) {
	if i := bytes.LastIndex(in.Data[from:to], secret); i >= 0 && len(secret) > 0 {
		c.x.Hide(in, from+i, from+i+len(secret))
	}
}

// performative reads a frame of AMQP.
func (k *conn) performative(in *dissect.Input, from, to int, number uint16, code byte, f fields) {
	switch code {
	case open:
		k.pair(in, from, to, code, key{}, 0, func(c *call) {
			if name := f.at(1).bytes(); in.Dir == dissect.ToServer && len(name) > 0 {
				k.host = message.Text(name)
				c.row.Host = table.Some(k.host)
			}
			if !c.answered {
				c.row.Container = f.at(0).opt()
			}
		})
	case closing:
		blamed := k.failed(in, from, to, f.at(0), func(c *call) bool { return c.code == open || c.code == begin || c.code == attach })
		k.pair(in, from, to, code, key{}, 0, func(c *call) { c.ends(f.at(0), blamed) })
	case begin:
		k.begins(in, from, to, number, f)
	default:
		s := k.session(in.Dir, number)
		switch code {
		case attach:
			k.attach(s, in, from, to, number, f)
		case detach:
			k.detach(s, in, from, to, number, f)
		case flow:
			k.single(in, from, to, number, code, func(c *call) {
				if l := s.links[handleOf{in.Dir, uint32(f.at(4).uint())}]; l != nil && !f.at(4).null() {
					c.about(l)
				}
				if !f.at(6).null() {
					c.row.Credit = table.Some(int64(f.at(6).uint()))
				}
			})
		case transfer:
			k.transfer(s, in, from, to, number, f)
		case disposition:
			k.disposition(s, in, from, to, number, f)
		case end:
			blamed := k.failed(in, from, to, f.at(0), func(c *call) bool { return c.code == attach && c.link != nil && s.has(c.link) })
			if !blamed && s.sent[in.Dir.Other()].waits == 1 { // with several, it is not known which one failed
				blamed = k.failed(in, from, to, f.at(0), func(c *call) bool { return c.sent == &s.sent[in.Dir.Other()] })
			}
			k.unsettled(s, in.Dir.Other())
			place := key{session: s.no}
			_, answers := k.pending.Get(key{by: in.Dir.Other(), code: end, session: s.no})
			k.pair(in, from, to, code, place, number, func(c *call) { c.ends(f.at(0), blamed) })
			if answers {
				k.forget(s)
			}
		}
	}
}

// begins reads begin. The answer names the channel of the request.
func (k *conn) begins(in *dissect.Input, from, to int, number uint16, f fields) {
	remote := f.at(0)
	s := k.sessions[channelOf{in.Dir, number}]
	if s != nil { // its end was not captured
		k.forget(s)
	}
	place := key{session: int64(number)}
	if !remote.null() {
		place.session = int64(remote.uint())
		if s = k.sessions[channelOf{in.Dir.Other(), uint16(remote.uint())}]; s != nil && s.channel[in.Dir] < 0 {
			s.channel[in.Dir] = int32(number)
			k.sessions[channelOf{in.Dir, number}] = s
		}
	}
	if _, asked := k.pending.Get(key{session: place.session, by: in.Dir.Other(), code: begin}); !remote.null() && !asked {
		k.c.Confirm()
		c := k.newCall(in.Dir.Other(), number, begin)
		c.x.Response(in, from, to)
		k.emit(c, "no_request")
		return
	}
	k.pair(in, from, to, begin, place, number, func(*call) {})
	if remote.null() {
		k.newSession(in.Dir, number)
	}
}

// newSession begins a session. It is forgotten at once if memory ran out.
func (k *conn) newSession(dir dissect.Dir, number uint16) *session {
	k.count++
	s := &session{no: k.count, channel: [2]int32{-1, -1}, links: map[handleOf]*link{}}
	if k.c.Hold(sessionCost) {
		k.held += sessionCost
		s.channel[dir] = int32(number)
		k.sessions[channelOf{dir, number}] = s
	}
	return s
}

// session is the session of a channel. If its begin was not captured, both sides probably use the
// same number.
func (k *conn) session(dir dissect.Dir, number uint16) *session {
	if s := k.sessions[channelOf{dir, number}]; s != nil {
		return s
	}
	if s := k.sessions[channelOf{dir.Other(), number}]; s != nil && s.channel[dir] < 0 {
		s.channel[dir] = int32(number)
		k.sessions[channelOf{dir, number}] = s
		return s
	}
	return k.newSession(dir, number)
}

// forget ends a session.
func (k *conn) forget(s *session) {
	for dir, number := range s.channel {
		if at := (channelOf{dissect.Dir(dir), uint16(number)}); number >= 0 && k.sessions[at] == s {
			delete(k.sessions, at)
		}
	}
	free := sessionCost
	for _, l := range s.links {
		free += l.held
	}
	for i := 0; i < len(k.reading); {
		if c := k.reading[i]; s.has(c.link) {
			k.cut(c, "cut")
		} else {
			i++
		}
	}
	k.unsettled(s, dissect.ToServer)
	k.unsettled(s, dissect.ToClient)
	free = min(free, k.held)
	k.c.Release(free)
	k.held -= free
}

// unsettled ends what a side sent in a session and the other one, which ended it, will not answer (AMQP 1.0 section 2.5.5).
func (k *conn) unsettled(s *session, by dissect.Dir) {
	list := s.sent[by].ids
	s.sent[by].ids = nil
	for _, id := range list {
		if c, ok := k.pending.Take(deliveryKey(by, s, id)); ok {
			k.emit(c, "no_response")
		}
	}
	for _, c := range slices.Collect(k.pending.Oldest(maxList)) { // collected, because removing one ends the walk
		if c.x.Reversed == (by == dissect.ToClient) && c.place.session == s.no && (c.code == attach || c.code == detach) {
			k.pending.Take(c.place)
			k.emit(c, "no_response")
		}
	}
}

// has reports whether a link is one of the session.
func (s *session) has(l *link) bool { return l != nil && l.session == s }

// attach reads attach. The answer has the same name and the other role.
func (k *conn) attach(s *session, in *dissect.Input, from, to int, number uint16, f fields) {
	receives := f.at(2).yes()
	place := key{session: s.no, name: message.Text(f.at(0).bytes())}
	l := &link{session: s, name: place.name, held: linkCost + len(place.name)}
	asked := place
	asked.by, asked.code = in.Dir.Other(), attach
	first, answers := k.pending.Get(asked)
	terminus := f.at(5)      // the source
	if receives == answers { // the side that attaches first sends, so the node is the target
		terminus = f.at(6)
	}
	l.address = message.Text(terminus.items(1).at(0).bytes())
	if terminus.desc == coordinator {
		l.address = "coordinator"
	}
	l.held += len(l.address)
	at := handleOf{in.Dir, uint32(f.at(1).uint())}
	if old := s.links[at]; old != nil {
		k.unlink(s, at, old)
	}
	if k.c.Hold(l.held) {
		k.held += l.held
		s.links[at] = l
	}
	if answers && terminus.null() && first.row.Address.OK {
		l.address = first.row.Address.V
		first.x.Response(in, from, to) // refused: detach follows with the reason, AMQP 1.0 section 2.6.3
		return
	}
	k.pair(in, from, to, attach, place, number, func(c *call) {
		if c.answered {
			if c.row.Address.V == "" {
				c.row.Address = table.NonEmpty(l.address)
			} else if l.address == "" {
				l.address = c.row.Address.V
			}
			return
		}
		c.about(l)
		c.row.Role = table.Some("sender")
		if receives {
			c.row.Role = table.Some("receiver")
		}
	})
}

// about sets the columns of a link.
func (c *call) about(l *link) {
	c.link = l
	c.row.Link, c.row.Address = table.NonEmpty(l.name), table.NonEmpty(l.address)
	c.row.Path = c.row.Address
	c.texts += len(l.name) + 2*len(l.address)
}

// detach reads detach.
func (k *conn) detach(s *session, in *dissect.Input, from, to int, number uint16, f fields) {
	at := handleOf{in.Dir, uint32(f.at(0).uint())}
	l := s.links[at]
	place := key{session: s.no, id: at.handle}
	blamed := false
	if l != nil {
		place.name, place.id = l.name, 0
		blamed = k.failed(in, from, to, f.at(2), func(c *call) bool { return c.code == attach && c.link != nil && s.has(c.link) && c.link.name == l.name })
		k.unlink(s, at, l)
	}
	k.pair(in, from, to, detach, place, number, func(c *call) {
		if l != nil && !c.answered {
			c.about(l)
		}
		c.ends(f.at(2), blamed)
	})
}

// unlink forgets a direction of a link.
func (k *conn) unlink(s *session, at handleOf, l *link) {
	if l.reading != nil {
		k.cut(l.reading, "cut")
	}
	delete(s.links, at)
	k.c.Release(l.held)
	k.held -= l.held
}

// failed adds an error that ends a link, a session or the connection to the request that caused it. It reports whether
// there is one.
func (k *conn) failed(in *dissect.Input, from, to int, e value, of func(c *call) bool) bool {
	if e.null() {
		return false
	}
	for c := range k.pending.Oldest(maxList) {
		if c.x.Reversed == (in.Dir == dissect.ToServer) && of(c) {
			k.pending.Take(c.place)
			c.x.Response(in, from, to)
			c.answered = true
			c.fails(e)
			k.emit(c, "")
			return true
		}
	}
	return false
}

// put keeps a request until its answer.
func (k *conn) put(place key, c *call) {
	c.place = place
	if k.c.Missed() { // it may be the answer to what was lost
		c.x.MayWantNone()
	}
	k.pending.Put(place, c, callCost+len(place.name)+c.texts)
}
