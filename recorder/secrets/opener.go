package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/crypto/chacha20poly1305"
)

// Why a record or packet was not opened.
var (
	ErrAuth   = errors.New("the record does not authenticate")
	ErrRecord = errors.New("not a record of these keys")
	ErrLost   = errors.New("the previous record is missing")
)

// typeCID is the content type of a record with a connection id, RFC 9146.
const typeCID = 25

// typeACK is the highest content type of a record in TLS 1.3, RFC 9147 section 7.
const typeACK = 26

// Record is one protected record.
type Record struct {
	Type    uint8
	Version uint16 // as in the record
	// Seq is the record's number: counted from 0 since the keys were first used, for DTLS 1.3
	// the full number, for older DTLS epoch<<48|number.
	Seq uint64
	// Header is the part before the body. In TLS 1.3 and in records with a connection id it is
	// authenticated too. In DTLS 1.3 the number must be unmasked.
	Header []byte
	Body   []byte // the bytes that the header's length counts
}

// Opener opens the records that one side protected with one set of keys. It must not be used
// concurrently. It returns only authenticated data.
type Opener struct {
	suite   *Suite
	version uint16
	aead    cipher.AEAD
	block   cipher.Block // AES
	key     []byte       // ChaCha20, else nil
	salt    int          // bytes of iv; the rest of the nonce is in the record
	iv      [12]byte
	nonce   [12]byte
	aad     [13 + 2 + 256]byte
	sn      *mask      // DTLS 1.3
	old     *oldCipher // if the suite is not an AEAD
}

// Open13 opens records protected by a traffic secret of TLS 1.3, RFC 8446 section 7.3.
func Open13(s *Suite, traffic []byte) (*Opener, error) {
	return open13(s, traffic, TLS13, tlsPrefix)
}

// Open13DTLS opens records protected by a traffic secret of DTLS 1.3, RFC 9147 section 4.
func Open13DTLS(s *Suite, traffic []byte) (*Opener, error) {
	o, err := open13(s, traffic, DTLS13, dtlsPrefix)
	if err != nil {
		return nil, err
	}
	o.sn, err = newMask(s, expandLabel(s.Hash, traffic, dtlsPrefix, "sn", s.key))
	return o, err
}

func open13(s *Suite, traffic []byte, version uint16, prefix string) (*Opener, error) {
	if s == nil || !s.TLS13 {
		return nil, errors.New("making keys of TLS 1.3: not a TLS 1.3 suite")
	}
	if len(traffic) != s.Hash.Size() {
		return nil, fmt.Errorf("making keys of %s: the secret has %d bytes instead of %d", s.Name, len(traffic), s.Hash.Size())
	}
	o := &Opener{suite: s, version: version, salt: 12}
	copy(o.iv[:], expandLabel(s.Hash, traffic, prefix, "iv", 12))
	return o, o.setAEAD(expandLabel(s.Hash, traffic, prefix, "key", s.key))
}

func (o *Opener) setAEAD(key []byte) (err error) {
	if o.suite.kind == kindChaCha {
		o.key = key
	}
	o.aead, o.block, err = newAEAD(o.suite, key)
	return err
}

// newAEAD makes the AEAD of a suite; block is its cipher if that is AES.
func newAEAD(s *Suite, key []byte) (aead cipher.AEAD, block cipher.Block, err error) {
	if s.kind == kindChaCha {
		aead, err = chacha20poly1305.New(key)
		return aead, nil, err
	}
	if block, err = aes.NewCipher(key); err != nil {
		return nil, nil, err
	}
	if s.kind == kindCCM {
		return newCCM(block, s.tag), block, nil
	}
	aead, err = cipher.NewGCM(block)
	return aead, block, err
}

// Open12 makes the keys of both sides for SSL 3.0 to TLS 1.2 and for DTLS 1.0 and 1.2, RFC
// 5246 section 6.3.
func Open12(version uint16, s *Suite, encryptThenMAC bool, master, clientRandom, serverRandom []byte) (client, server *Opener, err error) {
	switch {
	case s == nil || s.TLS13:
		return nil, nil, errors.New("making keys before TLS 1.3: not a suite of an earlier version")
	case !(version >= SSL30 && version <= TLS12 || version == DTLS10 || version == DTLS12):
		return nil, nil, fmt.Errorf("making keys of %s: version %#04x is not SSL 3.0 to TLS 1.2 or DTLS", s.Name, version)
	case s.AEAD && !modern(version):
		return nil, nil, fmt.Errorf("making keys of %s: version %#04x has no such suites", s.Name, version)
	case s.kind == kindRC4 && version >= 0x8000:
		return nil, nil, fmt.Errorf("making keys of %s: not a DTLS suite", s.Name)
	case len(master) != masterSize:
		return nil, nil, fmt.Errorf("making keys of %s: the master secret has %d bytes instead of %d", s.Name, len(master), masterSize)
	}
	macSize, ivSize := 0, 0
	switch {
	case s.kind == kindChaCha:
		ivSize = 12
	case s.AEAD:
		ivSize = 4
	default:
		macSize = s.mac.Size()
		if !explicitIV(version) {
			ivSize = s.blockSize()
		}
	}
	keys := keyBlock(version, s, master, clientRandom, serverRandom, 2*(macSize+s.key+ivSize))
	next := func(n int) []byte {
		b := keys[:n:n]
		keys = keys[n:]
		return b
	}
	macs := [2][]byte{next(macSize), next(macSize)}
	secret := [2][]byte{next(s.key), next(s.key)}
	ivs := [2][]byte{next(ivSize), next(ivSize)}
	var sides [2]*Opener
	for i := range sides {
		o := &Opener{suite: s, version: version, salt: ivSize}
		if s.AEAD {
			copy(o.iv[:], ivs[i])
			err = o.setAEAD(secret[i])
		} else {
			o.old, err = newOldCipher(version, s, encryptThenMAC, macs[i], secret[i], ivs[i])
		}
		if err != nil {
			return nil, nil, err
		}
		sides[i] = o
	}
	return sides[0], sides[1], nil
}

// Suite is the suite of the keys.
func (o *Opener) Suite() *Suite { return o.suite }

// Open decrypts r, appends the content to dst and returns its content type. For TLS 1.3 that
// is the inner type, or 0 if the record has only padding. An error leaves dst unchanged, and
// the record can be tried again with another number:
//   - ErrAuth:   it does not authenticate
//   - ErrRecord: it is not a record of these keys
//   - ErrLost:   the cipher continues from the previous record, which was lost
//
// dst must not overlap the record.
func (o *Opener) Open(dst []byte, r *Record) (plain []byte, typ uint8, err error) {
	if o.old != nil {
		plain, err = o.openOld(dst, r)
	} else {
		plain, err = o.openAEAD(dst, r)
	}
	if err != nil {
		return dst, r.Type, err
	}
	if o.version == TLS13 || o.version == DTLS13 || r.Type == typeCID && o.version >= 0x8000 {
		plain, typ = inner(plain, len(dst))
		return plain, typ, nil
	}
	return plain, r.Type, nil
}

// inner removes content type and padding, RFC 8446 section 5.2.
func inner(plain []byte, from int) ([]byte, uint8) {
	n := len(plain)
	for n > from && plain[n-1] == 0 {
		n--
	}
	if n == from {
		return plain[:from], 0
	}
	return plain[:n-1], plain[n-1]
}

func (o *Opener) openAEAD(dst []byte, r *Record) ([]byte, error) {
	nonce, body, aad, err := o.parts(r)
	if err != nil {
		return dst, err
	}
	plain, err := o.aead.Open(dst, nonce, body, aad)
	if err != nil {
		return dst, ErrAuth
	}
	return plain, nil
}

// parts returns the arguments of an AEAD, which refer to memory of o and r.
func (o *Opener) parts(r *Record) (nonce, body, aad []byte, err error) {
	body, o.nonce = r.Body, o.iv
	explicit := 12 - o.salt
	least, _ := o.Overhead()
	if len(body) < least || len(body) > math.MaxUint16 {
		return nil, nil, nil, ErrRecord
	}
	if explicit > 0 {
		copy(o.nonce[o.salt:], body[:explicit])
		body = body[explicit:]
	} else {
		xorNumber(&o.nonce, r.Seq)
	}
	if o.version == TLS13 || o.version == DTLS13 {
		return o.nonce[:], body, r.Header, nil
	}
	aad, err = o.prefix(r, r.Seq, len(body)-o.suite.tag)
	return o.nonce[:], body, aad, err
}

func xorNumber(nonce *[12]byte, number uint64) {
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^number)
}

// prefix is the data that versions before TLS 1.3 authenticate before the content: RFC 5246
// section 6.2.3; with a connection id, RFC 9146 section 5.
func (o *Opener) prefix(r *Record, seq uint64, n int) ([]byte, error) {
	b := o.aad[:0]
	if r.Type == typeCID && o.version >= 0x8000 {
		const fixed = 13 // the header without the id
		id := len(r.Header) - fixed
		if id < 0 || id > 255 {
			return nil, ErrRecord
		}
		b = append(b, 255, 255, 255, 255, 255, 255, 255, 255, typeCID, byte(id), typeCID)
		b = binary.BigEndian.AppendUint16(b, r.Version)
		b = binary.BigEndian.AppendUint64(b, seq)
		b = append(b, r.Header[11:11+id]...)
	} else {
		b = binary.BigEndian.AppendUint64(b, seq)
		b = append(b, r.Type)
		b = binary.BigEndian.AppendUint16(b, r.Version)
	}
	return binary.BigEndian.AppendUint16(b, uint16(n)), nil
}

// Overhead returns the least and the most bytes that a record's body has in addition to its content, without
// the padding of TLS 1.3.
func (o *Opener) Overhead() (least, most int) {
	switch {
	case o.old != nil:
		return o.old.overhead()
	case o.version == TLS13 || o.version == DTLS13:
		return o.suite.tag + 1, o.suite.tag + 1
	}
	n := 12 - o.salt + o.suite.tag
	return n, n
}

// UnmaskNumber removes the mask from the number in a unified header of DTLS 1.3, in
// place, RFC 9147 section 4.2.3. It returns the low bits of the number and how many there are.
func (o *Opener) UnmaskNumber(header, body []byte) (number uint16, bits int, err error) {
	if o.sn == nil || len(header) == 0 || header[0]&0xe0 != 0x20 || len(body) < 16 {
		return 0, 0, ErrRecord
	}
	n, end := 1, len(header)
	if header[0]&0x08 != 0 {
		n = 2
	}
	if header[0]&0x04 != 0 {
		end -= 2
	}
	if end-n < 1 {
		return 0, 0, ErrRecord
	}
	m := o.sn.of(body[:16])
	for i := range n {
		header[end-n+i] ^= m[i]
		number = number<<8 | uint16(header[end-n+i])
	}
	return number, 8 * n, nil
}
