package secrets

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/rc4"
	"crypto/subtle"
	"hash"
	"math"
)

// oldCipher is the state of a suite that is not an AEAD: a MAC, and CBC, RC4 or no encryption.
type oldCipher struct {
	kind   cipherKind
	ssl3   bool
	etm    bool // RFC 7366: the MAC is over the ciphertext
	iv     bool // a record begins with its IV; otherwise the IV is the last block of the previous record
	cbc    cbcMode
	rc4    *rc4.Cipher
	mac    hash.Hash
	ssl    [2][]byte // SSL 3.0: the key with each padding
	size   int       // of a block
	lost   bool
	last   [16]byte // implicit IV
	result [64]byte // of the MAC
	inner  [64]byte
}

// cbcMode is the interface of the standard library's CBC decrypters.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

// explicitIV reports whether CBC records of a version begin with their IV: since TLS 1.1.
func explicitIV(version uint16) bool { return version >= TLS11 }

// blockSize is the block size of a CBC suite, or 0.
func (s *Suite) blockSize() int {
	switch s.kind {
	case kindAESCBC:
		return aes.BlockSize
	case kindDESCBC:
		return des.BlockSize
	}
	return 0
}

func newOldCipher(version uint16, s *Suite, etm bool, mac, key, iv []byte) (*oldCipher, error) {
	c := &oldCipher{kind: s.kind, ssl3: version == SSL30, size: s.blockSize()}
	c.etm, c.iv = etm && c.size > 0, explicitIV(version) && c.size > 0
	copy(c.last[:], iv)
	var block cipher.Block
	var err error
	switch s.kind {
	case kindAESCBC:
		block, err = aes.NewCipher(key)
	case kindDESCBC:
		block, err = des.NewTripleDESCipher(key)
	case kindRC4:
		c.rc4, err = rc4.NewCipher(key)
	}
	if err != nil {
		return nil, err
	}
	if block != nil {
		c.cbc = cipher.NewCBCDecrypter(block, c.last[:c.size]).(cbcMode)
	}
	if !c.ssl3 {
		c.mac = hmac.New(s.mac.New, mac)
		return c, nil
	}
	c.mac = s.mac.New()
	pads := 40 // RFC 6101 section 5.2.3.1
	if s.mac == crypto.MD5 {
		pads = 48
	}
	for i, pad := range []byte{0x36, 0x5c} {
		c.ssl[i] = append([]byte(nil), mac...)
		for range pads {
			c.ssl[i] = append(c.ssl[i], pad)
		}
	}
	return c, nil
}

func (c *oldCipher) overhead() (least, most int) {
	n := c.mac.Size()
	if c.size == 0 {
		return n, n
	}
	if c.iv {
		n += c.size
	}
	if c.ssl3 {
		return n + 1, n + c.size
	}
	return n + 1, n + 256
}

// openOld opens a record with a MAC.
func (o *Opener) openOld(dst []byte, r *Record) ([]byte, error) {
	c, from := o.old, len(dst)
	if c.lost {
		o.Skip(r)
		return dst, ErrLost
	}
	plain, mac, err := o.decrypt(dst, r)
	if err != nil {
		return dst, err
	}
	if ok, err := o.verify(r, r.Seq, plain[from:], mac); !ok || err != nil {
		clear(plain[from:])
		if err == nil {
			err = ErrAuth
		}
		return dst, err
	}
	o.Skip(r)
	return plain, nil
}

// Skip passes over a record that is not opened. Only ciphers with state from record to
// record need it.
func (o *Opener) Skip(r *Record) {
	c := o.old
	if c == nil {
		return
	}
	switch {
	case c.rc4 != nil && !c.lost:
		var sink [256]byte
		for n := len(r.Body); n > 0; n -= len(sink) {
			c.rc4.XORKeyStream(sink[:min(n, len(sink))], sink[:min(n, len(sink))])
		}
	case c.cbc != nil && !c.iv:
		body := r.Body
		if c.etm {
			body = body[:max(len(body)-c.mac.Size(), 0)]
		}
		if len(body) >= c.size && len(body)%c.size == 0 {
			copy(c.last[:], body[len(body)-c.size:])
			c.lost = false
		} else {
			c.lost = true
		}
	}
}

// Lost records that records are missing before the next one. CBC of SSL 3.0 and TLS 1.0 recovers
// after one record, which Open refuses with ErrLost; RC4 does not. Other ciphers are not affected.
func (o *Opener) Lost() {
	if c := o.old; c != nil && (c.rc4 != nil || c.cbc != nil && !c.iv) {
		c.lost = true
	}
}

// decrypt appends the content to dst and returns the MAC; neither is authenticated yet.
// It does not change the state.
func (o *Opener) decrypt(dst []byte, r *Record) (plain, mac []byte, err error) {
	c, from, body := o.old, len(dst), r.Body
	least, _ := c.overhead()
	if len(body) < least || len(body) > math.MaxUint16 {
		return dst, nil, ErrRecord
	}
	size := c.mac.Size()
	if c.etm {
		body, mac = body[:len(body)-size], body[len(body)-size:]
	}
	switch {
	case c.cbc != nil:
		iv := c.last[:c.size]
		if c.iv {
			iv, body = body[:c.size], body[c.size:]
		}
		if len(body) == 0 || len(body)%c.size != 0 {
			return dst, nil, ErrRecord
		}
		c.cbc.SetIV(iv)
		dst = append(dst, body...)
		c.cbc.CryptBlocks(dst[from:], dst[from:])
		dst, err = c.unpad(dst, from)
		if err != nil {
			return dst, nil, err
		}
	case c.rc4 != nil:
		dst = append(dst, body...)
		stream := *c.rc4 // a copy, so that a record can be tried again after an error
		stream.XORKeyStream(dst[from:], dst[from:])
	default:
		dst = append(dst, body...)
	}
	if !c.etm {
		if len(dst)-from < size {
			return dst, nil, ErrAuth
		}
		dst, mac = dst[:len(dst)-size], dst[len(dst)-size:]
	}
	return dst, mac, nil
}

// unpad removes the padding of a CBC record. Timing does not matter, because records are only
// read and nothing is answered.
func (c *oldCipher) unpad(plain []byte, from int) ([]byte, error) {
	n := len(plain)
	pad := int(plain[n-1])
	if pad+1 > n-from || c.ssl3 && pad >= c.size {
		return plain, ErrAuth
	}
	for _, b := range plain[n-1-pad:] {
		if int(b) != pad && !c.ssl3 { // SSL 3.0 specifies only the length
			return plain, ErrAuth
		}
	}
	return plain[:n-1-pad], nil
}

// verify checks the MAC of a record with a sequence number.
func (o *Opener) verify(r *Record, seq uint64, plain, mac []byte) (bool, error) {
	c := o.old
	content := plain
	if c.etm {
		content = r.Body[:len(r.Body)-len(mac)]
	}
	prefix, err := o.prefix(r, seq, len(content))
	if err != nil {
		return false, err
	}
	var sum []byte
	if c.ssl3 {
		// RFC 6101 section 5.2.3.1: nested, and without a version.
		c.hash(c.inner[:0], c.ssl[0], prefix[:9], prefix[11:13], content)
		sum = c.hash(c.result[:0], c.ssl[1], c.inner[:c.mac.Size()])
	} else {
		sum = c.hash(c.result[:0], prefix, content)
	}
	return subtle.ConstantTimeCompare(sum, mac) == 1, nil
}

func (c *oldCipher) hash(dst []byte, parts ...[]byte) []byte {
	c.mac.Reset()
	for _, p := range parts {
		c.mac.Write(p)
	}
	return c.mac.Sum(dst)
}
