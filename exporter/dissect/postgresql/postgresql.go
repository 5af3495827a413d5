// Package postgresql reads PostgreSQL's frontend/backend protocol, version 3.
//
// A row is one executed statement: a statement of a simple query, or an Execute with the Parse,
// Bind and Describe that prepared it. Start-up, encryption requests, cancel requests, function
// calls, statements that were only prepared, and unsolicited messages of the server are rows
// too. Result rows are counted and skipped; the first few are kept as text. Passwords and SCRAM
// messages never leave the package.
//
// Messages are read without pgproto3, which decodes each whole message into a new value: most
// bytes here are result rows that only need their length.
package postgresql

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxMessage    = 1 << 30  // bytes of one message, the server's own limit
	maxStartup    = 10000    // bytes of a start-up packet, the server's own limit
	maxWhole      = 64 << 10 // bytes of a message that are read; of a longer one, its beginning
	maxQuery      = 64 << 10 // bytes kept of a query
	maxStatements = 256      // statements of one simple query that are separated
	maxPrepared   = 4096     // prepared statements, and portals, remembered by name
	maxPrepBytes  = 8 << 20  // bytes of their queries
	maxParams     = 100      // parameters shown
	maxParam      = 256      // bytes shown of one
	maxParamBytes = 4 << 10  // bytes kept of all
	maxColumns    = 1664     // columns of a result, the server's own limit
	maxPreview    = 4 << 10  // bytes of result rows shown
	maxNotices    = 8        // notices shown of one call
	maxMessageLen = 1 << 10  // bytes shown of an error's or notice's text
	maxWait       = 64 << 10 // bytes of a reply that may come before its request was captured
)

// Row is one executed statement, or one message as postgresql_kind says.
type Row struct {
	table.Call
	Kind         string                  `col:"postgresql_kind" enc:"dict" doc:"what the row is: query (simple), execute (extended), prepare (parsed or described without being executed), close, function_call, startup, ssl_request, gssenc_request, cancel_request, notification, notice, parameter_status, replication (a transaction that the server streams), reply (its request was not captured)"`
	Command      table.Opt[string]       `col:"postgresql_command" enc:"dict" doc:"command tag without its counts, such as SELECT or CREATE TABLE; without a tag, the first word of the statement"`
	SQL          table.Opt[string]       `col:"postgresql_query" doc:"the statement as sent, at most 64 KiB; null if its Parse was not captured"`
	Index        table.Opt[int32]        `col:"postgresql_query_part" doc:"number of the statement in a simple query with several, from 0"`
	Database     table.Opt[string]       `col:"postgresql_database" enc:"dict" doc:"database of the connection, if its startup was captured"`
	User         table.Opt[string]       `col:"postgresql_user" enc:"dict" doc:"user of the connection, if its startup was captured"`
	Application  table.Opt[string]       `col:"postgresql_application" enc:"dict" doc:"application_name of the connection"`
	Statement    table.Opt[string]       `col:"postgresql_statement" enc:"dict" doc:"name of the prepared statement; null for the unnamed one"`
	Portal       table.Opt[string]       `col:"postgresql_portal" enc:"dict" doc:"name of the portal; null for the unnamed one"`
	Params       []string                `col:"postgresql_params" doc:"parameters as text, NULL for null; binary ones by type, or in hex if the type is unknown; at most 100 of 256 bytes"`
	Columns      []string                `col:"postgresql_columns" doc:"names of the result's columns"`
	Rows         table.Opt[int64]        `col:"postgresql_rows" doc:"number of rows in the command tag, else number of rows returned"`
	Preview      table.Opt[string]       `col:"postgresql_preview" doc:"first result rows in the text format of COPY, at most 4 KiB"`
	CopyBytes    table.Opt[int64]        `col:"postgresql_copy_bytes" unit:"bytes" doc:"data of COPY or of replication, both directions"`
	Success      bool                    `col:"postgresql_success" doc:"the server answered and reported no error"`
	Severity     table.Opt[string]       `col:"postgresql_error_severity" enc:"dict" doc:"ERROR, FATAL or PANIC"`
	ErrCode      table.Opt[string]       `col:"postgresql_error_code" enc:"dict" doc:"SQLSTATE of the error"`
	ErrMessage   table.Opt[string]       `col:"postgresql_error_message" doc:"the error's text, at most 1 KiB"`
	ErrDetail    table.Opt[string]       `col:"postgresql_error_detail" doc:"the error's detail, at most 1 KiB"`
	Notices      []string                `col:"postgresql_notices" doc:"notices during the call: SQLSTATE, severity and text; at most 8"`
	Suspended    bool                    `col:"postgresql_suspended" doc:"the portal has more rows: Execute ended at its row limit"`
	Transaction  table.Opt[string]       `col:"postgresql_transaction" enc:"dict" doc:"state after the call: idle, transaction or failed; null if no ReadyForQuery followed"`
	PID          table.Opt[int64]        `col:"postgresql_pid" doc:"process of the server: of the session, the one to cancel, or the one that notified"`
	Version      table.Opt[string]       `col:"postgresql_server_version" enc:"dict" doc:"server_version, at start-up"`
	Channel      table.Opt[string]       `col:"postgresql_channel" enc:"dict" doc:"channel of a notification"`
	Slot         table.Opt[string]       `col:"postgresql_slot" enc:"dict" doc:"replication slot, of START_REPLICATION and of its transactions"`
	Publications []string                `col:"postgresql_publications" doc:"publications that the client asked for; at most 64"`
	From         table.Opt[string]       `col:"postgresql_lsn_from" doc:"position in the log: of a transaction's first change; where START_REPLICATION asked to begin, null for 0/0"`
	To           table.Opt[string]       `col:"postgresql_lsn_to" doc:"position in the log: after a transaction's commit; of START_REPLICATION, the last that the server named"`
	Flushed      table.Opt[string]       `col:"postgresql_lsn_flushed" doc:"of START_REPLICATION: the last position that the client confirmed as durable"`
	XID          table.Opt[int64]        `col:"postgresql_xid" doc:"number of the replicated transaction"`
	GID          table.Opt[string]       `col:"postgresql_gid" doc:"name of the prepared transaction (two-phase commit)"`
	Committed    table.Opt[table.Micros] `col:"postgresql_commit_time" unit:"us" doc:"when the transaction was committed, prepared or rolled back, by the clock of the server"`
	Inserts      table.Opt[int64]        `col:"postgresql_inserts" doc:"rows that the replicated transaction inserts"`
	Updates      table.Opt[int64]        `col:"postgresql_updates" doc:"rows that the replicated transaction updates"`
	Deletes      table.Opt[int64]        `col:"postgresql_deletes" doc:"rows that the replicated transaction deletes"`
	Truncates    table.Opt[int64]        `col:"postgresql_truncates" doc:"TRUNCATE commands of the replicated transaction"`
	Tables       []string                `col:"postgresql_tables" doc:"tables that the transaction changes, in order of their first change, at most 64; the number of a table whose description was not captured"`
	Ahead        int32                   `col:"postgresql_ahead" doc:"number of earlier calls that were unanswered when this one was sent (pipelining)"`
}

// Protocol is PostgreSQL.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "postgresql",
		Doc:        "PostgreSQL frontend/backend protocol, version 3",
		Versions:   "3.0 and 3.2",
		Depth:      "statements with parameters, the shape and first rows of results, errors, COPY, transactions of logical replication (pgoutput, test_decoding)",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{5432, 5433, 6432},
		Detect:     detect,
		New:        func(c *dissect.Conn) dissect.Dissector { return &conn{c: c} },
		Row:        &Row{},
		Traits: table.Traits{Pooled: true, Login: true, Before: "postgresql_kind IN ('ssl_request', 'gssenc_request', 'cancel_request')", Wireshark: "pgsql", TooMany: "postgresql_error_code = '53300'", Data: "postgresql_kind IN ('query', 'execute', 'function_call') AND coalesce(method, '') NOT IN ('PREPARE', 'DEALLOCATE')", Statements: &table.Statements{
			Kind:  "postgresql_kind",
			Error: "postgresql_error_severity || ': ' || postgresql_error_message", Errors: []string{"postgresql_error_message", "postgresql_error_detail"}}},
	}
}

// Kinds of rows.
const (
	kindQuery       = "query"
	kindExecute     = "execute"
	kindPrepare     = "prepare"
	kindClose       = "close"
	kindFunction    = "function_call"
	kindStartup     = "startup"
	kindSSL         = "ssl_request"
	kindGSS         = "gssenc_request"
	kindCancel      = "cancel_request"
	kindNotify      = "notification"
	kindNotice      = "notice"
	kindStatus      = "parameter_status"
	kindReplication = "replication"
	kindReply       = "reply"
)

// columns describe a result.
type columns struct {
	names []string
	oids  []uint32
	codes []int16
	raw   []byte     // the message, to recognize it when it is repeated
	first *statement // the statement that they describe
}

func (d *columns) cost() int {
	return int(unsafe.Sizeof(columns{})) + 2*cap(d.raw) + 16*cap(d.names) + 4*cap(d.oids) + 2*cap(d.codes)
}

// call is a pending request, or a reply without a request.
type call struct {
	x      dissect.Exchange
	kind   string
	query  string
	known  bool // query was captured
	part   int32
	parts  int32
	stmt   *statement
	portal *portal
	params params
	result []int16
	left   int  // replies still to come
	closed bool // no more messages of the request follow
	ahead  int32

	cols      *columns
	rows      int64
	preview   []byte
	full      bool
	tag       string
	tagRows   table.Opt[int64]
	copyBytes int64
	copied    bool
	gaveUp    bool // the client ended COPY with CopyFail
	copyIn    bool
	dataSent  bool // the client ended its data
	err       *serverError
	notices   []string
	suspended bool
	empty     bool     // the server said that the statement is empty
	stream    *stream  // of START_REPLICATION and its transactions
	changes   *changes // of a transaction
	tx        byte
	pid       table.Opt[int64]
	text      string // of a notification, or the answer to a request for encryption
	channel   string
	auth      string // what the server asks for
	proved    bool   // the client sent it
	version   string
	answered  bool
	skipped   bool // the server skipped it after an error
	size      int  // bytes of the budget that it uses
	gap       bool
	bad       bool
}

// op is a message without its reply yet.
type op struct {
	kind  byte
	call  *call
	sent  inorder.Request // of the first message
	first bool            // first after a Sync, or a simple query
	last  bool            // of a simple query: its last statement
}

// side is the reading position in a long message of one direction.
type side struct {
	kind byte
	left int64 // bytes of it still to come
	size int64
	keep []byte // its beginning
	call *call
	gap  bool
}

type conn struct {
	c        *dissect.Conn
	req, rep side

	ops      []op // from head on
	head     int
	open     *call // extended query without its Execute yet
	last     *call // the newest call, until it is emitted
	orphan   *call // a reply without a request
	aborted  bool  // after an error: the server skips everything until Sync
	unsynced bool  // messages were lost since the last Sync, maybe another one
	group    bool  // messages since the last Sync were read
	line     dissect.Line
	lost     bool       // replies may be missing: pairing by order alone is not safe
	passing  int        // ReadyForQuery that still come for messages that were given up for memory
	kinds    [128]int32 // number of ops by kind
	live     int32      // calls not emitted yet
	held     int        // bytes of the budget, for messages without a call

	user, database, application string
	prepared
	cols   *columns // the latest columns, to recognize them when they are repeated
	stream *stream  // replication, from CopyBothResponse on

	switched bool // another protocol follows

	acc struct { // bytes read but not yet added to their call
		call     *call
		from, to int
	}
	scratch    []byte
	spare      []*call
	spareBytes int
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	at := 0
	var err error
	for at < len(in.Data) {
		var n int
		if in.Dir == dissect.ToServer {
			n, err = k.readRequest(in, at)
		} else {
			n, err = k.readReply(in, at)
		}
		at += n
		if err != nil || n <= 0 {
			break
		}
		if k.switched {
			break
		}
	}
	k.flush(in)
	return at, err
}
