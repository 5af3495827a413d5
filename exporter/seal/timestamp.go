package seal

import (
	"bytes"
	"crypto"
	"crypto/rand"
	_ "crypto/sha1" // in time stamps of older authorities, of a certificate that is checked by its signature too
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

const (
	sealSuffix  = ".dsse.json"
	stampSuffix = ".tsr"
)

// StampRequest makes a request to a time-stamp authority (RFC 3161 section 2.4.1) for a seal,
// custody/NAME.
func StampRequest(b *bundle.Bundle, name string) ([]byte, error) {
	data, err := b.ReadCustodyFile(name)
	if err != nil {
		return nil, err
	}
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, fmt.Errorf("requesting a time stamp: %w", err)
	}
	request, err := timestamp.CreateRequest(bytes.NewReader(data), &timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true, Nonce: nonce})
	if err != nil {
		return nil, fmt.Errorf("requesting a time stamp: %w", err)
	}
	return request, nil
}

// AddStamp adds the response of a time-stamp authority for a seal, custody/NAME, to the bundle.
// request, if not nil, must be the request that was sent: its nonce shows that the response is new.
// entry becomes a line of the custody log.
func AddStamp(b *bundle.Bundle, name string, request, response []byte, entry bundle.Entry) (*Stamp, error) {
	data, err := b.ReadCustodyFile(name)
	if err != nil {
		return nil, err
	}
	stamp, err := parseStamp(response, data)
	if err != nil {
		return nil, fmt.Errorf("reading the time stamp: %w", err)
	}
	if request != nil {
		sent, err := timestamp.ParseRequest(request)
		if err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		if sent.Nonce != nil && (stamp.nonce == nil || sent.Nonce.Cmp(stamp.nonce) != 0) {
			return nil, errors.New("reading the time stamp: it answers another request")
		}
	}
	stampName := strings.TrimSuffix(name, sealSuffix) + stampSuffix
	if _, err := b.ReadCustodyFile(stampName); err == nil {
		return nil, fmt.Errorf("adding custody/%s: %w", stampName, bundle.ErrExists)
	}
	stamp.File = "custody/" + stampName
	entry.Event, entry.Time = EventTimestamped, 0
	entry.Details = map[string]string{"file": stamp.File, "sha256": bundle.Digest(sha256.Sum256(response)).String()}
	if _, _, err := b.AppendCustody(entry); err != nil {
		return nil, err
	}
	if err := b.AddCustodyFile(stampName, response); err != nil {
		return nil, errors.Join(err, fail(b, entry, stampName))
	}
	return stamp, nil
}

// Stamp is a time stamp.
type Stamp struct {
	File      string        `json:"file"` // in the bundle
	Time      time.Time     `json:"time"`
	Accuracy  time.Duration `json:"accuracy_ns"` // 0: not stated
	Authority string        `json:"authority"`   // subject of the certificate

	nonce *big.Int
	token *pkcs7.PKCS7
}

// parseStamp reads a response and checks that it is for data and that its signature is that of
// a certificate for time stamps.
func parseStamp(response, data []byte) (stamp *Stamp, err error) {
	defer func() { // the library reads beyond the end of some damaged responses
		if recover() != nil {
			stamp, err = nil, errors.New("it is damaged")
		}
	}()
	t, err := timestamp.ParseResponse(response)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if t.HashAlgorithm != crypto.SHA256 || !bytes.Equal(t.HashedMessage, sum[:]) {
		return nil, errors.New("it is not for this seal")
	}
	p7, err := pkcs7.Parse(t.RawToken)
	if err != nil {
		return nil, err
	}
	signer := p7.GetOnlySigner()
	if signer == nil {
		return nil, errors.New("it needs one signer with a certificate in it")
	}
	if !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) {
		return nil, fmt.Errorf("the certificate of %s is not for time stamps", signer.Subject)
	}
	if err := names(p7, signer); err != nil {
		return nil, err
	}
	s := &Stamp{Time: t.Time.UTC(), Accuracy: t.Accuracy, Authority: signer.Subject.String(), nonce: t.Nonce, token: p7}
	if err := s.verify(nil); err != nil {
		return nil, err
	}
	return s, nil
}

// essCert identifies a certificate: ESSCertID (RFC 2634 section 5.4) with SHA-1, or ESSCertIDv2 (RFC 5035 section 4)
// with SHA-256 if it names no algorithm.
type essCert struct {
	Algorithm pkix.AlgorithmIdentifier `asn1:"optional"`
	Hash      []byte
	Issuer    asn1.RawValue `asn1:"optional"`
}

// names checks that a token names the certificate of its signer (RFC 3161 section 2.4.1, RFC 5816). Without that,
// another certificate of the same key, such as one that is valid for longer, could be put in its place.
func names(token *pkcs7.PKCS7, signer *x509.Certificate) error {
	for _, form := range []struct {
		id   asn1.ObjectIdentifier
		hash crypto.Hash
	}{{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}, crypto.SHA256}, {asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}, crypto.SHA1}} {
		var said struct {
			Certs    []essCert
			Policies asn1.RawValue `asn1:"optional"`
		}
		if err := token.UnmarshalSignedAttribute(form.id, &said); err != nil || len(said.Certs) == 0 {
			continue
		}
		for id, hash := range map[string]crypto.Hash{"2.16.840.1.101.3.4.2.1": crypto.SHA256, "2.16.840.1.101.3.4.2.2": crypto.SHA384, "2.16.840.1.101.3.4.2.3": crypto.SHA512} {
			if said.Certs[0].Algorithm.Algorithm.String() == id {
				form.hash = hash
			}
		}
		h := form.hash.New()
		h.Write(signer.Raw)
		if bytes.Equal(h.Sum(nil), said.Certs[0].Hash) {
			return nil
		}
		return fmt.Errorf("the certificate of %s is not the one that the time stamp names", signer.Subject)
	}
	return errors.New("it does not name the certificate that signed it")
}

// verify checks the signature, and that its certificate leads to roots if there are any.
func (s *Stamp) verify(roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, cert := range s.token.Certificates {
		intermediates.AddCert(cert)
	}
	return s.token.VerifyWithOpts(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: s.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}})
}

// timestamp checks one time stamp.
func (c *checker) timestamp(file string, response []byte) {
	seal, ok := c.sealOf("timestamp", file, stampSuffix, EventTimestamped, response)
	if !ok {
		return
	}
	stamp, err := parseStamp(response, seal)
	if err != nil {
		c.add("timestamp", No, file, err.Error())
		return
	}
	detail := "the seal existed at " + stamp.Time.Format(time.RFC3339) + ", says " + stamp.Authority
	if c.trust.Authorities == nil {
		c.add("timestamp", NotChecked, file, detail+"; give the authority's certificate with --authority")
		return
	}
	if err := stamp.verify(c.trust.Authorities); err != nil {
		c.add("timestamp", NotChecked, file, detail+", an authority that you did not give")
		return
	}
	c.stamped = true
	c.add("timestamp", Yes, file, detail+", an authority that you gave")
}
