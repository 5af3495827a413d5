package tls

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Certs caches parsed certificates, because one certificate is sent in many handshakes. A result
// depends on the certificate's bytes only.
type Certs struct {
	mu   sync.Mutex
	read map[table.Hash]*handshake.Certificate
}

// Limits of the cache.
const (
	maxCached     = 512
	maxCachedSize = 16 << 10 // bytes of a cached certificate
)

// NewCerts returns an empty cache, safe for concurrent use.
func NewCerts() *Certs { return &Certs{read: map[table.Hash]*handshake.Certificate{}} }

func (c *Certs) get(der []byte) *handshake.Certificate {
	sum := table.Hash(sha256.Sum256(der))
	c.mu.Lock()
	cert := c.read[sum]
	c.mu.Unlock()
	if cert != nil {
		return cert
	}
	cert = handshake.ReadCertificate(der)
	cert.SHA256, cert.SHA1 = sum, sha1.Sum(der)
	if len(der) > maxCachedSize {
		return cert
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.read) >= maxCached {
		clear(c.read)
	}
	c.read[sum] = cert
	return cert
}

// certificate reads a Certificate message.
func (k *conn) certificate(o origin, body []byte) error {
	hs := k.hs
	var chain [][]byte
	var err error
	if hs.version13() {
		var stapled bool
		chain, stapled, err = handshake.ReadCertificates13(body, maxChain)
		hs.det.OCSPStapled = hs.det.OCSPStapled || stapled && k.role(o.dir) == server
	} else {
		chain, err = handshake.ReadCertificates(body, maxChain)
	}
	if errors.Is(err, handshake.ErrMore) {
		k.c.Anomaly("limit", err.Error(), 0)
		err = nil
	}
	fromClient := k.role(o.dir) == client
	if !hs.client && !hs.server && !hs.requested && !hs.helloDone {
		fromClient = o.dir == dissect.ToServer
	}
	if len(chain) == 0 {
		if fromClient && err == nil {
			hs.clientCert = certEmpty
		}
		return err
	}
	certs := make([]*handshake.Certificate, len(chain))
	for i, der := range chain {
		certs[i] = k.certs.get(der)
		hs.size += len(der)
	}
	if certs[0].Problem != "" {
		k.c.Anomaly("certificate", certs[0].Problem, 0)
	}
	if fromClient {
		hs.clientCert = certSent
		fillClientCert(hs.det, certs, o.time)
	} else {
		hs.serverCert = true
		fillServerCert(hs.det, certs, o.time)
	}
	return err
}

func fillServerCert(d *table.TLSHandshake, certs []*handshake.Certificate, now int64) {
	c := certs[0]
	d.CertSHA256, d.CertProblem = table.Some(table.Hash(c.SHA256)), table.NonEmpty(c.Problem)
	for _, c := range certs {
		d.ChainSHA256 = append(d.ChainSHA256, hex.EncodeToString(c.SHA256[:]))
		d.ChainSHA1 = append(d.ChainSHA1, hex.EncodeToString(c.SHA1[:]))
		d.ChainSubjects = append(d.ChainSubjects, c.Subject)
		d.ChainIssuers = append(d.ChainIssuers, c.Issuer)
		end := ""
		if !c.NotAfter.IsZero() {
			end = c.NotAfter.UTC().Format(time.RFC3339)
		}
		d.ChainNotAfter = append(d.ChainNotAfter, end)
	}
	if !c.Read {
		return
	}
	d.CertSubject, d.CertIssuer, d.CertSerial = table.Some(c.Subject), table.Some(c.Issuer), table.Some(c.Serial)
	d.CertNotBeforeNs, d.CertNotAfterNs = nanos(c.NotBefore), nanos(c.NotAfter)
	d.CertSANs = c.SANs
	d.CertKeyType, d.CertKeyBits, d.CertSignature = table.NonEmpty(c.KeyType), bitsOf(c.KeyBits), table.NonEmpty(c.Signature)
	d.CertSelfSigned = table.Some(c.SelfIssued)
	if at := time.Unix(0, now); !c.NotAfter.IsZero() {
		d.CertExpired = table.Some(at.After(c.NotAfter))
		d.CertNotYetValid = table.Some(at.Before(c.NotBefore))
	}
}

func fillClientCert(d *table.TLSHandshake, certs []*handshake.Certificate, now int64) {
	c := certs[0]
	d.ClientCertSHA256, d.ClientCertProblem = table.Some(table.Hash(c.SHA256)), table.NonEmpty(c.Problem)
	for _, c := range certs {
		d.ClientChainSHA256 = append(d.ClientChainSHA256, hex.EncodeToString(c.SHA256[:]))
		d.ClientChainSHA1 = append(d.ClientChainSHA1, hex.EncodeToString(c.SHA1[:]))
	}
	if !c.Read {
		return
	}
	d.ClientCertSubject, d.ClientCertIssuer, d.ClientCertSerial = table.Some(c.Subject), table.Some(c.Issuer), table.Some(c.Serial)
	d.ClientCertNotBeforeNs, d.ClientCertNotAfterNs = nanos(c.NotBefore), nanos(c.NotAfter)
	d.ClientCertSANs = c.SANs
	d.ClientCertKeyType, d.ClientCertKeyBits, d.ClientCertSignature = table.NonEmpty(c.KeyType), bitsOf(c.KeyBits), table.NonEmpty(c.Signature)
	d.ClientCertSelfSigned = table.Some(c.SelfIssued)
	if !c.NotAfter.IsZero() {
		d.ClientCertExpired = table.Some(time.Unix(0, now).After(c.NotAfter))
	}
}

func bitsOf(n int) (o table.Opt[int32]) {
	if n > 0 {
		o = table.Some(int32(min(n, 1<<30)))
	}
	return o
}

// nanos is a time in nanoseconds, limited to 64 bits.
func nanos(t time.Time) (o table.Opt[int64]) {
	if t.IsZero() {
		return o
	}
	const most = 1<<63 - 1
	switch s := t.Unix(); {
	case s > most/1_000_000_000-1:
		return table.Some(int64(most))
	case s < -most/1_000_000_000+1:
		return table.Some(int64(-most))
	}
	return table.Some(t.UnixNano())
}

// matchName compares the name that the client requested with the certificate's names, RFC 6125:
// an asterisk may replace the leftmost label.
func matchName(row *Row, d *table.TLSHandshake) {
	if !row.SNI.OK || len(d.CertSANs) == 0 {
		return
	}
	want := strings.ToLower(strings.TrimSuffix(row.SNI.V, "."))
	fits := false
	for _, name := range d.CertSANs {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if rest, ok := strings.CutPrefix(name, "*."); ok {
			_, parent, _ := strings.Cut(want, ".")
			fits = fits || parent != "" && parent == rest
		} else {
			fits = fits || name == want
		}
	}
	d.CertMatchesSNI = table.Some(fits)
}
