// Package engine is DuckDB in the worker process: it opens one database, runs the queries that
// arrive as frames, and streams their rows back.
//
// It is the only package that imports DuckDB. It uses the C interface of the bindings instead of
// database/sql, because only that streams results, so that memory stays bounded for any number of
// rows. It does not decide what is allowed: queries were checked before, and the kernel (see
// confine) and the statements that lock the database limit what they can reach.
package engine

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// database is DuckDB and its connections.
type database struct {
	db    duckdb.Database
	masks atomic.Pointer[masks] // masks of views; nil until the program has sent them

	mu     sync.Mutex
	kinds  []*kindOf
	own    map[uint64]*own // connections that only some queries use
	trimAt time.Time       // earliest time to return freed memory again

	making sync.Mutex      // held while views are made
	made   map[string]bool // views of the first kind, which all connections have
}

// own is a connection for one user, who may have temporary tables in it.
type own struct {
	*session
	turns chan struct{} // holds one token while the connection is free
}

// openDatabase makes an empty in-memory database that loads no extensions and writes only temporary
// files, if allowed.
func openDatabase(o *wire.Settings) (*database, error) {
	var cfg duckdb.Config
	if duckdb.CreateConfig(&cfg) == duckdb.StateError {
		return nil, errors.New("no configuration")
	}
	defer duckdb.DestroyConfig(&cfg)
	set := [][2]string{
		{"duckdb_api", "pcapsule"}, {"autoinstall_known_extensions", "false"}, {"autoload_known_extensions", "false"},
		{"allow_community_extensions", "false"}, {"allow_persistent_secrets", "false"}, {"temp_directory", o.Temp},
		{"errors_as_json", "false"},
		// The kernel already caches the files; a second copy would only use up the limit.
		{"enable_external_file_cache", "false"},
		// Return freed memory soon, not only when the limit is reached.
		{"allocator_background_threads", "true"}, {"allocator_flush_threshold", "8MiB"}, {"allocator_bulk_deallocation_flush_threshold", "16MiB"},
	}
	if o.Memory > 0 {
		set = append(set, [2]string{"memory_limit", strconv.FormatInt(o.Memory, 10) + "B"})
	}
	if o.Threads > 0 {
		set = append(set, [2]string{"threads", strconv.Itoa(o.Threads)})
	}
	for _, kv := range set {
		if duckdb.SetConfig(cfg, kv[0], kv[1]) == duckdb.StateError {
			return nil, fmt.Errorf("option %s=%s refused", kv[0], kv[1])
		}
	}
	d := &database{kinds: []*kindOf{{views: map[string]string{}}}, own: map[uint64]*own{}, made: map[string]bool{}}
	var msg string
	if duckdb.OpenExt("", &d.db, cfg, &msg) == duckdb.StateError {
		return nil, errors.New(msg)
	}
	// Cache parsed footers. Without GLOBAL the setting applies only to this connection.
	// Days and hours are UTC on every machine.
	settle := []string{"SET GLOBAL TimeZone='UTC'", "SET GLOBAL parquet_metadata_cache=true"}
	if o.Temp != "" {
		// As an open option it would be shown but not enforced.
		settle = append(settle, "SET max_temp_directory_size='"+strconv.FormatInt(o.MaxTemp, 10)+"B'")
	}
	c, err := d.acquire(0)
	if err != nil {
		return nil, err
	}
	defer d.release(0, c)
	if err := d.addMask(c.conn); err != nil {
		return nil, err
	}
	return d, each(c.conn, settle)
}

// each runs statements.
func each(c duckdb.Connection, list []string) error {
	for _, sql := range list {
		var r duckdb.Result
		state := duckdb.Query(c, sql, &r)
		msg := ""
		if state == duckdb.StateError {
			msg = duckdb.ResultError(&r)
		}
		duckdb.DestroyResult(&r)
		if state == duckdb.StateError {
			return said(msg)
		}
	}
	return nil
}

// acquire returns a free connection of a kind, or a new one.
func (d *database) acquire(kind int) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind < 0 || kind >= len(d.kinds) {
		return nil, fmt.Errorf("connection of kind %d of %d", kind, len(d.kinds))
	}
	k := d.kinds[kind]
	if n := len(k.free); n > 0 {
		s := k.free[n-1]
		k.free = k.free[:n-1]
		return s, nil
	}
	s := &session{made: map[string]bool{}}
	if duckdb.Connect(d.db, &s.conn) == duckdb.StateError {
		return nil, errors.New("connecting to the database")
	}
	return s, nil
}

// release returns a connection for the next query of its kind.
func (d *database) release(kind int, s *session) {
	d.mu.Lock()
	d.kinds[kind].free = append(d.kinds[kind].free, s)
	due := time.Now().After(d.trimAt)
	if due {
		d.trimAt = time.Now().Add(trimEvery)
	}
	d.mu.Unlock()
	if due {
		trim()
	}
}

// takeOwn waits for the connection with a number; the first query with that number opens it.
func (d *database) takeOwn(kind int, number uint64, stop <-chan struct{}) (s *session, give func(), err error) {
	d.mu.Lock()
	o := d.own[number]
	d.mu.Unlock()
	if o == nil {
		if s, err = d.acquire(kind); err != nil {
			return nil, nil, err
		}
		// The rows of temporary tables need no order, and so all threads insert them.
		if err = each(s.conn, []string{"SET SESSION preserve_insertion_order=false"}); err != nil {
			duckdb.Disconnect(&s.conn)
			return nil, nil, err
		}
		o = &own{session: s, turns: make(chan struct{}, 1)}
		o.turns <- struct{}{}
		d.mu.Lock()
		d.own[number] = o
		d.mu.Unlock()
	}
	select {
	case _, open := <-o.turns:
		if !open {
			return nil, nil, errors.New("the connection was ended")
		}
		return o.session, func() { o.turns <- struct{}{} }, nil
	case <-stop:
		return nil, nil, errStopped
	}
}

// forget closes a user's own connection, with its temporary tables, as soon as it is free.
func (d *database) forget(number uint64) {
	d.mu.Lock()
	o := d.own[number]
	delete(d.own, number)
	d.mu.Unlock()
	if o == nil {
		return
	}
	<-o.turns
	close(o.turns)
	duckdb.Disconnect(&o.conn)
	trim()
}
