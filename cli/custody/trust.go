package custody

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// TrustFlags are the flags that name files with what the user trusts.
type TrustFlags struct {
	Signers     []string // public keys
	Authorities []string // certificates of time-stamp authorities
	Logs        []string // public keys of transparency logs
	roots       []string // certificates to which those of signers must lead
	revoked     []string // revocation lists
}

// Register adds the flags of every command that checks seals.
func (f *TrustFlags) Register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.Signers, "signer", nil, "public key that must have signed: PEM, OpenSSH or certificate; can be repeated")
	fl.StringArrayVar(&f.roots, "root", nil, "certificates (PEM) to which those of --signer must lead; intermediate ones may follow; can be repeated")
	fl.StringArrayVar(&f.revoked, "crl", nil, "revocation list (PEM or DER) of the issuer of a certificate; can be repeated")
	fl.StringArrayVar(&f.Authorities, "authority", nil, "certificate (PEM) of a time-stamp authority or its root; can be repeated")
}

// Read reads the keys, certificates and lists.
func (f *TrustFlags) Read() (t seal.Trust, err error) {
	for _, p := range f.Signers {
		text, err := os.ReadFile(p)
		if err != nil {
			return t, fmt.Errorf("reading --signer: %w", err)
		}
		party, err := seal.ParsePublic("", text)
		if err != nil {
			return t, exit.With(fmt.Errorf("reading --signer %s: %w", p, err), exit.NotCapture, "give a public key: PEM, a line in OpenSSH format, or a certificate")
		}
		t.Signers = append(t.Signers, party)
	}
	for _, p := range f.Authorities {
		list, err := certificates("--authority", p)
		if err != nil {
			return t, err
		}
		if t.Authorities == nil {
			t.Authorities = x509.NewCertPool()
		}
		for _, c := range list {
			t.Authorities.AddCert(c)
		}
		t.Between = append(t.Between, list...)
	}
	for _, p := range f.roots {
		list, err := certificates("--root", p)
		if err != nil {
			return t, err
		}
		if t.Roots == nil {
			t.Roots = x509.NewCertPool()
		}
		for _, c := range list {
			if bytes.Equal(c.RawSubject, c.RawIssuer) {
				t.Roots.AddCert(c)
			}
		}
		t.Between = append(t.Between, list...)
	}
	for _, p := range f.revoked {
		list, err := revocations(p)
		if err != nil {
			return t, err
		}
		t.Revoked = append(t.Revoked, list)
	}
	for _, p := range f.Logs {
		key, err := ReadLogKey(p)
		if err != nil {
			return t, err
		}
		t.Logs = append(t.Logs, key)
	}
	return t, nil
}

// certificates reads certificates in PEM.
func certificates(flag, path string) (list []*x509.Certificate, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", flag, err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, exit.With(fmt.Errorf("reading %s %s: %w", flag, path, err), exit.NotCapture, "give certificates in PEM format")
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, exit.With(fmt.Errorf("reading %s %s: it contains no certificate", flag, path), exit.NotCapture, "give certificates in PEM format")
	}
	return list, nil
}

// revocations reads a revocation list in PEM or DER.
func revocations(path string) (*x509.RevocationList, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading --crl: %w", err)
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, exit.With(fmt.Errorf("reading --crl %s: %w", path, err), exit.NotCapture, "give the list that the issuer of the certificate publishes, in PEM or DER")
	}
	return list, nil
}
