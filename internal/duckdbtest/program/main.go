// Command program is the only program with DuckDB that tests start: the worker of their cases and, by
// duckdb-go, the reader of package duckdbtest. The reader has no code of ours between the files and the rows.
package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"sync"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/pcapsule/pcapsule/forensics/worker"
	"github.com/pcapsule/pcapsule/internal/duckdbtest/message"
)

func main() {
	worker.Main()
	if len(os.Args) != 2 || os.Args[1] != message.Argument {
		fmt.Fprintln(os.Stderr, "only tests start this program")
		os.Exit(2)
	}
	message.RegisterTypes()
	s := rpc.NewServer()
	if err := s.RegisterName("Database", &databases{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.ServeConn(pipe{os.Stdin, os.Stdout}) // until the test ends
}

type pipe struct {
	io.Reader
	io.Writer
}

func (pipe) Close() error { return nil }

// databases are in memory, by number.
type databases struct {
	mu   sync.Mutex
	open map[int]*sql.DB
}

func (d *databases) of(number int) (*sql.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if db := d.open[number]; db != nil {
		return db, nil
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, err
	}
	if d.open == nil {
		d.open = map[int]*sql.DB{}
	}
	d.open[number] = db
	return db, nil
}

// Query answers a query.
func (d *databases) Query(q message.Query, a *message.Answer) error {
	db, err := d.of(q.Database)
	if err != nil {
		return err
	}
	if !q.Rows {
		r, err := db.Exec(q.SQL, q.Args...)
		if err == nil {
			a.Affected, err = r.RowsAffected()
		}
		return err
	}
	rows, err := db.Query(q.SQL, q.Args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if a.Columns, err = rows.Columns(); err != nil {
		return err
	}
	for rows.Next() {
		row := make([]any, len(a.Columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range row {
			if row[i], err = message.Plain(row[i]); err != nil {
				return fmt.Errorf("column %s: %w", a.Columns[i], err)
			}
		}
		a.Rows = append(a.Rows, row)
	}
	return rows.Err()
}

// Close closes a database.
func (d *databases) Close(number int, _ *struct{}) error {
	d.mu.Lock()
	db := d.open[number]
	delete(d.open, number)
	d.mu.Unlock()
	if db == nil {
		return nil
	}
	return db.Close()
}
