package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Versions of QUIC. Drafts are 0xff000000 plus their number.
const (
	QUICv1 = 0x00000001
	QUICv2 = 0x6b3343cf
)

// quicWire has the constants of a version: the salt of its initial secrets, key and nonce of
// its Retry tag (empty if it has no such tag), the prefix of its labels.
type quicWire struct{ salt, retryKey, retryNonce, prefix string }

// quicVersion finds the constants of a version. Drafts before 21 have other salts and
// headers, are no longer in use and are not supported.
func quicVersion(version uint32) (quicWire, bool) {
	draft := uint32(0)
	if version>>8 == 0xff0000 {
		draft = version & 0xff
	}
	switch {
	case version == QUICv1 || draft >= 33 && draft <= 34:
		return quicWire{"38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "be0c690b9f66575a1d766b54e368c84e", "461599d35d632bf2239825bb", "quic "}, true
	case version == QUICv2: // RFC 9369 section 3.3
		return quicWire{"0dede3def700a6db819381be6e269dcbf9bd2ed9", "8fb4b01b56ac48e260fbcbcead7ccc92", "d86969bc2d7c6d9990efb04a", "quicv2 "}, true
	case draft >= 29 && draft <= 32:
		return quicWire{"afbfec289993d24c9e9786f19c6111e04390a899", "ccce187ed09a09d05728155a6cb96be1", "e54930f97f2136f0530a8c1c", "quic "}, true
	case draft >= 25 && draft <= 28 || version == 0xfaceb002 || version == 0xfaceb00e: // mvfst, from draft 27
		return quicWire{"c3eef712c72ebb5a11a7d2432bb46365bef9f502", "4d32ecdb2a2133c841e4043df27d4430", "4d1611d05513a552c587d575", "quic "}, true
	case draft == 23 || draft == 24:
		return quicWire{salt: "c3eef712c72ebb5a11a7d2432bb46365bef9f502", prefix: "quic "}, true
	case draft == 21 || draft == 22 || version == 0xfaceb001: // mvfst, from draft 22
		return quicWire{salt: "7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a", prefix: "quic "}, true
	case version == 0x51303530: // Q050 of Google, whose handshake is not TLS
		return quicWire{salt: "504574efd066fe2f9d945cfcdbd3a7f0d3b56b45", prefix: "quic "}, true
	case version == 0x54303530: // T050
		return quicWire{salt: "7ff579e5acd072915580304c43a2367c60488310", prefix: "quic "}, true
	case version == 0x54303531: // T051
		return quicWire{salt: "7a4edef4e7ccee5fa4506c19124fc8ccda6e033d", prefix: "quic "}, true
	}
	return quicWire{}, false
}

// ErrVersion means an unsupported version of QUIC.
var ErrVersion = errors.New("unsupported QUIC version")

// PacketKeys opens the packets of one side at one encryption level. It must not be used
// concurrently.
type PacketKeys struct {
	suite   *Suite
	prefix  string
	secret  []byte
	aead    cipher.AEAD
	block   cipher.Block // AES
	iv      [12]byte
	nonce   [12]byte
	protect *mask
}

// QUICInitial makes the keys of Initial packets. They only need the connection id that the
// client chose for the server in its first packet: RFC 9001 section 5.2.
func QUICInitial(version uint32, dcid []byte) (client, server *PacketKeys, err error) {
	w, ok := quicVersion(version)
	if !ok {
		return nil, nil, fmt.Errorf("making initial keys: %w: %#08x", ErrVersion, version)
	}
	salt, err := hex.DecodeString(w.salt)
	if err != nil {
		return nil, nil, err
	}
	initial, err := hkdf.Extract(sha256.New, dcid, salt)
	if err != nil {
		return nil, nil, err
	}
	s := SuiteOf(0x1301)
	client, err = newPacketKeys(w.prefix, s, expandLabel(s.Hash, initial, tlsPrefix, "client in", sha256.Size))
	if err != nil {
		return nil, nil, err
	}
	server, err = newPacketKeys(w.prefix, s, expandLabel(s.Hash, initial, tlsPrefix, "server in", sha256.Size))
	return client, server, err
}

// QUICKeys makes the keys that are derived from a traffic secret of TLS.
func QUICKeys(version uint32, s *Suite, secret []byte) (*PacketKeys, error) {
	w, ok := quicVersion(version)
	switch {
	case !ok:
		return nil, fmt.Errorf("making packet keys: %w: %#08x", ErrVersion, version)
	case s == nil || !s.TLS13 || s.tag != 16: // RFC 9001 section 5.3: not CCM_8
		return nil, errors.New("making packet keys: not a QUIC suite")
	case len(secret) != s.Hash.Size():
		return nil, fmt.Errorf("making packet keys of %s: the secret has %d bytes instead of %d", s.Name, len(secret), s.Hash.Size())
	}
	return newPacketKeys(w.prefix, s, secret)
}

func newPacketKeys(prefix string, s *Suite, secret []byte) (*PacketKeys, error) {
	protect, err := newMask(s, expandLabel(s.Hash, secret, tlsPrefix, prefix+"hp", s.key))
	if err != nil {
		return nil, err
	}
	return protectedKeys(prefix, s, secret, protect)
}

func protectedKeys(prefix string, s *Suite, secret []byte, protect *mask) (*PacketKeys, error) {
	k := &PacketKeys{suite: s, prefix: prefix, secret: append([]byte(nil), secret...), protect: protect}
	copy(k.iv[:], expandLabel(s.Hash, secret, tlsPrefix, prefix+"iv", 12))
	var err error
	k.aead, k.block, err = newAEAD(s, expandLabel(s.Hash, secret, tlsPrefix, prefix+"key", s.key))
	return k, err
}

// Next returns the keys of the next key phase, RFC 9001 section 6.1. Header protection does not
// change.
func (k *PacketKeys) Next() *PacketKeys {
	s := k.suite
	next, err := protectedKeys(k.prefix, s, expandLabel(s.Hash, k.secret, tlsPrefix, k.prefix+"ku", s.Hash.Size()), k.protect)
	if err != nil {
		panic(err) // the sizes are the same as for k
	}
	return next
}

// Suite is the suite of the keys.
func (k *PacketKeys) Suite() *Suite { return k.suite }

// Overhead returns the bytes that the body of a packet has in addition to its frames.
func (k *PacketKeys) Overhead() int { return k.suite.tag }

// Unmask removes header protection, RFC 9001 section 5.4. It returns the first byte, the
// truncated packet number and its length in bytes (1 to 4), and does not change the packet. An
// error (ErrRecord) means that the packet is too short.
func (k *PacketKeys) Unmask(packet []byte, numberAt int) (first byte, truncated uint32, length int, err error) {
	const most, sample = 4, 16
	if numberAt < 1 || numberAt > len(packet) || len(packet)-numberAt < most+sample {
		return 0, 0, 0, ErrRecord
	}
	m := k.protect.of(packet[numberAt+most:][:sample])
	first = packet[0]
	if first&0x80 != 0 {
		first ^= m[0] & 0x0f
	} else {
		first ^= m[0] & 0x1f
	}
	length = int(first&3) + 1
	for i := range length {
		truncated = truncated<<8 | uint32(packet[numberAt+i]^m[1+i])
	}
	return first, truncated, length, nil
}

// Open appends a packet's frames to dst. The header is everything before the body, with first
// byte and number unmasked; number is the full number. ErrAuth and ErrRecord leave dst
// unchanged. dst must not overlap body.
func (k *PacketKeys) Open(dst []byte, number uint64, header, body []byte) ([]byte, error) {
	if len(body) < k.suite.tag {
		return dst, ErrRecord
	}
	k.nonce = k.iv
	xorNumber(&k.nonce, number)
	plain, err := k.aead.Open(dst, k.nonce[:], body, header)
	if err != nil {
		return dst, ErrAuth
	}
	return plain, nil
}

// RetryTag is the integrity tag of a Retry packet, RFC 9001 section 5.8.
func RetryTag(version uint32, originalDCID, retryWithoutTag []byte) (tag [16]byte, err error) {
	w, ok := quicVersion(version)
	if !ok || w.retryKey == "" || len(originalDCID) > 255 {
		return tag, fmt.Errorf("making a retry tag: %w: %#08x", ErrVersion, version)
	}
	key, err := hex.DecodeString(w.retryKey)
	if err != nil {
		return tag, err
	}
	nonce, err := hex.DecodeString(w.retryNonce)
	if err != nil {
		return tag, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return tag, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return tag, err
	}
	pseudo := append([]byte{byte(len(originalDCID))}, originalDCID...)
	aead.Seal(tag[:0], nonce, nil, append(pseudo, retryWithoutTag...))
	return tag, nil
}

// FullNumber reconstructs a packet's full number from its truncated number and the number
// that is expected next, RFC 9000 appendix A.3.
func FullNumber(expected uint64, truncated uint32, length int) uint64 {
	window := uint64(1) << (8 * length)
	half := window / 2
	n := expected&^(window-1) | uint64(truncated)
	switch {
	case n+half <= expected && n+window < 1<<62:
		return n + window
	case n > expected+half && n >= window:
		return n - window
	}
	return n
}
