// Package mysql reads the client/server protocol of MySQL and MariaDB, version 10.
//
// A row is one command with its complete reply, which may have several results. The connection
// phase, from the server's greeting to its verdict, is a row too. A prepared statement is
// remembered by its id, so its executions have its text. Result rows are counted and skipped; the
// first few are kept as text. Challenges, hashes and passwords never leave the package.
//
// Packets carry a sequence number that restarts with each command. It shows whether a packet is the
// next one, so a packet of another reply is never mistaken for the answer.
package mysql

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxPacket     = 1<<24 - 1 // bytes of one packet; one of this size is continued by the next
	maxWhole      = 64 << 10  // bytes of a message that are read; of a longer one, its beginning
	maxQuery      = 64 << 10  // bytes kept of a statement
	maxPrepared   = 4096      // prepared statements remembered
	maxPrepBytes  = 8 << 20   // bytes of their text
	maxParams     = 100       // parameters and query attributes shown
	maxParam      = 256       // bytes shown of one
	maxParamBytes = 4 << 10   // bytes kept of all
	maxColumns    = 4096      // columns of a result, the server's own limit
	maxNames      = 64 << 10  // bytes of their names
	maxPreview    = 4 << 10   // bytes of result rows shown
	maxErrorText  = 1 << 10   // bytes shown of an error's text
	maxWait       = 64 << 10  // bytes of a reply that may come before its command was captured
	maxSpare      = 8         // calls kept for reuse
)

// Row is one command with its reply.
type Row struct {
	table.Call
	Command      table.Opt[string] `col:"mysql_command" enc:"dict" doc:"name of the command, such as COM_QUERY or COM_STMT_EXECUTE; CONNECT for the connection phase, SSL_REQUEST for one that continues in TLS; null if the command was not captured"`
	SQL          table.Opt[string] `col:"mysql_query" doc:"the statement as sent, at most 64 KiB; for prepared statements null if COM_STMT_PREPARE was not captured"`
	Database     table.Opt[string] `col:"mysql_database" enc:"dict" doc:"database of the connection: from its beginning, COM_INIT_DB, USE or session tracking"`
	User         table.Opt[string] `col:"mysql_user" enc:"dict" doc:"user of the connection, if its beginning was captured"`
	Application  table.Opt[string] `col:"mysql_application" enc:"dict" doc:"connection attribute program_name, else _client_name"`
	Statement    table.Opt[int64]  `col:"mysql_statement_id" doc:"number of the prepared statement"`
	Params       []string          `col:"mysql_params" doc:"parameters as text, NULL for null; in hex if the type is unknown; at most 100 of 256 bytes. Rows of a bulk execution of MariaDB are not shown"`
	ParamTypes   []string          `col:"mysql_param_types" doc:"types of the parameters by the protocol's names, such as LONGLONG or VAR_STRING"`
	Attributes   []string          `col:"mysql_attributes" doc:"query attributes as name=value"`
	Columns      []string          `col:"mysql_columns" doc:"names of the columns of the first result"`
	Rows         table.Opt[int64]  `col:"mysql_rows" doc:"number of rows returned, in all results; null if there was no result set"`
	Results      int32             `col:"mysql_results" doc:"number of results: more than 1 for several statements in one query and for procedures"`
	Preview      table.Opt[string] `col:"mysql_preview" doc:"first result rows, with tabs between values and \\N for null, at most 4 KiB"`
	Affected     table.Opt[int64]  `col:"mysql_affected_rows" doc:"number of rows that the statements changed"`
	LastInsertID table.Opt[int64]  `col:"mysql_last_insert_id" doc:"first generated value of an AUTO_INCREMENT column"`
	Warnings     int32             `col:"mysql_warnings" doc:"number of warnings"`
	Info         table.Opt[string] `col:"mysql_info" doc:"the server's text about the result, such as Rows matched: 1  Changed: 1  Warnings: 0"`
	Success      bool              `col:"mysql_success" doc:"the server answered and reported no error"`
	ErrCode      table.Opt[int32]  `col:"mysql_error_code" doc:"number of the error, such as 1062"`
	ErrState     table.Opt[string] `col:"mysql_error_state" enc:"dict" doc:"SQLSTATE of the error"`
	ErrMessage   table.Opt[string] `col:"mysql_error_message" doc:"the error's text, at most 1 KiB"`
	Transaction  table.Opt[string] `col:"mysql_transaction" enc:"dict" doc:"state after the call: idle or transaction"`
	File         table.Opt[string] `col:"mysql_infile" doc:"file that the server requested for LOAD DATA LOCAL; its content is the request body"`
	Version      table.Opt[string] `col:"mysql_server_version" enc:"dict" doc:"version of the server, in the connection phase"`
	Thread       table.Opt[int64]  `col:"mysql_thread_id" doc:"number of the session, in the connection phase, or of the one to end"`
	Capabilities []string          `col:"mysql_capabilities" doc:"capabilities of both sides, in the connection phase"`
	Compression  table.Opt[string] `col:"mysql_compression" enc:"dict" doc:"zlib or zstd, if the connection is compressed"`
	Ahead        int32             `col:"mysql_ahead" doc:"number of earlier commands that were unanswered when this one was sent (pipelining)"`
}

// Protocol is MySQL.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "mysql",
		Doc:        "MySQL and MariaDB client/server protocol, version 10",
		Versions:   "4.1 to 9.0, MariaDB",
		Depth:      "statements with parameters, the shape and first rows of results, errors, compression",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{3306, 3307, 4000, 6033, 6446, 6447},
		Detect:     detect,
		Prefaced:   true,
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits: table.Traits{Pooled: true, Login: true, Before: "method IN ('SSL_REQUEST', 'QUIT')", Wireshark: "mysql", TooMany: "mysql_error_code IN (1040, 1203, 1226)", Data: "mysql_command IN ('COM_QUERY', 'COM_STMT_EXECUTE', 'COM_STMT_BULK_EXECUTE') AND coalesce(method, '') NOT IN ('PREPARE', 'DEALLOCATE')", Statements: &table.Statements{
			Kind:  "mysql_command",
			Error: "'ERROR ' || mysql_error_code || ': ' || mysql_error_message", Errors: []string{"mysql_error_message"}}},
	}
}

// kind is the kind of a call that is not a command.
type kind uint8

const (
	kindCommand kind = iota
	kindConnect
	kindSSL
	kindReply  // its command was not captured
	kindNotice // the server sent it on its own
)

// stage is the next packet that a call expects from the server.
type stage uint8

const (
	stageFirst      stage = iota // the first packet of a reply, or of another result
	stageParams                  // definitions of parameters
	stageParamsEnd               // then an EOF packet
	stageColumns                 // definitions of columns
	stageColumnsEnd              // then an EOF packet, or rows
	stageRows
	stageFile   // the client sends a file, then the server the result
	stageAuth   // authentication, in both directions
	stageStream // events of a binary log
	stageMaybe  // the reply is complete, unless an EOF packet follows
)

// call is a command that waits for its reply, or a reply without a command.
type call struct {
	x       dissect.Exchange
	asked   dissect.QueuedRequest
	kind    kind
	command byte
	query   string
	known   bool // query was captured
	stmt    *statement
	stmtID  table.Opt[int64]
	params  params
	attrs   params
	seq     byte // sequence number of the newest packet of either side
	ahead   int32

	stage    stage
	left     int // definitions still to come
	defs     int // columns whose definitions come after those of the parameters
	cols     *columns
	first    *columns // of the first result with rows
	results  int32
	rows     table.Opt[int64]
	preview  []byte
	full     bool
	affected table.Opt[int64]
	insertID table.Opt[int64]
	warnings int32
	info     string
	status   uint16
	ended    bool // a status was read
	err      *serverError
	file     string
	auth     string // plugin of the authentication, if credentials were sent
	plugin   string // the latest one that either side named
	version  string
	thread   table.Opt[int64]
	use      string // database after success
	user     string // user after success
	answered bool
	silent   bool // it has no reply
	gap      bool
	bad      bool
}

const callCost = int(unsafe.Sizeof(call{}))

// phase is the state of a connection.
type phase uint8

const (
	phaseUnknown phase = iota // nothing was read
	phaseConnect
	phaseCommand
)

// conn is the state of a connection.
type conn struct {
	c     *dissect.Conn
	sides [2]side
	phase phase
	hello *call  // the connection phase, until it ends
	greet *greet // of a connection that changed to TLS

	queue  dissect.Queue[*call]
	orphan *call // a reply without a command

	caps, serverCaps    uint64
	capsKnown           bool
	noEOF               ternary // no EOF packet follows definitions
	queryAttrs          ternary // attributes precede a statement and are named among its parameters
	compressed          bool    // from the end of the connection phase on
	commanded           bool    // a command was read
	compression         string
	user, database, app string
	prepared
	newest *columns // to recognize them when they are repeated

	switched bool     // another protocol follows
	acc      span     // bytes read but not yet added to their call
	current  struct { // the message that is read
		in   *dissect.Input
		at   int // its place there; -1 if it is no part of the input
		data []byte
	}
	scratch    []byte
	spare      []*call
	spareBytes int
}

// greet is what the server said before TLS.
type greet struct {
	caps    uint64
	version string
	thread  table.Opt[int64]
	plugin  string
}

// Continue implements dissect.Continuer.
func (k *conn) Continue(before dissect.Dissector) { k.greet = before.(*conn).greet }

// ternary is a fact that may be unknown.
type ternary uint8

const (
	unknown ternary = iota
	no
	yes
)

func ternaryOf(b bool) ternary {
	if b {
		return yes
	}
	return no
}

// span is a range of the current input that belongs to a call.
type span struct {
	in       *dissect.Input
	call     *call
	from, to int
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	at := 0
	var err error
	for at < len(in.Data) && !k.switched {
		var n int
		if n, err = k.read(in, at); n <= 0 && err == nil {
			break
		}
		if at += n; err != nil {
			break
		}
	}
	k.flush()
	k.current.in, k.current.data = nil, nil
	return at, err
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Busy: func(c *call) bool { return c.x.HasResponse() }}
	return k
}
