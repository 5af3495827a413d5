package seal

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// now is the time at which a reader checks.
func (t *Trust) now() time.Time {
	if t.Now.IsZero() {
		return time.Now()
	}
	return t.Now
}

// certificate checks the certificate by which a reader names a signer: at is when the signature was made, and proved whether a
// time stamp of an authority that the reader trusts shows that; else only the signer's clock does. Without a certificate
// nothing is said.
func (t *Trust) certificate(p *Party, at time.Time, proved bool) (s State, detail string) {
	i := slices.IndexFunc(t.Signers, func(x Party) bool { return x.KeyID == p.KeyID })
	if i < 0 || t.Signers[i].certificate == nil {
		return Yes, ""
	}
	cert, when := t.Signers[i].certificate, at.Format(time.RFC3339)
	by := " (time of a trusted time stamp)"
	if !proved {
		by = " (by the signer's own clock)"
	}
	switch {
	case at.Before(cert.NotBefore):
		return No, fmt.Sprintf("the certificate of %s is valid from %s, and the seal is of %s%s", p, cert.NotBefore.UTC().Format(time.RFC3339), when, by)
	case at.After(cert.NotAfter):
		return No, fmt.Sprintf("the certificate of %s expired at %s, and the seal is of %s%s", p, cert.NotAfter.UTC().Format(time.RFC3339), when, by)
	}
	if t.Roots != nil {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: t.Roots, Intermediates: t.pool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			return No, fmt.Sprintf("the certificate of %s does not lead to a given root: %v", p, err)
		}
		detail = "; its certificate was valid then, and leads to a root that you gave"
	} else {
		detail = "; its certificate was valid then"
	}
	if s, text := t.revoked(cert, at); s != Yes {
		return s, fmt.Sprintf("the certificate of %s %s", p, text)
	} else if text != "" {
		detail += text
	}
	if !proved && t.now().After(cert.NotAfter) {
		return NotChecked, fmt.Sprintf("the certificate of %s expired at %s, and only the signer's own clock says that the seal is older; a time stamp of an authority that you give with --authority would show it",
			p, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return Yes, detail
}

// pool has the certificates between those of signers and roots.
func (t *Trust) pool() *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range t.Between {
		p.AddCert(c)
	}
	return p
}

// revoked looks a certificate up in the lists of its issuer that the reader gave. A list counts if the issuer signed it. Without a
// list the state is Yes and the text empty.
func (t *Trust) revoked(cert *x509.Certificate, at time.Time) (State, string) {
	text := ""
	for _, list := range t.Revoked {
		if string(list.RawIssuer) != string(cert.RawIssuer) {
			continue
		}
		if !slices.ContainsFunc(t.Between, func(c *x509.Certificate) bool {
			return string(c.RawSubject) == string(list.RawIssuer) && list.CheckSignatureFrom(c) == nil
		}) {
			return No, "has a revocation list whose signature no given certificate explains"
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(cert.SerialNumber) != 0 {
				continue
			}
			if !e.RevocationTime.After(at) {
				return No, "was revoked at " + e.RevocationTime.UTC().Format(time.RFC3339) + ", before the signature"
			}
			text = ", and was revoked later, at " + e.RevocationTime.UTC().Format(time.RFC3339)
		}
		if list.ThisUpdate.Before(at) && text == "" {
			return NotChecked, "has a revocation list of " + list.ThisUpdate.UTC().Format(time.RFC3339) + ", which is older than the signature"
		}
		if text == "" {
			text = ", and not revoked in the list of " + list.ThisUpdate.UTC().Format(time.RFC3339)
		}
	}
	return Yes, text
}
