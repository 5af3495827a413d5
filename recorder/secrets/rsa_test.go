package secrets

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

// handshakeMessages returns the messages of both sides in protocol order up to the client's
// key exchange, and the ciphertext in that one.
func handshakeMessages(t *testing.T, s *session) (transcript, encrypted []byte) {
	t.Helper()
	var plain [2][]byte
	for i := range plain {
		for _, r := range records(s.sent[i]) {
			if r.Type != 22 {
				break
			}
			plain[i] = append(plain[i], r.Body...)
		}
	}
	next := func(i int) (msg []byte) {
		n := 4 + int(plain[i][1])<<16 + int(plain[i][2])<<8 + int(plain[i][3])
		msg, plain[i] = plain[i][:n], plain[i][n:]
		return msg
	}
	transcript = append(transcript, next(0)...)
	for len(plain[1]) > 0 {
		msg := next(1)
		transcript = append(transcript, msg...)
		if msg[0] == 14 { // server hello done
			break
		}
	}
	exchange := next(0)
	if exchange[0] != 16 {
		t.Fatalf("message %d, want the client's key exchange", exchange[0])
	}
	return append(transcript, exchange...), exchange[6:]
}

func TestMasterSecretFromTheServersKey(t *testing.T) {
	certs := certificates(t)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		for _, id := range []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_RC4_128_SHA} {
			if SuiteOf(id).AEAD && version < tls.VersionTLS12 {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", tls.VersionName(version), SuiteOf(id).Name), func(t *testing.T) {
				s := talk(t, certs, version, id, []byte("x"), []byte("y"))
				store := NewStore()
				for _, c := range certs[1:] {
					if err := store.AddKey("server", x509.MarshalPKCS1PrivateKey(c.PrivateKey.(*rsa.PrivateKey))); err != nil {
						t.Fatal(err)
					}
				}
				store.Ready()
				transcript, encrypted := handshakeMessages(t, s)
				preMaster := store.DecryptRSA(encrypted)
				if len(preMaster) != 1 || !s.suite.RSA {
					t.Fatalf("%d premaster secrets for %v", len(preMaster), s.suite)
				}
				master := ExtendedMasterSecret(version, s.suite, preMaster[0], TranscriptHash(version, s.suite, transcript))
				want := storeOf(t, s.log).Find(s.random[0])
				if len(want) != 1 || !bytes.Equal(master, want[0].Value) {
					t.Errorf("made %x, want %v", master, want)
				}
			})
		}
	}
}

func TestMasterSecretWithoutExtension(t *testing.T) {
	// Made with OpenSSL: openssl kdf -keylen 48 -kdfopt digest:MD5-SHA1 (and SHA256)
	// -kdfopt hexsecret:… -kdfopt hexseed:"master secret",client,server TLS1-PRF
	secret, client, server := fixed(3, 48), fixed(1, 32), fixed(2, 32)
	for _, c := range []struct {
		version uint16
		want    string
	}{
		{SSL30, masterSSL3}, {TLS10, masterMD5SHA1}, {TLS11, masterMD5SHA1}, {DTLS10, masterMD5SHA1}, {TLS12, masterSHA256}, {DTLS12, masterSHA256},
	} {
		if got := MasterSecret(c.version, SuiteOf(0x009c), secret, client, server); !bytes.Equal(got, unhex(t, c.want)) {
			t.Errorf("%#04x: %x, want %s", c.version, got, c.want)
		}
	}
}

func TestDecryptRSA(t *testing.T) {
	big2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small := smallKey(t)
	for _, key := range []*rsa.PrivateKey{big2048, small} {
		store := NewStore()
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := append([]byte("Bag Attributes\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
		path := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := store.AddFile(path); err != nil {
			t.Fatal(err)
		}
		line := Secret{Label: PreMasterRSA, ID: fixed(0xab, 8), Value: fixed(0xcd, 48)}.Line() + "\n"
		if err := store.AddLog("log", bytes.NewReader([]byte(line)), int64(len(line))); err != nil {
			t.Fatal(err)
		}
		store.Ready()
		for _, n := range []int{48, 47} {
			want := fixed(3, n)
			got := store.DecryptRSA(encryptRSA(key, want))
			if n != 48 && len(got) != 0 || n == 48 && (len(got) != 1 || !bytes.Equal(got[0], want)) {
				t.Errorf("%d bits, %d bytes: decrypted %x", key.N.BitLen(), n, got)
			}
		}
		if got := store.DecryptRSA(append(fixed(0xab, 8), fixed(1, 100)...)); len(got) != 1 || !bytes.Equal(got[0], fixed(0xcd, 48)) {
			t.Errorf("%d bits: from the line got %x", key.N.BitLen(), got)
		}
		for _, bad := range [][]byte{nil, {1}, fixed(0xff, key.Size()), fixed(0, key.Size()), fixed(1, key.Size()+1)} {
			if got := store.DecryptRSA(bad); got != nil {
				t.Errorf("%d bits: %x decrypts to %x", key.N.BitLen(), bad, got)
			}
		}
		if st := store.Stats(); len(st) != 2 || st[0].Kind != RSAKey || st[0].Keys != 1 || store.Empty() {
			t.Errorf("%+v", st)
		}
	}
}

// smallKey makes a key of 512 bits, as in old captures, which the standard library no
// longer does.
func smallKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	for {
		p, err := rand.Prime(rand.Reader, 256)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 256)
		if err != nil {
			t.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(65537), phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: d, Primes: []*big.Int{p, q}}
		if key.N.BitLen() == 512 {
			return key
		}
	}
}

// encryptRSA implements RFC 8017 section 7.2.1 for keys of any size.
func encryptRSA(key *rsa.PrivateKey, msg []byte) []byte {
	padded := fixed(0x77, key.Size())
	padded[0], padded[1] = 0, 2
	copy(padded[len(padded)-len(msg):], msg)
	padded[len(padded)-len(msg)-1] = 0
	m := new(big.Int).Exp(new(big.Int).SetBytes(padded), big.NewInt(int64(key.E)), key.N)
	return m.FillBytes(make([]byte, key.Size()))
}

func TestRefusesOtherKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"an elliptic curve key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), ErrNoKey},
		{"a certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), ErrNoKey},
		{"an encrypted key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), ErrEncrypted},
		{"a key encrypted in the old format", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")}), ErrEncrypted},
		{"a truncated key", []byte("-----BEGIN RSA PRIVATE KEY-----\nMIIC"), ErrNoKey},
		{"nothing", nil, ErrNoKey},
		{"binary data", fixed(0x30, 100), ErrNoKey},
	} {
		err := NewStore().AddKey("key", c.data)
		var source *SourceError
		if !errors.Is(err, c.want) || !errors.As(err, &source) || source.Name != "key" {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

const (
	// tshark opened records with it, given the premaster secret.
	masterSSL3    = "f8bd2b8450495b364fee2584142f284a31c59a918c7769c1d7fba4697d2ec156cf52c48839c049fc042a91423ad018e8"
	masterMD5SHA1 = "90d291fc0dc0493c909ddbb4058ba2a19de928984beaf6363927130868f50c22141d348cab3a1d674a45da8cba49fc11"
	masterSHA256  = "7a59e36b4d309767220dde193c1021c9046008ce580fc41edea785a41b6455ae76b3d3d964b5d381116eda106a51ddb4"
)
