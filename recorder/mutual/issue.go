package mutual

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// early is how long before its issue a certificate is valid, for clocks that differ.
const early = 5 * time.Minute

// Issuer signs certificates.
type Issuer struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// NewKey returns a private key, and its PEM.
func NewKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// NewIssuer creates an authority that is valid for the time valid. It returns its certificate and its
// key in PEM.
func NewIssuer(name string, valid time.Duration, now time.Time) (cert, key []byte, err error) {
	k, key, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	t, err := template(now, valid)
	if err != nil {
		return nil, nil, err
	}
	t.Subject = pkix.Name{CommonName: name}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	if err != nil {
		return nil, nil, fmt.Errorf("creating an authority: %w", err)
	}
	return encode(der), key, nil
}

// ReadIssuer reads the certificate and key that NewIssuer returned.
func ReadIssuer(cert, key []byte) (*Issuer, error) {
	block, _ := pem.Decode(cert)
	if block == nil {
		return nil, errors.New("reading the authority: no certificate in PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	block, _ = pem.Decode(key)
	if block == nil {
		return nil, errors.New("reading the authority: no key in PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	signer, ok := k.(crypto.Signer)
	public, comparable := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !comparable || !public.Equal(signer.Public()) || !c.IsCA {
		return nil, errors.New("reading the authority: the certificate and the key are not those of one authority")
	}
	return &Issuer{c, signer}, nil
}

// Issue signs a certificate for a public key and returns its PEM. A certificate is for servers
// or for clients, never for both.
func (i *Issuer) Issue(public crypto.PublicKey, names []string, server bool, valid time.Duration, now time.Time) ([]byte, error) {
	t, err := template(now, valid)
	if err != nil {
		return nil, err
	}
	t.Subject, t.DNSNames = pkix.Name{CommonName: cut(names[0], 64)}, names
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if server {
		t.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth
	}
	if t.NotAfter.After(i.Certificate.NotAfter) {
		t.NotAfter = i.Certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, t, i.Certificate, public, i.Key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return encode(der), nil
}

func template(now time.Time, valid time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-early), NotAfter: now.Add(valid)}, err
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// cut limits a common name, which has at most 64 characters; only the other names count.
func cut(s string, n int) string { return s[:min(len(s), n)] }
