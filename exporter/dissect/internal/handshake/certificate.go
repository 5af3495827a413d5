package handshake

import (
	//lint:ignore SA1019 old certificates have such keys, and a reader must name them
	"crypto/dsa" //nolint:staticcheck // old certificates have such keys
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

// Certificate holds the fields of a certificate. If crypto/x509 rejects it, the fields that its
// ASN.1 still yields are set, and Problem is the reason.
type Certificate struct {
	SHA256          [32]byte // set by the caller
	SHA1            [20]byte // set by the caller
	Read            bool     // some of the fields below are set
	Problem         string
	Subject, Issuer string
	Serial          string // hexadecimal
	NotBefore       time.Time
	NotAfter        time.Time
	SANs            []string
	KeyType         string
	KeyBits         int
	Signature       string
	SelfIssued      bool
}

// Limits of one certificate.
const (
	maxNameText = 4 << 10 // bytes kept of a subject or an issuer
	maxSANs     = 1000
	maxSerial   = 64 // bytes
)

// ErrMore means that there are more certificates than the limit.
var ErrMore = errors.New("reading Certificate: the chain has more certificates than the limit")

// ReadCertificates splits the list of a Certificate message (TLS 1.2 and earlier) into
// certificates, at most limit, and then returns ErrMore. With an error it returns the
// certificates before it.
func ReadCertificates(b []byte, limit int) ([][]byte, error) {
	r := cursor.New(b)
	n := int(r.Uint24())
	list := r.Sub(min(n, r.Left()))
	var out [][]byte
	for list.Left() > 0 && len(out) < limit {
		der := list.Bytes(int(list.Uint24()))
		if list.Short() {
			return out, short("Certificate")
		}
		if len(der) > 0 {
			out = append(out, der)
		}
	}
	if list.Left() > 0 {
		return out, ErrMore
	}
	if r.Short() || n+3 != len(b) {
		return out, fmt.Errorf("reading Certificate: a list of %d bytes in a message of %d", n, len(b))
	}
	return out, nil
}

// ReadCertificate reads a certificate. It never rejects one.
func ReadCertificate(der []byte) *Certificate {
	c := &Certificate{}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		c.Problem = "reading certificate: " + strings.TrimPrefix(err.Error(), "x509: ")
		c.readLoosely(der)
		return c
	}
	c.Read = true
	c.Subject, c.Issuer = nameText(x.RawSubject), nameText(x.RawIssuer)
	c.SelfIssued = string(x.RawSubject) == string(x.RawIssuer)
	c.setSerial(x.SerialNumber)
	c.NotBefore, c.NotAfter = x.NotBefore, x.NotAfter
	c.SANs = append(c.SANs, x.DNSNames...)
	for _, ip := range x.IPAddresses {
		c.SANs = append(c.SANs, ip.String())
	}
	c.SANs = append(c.SANs, x.EmailAddresses...)
	for _, u := range x.URIs {
		c.SANs = append(c.SANs, u.String())
	}
	if n := len(c.SANs); n > maxSANs {
		c.SANs = c.SANs[:maxSANs]
		c.Problem = fmt.Sprintf("reading certificate: the first %d of %d alternative names are kept", maxSANs, n)
	}
	c.key(x)
	if x.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		c.Signature = x.SignatureAlgorithm.String()
	} else {
		c.Signature = signatureOID(der)
	}
	return c
}

func (c *Certificate) setSerial(n *big.Int) {
	if n == nil {
		return
	}
	b := n.Bytes()
	more := ""
	if len(b) > maxSerial {
		b, more = b[:maxSerial], "…"
	}
	c.Serial = fmt.Sprintf("%x", b) + more
	if len(b) == 0 {
		c.Serial = "00"
	}
	if n.Sign() < 0 {
		c.Serial = "-" + c.Serial
	}
}

func (c *Certificate) key(x *x509.Certificate) {
	switch k := x.PublicKey.(type) {
	case *rsa.PublicKey:
		c.KeyType, c.KeyBits = "rsa", k.N.BitLen()
	case *ecdsa.PublicKey:
		c.KeyType, c.KeyBits = "ecdsa", k.Curve.Params().BitSize
	case ed25519.PublicKey:
		c.KeyType, c.KeyBits = "ed25519", 8*len(k)
	case *dsa.PublicKey:
		c.KeyType, c.KeyBits = "dsa", k.P.BitLen()
	default:
		var info publicKeyInfo
		if _, err := asn1.Unmarshal(x.RawSubjectPublicKeyInfo, &info); err == nil {
			c.setKey(info)
		}
	}
}

type publicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

// setKey sets the key's type by the object identifier of its algorithm.
func (c *Certificate) setKey(info publicKeyInfo) {
	c.KeyType, c.KeyBits = info.Algorithm.Algorithm.String(), info.Key.BitLength
	if c.KeyType == "1.2.840.113549.1.1.1" {
		var k struct {
			N *big.Int
			E *big.Int
		}
		c.KeyType = "rsa"
		if _, err := asn1.Unmarshal(info.Key.Bytes, &k); err == nil && k.N != nil {
			c.KeyBits = k.N.BitLen()
		}
	}
	if c.KeyType == "1.2.840.10045.2.1" {
		c.KeyType, c.KeyBits = "ecdsa", (info.Key.BitLength/8-1)/2*8
	}
}

func signatureOID(der []byte) string {
	var outer struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return ""
	}
	return outer.Algorithm.Algorithm.String()
}

// readLoosely reads the fields one after another, as far as possible.
func (c *Certificate) readLoosely(der []byte) {
	var outer, tbs, v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil || outer.Tag != asn1.TagSequence {
		return
	}
	rest, err := asn1.Unmarshal(outer.Bytes, &tbs)
	if err != nil || tbs.Tag != asn1.TagSequence {
		return
	}
	var algorithm pkix.AlgorithmIdentifier
	if _, err := asn1.Unmarshal(rest, &algorithm); err == nil {
		c.Signature = algorithm.Algorithm.String()
	}
	b := tbs.Bytes
	next := func() bool {
		var err error
		b, err = asn1.Unmarshal(b, &v)
		return err == nil
	}
	if !next() {
		return
	}
	if v.Class == asn1.ClassContextSpecific && !next() { // version
		return
	}
	if v.Tag == asn1.TagInteger && v.Class == asn1.ClassUniversal {
		c.Read = true
		c.setSerial(new(big.Int).SetBytes(v.Bytes[:min(len(v.Bytes), maxSerial+1)]))
	}
	if !next() { // signature
		return
	}
	if !next() { // issuer
		return
	}
	issuer := v.FullBytes
	c.Issuer = nameText(issuer)
	if !next() {
		return
	}
	var t time.Time
	if after, err := asn1.Unmarshal(v.Bytes, &t); err == nil {
		c.NotBefore = t
		if _, err := asn1.Unmarshal(after, &t); err == nil {
			c.NotAfter = t
		}
	}
	if !next() {
		return
	}
	c.Subject = nameText(v.FullBytes)
	c.SelfIssued = string(v.FullBytes) == string(issuer)
	var info publicKeyInfo
	if !next() {
		return
	}
	if _, err := asn1.Unmarshal(v.FullBytes, &info); err == nil {
		c.setKey(info)
	}
	c.looseSANs(b)
}

// looseSANs finds the extension subjectAltName among the extensions.
func (c *Certificate) looseSANs(b []byte) {
	for len(b) > 0 {
		var v asn1.RawValue
		var err error
		if b, err = asn1.Unmarshal(b, &v); err != nil {
			return
		}
		if v.Class != asn1.ClassContextSpecific || v.Tag != 3 {
			continue
		}
		var list []pkix.Extension
		if _, err := asn1.Unmarshal(v.Bytes, &list); err != nil {
			return
		}
		for _, e := range list {
			if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
				c.generalNames(e.Value)
			}
		}
	}
}

func (c *Certificate) generalNames(b []byte) {
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(b, &seq); err != nil {
		return
	}
	for b = seq.Bytes; len(b) > 0 && len(c.SANs) < maxSANs; {
		var v asn1.RawValue
		var err error
		if b, err = asn1.Unmarshal(b, &v); err != nil {
			return
		}
		if v.Class == asn1.ClassContextSpecific && (v.Tag == 1 || v.Tag == 2 || v.Tag == 6) {
			c.SANs = append(c.SANs, string(v.Bytes))
		}
	}
}
