package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealing returns the sealing AEAD of keys, derived again from the secret.
func sealing(t testing.TB, k *PacketKeys) cipher.AEAD {
	t.Helper()
	return sealer(t, k.suite, expandLabel(k.suite.Hash, k.secret, tlsPrefix, k.prefix+"key", k.suite.key))
}

func sealer(t testing.TB, s *Suite, key []byte) cipher.AEAD {
	t.Helper()
	if s.kind == kindChaCha {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	if s.kind == kindCCM {
		return ccmSealer{newCCM(block, s.tag).(*ccm)}
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ccmSealer adds sealing to ccm; the CCM test vectors verify both.
type ccmSealer struct{ *ccm }

func (c ccmSealer) Seal(dst, nonce, plain, aad []byte) []byte {
	c.authenticate(nonce, plain, aad)
	c.counter = [16]byte{ccmLength - 1}
	copy(c.counter[1:], nonce)
	c.block.Encrypt(c.key[:], c.counter[:])
	var tag [16]byte
	subtle.XORBytes(tag[:], c.sum[:], c.key[:])
	from := len(dst)
	dst = append(dst, plain...)
	c.crypt(dst[from:])
	return append(dst, tag[:c.tag]...)
}
