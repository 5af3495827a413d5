package seal

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // hashes of the algorithms below
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// Algorithms of signatures. Their names are those of securesystemslib.
const (
	Ed25519 = "ed25519"           // RFC 8032, over the encoded envelope itself
	ECDSA   = "ecdsa-sha2-nistp"  // with 256, 384 or 521: FIPS 186-5, ASN.1, with SHA-256, SHA-384 or SHA-512
	RSA     = "rsassa-pss-sha256" // RFC 8017 section 8.1, salt as long as the hash
)

// maxKeyFile is the size of a key file, in bytes, also after decryption.
const maxKeyFile = 64 << 10

const minRSA = 2048 // bits

// Party is a signer, or the owner of a signature that is checked.
type Party struct {
	Name      string `json:"name,omitempty" jsonschema:"person, team or machine that holds the key"`
	KeyID     string `json:"keyid" jsonschema:"SHA-256 fingerprint of the public key, as ssh-keygen -l prints it"`
	Algorithm string `json:"algorithm" jsonschema:"ed25519, ecdsa-sha2-nistp256, -384 or -521, or rsassa-pss-sha256"`
	PublicKey string `json:"public_key" jsonschema:"PEM of the public key (PKIX)"`

	key         crypto.PublicKey
	certificate *x509.Certificate // by which a reader names the party; else nil
}

// NewParty describes the holder of a public key.
func NewParty(name string, key crypto.PublicKey) (Party, error) {
	p := Party{Name: name, key: key}
	switch k := key.(type) {
	case ed25519.PublicKey:
		p.Algorithm = Ed25519
	case *ecdsa.PublicKey:
		p.Algorithm = fmt.Sprintf("%s%d", ECDSA, k.Curve.Params().BitSize)
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return p, fmt.Errorf("an RSA key of %d bits is too short; the minimum is %d", k.N.BitLen(), minRSA)
		}
		p.Algorithm = RSA
	default:
		return p, fmt.Errorf("keys of type %T cannot sign here; use ed25519, ECDSA or RSA", key)
	}
	pub, err := ssh.NewPublicKey(key)
	if err != nil {
		return p, err // ECDSA over a curve that SSH does not know
	}
	p.KeyID = ssh.FingerprintSHA256(pub)
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return p, err
	}
	p.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return p, nil
}

// String names the party for people.
func (p *Party) String() string {
	if p.Name == "" {
		return p.KeyID
	}
	return p.Name + " (" + p.KeyID + ")"
}

// hash is the hash that the algorithm signs; 0 for ed25519.
func (p *Party) hash() crypto.Hash {
	switch {
	case p.Algorithm == Ed25519:
		return 0
	case strings.HasSuffix(p.Algorithm, "384"):
		return crypto.SHA384
	case strings.HasSuffix(p.Algorithm, "521"):
		return crypto.SHA512
	}
	return crypto.SHA256
}

func (p *Party) digest(data []byte) []byte {
	if p.hash() == 0 {
		return data
	}
	h := p.hash().New()
	h.Write(data)
	return h.Sum(nil)
}

// Verify checks a signature of data. It is a method of dsse.Verifier.
func (p *Party) Verify(_ context.Context, data, sig []byte) error {
	ok := false
	switch k := p.key.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, data, sig)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, p.digest(data), sig)
	case *rsa.PublicKey:
		ok = rsa.VerifyPSS(k, p.hash(), p.digest(data), sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	}
	if !ok {
		return errors.New("the signature is wrong")
	}
	return nil
}

// verifier is a Party as dsse.Verifier, whose KeyID is a method.
type verifier struct{ *Party }

// KeyID is the fingerprint.
func (v verifier) KeyID() (string, error) { return v.Party.KeyID, nil }

// Public is the public key.
func (v verifier) Public() crypto.PublicKey { return v.Party.key }

// Signer is a key that can sign.
type Signer struct {
	Party Party
	sign  func(p *Party, data []byte) ([]byte, error)
}

// Sign signs data. It is a method of dsse.Signer.
func (s *Signer) Sign(_ context.Context, data []byte) ([]byte, error) { return s.sign(&s.Party, data) }

// KeyID is the fingerprint of the key.
func (s *Signer) KeyID() (string, error) { return s.Party.KeyID, nil }

// NewSigner makes a signer of a private key. name is its owner and may be empty.
func NewSigner(name string, key crypto.Signer) (Signer, error) {
	p, err := NewParty(name, key.Public())
	if err != nil {
		return Signer{}, err
	}
	return Signer{Party: p, sign: func(p *Party, data []byte) ([]byte, error) {
		var o crypto.SignerOpts = p.hash()
		if p.Algorithm == RSA {
			o = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: p.hash()}
		}
		return key.Sign(rand.Reader, p.digest(data), o)
	}}, nil
}

// ParsePrivate reads a private key: PEM (PKCS #8, PKCS #1, SEC 1) or OpenSSH, unencrypted, or
// encrypted with age to one of the identities. OpenSSH keys with a passphrase are not supported:
// add them to ssh-agent.
func ParsePrivate(name string, text []byte, identities []age.Identity) (Signer, error) {
	text, err := decrypt(text, identities)
	if err != nil {
		return Signer{}, err
	}
	key, err := ssh.ParseRawPrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return Signer{}, errors.New("the key has a passphrase; add it to ssh-agent, or encrypt the file with age instead")
	}
	if err != nil {
		return Signer{}, errors.New("it is not a private key that can be read")
	}
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		return NewSigner(name, *k)
	case crypto.Signer:
		return NewSigner(name, k)
	}
	return Signer{}, fmt.Errorf("a key of type %T cannot sign", key)
}

func decrypt(text []byte, identities []age.Identity) ([]byte, error) {
	var in io.Reader = bytes.NewReader(text)
	switch {
	case bytes.HasPrefix(text, []byte(armor.Header)):
		in = armor.NewReader(in)
	case !bytes.HasPrefix(text, []byte("age-encryption.org/")):
		return text, nil
	}
	if len(identities) == 0 {
		return nil, errors.New("the key is encrypted with age; give --identity")
	}
	r, err := age.Decrypt(in, identities...)
	if err != nil {
		return nil, fmt.Errorf("decrypting the key: %w", err)
	}
	text, err = io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("more than %d bytes", maxKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting the key: %w", err)
	}
	return text, nil
}

// ParsePublic reads a public key: PEM of a public key, a private key or a certificate, or a line
// of OpenSSH.
func ParsePublic(name string, text []byte) (Party, error) {
	if block, _ := pem.Decode(text); block != nil {
		switch block.Type {
		case "PUBLIC KEY":
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return Party{}, err
			}
			return NewParty(name, key)
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return Party{}, err
			}
			p, err := NewParty(name, cert.PublicKey)
			p.certificate = cert
			return p, err
		}
		s, err := ParsePrivate(name, text, nil)
		return s.Party, err
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return Party{}, errors.New("neither PEM nor an OpenSSH public key")
	}
	public, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return Party{}, fmt.Errorf("keys of type %s cannot sign here; use ed25519, ECDSA or RSA", key.Type())
	}
	if name == "" {
		name = comment
	}
	return NewParty(name, public.CryptoPublicKey())
}
