package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
)

// mask computes the masks for packet numbers: RFC 9001 section 5.4, RFC 9147 section 4.2.3.
type mask struct {
	block cipher.Block // nil: ChaCha20
	key   []byte
	out   [16]byte
}

func newMask(s *Suite, key []byte) (*mask, error) {
	if s.kind == kindChaCha {
		return &mask{key: key}, nil
	}
	block, err := aes.NewCipher(key)
	return &mask{block: block}, err
}

// of returns the mask for a sample of 16 bytes; it is valid until the next call.
func (m *mask) of(sample []byte) []byte {
	if m.block != nil {
		m.block.Encrypt(m.out[:], sample)
		return m.out[:5]
	}
	clear(m.out[:5])
	c, err := chacha20.NewUnauthenticatedCipher(m.key, sample[4:16])
	if err != nil {
		panic(err) // the sizes are constant
	}
	c.SetCounter(binary.LittleEndian.Uint32(sample))
	c.XORKeyStream(m.out[:5], m.out[:5])
	return m.out[:5]
}
