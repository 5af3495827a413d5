package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// startMariaDB makes a data folder with the user and the database shop, and starts a server on it.
func startMariaDB(l *lab.Lab, on string) error {
	dir := filepath.Join(l.Tmp, "mariadb")
	install := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s; hint: apt-get install mariadb-server", err, out)
	}
	start := filepath.Join(l.Tmp, "start.sql")
	statements := "create database shop;\ncreate user shop identified by '" + lab.Password + "';\ngrant all on shop.* to shop;\n"
	if err := os.WriteFile(start, []byte(statements), 0o600); err != nil {
		return err
	}
	_, err := l.Start(on, "ready for connections", "mariadbd", "--no-defaults", "--user=root", "--datadir="+dir, "--init-file="+start, "--bind-address=0.0.0.0",
		"--socket="+dir+"/socket", "--pid-file="+dir+"/pid", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=1")
	return err
}

func mysqlDSN(addr, options string) string {
	return "shop:" + lab.Password + "@tcp(" + addr + ")/shop?multiStatements=true&connectionAttributes=program_name:sample" + options
}

func makeMySQL(ctx context.Context, out string) error {
	l, err := lab.New("my", "", lab.At("client", "10.1.9.5"), lab.At("mariadb", "10.1.9.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := startMariaDB(l, "mariadb"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "mysql.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "mysql-client", "10.1.9.20:3306"); err != nil {
		return err
	}
	return r.Stop()
}

func mysqlClient(ctx context.Context, args []string) error {
	db, err := sql.Open("mysql", mysqlDSN(args[0], ""))
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, step := range []func(context.Context, *sql.Conn) error{mysqlText, mysqlPrepared, mysqlFile, mysqlErrors} {
		if err := step(ctx, conn); err != nil {
			return err
		}
	}
	if err := mysqlLocked(ctx, db); err != nil {
		return err
	}
	if err := mysqlCompressed(ctx, args[0]); err != nil {
		return err
	}
	host, port, _ := strings.Cut(args[0], ":")
	tool := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--host="+host, "--port="+port, "--user=shop", "--password="+lab.Password, "shop", "--execute=show tables; select count(*) from items")
	if text, err := tool.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb: %w: %s", err, text)
	}
	wrong, err := sql.Open("mysql", strings.Replace(mysqlDSN(args[0], ""), lab.Password, "wrong", 1))
	if err != nil {
		return err
	}
	defer wrong.Close()
	return wantMySQL(wrong.PingContext(ctx), 1045)
}

func mysqlText(ctx context.Context, c *sql.Conn) error {
	for _, q := range []string{
		"create table items (id int primary key auto_increment, name varchar(60) not null, price decimal(10,2), added datetime(6) default '2026-11-22 08:30:00.5', pic blob)",
		"insert into items (name, price) values ('tea pot', 19.99), ('cup', 4.50), ('bowl', null)",
		"update items set price = price + 1 where id < 3",
		"create procedure twice() begin select 1 as one; select 2 as two, 3 as three; end",
	} {
		if _, err := c.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	for _, q := range []string{"select id, name, price, added from items order by id", "select 1 as a; select id from items; select 3 as c", "call twice()", "select * from items where false"} {
		rows, err := c.QueryContext(ctx, q)
		if err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
		for more := true; more; more = rows.NextResultSet() {
			for rows.Next() {
			}
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	return c.PingContext(ctx)
}

func mysqlPrepared(ctx context.Context, c *sql.Conn) error {
	for id := 1; id <= 4; id++ { // prepared, executed and closed each time
		var name string
		if err := c.QueryRowContext(ctx, "select name from items where id = ?", id).Scan(&name); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	insert, err := c.PrepareContext(ctx, "insert into items (name, price, added, pic) values (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	for i := range 3 {
		if _, err := insert.ExecContext(ctx, fmt.Sprintf("spoon %d — süß", i), 1.25, time.Date(2026, 11, 22, 8, i, 0, 0, time.UTC), []byte{0, 1, 255}); err != nil {
			return err
		}
	}
	if err := insert.Close(); err != nil {
		return err
	}
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "delete from items where id = ?", 3); err != nil {
		return err
	}
	return tx.Commit()
}

func mysqlFile(ctx context.Context, c *sql.Conn) error {
	mysql.RegisterReaderHandler("items", func() io.Reader { return strings.NewReader("100\tcopied one\n101\tcopied two\n") })
	_, err := c.ExecContext(ctx, "load data local infile 'Reader::items' into table items (id, name)")
	return err
}

func wantMySQL(err error, number uint16) error {
	var e *mysql.MySQLError
	if errors.As(err, &e) && e.Number == number {
		return nil
	}
	return fmt.Errorf("want an error %d, got: %v", number, err)
}

func mysqlErrors(ctx context.Context, c *sql.Conn) error {
	for _, t := range []struct {
		sql    string
		number uint16
		args   []any
	}{
		{"select * from nowhere", 1146, nil},
		{"insert into items (id, name) values (?, ?)", 1062, []any{1, "twice"}},
		{"selec 1", 1064, nil},
		{"insert into items (name) values (null)", 1048, nil},
		{"select 1; select * from nowhere", 1146, nil},
	} {
		rows, err := c.QueryContext(ctx, t.sql, t.args...)
		if err == nil {
			for more := true; more; more = rows.NextResultSet() {
				for rows.Next() {
				}
			}
			err = rows.Err()
			rows.Close()
		}
		if err := wantMySQL(err, t.number); err != nil {
			return fmt.Errorf("%s: %w", t.sql, err)
		}
	}
	return nil
}

// mysqlLocked waits for a row that another transaction has changed.
func mysqlLocked(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "update items set price = 1 where id = 1"); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "update items set price = 2 where id = 1")
	return wantMySQL(err, 1205)
}

func mysqlCompressed(ctx context.Context, addr string) error {
	db, err := sql.Open("mysql", mysqlDSN(addr, "&compress=true"))
	if err != nil {
		return err
	}
	defer db.Close()
	for range 2 {
		var text string
		if err := db.QueryRowContext(ctx, "select repeat('a text that compresses well, ', 200)").Scan(&text); err != nil || len(text) != 5800 {
			return fmt.Errorf("%d bytes instead of 5800: %w", len(text), err)
		}
	}
	_, err = db.ExecContext(ctx, "insert into items (name) values ('"+strings.Repeat("n", 60)+"'), ('"+strings.Repeat("m", 60)+"')")
	return err
}
