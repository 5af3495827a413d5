// Package clickhouse reads the native protocol of ClickHouse.
//
// A row is one request with its response: a login, a statement, or a ping. A connection has one request
// at a time. Blocks of data have no length, so their columns are followed value by value; a block with a
// type that this package does not know makes the rest of its response unreadable, until the client
// sends the next request. Source: src/Core/ProtocolDefines.h, src/Core/Protocol.h and
// src/Client/Connection.cpp of ClickHouse. Passwords never leave the package.
package clickhouse

import (
	_ "embed" // names.txt
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of what is read.
const (
	maxName     = 1 << 10  // bytes of a name: of a client, user, column or query
	maxType     = 64 << 10 // bytes of the name of a type: an enumeration lists its values
	maxQuery    = 64 << 10 // bytes kept of a statement
	maxText     = 16 << 20 // longest text that is read completely
	maxColumns  = 4096     // columns of a block
	maxSettings = 32       // settings and parameters kept
	maxValue    = 256      // bytes kept of one value
	maxPreview  = 4 << 10  // bytes of rows shown
	maxError    = 1 << 10  // bytes shown of an error's text
	maxFrame    = 16 << 20 // bytes of a compressed frame, and of its content; clickhouse-go sends 10 MiB and more in one
)

// Row is one request with its response.
type Row struct {
	table.Call
	Statement
	Initial    table.Opt[string] `col:"clickhouse_initial_user" enc:"dict" doc:"user whose statement another server passed on"`
	ClientHost table.Opt[string] `col:"clickhouse_client_host" enc:"dict" doc:"client's host name as the statement states it"`
	OSUser     table.Opt[string] `col:"clickhouse_os_user" enc:"dict" doc:"client's user of the operating system as the statement states it"`
	Server     table.Opt[string] `col:"clickhouse_server_version" enc:"dict" doc:"version of the server, from its answer to the login"`
	Revision   table.Opt[int64]  `col:"clickhouse_revision" doc:"revision of the protocol that both sides know; a guess if the login was not captured"`
	Cancelled  bool              `col:"clickhouse_cancelled" doc:"the client asked to cancel the statement"`
}

// Protocol is ClickHouse.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "clickhouse",
		Doc:        "native protocol of ClickHouse",
		Versions:   "revisions 54032 (2016) to 54479, also in chunks",
		Depth:      "statements with settings and parameters, the shape and first rows of results, inserted rows, progress, errors; LZ4 and Zstandard",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{9000},
		Detect:     detect,
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits: table.Traits{Pooled: true, Login: true, TooMany: "clickhouse_error_code = 202", Data: "clickhouse_kind = 'QUERY'", Statements: &table.Statements{
			Kind:  "clickhouse_kind",
			Error: "clickhouse_error_code_name || ': ' || clickhouse_error_message", Errors: []string{"clickhouse_error_message"}, OverHTTP: true}},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// call is a request that waits for its response, or a response without a request.
type call struct {
	x        dissect.Exchange
	waiting  dissect.QueuedRequest
	row      *Row
	whole    bool // the request was captured
	answered bool
	lost     string // what bytes of it met: gap or malformed
	texts    int    // bytes of text in row
}

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.waiting }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return !c.answered }

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// side is the position in one direction.
type side struct {
	call    *call     // of the packet that is being read; of the server: until its response ends
	block   *incoming // that is being read; nil between packets
	chunked bool      // it sends chunks
	known   bool      // chunked is known, so the next bytes need not decide it
	never   bool      // the login says that it sends no chunks
	left    int       // bytes of the current chunk
}

// conn is one connection.
type conn struct {
	dissect.Queue[*call]
	sides    [2]side
	blind    bool      // the position in the server's bytes is lost until the next request
	addendum bool      // the client may send the rest of its login
	revs     revisions // of both sides; until the answer to the login, of the client
	stray    *call     // data of the client that belong to no request that waits
	missed   string    // why a query before the client's data may be missing; empty if none is
	types    map[string]*kind

	user, database, application, version string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{revs: anyRevision, types: map[string]*kind{}}
	k.Queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Busy: func(c *call) bool {
		out, back := &k.sides[dissect.ToServer], &k.sides[dissect.ToClient]
		return c == back.call || c == out.call && out.block != nil
	}}
	return k
}

// revisions are the revisions of the protocol that a connection may have. One is certain after a login.
type revisions struct{ least, most uint64 }

// anyRevision are those of a connection of which only the middle was captured.
var anyRevision = revisions{revLeast, revMost}

// newCall makes a call with the known fields of the connection.
func (k *conn) newCall(what string) *call {
	row := &Row{Server: table.NonEmpty(k.version)}
	row.Kind, row.User, row.Database, row.Application = table.NonEmpty(what), table.NonEmpty(k.user), table.NonEmpty(k.database), table.NonEmpty(k.application)
	if k.revs != anyRevision {
		row.Revision = table.Some(int64(k.revs.most))
	}
	return &call{row: row}
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (at int, err error) {
	s := &k.sides[in.Dir]
	for at < len(in.Data) {
		if b := in.Data[at:]; !s.known && !k.lost(in.Dir) && s.block == nil && s.left == 0 {
			if len(b) == chunkHead && b[3] == 0 { // this may be the size of a chunk
				return at, nil
			}
			s.known, s.chunked = len(b) > chunkHead, inChunks(in.Dir, b)
		}
		blind, chunked := k.lost(in.Dir), s.chunked
		as := *s
		if blind {
			as.chunked = false
		}
		x, err := newInput(in, at, &as)
		if err != nil {
			return at, err
		}
		same := func() bool { return k.lost(in.Dir) == blind && s.chunked == chunked }
		n, err := k.packets(x, same)
		was := at
		if at = x.read(n, &as); !blind {
			s.left = as.left
		}
		if err != nil || at == was && same() {
			return at, err
		}
	}
	return at, nil
}

// lost reports whether the position in what a side sends is lost.
func (k *conn) lost(dir dissect.Dir) bool { return k.blind && dir == dissect.ToClient }

// packets reads packets while the form of the input is the same.
func (k *conn) packets(in *input, same func() bool) (at int, err error) {
	for at < len(in.data) && same() {
		n, err := k.next(in, at)
		if err != nil || n == 0 {
			return at, err
		}
		at += n
	}
	return at, nil
}

// next reads a packet or a part of one. It returns 0 if it needs more bytes.
func (k *conn) next(in *input, at int) (int, error) {
	s := &k.sides[in.Dir]
	switch {
	case k.lost(in.Dir):
		return k.skip(in, at), nil
	case s.block != nil:
		return k.readBlock(in, at)
	case in.Dir == dissect.ToServer:
		return k.fromClient(in, at)
	}
	return k.fromServer(in, at)
}

// skip counts bytes of the server whose meaning is lost. It returns 0 if the response to the next
// request begins.
func (k *conn) skip(in *input, at int) int {
	s := &k.sides[dissect.ToClient]
	n := len(in.data) - at
	for _, c := range k.All() {
		if c == s.call || !c.Waits() {
			continue
		}
		if ahead := int(int32(c.waiting.Ack - in.Seq(at))); ahead < n {
			n = max(ahead, 0)
		}
		break
	}
	if n == 0 {
		k.blind, s.left = false, 0
		if s.call != nil {
			k.emit(s.call, "")
		}
		return 0
	}
	if s.call == nil {
		s.call = k.newCall("")
	}
	in.add(&s.call.x, at, at+n)
	return n
}

// lose discards the position in the server's bytes.
func (k *conn) lose(why string) {
	s := &k.sides[dissect.ToClient]
	k.blind = true
	s.block = nil
	if s.call == nil {
		s.call = k.Front()
	}
	if s.call != nil && s.call.lost == "" {
		s.call.lost = why
	}
}

// Gap implements dissect.Dissector. After a gap in a response, the next response begins after the
// next request.
func (k *conn) Gap(in *dissect.Input, _ int64) bool {
	if in.Dir == dissect.ToServer {
		return false
	}
	if len(in.Data) > 0 {
		if s := &k.sides[in.Dir]; s.call != nil {
			s.call.x.Response(in, 0, len(in.Data))
		}
	}
	k.lose(string(dissect.LossGap))
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Queue.Resync(dir, why)
	s := &k.sides[dir]
	c := s.call
	*s = side{known: s.never, never: s.never}
	if dir == dissect.ToClient {
		k.blind = false
		if c != nil {
			k.emit(c, string(why))
		}
		return
	}
	if k.missed = string(why); c != nil && c.lost == "" {
		c.lost = string(why)
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user) + len(k.database) + len(k.application) + len(k.version) + len(k.types)*int(unsafe.Sizeof(kind{}))
	for i := range k.sides {
		if b := k.sides[i].block; b != nil {
			n += b.kept()
		}
	}
	if c := k.sides[dissect.ToClient].call; c != nil && c.row.Kind.V == "" {
		n += callCost + c.texts
	}
	if k.stray != nil {
		n += callCost
	}
	return n
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.endStray()
	if c := k.sides[dissect.ToClient].call; c != nil {
		word := why.CallError()
		if why == dissect.EndFin {
			word = "cut"
		}
		k.emit(c, word)
	}
	k.Queue.Close(why)
}
