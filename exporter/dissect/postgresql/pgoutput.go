package postgresql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// changes is one transaction as a row shows it.
type changes struct {
	command                            string
	xid                                uint32
	from, to                           uint64
	inserts, updates, deletes, cleared int64
	tables                             []string
	committed                          int64 // microseconds since 2000, 0 if unknown
	gid                                string
	prefix                             string
}

// change reads a message of pgoutput, PostgreSQL documentation, section Logical Replication
// Message Formats. at is its position in the log.
func (k *conn) change(r *cursor.Cursor, at uint64, in *dissect.Input, from, to int, cut bool) error {
	s := k.stream
	kind := r.Uint8()
	var d changes
	begins, ends := false, false
	switch kind {
	case 'B':
		begins, d.command = true, "COMMIT"
		r.Skip(8)
		d.committed, d.xid = int64(r.Uint64()), r.Uint32()
	case 'S':
		begins, d.command, d.xid = true, "STREAM", r.Uint32()
	case 'b':
		begins, d.command = true, "PREPARE TRANSACTION"
		r.Skip(16)
		d.committed, d.xid, d.gid = int64(r.Uint64()), r.Uint32(), name(r)
	case 'C', 'E', 'P':
		ends = true
	case 'c', 'A', 'K', 'r', 'p':
		begins, ends = true, true
		d.read(kind, r)
	case 'M':
		if begins = s.part == nil; begins {
			ends, d.command = true, "MESSAGE"
		}
	}
	if r.Short() {
		return k.short(kind, in, from, to, cut)
	}
	if begins && from == to { // its bytes are assigned already
		return nil
	}
	if begins {
		if s.part != nil { // its end was lost
			s.part.gap = true
			k.end(in, "")
		}
		d.from = at
		k.part(d)
	}
	c := s.part
	if c == nil && strings.IndexByte("IUDTCEP", kind) >= 0 { // its begin was lost
		k.part(changes{command: "COMMIT"})
		if c = s.part; c != nil {
			c.gap = true
		}
	}
	if c == nil {
		k.assign(s.start, in, from, to)
		return nil
	}
	k.assign(c, in, from, to)
	k.count(c.changes, kind, r)
	if r.Short() {
		return k.short(kind, in, from, to, cut)
	}
	if strings.IndexByte("IUDM", kind) >= 0 {
		c.x.HideRest(in, from+headSize+r.Used(), to)
	}
	s.block = s.block || kind == 'S'
	if ends {
		k.end(in, "")
	}
	return nil
}

// short is the error of a message that is too short for its fields, unless a part of it was lost.
func (k *conn) short(kind byte, in *dissect.Input, from, to int, cut bool) error {
	c := k.stream.start
	if p := k.stream.part; p != nil {
		c = p
	}
	k.assign(c, in, from, to)
	if cut {
		c.gap = true
		return nil
	}
	return fmt.Errorf("reading message %q of pgoutput: it is too short for its fields", kind)
}

// read reads a message that ends a transaction that was sent in parts, or prepared, before.
func (d *changes) read(kind byte, r *cursor.Cursor) {
	switch kind {
	case 'c':
		d.command, d.xid = "STREAM COMMIT", r.Uint32()
		r.Skip(9) // flags, position of the commit
		d.to, d.committed = r.Uint64(), int64(r.Uint64())
	case 'A':
		d.command, d.xid = "STREAM ABORT", r.Uint32()
		r.Skip(4) // the subtransaction
	case 'K', 'r', 'p':
		d.command = map[byte]string{'K': "COMMIT PREPARED", 'r': "ROLLBACK PREPARED", 'p': "STREAM PREPARE"}[kind]
		r.Skip(9)
		d.to, d.committed = r.Uint64(), int64(r.Uint64())
		if kind == 'r' {
			d.committed = int64(r.Uint64())
		}
		d.xid, d.gid = r.Uint32(), name(r)
	}
}

func name(r *cursor.Cursor) string { return clip.Text(sqltext.Text(r.CString()), maxIdentifier) }

// count adds a message to its transaction.
func (k *conn) count(d *changes, kind byte, r *cursor.Cursor) {
	s := k.stream
	if s.block && strings.IndexByte("RYIUDTM", kind) >= 0 {
		r.Skip(4) // its transaction, perhaps a subtransaction
	}
	switch kind {
	case 'C', 'P':
		r.Skip(9) // flags, position of the commit
		d.to, d.committed = r.Uint64(), int64(r.Uint64())
	case 'R':
		oid := r.Uint32()
		space, table := name(r), name(r)
		if space == "" { // pgoutput's form of pg_catalog
			space = "pg_catalog"
		}
		if !r.Short() {
			k.relation(oid, space+"."+table)
		}
	case 'I', 'U', 'D':
		n := &d.inserts
		switch kind {
		case 'U':
			n = &d.updates
		case 'D':
			n = &d.deletes
		}
		if d.touch(s, r); !r.Short() {
			*n++
		}
	case 'T':
		d.cleared++
		n := r.Uint32()
		r.Skip(1) // options
		for range min(n, maxRelations) {
			d.touch(s, r)
			if r.Short() {
				return
			}
		}
	case 'M':
		r.Skip(1) // flags
		if d.to = max(d.to, r.Uint64()); d.command == "MESSAGE" {
			d.prefix = name(r)
		}
	}
}

// relation remembers the name of a table.
func (k *conn) relation(oid uint32, name string) {
	s := k.stream
	if _, known := s.relations[oid]; !known {
		if len(s.relations) == maxRelations {
			k.c.Anomaly("limit", "more tables are replicated than are remembered", 0)
			return
		}
		n := k.c.Keep(2*maxIdentifier + 64)
		if k.stream != s { // memory gave up the command
			k.c.Release(n)
			return
		}
		s.start.size += n
	}
	if s.relations == nil {
		s.relations = map[uint32]string{}
	}
	s.relations[oid] = name
}

// touch records a table that the transaction changes.
func (d *changes) touch(s *stream, r *cursor.Cursor) {
	oid := r.Uint32()
	if r.Short() || len(d.tables) == maxTables {
		return
	}
	name, ok := s.relations[oid]
	if !ok {
		name = strconv.FormatUint(uint64(oid), 10) // its description was not captured
	}
	if !slices.Contains(d.tables, name) {
		d.tables = append(d.tables, name)
	}
}

// part begins the row of a transaction.
func (k *conn) part(d changes) {
	s := k.stream
	n := k.c.Keep(callCost + maxTables*32)
	if k.stream != s {
		k.c.Release(n)
		return
	}
	c := k.newCall(kindReplication)
	c.stream, c.changes, c.size, c.answered = s, &d, n, true
	k.live++
	s.part, s.block = c, false
}

// end emits the row of the transaction that is being sent.
func (k *conn) end(in *dissect.Input, why string) {
	if s := k.stream; s != nil && s.part != nil {
		k.emit(s.part, in, why)
	}
}

// replicated sets the columns for replication.
func (k *conn) replicated(c *call, row *Row) {
	s, d := c.stream, c.changes
	if s == nil {
		return
	}
	row.Slot, row.Publications = table.NonEmpty(s.slot), s.publications
	if d == nil {
		row.From, row.To, row.Flushed = lsn(s.from), lsn(s.to), lsn(s.flushed)
		return
	}
	row.From, row.To, row.GID, row.Channel, row.Tables = lsn(d.from), lsn(d.to), table.NonEmpty(d.gid), table.NonEmpty(d.prefix), d.tables
	row.XID = table.Opt[int64]{V: int64(d.xid), OK: d.xid != 0}
	row.Committed = table.Opt[table.Micros]{V: table.Micros(d.committed + epoch*1e6), OK: d.committed > 0 && d.committed < maxTime}
	row.Inserts, row.Updates = table.Some(d.inserts), table.Some(d.updates)
	row.Deletes, row.Truncates = table.Some(d.deletes), table.Some(d.cleared)
}

// replicated appends a transaction: its command, number, changes and tables.
func (c *call) replicated(b []byte) []byte {
	d := c.changes
	b = append(append(b, "replication "...), d.command...)
	if d.xid != 0 {
		b = strconv.AppendUint(append(b, ' '), uint64(d.xid), 10)
	}
	if d.prefix != "" {
		b = append(append(b, ' '), clip.Text(d.prefix, 60)...)
	}
	if c.stream.slot != "" {
		b = append(append(b, " of slot "...), clip.Text(c.stream.slot, 63)...)
	}
	between := ": "
	for _, n := range []struct {
		count     int64
		one, many string
	}{{d.inserts, "insert", "inserts"}, {d.updates, "update", "updates"}, {d.deletes, "delete", "deletes"}, {d.cleared, "truncate", "truncates"}} {
		if n.count > 0 {
			b = append(append(b, between...), clip.Count(n.count, n.one, n.many)...)
			between = ", "
		}
	}
	if len(d.tables) > 0 {
		b = append(append(b, " in "...), clip.Text(strings.Join(d.tables, ", "), maxSummaryQuery)...)
	}
	return b
}
