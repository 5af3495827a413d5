// Package cryptopan replaces addresses by pseudonyms that keep prefixes: two pseudonyms have as
// many leading bits in common as the two addresses. It is Crypto-PAn of Xu, Fan, Ammar and Moon
// (Prefix-Preserving IP Address Anonymization, ICNP 2002), with AES-128 as in their reference
// implementation, and the same construction over 128 bits for IPv6.
package cryptopan

import (
	"crypto/aes"
	"crypto/cipher"
)

// Map replaces addresses. It is immutable and safe for concurrent use.
type Map struct {
	block cipher.Block
	pad   [aes.BlockSize]byte
}

// New returns the Map of a key: 16 bytes of a key of AES, and 16 from which the padding is made.
func New(key [2 * aes.BlockSize]byte) *Map {
	block, err := aes.NewCipher(key[:aes.BlockSize])
	if err != nil {
		panic(err) // the key has a length of AES
	}
	m := &Map{block: block}
	block.Encrypt(m.pad[:], key[aes.BlockSize:])
	return m
}

// Replace replaces an address of 4 or 16 bytes by its pseudonym, in place.
func (m *Map) Replace(addr []byte) {
	in, out := m.pad, [aes.BlockSize]byte{}
	var flip [aes.BlockSize]byte
	for bit := range len(addr) * 8 {
		m.block.Encrypt(out[:], in[:])
		flip[bit/8] |= out[0] >> 7 << (7 - bit%8)
		// The next block begins with the first bits of the address, and continues with the padding.
		mask := byte(0x80) >> (bit % 8)
		in[bit/8] = in[bit/8]&^mask | addr[bit/8]&mask
	}
	for i := range addr {
		addr[i] ^= flip[i]
	}
}
