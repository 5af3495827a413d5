package custody

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// TrustFlags are the flags that name files with what the user trusts.
type TrustFlags struct {
	Signers     []string // public keys
	Authorities []string // certificates of time-stamp authorities
	Logs        []string // public keys of transparency logs
}

// Read reads the keys and certificates.
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
		text, err := os.ReadFile(p)
		if err != nil {
			return t, fmt.Errorf("reading --authority: %w", err)
		}
		if t.Authorities == nil {
			t.Authorities = x509.NewCertPool()
		}
		if !t.Authorities.AppendCertsFromPEM(text) {
			return t, exit.With(fmt.Errorf("reading --authority %s: it contains no certificate", p), exit.NotCapture, "give certificates in PEM format")
		}
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
