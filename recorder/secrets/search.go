package secrets

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20"
)

// Search finds a number in [from, from+n) with which r authenticates, the first one if there
// are several. It changes no state. With AES-GCM the time does not depend on n; with other
// suites of TLS 1.3 it is the time to decrypt n blocks, before that the time to open n records.
func (o *Opener) Search(r *Record, from, n uint64) (seq uint64, ok bool) {
	switch {
	case n == 0:
		return 0, false
	case o.old != nil:
		return o.searchMAC(r, from, n)
	case o.suite.kind == kindGCM && r.Type != typeCID:
		seq, ok = o.searchGCM(r)
		if !ok || seq-from >= n {
			return 0, false
		}
		try := *r
		try.Seq = seq
		_, err := o.openAEAD(nil, &try)
		return seq, err == nil
	}
	var buf []byte
	try := *r
	for i := range n {
		try.Seq = from + i
		if !o.mayEnd(&try) {
			continue
		}
		_, err := o.openAEAD(buf[:0], &try)
		if err == nil {
			return try.Seq, true
		}
		if !errors.Is(err, ErrAuth) {
			return 0, false
		}
		if buf == nil {
			buf = make([]byte, 0, len(r.Body))
		}
	}
	return 0, false
}

// mayEnd reports whether a record of TLS 1.3 has the number r.Seq, as far as its last block tells:
// the content ends in its type, from 20 (change_cipher_spec) to 26 (ACK of DTLS 1.3), and zeros
// may follow, RFC 8446 section 5.2. One of 37 wrong numbers passes.
func (o *Opener) mayEnd(r *Record) bool {
	if o.version != TLS13 && o.version != DTLS13 {
		return true
	}
	nonce, body, _, err := o.parts(r)
	if err != nil {
		return true // Open has the error
	}
	text := body[:len(body)-o.suite.tag]
	var last [64]byte
	var n int
	switch {
	case o.key != nil:
		at := (len(text) - 1) / 64
		c, err := chacha20.NewUnauthenticatedCipher(o.key, nonce)
		if err != nil {
			return true
		}
		c.SetCounter(uint32(at) + 1) // RFC 8439 section 2.8
		n = copy(last[:], text[64*at:])
		c.XORKeyStream(last[:n], last[:n])
	case o.suite.kind == kindCCM:
		at := (len(text) - 1) / 16
		n = copy(last[:], text[16*at:])
		ccmBlock(o.block, nonce, at+1, last[:n])
	default:
		return true
	}
	for n > 0 && last[n-1] == 0 {
		n--
	}
	return n == 0 || last[n-1] >= 20 && last[n-1] <= typeACK
}

// searchMAC decrypts once, because decryption does not depend on the number.
func (o *Opener) searchMAC(r *Record, from, n uint64) (uint64, bool) {
	if o.old.lost {
		return 0, false
	}
	plain, mac, err := o.decrypt(nil, r)
	if err != nil {
		return 0, false
	}
	for i := range n {
		ok, err := o.verify(r, from+i, plain, mac)
		if err != nil || ok {
			return from + i, ok
		}
	}
	return 0, false
}

// searchGCM computes the only possible number.
func (o *Opener) searchGCM(r *Record) (uint64, bool) {
	try := *r
	try.Seq = 0
	nonce, body, aad, err := o.parts(&try)
	if err != nil {
		return 0, false
	}
	if o.salt == 12 {
		return numberOfNonce(o.aead, o.block, o.iv, aad, body)
	}
	return numberOfAAD(o.aead, o.block, nonce, aad, body)
}

// ghash computes the GHASH of additional data and ciphertext, which the standard library
// does not export. Encrypting the ciphertext with any nonce yields the plaintext that would
// encrypt to it. Encrypting that yields a tag over the ciphertext; xor with the nonce's block
// yields the GHASH.
func ghash(aead cipher.AEAD, block cipher.Block, aad, text []byte) (sum [16]byte) {
	var nonce [12]byte
	buf := make([]byte, 0, 2*(len(text)+16))
	other := aead.Seal(buf, nonce[:], text, nil)
	sealed := aead.Seal(other[len(text)+16:], nonce[:], other[:len(text)], aad)
	first := firstBlock(block, nonce[:])
	for i, b := range sealed[len(text):] {
		sum[i] = b ^ first[i]
	}
	return sum
}

// firstBlock is the encrypted block of a nonce that masks the tag: NIST SP 800-38D section 7.1.
func firstBlock(block cipher.Block, nonce []byte) (b [16]byte) {
	copy(b[:], nonce)
	b[15] = 1
	block.Encrypt(b[:], b[:])
	return b
}

// numberOfNonce finds the number in the nonce. The tag xor the GHASH is the encrypted block of
// the nonce, which AES can decrypt.
func numberOfNonce(aead cipher.AEAD, block cipher.Block, iv [12]byte, aad, sealed []byte) (uint64, bool) {
	n := len(sealed) - 16
	first := ghash(aead, block, aad, sealed[:n])
	for i, b := range sealed[n:] {
		first[i] ^= b
	}
	block.Decrypt(first[:], first[:])
	if [4]byte(first[:4]) != [4]byte(iv[:4]) || binary.BigEndian.Uint32(first[12:]) != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint64(first[4:]) ^ binary.BigEndian.Uint64(iv[4:]), true
}

// numberOfAAD finds the number in the additional data, given that data with number 0. The data
// is the first of m blocks of the GHASH, which is linear, so the difference of two sums is the
// number times the mth power of the hash key.
func numberOfAAD(aead cipher.AEAD, block cipher.Block, nonce, aad, sealed []byte) (uint64, bool) {
	n := len(sealed) - 16
	sum := ghash(aead, block, aad, sealed[:n])
	first := firstBlock(block, nonce)
	for i, b := range sealed[n:] {
		sum[i] ^= b ^ first[i]
	}
	var key [16]byte
	block.Encrypt(key[:], key[:])
	m := uint64(n+15)/16 + 2
	number := elementOf(sum).times(elementOf(key).power(m).inverse())
	return number.high, number.low == 0
}

// element is an element of the field of GHASH; the first bit of a block is the highest of high.
type element struct{ high, low uint64 }

func elementOf(b [16]byte) element {
	return element{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// times multiplies, NIST SP 800-38D section 6.3.
func (x element) times(y element) (z element) {
	high, low := x.high, x.low
	for i := range 128 {
		bit := high >> 63
		if i >= 64 {
			bit = low >> 63
			low <<= 1
		} else {
			high <<= 1
		}
		z.high ^= y.high & -bit
		z.low ^= y.low & -bit
		carry := y.low & 1
		y.low = y.low>>1 | y.high<<63
		y.high = y.high>>1 ^ 0xe1<<56&-carry
	}
	return z
}

func (x element) power(n uint64) element {
	z := element{high: 1 << 63}
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			z = z.times(x)
		}
		x = x.times(x)
	}
	return z
}

// inverse is x to the power of 2^128-2, because the group has 2^128-1 elements.
func (x element) inverse() element {
	z := element{high: 1 << 63}
	for range 127 {
		x = x.times(x)
		z = z.times(x)
	}
	return z
}

// Search finds a packet's full number in [from, from+n) from its truncated number, as returned by
// Unmask. With AES-GCM the time does not depend on n; with other suites it is the time to open the
// packet once for each matching number.
func (k *PacketKeys) Search(header, body []byte, truncated uint32, length int, from, n uint64) (number uint64, ok bool) {
	if len(body) < k.suite.tag || n == 0 || length < 1 || length > 4 {
		return 0, false
	}
	window := uint64(1) << (8 * length)
	if k.suite.kind == kindGCM {
		number, ok = numberOfNonce(k.aead, k.block, k.iv, header, body)
		if !ok || number-from >= n || number%window != uint64(truncated) {
			return 0, false
		}
		_, err := k.Open(nil, number, header, body)
		return number, err == nil
	}
	first := from&^(window-1) | uint64(truncated)
	if first < from {
		first += window
	}
	buf := make([]byte, 0, len(body))
	for number = first; number-from < n && number >= from; number += window {
		if _, err := k.Open(buf, number, header, body); err == nil {
			return number, true
		}
	}
	return 0, false
}
