// Package duck asks DuckDB for forensics. DuckDB runs in worker processes of the same
// program, over a case's Parquet files, confined so that a question can read them and do
// nothing else: what crashes it, fills its memory or does not end is one question's error.
//
// Gate refuses every text that is not one query over the tables it is given. Values come
// out as plain Go. The workers' answers are checked as a stranger's are.
package duck

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// maxAnswers is how many answers may be read at once.
const maxAnswers = 16

// Options of a database.
type Options struct {
	MemoryLimit int64    // bytes for one worker; what a query needs above it is an error, or goes to TempDir
	Threads     int      // 0 means one per processor
	TempDir     string   // private folder for what does not fit; empty: nothing is written
	MaxTemp     int64    // bytes that one worker writes there; 0 means 8 GiB
	Ceiling     int64    // bytes of all workers together above which a query is ended; 0: twice MemoryLimit
	Dirs        []string // folders with the files that may be read
}

// leastCeiling is what plans and footers may take beside a small MemoryLimit.
const leastCeiling = 512 << 20

func (o *Options) fill() {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.MaxTemp <= 0 {
		o.MaxTemp = 8 << 30
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = 1 << 30
	}
	if o.Ceiling <= 0 {
		o.Ceiling = o.MemoryLimit + max(o.MemoryLimit, leastCeiling)
	}
}

// DB is a database as connections of one kind see it. Its methods may be called from
// several goroutines.
type DB struct {
	*database
	kind  int                         // of its connections
	alone bool                        // its queries share a worker with nobody's
	aside *aside                      // of a DB that Aside made
	ready func(context.Context) error // is called before each query; may be nil
}

// database is what all kinds of connections share.
type database struct {
	o     Options
	pool  *pool
	slots chan struct{}
	aside chan struct{}

	mu     sync.Mutex
	locked bool
}

// Open starts a worker with an empty in-memory database that loads no extensions and
// writes nothing but, where asked, temporary files.
func Open(ctx context.Context, o Options) (*DB, error) {
	o.fill()
	d := &DB{database: &database{o: o, slots: make(chan struct{}, maxAnswers), aside: make(chan struct{}, maxAsides)}}
	d.pool = newPool(o)
	w, err := d.pool.take(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", errors.Join(err, d.Close()))
	}
	d.pool.give(w)
	return d, nil
}

// With is the same database over connections of another kind: each begins with the
// statements, such as views in the schema temp, which hide those of the same name that
// all connections see. No connection of d sees what they make. It is closed with d.
func (d *DB) With(begin []string) *DB {
	return &DB{database: d.database, kind: d.pool.addKind(begin), alone: d.alone}
}

// Alone is the same database for queries that may crash a worker, fill its memory or not
// end: none of them shares a worker with a query of anybody else.
func (d *DB) Alone() *DB {
	one := *d
	one.alone = true
	return &one
}

// Before is the same database with a function that every query waits for, such as one that
// calls Mask. An error of it is the query's.
func (d *DB) Before(ready func(context.Context) error) *DB {
	one := *d
	one.ready = ready
	return &one
}

// Mask says once what redact.Function masks in all queries that begin later; until then
// queries that need it fail. The policy is YAML, the values are secret wherever they are.
func (d *DB) Mask(policy []byte, values []string) {
	d.pool.setMasks(&wire.Masks{Policy: string(policy), Values: values})
}

// Exec runs a statement that sets the database up, in this worker and in every later one.
// After Lock it refuses.
func (d *DB) Exec(ctx context.Context, sql string) error {
	if d.isLocked() {
		return errors.New("running a set-up statement: the database is locked")
	}
	w, err := d.pool.take(ctx, false)
	if err != nil {
		return err
	}
	defer d.pool.give(w)
	if err := w.exec(ctx, sql); err != nil {
		return err
	}
	d.pool.keep(w, sql)
	return nil
}

func (d *DB) isLocked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locked
}

// Lock shuts everything but the files below Dirs, and the configuration, for ever.
//
// The order matters: allowed_directories can only be set while external access is on.
// The lock does not keep COPY from writing below the folders; Gate does, and the kernel
// where it has Landlock.
func (d *DB) Lock(ctx context.Context) error {
	quoted := make([]string, len(d.o.Dirs))
	for i, dir := range d.o.Dirs {
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

// Close ends the database. Rows that are still open keep their worker alive until they are
// closed.
func (d *DB) Close() error { return d.pool.close() }

// Quote writes s as a literal of SQL.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Ident writes s as an identifier of SQL.
func Ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
