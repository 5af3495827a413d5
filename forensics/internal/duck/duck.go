// Package duck runs DuckDB for forensics. DuckDB runs in worker processes of the same program, on a
// case's Parquet files, confined so that a query can only read them: a crash, exhausted memory or an
// endless query is an error of one query.
//
// Gate rejects every text that is not exactly one query over the given tables. Values are plain Go. The
// answers of workers are treated as untrusted.
package duck

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// maxAnswers is the highest number of answers that are read in parallel.
const maxAnswers = 16

// Options of a database.
type Options struct {
	MemoryLimit int64    // bytes for one worker; a query that needs more fails or uses TempDir
	Threads     int      // 0 means one per processor, but no more than MemoryLimit has room for
	TempDir     string   // private folder for temporary files; empty: none are written
	MaxTemp     int64    // bytes that one worker may write there; 0 means 8 GiB
	Ceiling     int64    // total memory of all workers above which a query is ended; 0: twice MemoryLimit
	Guard       *Guard   // shared with other databases; nil: one of its own, with Ceiling
	Dirs        []string // folders with the files that may be read
}

// leastCeiling is the memory for plans and footers in addition to a small MemoryLimit.
const leastCeiling = 512 << 20

// threadMemory is what a thread needs to sort rows with the columns of all protocols, however few rows there are.
const threadMemory = 192 << 20

func (o *Options) fill() {
	if o.MaxTemp <= 0 {
		o.MaxTemp = 8 << 30
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = 1 << 30
	}
	if o.Threads <= 0 {
		o.Threads = max(1, min(runtime.GOMAXPROCS(0), int(o.MemoryLimit/threadMemory)))
	}
	if o.Ceiling <= 0 {
		o.Ceiling = o.MemoryLimit + max(o.MemoryLimit, leastCeiling)
	}
	if o.Guard == nil {
		o.Guard = NewGuard(o.Ceiling)
	}
}

// DB is a database with connections of one kind. It is safe for concurrent use.
type DB struct {
	*database
	kind  int                         // of its connections
	alone bool                        // its queries have a worker of their own
	asked bool                        // the text of its queries is a user's, see Asked
	hides []string                    // names of views that its queries define themselves, see Hiding
	aside *aside                      // of a DB that Aside made
	ready func(context.Context) error // is called before each query; may be nil
}

// database is the state that all kinds of connections share.
type database struct {
	o     Options
	pool  *pool
	slots chan struct{}
	aside chan struct{}

	mu     sync.Mutex
	locked bool
	check  func(context.Context) error // see Check
}

// Launched is a worker that starts while its caller still finds out what it may read.
type Launched struct {
	o Options
	w *process
}

// Launch starts a worker for Open. Options.Dirs are not needed yet.
func Launch(o Options) (*Launched, error) {
	o.fill()
	w, err := launch(&o)
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	return &Launched{o, w}, nil
}

// Close ends a worker that no database was opened with.
func (l *Launched) Close() { l.w.leave() }

// Open opens an empty in-memory database that loads no extensions, reads only files in dirs, and writes only
// temporary files, if allowed. It uses one thread if single is set. It takes the worker also if it fails.
func (l *Launched) Open(ctx context.Context, dirs []string, single bool) (*DB, error) {
	o := l.o
	if single {
		o.Threads = 1
	}
	o.Dirs = dirs
	d := &DB{database: &database{o: o, slots: make(chan struct{}, maxAnswers), aside: make(chan struct{}, maxAsides)}}
	d.pool = newPool(o)
	d.pool.launched = l.w
	w, err := d.pool.acquire(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", errors.Join(err, d.Close()))
	}
	d.pool.release(w)
	return d, nil
}

// Open is Launch and then Launched.Open with Options.Dirs.
func Open(ctx context.Context, o Options) (*DB, error) {
	l, err := Launch(o)
	if err != nil {
		return nil, err
	}
	return l.Open(ctx, o.Dirs, false)
}

// View is a view that a worker makes when a query first names it, because DuckDB binds all columns of a
// view to make it. An error in SQL is the error of that query.
type View struct {
	Name string // without its schema
	SQL  string // the statement that makes it
}

// Define adds views for all connections.
func (d *DB) Define(list ...View) {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	d.pool.define(0, list)
}

// With returns the same database with connections of another kind, which have views of their own in schema
// temp. These hide views of the same name; connections of d do not see them. It is closed with d.
func (d *DB) With(list []View) *DB {
	return &DB{database: d.database, kind: d.pool.addKind(list), alone: d.alone, asked: d.asked}
}

// Hiding returns the same database for queries whose first WITH defines these names, so that views of the
// same name are not made.
func (d *DB) Hiding(names ...string) *DB {
	one := *d
	one.hides = names
	return &one
}

// Like returns the same database with connections of the kind of one that With returned.
func (d *DB) Like(kind *DB) *DB {
	one := *d
	one.kind = kind.kind
	return &one
}

// Asked returns the same database for queries whose text or conditions a user wrote: a value that
// their arithmetic cannot hold is a RangeError. In queries that the program made itself, no value of
// an undamaged table is out of range, so there it is ErrDamaged.
func (d *DB) Asked() *DB {
	one := *d
	one.asked = true
	return &one
}

// Alone returns the same database for queries that may crash a worker, fill its memory or not end: none
// of them shares a worker with another query. They are a user's, see Asked.
func (d *DB) Alone() *DB {
	one := *d
	one.alone, one.asked = true, true
	return &one
}

// Before returns the same database with a function that runs before every query, such as one that calls
// Mask. Its error is returned for the query.
func (d *DB) Before(ready func(context.Context) error) *DB {
	one := *d
	one.ready = ready
	return &one
}

// Check sets what finds a file that is not as the case states, so that a query cannot be planned although its text is right:
// its error replaces that of the query. check may query too.
func (d *DB) Check(check func(context.Context) error) { d.check = check }

// checking marks the queries of Check.
type checking struct{}

// Mask sets, once, the masks of redact.Function for all later queries; until then queries that need
// it fail. The policy is YAML; the values are secret everywhere.
func (d *DB) Mask(policy []byte, values []string) {
	d.pool.setMasks(&wire.Masks{Policy: string(policy), Values: values})
}

// Exec runs a set-up statement in this worker and in every later one. After Lock it fails.
func (d *DB) Exec(ctx context.Context, sql string) error {
	if d.isLocked() {
		return errors.New("running a set-up statement: the database is locked")
	}
	w, err := d.pool.acquire(ctx, false)
	if err != nil {
		return err
	}
	defer d.pool.release(w)
	if err := w.exec(ctx, sql); err != nil {
		return err
	}
	d.pool.keep(sql)
	return nil
}

func (d *DB) isLocked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locked
}

// Lock permanently blocks access to everything except the files below Dirs, and changes of the
// configuration.
//
// The order matters: allowed_directories can only be set while external access is on. The lock does
// not keep COPY from writing below the folders; Gate does, and the kernel if it has Landlock.
func (d *DB) Lock(ctx context.Context) error {
	quoted := make([]string, len(d.o.Dirs))
	for i, dir := range d.o.Dirs {
		quoted[i] = quote.SQL(dir)
	}
	for _, sql := range []string{
		"SET allowed_directories=[" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access=false",
		"SET allowed_configs=['preserve_insertion_order']", // connections of one user set it; Gate refuses SET
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

// Close closes the database. Open Rows keep their worker alive until they are closed.
func (d *DB) Close() error { return d.pool.close() }
