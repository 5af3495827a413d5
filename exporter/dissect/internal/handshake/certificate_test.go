package handshake

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"
	"time"
)

// TestReadCertificateLoosely reads a certificate that crypto/x509 rejects: its two copies of the
// signature algorithm differ.
func TestReadCertificateLoosely(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(0xbeef), Subject: pkix.Name{CommonName: "loose.example"},
		NotBefore: time.Unix(1_600_000_000, 0), NotAfter: time.Unix(1_700_000_000, 0), DNSNames: []string{"loose.example", "other.example"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, private)
	if err != nil {
		t.Fatal(err)
	}
	good := ReadCertificate(der)
	oid := []byte{0x06, 0x03, 0x2b, 0x65, 0x70}
	bad := bytes.Clone(der)
	bad[bytes.LastIndex(bad, oid)+4] = 0x71
	c := ReadCertificate(bad)
	if good.Problem != "" || c.Problem == "" {
		t.Fatalf("problems %q and %q, want none and one", good.Problem, c.Problem)
	}
	if c.Subject != good.Subject || c.Issuer != good.Issuer || c.Serial != "beef" || !c.NotAfter.Equal(good.NotAfter) || !slices.Equal(c.SANs, good.SANs) || !c.SelfIssued {
		t.Errorf("read %+v, want as %+v", c, good)
	}
	if good.KeyType != "ed25519" || good.KeyBits != 256 {
		t.Errorf("key %s of %d bits", good.KeyType, good.KeyBits)
	}
	for n := range der {
		if c := ReadCertificate(der[:n]); c.Problem == "" {
			t.Errorf("%d of %d bytes were accepted", n, len(der))
		}
	}
}

func TestNameText(t *testing.T) {
	name := func(parts ...string) []byte {
		wrap := func(tag byte, s string) string { return string([]byte{tag, byte(len(s))}) + s }
		all := ""
		for _, p := range parts {
			all += wrap(0x31, wrap(0x30, p))
		}
		return []byte(wrap(0x30, all))
	}
	cn, mail := "\x06\x03\x55\x04\x03", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"
	for _, c := range []struct {
		name, want string
		raw        []byte
	}{
		{"two parts, the last first", "CN=b,CN=a", name(cn+"\x13\x01a", cn+"\x0c\x01b")},
		{"a mail address", "emailAddress=a@b", name(mail + "\x16\x03a@b")},
		{"a character that is invalid in its type", "CN=a*b", name(cn + "\x13\x03a*b")},
		{"a separator inside", `CN=a\,b`, name(cn + "\x0c\x03a,b")},
		{"two bytes per character", "CN=é", name(cn + "\x1e\x02\x00\xe9")},
		{"an unknown attribute", "1.2.3=x", name("\x06\x02\x2a\x03\x0c\x01x")},
		{"nothing", "", name()},
		{"no name at all", "", []byte("\x30\x05abc")},
	} {
		if got := nameText(c.raw); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
