package secrets

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/rc4"
	"encoding/binary"
	"testing"
)

// oldSealer protects records of one side like versions before TLS 1.3.
type oldSealer struct {
	t       testing.TB
	version uint16
	suite   *Suite
	etm     bool
	mac     []byte
	iv      []byte
	aead    cipher.AEAD
	block   cipher.Block
	rc4     *rc4.Cipher
	seq     uint64
	pad     int    // additional blocks of padding
	cid     []byte // of DTLS
}

// oldSealers makes both sides from the arguments of Open12.
func oldSealers(t testing.TB, version uint16, s *Suite, etm bool, master, cr, sr []byte) [2]*oldSealer {
	t.Helper()
	mac, iv := 0, 0
	if s.AEAD {
		iv = 4
		if s.kind == kindChaCha {
			iv = 12
		}
	} else {
		mac = s.mac.Size()
		if version == SSL30 || version == TLS10 {
			iv = s.blockSize()
		}
	}
	k := bytes.NewBuffer(keyBlock(version, s, master, cr, sr, 2*(mac+s.key+iv)))
	var sides [2]*oldSealer
	for i := range sides {
		sides[i] = &oldSealer{t: t, version: version, suite: s, etm: etm, mac: bytes.Clone(k.Next(mac))}
	}
	for i := range sides {
		key := bytes.Clone(k.Next(s.key))
		var err error
		switch s.kind {
		case kindAESCBC:
			sides[i].block, err = aes.NewCipher(key)
		case kindDESCBC:
			sides[i].block, err = des.NewTripleDESCipher(key)
		case kindRC4:
			sides[i].rc4, err = rc4.NewCipher(key)
		case kindNull:
		default:
			sides[i].aead = sealer(t, s, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range sides {
		sides[i].iv = bytes.Clone(k.Next(iv))
	}
	return sides
}

// seal makes a record with its sequence number.
func (o *oldSealer) seal(typ uint8, content []byte) Record {
	r := Record{Type: typ, Version: o.version, Seq: o.seq}
	o.seq++
	number := binary.BigEndian.AppendUint64(nil, r.Seq)
	if o.cid != nil {
		content = append(bytes.Clone(content), typ, 0, 0)
		r.Type = typeCID
	}
	head := func(n int) []byte {
		if o.cid == nil {
			return append(append(bytes.Clone(number), typ), byte(o.version>>8), byte(o.version), byte(n>>8), byte(n))
		}
		b := bytes.Repeat([]byte{255}, 8)
		b = append(b, typeCID, byte(len(o.cid)), typeCID, byte(o.version>>8), byte(o.version))
		b = append(append(b, number...), o.cid...)
		return append(b, byte(n>>8), byte(n))
	}
	switch {
	case o.suite.kind == kindChaCha:
		nonce := bytes.Clone(o.iv)
		for i, b := range number {
			nonce[4+i] ^= b
		}
		r.Body = o.aead.Seal(nil, nonce, content, head(len(content)))
	case o.suite.AEAD:
		explicit := []byte{1, 2, 3, 4, 5, 6, 7, byte(o.seq)} // need not be the sequence number
		r.Body = o.aead.Seal(explicit, append(bytes.Clone(o.iv), explicit...), content, head(len(content)))
	case o.etm && o.block != nil:
		text := o.crypt(content)
		r.Body = append(text, o.sum(head(len(text)), text)...)
	default:
		r.Body = o.crypt(append(bytes.Clone(content), o.sum(head(len(content)), content)...))
	}
	if o.version >= 0x8000 {
		r.Header = append(append([]byte{r.Type, byte(o.version >> 8), byte(o.version)}, number...), o.cid...)
	} else {
		r.Header = []byte{r.Type, byte(o.version >> 8), byte(o.version)}
	}
	r.Header = append(r.Header, byte(len(r.Body)>>8), byte(len(r.Body)))
	return r
}

func (o *oldSealer) crypt(b []byte) []byte {
	b = bytes.Clone(b)
	if o.rc4 != nil {
		o.rc4.XORKeyStream(b, b)
	}
	if o.block == nil {
		return b
	}
	size := o.block.BlockSize()
	pad := size - len(b)%size - 1
	if o.version != SSL30 && pad+o.pad*size < 256 {
		pad += o.pad * size
	}
	for range pad {
		if o.version == SSL30 {
			b = append(b, 0x99) // any value is valid
		} else {
			b = append(b, byte(pad))
		}
	}
	b = append(b, byte(pad))
	iv := bytes.Repeat([]byte{byte(o.seq) ^ 0xa5}, size)
	explicit := o.version != SSL30 && o.version != TLS10
	if !explicit {
		iv = o.iv
	}
	cipher.NewCBCEncrypter(o.block, iv).CryptBlocks(b, b)
	if explicit {
		return append(iv, b...)
	}
	o.iv = bytes.Clone(b[len(b)-size:])
	return b
}

func (o *oldSealer) sum(head, content []byte) []byte {
	if o.version != SSL30 {
		m := hmac.New(o.suite.mac.New, o.mac)
		m.Write(head)
		m.Write(content)
		return m.Sum(nil)
	}
	pads := 40
	if len(o.mac) == 16 {
		pads = 48
	}
	in, out := o.suite.mac.New(), o.suite.mac.New()
	in.Write(o.mac)
	in.Write(bytes.Repeat([]byte{0x36}, pads))
	in.Write(head[:9])
	in.Write(head[11:])
	in.Write(content)
	out.Write(o.mac)
	out.Write(bytes.Repeat([]byte{0x5c}, pads))
	out.Write(in.Sum(nil))
	return out.Sum(nil)
}
