package enroll

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/recorder/mutual"
)

// cluster answers requests as an API with a hub does.
type cluster struct {
	mu     sync.Mutex
	issuer *mutual.Issuer
	root   string
	down   error
	answer func(*certificates.CertificateSigningRequest) // nil: sign
	valid  time.Duration
	last   *certificates.CertificateSigningRequest
	count  int
}

func (c *cluster) authority(t *testing.T) {
	cert, key, err := mutual.NewIssuer("test", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i, err := mutual.ReadIssuer(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issuer, c.root = i, string(cert)
}

type requests struct{ *cluster }

func (c requests) Create(_ context.Context, r *certificates.CertificateSigningRequest, _ meta.CreateOptions) (*certificates.CertificateSigningRequest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return nil, c.down
	}
	c.count++
	c.last = r.DeepCopy()
	c.last.Name = r.GenerateName + "x"
	return c.last, nil
}

func (c requests) Get(context.Context, string, meta.GetOptions) (*certificates.CertificateSigningRequest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return nil, c.down
	}
	r := c.last.DeepCopy()
	if c.answer != nil {
		c.answer(r)
		return r, nil
	}
	block, _ := pem.Decode(r.Spec.Request)
	q, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	r.Status.Certificate, err = c.issuer.Issue(q.PublicKey, q.DNSNames, true, c.valid, time.Now())
	return r, err
}

type maps struct{ *cluster }

func (c maps) Get(context.Context, string, meta.GetOptions) (*core.ConfigMap, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &core.ConfigMap{Data: map[string]string{mutual.AuthorityKey: c.root}}, c.down
}

// run starts an enrollment; errs returns its last error.
func run(t *testing.T, c *cluster) (e *Enrollment, last func() string) {
	t.Helper()
	var mu sync.Mutex
	text := ""
	e = New(Options{Node: "node-a", Requests: requests{c}, Maps: maps{c}, Poll: time.Millisecond, Retry: time.Millisecond, Refresh: 5 * time.Millisecond,
		OnError:   func(err error) { mu.Lock(); text = err.Error(); mu.Unlock() },
		OnRenewed: func(time.Time) {}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return e, func() string { mu.Lock(); defer mu.Unlock(); return text }
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func leaf(t *testing.T, p *mutual.Pair) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(p.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificateComesAndIsRenewed(t *testing.T) {
	c := &cluster{valid: time.Hour, down: errors.New("the API is away")}
	c.authority(t)
	e, last := run(t, c)
	eventually(t, "no error is reported", func() bool { return strings.Contains(last(), "away") })
	if _, err := e.Current(); !errors.Is(err, mutual.ErrNone) {
		t.Errorf("%v", err)
	}
	set := func(f func()) { c.mu.Lock(); f(); c.mu.Unlock() }
	set(func() { c.down = nil })
	eventually(t, "no certificate comes", func() bool { _, err := e.Current(); return err == nil })
	first, _ := e.Current()
	if x := leaf(t, first); x.VerifyHostname(mutual.Node("node-a")) != nil {
		t.Errorf("names %v", x.DNSNames)
	}
	set(func() { c.down = errors.New("the API is away again") })
	eventually(t, "no error is reported", func() bool { return strings.Contains(last(), "again") })
	if p, err := e.Current(); err != nil || p != first {
		t.Errorf("the certificate is gone: %v", err)
	}
	set(func() { c.down = nil })
	c.authority(t) // a new hub
	eventually(t, "the certificate of the previous authority stays", func() bool {
		p, _ := e.Current()
		_, err := leaf(t, p).Verify(x509.VerifyOptions{Roots: p.Roots, DNSName: mutual.Node("node-a")})
		return p != first && err == nil
	})
}

func TestShortCertificatesAreRenewed(t *testing.T) {
	c := &cluster{valid: 900 * time.Millisecond}
	c.authority(t)
	run(t, c)
	eventually(t, "it is not renewed", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.count >= 2 })
}

func TestAnswersThatAreNotUsed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(t *testing.T, c *cluster, r *certificates.CertificateSigningRequest)
		want   string
	}{
		{"denied", func(_ *testing.T, _ *cluster, r *certificates.CertificateSigningRequest) {
			r.Status.Conditions = []certificates.CertificateSigningRequestCondition{{Type: certificates.CertificateDenied, Message: "not your node"}}
		}, "denied: not your node"},
		{"no certificate", func(_ *testing.T, _ *cluster, r *certificates.CertificateSigningRequest) {
			r.Status.Certificate = []byte("x")
		}, "reading a certificate"},
		{"another key", func(t *testing.T, c *cluster, r *certificates.CertificateSigningRequest) {
			k, _, _ := mutual.NewKey()
			r.Status.Certificate, _ = c.issuer.Issue(k.Public(), []string{mutual.Node("node-a")}, true, time.Hour, time.Now())
		}, "private key does not match"},
		{"another name", func(t *testing.T, c *cluster, r *certificates.CertificateSigningRequest) {
			block, _ := pem.Decode(r.Spec.Request)
			q, _ := x509.ParseCertificateRequest(block.Bytes)
			r.Status.Certificate, _ = c.issuer.Issue(q.PublicKey, []string{mutual.Node("node-b")}, true, time.Hour, time.Now())
		}, "not node-a.node.pcapsule"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &cluster{}
			c.authority(t)
			c.answer = func(r *certificates.CertificateSigningRequest) { tt.answer(t, c, r) }
			e, last := run(t, c)
			eventually(t, "the error is not reported", func() bool { return strings.Contains(last(), tt.want) })
			if _, err := e.Current(); err == nil {
				t.Error("it is used")
			}
		})
	}
}
