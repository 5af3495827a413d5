package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// tap records what one end of a connection writes.
type tap struct {
	net.Conn
	dir dissect.Dir
	rec *recording
}

type recording struct {
	mu     sync.Mutex
	chunks []dissecttest.Chunk
}

func (t *tap) Write(b []byte) (int, error) {
	t.rec.mu.Lock()
	t.rec.chunks = append(t.rec.chunks, dissecttest.Chunk{Dir: t.dir, Data: bytes.Clone(b)})
	t.rec.mu.Unlock()
	return t.Conn.Write(b)
}

// half is one direction of a connection in memory; writing never waits.
type half struct {
	mu     sync.Mutex
	wake   *sync.Cond
	buf    bytes.Buffer
	closed bool
}

func newHalf() *half {
	h := &half{}
	h.wake = sync.NewCond(&h.mu)
	return h
}

// end is one end of a connection in memory.
type end struct {
	net.Conn // for the methods that crypto/tls does not call
	in, out  *half
}

func (e *end) Read(b []byte) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	for e.in.buf.Len() == 0 {
		if e.in.closed {
			return 0, io.EOF
		}
		e.in.wake.Wait()
	}
	return e.in.buf.Read(b)
}

func (e *end) Write(b []byte) (int, error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.closed {
		return 0, io.ErrClosedPipe
	}
	e.out.wake.Broadcast()
	return e.out.buf.Write(b)
}

func (e *end) Close() error {
	for _, h := range []*half{e.in, e.out} {
		h.mu.Lock()
		h.closed = true
		h.wake.Broadcast()
		h.mu.Unlock()
	}
	return nil
}

func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }

func pipe() (a, b net.Conn) {
	x, y := newHalf(), newHalf()
	return &end{in: x, out: y}, &end{in: y, out: x}
}

// talk lets two real stacks perform a handshake, exchange a few bytes and close.
func talk(t testing.TB, cc, sc *stdtls.Config) ([]dissecttest.Chunk, error) {
	rec := &recording{}
	a, b := pipe()
	defer a.Close()
	defer b.Close()
	server := stdtls.Server(&tap{b, dissect.ToClient, rec}, sc)
	client := stdtls.Client(&tap{a, dissect.ToServer, rec}, cc)
	served := make(chan error, 1)
	go func() {
		defer b.Close()
		buf := make([]byte, 4)
		_, err := io.ReadFull(server, buf)
		if err == nil {
			_, err = server.Write([]byte("pong"))
		}
		server.Close()
		served <- err
	}()
	_, err := client.Write([]byte("ping"))
	if err == nil {
		buf := make([]byte, 4)
		_, err = io.ReadFull(client, buf)
	}
	client.Close()
	a.Close()
	if e := <-served; err == nil {
		err = e
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.chunks, err
}

type identity struct {
	pool *x509.CertPool
	cert stdtls.Certificate
}

// newIdentity makes a self-signed certificate.
func newIdentity(t testing.TB, name string, from, to time.Time) identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(0x1234), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: from, NotAfter: to, DNSNames: []string{name, "*.wild.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return identity{pool, stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}
