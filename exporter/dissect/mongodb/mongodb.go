// Package mongodb reads the wire protocol of MongoDB.
//
// A row is one command with its reply, paired by request id, in OP_MSG or in the operations that
// servers before version 6 accepted, compressed or not. A statement is shown as its shape: command,
// collection and the names of fields, without values; the values are parameters. Passwords and
// the payloads of SASL never leave the package.
package mongodb

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one message.
const (
	maxMessage  = 48_000_000 + 16<<10 // bytes; the server's own limit, and some
	maxRead     = 128 << 10           // bytes that are read; the rest is counted
	maxInflate  = 256 << 10           // bytes that are decompressed
	maxText     = 256                 // bytes shown of a value or a name
	maxShape    = 2 << 10             // bytes of a statement's shape
	maxParams   = 100                 // values shown of a statement
	maxParamAll = 4 << 10             // bytes of all of them
	maxPreview  = 4 << 10             // bytes shown of the documents of a reply
	maxColumns  = 64                  // fields shown of them
	maxFirst    = 16                  // documents whose fields are columns
	maxError    = 1 << 10             // bytes shown of an error's text
)

// Row is one command with its reply.
type Row struct {
	table.Call
	Opcode      table.Opt[string] `col:"mongodb_opcode" enc:"dict" doc:"operation of the request, such as OP_MSG or OP_QUERY; of the reply if the request was not captured"`
	Request     table.Opt[int64]  `col:"mongodb_request_id" doc:"id of the request, which the reply repeats"`
	Command     table.Opt[string] `col:"mongodb_command" enc:"dict" doc:"the command, such as find or insert; of operations before OP_MSG the command that replaced them; null if the request was not captured"`
	Database    table.Opt[string] `col:"mongodb_database" enc:"dict" doc:"database"`
	Collection  table.Opt[string] `col:"mongodb_collection" enc:"dict" doc:"collection; null if the command is not about one"`
	Query       table.Opt[string] `col:"mongodb_query" doc:"the statement's shape: command, namespace, and filter, pipeline or changes with ? for values, at most 2 KiB"`
	Params      []string          `col:"mongodb_params" doc:"values of the statement as path=value, at most 100 of 256 bytes"`
	Documents   table.Opt[int64]  `col:"mongodb_documents" doc:"documents, updates or deletes that the request has"`
	Columns     []string          `col:"mongodb_columns" doc:"fields of the first documents of the reply, at most 64"`
	Rows        table.Opt[int64]  `col:"mongodb_rows" doc:"number of documents in the reply; null if it has no list of documents"`
	Preview     table.Opt[string] `col:"mongodb_preview" doc:"first documents of the reply, with tabs between the values of mongodb_columns and \\N for those that are absent, at most 4 KiB"`
	Affected    table.Opt[int64]  `col:"mongodb_affected" doc:"n of the reply: documents inserted, matched, deleted or counted"`
	Modified    table.Opt[int64]  `col:"mongodb_modified" doc:"nModified of the reply: documents that an update changed"`
	Cursor      table.Opt[int64]  `col:"mongodb_cursor_id" doc:"cursor of the reply, else of the request; 0 after the last batch"`
	Session     table.Opt[string] `col:"mongodb_session_id" enc:"bloom" doc:"logical session (lsid)"`
	Transaction table.Opt[int64]  `col:"mongodb_txn_number" doc:"number of the transaction or of the retryable write in its session"`
	Success     bool              `col:"mongodb_success" doc:"the server answered and reported no error"`
	ErrCode     table.Opt[int32]  `col:"mongodb_error_code" doc:"number of the first error: of the command, of one of its writes, or of the write concern"`
	ErrName     table.Opt[string] `col:"mongodb_error_code_name" enc:"dict" doc:"name of the error, such as DuplicateKey"`
	ErrMessage  table.Opt[string] `col:"mongodb_error_message" doc:"the error's text, at most 1 KiB"`
	Errors      int32             `col:"mongodb_errors" doc:"number of errors in the reply"`
	User        table.Opt[string] `col:"mongodb_user" enc:"dict" doc:"user that authenticated on this connection"`
	Mechanism   table.Opt[string] `col:"mongodb_mechanism" enc:"dict" doc:"mechanism of the authentication, such as SCRAM-SHA-256"`
	Application table.Opt[string] `col:"mongodb_application" enc:"dict" doc:"name of the application, from hello"`
	Driver      table.Opt[string] `col:"mongodb_driver" enc:"dict" doc:"name and version of the driver, from hello"`
	Compression table.Opt[string] `col:"mongodb_compression" enc:"dict" doc:"compression of the request, else of the reply: snappy, zlib or zstd"`
	Exhaust     bool              `col:"mongodb_exhaust" doc:"the server sends replies without being asked again: this row is such a reply, or the request that allowed it"`
	Ahead       int32             `col:"mongodb_ahead" doc:"number of earlier requests that were unanswered when this one was sent (pipelining)"`
	Partial     bool              `col:"mongodb_partial" doc:"only the beginning of a long message was read, so lists and counts may be incomplete"`
}

// before are the commands that need no login.
const before = "('hello', 'ismaster', 'ping', 'buildinfo', 'saslstart', 'saslcontinue', 'authenticate', 'getnonce', 'endsessions', 'logout')"

// Protocol is MongoDB.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "mongodb",
		Doc:        "wire protocol of MongoDB: OP_MSG, OP_COMPRESSED and the operations before them",
		Versions:   "OP_MSG, OP_COMPRESSED, and the operations before version 6",
		Depth:      "commands with replies, the shape of a query, errors, the first documents; snappy, zlib and zstd",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{27017, 27018, 27019},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits: table.Traits{Pooled: true, Login: true, Before: "lower(mongodb_command) IN " + before, Data: "lower(mongodb_command) NOT IN " + before, Statements: &table.Statements{
			Kind:  "mongodb_command",
			Error: "coalesce(mongodb_error_code_name || ': ', '') || mongodb_error_message", Errors: []string{"mongodb_error_message"}}},
	}
}

// call is a request that waits for its reply, or a reply without a request.
type call struct {
	x      dissect.Exchange
	row    *Row
	id     int32
	silent bool // no reply will come
	pushed bool // a reply that the server sent without being asked again
	asked  bool // the request was captured completely
	bad    bool
	more   bool // another reply follows, which repeats this one's id
	texts  int  // bytes of text in row
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
	byid.Table[int32, *call]
	framed  framed.Reader[*call]
	unsure  bool // the position of replies is a guess since a loss
	exhaust exhausting
	user, mechanism, application,
	driver string
}

// exhausting is a request that gets further replies.
type exhausting struct {
	id   int32 // of the latest reply
	on   bool
	call *call // has the command of the request
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Conn, k.Emit = c, k.emit
	k.framed = framed.Reader[*call]{Conn: c, Handler: k, Most: maxRead, Least: headSize + minDocument}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) { return k.framed.Read(in) }

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool { return k.framed.Gap(in, missing) }

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user) + len(k.mechanism) + len(k.application) + len(k.driver)
	if c := k.framed.Reading(dissect.ToClient); c != nil {
		n += callCost + c.texts
	}
	if c := k.framed.Reading(dissect.ToServer); c != nil && c.silent {
		n += callCost + c.texts
	}
	if k.exhaust.call != nil {
		n += callCost
	}
	return n
}

// Ended implements framed.Handler.
func (k *conn) Ended(dir dissect.Dir, c *call, why string) {
	switch {
	case dir == dissect.ToClient:
		k.emit(c, why)
	case why == "" || why == string(dissect.LossGap):
		if c.asked = why == ""; c.silent {
			k.emit(c, why)
		}
	case c.silent:
		k.emit(c, why)
	case why == string(dissect.LossMalformed):
		c.bad = true
	}
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.unsure = k.unsure || dir == dissect.ToClient && !k.Conn.Starting()
	k.framed.Resync(dir, why)
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.framed.Close(why)
	k.Table.Close(why)
}
