package flow

import (
	"math"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ShardCount is fixed: the number decides the order of rows of one packet and which connections
// share a budget, so it is part of the format.
const ShardCount = 16

// ID names a flow, or a connection, to the next stage; 0 names none. It may be reused from the
// round after the one with the row of its end.
type ID int32

// ids assigns the IDs of the flows or the connections of one shard.
type ids struct {
	shard int32
	next  int32
	free  []ID
	ended []ID // free from the next round on
}

func (x *ids) assign() ID {
	if n := len(x.free); n > 0 {
		id := x.free[n-1]
		x.free = x.free[:n-1]
		return id
	}
	x.next++
	return ID((x.next-1)*ShardCount + x.shard + 1)
}

func (x *ids) release(id ID) { x.ended = append(x.ended, id) }

// nextRound frees the IDs of what ended in the round before.
func (x *ids) nextRound() {
	x.free = append(x.free, x.ended...)
	x.ended = x.ended[:0]
}

// Started is a flow that began. Its first flow also describes a connection.
type Started struct {
	Flow, Conn ID
	First      int64 // number of its first packet
	Interface  int32
	Owner      int32  // who sent or received the first packet on the capturing machine, 0 unknown
	Local      Local  // which end the capturing machine is
	Ends       [2]End // client and server, as this flow shows them
	Translated bool   // Ends are not the ones that the connection was dialled with
	Answers    bool   // Ends are the ones that the client dialled, and Dialled what became of them

	NewConn   bool
	Dialled   [2]End // client and server, as the connection was dialled
	Proto     uint8  // IP protocol number
	ConnFirst int64  // ns, of the connection's first packet
}

// Local says which end of a flow the capturing machine is.
type Local uint8

// The local ends.
const (
	LocalUnknown Local = iota
	LocalClient
	LocalServer
)

// Owned is a packet from which a flow's end has another known owner.
type Owned struct {
	Flow   ID
	At     int64
	Owner  int32
	Rank   uint8
	Client bool
}

// CallRow is a call.
type CallRow struct {
	Conn              ID
	At                int64 // number of the packet that completed it
	Row               table.CallRow
	Swapped           bool      // client and server are swapped compared with Started.Dialled
	Writers           [2]Writer // of what the client and what the server sent, as Started.Dialled has them
	ReqBody, RespBody *dissect.Body
	Details           []dissect.Detail
	Hidden            []dissect.Hidden
	Objects           []table.Object
	Ticket            uint32 // of its receipt, unique in the connection; 0: none
}

// ReceiptRow says whether the response of a call in this batch or an earlier one was delivered.
type ReceiptRow struct {
	Conn   ID
	At     int64
	Ticket uint32
	Row    table.Receipt
}

// FlowRow is a finished flow.
type FlowRow struct {
	Flow    ID
	At      int64
	Row     *table.Flow
	Swapped bool
}

// ConnRow is a finished connection.
type ConnRow struct {
	Conn     ID
	At       int64
	Row      *table.Connection
	Swapped  bool
	KeyLines []string // of a key log that decrypt it, if none under its client random does
}

// EventRow is something that happened to a TCP connection.
type EventRow struct {
	Flow ID
	Row  table.TCPEvent
}

// AnomalyRow is an anomaly; Flow may be 0.
type AnomalyRow struct {
	Flow ID
	At   int64
	Row  table.Anomaly
}

// Batch is a shard's result for a round of packets: values that the shard does not touch again. All
// lists are in the order in which the shard added them, by packet number.
type Batch struct {
	Started   []Started
	Owners    []Owned
	Calls     []CallRow
	Flows     []FlowRow
	Conns     []ConnRow
	Events    []EventRow
	Receipts  []ReceiptRow
	Anomalies []AnomalyRow
	Plain     []Plain // only with Options.Plain
	LeftOut   int     // connections that Show did not show
	plain     []byte

	at    int32     // index of the packet that the shard works on
	size  int       // see Memory
	marks []lengths // after the packets that left rows, ascending
}

// lengths are those of a batch's lists after a packet. No row of a later packet precedes them.
type lengths struct {
	at                                                                int32
	size                                                              int
	started, owners, calls, flows, conns, events, receipts, anomalies int
}

// afterPackets is the value of Batch.at when the shard has seen all packets of the round.
const afterPackets = math.MaxInt32

// mark records the lengths of the lists.
func (b *Batch) mark() {
	m := lengths{b.at, b.size, len(b.Started), len(b.Owners), len(b.Calls), len(b.Flows), len(b.Conns), len(b.Events), len(b.Receipts), len(b.Anomalies)}
	if n := len(b.marks); n > 0 {
		last := b.marks[n-1]
		if last.at = m.at; last == m {
			return
		}
	}
	b.marks = append(b.marks, m)
}

// Before reports whether the shard of b, which has the number i, is at an earlier place of the round than another
// shard.
func (b *Batch) Before(i int, other *Batch, j int) bool {
	return b.at < other.at || b.at == other.at && i < j
}

// Move moves the rows that come before the place of a waiting shard, whose number is j, to an
// empty batch. The number of b's shard is i.
func (b *Batch) Move(i int, waiting *Batch, j int, to *Batch) {
	n := len(b.marks)
	for n > 0 && (b.marks[n-1].at > waiting.at || b.marks[n-1].at == waiting.at && i > j) {
		n--
	}
	if n == 0 {
		return
	}
	m := b.marks[n-1]
	move(&b.Started, &to.Started, m.started)
	move(&b.Owners, &to.Owners, m.owners)
	move(&b.Calls, &to.Calls, m.calls)
	move(&b.Flows, &to.Flows, m.flows)
	move(&b.Conns, &to.Conns, m.conns)
	move(&b.Events, &to.Events, m.events)
	move(&b.Receipts, &to.Receipts, m.receipts)
	move(&b.Anomalies, &to.Anomalies, m.anomalies)
	b.size, to.size = b.size-m.size, m.size
	b.marks = slices.Delete(b.marks, 0, n)
	for k := range b.marks {
		l := &b.marks[k]
		l.size -= m.size
		l.started, l.owners, l.calls, l.flows = l.started-m.started, l.owners-m.owners, l.calls-m.calls, l.flows-m.flows
		l.conns, l.events, l.receipts, l.anomalies = l.conns-m.conns, l.events-m.events, l.receipts-m.receipts, l.anomalies-m.anomalies
	}
}

// move moves the first n elements of a list to an empty one.
func move[T any](from, to *[]T, n int) {
	*to = append(*to, (*from)[:n]...)
	*from = slices.Delete(*from, 0, n)
}

// Rows is the number of rows in the batch.
func (b *Batch) Rows() int {
	return len(b.Calls) + len(b.Flows) + len(b.Conns) + len(b.Events) + len(b.Receipts) + len(b.Anomalies) + len(b.Plain)
}

// Memory of rows, in bytes.
const (
	callRowCost = int(unsafe.Sizeof(CallRow{})) + 256 // with short texts, without Row
	flowRowCost = int(unsafe.Sizeof(FlowRow{}) + unsafe.Sizeof(table.Flow{}))
	connRowCost = int(unsafe.Sizeof(ConnRow{})+unsafe.Sizeof(table.Connection{})) + 256

	anomalyRowCost = int(unsafe.Sizeof(AnomalyRow{}))
	eventCost      = int(unsafe.Sizeof(EventRow{}))
	receiptCost    = int(unsafe.Sizeof(ReceiptRow{}))
	anomalyCost    = int(unsafe.Sizeof(AnomalyRow{})) + 128
	detailCost     = 1 << 10
	objectCost     = int(unsafe.Sizeof(table.Object{})) + 128 // with a short name
	textMost       = 4 << 10                                  // of the texts of a call, without headers: they are cut
)

// Memory is the approximate size of the batch's rows, in bytes.
func (b *Batch) Memory() int {
	return b.size + len(b.Events)*eventCost + len(b.Receipts)*receiptCost + len(b.Anomalies)*anomalyCost
}

// callMemory is the approximate memory of a call's row with everything it points to, in bytes. row is the size of its
// struct.
func callMemory(e *dissect.Emission, row int) int {
	c := e.Row.Base()
	n := callRowCost + row + int(unsafe.Sizeof(table.Delivery{})) + len(c.Cites)*int(unsafe.Sizeof(table.Range{})) + cap(c.Headers)*int(unsafe.Sizeof(table.Header{})) + len(e.Details)*detailCost + len(e.Objects)*objectCost
	heads, payload := c.RequestHeadersSize.V+c.ResponseHeadersSize.V, c.RequestBytes+c.ResponseBytes
	for _, b := range [...]*dissect.Body{e.ReqBody, e.RespBody} {
		if b != nil {
			n += b.Memory()
			payload -= b.Size()
		}
	}
	return n + int(heads+min(max(payload-heads, 0), textMost))
}

// Reset empties the batch for use again. Nobody may still refer to its rows.
func (b *Batch) Reset() {
	for i := range b.Flows {
		flowRows.Put(b.Flows[i].Row)
	}
	for i := range b.Conns {
		connRows.Put(b.Conns[i].Row)
	}
	clear(b.Owners)
	clear(b.Calls)
	clear(b.Flows)
	clear(b.Conns)
	clear(b.Events)
	b.Receipts = b.Receipts[:0]
	clear(b.Anomalies)
	b.Started, b.Owners, b.Calls, b.Flows = b.Started[:0], b.Owners[:0], b.Calls[:0], b.Flows[:0]
	b.Conns, b.Events, b.Anomalies = b.Conns[:0], b.Events[:0], b.Anomalies[:0]
	b.at, b.size, b.marks, b.LeftOut = 0, 0, b.marks[:0], 0
	b.resetPlain()
}
