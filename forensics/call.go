package forensics

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of one exchange.
const (
	DefaultBody  = 1 << 20 // bytes of each body
	maxRefs      = 10_000  // packets listed
	maxAnomalies = 1000
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
	MaxBody int  // bytes of each body; 0 means DefaultBody
	Bodies  bool // read the call's row and bodies only
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
	Anomalies  []Struct // anomalies in the packets of the call
	Copies     int      // number of rows in other bundles that are the same call
}

// PacketRef locates a packet.
type PacketRef struct {
	PacketNo  int64
	File      string // path in the bundle
	FileIndex int64  // number in the file, from 0
	Frame     int64  // Wireshark's frame number
	TsNs      int64
	Len       int64
	CapLen    int64
	Payload   int64
	FromDst   bool // sent by the server
}

// Body is a message body after transfer and content decoding.
type Body struct {
	SHA256      string
	Size        int64 // decoded size
	WireSize    int64
	ContentType string
	Encoding    string // content encoding that was decoded
	Complete    bool   // no byte is missing
	IsText      bool
	Data        []byte // up to the limit
	Truncated   bool   // Data is incomplete
	Object      bool   // too large for table bodies: only its packets are known
}

// Call finds one call: by # and its number (bundle#number in a case of several bundles), by
// call_id, or by a unique prefix of a call_id with at least 8 digits. It returns ErrNotFound,
// *AmbiguousError or ErrUsage.
func (c *Case) Call(ctx context.Context, id string, o CallOptions) (*Exchange, error) {
	x, err := c.findCall(ctx, id)
	if err != nil {
		return nil, err
	}
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultBody
	}
	if x.Request, err = c.body(ctx, x, "request", o.MaxBody); err != nil {
		return nil, err
	}
	if x.Response, err = c.body(ctx, x, "response", o.MaxBody); err != nil || o.Bodies {
		return x, err
	}
	for _, part := range []struct {
		to                *Struct
		table, key, value string
	}{
		{&x.Client, "endpoints", "endpoint_id", "src_id"}, {&x.Server, "endpoints", "endpoint_id", "dst_id"},
		{&x.Flow, "flows", "flow_id", "flow_id"}, {&x.Connection, "connections", "conn_id", "conn_id"}, {&x.TLS, "tls", "call_no", "call_no"},
	} {
		if v, ok := x.Call.Get(part.value).(int64); ok {
			if *part.to, err = c.one(ctx, part.table, part.key, v, x.Bundle); err != nil {
				return nil, err
			}
		}
	}
	x.Cites = readRanges(x.Call.Get("cites"))
	if err := c.refs(ctx, x); err != nil {
		return nil, err
	}
	return x, c.anomaliesOf(ctx, x)
}

// findCall finds the row in table calls.
func (c *Case) findCall(ctx context.Context, id string) (*Exchange, error) {
	if c.views["calls"] == nil {
		return nil, fmt.Errorf("call %s: %w", id, ErrNotFound)
	}
	cond, args, err := c.callCondition(id)
	if err != nil {
		return nil, err
	}
	found, err := c.rowsOfCall(ctx, true, cond, args)
	if err == nil && len(found) == 0 && c.copies != nil {
		found, err = c.rowsOfCall(ctx, false, cond, args)
	}
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("call %s: %w", id, ErrNotFound)
	case 1:
		x := &Exchange{Call: found[0], Bundle: bundleOf(found[0])}
		x.Copies, err = c.copiesOf(ctx, x)
		return x, err
	}
	return nil, &AmbiguousError{ID: id, Some: c.namesOf(found)}
}

// rowsOfCall returns rows of calls, each call once or with its copies. They are masked if the case
// is.
func (c *Case) rowsOfCall(ctx context.Context, once bool, cond string, args []any) ([]Struct, error) {
	files := &fileList{bound: true}
	source := c.masked(c.reads("calls", once, nil, files.parquet), c.views["calls"].raw, every)
	order := "call_no"
	if c.several() {
		order = "bundle, call_no"
	}
	return c.structs(ctx, "SELECT * FROM ("+source+") WHERE "+cond+" ORDER BY "+order, 11, append(files.args, args...)...)
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

// body joins the overlapping parts of a body. It reads unmasked parts, because masking would change
// their lengths and break the offsets.
func (c *Case) body(ctx context.Context, x *Exchange, side string, most int) (*Body, error) {
	hash, _ := x.Call.Get(side + "_body_sha256").([]byte)
	size, there := x.Call.Get(side + "_body_size").(int64)
	if hash == nil && !there {
		return nil, nil
	}
	b := &Body{SHA256: hex.EncodeToString(hash), Size: size}
	b.WireSize, _ = x.Call.Get(side + "_body_wire_size").(int64)
	b.ContentType, _ = x.Call.Get(side + "_content_type").(string)
	if hash == nil || c.views["bodies"] == nil {
		return b, nil
	}
	rows, err := c.Unmasked().db.Query(ctx, `SELECT part, "offset", size, complete, encoding, text, bytes FROM bodies_raw WHERE sha256 = ?`+c.ofBundle(x.Bundle)+" ORDER BY part", hash)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	b.IsText = true
	found := false
	for part := int64(0); rows.Next(); {
		if rows.Int(0) != part { // the same body, stored again for a later window
			continue
		}
		part++
		found = true
		b.Size, b.Encoding = rows.Int(2), rows.Text(4)
		complete, err := rows.Value(3)
		if err != nil {
			return nil, err
		}
		b.Complete, _ = complete.(bool)
		data, err := rows.Value(6)
		if err != nil {
			return nil, err
		}
		piece, binary := data.([]byte)
		if !binary {
			piece = []byte(rows.Text(5))
		}
		b.IsText = b.IsText && !binary
		if !b.join(piece, rows.Int(1), most) {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	b.Truncated = int64(len(b.Data)) < b.Size
	b.IsText = b.IsText && found
	b.Object = !found && b.Size > 0
	return b, c.maskBody(ctx, b)
}

// maskBody masks a body if the case masks.
func (c *Case) maskBody(ctx context.Context, b *Body) error {
	if !c.mask {
		return nil
	}
	m, err := c.Masker(ctx)
	if err != nil {
		return err
	}
	if b.IsText {
		b.Data = []byte(m.Text(redact.AsContent, b.ContentType, string(b.Data)))
	} else {
		b.Data = []byte(m.Bytes("bytes", string(b.Data)))
	}
	return nil
}

// join appends a part that begins at off. It returns false when the limit is reached.
func (b *Body) join(piece []byte, off int64, most int) bool {
	have := int64(len(b.Data))
	if off > have || off < 0 {
		return false
	}
	if skip := have - off; skip < int64(len(piece)) {
		b.Data = append(b.Data, piece[skip:]...)
	}
	if len(b.Data) > most {
		b.Data = b.Data[:most]
	}
	return len(b.Data) < most
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
	asked := x.askedByServer()
	names := map[int64]string{}
	for _, in := range c.bundles[x.Bundle].Manifest.Inputs {
		names[int64(in.FileID)] = in.Path
	}
	for _, s := range set.spans(maxSpans) {
		rows, err := c.db.Query(ctx, "SELECT packet_no, file_id, file_index, frame, ts_ns, len, caplen, payload, flags FROM packets_raw WHERE packet_no BETWEEN ? AND ?"+
			c.ofBundle(x.Bundle)+" ORDER BY packet_no", s.first, s.last)
		if err != nil {
			return err
		}
		for rows.Next() {
			if !set.has(rows.Int(0)) || len(x.Packets) >= maxRefs {
				continue
			}
			x.Packets = append(x.Packets, PacketRef{PacketNo: rows.Int(0), File: names[rows.Int(1)], FileIndex: rows.Int(2), Frame: rows.Int(3),
				TsNs: rows.Int(4), Len: rows.Int(5), CapLen: rows.Int(6), Payload: rows.Int(7), FromDst: (rows.Int(8)&0x100 != 0) != asked})
		}
		if err := rows.Err(); err != nil {
			rows.Close()
			return err
		}
		rows.Close()
	}
	x.MoreRefs -= int64(len(x.Packets))
	return nil
}

// askedByServer reports whether the connection's server sent the request. The direction of packets
// is relative to their flow.
func (x *Exchange) askedByServer() bool {
	same := func(end string) bool {
		return x.Call.Get("src_ip") == x.Flow.Get(end+"_ip") && x.Call.Get("src_port") == x.Flow.Get(end+"_port")
	}
	return same("dst") && !same("src")
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
