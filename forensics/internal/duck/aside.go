package duck

import (
	"context"
	"errors"
	"fmt"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// maxAsides is how many connections may keep tables of their own at once.
const maxAsides = 8

// Aside is the same database over one connection of the same kind, which may keep answers
// in memory: see Keep. It is for one goroutine, reads one answer at a time and must be
// ended. Where too many are open it waits for one to end.
func (d *DB) Aside(ctx context.Context) (*DB, error) {
	select {
	case d.asides <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := d.own()
	if err != nil {
		<-d.asides
		return nil, err
	}
	a := &DB{database: d.database, begin: d.begin, only: make(chan duckdb.Connection, 1)}
	a.only <- c
	return a, nil
}

// own opens a connection that is not one of those kept for the next answer.
func (d *DB) own() (duckdb.Connection, error) {
	c, err := d.connect()
	if err == nil {
		err = d.prepare(&c)
	}
	return c, err
}

func (d *DB) connect() (c duckdb.Connection, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return c, errors.New("the database is closed")
	}
	if duckdb.Connect(d.db, &c) == duckdb.StateError {
		return c, errors.New("connecting to the database")
	}
	return c, nil
}

// wait gives the only connection when nobody reads from it.
func (d *DB) wait(ctx context.Context) (c duckdb.Connection, err error) {
	select {
	case c, open := <-d.only:
		if !open {
			return c, errors.New("the connection was ended")
		}
		return c, nil
	case <-ctx.Done():
		return c, ctx.Err()
	}
}

// Keep computes a query that Gate has passed and keeps its rows under a name that only
// this connection knows, until it is ended. They count to the memory limit.
func (d *DB) Keep(ctx context.Context, name, sql string, args ...any) error {
	if d.only == nil {
		return errors.New("keeping an answer: not a connection of its own")
	}
	if !plain(name) {
		return fmt.Errorf("keeping an answer: name %q, want letters, digits and _", name)
	}
	rows, err := d.run(ctx, "CREATE TEMP TABLE "+Ident(name)+" AS "+sql, args, true)
	if err != nil {
		return err
	}
	for rows.next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// End closes a connection that Aside opened; what it kept is gone.
func (d *DB) End() {
	if d.only == nil {
		return
	}
	c := <-d.only
	close(d.only)
	duckdb.Disconnect(&c)
	d.giveBack()
	<-d.asides
}
