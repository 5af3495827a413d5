package duckdbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest/message"
)

// Open opens an empty database in memory, until the test ends.
func Open(t testing.TB) *sql.DB {
	t.Helper()
	client, err := reader()
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(&database{client: client, number: int(opened.Add(1))})
	t.Cleanup(func() { db.Close() })
	return db
}

// opened counts databases.
var opened atomic.Int64

// reader is the process that all databases of a test program share. It ends with the test program.
var reader = sync.OnceValues(func() (*rpc.Client, error) {
	path, err := Program()
	if err != nil {
		return nil, err
	}
	message.RegisterTypes()
	c := exec.Command(path, message.Argument)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting the reader of bundles: %w", err)
	}
	return rpc.NewClient(pipe{out, in}), nil
})

type pipe struct {
	io.Reader
	io.WriteCloser
}

// database is a driver and its only kind of connections: the process has the real ones.
type database struct {
	client *rpc.Client
	number int
}

func (d *database) Connect(context.Context) (driver.Conn, error) { return conn{d}, nil }
func (d *database) Driver() driver.Driver                        { return d }
func (d *database) Open(string) (driver.Conn, error)             { return conn{d}, nil }
func (d *database) Close() error                                 { return d.client.Call("Database.Close", d.number, &struct{}{}) }

type conn struct{ d *database }

func (conn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("statements are not prepared")
}
func (conn) Begin() (driver.Tx, error) { return nil, errors.New("there are no transactions") }
func (conn) Close() error              { return nil }

// CheckNamedValue also accepts lists, which are no driver.Value.
func (conn) CheckNamedValue(v *driver.NamedValue) (err error) {
	switch v.Value.(type) {
	case []int64, []string:
		return nil
	}
	v.Value, err = driver.DefaultParameterConverter.ConvertValue(v.Value)
	return err
}

func (c conn) call(query string, args []driver.NamedValue, rows bool) (*message.Answer, error) {
	q := message.Query{Database: c.d.number, SQL: query, Rows: rows}
	for _, a := range args {
		q.Args = append(q.Args, a.Value)
	}
	var a message.Answer
	return &a, c.d.client.Call("Database.Query", q, &a)
}

func (c conn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	a, err := c.call(query, args, false)
	return driver.RowsAffected(a.Affected), err
}

func (c conn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	a, err := c.call(query, args, true)
	return &rows{a}, err
}

type rows struct{ *message.Answer }

func (r *rows) Columns() []string { return r.Answer.Columns }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(to []driver.Value) error {
	if len(r.Rows) == 0 {
		return io.EOF
	}
	for i, v := range r.Rows[0] {
		plain, err := message.Plain(v)
		if err != nil {
			return err
		}
		to[i] = plain
	}
	r.Rows = r.Rows[1:]
	return nil
}
