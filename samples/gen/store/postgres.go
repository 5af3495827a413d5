package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// StartPostgres makes a cluster with SCRAM passwords and starts it with options as the user postgres.
func StartPostgres(l *lab.Lab, ctx context.Context, on string, options ...string) error {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return errors.New("no PostgreSQL in /usr/lib/postgresql; hint: apt-get install postgresql")
	}
	bin := bins[len(bins)-1]
	who, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	dir := filepath.Join(l.Tmp, "pg")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	pwfile := filepath.Join(dir, "password")
	if err := os.WriteFile(pwfile, []byte(lab.Password+"\n"), 0o600); err != nil {
		return err
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		return err
	}
	for _, p := range []string{dir, pwfile} {
		if err := os.Chown(p, uid, gid); err != nil {
			return err
		}
	}
	as := []string{"setpriv", "--reuid", who.Uid, "--regid", who.Gid, "--clear-groups"}
	initdb := append(as[1:len(as):len(as)], filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "shop", "--pwfile", pwfile, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	cmd := exec.CommandContext(ctx, as[0], initdb...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	hba := filepath.Join(dir, "data/pg_hba.conf")
	if err := os.WriteFile(hba, []byte("host all all 0.0.0.0/0 scram-sha-256\n"), 0o600); err != nil {
		return err
	}
	_, err = l.Start(on, "ready to accept connections", slices.Concat(as, []string{filepath.Join(bin, "postgres"), "-D", dir + "/data",
		"-c", "listen_addresses=*", "-c", "unix_socket_directories=" + dir, "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=30"}, options)...)
	return err
}

func PgURL(host string) string {
	return "postgres://shop:" + lab.Password + "@" + host + ":5432/postgres?sslmode=disable&application_name=sample"
}

func makePostgres(ctx context.Context, out string) error {
	l, err := lab.New("pg", "", lab.At("client", "10.1.7.5"), lab.At("postgres", "10.1.7.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := StartPostgres(l, ctx, "postgres"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "postgresql.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "pg-client", "10.1.7.20"); err != nil {
		return err
	}
	return r.Stop()
}

func pgClient(ctx context.Context, args []string) error {
	url := PgURL(args[0])
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, step := range []func(context.Context, *pgx.Conn) error{pgSimple, pgExtended, pgCopy, pgErrors, pgCancel} {
		if err := step(ctx, conn); err != nil {
			return err
		}
	}
	wrong := strings.Replace(url, lab.Password, "wrong", 1)
	if c, err := pgx.Connect(ctx, wrong); err == nil {
		c.Close(ctx)
		return errors.New("a wrong password was taken")
	}
	// A client that prefers TLS: the server answers N, the client continues without.
	prefer, err := pgx.Connect(ctx, strings.Replace(url, "sslmode=disable", "sslmode=prefer", 1))
	if err != nil {
		return err
	}
	defer prefer.Close(ctx)
	return pgListen(ctx, conn, prefer)
}

func pgSimple(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{
		"create table items (id int primary key, name text not null, price numeric(10,2), added timestamptz default now(), pic bytea)",
		"insert into items (id, name, price) values (1, 'tea pot', 19.99), (2, 'cup', 4.50), (3, 'bowl', null)",
		"select id, name, price from items order by id; select count(*) from items",
		"begin; update items set price = price * 1.1 where id = 2; rollback",
		"",
		"select * from items where false",
	} {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}

func pgExtended(ctx context.Context, conn *pgx.Conn) error {
	for id := 1; id <= 4; id++ {
		var name string
		err := conn.QueryRow(ctx, "select name from items where id = $1", id).Scan(&name)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	if _, err := conn.Exec(ctx, "insert into items (id, name, price, pic) values ($1, $2, $3, $4)", 4, "spoon — süß", 1.25, []byte{0, 1, 255}); err != nil {
		return err
	}
	// All statements of a batch are sent before the first response.
	b := &pgx.Batch{}
	for id := 1; id <= 5; id++ {
		b.Queue("update items set price = $2 where id = $1", id, id*2)
	}
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "delete from items where id = $1", 3); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func pgCopy(ctx context.Context, conn *pgx.Conn) error {
	in := pgx.CopyFromSlice(50, func(i int) ([]any, error) { return []any{100 + i, fmt.Sprintf("copied %d", i)}, nil })
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, in); err != nil {
		return err
	}
	if _, err := conn.PgConn().CopyTo(ctx, io.Discard, "copy items (id, name) to stdout with (format csv)"); err != nil {
		return err
	}
	_, err := conn.PgConn().CopyFrom(ctx, strings.NewReader("7\tnot a number of columns\tthree\n"), "copy items (id, name) from stdin")
	return wantState(err, "22P04")
}

func wantState(err error, state string) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == state {
		return nil
	}
	return fmt.Errorf("want an error %s, got: %v", state, err)
}

func pgErrors(ctx context.Context, conn *pgx.Conn) error {
	for _, t := range []struct {
		sql, state string
		args       []any
	}{
		{"select * from nowhere", "42P01", nil},
		{"insert into items (id, name) values ($1, $2)", "23505", []any{1, "twice"}},
		{"select 1 / $1::int", "22012", []any{0}},
		{"selec 1", "42601", nil},
	} {
		_, err := conn.Exec(ctx, t.sql, t.args...)
		if err := wantState(err, t.state); err != nil {
			return fmt.Errorf("%s: %w", t.sql, err)
		}
	}
	_, err := conn.PgConn().Exec(ctx, "do $$ begin raise notice 'a notice from the server'; end $$").ReadAll()
	return err
}

// pgCancel cancels a statement over a second connection, as psql does on Ctrl-C.
func pgCancel(ctx context.Context, conn *pgx.Conn) error {
	time.AfterFunc(100*time.Millisecond, func() { conn.PgConn().CancelRequest(ctx) })
	_, err := conn.Exec(ctx, "select pg_sleep(5)")
	return wantState(err, "57014")
}

func pgListen(ctx context.Context, a, b *pgx.Conn) error {
	if _, err := a.Exec(ctx, "listen stock"); err != nil {
		return err
	}
	if _, err := b.Exec(ctx, "select pg_notify('stock', 'item 1 is low')"); err != nil {
		return err
	}
	if _, err := a.WaitForNotification(ctx); err != nil {
		return err
	}
	// An unfinished start-up: the client connects and closes without sending data.
	c, err := net.Dial("tcp", net.JoinHostPort(a.Config().Host, "5432"))
	if err != nil {
		return err
	}
	return c.Close()
}
