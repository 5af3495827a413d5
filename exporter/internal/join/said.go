package join

import (
	"cmp"
	"encoding/json"
	"slices"
	"sort"

	"github.com/pcapsule/pcapsule/exporter/internal/alerts"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of what a claim is joined with.
const (
	maxSaidPackets = 16
	maxSaidFlows   = 64 // of the same ends
	maxSaidCalls   = 64
	maxSaidTries   = 64  // packets for which a call is considered although it does not cite them
	nearby         = 300 // seconds between a claim and the packets of its flow
)

// Said are claims of other programs, joined with the packets that they are about. Its memory depends on the claims, not on
// the packets (docs/format/alerts.md).
type Said struct {
	claims   *alerts.Claims
	excluded bool // the tables lack packets on request
	places   []saidClaim
	ends     map[alerts.Ends]*saidEnds
	ids      map[string]*saidEnds // by community id, of claims that name no ends
	frames   map[saidFrame]*moment
	calls    []saidCall // of the round
	here     int64      // claims whose packets are here
}

// saidClaim is where to look for the packets of a claim. It may be about TCP or UDP.
type saidClaim struct {
	of      [2]*saidEnds
	at, end [2]*moment
}

// saidFrame is a frame number with the time of its packet, in microseconds.
type saidFrame struct{ frame, us int64 }

// saidEnds are the claims about the same ends.
type saidEnds struct {
	fine, coarse []*moment // by time, to microseconds and to milliseconds
	flows        []saidFlow
	more         bool // than maxSaidFlows
}

type saidFlow struct{ no, conn, first, last int64 }

// moment is a time that claims name, with the packets of that time.
type moment struct {
	t, within int64 // ns
	seen      []*saidPacket
}

// saidPacket is a packet that claims are about.
type saidPacket struct {
	no, frame, flow, conn int64
	bare                  bool    // it has no payload
	how                   uint8   // how calls was found
	calls                 []int64 // that it belongs to
	call                  int64   // first or last packet of the call, by how
}

// How the calls of a packet were found, the best last.
const (
	byNothing uint8 = iota
	byOrder         // the last call before it
	bySpan          // the call during which it came
	byCites
)

// saidConn is a connection about which there are claims.
type saidConn struct {
	seen []*saidPacket // by number
	call struct{ no, last int64 }
	any  bool // there was a call
}

// saidCall is a call of such a connection.
type saidCall struct {
	conn  *saidConn
	no    int64
	cites table.Cites
}

// NewSaid prepares to join claims. excluded says that the tables lack packets on request.
func NewSaid(claims *alerts.Claims, excluded bool) (*Said, error) {
	s := &Said{claims: claims, excluded: excluded, ends: map[alerts.Ends]*saidEnds{}, ids: map[string]*saidEnds{}, frames: map[saidFrame]*moment{}}
	type key struct {
		of        *saidEnds
		t, within int64
	}
	moments := map[key]*moment{}
	at := func(of *saidEnds, t, within int64) *moment {
		t -= t % 1000
		k := key{of, t, within}
		if moments[k] == nil {
			m := &moment{t: t, within: within}
			moments[k] = m
			if within > 1e5 {
				of.coarse = append(of.coarse, m)
			} else {
				of.fine = append(of.fine, m)
			}
		}
		return moments[k]
	}
	for i := range claims.Len() {
		c, err := claims.At(i)
		if err != nil {
			return nil, err
		}
		var x saidClaim
		list := c.Ends()
		for k, e := range list {
			if s.ends[e] == nil {
				s.ends[e] = &saidEnds{}
			}
			x.of[k] = s.ends[e]
		}
		if list == nil && c.CommunityID != "" {
			if s.ids[c.CommunityID] == nil {
				s.ids[c.CommunityID] = &saidEnds{}
			}
			x.of[0] = s.ids[c.CommunityID]
		}
		within := int64(1000)
		if c.Millis {
			within = 1e6
		}
		for k, of := range x.of {
			if of == nil {
				continue
			}
			x.at[k] = at(of, c.TsNs, within)
			if c.EndNs != 0 {
				x.end[k] = at(of, c.EndNs, within+2000) // the sum of two rounded numbers
			}
		}
		if x.of[0] == nil && c.Frame != 0 {
			f := saidFrame{c.Frame, c.TsNs / 1000}
			if s.frames[f] == nil {
				s.frames[f] = &moment{}
			}
			x.at[0] = s.frames[f]
		}
		s.places = append(s.places, x)
	}
	for _, e := range s.ends {
		e.sort()
	}
	for _, e := range s.ids {
		e.sort()
	}
	return s, nil
}

func (e *saidEnds) sort() {
	for _, list := range [][]*moment{e.fine, e.coarse} {
		slices.SortFunc(list, func(a, b *moment) int { return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.within, b.within)) })
	}
}

// about returns the claims about the ends of a flow.
func (s *Said) about(ends [2]flow.End, proto uint8) (list []*saidEnds) {
	if len(s.places) == 0 {
		return nil
	}
	port := func(e flow.End) alerts.Port { return alerts.Port{Addr: e.Addr.Netip(), Port: e.Port} }
	if e := s.ends[alerts.Between(port(ends[0]), port(ends[1]), proto)]; e != nil {
		list = append(list, e)
	}
	if len(s.ids) > 0 {
		if e := s.ids[flow.CommunityID(ends[0], ends[1], proto)]; e != nil {
			list = append(list, e)
		}
	}
	return list
}

// packet looks for claims about a packet of a flow.
func (s *Said) packet(p *flow.Packet, f *joinedFlow, conn *joinedConn) {
	var seen *saidPacket
	for _, of := range f.said {
		for _, list := range [][]*moment{of.fine, of.coarse} {
			if len(list) == 0 {
				continue
			}
			most := list[0].within + 2000
			i := sort.Search(len(list), func(i int) bool { return list[i].t > p.Stamp-most })
			for ; i < len(list) && list[i].t < p.Stamp+most; i++ {
				m := list[i]
				if d := p.Stamp - m.t; max(d, -d) >= m.within || len(m.seen) >= maxSaidPackets {
					continue
				}
				if seen == nil {
					seen = &saidPacket{no: p.No, frame: p.Frame, flow: f.no, conn: conn.no, bare: p.PayloadLen == 0}
					conn.said.add(seen)
				}
				m.seen = append(m.seen, seen)
			}
		}
	}
}

// add adds a packet to those of a connection.
func (c *saidConn) add(p *saidPacket) {
	c.seen = append(c.seen, p)
	if c.any && p.bare && c.call.last < p.no {
		p.how, p.calls, p.call = byOrder, []int64{c.call.no}, c.call.last
	}
}

// frame looks for claims that name a packet by its number and time.
func (s *Said) frame(p *flow.Packet, of table.Opt[int64]) {
	if len(s.frames) == 0 {
		return
	}
	no := int64(-1)
	if of.OK {
		no = of.V
	}
	us := int64(table.MicrosOf(p.Stamp))
	for _, at := range []int64{us, us + 1} {
		if m := s.frames[saidFrame{p.Frame, at}]; m != nil && len(m.seen) < maxSaidPackets && (at == us || p.Stamp%1000 != 0) {
			m.seen = append(m.seen, &saidPacket{no: p.No, frame: p.Frame, flow: no, conn: -1})
		}
	}
}

// settle joins the calls of a round with the packets that claims are about.
func (s *Said) settle() {
	for i := range s.calls {
		s.calls[i].settle()
	}
	clear(s.calls)
	s.calls = s.calls[:0]
}

func (c *saidCall) settle() {
	n := len(c.cites)
	if n == 0 {
		return
	}
	list, first, last := c.conn.seen, c.cites[0].First, c.cites[n-1].Last
	from := func(no int64) int { return sort.Search(len(list), func(i int) bool { return list[i].no >= no }) }
	for _, r := range c.cites {
		for i := from(r.First); i < len(list) && list[i].no <= r.Last; i++ {
			switch p := list[i]; {
			case p.how < byCites:
				p.how, p.calls = byCites, []int64{c.no}
			case len(p.calls) < maxSaidCalls:
				p.calls = append(p.calls, c.no)
			}
		}
	}
	tries := 0
	for i := from(first); i < len(list) && tries < maxSaidTries; i++ {
		p := list[i]
		switch {
		case p.how == byCites:
			continue
		case p.no <= last && (p.how < bySpan || p.call < first):
			p.how, p.calls, p.call = bySpan, []int64{c.no}, first
		case p.no > last && p.bare && (p.how < byOrder || p.how == byOrder && p.call < last):
			p.how, p.calls, p.call = byOrder, []int64{c.no}, last
		}
		tries++
	}
	if !c.conn.any || c.conn.call.last < last {
		c.conn.any, c.conn.call.no, c.conn.call.last = true, c.no, last
	}
}

// flow records a flow with these ends.
func (e *saidEnds) flow(row *table.Flow) {
	if len(e.flows) >= maxSaidFlows {
		e.more = true
		return
	}
	e.flows = append(e.flows, saidFlow{row.FlowID, row.ConnID, row.FirstNs, row.LastNs})
}

// writeAlerts writes the claims with what they are about.
func (j *Joiner) writeAlerts() error {
	var list []table.Alert
	for i := range j.said.claims.Len() {
		c, err := j.said.claims.At(i)
		if err != nil {
			return err
		}
		row := alertRow(&c)
		row.AlertNo = int64(i)
		j.said.join(&row, &c, &j.said.places[i], j.first, j.last)
		if list = append(list, row); len(list) == rowsAtOnce {
			if err := write.Append(j.out, "alerts", list); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	return write.Append(j.out, "alerts", list)
}

// alertRow is a claim as a row, without what it is about.
func alertRow(c *alerts.Claim) table.Alert {
	r := table.Alert{Program: c.Program, Kind: c.Kind, TsNs: c.TsNs, Ts: table.MicrosOf(c.TsNs)}
	for _, f := range []struct {
		to *table.Opt[string]
		s  string
	}{{&r.Version, c.Version}, {&r.RuleID, c.RuleID}, {&r.Rule, c.Rule}, {&r.Category, c.Category}, {&r.Severity, c.Severity}, {&r.Action, c.Action}, {&r.Transport, c.Proto},
		{&r.SrcIP, c.SrcIP}, {&r.DstIP, c.DstIP}, {&r.CommunityID, c.CommunityID}, {&r.SaidID, c.SaidID}, {&r.Text, c.Text}, {&r.Detail, string(json.RawMessage(c.Detail))}, {&r.Source, c.Source}} {
		*f.to = table.NonEmpty(f.s)
	}
	for _, f := range []struct {
		to *table.Opt[int64]
		n  int64
	}{{&r.EndNs, c.EndNs}, {&r.Frame, c.Frame}, {&r.Line, c.Line}} {
		if f.n != 0 {
			*f.to = table.Some(f.n)
		}
	}
	for _, f := range []struct {
		to *table.Opt[int32]
		n  uint16
	}{{&r.SrcPort, c.SrcPort}, {&r.DstPort, c.DstPort}} {
		if f.n != 0 {
			*f.to = table.Some(int32(f.n))
		}
	}
	return r
}

// join says which packets, flow and calls a claim is about.
func (s *Said) join(r *table.Alert, c *alerts.Claim, x *saidClaim, first, last int64) {
	var packets []*saidPacket
	whole, flows := true, false
	for k, of := range x.of {
		if x.at[k] == nil {
			continue
		}
		list := x.at[k].seen
		if named := slices.DeleteFunc(slices.Clone(list), func(p *saidPacket) bool { return p.frame != c.Frame }); len(named) > 0 {
			list = named
		}
		if packets = append(packets, list...); x.end[k] != nil && len(list) > 0 {
			packets, whole = append(packets, x.end[k].seen...), len(x.end[k].seen) > 0
		}
		flows = flows || of != nil && len(of.flows) > 0
	}
	slices.SortFunc(packets, func(a, b *saidPacket) int { return cmp.Compare(a.no, b.no) })
	for _, p := range packets {
		r.Cites.Add(p.no, p.no)
		for _, no := range p.calls {
			if !slices.Contains(r.CallNos, no) && len(r.CallNos) < maxSaidCalls {
				r.CallNos = append(r.CallNos, no)
			}
		}
	}
	slices.Sort(r.CallNos)
	if c.Kind == "conn" {
		r.CallNos = nil // it is about all of them
	}
	if len(packets) > 0 {
		if p := packets[0]; p.flow >= 0 {
			r.FlowID = table.Some(p.flow)
		}
		if p := packets[0]; p.conn >= 0 {
			r.ConnID = table.Some(p.conn)
		}
	} else {
		x.only(r)
	}
	ends := x.of[0] != nil
	r.Here = "unknown"
	switch {
	case len(packets) > 0 && whole && ends:
		r.Here, r.Why = "yes", "packet"
	case len(packets) > 0 && whole:
		r.Here, r.Why = "yes", "frame"
	case s.excluded:
		r.Why = "excluded"
	case ends && flows:
		r.Why = "no_packet"
	case ends:
		r.Here, r.Why = "no", "no_flow"
	case last < first || c.TsNs < first-nearby*1e9 || c.TsNs > last+nearby*1e9:
		r.Here, r.Why = "no", "outside"
	default:
		r.Why = "no_ends"
	}
	if r.Here == "yes" {
		s.here++
	}
}

// only sets the flow and connection if only one has the ends of a claim at about its time.
func (x *saidClaim) only(r *table.Alert) {
	var found []saidFlow
	for _, of := range x.of {
		if of == nil {
			continue
		}
		if of.more {
			return
		}
		for _, f := range of.flows {
			if r.TsNs >= f.first-nearby*1e9 && r.TsNs <= f.last+nearby*1e9 {
				found = append(found, f)
			}
		}
	}
	slices.SortFunc(found, func(a, b saidFlow) int { return cmp.Compare(a.no, b.no) })
	if len(found) == 0 || slices.ContainsFunc(found, func(f saidFlow) bool { return f.conn != found[0].conn }) {
		return
	}
	r.FlowID, r.ConnID = table.Some(found[0].no), table.Some(found[0].conn)
}
