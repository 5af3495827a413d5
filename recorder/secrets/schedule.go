package secrets

import (
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/binary"
	"hash"
)

const masterSize = 48 // RFC 5246 section 8.1

// MasterSecret derives the master secret from a premaster secret, for SSL 3.0 to TLS 1.2 and
// DTLS 1.0 and 1.2.
func MasterSecret(version uint16, s *Suite, preMaster, clientRandom, serverRandom []byte) []byte {
	if version == SSL30 {
		return ssl3Expand(preMaster, clientRandom, serverRandom, masterSize)
	}
	return prf(version, s, preMaster, "master secret", masterSize, clientRandom, serverRandom)
}

// ExtendedMasterSecret derives the master secret of RFC 7627. The hash is TranscriptHash over
// the handshake's messages up to and including the client's key exchange.
func ExtendedMasterSecret(version uint16, s *Suite, preMaster, transcriptHash []byte) []byte {
	return prf(version, s, preMaster, "extended master secret", masterSize, transcriptHash)
}

// TranscriptHash is a version's hash of the handshake's messages: the hash of the suite since
// TLS 1.2, MD5 followed by SHA-1 before.
func TranscriptHash(version uint16, s *Suite, messages []byte) []byte {
	if modern(version) {
		h := s.Hash.New()
		h.Write(messages)
		return h.Sum(nil)
	}
	m, h := crypto.MD5.New(), crypto.SHA1.New()
	m.Write(messages)
	h.Write(messages)
	return h.Sum(m.Sum(nil))
}

// modern reports whether the version uses the hash of the suite.
func modern(version uint16) bool {
	return version >= TLS12 && version < 0x8000 || version == DTLS12 || version == DTLS13
}

// prf is the pseudorandom function of RFC 5246 section 5 and of RFC 2246 section 5.
func prf(version uint16, s *Suite, secret []byte, label string, n int, seed ...[]byte) []byte {
	out := make([]byte, n)
	if modern(version) {
		pHash(out, s.Hash, secret, label, seed)
		return out
	}
	half := (len(secret) + 1) / 2 // the halves share the middle byte of an odd length
	pHash(out, crypto.MD5, secret[:half], label, seed)
	pHash(out, crypto.SHA1, secret[len(secret)-half:], label, seed)
	return out
}

// pHash xors P_hash into out.
func pHash(out []byte, h crypto.Hash, secret []byte, label string, seed [][]byte) {
	m := hmac.New(h.New, secret)
	write := func(first []byte) {
		m.Reset()
		m.Write(first)
		m.Write([]byte(label))
		for _, b := range seed {
			m.Write(b)
		}
	}
	write(nil)
	a := m.Sum(nil)
	for len(out) > 0 {
		write(a)
		for i, b := range m.Sum(nil) {
			if i == len(out) {
				return
			}
			out[i] ^= b
		}
		out = out[min(m.Size(), len(out)):]
		m.Reset()
		m.Write(a)
		a = m.Sum(a[:0])
	}
}

// ssl3Expand derives n bytes according to RFC 6101 sections 6.1 and 6.2.2.
func ssl3Expand(secret, first, second []byte, n int) []byte {
	var out []byte
	for i := 1; len(out) < n; i++ {
		letters := make([]byte, i)
		for j := range letters {
			letters[j] = byte('A' + i - 1)
		}
		inner := crypto.SHA1.New()
		outer := crypto.MD5.New()
		for _, b := range [][]byte{letters, secret, first, second} {
			inner.Write(b)
		}
		outer.Write(secret)
		outer.Write(inner.Sum(nil))
		out = outer.Sum(out)
	}
	return out[:n]
}

// keyBlock derives all keys of the connection as one block, RFC 5246 section 6.3.
func keyBlock(version uint16, s *Suite, master, clientRandom, serverRandom []byte, n int) []byte {
	if version == SSL30 {
		return ssl3Expand(master, serverRandom, clientRandom, n)
	}
	return prf(version, s, master, "key expansion", n, serverRandom, clientRandom)
}

// expandLabel is HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context. The
// prefix is "tls13 ", or "dtls13" of RFC 9147 section 5.9.
func expandLabel(h crypto.Hash, secret []byte, prefix, label string, n int) []byte {
	info := make([]byte, 0, 4+len(prefix)+len(label))
	info = binary.BigEndian.AppendUint16(info, uint16(n))
	info = append(info, byte(len(prefix)+len(label)))
	info = append(info, prefix...)
	info = append(info, label...)
	info = append(info, 0)
	out, err := hkdf.Expand(func() hash.Hash { return h.New() }, secret, string(info), n)
	if err != nil {
		panic(err) // n is a constant far below 255 hashes
	}
	return out
}

const (
	tlsPrefix  = "tls13 "
	dtlsPrefix = "dtls13"
)

// NextTraffic derives the traffic secret after a KeyUpdate of TLS 1.3, RFC 8446 section 7.2.
func NextTraffic(s *Suite, secret []byte) []byte {
	return expandLabel(s.Hash, secret, tlsPrefix, "traffic upd", s.Hash.Size())
}

// NextTrafficDTLS is NextTraffic for DTLS 1.3, whose labels have another prefix.
func NextTrafficDTLS(s *Suite, secret []byte) []byte {
	return expandLabel(s.Hash, secret, dtlsPrefix, "traffic upd", s.Hash.Size())
}
