package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

// authority signs the certificates of all external servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(from, to time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Sample Shop Root"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{cert, key, x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a, nil
}

func (a *authority) issue(name string, serial int64, from, to time.Time) (tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // suites before TLS 1.2 need RSA
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// secured is the TLS configuration of an external server.
type secured struct {
	role     string
	from, to int // validity of its certificate in days from today
	min, max uint16
	suites   []uint16
	protos   []string
	keep     bool // its keys are logged
}

func securedServers() []secured {
	return []secured{
		{role: "payment-gateway", from: -90, to: 275, min: tls.VersionTLS13, max: tls.VersionTLS13, protos: []string{"http/1.1"}, keep: true},
		{role: "email-provider", from: -30, to: 335, min: tls.VersionTLS13, max: tls.VersionTLS13, protos: []string{"h2"}, keep: true},
		{role: "shipping", from: -84, to: endsSoonDays, min: tls.VersionTLS12, max: tls.VersionTLS12, protos: []string{"http/1.1"}, keep: true},
		{role: "crm", from: -369, to: -expiredDays, min: tls.VersionTLS12, max: tls.VersionTLS12, protos: []string{"http/1.1"}, keep: true},
		{role: "bank", from: -200, to: 165, min: tls.VersionTLS10, max: tls.VersionTLS10, suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}, keep: true},
		{role: "analytics", from: -20, to: 70, min: tls.VersionTLS13, max: tls.VersionTLS13, protos: []string{"http/1.1"}},
		{role: "raw", from: -3, to: 3650, min: tls.VersionTLS12, max: tls.VersionTLS12, protos: []string{"http/1.1"}},
	}
}

const (
	endsSoonDays = 6 // until the certificate of shipping expires
	expiredDays  = 4 // since the certificate of crm expired
)

func securedServer(role string) secured {
	for _, s := range securedServers() {
		if s.role == role {
			return s
		}
	}
	panic("no TLS at " + role)
}

func (s *shop) certDay(n int) time.Time { return s.sc.day(n).Add(12 * time.Hour) }

// serveTLS listens in an external server.
func (s *shop) serveTLS(role string, make func(*pod) routes) error {
	sec, p := securedServer(role), s.pod(role)
	cert, err := s.ca.issue(s.sc.name(role), int64(len(s.sc.name(role)))<<20|int64(sec.to&0xffff), s.certDay(sec.from), s.certDay(sec.to))
	if err != nil {
		return err
	}
	ln, err := p.listen(p.ip + ":443")
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: sec.min, MaxVersion: sec.max, CipherSuites: sec.suites, NextProtos: sec.protos,
		SessionTicketsDisabled: true, Time: s.clockNow}
	srv := p.server(make(p))
	srv.TLSConfig = conf
	if !slices.Contains(sec.protos, "h2") { // HTTP/2 rejects the suites of old versions
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
	}
	go func() {
		if err := srv.ServeTLS(ln, "", ""); err != nil {
			log.Printf("%s: %v", p.name, err)
		}
	}()
	return nil
}

// clockNow is the scenario's time, or now if the scenario has not begun.
func (s *shop) clockNow() time.Time {
	if s.clock == nil {
		return s.certDay(0)
	}
	return s.clock.now()
}

// tlsClient is the TLS configuration of pods for a server.
func (p *pod) tlsClient(role string) *tls.Config {
	sec := securedServer(role)
	c := &tls.Config{RootCAs: p.shop.ca.pool, ServerName: p.shop.sc.name(role), MinVersion: sec.min, CipherSuites: sec.suites, NextProtos: sec.protos, Time: p.shop.clockNow,
		InsecureSkipVerify: role == "crm" || role == "raw"} // careless: an expired certificate, and none for an address
	if sec.keep {
		c.KeyLogWriter = p.shop.keys.of(p.node)
	}
	return c
}

// dialTLS connects, does the handshake, and logs it.
func (p *pod) dialTLS(conf *tls.Config, role string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := p.dialName(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		e := p.shop.log.begin(p, "tls")
		e.Method, e.Host = "handshake", conf.ServerName
		e.ClientAddr, e.ServerAddr = raw.LocalAddr().String(), raw.RemoteAddr().String()
		c := tls.Client(raw, conf)
		err = c.HandshakeContext(ctx)
		e.realDone = time.Now()
		if err != nil {
			e.Error = "handshake_failed"
		} else {
			e.Path = tls.VersionName(c.ConnectionState().Version)
			e.reply = tls.CipherSuiteName(c.ConnectionState().CipherSuite)
		}
		p.shop.log.end(p.shop, e)
		if err != nil {
			raw.Close()
			return nil, fmt.Errorf("shaking hands with %s: %w", conf.ServerName, err)
		}
		if !securedServer(role).keep {
			return sealedConn{c}, nil
		}
		return c, nil
	}
}

func newKeyring() *keyring { return &keyring{nodes: map[string]*bytes.Buffer{}} }

// keyring holds the key logs of all nodes.
type keyring struct {
	mu    sync.Mutex
	nodes map[string]*bytes.Buffer
}

type keyWriter struct {
	k    *keyring
	node string
}

func (k *keyring) of(node string) io.Writer { return keyWriter{k, node} }

func (w keyWriter) Write(b []byte) (int, error) {
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	if w.k.nodes[w.node] == nil {
		w.k.nodes[w.node] = &bytes.Buffer{}
	}
	if strings.HasPrefix(string(b), "EXPORTER") {
		return len(b), nil // opens nothing
	}
	return w.k.nodes[w.node].Write(b)
}
