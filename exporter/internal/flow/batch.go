package flow

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ShardCount is fixed: the cut decides in which order rows of one packet stand and which
// connections share a budget, so it is part of the format.
const ShardCount = 16

// ID names a flow, or a connection, to the next stage; 0 names none. It is free for another
// one in the round after the one that holds the row of its end.
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

// Owned says that from a packet on another owner of a flow's end is known.
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
	Swapped           bool      // client and server are the other way round than Started.Dialled says
	Writers           [2]Writer // of what the client and what the server sent, as Started.Dialled has them
	ReqBody, RespBody *dissect.Body
	Details           []dissect.Detail
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
	KeyLines []string // of a key log that open it, where none under its client random does
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

// Batch is what a shard makes of a round of packets: values that the shard does not touch
// again. All lists are in the order in which the shard met them, which rises by packet
// number.
type Batch struct {
	Started   []Started
	Owners    []Owned
	Calls     []CallRow
	Flows     []FlowRow
	Conns     []ConnRow
	Events    []EventRow
	Anomalies []AnomalyRow
	Plain     []Plain // only where Options.Plain asked for it
	plain     []byte
}

// Rows is the number of rows in the batch.
func (b *Batch) Rows() int {
	return len(b.Calls) + len(b.Flows) + len(b.Conns) + len(b.Events) + len(b.Anomalies) + len(b.Plain)
}

// Memory is about what the rows of the batch take, in bytes, without what connections took
// for them before.
func (b *Batch) Memory() int {
	const callCost, flowCost, connCost = 1400, int(unsafe.Sizeof(FlowRow{}) + unsafe.Sizeof(table.Flow{})), int(unsafe.Sizeof(ConnRow{}) + unsafe.Sizeof(table.Connection{}))
	const eventCost, anomalyCost = int(unsafe.Sizeof(EventRow{})), int(unsafe.Sizeof(AnomalyRow{})) + 100
	return len(b.Calls)*callCost + len(b.Flows)*flowCost + len(b.Conns)*connCost + len(b.Events)*eventCost + len(b.Anomalies)*anomalyCost
}

// Reset empties the batch for use again.
func (b *Batch) Reset() {
	clear(b.Owners)
	clear(b.Calls)
	clear(b.Flows)
	clear(b.Conns)
	clear(b.Events)
	clear(b.Anomalies)
	b.Started, b.Owners, b.Calls, b.Flows = b.Started[:0], b.Owners[:0], b.Calls[:0], b.Flows[:0]
	b.Conns, b.Events, b.Anomalies = b.Conns[:0], b.Events[:0], b.Anomalies[:0]
	b.resetPlain()
}
