package duck

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pcapsule/pcapsule/internal/quote"
)

// maxAsides is how many connections may keep tables of their own at once.
const maxAsides = 8

// aside is one connection of one worker.
type aside struct {
	w      *process
	number uint64
	turn   chan struct{} // holds 1 while no answer is read from it
	end    sync.Once
}

// Aside is the same database over one connection of the same kind, which may keep answers in
// memory: see Keep. It is for one goroutine, reads one answer at a time and must be ended. Where
// too many are open it waits for one to end. What it kept is lost if its worker crashes, regardless
// of the cause, and all later queries fail.
func (d *DB) Aside(ctx context.Context) (*DB, error) {
	if d.ready != nil { // the worker gets its settings before the connection
		if err := d.ready(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case d.database.aside <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w, err := d.pool.acquire(ctx, false)
	if err != nil {
		<-d.database.aside
		return nil, err
	}
	a := &aside{w: w, number: w.newNumber(), turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return &DB{database: d.database, kind: d.kind, aside: a}, nil
}

// acquire waits until the connection is free.
func (a *aside) acquire(ctx context.Context) error {
	select {
	case _, open := <-a.turn:
		if !open {
			return errors.New("the connection was ended")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Keep computes a query that Gate has passed and keeps its rows under a name that only
// this connection knows, until it is ended. They count to the memory limit.
func (d *DB) Keep(ctx context.Context, name, sql string, args ...any) error {
	if d.aside == nil {
		return errors.New("keeping an answer: not a connection of its own")
	}
	if !plain(name) {
		return fmt.Errorf("keeping an answer: name %q, must be letters, digits and _", name)
	}
	rows, err := d.run(ctx, "CREATE TEMP TABLE "+quote.Ident(name)+" AS "+sql, args, true)
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// End closes a connection that Aside opened, with its temporary tables.
func (d *DB) End() {
	a := d.aside
	if a == nil {
		return
	}
	a.end.Do(func() {
		<-a.turn
		close(a.turn)
		a.w.forget(a.number)
		d.pool.release(a.w)
		<-d.database.aside
	})
}
