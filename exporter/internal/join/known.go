package join

import (
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// known is the joiner's data from earlier rounds: the numbers of flows and connections that the
// shards name by IDs, and the owners and interfaces that reading numbered.
type known struct {
	flows  []joinedFlow // by ID
	conns  []joinedConn // by ID
	links  []round.Link
	owners []workload.Identity // by number, from 1
	recent []round.Owner       // ring of those from round.OwnersRecent on
}

// joinedFlow is a flow that has its number.
type joinedFlow struct {
	no    int64
	conn  flow.ID
	link  int32
	ends  [2]flow.End // client and server, as it shows them
	ids   [2]int64    // endpoints of both
	ranks [2]uint8    // how well the owners of both are known
	said  []*saidEnds // claims about its ends
}

// joinedConn is a connection that has its number.
type joinedConn struct {
	no    int64
	flow  flow.ID // its first
	first int64   // ns
	proto uint8
	ends  [2]flow.End // client and server, as dialled
	at    [2]flow.End // client and server, as ids has them
	ids   [2]int64    // endpoints of both
	ranks [2]uint8    // how well the owners of both are known
	by    [2]int32    // interfaces of the flows that showed them
	again bool        // another connection had one of its calls: reported once
	waits []waiting   // calls whose receipts follow
	said  *saidConn   // nil unless there are claims about the ends of a flow
}

func (k *known) flow(id flow.ID) *joinedFlow { return &k.flows[id] }

func (k *known) conn(id flow.ID) *joinedConn { return &k.conns[id] }

// begin forgets what had an ID before.
func begin[T any](list *[]T, id flow.ID) *T {
	var zero T
	for int(id) >= len(*list) {
		*list = append(*list, zero)
	}
	(*list)[id] = zero
	return &(*list)[id]
}

// add takes up interfaces and owners.
func (k *known) add(f *round.Facts) {
	k.links = append(k.links, f.Links...)
	for i := range f.Owners {
		switch o := &f.Owners[i]; {
		case o.No < round.OwnersRecent:
			k.owners = append(k.owners, o.Identity)
		case len(k.recent) < round.OwnersKept:
			k.recent = append(k.recent, *o)
		default:
			k.recent[(o.No-round.OwnersRecent)%round.OwnersKept] = *o
		}
	}
}

// owner is the identity with that number, nil for 0 and for one that is forgotten.
func (k *known) owner(no int32) *workload.Identity {
	switch {
	case no == 0:
		return nil
	case no < round.OwnersRecent:
		return &k.owners[no-1]
	}
	if o := &k.recent[(no-round.OwnersRecent)%round.OwnersKept]; o.No == no {
		return &o.Identity
	}
	return nil
}

// laterOwners replaces owners of a flow of an earlier segment by more certain ones from a later segment of the same
// recording.
func (k *known) laterOwners(f *joinedFlow) {
	c := k.conn(f.conn)
	for side := range f.ids {
		if f.ranks[side] < c.ranks[side] && k.links[f.link].SameGroup(&k.links[c.by[side]]) {
			f.ids[side] = c.ids[side]
		}
	}
}

// start gives a new flow, and its connection if that is new, their numbers and ends. The connection's addresses stay as
// the client dialled them, which answers may show later than questions. The server is known best behind a translator, so
// the last view determines it.
func (j *Joiner) start(s *flow.Started) {
	f := begin(&j.known.flows, s.Flow)
	f.no, f.conn, f.link, f.ends = j.numbers.flows, s.Conn, s.Interface, s.Ends
	j.numbers.flows++
	var owners [2]*workload.Identity
	switch s.Local {
	case flow.LocalClient:
		owners[0] = j.known.owner(s.Owner)
	case flow.LocalServer:
		owners[1] = j.known.owner(s.Owner)
	}
	for side, e := range s.Ends {
		f.ids[side] = j.who.endpoint(party{side, e, s.Dialled, s.Proto, s.ConnFirst}, owners[side])
	}
	switch {
	case s.NewConn:
		c := begin(&j.known.conns, s.Conn)
		c.no, c.flow, c.first, c.proto, c.ends, c.at, c.ids = j.numbers.conns, s.Flow, s.ConnFirst, s.Proto, s.Dialled, f.ends, f.ids
		j.numbers.conns++
	case s.Answers:
		j.known.conn(s.Conn).ends = s.Ends
	case s.Translated && s.Ends[1] != s.Dialled[1]:
		c := j.known.conn(s.Conn)
		c.ids[1], c.at[1] = f.ids[1], f.ends[1]
	}
	if f.said = j.said.about(s.Ends, s.Proto); f.said != nil {
		if c := j.known.conn(s.Conn); c.said == nil {
			c.said = &saidConn{}
		}
	}
}

// own sets another owner of an end of a flow, and of its connection if no better one is known.
func (j *Joiner) own(o *flow.Owned) {
	f := j.known.flow(o.Flow)
	c := j.known.conn(f.conn)
	side := 1
	if o.Client {
		side = 0
	}
	f.ranks[side] = o.Rank
	f.ids[side] = j.who.endpoint(party{side, f.ends[side], c.ends, c.proto, c.first}, j.known.owner(o.Owner))
	if o.Rank >= c.ranks[side] {
		c.ranks[side], c.by[side], c.ids[side], c.at[side] = o.Rank, f.link, f.ids[side], f.ends[side]
	}
}

// writer is the endpoint of the process that wrote one side of a call. If it is forgotten or was never named, it is
// unknown, because the connection's owner may be another.
func (j *Joiner) writer(c *joinedConn, side int, w flow.Writer) int64 {
	if w == (flow.Writer{}) {
		return c.ids[side]
	}
	id := j.known.owner(w.Owner)
	if w.Guess && id != nil && !id.Known.Guess() {
		guessed := *id
		guessed.Known = workload.KnownOther
		guessed.HowKnown = guessed.Known.String()
		id = &guessed
	}
	return j.who.endpoint(party{side, c.at[side], c.ends, c.proto, c.first}, id)
}
