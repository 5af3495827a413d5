// Package mutual is the TLS between recorders and the hub: both sides have a certificate of one
// authority, and check the name of the other.
//
// The certificate is looked up at each handshake, so a renewed one is used without a restart, and a
// connection is never resumed without a check. The name determines the rights of its owner: a
// recorder's certificate is not valid for a hub.
package mutual

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Names in certificates.
const (
	Hub        = "hub.pcapsule"
	nodeSuffix = ".node.pcapsule"
)

// Signer is the name of the signer of recorders' certificates in Kubernetes; Authority is the
// ConfigMap with its certificate, in AuthorityKey.
const (
	Signer       = "pcapsule.dev/recorder"
	Authority    = "pcapsule-ca"
	AuthorityKey = "ca.crt"
)

// Node returns the name in the certificate of a node's recorder.
func Node(name string) string { return name + nodeSuffix }

// Pair is a certificate, and the authorities of which one must have issued the other side's.
type Pair struct {
	Certificate tls.Certificate
	Roots       *x509.CertPool
}

// ErrNone means that there is no certificate yet.
var ErrNone = errors.New("there is no certificate yet")

// Source returns the current certificate. It is called at each handshake.
type Source func() (*Pair, error)

// Parse reads a certificate with its chain, its key, and authorities, all in PEM.
func Parse(cert, key, roots []byte) (*Pair, error) {
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	p := &Pair{Certificate: c, Roots: x509.NewCertPool()}
	if !p.Roots.AppendCertsFromPEM(roots) {
		return nil, errors.New("reading authorities: no certificate in PEM")
	}
	return p, nil
}

// Files returns a source that reads files, and reads them again when they have changed. While
// changed files cannot be used, such as in the middle of a change, it returns the previous ones
// and calls onError, which may be nil.
func Files(cert, key, roots string, onError func(error)) Source {
	f := &files{paths: [3]string{cert, key, roots}, onError: onError}
	return f.current
}

type files struct {
	paths   [3]string
	onError func(error)

	mu   sync.Mutex
	seen [3]os.FileInfo
	pair *Pair
}

func (f *files) current() (*Pair, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now [3]os.FileInfo
	var data [3][]byte
	var err error
	changed := f.pair == nil
	for i, path := range f.paths {
		if now[i], err = os.Stat(path); err != nil {
			return f.keep(err)
		}
		changed = changed || !os.SameFile(now[i], f.seen[i]) || now[i].ModTime() != f.seen[i].ModTime() || now[i].Size() != f.seen[i].Size()
	}
	if !changed {
		return f.pair, nil
	}
	for i, path := range f.paths {
		if data[i], err = os.ReadFile(path); err != nil {
			return f.keep(err)
		}
	}
	p, err := Parse(data[0], data[1], data[2])
	if err != nil {
		return f.keep(err)
	}
	f.pair, f.seen = p, now
	return p, nil
}

func (f *files) keep(err error) (*Pair, error) {
	if f.pair == nil {
		return nil, err
	}
	if f.onError != nil {
		f.onError(fmt.Errorf("the previous certificate is used: %w", err))
	}
	return f.pair, nil
}

// Server returns a configuration that accepts only clients whose certificate has the name client.
func Server(source Source, client string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		p, err := source()
		if err != nil {
			return nil, err
		}
		return &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.Certificate},
			ClientCAs: p.Roots, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
			VerifyConnection: func(s tls.ConnectionState) error {
				if err := s.PeerCertificates[0].VerifyHostname(client); err != nil {
					return fmt.Errorf("the client is not %s: %w", client, err)
				}
				return nil
			},
		}, nil
	}}
}

// Client returns an HTTP client for the server whose certificate has the name server, regardless of
// the address in the URL.
func Client(source Source, server string) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				p, err := source()
				if err != nil {
					return nil, err
				}
				d := &tls.Dialer{NetDialer: dialer, Config: &tls.Config{MinVersion: tls.VersionTLS13, ServerName: server, RootCAs: p.Roots, Certificates: []tls.Certificate{p.Certificate}}}
				return d.DialContext(ctx, network, addr)
			},
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second, DisableCompression: true, MaxIdleConnsPerHost: 2,
		},
	}
}
