package read

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// Limits of the search for QUIC connections that change their addresses.
const (
	maxIDs   = 65_536 // connection ids remembered
	minID    = 4      // bytes of an id that may find its connection: shorter ones meet by chance
	maxIDLen = 20     // RFC 9000 section 17.2
)

// quicViews finds QUIC connections that go on under other addresses: a client behind a
// translator that gave it another port, one that moved to another network (RFC 9000
// section 9), or packets that the capture shows before and after a translation. A packet on
// ports not seen so far belongs to the connection whose id it carries, where that id stood
// in clear in a long header.
//
// LIMIT: ids that were given inside encryption (NEW_CONNECTION_ID) are not known here; a
// client that moves and changes to such an id begins another connection, whose packets the
// keys may still open.
type quicViews struct {
	ids     map[string]quicID
	ring    []string
	at      int
	lengths uint32 // bit n: an id of n bytes is known
	tuples  recent[tuple, *flow.View]
}

// quicID is who gave itself a connection id.
type quicID struct {
	dialled [2]flow.End // client, server
	server  bool        // the server's
	initial bool        // not an id but the two of a client's first packet
}

// quicVersion reports whether a long header of that version has the form of RFC 9000.
func quicVersion(v uint32) bool {
	return v == 1 || v == 0x6b3343cf || v>>8 == 0xff0000 && v&0xff >= 22 && v&0xff <= 34
}

// find answers the view through which a UDP packet is seen, nil where its addresses are
// the ones that its connection began with or it is not QUIC.
func (v *quicViews) find(f *decode.Frame) *flow.View {
	p := f.Payload
	if len(p) < 1+minID || p[0]&0x40 == 0 {
		return nil
	}
	long := p[0]&0x80 != 0
	if !long && len(v.ids) == 0 {
		return nil
	}
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	t := tupleOf(src, dst)
	view, known := v.tuples.m[t]
	if long {
		return v.long(p, src, dst, t, view, known)
	}
	if known {
		return view
	}
	for n := minID; n <= maxIDLen && 1+n <= len(p); n++ {
		if v.lengths&(1<<n) == 0 {
			continue
		}
		id, ok := v.ids[string(p[1:1+n])]
		if !ok || id.initial {
			continue
		}
		seen := [2]flow.End{src, dst} // sent to the id's owner
		if !id.server {
			seen = [2]flow.End{dst, src}
		}
		view = &flow.View{Dialled: id.dialled, Seen: seen}
		v.tell(t, view)
		return view
	}
	return nil
}

// long learns from a packet with a long header, RFC 9000 section 17.2.
func (v *quicViews) long(p []byte, src, dst flow.End, t tuple, view *flow.View, known bool) *flow.View {
	if len(p) < 7 || !quicVersion(binary.BigEndian.Uint32(p[1:])) {
		return view
	}
	n := int(p[5])
	if n > maxIDLen || len(p) < 7+n || int(p[6+n]) > maxIDLen || len(p) < 7+n+int(p[6+n]) {
		return view
	}
	to, from := p[6:6+n], p[7+n:7+n+int(p[6+n])]
	first := "\x00" + string(to) + "\x01" + string(from)
	if view != nil { // the ports may be used for another connection now
		_, a := v.ids[first]
		_, b := v.ids[string(to)]
		_, c := v.ids[string(from)]
		known = a || b || c
	}
	if !known {
		view = nil
		if id, ok := v.ids[first]; ok && n >= minID { // seen before a translation, or after it
			view = &flow.View{Dialled: id.dialled, Seen: [2]flow.End{src, dst}}
		} else if id, ok := v.ids[string(to)]; ok && n >= minID {
			view = &flow.View{Dialled: id.dialled, Seen: [2]flow.End{src, dst}}
			if !id.server {
				view.Seen = [2]flow.End{dst, src}
			}
		} else {
			v.learn(first, quicID{dialled: [2]flow.End{src, dst}, initial: true})
		}
		if view != nil && tupleOf(view.Dialled[0], view.Dialled[1]) == t {
			view = nil
		}
		v.tell(t, view)
	}
	if len(from) >= minID {
		if _, ok := v.ids[string(from)]; !ok {
			v.learn(string(from), v.owner(src, dst, t, view))
		}
	}
	return view
}

// owner is whose an id is that src gave itself.
func (v *quicViews) owner(src, dst flow.End, t tuple, view *flow.View) quicID {
	client, server := src, dst
	if view != nil {
		return quicID{dialled: view.Dialled, server: view.Seen[1] == src}
	}
	if dialled, ok := v.began(t); ok {
		client, server = dialled[0], dialled[1]
	}
	return quicID{dialled: [2]flow.End{client, server}, server: server == src}
}

// began is which end of a conversation sent the first long header.
func (v *quicViews) began(t tuple) ([2]flow.End, bool) {
	id, ok := v.ids[beganKey(t)]
	return id.dialled, ok
}

func beganKey(t tuple) string {
	b := make([]byte, 0, 40)
	for _, e := range t {
		b = append(b, e.Addr[:]...)
		b = binary.BigEndian.AppendUint16(b, e.Port)
	}
	return string(b)
}

func (v *quicViews) learn(key string, id quicID) {
	if v.ids == nil {
		v.ids = map[string]quicID{}
	}
	if len(v.ring) < maxIDs {
		v.ring = append(v.ring, key)
	} else {
		delete(v.ids, v.ring[v.at])
		v.ring[v.at] = key
		v.at = (v.at + 1) % maxIDs
	}
	v.ids[key] = id
	if id.initial {
		t := tupleOf(id.dialled[0], id.dialled[1])
		if k := beganKey(t); v.ids[k] == (quicID{}) {
			v.learn(k, quicID{dialled: id.dialled})
		}
	} else if n := len(key); n <= maxIDLen {
		v.lengths |= 1 << n
	}
}

// tell notes through which view a conversation is seen; nil: as it began.
func (v *quicViews) tell(t tuple, view *flow.View) { v.tuples.put(t, view, maxViews) }
