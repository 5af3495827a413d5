// Package tds reads the Tabular Data Stream of Microsoft SQL Server ([MS-TDS]), versions 7.0 to
// 8.0, its sessions (MARS, [MC-SMP]), and the TLS inside its packets.
//
// A row is one request with its response, paired by order within a session. Result rows are counted
// while they pass, so a result of any size uses no memory. After a TLS handshake inside TDS, the
// connection is read as TLS and, with keys, again as TDS. LOGIN7 only scrambles the password; it
// never leaves the package.
package tds

import (
	_ "embed" // for names.txt
	"maps"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxPacket   = 32767     // bytes of a packet, [MS-TDS] section 2.2.3.1.3
	maxRead     = 128 << 10 // bytes of a request that are read; the rest is counted
	maxToken    = 1 << 20   // bytes of a token other than a row
	maxQuery    = 64 << 10  // bytes kept of a statement
	maxParams   = 100       // parameters shown
	maxText     = 256       // bytes shown of a value or a name
	maxParamAll = 4 << 10   // bytes of all parameters
	maxColumns  = 4096      // columns of a result; the server's own limit of a wide table is 30000
	maxNames    = 1024      // columns whose names a row lists
	maxPreview  = 4 << 10   // bytes of result rows shown
	maxMessage  = 1 << 10   // bytes shown of an error's text
	maxList     = 16        // messages and changes of a row
	maxPrepared = 4096      // prepared statements remembered
	maxPrepAll  = 4 << 20   // bytes of all of them
	maxSessions = 256       // sessions of MARS at the same time
)

// Row is one request with its response.
type Row struct {
	table.Call
	Type        table.Opt[string] `col:"tds_type" enc:"dict" doc:"kind of the request: PRELOGIN, LOGIN7, SSPI, FEDAUTH, SQL_BATCH, RPC, BULK_LOAD, TRANSACTION or ATTENTION; null if the request was not captured"`
	Version     table.Opt[string] `col:"tds_version" enc:"dict" doc:"version of TDS, such as 7.4: of the request for a login, else the one that the server chose"`
	SQL         table.Opt[string] `col:"tds_query" doc:"the statement as sent, at most 64 KiB; EXEC and the name for a call of a procedure; null for a prepared one whose preparation was not captured on this connection"`
	Procedure   table.Opt[string] `col:"tds_procedure" enc:"dict" doc:"procedure that an RPC calls, such as sp_executesql"`
	Requests    table.Opt[int64]  `col:"tds_requests" doc:"number of calls of procedures in one RPC; the columns have the first"`
	Params      []string          `col:"tds_params" doc:"values of the parameters as text, NULL for null, name=value for named ones; without those that hold the statement; at most 100 of 256 bytes"`
	Handle      table.Opt[int64]  `col:"tds_handle" doc:"handle of the prepared statement"`
	Transaction table.Opt[string] `col:"tds_transaction" enc:"dict" doc:"request to the transaction manager: begin, commit, rollback, save, promote, propagate or get_address"`
	Columns     []string          `col:"tds_columns" doc:"names of the columns of the first result"`
	Rows        table.Opt[int64]  `col:"tds_rows" doc:"number of rows returned, in all results; null if there was no result set"`
	Results     int32             `col:"tds_results" doc:"number of result sets"`
	Preview     table.Opt[string] `col:"tds_preview" doc:"first result rows, with tabs between values and \\N for null, at most 4 KiB"`
	Affected    table.Opt[int64]  `col:"tds_affected_rows" doc:"number of rows that statements other than SELECT report"`
	Done        int32             `col:"tds_done" doc:"number of completed statements that the response reports"`
	Return      table.Opt[int64]  `col:"tds_return_status" doc:"value that the procedure returned"`
	Outputs     []string          `col:"tds_outputs" doc:"output parameters as name=value"`
	Success     bool              `col:"tds_success" doc:"the server answered and reported no error"`
	ErrNumber   table.Opt[int64]  `col:"tds_error_code" doc:"number of the first error, such as 208"`
	State       table.Opt[int32]  `col:"tds_error_state" doc:"state of the first error"`
	Class       table.Opt[int32]  `col:"tds_error_class" doc:"class (severity) of the first error: 11 to 16 blame the request, from 17 on the server"`
	Message     table.Opt[string] `col:"tds_error_message" doc:"text of the first error, at most 1 KiB"`
	ErrProc     table.Opt[string] `col:"tds_error_procedure" enc:"dict" doc:"procedure in which the first error occurred"`
	Line        table.Opt[int64]  `col:"tds_error_line" doc:"line of the batch or procedure"`
	Errors      int32             `col:"tds_errors" doc:"number of errors"`
	Messages    []string          `col:"tds_messages" doc:"messages that are not errors, at most 16"`
	Changes     []string          `col:"tds_changes" doc:"changes of the session as name=value, such as database=shop; at most 16"`
	User        table.Opt[string] `col:"tds_user" enc:"dict" doc:"user of the connection, if its login was captured and readable"`
	Application table.Opt[string] `col:"tds_application" enc:"dict" doc:"application that the login names"`
	Client      table.Opt[string] `col:"tds_client_host" enc:"dict" doc:"client's host name as the login states it"`
	Driver      table.Opt[string] `col:"tds_driver" enc:"dict" doc:"client's library as the login states it"`
	Server      table.Opt[string] `col:"tds_server_name" enc:"dict" doc:"server that the login asks for"`
	Product     table.Opt[string] `col:"tds_server_version" enc:"dict" doc:"program and version of the server, in PRELOGIN and in the response to the login"`
	Database    table.Opt[string] `col:"tds_database" enc:"dict" doc:"database of the session when the request was sent"`
	Encryption  table.Opt[string] `col:"tds_encryption" enc:"dict" doc:"encryption that both sides offer before the login: client and server, each off, on, not_supported or required"`
	Session     table.Opt[int32]  `col:"tds_session" doc:"session of MARS; null without MARS"`
	Process     table.Opt[int32]  `col:"tds_spid" doc:"number of the server's process, as packets of the response state it"`
	Cancelled   bool              `col:"tds_cancelled" doc:"the client asked to cancel the request, and the server confirmed it"`
	Bulk        table.Opt[int64]  `col:"tds_bulk_rows" doc:"number of rows that the client sent in a bulk load"`
	Requested   int32             `col:"tds_request_packets" doc:"number of TDS packets of the request"`
	Responded   int32             `col:"tds_response_packets" doc:"number of TDS packets of the response"`
	Partial     bool              `col:"tds_partial" doc:"a part could not be read, so lists and counts may be incomplete"`
}

// Protocol is TDS.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "tds",
		Doc:        "Tabular Data Stream of Microsoft SQL Server",
		Versions:   "7.0 to 7.4, 8.0",
		Depth:      "statements and procedures with parameters, the shape and first rows of results, errors, sessions of MARS, TLS inside",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{1433},
		Detect:     detect,
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits: table.Traits{Pooled: true, Login: true, Before: "method = 'PRELOGIN'", Wireshark: "tds", TooMany: "tds_error_code IN (10928, 10929, 17809, 18461)", Data: "(tds_type = 'SQL_BATCH' OR tds_type = 'RPC' AND tds_procedure IS NOT NULL AND NOT ends_with(tds_procedure, 'prepare'))", Statements: &table.Statements{
			Kind:  "tds_type",
			Error: "'ERROR ' || tds_error_code || ': ' || tds_error_message", Errors: []string{"tds_error_message"}}},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// Types of a packet, section 2.2.3.1.1.
const (
	typeBatch       = 0x01
	typeRPC         = 0x03
	typeResponse    = 0x04
	typeAttention   = 0x06
	typeBulk        = 0x07
	typeFedAuth     = 0x08
	typeTransaction = 0x0e
	typeLogin       = 0x10
	typeSSPI        = 0x11
	typePrelogin    = 0x12
)

// call is a request that waits for its response, or a response without a request.
type call struct {
	x        dissect.Exchange
	waiting  dissect.QueuedRequest
	row      *Row
	s        *session
	kind     byte
	whole    bool // the request was captured completely
	sealed   bool // the request is in TLS
	answered bool
	bad, gap bool
	prepare  string // statement to remember under the handle that the response has
	forget   table.Opt[int64]
	texts    int // bytes of text in row
	hidden   int // bytes of credentials that were marked
	preview  []byte
	full     bool
}

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.waiting }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return !c.answered }

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// session has the requests of a connection without MARS, or of one of its sessions.
type session struct {
	queue   dissect.Queue[*call]
	id      table.Opt[int32]
	request struct { // that is being received
		call *call
		buf  []byte
		rows tokens // of a bulk load
	}
	response struct {
		call  *call
		open  bool // a message has begun; call is nil if it was given up
		words tokens
	}
}

type conn struct {
	c        *dissect.Conn
	main     *session
	sessions map[uint16]*session
	tunnel   *dissect.Conn // TLS inside
	records  [2]int        // bytes of a record of TLS still to come
	sealed   bool          // everything that is not in a packet is TLS

	modern                                              ternary // from version 7.2 on, messages have headers and longer tokens
	old                                                 bool    // version 7.0: no collations
	version                                             string
	offered                                             [2]string // encryption
	mustSeal                                            bool
	alone                                               bool // a login in TLS is all that was read
	user, application, client, driver, server, database string
	prepared                                            map[int64]string
	prepBytes                                           int
}

// ternary is a fact that may be unknown.
type ternary uint8

const (
	unknown ternary = iota
	no
	yes
)

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.main = k.newSession()
	return k
}

func (k *conn) newSession() *session {
	s := &session{}
	s.queue = dissect.Queue[*call]{Conn: k.c, Emit: k.emit, Busy: func(c *call) bool { return c == s.request.call || c == s.response.call }}
	return s
}

// all lists the sessions, that without a number first.
func (k *conn) all() []*session {
	list := []*session{k.main}
	for _, id := range slices.Sorted(maps.Keys(k.sessions)) {
		list = append(list, k.sessions[id])
	}
	return list
}
