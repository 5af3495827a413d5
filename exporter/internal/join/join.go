// Package join is the third stage: it puts the rows of all shards in one order, assigns final
// numbers to calls, connections, flows and endpoints, determines the owner of each address, and
// passes the rows to the tables.
//
// Rows are in the order of the packets that completed them, for any number of workers. Join copies
// what it needs from a round; earlier stages do not share its data.
package join

import (
	"errors"
	"math"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/alerts"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Joiner joins the rounds of a run, in their order.
type Joiner struct {
	out  *write.Tables
	who  *Identity
	keys *UsedKeys

	known   known // of earlier rounds
	numbers struct{ flows, conns, calls int64 }
	bodies  bodies
	rows    rows
	ids     callIDs
	idNames *dissect.IDNames

	acc         bundle.Accounts
	first, last int64
	turned      int64 // flows
	anomalies   map[[2]string]int64
	keyStates   map[string]int64
	events      []table.K8sEvent // of side files
	order       []round.Place
	said        *Said
}

// rows are the rows that wait to be written.
type rows struct {
	calls     map[string][]unsafe.Pointer // by protocol
	protocols []string                    // of calls, sorted
	packets   []table.Packet
	flows     []*table.Flow
	conns     []*table.Connection
	events    []*table.TCPEvent
	anomalies []*table.Anomaly
	tls       []table.TLSHandshake
	again     []table.Anomaly // of calls that another connection had
}

// pass writes rows of a round, and returns the empty list.
func pass[T any](to *write.Tables, name string, list []*T) ([]*T, error) {
	err := write.AppendRows(to, name, list)
	clear(list)
	return list[:0], err
}

// New makes a joiner that writes to out; said may be nil. The limit bounds its memory.
func New(out *write.Tables, who *Identity, keys *UsedKeys, said *Said, limit memory.Limit) *Joiner {
	who.limit = limit
	if said == nil {
		said = &Said{claims: alerts.New(0, 0)}
	}
	return &Joiner{said: said, idNames: dissect.NewIDNames(limit.Scale(dissect.MaxIDNames)), ids: callIDs{limit: limit}, out: out, who: who, keys: keys, bodies: bodies{limit: limit, kept: map[table.Hash]struct{}{}}, first: math.MaxInt64, last: math.MinInt64,
		rows: rows{calls: map[string][]unsafe.Pointer{}}, anomalies: map[[2]string]int64{}, keyStates: map[string]int64{}}
}

// Join writes the shards' results of a round.
func (j *Joiner) Join(r *round.Round) error {
	j.known.add(&r.Facts)
	j.who.hear(r.Facts.Names)
	for _, step := range []func(*round.Round) error{j.writeCalls, j.writePackets, j.writeReceipts, j.writeFlows, j.writeConns, j.writeEvents, j.writeAnomalies, j.writeFacts} {
		if err := step(r); err != nil {
			return err
		}
	}
	return nil
}

// Counts are how many packets and calls were written.
func (j *Joiner) Counts() (packets, calls int64) { return j.acc.Packets, j.numbers.calls }

// writeFacts writes what reading learned, and the endpoints that the round named.
func (j *Joiner) writeFacts(r *round.Round) error {
	f := &r.Facts
	for i := range f.K8sEvents {
		j.events = append(j.events, k8sRow(&f.K8sEvents[i]))
	}
	endpoints := j.who.made
	j.who.made = j.who.made[:0]
	return errors.Join(write.Append(j.out, "endpoints", endpoints), write.Append(j.out, "clocks", f.Clocks),
		write.Append(j.out, "coverage", f.Coverage), write.Append(j.out, "os_events", f.OSEvents))
}

func (j *Joiner) writePackets(r *round.Round) error {
	list := j.rows.packets[:0]
	for i := range r.Packets {
		p := &r.Packets[i]
		if !p.Captured() {
			continue
		}
		row := table.Packet{PacketNo: p.No, FileID: p.File, Offset: p.Offset, FileIndex: p.FileIndex, Frame: p.Frame, TsNs: p.Stamp,
			CapLen: p.CapLen, Len: p.Len, Payload: p.PayloadLen, Flags: int32(p.TCPFlags&0xff) | int32(p.Mark)}
		if p.Flow != 0 {
			f := j.known.flow(p.Flow)
			row.FlowID = table.Some(f.no)
			j.said.packet(p, f, j.known.conn(f.conn))
		}
		j.said.frame(p, row.FlowID)
		list = append(list, row)
		j.acc.Bytes += int64(p.Len)
		j.first, j.last = min(j.first, p.Time), max(j.last, p.Time)
	}
	j.rows.packets = list
	j.acc.Packets += int64(len(list))
	j.said.settle()
	return write.Append(j.out, "packets", list)
}

// writeCalls walks calls and started flows in the order of packets, so that a connection
// finds the name that an answer gave its address just before.
func (j *Joiner) writeCalls(r *round.Round) error {
	started := r.Order(nil, func(b *flow.Batch) int { return len(b.Started) }, func(b *flow.Batch, i int) int64 { return b.Started[i].First })
	owned := r.Order(nil, func(b *flow.Batch) int { return len(b.Owners) }, func(b *flow.Batch, i int) int64 { return b.Owners[i].At })
	startUpTo := func(no int64) {
		for ; len(started) > 0 && started[0].No <= no; started = started[1:] {
			j.start(&r.Out[started[0].Shard].Started[started[0].I])
		}
		for ; len(owned) > 0 && owned[0].No <= no; owned = owned[1:] {
			j.own(&r.Out[owned[0].Shard].Owners[owned[0].I])
		}
	}
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Calls) }, func(b *flow.Batch, i int) int64 { return b.Calls[i].At })
	for _, m := range j.order {
		j.ids.touch(r.Out[m.Shard].Calls[m.I].Row.Base().CallID)
	}
	for _, m := range j.order {
		startUpTo(m.No)
		if err := j.call(&r.Out[m.Shard].Calls[m.I]); err != nil {
			return err
		}
	}
	startUpTo(math.MaxInt64)
	return j.flushCalls()
}

// call numbers a call and adds its rows to those that wait.
func (j *Joiner) call(e *flow.CallRow) error {
	c, conn := e.Row.Base(), j.known.conn(e.Conn)
	c.CallNo = j.numbers.calls
	j.numbers.calls++
	again := j.ids.unique(c)
	j.place(c, e, conn)
	if again && c.Transport == "tcp" {
		j.shownBefore(c, e.At, conn)
	}
	j.names(e, conn)
	if r, ok := e.Row.(dissect.IDNamer); ok {
		r.NameIDs(j.idNames)
	}
	if conn.said != nil {
		j.said.calls = append(j.said.calls, saidCall{conn.said, c.CallNo, c.Cites})
	}
	if e.Ticket != 0 {
		conn.waits = append(conn.waits, waiting{e.Ticket, c.CallNo})
	}
	j.bodies.add(e.ReqBody, c)
	j.bodies.add(e.RespBody, c)
	dissect.NameObjects(e.Objects, c)
	j.bodies.objects = append(j.bodies.objects, e.Objects...)
	for _, d := range e.Details {
		d.OfCall(c)
		if t, ok := d.(*table.TLSHandshake); ok {
			if err := j.keys.keep(t.ClientRandom, nil); err != nil {
				return err
			}
			j.rows.tls = append(j.rows.tls, *t)
		}
	}
	j.queue(e.Row)
	if j.bodies.size > bodyFlush {
		return j.flushCalls()
	}
	return nil
}

// shownBefore marks, once per connection, a call on TCP with the sequence numbers and bytes of another one. Equal
// numbers of both sides are no chance (RFC 9293 section 3.4.1).
func (j *Joiner) shownBefore(c *table.Call, at int64, conn *joinedConn) {
	if conn.again {
		return
	}
	conn.again = true
	c.Anomalies++
	j.rows.again = append(j.rows.again, table.Anomaly{TsNs: c.TsNs, Ts: c.Ts, Source: "tcp", Kind: "same_call",
		Detail: "an earlier connection has a call with the same sequence numbers and bytes: one connection that a capture with another clock shows again, or a replayed one; both are read",
		FlowID: table.Some(c.FlowID), PacketNo: table.Some(at), Count: 1})
}

// queue adds a call to the rows that wait to be written.
func (j *Joiner) queue(row table.CallRow) {
	p := row.Base().Protocol
	if j.rows.calls[p] == nil {
		j.rows.protocols = append(j.rows.protocols, p)
		slices.Sort(j.rows.protocols)
	}
	j.rows.calls[p] = append(j.rows.calls[p], rowPointer(row))
}

// place says to which connection, flow and endpoints a call belongs.
func (j *Joiner) place(c *table.Call, e *flow.CallRow, conn *joinedConn) {
	c.ConnID, c.FlowID = conn.no, j.known.flow(conn.flow).no
	ids := conn.ids
	for side, w := range e.Writers {
		ids[side] = j.writer(conn, side, w)
	}
	c.SrcID, c.DstID = ends(ids, e.Swapped)
}

// ends are the client and the server, or the other way round.
func ends[T any](of [2]T, swapped bool) (client, server T) {
	if swapped {
		return of[1], of[0]
	}
	return of[0], of[1]
}

// rowPointer is the address of the struct behind the interface, which the protocol's
// schema describes.
func rowPointer(row table.CallRow) unsafe.Pointer {
	return (*[2]unsafe.Pointer)(unsafe.Pointer(&row))[1]
}

// flushCalls writes the calls that wait, with their bodies and details.
func (j *Joiner) flushCalls() error {
	for _, p := range j.rows.protocols {
		list := j.rows.calls[p]
		if len(list) == 0 {
			continue
		}
		if err := j.out.AppendCalls(p, list); err != nil {
			return err
		}
		clear(list)
		j.rows.calls[p] = list[:0]
	}
	if err := j.bodies.write(j.out); err != nil {
		return err
	}
	err := write.Append(j.out, "tls_handshakes", j.rows.tls)
	clear(j.rows.tls)
	j.rows.tls = j.rows.tls[:0]
	return err
}

// named is a row with names of addresses.
type named interface{ Names() []dissect.NameAnswer }

// names learns from a DNS answer, and notes the look-up on a connection's first call.
func (j *Joiner) names(e *flow.CallRow, conn *joinedConn) {
	c := e.Row.Base()
	client, server := ends(conn.ends, e.Swapped)
	if n, ok := e.Row.(named); ok {
		end := c.TsNs + c.ElapsedUs.V*1000
		for _, a := range n.Names() {
			j.who.learn(client.Addr.Netip(), a.Name, a.Addr, end, c.ElapsedUs)
		}
		return
	}
	if c.Ordinal != 0 || c.Protocol == "dns" {
		return
	}
	if us, ok := j.who.lookupTime(client.Addr.Netip(), server.Addr.Netip(), conn.first); ok {
		c.DNSUs = table.Some(us)
	}
}

func (j *Joiner) writeAnomalies(r *round.Round) (err error) {
	list := j.rows.anomalies
	for _, of := range [][]table.Anomaly{r.Facts.Anomalies, j.rows.again} {
		for i := range of {
			list = append(list, &of[i])
		}
	}
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Anomalies) }, func(b *flow.Batch, i int) int64 { return b.Anomalies[i].At })
	for _, m := range j.order {
		a := &r.Out[m.Shard].Anomalies[m.I]
		if a.Flow != 0 {
			a.Row.FlowID = table.Some(j.known.flow(a.Flow).no)
		}
		list = append(list, &a.Row)
	}
	for _, a := range list {
		j.anomalies[[2]string{a.Source, a.Kind}] += a.Count
	}
	j.rows.anomalies, err = pass(j.out, "anomalies", list)
	j.rows.again = j.rows.again[:0]
	return err
}

// Finish writes the tables that are known at the end, closes all and fills the manifest.
func (j *Joiner) Finish(m *bundle.Manifest) error {
	if err := j.writeKube(); err != nil {
		return err
	}
	if err := j.writeAlerts(); err != nil {
		return err
	}
	if err := j.out.Finish(m); err != nil {
		return err
	}
	m.Accounts = j.acc
	if j.acc.Packets > 0 {
		m.Window = bundle.Window{FirstNs: bundle.At(j.first), LastNs: bundle.At(j.last)}
	}
	for k, n := range j.anomalies {
		m.Accounts.AddCounter(k[0], k[1], n)
	}
	if j.turned > 0 {
		m.Accounts.AddCounter("flow", bundle.TurnedFlows, j.turned)
	}
	for k, n := range j.keyStates {
		m.Accounts.AddCounter("keys", k, n)
	}
	return j.keys.Finish(m)
}
