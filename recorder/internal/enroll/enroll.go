// Package enroll gets a recorder its certificate from the cluster: it makes a key, which stays in
// memory, requests a certificate from the signer pcapsule.dev/recorder, and renews it after two
// thirds of its lifetime. Without an API or a signer it keeps the current certificate and continues
// trying.
package enroll

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/recorder/mutual"
)

const (
	valid  = 24 * time.Hour
	answer = 2 * time.Minute // how long to wait for a signature before asking again
)

// Requests is the part of the API's certificate signing requests that is used.
type Requests interface {
	Create(ctx context.Context, r *certificates.CertificateSigningRequest, o meta.CreateOptions) (*certificates.CertificateSigningRequest, error)
	Get(ctx context.Context, name string, o meta.GetOptions) (*certificates.CertificateSigningRequest, error)
}

// ConfigMaps is the part of the API's config maps that is used.
type ConfigMaps interface {
	Get(ctx context.Context, name string, o meta.GetOptions) (*core.ConfigMap, error)
}

// Options of an Enrollment.
type Options struct {
	Node      string
	Requests  Requests
	Maps      ConfigMaps // of the namespace of the hub
	OnError   func(error)
	OnRenewed func(until time.Time)
	Poll      time.Duration // between questions for the signature; 0 means 1 s
	Retry     time.Duration // after an error; 0 means 15 s
	Refresh   time.Duration // how often the authority is read again; 0 means 5 min
}

// Enrollment keeps a node's certificate.
type Enrollment struct {
	o Options

	mu    sync.Mutex
	roots []byte
	pair  *mutual.Pair
}

// New creates an enrollment; Run maintains it.
func New(o Options) *Enrollment {
	for _, d := range []struct {
		at *time.Duration
		is time.Duration
	}{{&o.Poll, time.Second}, {&o.Retry, 15 * time.Second}, {&o.Refresh, 5 * time.Minute}} {
		if *d.at == 0 {
			*d.at = d.is
		}
	}
	return &Enrollment{o: o}
}

// Current is a mutual.Source.
func (e *Enrollment) Current() (*mutual.Pair, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pair == nil {
		return nil, mutual.ErrNone
	}
	return e.pair, nil
}

// Run maintains the certificate until ctx ends.
func (e *Enrollment) Run(ctx context.Context) {
	var renew time.Time
	for ctx.Err() == nil {
		wait := e.o.Refresh
		roots, err := e.authority(ctx)
		// Certificates of a previous authority do not prove anything to a hub with a new one.
		if err == nil && (time.Now().After(renew) || string(roots) != string(e.roots)) {
			renew, err = e.request(ctx, roots)
		}
		if err != nil {
			wait = e.o.Retry
			if ctx.Err() == nil {
				e.o.OnError(err)
			}
		} else if left := time.Until(renew); left < wait {
			wait = max(left, time.Second)
		}
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// authority reads the hub's certificate authority.
func (e *Enrollment) authority(ctx context.Context) ([]byte, error) {
	m, err := e.o.Maps.Get(ctx, mutual.Authority, meta.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the hub's authority: %w", err)
	}
	if m.Data[mutual.AuthorityKey] == "" {
		return nil, fmt.Errorf("reading the hub's authority: ConfigMap %s has no %s", mutual.Authority, mutual.AuthorityKey)
	}
	return []byte(m.Data[mutual.AuthorityKey]), nil
}

// request gets a certificate, and returns the time to renew it.
func (e *Enrollment) request(ctx context.Context, roots []byte) (renew time.Time, err error) {
	key, keyText, err := mutual.NewKey()
	if err != nil {
		return renew, err
	}
	name := mutual.Node(e.o.Node)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name[:min(len(name), 64)]}, DNSNames: []string{name}}, key)
	if err != nil {
		return renew, fmt.Errorf("requesting a certificate: %w", err)
	}
	seconds := int32(valid / time.Second)
	r, err := e.o.Requests.Create(ctx, &certificates.CertificateSigningRequest{
		ObjectMeta: meta.ObjectMeta{GenerateName: "pcapsule-recorder-"},
		Spec: certificates.CertificateSigningRequestSpec{Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: mutual.Signer, ExpirationSeconds: &seconds, Usages: []certificates.KeyUsage{certificates.UsageDigitalSignature, certificates.UsageServerAuth}},
	}, meta.CreateOptions{})
	if err != nil {
		return renew, fmt.Errorf("requesting a certificate: %w", err)
	}
	cert, err := e.await(ctx, r.Name)
	if err != nil {
		return renew, fmt.Errorf("requesting a certificate (%s): %w", r.Name, err)
	}
	pair, err := mutual.Parse(cert, keyText, roots)
	if err != nil {
		return renew, fmt.Errorf("using a certificate (%s): %w", r.Name, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate.Certificate[0])
	if err != nil {
		return renew, fmt.Errorf("using a certificate (%s): %w", r.Name, err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pair.Roots, DNSName: name}); err != nil {
		return renew, fmt.Errorf("using a certificate (%s): %w", r.Name, err)
	}
	e.mu.Lock()
	e.roots, e.pair = roots, pair
	e.mu.Unlock()
	e.o.OnRenewed(leaf.NotAfter)
	now := time.Now()
	return now.Add(leaf.NotAfter.Sub(now) * 2 / 3), nil
}

// await waits for the signature.
func (e *Enrollment) await(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answer, errors.New("no signature came; is pcapsule-hub running?"))
	defer cancel()
	for {
		r, err := e.o.Requests.Get(ctx, name, meta.GetOptions{})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		if len(r.Status.Certificate) > 0 {
			return r.Status.Certificate, nil
		}
		for _, c := range r.Status.Conditions {
			if c.Type == certificates.CertificateDenied || c.Type == certificates.CertificateFailed {
				return nil, fmt.Errorf("%s: %s", strings.ToLower(string(c.Type)), c.Message)
			}
		}
		sleep(ctx, e.o.Poll)
	}
}
