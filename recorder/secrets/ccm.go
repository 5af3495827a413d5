package secrets

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// ccm is the CCM mode of NIST SP 800-38C (RFC 3610) with nonces of 12 bytes, as used in TLS.
// It only opens.
type ccm struct {
	block cipher.Block
	tag   int
	// Scratch space, to avoid an allocation for each record.
	sum, counter, key [16]byte
}

const ccmLength = 3 // bytes of a length: 15 minus the nonce

func newCCM(block cipher.Block, tag int) cipher.AEAD { return &ccm{block: block, tag: tag} }

func (c *ccm) NonceSize() int { return 15 - ccmLength }
func (c *ccm) Overhead() int  { return c.tag }

// Seal exists only to implement cipher.AEAD.
func (c *ccm) Seal(dst, nonce, plain, aad []byte) []byte { panic("ccm: sealing is not supported") }

var errCCM = errors.New("ccm: message authentication failed")

func (c *ccm) Open(dst, nonce, sealed, aad []byte) ([]byte, error) {
	n := len(sealed) - c.tag
	if n < 0 || n >= 1<<(8*ccmLength) || len(aad) >= 0xff00 {
		return nil, errCCM
	}
	c.counter = [16]byte{ccmLength - 1}
	copy(c.counter[1:], nonce)
	c.block.Encrypt(c.key[:], c.counter[:]) // S_0, which hides the tag
	var want [16]byte
	subtle.XORBytes(want[:c.tag], sealed[n:], c.key[:c.tag])

	from := len(dst)
	dst = append(dst, sealed[:n]...)
	plain := dst[from:]
	c.crypt(plain)
	c.authenticate(nonce, plain, aad)
	if subtle.ConstantTimeCompare(want[:c.tag], c.sum[:c.tag]) != 1 {
		clear(plain)
		return nil, errCCM
	}
	return dst, nil
}

// crypt xors the key stream, starting with block 1.
func (c *ccm) crypt(b []byte) {
	for i := uint32(1); len(b) > 0; i++ {
		c.counter[13], c.counter[14], c.counter[15] = byte(i>>16), byte(i>>8), byte(i)
		c.block.Encrypt(c.key[:], c.counter[:])
		k := subtle.XORBytes(b, b, c.key[:])
		b = b[k:]
	}
}

// ccmBlock xors the key stream's block at, counted from 1.
func ccmBlock(block cipher.Block, nonce []byte, at int, b []byte) {
	var key [16]byte
	key[0] = ccmLength - 1
	copy(key[1:], nonce)
	key[13], key[14], key[15] = byte(at>>16), byte(at>>8), byte(at)
	block.Encrypt(key[:], key[:])
	subtle.XORBytes(b, b, key[:])
}

// authenticate computes the CBC-MAC into sum.
func (c *ccm) authenticate(nonce, plain, aad []byte) {
	c.sum = [16]byte{byte((c.tag-2)/2<<3 | ccmLength - 1)}
	if len(aad) > 0 {
		c.sum[0] |= 0x40
	}
	copy(c.sum[1:13], nonce)
	c.sum[13], c.sum[14], c.sum[15] = byte(len(plain)>>16), byte(len(plain)>>8), byte(len(plain))
	c.block.Encrypt(c.sum[:], c.sum[:])
	if len(aad) > 0 {
		var first [16]byte
		binary.BigEndian.PutUint16(first[:], uint16(len(aad)))
		k := copy(first[2:], aad)
		c.absorb(first[:])
		c.absorb(aad[k:])
	}
	c.absorb(plain)
}

func (c *ccm) absorb(b []byte) {
	for len(b) > 0 {
		k := subtle.XORBytes(c.sum[:], c.sum[:], b[:min(16, len(b))])
		c.block.Encrypt(c.sum[:], c.sum[:])
		b = b[k:]
	}
}
