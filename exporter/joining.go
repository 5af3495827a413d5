package exporter

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Sizes of table bodies.
const (
	bodyPart    = 1 << 20 // bytes of one part
	bodyFlush   = 4 << 20 // bytes that wait to be written
	bodyOverlap = 4 << 10 // bytes that two parts share, so that a search finds what lies across
	bodyWindow  = 1 << 16 // distinct bodies within which an equal one is not stored again
)

// joining is the last stage: it gives numbers, names the ends and writes the tables.
type joining struct {
	out  *tables
	who  *identity
	read *reading
	keys *keyring
	opt  Options

	flows, conns, calls int64
	bodies              map[table.Hash]struct{}
	bodyRing            []table.Hash
	bodyAt              int
	acc                 bundle.Accounts
	first, last         int64

	pending   map[string][]unsafe.Pointer // calls by protocol
	order     []string
	packets   []table.Packet
	flowRows  []table.Flow // its capacity is what is written at once
	bodyRows  []table.Body
	bodyBytes int
	objects   []table.Object
	used      []*dissect.Body // whose bytes bodyRows may point at
	tls       []table.TLSHandshake
	merged    []at
	anomalies map[[2]string]int64
	keyStates map[string]int64
}

// at is a row's place in the order of a round.
type at struct {
	no    int64 // packet that completed it
	shard int32
	i     int32
}

func newJoining(out *tables, who *identity, read *reading, keys *keyring, o Options) *joining {
	return &joining{out: out, who: who, read: read, keys: keys, opt: o, bodies: map[table.Hash]struct{}{}, first: math.MaxInt64, last: math.MinInt64,
		flowRows: make([]table.Flow, 256), pending: map[string][]unsafe.Pointer{}, anomalies: map[[2]string]int64{}, keyStates: map[string]int64{}}
}

// order sorts the rows of all shards by the packet that completed them, then by shard;
// a shard's own rows keep their order.
func (j *joining) sorted(r *round, count func(*flow.Batch) int, no func(*flow.Batch, int) int64) []at {
	j.merged = j.merged[:0]
	for s := range r.out {
		for i := range count(&r.out[s]) {
			j.merged = append(j.merged, at{no(&r.out[s], i), int32(s), int32(i)})
		}
	}
	slices.SortFunc(j.merged, func(a, b at) int {
		if c := cmp.Compare(a.no, b.no); c != 0 {
			return c
		}
		if c := cmp.Compare(a.shard, b.shard); c != 0 {
			return c
		}
		return cmp.Compare(a.i, b.i)
	})
	return j.merged
}

// round joins what the shards made of one round.
func (j *joining) round(r *round) error {
	j.who.hear(r.said)
	if err := j.writeCalls(r); err != nil {
		return err
	}
	if err := j.writePackets(r); err != nil {
		return err
	}
	if err := j.writeFlows(r); err != nil {
		return err
	}
	if err := j.writeAnomalies(r); err != nil {
		return err
	}
	if err := columnar.Append(j.out.plain["endpoints"], j.who.made); err != nil {
		return err
	}
	j.who.made = j.who.made[:0]
	if j.opt.Progress != nil {
		j.opt.Progress(Progress{ReadBytes: j.read.readBytes.Load(), TotalBytes: j.read.sources.total, Packets: j.acc.Packets,
			Calls: j.calls, Stage: "reading"})
	}
	return nil
}

// newFlows are the flows that began in the round, in the order of their first packets.
func (j *joining) newFlows(r *round) []at {
	return slices.Clone(j.sorted(r, func(b *flow.Batch) int { return len(b.NewFlows) }, func(b *flow.Batch, i int) int64 { return b.NewFlows[i].First }))
}

// number gives a new flow and its connection their numbers and ends. The connection's
// addresses stay as the client dialled them; who the server is, is known best where a
// translator's work is seen, so the last view's answer stands.
func (j *joining) number(f *flow.Flow) {
	f.No = j.flows
	j.flows++
	c := f.Conn
	var atSrc, atDst *workload.Identity
	if client, known := f.Local(); known && client {
		atSrc = j.read.owners.owner(f.Owner)
	} else if known {
		atDst = j.read.owners.owner(f.Owner)
	}
	client, server := f.Ends()
	f.SrcID = j.who.endpoint(client.Addr, client.Port, c.Proto(), c.FirstTime(), atSrc)
	f.DstID = j.who.endpoint(server.Addr, server.Port, c.Proto(), c.FirstTime(), atDst)
	if !c.Joined.Done {
		c.Joined.Done, c.Joined.ConnNo = true, j.conns
		j.conns++
		c.Joined.SrcID, c.Joined.DstID = f.SrcID, f.DstID
	} else if f.View != nil && server != dialled(c) {
		c.Joined.DstID = f.DstID
	}
}

func dialled(c *flow.Conn) flow.End {
	_, dst, _, port := c.Ends()
	return flow.End{Addr: dst, Port: port}
}

func (j *joining) writePackets(r *round) error {
	j.packets = j.packets[:0]
	for i := range r.packets {
		p := &r.packets[i]
		row := table.Packet{PacketNo: p.No, FileID: p.File, Offset: p.Offset, FileIndex: p.FileIndex, Frame: p.Frame, TsNs: p.Time,
			CapLen: p.CapLen, Len: p.Len, Payload: p.PayloadLen, Flags: int32(p.TCPFlags&0xff) | int32(p.Mark)}
		if p.Flow != nil {
			row.FlowID = table.Some(p.Flow.No)
		}
		j.packets = append(j.packets, row)
		j.acc.Bytes += int64(p.Len)
		j.first, j.last = min(j.first, p.Time), max(j.last, p.Time)
	}
	j.acc.Packets += int64(len(r.packets))
	return columnar.Append(j.out.plain["packets"], j.packets)
}

// named is a row that says which names addresses have.
type named interface{ Names() []dissect.NameAnswer }

// writeCalls walks calls and new flows in the order of packets, so that a connection
// finds the name that an answer gave its address just before.
func (j *joining) writeCalls(r *round) error {
	fresh, owned := j.newFlows(r), j.newOwners(r)
	numbered := func(upTo int64) {
		for len(fresh) > 0 && fresh[0].no <= upTo {
			j.number(r.out[fresh[0].shard].NewFlows[fresh[0].i])
			fresh = fresh[1:]
		}
		for len(owned) > 0 && owned[0].no <= upTo {
			j.owned(&r.out[owned[0].shard].Owners[owned[0].i])
			owned = owned[1:]
		}
	}
	for _, m := range j.sorted(r, func(b *flow.Batch) int { return len(b.Calls) }, func(b *flow.Batch, i int) int64 { return b.Calls[i].At }) {
		numbered(m.no)
		e := &r.out[m.shard].Calls[m.i]
		c := e.Row.Base()
		c.CallNo = j.calls
		j.calls++
		c.ConnID, c.FlowID = e.Conn.Joined.ConnNo, e.Conn.FirstFlow().No
		c.SrcID, c.DstID = e.Conn.Joined.SrcID, e.Conn.Joined.DstID
		if e.Swapped {
			c.SrcID, c.DstID = c.DstID, c.SrcID
		}
		j.names(e, c)
		j.body(e.ReqBody, c, e, "request")
		j.body(e.RespBody, c, e, "response")
		for _, d := range e.Details {
			d.OfCall(c)
			if t, ok := d.(*table.TLSHandshake); ok {
				if err := j.keys.use(t); err != nil {
					return err
				}
				j.tls = append(j.tls, *t)
			}
		}
		if j.pending[c.Protocol] == nil {
			j.order = append(j.order, c.Protocol)
			slices.Sort(j.order)
		}
		j.pending[c.Protocol] = append(j.pending[c.Protocol], rowPointer(e.Row))
		if j.bodyBytes > bodyFlush {
			if err := j.flushCalls(); err != nil {
				return err
			}
		}
	}
	numbered(math.MaxInt64)
	return j.flushCalls()
}

// rowPointer is the address of the struct behind the interface, which the protocol's
// schema describes.
func rowPointer(row table.CallRow) unsafe.Pointer {
	return (*[2]unsafe.Pointer)(unsafe.Pointer(&row))[1]
}

func (j *joining) flushCalls() error {
	for _, p := range j.order {
		rows := j.pending[p]
		if len(rows) == 0 {
			continue
		}
		t, err := j.out.callTable(p)
		if err != nil {
			return err
		}
		if err := t.AppendPointers(rows); err != nil {
			return err
		}
		clear(rows)
		j.pending[p] = rows[:0]
	}
	if err := columnar.Append(j.out.plain["bodies"], j.bodyRows); err != nil {
		return err
	}
	clear(j.bodyRows)
	j.bodyRows, j.bodyBytes = j.bodyRows[:0], 0
	for _, b := range j.used {
		b.Release()
	}
	clear(j.used)
	j.used = j.used[:0]
	if err := columnar.Append(j.out.plain["objects"], j.objects); err != nil {
		return err
	}
	j.objects = j.objects[:0]
	if err := columnar.Append(j.out.plain["tls"], j.tls); err != nil {
		return err
	}
	clear(j.tls)
	j.tls = j.tls[:0]
	return nil
}

// names learns from a DNS answer, and notes the look-up on a connection's first call.
func (j *joining) names(e *flow.Emitted, c *table.Call) {
	if n, ok := e.Row.(named); ok {
		src, dst, _, _ := e.Conn.Ends()
		if e.Swapped {
			src = dst
		}
		end := c.TsNs + c.ElapsedUs.V*1000
		for _, a := range n.Names() {
			j.who.learn(src.Netip(), a.Name, a.Addr, end, c.ElapsedUs)
		}
		return
	}
	if c.Ordinal != 0 || c.Protocol == "dns" {
		return
	}
	src, dst, _, _ := e.Conn.Ends()
	if e.Swapped {
		src, dst = dst, src
	}
	if us, ok := j.who.lookupTime(src.Netip(), dst.Netip(), e.Conn.FirstTime()); ok {
		c.DNSUs = table.Some(us)
	}
}

// body puts a body into its table, unless an equal one went there a short while ago.
func (j *joining) body(b *dissect.Body, c *table.Call, e *flow.Emitted, side string) {
	if b == nil {
		return
	}
	j.used = append(j.used, b)
	if b.Size() == 0 && b.Lost() == 0 {
		return
	}
	if b.Large {
		o := table.Object{SHA256: b.Hash, Size: b.Size(), Complete: b.Complete && b.Lost() == 0, CallNo: c.CallNo, Side: side, Cites: c.Cites}
		set(&o.ContentType, b.ContentType)
		set(&o.Encoding, b.Encoding)
		j.objects = append(j.objects, o)
		return
	}
	if _, ok := j.bodies[b.Hash]; ok {
		return
	}
	if len(j.bodyRing) < bodyWindow {
		j.bodyRing = append(j.bodyRing, b.Hash)
	} else {
		delete(j.bodies, j.bodyRing[j.bodyAt])
		j.bodyRing[j.bodyAt] = b.Hash
		j.bodyAt = (j.bodyAt + 1) % bodyWindow
	}
	j.bodies[b.Hash] = struct{}{}
	data := b.Bytes()
	text := isText(data)
	for part, off := int32(0), 0; ; part++ {
		end := min(off+bodyPart, len(data))
		if text {
			for end < len(data) && !utf8.RuneStart(data[end]) {
				end--
			}
		}
		row := table.Body{SHA256: b.Hash, Part: part, Offset: int64(off), Size: int64(len(data)), WireSize: b.Size(),
			Complete: b.Complete && b.Lost() == 0, FirstCallNo: c.CallNo}
		set(&row.ContentType, b.ContentType)
		set(&row.Encoding, b.Undone)
		if text {
			row.Text = table.Some(unsafe.String(unsafe.SliceData(data[off:end]), end-off))
		} else {
			row.Bytes = data[off:end:end]
			if row.Bytes == nil {
				row.Bytes = []byte{}
			}
		}
		j.bodyRows = append(j.bodyRows, row)
		j.bodyBytes += end - off
		if end == len(data) {
			return
		}
		off = end - bodyOverlap
		for text && !utf8.RuneStart(data[off]) {
			off--
		}
	}
}

// isText reports whether p is UTF-8 without control characters but tab and line ends.
func isText(p []byte) bool {
	for _, c := range p {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(p)
}

func (j *joining) writeAnomalies(r *round) error {
	var rows []table.Anomaly
	for i := range r.anomalies {
		rows = append(rows, r.anomalies[i].Row)
	}
	for _, m := range j.sorted(r, func(b *flow.Batch) int { return len(b.Anomalies) }, func(b *flow.Batch, i int) int64 { return b.Anomalies[i].At }) {
		a := &r.out[m.shard].Anomalies[m.i]
		if a.Flow != nil {
			a.Row.FlowID = table.Some(a.Flow.No)
		}
		rows = append(rows, a.Row)
	}
	for i := range rows {
		j.anomalies[[2]string{rows[i].Source, rows[i].Kind}] += rows[i].Count
	}
	return columnar.Append(j.out.plain["anomalies"], rows)
}

// finish writes the tables that are known at the end, closes all and fills the manifest.
func (j *joining) finish(m *bundle.Manifest) error {
	if err := columnar.Append(j.out.plain["clocks"], j.read.clocks); err != nil {
		return err
	}
	j.read.coverRings()
	if err := columnar.Append(j.out.plain["coverage"], j.read.coverage); err != nil {
		return err
	}
	if err := j.kube(); err != nil {
		return err
	}
	if err := j.out.finish(m); err != nil {
		return err
	}
	m.Accounts = j.acc
	if j.acc.Packets > 0 {
		m.Window = bundle.Window{FirstNs: bundle.At(j.first), LastNs: bundle.At(j.last)}
	}
	for k, n := range j.anomalies {
		addCounter(m, k[0], k[1], n)
	}
	for k, n := range j.keyStates {
		addCounter(m, "keys", k, n)
	}
	return nil
}

// kube writes the workloads and events that the identity files held.
func (j *joining) kube() error {
	var rows []table.Workload
	for _, w := range j.who.index.Workloads() {
		r := table.Workload{Kind: w.Kind, Name: w.Name, Addresses: w.Addresses, ValidFromNs: w.ValidFrom, Source: w.Source}
		set(&r.Namespace, w.Namespace)
		set(&r.UID, w.UID)
		set(&r.Owner, w.Owner)
		set(&r.OwnerKind, w.OwnerKind)
		set(&r.Node, w.Node)
		if w.ValidTo != 0 {
			r.ValidToNs = table.Some(w.ValidTo)
		}
		for _, l := range w.Labels {
			r.Labels = append(r.Labels, table.Pair(l))
		}
		rows = append(rows, r)
	}
	if err := columnar.Append(j.out.plain["workloads"], rows); err != nil {
		return err
	}
	said, err := j.happened()
	if err != nil {
		return err
	}
	var events []table.K8sEvent
	for _, e := range j.who.index.Events() {
		events = append(events, k8sRow(&e))
	}
	events = addK8s(events, said)
	return columnar.Append(j.out.plain["k8s_events"], events)
}
