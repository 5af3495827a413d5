// Package duck runs DuckDB for forensics: one in-memory database over a case's Parquet
// files, locked so that a query can read them and do nothing else.
//
// It is the only package that imports DuckDB, and it takes the C interface of the
// bindings rather than database/sql, since only that streams results: memory stays
// bounded however many rows an answer has. Values come out as plain Go. Gate refuses
// every text that is not one query over the tables it is given.
package duck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// maxConns is how many answers may be read at once.
const maxConns = 16

// Options of a database.
type Options struct {
	MemoryLimit int64  // bytes; what a query needs above it is an error, or goes to TempDir
	Threads     int    // 0 means one per processor
	TempDir     string // private folder for what does not fit; empty: nothing is written
	MaxTemp     int64  // bytes in TempDir; 0 with a TempDir means 8 GiB
	Ceiling     int64  // bytes of the whole process above which a query is ended; 0: none, see guard
}

// DB is a database as connections of one kind see it. Its methods may be called from
// several goroutines.
type DB struct {
	*database
	begin []string // statements that each connection begins with
	free  []duckdb.Connection
	only  chan duckdb.Connection // of a DB that Aside made: its connection where it is free
}

// database is what all kinds of connections share.
type database struct {
	mu     sync.Mutex
	db     duckdb.Database
	kinds  []*DB
	slots  chan struct{}
	trimAt time.Time // when freed memory may be given back again
	now    []*Rows   // that are being asked or read, the oldest first
	ended  chan struct{}
	asides chan struct{}
	locked bool
	closed bool
}

// Open makes an empty in-memory database that loads no extensions and writes nothing
// but, where asked, temporary files.
func Open(o Options) (*DB, error) {
	var cfg duckdb.Config
	if duckdb.CreateConfig(&cfg) == duckdb.StateError {
		return nil, errors.New("opening database: no configuration")
	}
	defer duckdb.DestroyConfig(&cfg)
	set := [][2]string{
		{"duckdb_api", "pcapsule"}, {"autoinstall_known_extensions", "false"}, {"autoload_known_extensions", "false"},
		{"allow_community_extensions", "false"}, {"allow_persistent_secrets", "false"}, {"temp_directory", o.TempDir},
		{"errors_as_json", "false"},
		// The kernel keeps the files' pages already; a second copy only fills the limit.
		{"enable_external_file_cache", "false"},
		// What was freed goes back soon, not when the limit is reached.
		{"allocator_background_threads", "true"}, {"allocator_flush_threshold", "8MiB"}, {"allocator_bulk_deallocation_flush_threshold", "16MiB"},
	}
	fewArenas()
	if o.MemoryLimit > 0 {
		set = append(set, [2]string{"memory_limit", strconv.FormatInt(o.MemoryLimit, 10) + "B"})
	}
	if o.Threads > 0 {
		set = append(set, [2]string{"threads", strconv.Itoa(o.Threads)})
	}
	for _, kv := range set {
		if duckdb.SetConfig(cfg, kv[0], kv[1]) == duckdb.StateError {
			return nil, fmt.Errorf("opening database: option %s=%s refused", kv[0], kv[1])
		}
	}
	d := &DB{database: &database{ended: make(chan struct{}), slots: make(chan struct{}, maxConns), asides: make(chan struct{}, maxAsides)}}
	d.kinds = []*DB{d}
	var msg string
	if duckdb.OpenExt("", &d.db, cfg, &msg) == duckdb.StateError {
		duckdb.Close(&d.db)
		return nil, fmt.Errorf("opening database: %s", msg)
	}
	if err := d.settle(o); err != nil {
		d.Close()
		return nil, fmt.Errorf("opening database: %w", err)
	}
	if o.Ceiling > 0 {
		go d.guard(o.Ceiling)
	}
	return d, nil
}

// settle sets what only a database that is open takes.
func (d *DB) settle(o Options) error {
	// Footers are parsed once, and not again with each query. Without GLOBAL that were so for
	// this connection only.
	// Days and hours are of UTC, wherever the question is asked.
	for _, sql := range []string{"SET GLOBAL TimeZone='UTC'", "SET GLOBAL parquet_metadata_cache=true"} {
		if err := d.Exec(context.Background(), sql); err != nil {
			return err
		}
	}
	if o.TempDir == "" {
		return nil
	}
	if o.MaxTemp <= 0 {
		o.MaxTemp = 8 << 30
	}
	// As an option of opening it would be shown and not kept to.
	return d.Exec(context.Background(), "SET max_temp_directory_size='"+strconv.FormatInt(o.MaxTemp, 10)+"B'")
}

// With is the same database over connections of another kind: each begins with the
// statements, such as views in the schema temp, which hide those of the same name that
// all connections see. No connection of d sees what they make. It is closed with d.
func (d *DB) With(begin []string) *DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := &DB{database: d.database, begin: begin}
	d.kinds = append(d.kinds, k)
	return k
}

// Exec runs statements that set the database up. After Lock it refuses.
func (d *DB) Exec(ctx context.Context, sql string) error {
	if d.isLocked() {
		return errors.New("running a set-up statement: the database is locked")
	}
	rows, err := d.run(ctx, sql, nil, true)
	if err != nil {
		return err
	}
	for rows.next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (d *DB) isLocked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locked
}

// Lock shuts everything but the files below dirs, and the configuration, for ever.
//
// The order matters: allowed_directories can only be set while external access is on.
// The lock does not keep COPY from writing below dirs; Gate does.
func (d *DB) Lock(ctx context.Context, dirs []string) error {
	quoted := make([]string, len(dirs))
	for i, dir := range dirs {
		quoted[i] = Quote(dir)
	}
	for _, sql := range []string{
		"SET allowed_directories=[" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access=false",
		"SET lock_configuration=true",
	} {
		if err := d.Exec(ctx, sql); err != nil {
			return fmt.Errorf("locking the database: %w", err)
		}
	}
	d.mu.Lock()
	d.locked = true
	d.mu.Unlock()
	return nil
}

// Close ends the database. Rows that are still open keep it alive until they are closed.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	close(d.ended)
	for _, k := range d.kinds {
		for i := range k.free {
			duckdb.Disconnect(&k.free[i])
		}
		k.free = nil
	}
	duckdb.Close(&d.db)
	return nil
}

// take gives a connection for one answer.
func (d *DB) take(ctx context.Context) (duckdb.Connection, error) {
	if d.only != nil {
		return d.wait(ctx)
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return duckdb.Connection{}, ctx.Err()
	}
	c, made, err := d.connection()
	if err == nil && made {
		err = d.prepare(&c)
	}
	if err != nil {
		<-d.slots
	}
	return c, err
}

// connection is one that is free, or a new one.
func (d *DB) connection() (c duckdb.Connection, made bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return c, false, errors.New("the database is closed")
	}
	if n := len(d.free); n > 0 {
		c = d.free[n-1]
		d.free = d.free[:n-1]
		return c, false, nil
	}
	if duckdb.Connect(d.db, &c) == duckdb.StateError {
		return c, false, errors.New("connecting to the database")
	}
	return c, true, nil
}

// prepare makes a new connection one of its kind; where that fails it is closed.
func (d *DB) prepare(c *duckdb.Connection) error {
	for _, sql := range d.begin {
		var r duckdb.Result
		state := duckdb.Query(*c, sql, &r)
		msg := ""
		if state == duckdb.StateError {
			msg = duckdb.ResultError(&r)
		}
		duckdb.DestroyResult(&r)
		if state == duckdb.StateError {
			duckdb.Disconnect(c)
			return fmt.Errorf("connecting to the database: %s", firstLine(msg))
		}
	}
	return nil
}

func (d *DB) give(c duckdb.Connection) {
	if d.only != nil {
		d.only <- c
		return
	}
	d.mu.Lock()
	if d.closed {
		duckdb.Disconnect(&c)
	} else {
		d.free = append(d.free, c)
	}
	d.mu.Unlock()
	d.giveBack()
	<-d.slots
}

// giveBack gives freed memory back to the kernel, but not too often.
func (d *DB) giveBack() {
	d.mu.Lock()
	due := time.Now().After(d.trimAt)
	if due {
		d.trimAt = time.Now().Add(trimEvery)
	}
	d.mu.Unlock()
	if due {
		trim()
	}
}

// Quote writes s as a literal of SQL.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Ident writes s as an identifier of SQL.
func Ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
