package forensics

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one exchange.
const (
	DefaultBody  = 1 << 20 // bytes of each body
	maxRefs      = 10_000  // packets listed
	maxAnomalies = 1000

	callsAtOnce  = 256      // rows that EachCall reads with one query
	bodiesAtOnce = 32 << 20 // bytes of their bodies
)

// AmbiguousError reports an id that matches several calls.
type AmbiguousError struct {
	ID   string
	Some []string // up to ten ids that each match one call
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("call %s is ambiguous; use one of %s", e.ID, strings.Join(e.Some, ", "))
}

// CallOptions define how much of a call to read.
type CallOptions struct {
	MaxBody int // bytes of each body; 0 means DefaultBody
}

// most is the highest number of bytes to read of a body.
func (o CallOptions) most() int {
	if o.MaxBody <= 0 {
		return DefaultBody
	}
	return o.MaxBody
}

// Exchange is everything known about one call.
type Exchange struct {
	Bundle     int
	Call       Struct // the row of calls, without the endpoints
	Client     Struct // row of endpoints; nil if there is none
	Server     Struct
	Request    *Body // nil if the message had none
	Response   *Body
	Flow       Struct
	Connection Struct
	TLS        Struct // nil unless the call is a TLS handshake
	Cites      table.Cites
	Packets    []PacketRef
	MoreRefs   int64    // number of packets above the limit, which are not listed
	Frames     string   // the cited packets as Cite writes them
	Delivery   string   // whether request and response were delivered, with the packets that show it
	Anomalies  []Struct // anomalies in the packets of the call
	Copies     int      // number of rows in other bundles that are the same call
}

// PacketRef locates a packet.
type PacketRef struct {
	PacketNo  int64
	File      string // path in the bundle
	Cited     string // as Cite writes it
	FileIndex int64  // number in the file, from 0
	Frame     int64  // Wireshark's frame number
	TsNs      int64
	Len       int64
	CapLen    int64
	Payload   int64
	From      string // client, server, or network: an ICMP error about the request
}

// Call finds one call: by # and its number (bundle#number in a case of several bundles), by
// call_id, or by a unique prefix of a call_id with at least 8 digits. It returns ErrNotFound,
// *AmbiguousError or ErrUsage.
func (c *Case) Call(ctx context.Context, id string, o CallOptions) (*Exchange, error) {
	x, err := c.findCall(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := c.readBodies(ctx, []*Exchange{x}, o.most()); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		to                *Struct
		table, key, value string
	}{
		{&x.Client, "endpoints", "endpoint_id", "src_id"}, {&x.Server, "endpoints", "endpoint_id", "dst_id"},
		{&x.Flow, "flows", "flow_id", "flow_id"}, {&x.Connection, "connections", "conn_id", "conn_id"}, {&x.TLS, "tls_handshakes", "call_no", "call_no"},
	} {
		if v, ok := x.Call.Get(part.value).(int64); ok {
			if *part.to, err = c.one(ctx, part.table, part.key, v, x.Bundle); err != nil {
				return nil, err
			}
		}
	}
	if err := c.refs(ctx, x); err != nil {
		return nil, err
	}
	err = x.Deliver(func(no int64) (string, error) {
		frames, err := c.Cite(ctx, []Citation{CitePacket(x.Bundle, no)})
		return strings.Join(frames, ""), err
	})
	if err != nil {
		return nil, err
	}
	return x, c.anomaliesOf(ctx, x)
}

// CallNo is the number of a call in one bundle of a case.
type CallNo struct {
	Bundle int
	No     int64
}

// EachCall calls f with calls in the given order: only their rows, citations and bodies. A number that
// no call has is left out. It reads many calls with one query, and holds about 32 MiB of bodies, or the
// two of one call.
func (c *Case) EachCall(ctx context.Context, list []CallNo, o CallOptions, f func(*Exchange) error) error {
	most := o.most()
	for part := range slices.Chunk(list, callsAtOnce) {
		found, err := c.exchanges(ctx, part)
		if err != nil {
			return err
		}
		for len(found) > 0 {
			n, size := 0, 0
			for n < len(found) && (n == 0 || size+found[n].bodySize(most) <= bodiesAtOnce) {
				size += found[n].bodySize(most)
				n++
			}
			if err := c.readBodies(ctx, found[:n], most); err != nil {
				return err
			}
			for i, x := range found[:n] {
				if err := f(x); err != nil {
					return err
				}
				found[i] = nil
			}
			found = found[n:]
		}
	}
	return nil
}

// exchanges reads the rows of calls, in the order of the list.
func (c *Case) exchanges(ctx context.Context, list []CallNo) ([]*Exchange, error) {
	cond, args := c.numbered(list)
	rows, err := c.search(ctx, withCopies, cond, args, len(list))
	if err == nil {
		rows, err = c.wholeRows(ctx, rows)
	}
	if err != nil {
		return nil, err
	}
	at := map[CallNo]*Exchange{}
	for _, row := range rows {
		at[callNoOf(row)] = newExchange(row)
	}
	var found []*Exchange
	for _, k := range list {
		if x := at[k]; x != nil {
			found = append(found, x)
		}
	}
	return found, nil
}

// numbered is the condition for calls with these numbers.
func (c *Case) numbered(list []CallNo) (cond string, args []any) {
	of := map[int][]int64{}
	for _, k := range list {
		of[k.Bundle] = append(of[k.Bundle], k.No)
	}
	var conds []string
	for _, b := range slices.Sorted(maps.Keys(of)) {
		conds = append(conds, "call_no IN (SELECT unnest(?))"+c.ofBundle(b))
		args = append(args, of[b])
	}
	return strings.Join(conds, " OR "), args
}

func newExchange(row Struct) *Exchange {
	return &Exchange{Call: row, Bundle: bundleOf(row), Cites: readRanges(row.Get("cites"))}
}

// findCall finds the row of one call with all columns of its protocol.
func (c *Case) findCall(ctx context.Context, id string) (*Exchange, error) {
	row, err := c.identify(ctx, id)
	if err != nil {
		return nil, err
	}
	whole, err := c.wholeRows(ctx, []Struct{row})
	if err != nil {
		return nil, err
	}
	x := newExchange(whole[0])
	x.Copies, err = c.copiesOf(ctx, x)
	return x, err
}

// identify finds one call and returns its identifying columns.
func (c *Case) identify(ctx context.Context, id string) (Struct, error) {
	if c.views["calls"] == nil {
		return nil, fmt.Errorf("call %s: %w", clip.Text(id, 60), ErrNotFound)
	}
	cond, args, err := c.callCondition(id)
	if err != nil {
		return nil, err
	}
	found, err := c.search(ctx, eachOnce, cond, args, 11)
	if err == nil && len(found) == 0 && c.copies != nil {
		found, err = c.search(ctx, withCopies, cond, args, 11)
	}
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("call %s: %w", clip.Text(id, 60), ErrNotFound)
	case len(found) > 1:
		return nil, &AmbiguousError{ID: id, Some: c.namesOf(found)}
	}
	return found[0], nil
}

// identifying are the columns that say which call a row is, and what its packets are. All calls have them.
var identifying = []string{"bundle", "call_no", "call_id", "protocol", "transport", "ts_ns", "flow_id", "conn_id", "cites"}

// search returns the identifying columns of at most most calls. DuckDB plans each column of a statement, so a search that names
// the few columns of all calls is much cheaper than one with those of all protocols.
func (c *Case) search(ctx context.Context, which extent, cond string, args []any, most int) ([]Struct, error) {
	var columns []duck.Column
	for _, col := range c.views["calls"].raw {
		if slices.Contains(identifying, col.Name) {
			columns = append(columns, col)
		}
	}
	return c.rowsOfCalls(ctx, rowsOf{table: "calls"}, which, columns, cond, args, most)
}

// wholeRows reads calls that were found with all columns of their protocols, from the parts of these protocols alone.
func (c *Case) wholeRows(ctx context.Context, found []Struct) (whole []Struct, err error) {
	of := map[string][]CallNo{}
	for _, row := range found {
		protocol, _ := row.Get("protocol").(string)
		of[protocol] = append(of[protocol], callNoOf(row))
	}
	for _, protocol := range slices.Sorted(maps.Keys(of)) {
		cond, args := c.numbered(of[protocol])
		rows, err := c.rowsOfCalls(ctx, rowsOf{table: "calls", protocols: []string{protocol}}, withCopies, c.columnsOfCall(protocol), cond, args, len(of[protocol]))
		if err != nil {
			return nil, err
		}
		if len(rows) != len(of[protocol]) {
			return nil, badTable("calls", fmt.Sprintf("calls of protocol %.60q are not in its part", protocol))
		}
		whole = append(whole, rows...)
	}
	return whole, nil
}

// columnsOfCall lists the columns of table calls that calls of a protocol have.
func (c *Case) columnsOfCall(protocol string) []duck.Column {
	others := without(c.calls.ofProtocols(c.calls.there()), c.calls.own[protocol])
	return without(c.views["calls"].stored(), others)
}

// rowsOfCalls returns columns of at most most calls. They are masked if the case is.
func (c *Case) rowsOfCalls(ctx context.Context, rows rowsOf, which extent, columns []duck.Column, cond string, args []any, most int) ([]Struct, error) {
	files := &fileList{bound: true}
	source := c.readMasked(rows, which, columns, files.parquet)
	order := "call_no"
	if c.several() {
		order = "bundle, call_no"
	}
	return c.structs(ctx, "SELECT "+identList(namesOf(columns))+" FROM ("+source+") WHERE "+cond+" ORDER BY "+order, most, append(files.args, args...)...)
}

// namesOf returns up to ten ids that each match one of the calls.
func (c *Case) namesOf(found []Struct) []string {
	var some []string
	times := map[string]int{}
	for _, row := range found {
		name, _ := row.Get("call_id").([]byte)
		some = append(some, hex.EncodeToString(name))
		times[hex.EncodeToString(name)]++
	}
	for i, row := range found {
		no, _ := row.Get("call_no").(int64)
		switch {
		case times[some[i]] == 1:
		case c.several():
			some[i] = fmt.Sprintf("%d#%d", bundleOf(row), no)
		default:
			some[i] = fmt.Sprintf("#%d", no)
		}
	}
	return some[:min(len(some), 10)]
}

// copiesOf counts the rows in other bundles that are the same call.
func (c *Case) copiesOf(ctx context.Context, x *Exchange) (int, error) {
	if c.copies == nil {
		return 0, nil
	}
	no, _ := x.Call.Get("call_no").(int64)
	rows, err := c.structs(ctx, "SELECT count(*) AS n FROM "+copiesTable+" WHERE of_bundle = ? AND of_call_no = ?", 1, int64(x.Bundle), no)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	n, _ := rows[0].Get("n").(int64)
	return int(n), nil
}

func callNoOf(row Struct) CallNo {
	no, _ := row.Get("call_no").(int64)
	return CallNo{bundleOf(row), no}
}

func bundleOf(row Struct) int {
	n, _ := row.Get("bundle").(int64)
	return int(n)
}

// structs returns at most most rows of a query.
func (c *Case) structs(ctx context.Context, sql string, most int, args ...any) ([]Struct, error) {
	rows, err := c.db.Query(ctx, fmt.Sprintf("%s LIMIT %d", sql, most), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Struct
	for rows.Next() {
		row := make([]any, len(rows.Columns))
		if err := rows.Row(row); err != nil {
			return nil, err
		}
		s := make(Struct, len(row))
		for i, col := range rows.Columns {
			s[i] = Field{Name: col.Name, Value: row[i]}
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// one returns the row of a table with a number, or nil.
func (c *Case) one(ctx context.Context, name, key string, value int64, b int) (Struct, error) {
	if v := c.views[name]; v == nil || !v.has(key) {
		return nil, nil
	}
	list, err := c.structs(ctx, "SELECT * FROM "+name+"_raw WHERE "+key+" = ?"+c.ofBundle(b), 1, value)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// refs lists the packets of a call.
func (c *Case) refs(ctx context.Context, x *Exchange) error {
	var set numbers
	for _, r := range x.Cites {
		if err := set.add(r.First, r.Last); err != nil {
			return err
		}
	}
	x.MoreRefs = set.n
	asked := x.AskedByServer()
	own, err := c.ownFlows(ctx, x)
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for _, in := range c.bundles[x.Bundle].Manifest.Inputs {
		names[int64(in.FileID)] = in.Path
	}
	for _, s := range set.spans() {
		rows, err := c.db.Query(ctx, "SELECT packet_no, file_id, file_index, frame, ts_ns, len, caplen, payload, flags, flow_id FROM packets_raw WHERE packet_no BETWEEN ? AND ?"+
			c.ofBundle(x.Bundle)+" ORDER BY packet_no", s.first, s.last)
		if err != nil {
			return err
		}
		for rows.Next() {
			if !set.has(rows.Int(0)) || len(x.Packets) >= maxRefs {
				continue
			}
			from := "client"
			switch {
			case own != nil && !own[rows.Int(9)]:
				from = "network"
			case (rows.Int(8)&0x100 != 0) != asked:
				from = "server"
			}
			x.Packets = append(x.Packets, PacketRef{PacketNo: rows.Int(0), File: names[rows.Int(1)], FileIndex: rows.Int(2), Frame: rows.Int(3),
				TsNs: rows.Int(4), Len: rows.Int(5), CapLen: rows.Int(6), Payload: rows.Int(7), From: from})
		}
		if err := rows.Err(); err != nil {
			rows.Close()
			return err
		}
		rows.Close()
	}
	x.MoreRefs -= int64(len(x.Packets))
	lists := [][]Citation{{{x.Bundle, x.Cites}}}
	for _, p := range x.Packets {
		lists = append(lists, []Citation{CitePacket(x.Bundle, p.PacketNo)})
	}
	texts, err := c.Cite(ctx, lists...)
	if err != nil {
		return err
	}
	x.Frames = texts[0]
	for i := range x.Packets {
		x.Packets[i].Cited = texts[i+1]
	}
	return nil
}

// ownFlows lists the flows of the call's connection, if the call also cites an ICMP error about it. Otherwise it returns
// nil, because nothing else must be distinguished.
func (c *Case) ownFlows(ctx context.Context, x *Exchange) (map[int64]bool, error) {
	if !x.Undelivered() {
		return nil, nil
	}
	rows, err := c.db.Query(ctx, "SELECT flow_id FROM flows_raw WHERE conn_id = ?"+c.ofBundle(x.Bundle), x.Call.Get("conn_id"))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	own := map[int64]bool{}
	for rows.Next() {
		own[rows.Int(0)] = true
	}
	return own, rows.Err()
}

// Undelivered reports whether an ICMP error says what became of the request. Column status_text has it in words.
func (x *Exchange) Undelivered() bool { return x.Call.Get("error") == table.Undelivered }

// AskedByServer reports whether the connection's server sent the request. The direction of packets
// is relative to their flow, which may show one of the two addresses translated.
func (x *Exchange) AskedByServer() bool {
	same := func(call, flow string) bool {
		return x.Call.Get(call+"_ip") == x.Flow.Get(flow+"_ip") && x.Call.Get(call+"_port") == x.Flow.Get(flow+"_port")
	}
	return (same("src", "dst") || same("dst", "src")) && !same("src", "src") && !same("dst", "dst")
}

// anomaliesOf lists the anomalies in the packets of a call.
func (c *Case) anomaliesOf(ctx context.Context, x *Exchange) error {
	flow, ok := x.Call.Get("flow_id").(int64)
	if c.views["anomalies"] == nil || !ok || len(x.Cites) == 0 {
		return nil
	}
	var err error
	x.Anomalies, err = c.structs(ctx, "SELECT * FROM anomalies_raw WHERE flow_id = ? AND packet_no BETWEEN ? AND ?"+c.ofBundle(x.Bundle)+" ORDER BY packet_no",
		maxAnomalies, flow, x.Cites[0].First, x.Cites[len(x.Cites)-1].Last)
	return err
}
