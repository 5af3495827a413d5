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

// pipe is a connection in memory whose writes do not wait.
func pipe(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("needs loopback: %v", err)
	}
	defer l.Close()
	done := make(chan net.Conn)
	go func() { c, _ := l.Accept(); done <- c }()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	b = <-done
	return a, b
}

// talk lets two real stacks shake hands, exchange a few bytes and close.
func talk(t testing.TB, cc, sc *stdtls.Config) ([]dissecttest.Chunk, error) {
	rec := &recording{}
	a, b := pipe(t)
	defer a.Close()
	defer b.Close()
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
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

func TestSmoke(t *testing.T) {
	id := newIdentity(t, "a.example", time.Unix(1_600_000_000, 0), time.Unix(4_000_000_000, 0))
	for v := uint16(stdtls.VersionTLS10); v <= stdtls.VersionTLS13; v++ {
		chunks, err := talk(t, &stdtls.Config{ServerName: "a.example", RootCAs: id.pool, MinVersion: v, MaxVersion: v, NextProtos: []string{"h2", "http/1.1"}},
			&stdtls.Config{Certificates: []stdtls.Certificate{id.cert}, MinVersion: stdtls.VersionTLS10, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		r := play(t, dissect.EndFin, chunks...)
		for _, e := range r.Emissions {
			t.Logf("%+v", e.Row)
			t.Logf("%+v", e.Details[0])
		}
		t.Logf("%+v", r.Anomalies)
	}
}
