package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgres starts a real server in a pod, from a copy of a database cluster.
func (s *shop) postgres(role string) error {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return errors.New("no PostgreSQL in /usr/lib/postgresql; hint: apt-get install postgresql")
	}
	bin := bins[len(bins)-1]
	who, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	as := []string{"setpriv", "--reuid", who.Uid, "--regid", who.Gid, "--clear-groups"}
	home := filepath.Join(s.lab.tmp, "pg")
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		if err := os.Chown(home, uid, gid); err != nil {
			return err
		}
		list := [][]string{append(as, filepath.Join(bin, "initdb"), "-D", home+"/first", "-U", "shop", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")}
		if err := stepsIn(home, list); err != nil {
			return err
		}
	}
	dir := filepath.Join(home, role)
	if err := stepsIn(home, [][]string{append(as, "cp", "-a", home+"/first", dir)}); err != nil {
		return err
	}
	// The intruder must send a password, in plain text.
	hba := "host all " + s.sc.text("db_user") + " 0.0.0.0/0 password\nhost all all 0.0.0.0/0 trust\n"
	if err := os.WriteFile(dir+"/pg_hba.conf", []byte(hba), 0o600); err != nil {
		return err
	}
	return s.pod(role).start("ready to accept connections", append(as, filepath.Join(bin, "postgres"), "-D", dir, "-c", "listen_addresses=*",
		"-c", "unix_socket_directories="+dir, "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "autovacuum=off", "-c", "jit=off")...)
}

func stepsIn(dir string, list [][]string) error {
	for _, s := range list {
		cmd := exec.Command(s[0], s[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(s, " "), err, out)
		}
	}
	return nil
}

const poolSize = 4 // connections of a workload to one database

// database is a workload's connections to one server: at most size at once.
type database struct {
	p    *pod
	role string
	user string
	pass string
	free chan *pgx.Conn
	left chan struct{}
}

func (p *pod) db(role string) *database {
	p.shop.log.mu.Lock()
	defer p.shop.log.mu.Unlock()
	d := p.dbs[role]
	if d == nil {
		d = &database{p: p, role: role, user: "shop", free: make(chan *pgx.Conn, poolSize), left: make(chan struct{}, poolSize)}
		for range poolSize {
			d.left <- struct{}{}
		}
		p.dbs[role] = d
	}
	return d
}

func (p *pod) closeData() {
	for _, d := range p.dbs {
		for len(d.free) > 0 {
			c := <-d.free
			c.Close(context.Background())
			d.left <- struct{}{}
		}
	}
	if p.cache != nil {
		p.cache.close()
	}
}

// pgTrace logs the statements of a connection.
type pgTrace struct {
	d    *database
	addr [2]string
}

type pgEntry struct{}

func (t *pgTrace) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	e := t.d.p.shop.log.begin(t.d.p, "postgresql")
	verb, _, _ := strings.Cut(data.SQL, " ")
	e.Method, e.Path, e.ClientAddr, e.ServerAddr = strings.ToUpper(verb), data.SQL, t.addr[0], t.addr[1]
	e.request = fmt.Sprint(data.SQL, " ", data.Args)
	if c, ok := ctx.Value(correlationKey{}).(correlation); ok {
		e.reply = c.requestID // known to the service, but not on the wire
	}
	return context.WithValue(ctx, pgEntry{}, e)
}

func (t *pgTrace) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	e := ctx.Value(pgEntry{}).(*Entry)
	e.reply = data.CommandTag.String()
	var pg *pgconn.PgError
	if errors.As(data.Err, &pg) {
		e.Error = pg.Code
	}
	t.d.p.shop.log.end(t.d.p.shop, e)
}

// connect opens a new connection.
func (d *database) connect(ctx context.Context) (*pgx.Conn, error) {
	s := d.p.shop
	svc := s.sc.service(d.role)
	conf, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s:%s@%s.%s:%d/postgres?sslmode=disable&application_name=%s", d.user, d.pass, svc.Name, s.sc.ns(svc.Namespace), svc.Port, d.p.svc.Name))
	if err != nil {
		return nil, err
	}
	t := &pgTrace{d: d}
	conf.Tracer = t
	conf.DefaultQueryExecMode = pgx.QueryExecModeExec
	conf.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	var e *Entry
	conf.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d.p.dialName(ctx, network, addr)
		if err == nil {
			t.addr = [2]string{c.LocalAddr().String(), c.RemoteAddr().String()}
			e = s.log.begin(d.p, "postgresql")
			e.Method, e.ClientAddr, e.ServerAddr = "STARTUP", t.addr[0], t.addr[1]
			e.request = d.user
		}
		return c, err
	}
	c, err := pgx.ConnectConfig(ctx, conf)
	if e != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			e.Error = pg.Code
		}
		s.log.end(s, e)
	}
	return c, err
}

// with lends a connection of the pool.
func (d *database) with(ctx context.Context, fn func(*pgx.Conn) error) error {
	var c *pgx.Conn
	select {
	case c = <-d.free:
	default:
		select {
		case c = <-d.free:
		case <-d.left:
			var err error
			if c, err = d.connect(ctx); err != nil {
				d.left <- struct{}{}
				return err
			}
		}
	}
	err := fn(c)
	d.free <- c
	return err
}

// rows runs a statement and returns its rows.
func (d *database) rows(ctx context.Context, sql string, args ...any) (out []map[string]any, err error) {
	err = d.with(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToMap)
		return err
	})
	return out, err
}

func (d *database) exec(ctx context.Context, sql string, args ...any) error {
	return d.with(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, args...)
		return err
	})
}

// redisConn is a connection to a real Redis.
type redisConn struct {
	p    *pod
	mu   sync.Mutex
	conn net.Conn
	r    *bufio.Reader
}

func (s *shop) redis() error {
	p := s.pod("redis-cache")
	return p.start("Ready to accept connections", "redis-server", "--port", strconv.Itoa(p.svc.Port), "--bind", "0.0.0.0", "--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", s.lab.tmp)
}

func (c *redisConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// redis runs one command; found is false for a null reply.
func (p *pod) redis(ctx context.Context, args ...string) (value string, found bool, err error) {
	s := p.shop
	s.log.mu.Lock()
	if p.cache == nil {
		p.cache = &redisConn{p: p}
	}
	c := p.cache
	s.log.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		svc := s.sc.service("redis-cache")
		if c.conn, err = p.dialName(ctx, "tcp4", fmt.Sprintf("%s.%s:%d", svc.Name, s.sc.ns(svc.Namespace), svc.Port)); err != nil {
			return "", false, err
		}
		c.r = bufio.NewReader(c.conn)
	}
	e := s.log.begin(p, "redis")
	e.Method, e.Path = strings.ToUpper(args[0]), strings.Join(args, " ")
	e.request = e.Path
	e.ClientAddr, e.ServerAddr = c.conn.LocalAddr().String(), c.conn.RemoteAddr().String()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err = io.WriteString(c.conn, b.String()); err == nil {
		value, found, err = readRESP(c.r)
	}
	var refused *redisError
	if errors.As(err, &refused) {
		e.Error, _, _ = strings.Cut(refused.text, " ")
	} else if err != nil {
		e.Error = fault(err)
		c.conn.Close()
		c.conn = nil
	}
	e.reply = value
	s.log.end(s, e)
	return value, found, err
}

type redisError struct{ text string }

func (e *redisError) Error() string { return e.text }

// readRESP reads one reply; lists are joined by blanks.
func readRESP(r *bufio.Reader) (value string, found bool, err error) {
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 {
		return "", false, errors.Join(err, io.ErrUnexpectedEOF)
	}
	rest := strings.TrimRight(line[1:], "\r\n")
	switch line[0] {
	case '+', ':':
		return rest, true, nil
	case '-':
		return "", false, &redisError{rest}
	case '$', '*':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", false, err
		}
		if line[0] == '*' {
			var list []string
			for range n {
				v, _, err := readRESP(r)
				if err != nil {
					return "", false, err
				}
				list = append(list, v)
			}
			return strings.Join(list, " "), true, nil
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(r, b)
		return string(b[:n]), true, err
	}
	return "", false, fmt.Errorf("reply begins with %q", line[0])
}
