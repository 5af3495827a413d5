package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// serversAll are servers of other protocols, with crypto/tls as the client.
func serversAll() []scenario {
	return []scenario{
		{name("redis", "TLS 1.3", "aes-128-gcm-sha256"), redisTLS},
		{name("postgresql", "TLS 1.3", "aes-128-gcm-sha256", "upgrade"), func(l *lab, h *shot) error { return postgresTLS(l, h, tls.VersionTLS13) }},
		{name("postgresql", "TLS 1.2", "ecdhe-rsa-with-aes-128-gcm-sha256", "upgrade"), func(l *lab, h *shot) error { return postgresTLS(l, h, tls.VersionTLS12) }},
	}
}

// redisTLS queries a Redis server; all its responses are known in advance.
func redisTLS(l *lab, h *shot) error {
	port := strconv.Itoa(h.port)
	s, err := l.start(nil, "redis-server", "--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file", "rsa.pem", "--tls-key-file", "rsa.key",
		"--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no", "--save", "", "--appendonly", "no", "--dir", l.dir)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := up(h.port); err != nil {
		return err
	}
	cc, _, keys, err := l.configs(h)
	if err != nil {
		return err
	}
	defer keys.Close()
	defer onlySuite(tls.TLS_AES_128_GCM_SHA256)()
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, cc)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patient))
	var sent [2][]byte
	for _, x := range [][2]string{
		{"*1\r\n$4\r\nPING\r\n", "+PONG\r\n"},
		{"*3\r\n$3\r\nSET\r\n$7\r\norder:7\r\n$6\r\npacked\r\n", "+OK\r\n"},
		{"*2\r\n$3\r\nGET\r\n$7\r\norder:7\r\n*2\r\n$3\r\nGET\r\n$7\r\norder:8\r\n", "$6\r\npacked\r\n$-1\r\n"},
	} {
		if _, err := io.WriteString(c, x[0]); err != nil {
			return err
		}
		b := make([]byte, len(x[1]))
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if string(b) != x[1] {
			return fmt.Errorf("Redis answers %q, want %q", b, x[1])
		}
		sent[0], sent[1] = append(sent[0], x[0]...), append(sent[1], x[1]...)
	}
	state := c.ConnectionState()
	c.Close()
	h.note(row{layer: "tls", version: tls.VersionName(state.Version), suite: tls.CipherSuiteName(state.CipherSuite), protocol: "redis"}, sent[0], sent[1])
	return nil
}

const pgPassword = "sample-password" // protects nothing

// postgresTLS queries a PostgreSQL server over a connection that is upgraded to TLS. It stores the data
// between pgx and crypto/tls.
func postgresTLS(l *lab, h *shot, version uint16) error {
	s, err := l.postgres(h.port)
	if err != nil {
		return err
	}
	defer s.end(patient)
	defer s.cmd.Process.Signal(os.Interrupt)
	cc, _, keys, err := l.configs(h)
	if err != nil {
		return err
	}
	defer keys.Close()
	defer onlySuite(tls.TLS_AES_128_GCM_SHA256)()
	cc.MinVersion, cc.MaxVersion = version, version
	cc.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://shop:%s@127.0.0.1:%d/postgres?sslmode=require&application_name=sample", pgPassword, h.port))
	if err != nil {
		return err
	}
	config.TLSConfig, config.Fallbacks = cc, nil
	var sent, got bytes.Buffer
	var under net.Conn
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		if c, ok := w.(*tls.Conn); ok {
			under = c
		}
		return pgproto3.NewFrontend(io.TeeReader(r, &got), io.MultiWriter(&sent, w))
	}
	c, err := pgx.ConnectConfig(l.ctx, config)
	if err != nil {
		return err
	}
	for i := range 3 {
		var a, b string
		if err := c.QueryRow(l.ctx, "select $1::text, repeat('one line ', $2)", strconv.Itoa(i), 20*i).Scan(&a, &b); err != nil {
			return err
		}
	}
	if err := c.Close(l.ctx); err != nil {
		return err
	}
	time.Sleep(3 * settle) // the server's process for this connection ends by itself
	t, ok := under.(*tls.Conn)
	if !ok {
		return errors.New("the connection has no TLS")
	}
	state := t.ConnectionState()
	h.note(row{layer: "tls", version: tls.VersionName(state.Version), suite: tls.CipherSuiteName(state.CipherSuite), features: "upgrade", protocol: "postgresql"}, sent.Bytes(), got.Bytes())
	return nil
}

// postgres makes a cluster with TLS and starts it as the user postgres.
func (l *lab) postgres(port int) (*process, error) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return nil, errors.New("no PostgreSQL in /usr/lib/postgresql; hint: apt-get install postgresql")
	}
	bin := bins[len(bins)-1]
	who, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "secrets-pg")
	if err != nil {
		return nil, err
	}
	l.trash = append(l.trash, dir)
	as := []string{"setpriv", "--reuid", who.Uid, "--regid", who.Gid, "--clear-groups"}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(pgPassword+"\n"), 0o600); err != nil {
		return nil, err
	}
	for _, name := range []string{"rsa.pem", "rsa.key"} {
		b, err := os.ReadFile(l.path(name))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	if _, err := l.run("chown", "-R", who.Uid+":"+who.Gid, dir); err != nil {
		return nil, err
	}
	initdb := append(as[:len(as):len(as)], filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "shop", "--pwfile", dir+"/password", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	if out, err := exec.CommandContext(l.ctx, initdb[0], initdb[1:]...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, tail(out))
	}
	s, err := l.start(nil, append(as, filepath.Join(bin, "postgres"), "-D", dir+"/data", "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir,
		"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=10", "-c", "ssl=on", "-c", "ssl_cert_file="+dir+"/rsa.pem", "-c", "ssl_key_file="+dir+"/rsa.key")...)
	if err != nil {
		return nil, err
	}
	if err := s.awaitErr("ready to accept connections"); err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}
