package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeReplication records a client that decodes what a server replicates.
func makeReplication(ctx context.Context, out string) error {
	const server = "10.1.47.20"
	l, err := lab.New("pgrepl", "", lab.At("client", "10.1.47.5"), lab.At("postgres", server))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := StartPostgres(l, ctx, "postgres", "-c", "wal_level=logical", "-c", "logical_decoding_work_mem=64kB"); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "postgresql-replication", l.Self, "-role", "pgrepl-client", "--", server, filepath.Join(out, "postgresql-replication.said.tsv"))
}

// pgReplicated are the statements whose transactions are replicated.
var pgReplicated = []string{
	"insert into items select i, 'item ' || i from generate_series(1, 3) i",
	"start transaction isolation level repeatable read; update items set name = 'cup' where id = 2; delete from items where id = 3; insert into prices values (1, 4.50); commit",
	"insert into private values (1)", // not published
	"start transaction isolation level repeatable read; insert into items values (9, 'never'); rollback",
	"insert into items values (4, repeat('long ', 1000))",
	"select pg_logical_emit_message(false, 'audit', 'a message of its own')",
	"start transaction isolation level repeatable read; select pg_logical_emit_message(true, 'audit', 'in a transaction'); insert into prices values (2, 3); commit",
	"insert into items select i, 'item ' || i from generate_series(10, 800) i", // more than the server keeps: it comes in parts
	"truncate prices, items",
}

// pgReplClient replicates in two connections: to the end of the statements, and from the position that
// the first confirmed.
func pgReplClient(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	url := PgURL(args[0])
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer admin.Close(ctx)
	exec := func(sql string) error {
		_, err := admin.PgConn().Exec(ctx, sql).ReadAll()
		return err
	}
	if err := exec(`create table items (id int primary key, name text); create table prices (id int primary key, price numeric);
		create table private (id int); create publication stock for table items, prices; create publication "all of it" for table items;
		alter table items alter name set storage external`); err != nil {
		return err
	}
	conn, err := pgconn.Connect(ctx, url+"&replication=database")
	if err != nil {
		return err
	}
	if _, err := pglogrepl.IdentifySystem(ctx, conn); err != nil {
		return err
	}
	if _, err := pglogrepl.CreateReplicationSlot(ctx, conn, "orders_slot", "pgoutput", pglogrepl.CreateReplicationSlotOptions{}); err != nil {
		return err
	}
	var s lab.Said
	c := &pgReplica{conn: conn, said: &s, names: map[uint32]string{}}
	if err := c.start(ctx, 0); err != nil {
		return err
	}
	for _, sql := range pgReplicated {
		if err := exec(sql); err != nil {
			return err
		}
	}
	if err := c.follow(ctx, "TRUNCATE"); err != nil {
		return err
	}
	// While the slot is in use, a second client is refused.
	other, err := pgconn.Connect(ctx, url+"&replication=database")
	if err != nil {
		return err
	}
	err = (&pgReplica{conn: other, said: &s}).start(ctx, 0)
	if wantState(err, "55006") != nil {
		return fmt.Errorf("the slot is in use, and the answer is: %v", err)
	}
	s.Line("START_REPLICATION\torders_slot\t55006")
	other.Close(ctx)
	if _, err := pglogrepl.SendStandbyCopyDone(ctx, conn); err != nil {
		return err
	}
	s.Line("START_REPLICATION\torders_slot\tconfirmed %s", c.at)
	conn.Close(ctx)

	if conn, err = pgconn.Connect(ctx, url+"&replication=database"); err != nil {
		return err
	}
	c = &pgReplica{conn: conn, said: &s, names: map[uint32]string{}}
	if err := c.start(ctx, 0); err != nil {
		return err
	}
	if err := exec("insert into items values (5, 'bowl')"); err != nil {
		return err
	}
	if err := c.follow(ctx, "INSERT"); err != nil {
		return err
	}
	s.Line("START_REPLICATION\torders_slot\tconfirmed %s", c.at)
	conn.Close(ctx) // without an end of the stream
	return s.Write(args[1])
}

// pgReplica records the transactions that it receives.
type pgReplica struct {
	conn   *pgconn.PgConn
	said   *lab.Said
	names  map[uint32]string
	at     pglogrepl.LSN
	block  bool // within a part of a transaction
	xid    uint32
	counts map[string]int
	tables []string
}

func (c *pgReplica) start(ctx context.Context, at pglogrepl.LSN) error {
	return pglogrepl.StartReplication(ctx, c.conn, "orders_slot", at, pglogrepl.StartReplicationOptions{
		PluginArgs: []string{"proto_version '2'", `publication_names 'stock,"all of it"'`, "streaming 'on'", "messages 'on'"}})
}

// follow reads until a transaction with such a change has ended, and confirms it.
func (c *pgReplica) follow(ctx context.Context, until string) error {
	for done := false; !done; {
		m, err := c.conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		d, ok := m.(*pgproto3.CopyData)
		if !ok {
			return fmt.Errorf("the server sent %T", m)
		}
		if d.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		x, err := pglogrepl.ParseXLogData(d.Data[1:])
		if err != nil {
			return err
		}
		change, err := pglogrepl.ParseV2(x.WALData, c.block)
		if err != nil {
			return err
		}
		_, seen := c.counts[until]
		c.note(change)
		done = seen && c.counts == nil && !c.block
	}
	return pglogrepl.SendStandbyStatusUpdate(ctx, c.conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: c.at})
}

func (c *pgReplica) note(change pglogrepl.Message) {
	switch m := change.(type) {
	case *pglogrepl.RelationMessageV2:
		c.names[m.RelationID] = m.Namespace + "." + m.RelationName
	case *pglogrepl.BeginMessage:
		c.begin(m.Xid)
	case *pglogrepl.CommitMessage:
		c.end("COMMIT", m.TransactionEndLSN)
	case *pglogrepl.StreamStartMessageV2:
		c.begin(m.Xid)
		c.block = true
	case *pglogrepl.StreamStopMessageV2:
		c.end("STREAM", 0)
		c.block = false
	case *pglogrepl.StreamCommitMessageV2:
		c.begin(m.Xid)
		c.end("STREAM COMMIT", m.TransactionEndLSN)
	case *pglogrepl.InsertMessageV2:
		c.change("INSERT", m.RelationID)
	case *pglogrepl.UpdateMessageV2:
		c.change("UPDATE", m.RelationID)
	case *pglogrepl.DeleteMessageV2:
		c.change("DELETE", m.RelationID)
	case *pglogrepl.TruncateMessageV2:
		c.change("TRUNCATE", m.RelationIDs...)
	case *pglogrepl.LogicalDecodingMessageV2:
		if !m.Transactional {
			c.said.Line("MESSAGE\t%s\t%s", m.Prefix, m.LSN)
		}
	}
}

func (c *pgReplica) begin(xid uint32) { c.xid, c.counts, c.tables = xid, map[string]int{}, nil }

func (c *pgReplica) change(kind string, tables ...uint32) {
	c.counts[kind]++
	for _, id := range tables {
		if name := c.names[id]; !slices.Contains(c.tables, name) {
			c.tables = append(c.tables, name)
		}
	}
}

func (c *pgReplica) end(command string, at pglogrepl.LSN) {
	c.at = max(c.at, at)
	end := ""
	if at > 0 {
		end = at.String()
	}
	n := c.counts
	c.said.Line("%s\t%d %s\t+%d ~%d -%d 0:%d %s", command, c.xid, strings.Join(c.tables, ","), n["INSERT"], n["UPDATE"], n["DELETE"], n["TRUNCATE"], end)
	c.counts = nil
}
