package secrets

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// fileKind is the type of a file with keys.
type fileKind uint8

const (
	fileLog fileKind = iota
	fileKey
	fileCapture
	fileSealed
)

// sniff detects the type of a file by its beginning; an unknown file is a key log.
func sniff(head []byte) fileKind {
	switch {
	case bytes.HasPrefix(head, []byte("\n\r\r\n")), // PCAPNG, then pcap in both byte orders and resolutions
		bytes.HasPrefix(head, []byte("\xa1\xb2\xc3\xd4")), bytes.HasPrefix(head, []byte("\xd4\xc3\xb2\xa1")),
		bytes.HasPrefix(head, []byte("\xa1\xb2\x3c\x4d")), bytes.HasPrefix(head, []byte("\x4d\x3c\xb2\xa1")):
		return fileCapture
	case bytes.HasPrefix(head, []byte("age-encryption.org/")), bytes.HasPrefix(head, []byte("-----BEGIN AGE ENCRYPTED FILE-----")):
		return fileSealed
	case bytes.Contains(head, []byte("-----BEGIN ")):
		return fileKey
	case len(head) > 4 && head[0] == 0x30 && head[1] > 0x80 && head[1] < 0x85:
		return fileKey
	}
	return fileLog
}

// AddKey adds the RSA private keys of PEM data (PKCS #1 or PKCS #8, among other blocks or
// text) or of DER data.
func (s *Store) AddKey(name string, pemOrDER []byte) error {
	if s.ready {
		return &SourceError{name, errors.New("the store is already in use")}
	}
	keys, err := rsaKeys(pemOrDER)
	if err != nil {
		return &SourceError{name, err}
	}
	s.keys = append(s.keys, keys...)
	s.stats = append(s.stats, SourceStats{Name: name, Kind: RSAKey, SHA256: sha256.Sum256(pemOrDER),
		Bytes: int64(len(pemOrDER)), Keys: int64(len(keys))})
	return nil
}

func rsaKeys(data []byte) (keys []*rsa.PrivateKey, err error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		key, err := rsaKey(data)
		if err != nil {
			return nil, err
		}
		return []*rsa.PrivateKey{key}, nil
	}
	var why error
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["Proc-Type"] == "4,ENCRYPTED":
			why = ErrEncrypted
		case block.Type == "RSA PRIVATE KEY" || block.Type == "PRIVATE KEY":
			key, err := rsaKey(block.Bytes)
			if err != nil {
				why = err
				continue
			}
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		return keys, nil
	}
	if why == nil {
		why = fmt.Errorf("%w: not PEM with an RSA private key", ErrNoKey)
	}
	return nil, why
}

func rsaKey(der []byte) (*rsa.PrivateKey, error) {
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err == nil {
		return key, nil
	}
	parsed, other := x509.ParsePKCS8PrivateKey(der)
	if other != nil {
		return nil, fmt.Errorf("%w: neither PKCS #1 (%v) nor PKCS #8 (%v)", ErrNoKey, err, other)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: a key of type %T cannot decrypt recorded traffic", ErrNoKey, parsed)
	}
	return key, nil
}

// DecryptRSA returns the candidates for an encrypted premaster secret: from lines "RSA", and
// from each RSA key of its size that yields the correct form. It is for passive decryption, so
// it makes no effort to run in constant time.
func (s *Store) DecryptRSA(encrypted []byte) (preMaster [][]byte) {
	if s == nil || !s.ready {
		return nil
	}
	if len(encrypted) >= 8 {
		for _, x := range s.find(byEncrypted, encrypted[:8]) {
			preMaster = append(preMaster, x.Value)
		}
	}
	for _, key := range s.keys {
		if p := decryptRSA(key, encrypted); p != nil {
			preMaster = append(preMaster, p)
		}
	}
	return preMaster
}

// smallRSA is the size in bits below which the standard library refuses a key. Old captures
// use smaller keys.
const smallRSA = 1024

func decryptRSA(key *rsa.PrivateKey, encrypted []byte) []byte {
	if len(encrypted) != key.Size() {
		return nil
	}
	var plain []byte
	if key.N.BitLen() >= smallRSA {
		//lint:ignore SA1019 TLS before 1.3 has no alternative; nothing here answers an attacker
		p, err := rsa.DecryptPKCS1v15(nil, key, encrypted)
		if err != nil {
			return nil
		}
		plain = p
	} else {
		m := new(big.Int).SetBytes(encrypted)
		m.Exp(m, key.D, key.N)
		padded := m.FillBytes(make([]byte, key.Size()))
		// RFC 8017 section 7.2.2: 00 02, eight bytes or more that are not 0, 00.
		end := bytes.IndexByte(padded[2:], 0)
		if padded[0] != 0 || padded[1] != 2 || end < 8 {
			return nil
		}
		plain = padded[2+end+1:]
	}
	if len(plain) != masterSize { // the length of an RSA premaster secret, RFC 5246 section 7.4.7.1
		return nil
	}
	return plain
}
