package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The names of the certificates, and the shared secret of connections without one.
const (
	serverName  = "api.example.test"
	pskIdentity = "device-7"
	pskHex      = "00112233445566778899aabbccddeeff"
)

// writeCertificates makes an authority, server certificates for RSA and ECDSA, and a client
// certificate. Their keys are used only for these captures.
func writeCertificates(dir string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(48*time.Hour)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example Test Authority"},
		NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	clientKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	files := map[string][]*pem.Block{"ca.pem": {{Type: "CERTIFICATE", Bytes: caDER}}}
	for i, c := range []struct {
		file, name string
		key        crypto.Signer
	}{{"rsa", serverName, rsaKey}, {"ec", serverName, ecKey}, {"client", "client.example.test", clientKey}} {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: c.name}, DNSNames: []string{c.name},
			NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, c.key.Public(), caKey)
		if err != nil {
			return err
		}
		key, err := x509.MarshalPKCS8PrivateKey(c.key)
		if err != nil {
			return err
		}
		files[c.file+".pem"] = []*pem.Block{{Type: "CERTIFICATE", Bytes: der}}
		files[c.file+".key"] = []*pem.Block{{Type: "PRIVATE KEY", Bytes: key}}
	}
	for name, blocks := range files {
		var b []byte
		for _, p := range blocks {
			b = append(b, pem.EncodeToMemory(p)...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
