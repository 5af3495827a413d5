package tds

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	tlsdissect "github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// wire records what both sides send.
type wire struct {
	mu   sync.Mutex
	said chunks
}

// end is one side. Until its handshake ends, it sends and receives packets of PRELOGIN.
type end struct {
	net.Conn
	dir    dissect.Dir
	wire   *wire
	raw    bool
	unread []byte
}

func (e *end) Write(b []byte) (int, error) {
	out := string(b)
	if !e.raw {
		out = packet(typePrelogin, out)
	}
	e.wire.mu.Lock()
	e.wire.said = append(e.wire.said, dissecttest.Chunk{Dir: e.dir, Data: []byte(out)})
	e.wire.mu.Unlock()
	_, err := e.Conn.Write([]byte(out))
	return len(b), err
}

func (e *end) Read(b []byte) (int, error) {
	if e.raw && len(e.unread) == 0 {
		return e.Conn.Read(b)
	}
	if len(e.unread) == 0 {
		head := make([]byte, headSize)
		if _, err := io.ReadFull(e.Conn, head); err != nil {
			return 0, err
		}
		e.unread = make([]byte, int(head[2])<<8+int(head[3])-headSize)
		if _, err := io.ReadFull(e.Conn, e.unread); err != nil {
			return 0, err
		}
	}
	n := copy(b, e.unread)
	e.unread = e.unread[n:]
	return n, nil
}

// sealed is a conversation with TLS inside TDS: what the client says in it and what the server answers.
func sealed(t *testing.T, say, answer []string) (said chunks, keys *bytes.Buffer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keys = &bytes.Buffer{}
	w := &wire{}
	a, b := net.Pipe()
	left, right := &end{Conn: a, dir: dissect.ToServer, wire: w}, &end{Conn: b, dir: dissect.ToClient, wire: w}
	c := tls.Client(left, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, KeyLogWriter: keys})
	s := tls.Server(right, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		right.raw = true
		buf := make([]byte, 1<<14)
		for i := 0; i < len(say) && err == nil; i++ {
			if _, err = s.Read(buf); err == nil && i < len(answer) {
				_, err = s.Write([]byte(answer[i]))
			}
		}
		done <- err
	}()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	left.raw = true
	buf := make([]byte, 1<<14)
	for i, text := range say {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if i < len(answer) {
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return w.said, keys
}

func TestTLSInside(t *testing.T) {
	welcome := reply(loginAck, done(tokDone, 0, 0, 0))
	query, result := batch("SELECT id, name FROM goods"), reply(columns("id", "name"), row(1, "tea"), done(tokDone, doneCount, commandSelect, 1))
	prelogin := func(mode string) chunks {
		return chunks{client(packet(typePrelogin, preloginAsk+mode)), server(packet(typeResponse, preloginAnswer+mode))}
	}
	signIn := login("ann", "s3cret-word", "shop", "orders")
	all, allKeys := sealed(t, []string{signIn, query}, []string{welcome, result})
	one, oneKeys := sealed(t, []string{signIn}, nil)
	open := slices.Concat(prelogin("\x00"), one, chunks{server(welcome), client(query), server(result)})
	for _, x := range []struct {
		name string
		said chunks
		keys *bytes.Buffer
		want []string
	}{
		{"all of a connection", append(prelogin("\x01"), all...), allKeys, []string{"PRELOGIN → encryption on → on", "LOGIN7 ann → ok", "SELECT id, name FROM goods → 1 row"}},
		{"all of a connection, without keys", append(prelogin("\x01"), all...), nil, []string{"PRELOGIN → encryption on → on"}},
		{"the login only", open, oneKeys, []string{"PRELOGIN → encryption off → off", "LOGIN7 in TLS → ok", "SELECT id, name FROM goods → 1 row", "LOGIN7 ann → ok"}},
		{"the login only, without keys", open, nil, []string{"PRELOGIN → encryption off → off", "LOGIN7 in TLS → ok", "SELECT id, name FROM goods → 1 row"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			keys := secrets.NewStore()
			if x.keys != nil {
				if err := keys.AddLog("test", bytes.NewReader(x.keys.Bytes()), int64(x.keys.Len())); err != nil {
					t.Fatal(err)
				}
			}
			if err := keys.Ready(); err != nil {
				t.Fatal(err)
			}
			o := dissecttest.OptionsOf(Protocol())
			o.Protocols = append(o.Protocols, tlsdissect.Protocol(keys))
			r := dissecttest.Play(t, o, x.said...)
			var got []string
			handshakes := 0
			for _, row := range r.Rows() {
				if _, ok := row.(*Row); ok {
					got = append(got, dissecttest.Line(row))
				} else if strings.Contains(row.Base().Summary, "TLS") {
					handshakes++
				}
			}
			if !slices.Equal(got, x.want) || handshakes != 1 || len(r.Anomalies) > 0 || r.Held != 0 {
				t.Errorf("got\n%s\nwant\n%s\n%d handshakes, anomalies %v, %d bytes held", strings.Join(got, "\n"), strings.Join(x.want, "\n"), handshakes, r.Anomalies, r.Held)
			}
		})
	}
}
