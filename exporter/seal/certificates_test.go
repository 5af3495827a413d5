package seal_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// issuer issues certificates and revocation lists.
type issuer struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func newIssuer(t testing.TB, name string) *issuer {
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name)}
	der := must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))(t)
	return &issuer{must(x509.ParseCertificate(der))(t), key}
}

// issue makes a certificate for a key.
func (i *issuer) issue(t testing.TB, name string, serial int64, key any, from, to time.Time, use ...x509.ExtKeyUsage) *x509.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, ExtKeyUsage: use, KeyUsage: x509.KeyUsageDigitalSignature}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, i.cert, key, i.key))(t)))(t)
}

// list makes a revocation list with one certificate.
func (i *issuer) list(t testing.TB, made time.Time, serial int64, at time.Time) *x509.RevocationList {
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: made, NextUpdate: made.Add(time.Hour)}
	if serial > 0 {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: at}}
	}
	return must(x509.ParseRevocationList(must(x509.CreateRevocationList(rand.Reader, l, i.cert, i.key))(t)))(t)
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

// stampAt answers a request as an authority whose clock has another time.
func stampAt(t testing.TB, cert *x509.Certificate, key crypto.Signer, request []byte, at time.Time) []byte {
	r := must(timestamp.ParseRequest(request))(t)
	s := timestamp.Timestamp{HashAlgorithm: r.HashAlgorithm, HashedMessage: r.HashedMessage, Nonce: r.Nonce, Time: at, Policy: []int{1, 2, 3}, AddTSACertificate: true}
	return must(s.CreateResponseWithOpts(cert, key, crypto.SHA256))(t)
}

// copied is a copy of a bundle.
func copied(t testing.TB, dir string) string {
	out := filepath.Join(t.TempDir(), "c.pcapsule")
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return out
}

// verdictsOf are the verdicts of one check, as STATE DETAIL.
func verdictsOf(t testing.TB, b *bundle.Bundle, check string, trust seal.Trust) string {
	var list []string
	for _, v := range seal.Check(ctx, must(bundle.Verify(ctx, b.Dir, nil))(t), trust) {
		if v.Check == check {
			list = append(list, string(v.State)+" "+v.Detail)
		}
	}
	return strings.Join(list, "\n")
}

// TestCertificatesOfSigners checks seals by a certificate: its validity at the time of the seal, its chain, and revocation.
func TestCertificatesOfSigners(t *testing.T) {
	now, hour := time.Now(), time.Hour
	ca, other := newIssuer(t, "root"), newIssuer(t, "other")
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	ann := signer(t, "Ann", key)
	tsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	tsa := ca.issue(t, "stamps", 9, tsaKey.Public(), now.Add(-100*hour), now.Add(100*hour), x509.ExtKeyUsageTimeStamping)
	b := made(t, "http1.pcapng")
	must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ann}}))(t)
	plain := must(bundle.Open(copied(t, b.Dir)))(t)
	request := must(seal.StampRequest(b, "seal-000.dsse.json", 0))(t)
	must(seal.AddStamp(b, "seal-000.dsse.json", 0, request, stampAt(t, tsa, tsaKey, request, now), bundle.Entry{}))(t)

	party := func(from, to time.Duration, serial int64) seal.Party {
		c := ca.issue(t, "Ann", serial, key.Public(), now.Add(from), now.Add(to))
		return must(seal.ParsePublic("", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))(t)
	}
	valid := party(-hour, hour, 5)
	trust := func(p seal.Party, change func(*seal.Trust)) seal.Trust {
		tr := seal.Trust{Signers: []seal.Party{p}, Authorities: ca.pool(), Between: []*x509.Certificate{ca.cert}}
		if change != nil {
			change(&tr)
		}
		return tr
	}
	for _, tt := range []struct {
		name  string
		b     *bundle.Bundle
		trust seal.Trust
		want  string
	}{
		{"valid at the time stamp", b, trust(valid, nil), "yes signed by Ann"},
		{"valid at the time stamp, expired today", b, trust(valid, func(t *seal.Trust) { t.Now = now.Add(50 * hour) }), "its certificate was valid then"},
		{"expired before the time stamp", b, trust(party(-9*hour, -hour, 5), nil), "no the certificate of Ann"},
		{"not valid yet", b, trust(party(hour, 9*hour, 5), nil), "and the seal is of"},
		{"expired today, without a time stamp", plain, func() seal.Trust {
			tr := trust(valid, func(t *seal.Trust) { t.Now = now.Add(2 * hour) })
			tr.Authorities = nil
			return tr
		}(), "not_checked the certificate of Ann"},
		{"expired before the seal, without a time stamp", plain, func() seal.Trust { tr := trust(party(-9*hour, -hour, 5), nil); tr.Authorities = nil; return tr }(), "by the signer's own clock"},
		{"leads to the root", b, trust(valid, func(t *seal.Trust) { t.Roots = ca.pool() }), "leads to a root that you gave"},
		{"leads to another root", b, trust(valid, func(t *seal.Trust) { t.Roots = other.pool() }), "no the certificate of Ann"},
		{"revoked before", b, trust(valid, func(tr *seal.Trust) {
			tr.Revoked = []*x509.RevocationList{ca.list(t, now.Add(hour), 5, now.Add(-hour))}
		}), "was revoked at"},
		{"revoked later", b, trust(valid, func(tr *seal.Trust) {
			tr.Revoked = []*x509.RevocationList{ca.list(t, now.Add(hour), 5, now.Add(hour/2))}
		}), "and was revoked later"},
		{"another one is revoked", b, trust(valid, func(tr *seal.Trust) { tr.Revoked = []*x509.RevocationList{ca.list(t, now.Add(hour), 6, now)} }), "and not revoked in the list of"},
		{"a list that is too old", b, trust(valid, func(tr *seal.Trust) { tr.Revoked = []*x509.RevocationList{ca.list(t, now.Add(-hour), 6, now)} }), "not_checked the certificate of Ann"},
		{"a list of the same name by another key", b, trust(valid, func(tr *seal.Trust) {
			tr.Revoked = []*x509.RevocationList{newIssuer(t, "root").list(t, now.Add(hour), 6, now)}
		}), "whose signature no given certificate explains"},
		{"the authority is revoked", b, trust(party(-hour, hour, 5), func(tr *seal.Trust) {
			tr.Revoked = []*x509.RevocationList{ca.list(t, now.Add(hour), 9, now.Add(-hour))}
		}), "yes signed by Ann"},
	} {
		if got := verdictsOf(t, tt.b, "signature", tt.trust); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
	got := verdictsOf(t, b, "timestamp", trust(valid, func(tr *seal.Trust) {
		tr.Revoked = []*x509.RevocationList{ca.list(t, now.Add(hour), 9, now.Add(-hour))}
	}))
	if !strings.Contains(got, "was revoked at") || strings.Contains(got, "yes ") {
		t.Errorf("a revoked authority: %s", got)
	}
}

// TestRenewal renews a time stamp before its certificate expires, and looks at it when that has expired.
func TestRenewal(t *testing.T) {
	now, hour := time.Now(), time.Hour
	ca := newIssuer(t, "root")
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	cert := func(serial int64, from, to time.Duration) *x509.Certificate {
		return ca.issue(t, "stamps", serial, key.Public(), now.Add(from), now.Add(to), x509.ExtKeyUsageTimeStamping)
	}
	const name = "seal-000.dsse.json"
	stamp := func(b *bundle.Bundle, number int, c *x509.Certificate, at time.Duration) error {
		request, err := seal.StampRequest(b, name, number)
		if err == nil {
			_, err = seal.AddStamp(b, name, number, request, stampAt(t, c, key, request, now.Add(at)), bundle.Entry{})
		}
		return err
	}
	b := made(t, "http1.pcapng")
	must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Ann")}}))(t)
	if _, err := seal.NextStamp(b, name); err == nil {
		t.Error("renewed a time stamp that does not exist")
	}
	if err := stamp(b, 0, cert(5, -hour, hour), 0); err != nil {
		t.Fatal(err)
	}
	once := must(bundle.Open(copied(t, b.Dir)))(t)
	if n, err := seal.NextStamp(b, name); n != 1 || err != nil {
		t.Errorf("the next time stamp is %d, %v", n, err)
	}
	if err := stamp(b, 1, cert(6, -hour, 100*hour), hour/2); err != nil {
		t.Fatal(err)
	}
	late := must(bundle.Open(copied(t, once.Dir)))(t)
	if err := stamp(late, 1, cert(6, -hour, 100*hour), 2*hour); err != nil {
		t.Fatal(err)
	}
	at := func(after time.Duration) seal.Trust { return seal.Trust{Authorities: ca.pool(), Now: now.Add(after)} }
	for _, tt := range []struct {
		name string
		b    *bundle.Bundle
		now  time.Duration
		want []string
	}{
		{"before it expires", once, 0, []string{"yes the seal existed at", "renew it before"}},
		{"expired and not renewed", once, 2 * hour, []string{"not_checked the seal existed at", "its certificate expired at"}},
		{"expired and renewed before", b, 2 * hour, []string{"yes the seal existed at", "renewed, can be relied on until", "yes the seal with custody/seal-000.tsr existed at"}},
		{"renewed too late", late, 3 * hour, []string{"not_checked the seal existed at"}},
		{"the renewal has expired too", b, 200 * hour, []string{"not_checked the seal existed at"}},
	} {
		got := verdictsOf(t, tt.b, "timestamp", at(tt.now))
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\nwant %s", tt.name, got, want)
			}
		}
	}
	// A renewal is about all of the time stamps below it.
	first := must(b.ReadCustodyFile("seal-000.tsr"))(t)
	put(t, b.Dir, "custody/seal-000.tsr", string(first[:len(first)-1])+string(rune(first[len(first)-1]^1)&0x7f))
	if got := verdictsOf(t, b, "timestamp", at(0)); strings.Contains(got, "yes") {
		t.Errorf("a changed first time stamp: %s", got)
	}
}
