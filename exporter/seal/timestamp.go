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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

const (
	sealSuffix  = ".dsse.json"
	stampSuffix = ".tsr"
	maxRenewals = 99 // of the time stamp of one seal
)

// stampName is the file of a time stamp of a seal: number 0 is the first, and each other one renews those before it.
func stampName(seal string, number int) string {
	stem := strings.TrimSuffix(seal, sealSuffix)
	if number == 0 {
		return stem + stampSuffix
	}
	return fmt.Sprintf("%s.%d%s", stem, number, stampSuffix)
}

var renewalName = regexp.MustCompile(`^(.*)\.([1-9][0-9]?)\.tsr$`)

// sealOfStamp is the seal that a time stamp is about, and its number.
func sealOfStamp(file string) (seal string, number int) {
	if m := renewalName.FindStringSubmatch(file); m != nil {
		number, _ = strconv.Atoi(m[2]) // digits
		return m[1] + sealSuffix, number
	}
	return strings.TrimSuffix(file, stampSuffix) + sealSuffix, 0
}

// stamped is what a time stamp covers: the seal, and all time stamps of it that it renews, one after the other. So a renewal
// shows that the older ones existed when their algorithms and certificates still could be relied on (RFC 4998, section 5.3).
func stamped(read func(name string) ([]byte, error), seal string, number int) (data []byte, err error) {
	if data, err = read(seal); err != nil {
		return nil, err
	}
	for i := range number {
		older, err := read(stampName(seal, i))
		if err != nil {
			return nil, err
		}
		data = append(slices.Clip(data), older...)
	}
	return data, nil
}

// NextStamp is the number of the time stamp that renews those of a seal, custody/NAME.
func NextStamp(b *bundle.Bundle, name string) (int, error) {
	n := 0
	for n <= maxRenewals {
		if _, err := b.ReadCustodyFile(stampName(name, n)); err != nil {
			break
		}
		n++
	}
	switch {
	case n > maxRenewals:
		return 0, fmt.Errorf("custody/%s has %d time stamps, the maximum", name, n)
	case n == 0:
		return 0, fmt.Errorf("custody/%s has no time stamp to renew", name)
	}
	return n, nil
}

// StampRequest makes a request to a time-stamp authority (RFC 3161 section 2.4.1) for time stamp number of a seal,
// custody/NAME. A renewal has SHA-512, so it also renews the algorithm.
func StampRequest(b *bundle.Bundle, name string, number int) ([]byte, error) {
	data, err := stamped(b.ReadCustodyFile, name, number)
	if err != nil {
		return nil, err
	}
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, fmt.Errorf("requesting a time stamp: %w", err)
	}
	request, err := timestamp.CreateRequest(bytes.NewReader(data), &timestamp.RequestOptions{Hash: stampHash(number), Certificates: true, Nonce: nonce})
	if err != nil {
		return nil, fmt.Errorf("requesting a time stamp: %w", err)
	}
	return request, nil
}

// stampHash is the hash that a time stamp asks for.
func stampHash(number int) crypto.Hash {
	if number == 0 {
		return crypto.SHA256
	}
	return crypto.SHA512
}

// AddStamp adds the response of a time-stamp authority, time stamp number of a seal, custody/NAME, to the bundle.
// request, if not nil, must be the request that was sent: its nonce shows that the response is new.
// entry becomes a line of the custody log.
func AddStamp(b *bundle.Bundle, name string, number int, request, response []byte, entry bundle.Entry) (*Stamp, error) {
	data, err := stamped(b.ReadCustodyFile, name, number)
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
	file := stampName(name, number)
	if _, err := b.ReadCustodyFile(file); err == nil {
		return nil, fmt.Errorf("adding custody/%s: %w", file, bundle.ErrExists)
	}
	stamp.File = "custody/" + file
	entry.Event, entry.Time = EventTimestamped, 0
	entry.Details = map[string]string{"file": stamp.File, "sha256": bundle.Digest(sha256.Sum256(response)).String()}
	if _, _, err := b.AppendCustody(entry); err != nil {
		return nil, err
	}
	if err := b.AddCustodyFile(file, response); err != nil {
		return nil, errors.Join(err, fail(b, entry, file))
	}
	return stamp, nil
}

// Stamp is a time stamp.
type Stamp struct {
	File      string        `json:"file"` // in the bundle
	Time      time.Time     `json:"time"`
	Accuracy  time.Duration `json:"accuracy_ns"` // 0: not stated
	Authority string        `json:"authority"`   // subject of the certificate

	nonce  *big.Int
	token  *pkcs7.PKCS7
	signer *x509.Certificate
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
	if t.HashAlgorithm != crypto.SHA256 && t.HashAlgorithm != crypto.SHA384 && t.HashAlgorithm != crypto.SHA512 {
		return nil, fmt.Errorf("it hashes the seal with %v; SHA-256, SHA-384 and SHA-512 are accepted", t.HashAlgorithm)
	}
	h := t.HashAlgorithm.New()
	h.Write(data)
	if !bytes.Equal(t.HashedMessage, h.Sum(nil)) {
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
	s := &Stamp{Time: t.Time.UTC(), Accuracy: t.Accuracy, Authority: signer.Subject.String(), nonce: t.Nonce, token: p7, signer: signer}
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

// stamp checks that the custody log has time stamp number of a seal, and reads it. Names are as in the report.
func (c *checker) stamp(seal string, number int) (*Stamp, error) {
	response, exists := c.report.CustodyFiles[stampName(seal, number)]
	if !exists {
		return nil, fmt.Errorf("%s is missing", stampName(seal, number))
	}
	data, err := stamped(func(name string) ([]byte, error) {
		if data, exists := c.report.CustodyFiles[name]; exists {
			return data, nil
		}
		return nil, fmt.Errorf("%s is missing", name)
	}, seal, number)
	if err != nil {
		return nil, err
	}
	return parseStamp(response, data)
}

// believed reports whether a time stamp is by an authority that the reader gave, with a certificate that was valid and not
// revoked then; else why not.
func (c *checker) believed(stamp *Stamp) (ok bool, why string) {
	if c.trust.Authorities == nil {
		return false, "; give the authority's certificate with --authority"
	}
	if stamp.verify(c.trust.Authorities) != nil {
		return false, ", an authority that you did not give"
	}
	if s, text := c.trust.revoked(stamp.signer, stamp.Time); s != Yes {
		return false, "; its certificate " + text
	}
	return true, ""
}

// lasting is the time until which a time stamp can be relied on: the end of its certificate, or later if renewals that the reader
// believes follow, each of them made before that.
func (c *checker) lasting(seal string, number int, stamp *Stamp) time.Time {
	until := stamp.signer.NotAfter
	for n := number + 1; ; n++ {
		next, err := c.stamp(seal, n)
		if err != nil || next.Time.After(until) {
			return until
		}
		if ok, _ := c.believed(next); !ok {
			return until
		}
		until = latest(until, next.signer.NotAfter)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// made is when a seal was made: by the first time stamp that the reader can rely on, else by the signer's clock.
func (c *checker) made(file string, s *Statement) (at time.Time, proved bool) {
	if stamp, err := c.stamp(file, 0); err == nil && c.listed(EventTimestamped, stampName(file, 0), c.report.CustodyFiles[stampName(file, 0)]) {
		if ok, _ := c.believed(stamp); ok && !c.lasting(file, 0, stamp).Before(c.trust.now()) {
			return stamp.Time, true
		}
	}
	return time.Unix(0, int64(s.Predicate.SealedAt)).UTC(), false
}

// timestamp checks one time stamp.
func (c *checker) timestamp(file string, response []byte) {
	seal, number := sealOfStamp(file)
	if _, exists := c.report.CustodyFiles[seal]; !exists {
		c.add("timestamp", No, file, "its seal is missing")
		return
	}
	if !c.listed(EventTimestamped, file, response) {
		c.add("timestamp", No, file, "the custody log does not have it with this content")
		return
	}
	stamp, err := c.stamp(seal, number)
	if err != nil {
		c.add("timestamp", No, file, err.Error())
		return
	}
	what := "the seal"
	if number > 0 {
		what = fmt.Sprintf("the seal with %s", stampName(seal, number-1))
		if older, err := c.stamp(seal, number-1); err == nil && older.Time.After(stamp.Time) {
			c.add("timestamp", No, file, "it is older than the time stamp that it renews")
			return
		}
	}
	detail := what + " existed at " + stamp.Time.Format(time.RFC3339) + ", says " + stamp.Authority
	ok, why := c.believed(stamp)
	if !ok {
		c.add("timestamp", NotChecked, file, detail+why)
		return
	}
	c.stamped = true
	switch until := c.lasting(seal, number, stamp); {
	case until.Before(c.trust.now()):
		c.add("timestamp", NotChecked, file, detail+", an authority that you gave; its certificate expired at "+until.UTC().Format(time.RFC3339)+", and no renewal before that shows that the time stamp is older")
	case until.After(stamp.signer.NotAfter):
		c.add("timestamp", Yes, file, detail+", an authority that you gave; renewed, can be relied on until "+until.UTC().Format(time.RFC3339))
	default:
		c.add("timestamp", Yes, file, detail+", an authority that you gave; renew it before "+until.UTC().Format(time.RFC3339))
	}
}
