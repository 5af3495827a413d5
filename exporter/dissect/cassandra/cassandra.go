// Package cassandra reads the CQL binary protocol of Apache Cassandra, versions 3 to 5.
//
// A row is one request with its response, paired by stream. A prepared statement is remembered by its
// id, so its executions have its text. From version 5 on, messages travel in frames with checksums,
// which are checked. Passwords never leave the package.
package cassandra

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one message.
const (
	maxMessage  = 256 << 20 // bytes; the server's own limit
	maxRead     = 128 << 10 // bytes that are read; the rest is counted
	maxInflate  = 256 << 10 // bytes that are decompressed
	maxQuery    = 64 << 10  // bytes kept of a statement
	maxParams   = 100       // values shown
	maxText     = 256       // bytes shown of one
	maxParamAll = 4 << 10   // bytes of all of them
	maxColumns  = 4096      // columns of a result
	maxPreview  = 4 << 10   // bytes of rows shown
	maxError    = 1 << 10   // bytes shown of an error's text
	maxPrepared = 4096      // prepared statements remembered
	maxPrepAll  = 4 << 20   // bytes of all of them
	maxDepth    = 16        // nested types
	maxWarnings = 8
)

// Row is one request with its response.
type Row struct {
	table.Call
	Opcode      table.Opt[string] `col:"cassandra_opcode" enc:"dict" doc:"kind of the request, such as QUERY or EXECUTE; EVENT for a message that the server sent on its own; null if the request was not captured"`
	Version     int32             `col:"cassandra_version" doc:"version of the protocol: 3, 4 or 5; also a later one that a client offered: 6, or 65 and 66 of DataStax Enterprise"`
	Stream      int32             `col:"cassandra_stream" doc:"stream, which pairs request and response; -1 for events"`
	CQL         table.Opt[string] `col:"cassandra_query" doc:"the statement as sent, at most 64 KiB; of a batch its statements, separated by semicolons; null for a prepared one whose PREPARE was not captured on this connection"`
	Params      []string          `col:"cassandra_params" doc:"values as text, NULL for null; in hexadecimal digits if the type is unknown; at most 100 of 256 bytes"`
	Statements  table.Opt[int64]  `col:"cassandra_statements" doc:"statements of a batch"`
	Prepared    table.Opt[string] `col:"cassandra_prepared_id" doc:"id of the prepared statement, in hexadecimal digits"`
	Keyspace    table.Opt[string] `col:"cassandra_keyspace" enc:"dict" doc:"keyspace of the connection, if USE was captured, or of the request"`
	Consistency table.Opt[string] `col:"cassandra_consistency" enc:"dict" doc:"consistency level, such as LOCAL_QUORUM"`
	Result      table.Opt[string] `col:"cassandra_result" enc:"dict" doc:"kind of the result: void, rows, set_keyspace, prepared or schema_change"`
	Columns     []string          `col:"cassandra_columns" doc:"names of the result's columns"`
	Rows        table.Opt[int64]  `col:"cassandra_rows" doc:"number of rows returned; null if there was no result set"`
	Preview     table.Opt[string] `col:"cassandra_preview" doc:"first rows, with tabs between values and \\N for null, at most 4 KiB"`
	More        bool              `col:"cassandra_more_pages" doc:"the result has more pages"`
	Change      table.Opt[string] `col:"cassandra_change" doc:"change of the schema, of the topology or of a node's status: what and where"`
	Success     bool              `col:"cassandra_success" doc:"the server answered and reported no error"`
	ErrCode     table.Opt[int32]  `col:"cassandra_error_code" doc:"number of the error, such as 8192"`
	ErrName     table.Opt[string] `col:"cassandra_error_code_name" enc:"dict" doc:"name of the error, such as SYNTAX_ERROR"`
	ErrMessage  table.Opt[string] `col:"cassandra_error_message" doc:"the error's text, at most 1 KiB"`
	Warnings    []string          `col:"cassandra_warnings" doc:"warnings of the server, at most 8"`
	Tracing     table.Opt[string] `col:"cassandra_tracing_id" doc:"id of the trace that the server made"`
	User        table.Opt[string] `col:"cassandra_user" enc:"dict" doc:"user that authenticated on this connection"`
	Application table.Opt[string] `col:"cassandra_application" enc:"dict" doc:"name of the application, else name and version of the driver, from STARTUP"`
	Compression table.Opt[string] `col:"cassandra_compression" enc:"dict" doc:"compression of the connection: lz4 or snappy"`
	Ahead       int32             `col:"cassandra_ahead" doc:"number of earlier requests that were unanswered when this one was sent (multiplexing)"`
	Partial     bool              `col:"cassandra_partial" doc:"only the beginning of a long message was read, so lists and counts may be incomplete"`
}

// Protocol is CQL.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "cassandra",
		Doc:        "CQL binary protocol of Apache Cassandra, versions 3 to 5",
		Versions:   "native protocol 3, 4 and 5",
		Depth:      "statements with parameters, results with the first rows, errors, batches, events; lz4 and snappy",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{9042, 9142, 19042},
		Detect:     detect,
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits: table.Traits{Login: true, Before: "method IN ('OPTIONS', 'STARTUP', 'AUTH_RESPONSE')", TooMany: "cassandra_error_code = 4097", Data: "cassandra_opcode IN ('QUERY', 'EXECUTE', 'BATCH')", Statements: &table.Statements{
			Kind:  "cassandra_opcode",
			Error: "cassandra_error_code_name || ': ' || cassandra_error_message", Errors: []string{"cassandra_error_message"}}},
	}
}

// call is a request that waits for its response, or a response without a request.
type call struct {
	x       dissect.Exchange
	row     *Row
	opcode  byte
	stmt    *statement
	prepare string // the statement to remember
	texts   int    // bytes of text in row
	asked   bool   // the request was captured completely
	event   bool
	bad     bool
	gap     bool // STARTUP, which says how a body is compressed, was not captured
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil {
		c.x.Add(in, from, to)
	}
}

// callCost is the memory of a pending call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

type conn struct {
	byid.Table[int16, *call]
	framed      framed.Reader[*call]
	sides       [2]side // of frames, version 5
	modern      bool    // messages travel in frames
	unsure      bool    // the position of responses is a guess since a loss
	compression string
	user, application,
	keyspace string
	statements map[string]*statement
	stmtBytes  int
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Conn, k.Emit = c, k.emit
	k.framed = framed.Reader[*call]{Conn: c, Handler: k, Most: maxRead, Least: headSize}
	return k
}

// Read implements dissect.Dissector. The first message after the answer to STARTUP may be in a frame.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if !k.modern && !plausible(in.Dir, in.Data) && (isFrame(in.Data, plainHead) || isFrame(in.Data, packedHead)) {
		k.modern = true
		if !isFrame(in.Data, plainHead) {
			k.compression = "lz4"
		}
	}
	if k.modern {
		return k.readFrames(in)
	}
	n, err := k.framed.Read(in)
	return n, err
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	return !k.modern && k.framed.Gap(in, missing)
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user) + len(k.application) + len(k.keyspace) + k.stmtBytes
	if c := k.framed.Reading(dissect.ToClient); c != nil {
		n += callCost + c.texts
	}
	for i := range k.sides {
		n += cap(k.sides[i].body)
		if k.sides[i].call != nil {
			n += callCost
		}
	}
	return n
}

// Ended implements framed.Handler.
func (k *conn) Ended(dir dissect.Dir, c *call, why string) {
	switch {
	case dir == dissect.ToClient:
		k.emit(c, why)
	case why == "" || why == string(dissect.LossGap):
		c.asked = why == ""
	case why == string(dissect.LossMalformed):
		c.bad = true
	}
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	if dir == dissect.ToClient {
		k.keyspace = "" // a lost response may have changed it
	}
	k.unsure = k.unsure || dir == dissect.ToClient && !k.Conn.Starting()
	k.framed.Resync(dir, why)
	k.dropFrame(dir, string(why))
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.framed.Close(why)
	word := why.CallError()
	if why == dissect.EndFin {
		word = "cut"
	}
	k.dropFrame(dissect.ToClient, word)
	k.dropFrame(dissect.ToServer, word)
	k.Table.Close(why)
}
