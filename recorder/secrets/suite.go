package secrets

import (
	"crypto"
	_ "crypto/md5" // the hashes of suites
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

// Versions as numbered in a record or a hello.
const (
	SSL30  = 0x0300
	TLS10  = 0x0301
	TLS11  = 0x0302
	TLS12  = 0x0303
	TLS13  = 0x0304
	DTLS10 = 0xfeff
	DTLS12 = 0xfefd
	DTLS13 = 0xfefc
)

// cipherKind is how a suite protects a record.
type cipherKind uint8

const (
	kindGCM cipherKind = iota
	kindCCM
	kindChaCha
	kindAESCBC
	kindDESCBC // three keys
	kindRC4
	kindNull // a MAC and no encryption
)

func (k cipherKind) aead() bool { return k <= kindChaCha }

// Suite is a cipher suite that this package can open.
type Suite struct {
	ID    uint16
	Name  string      // IANA's name
	Hash  crypto.Hash // of the key schedule and the transcript, TLS 1.2 and later
	TLS13 bool        // a suite of TLS 1.3, and of no other version
	RSA   bool        // the premaster secret is encrypted to the server's RSA key
	AEAD  bool        // only in TLS 1.2 and later

	kind cipherKind
	key  int         // bytes of the key
	tag  int         // bytes of an AEAD's tag
	mac  crypto.Hash // of the record, if the suite is not an AEAD
}

// suiteTable has one suite on each line: its number in hexadecimal and its name.
//
//go:embed suites.txt
var suiteTable string

var suites = sync.OnceValue(func() map[uint16]*Suite {
	m := make(map[uint16]*Suite)
	for line := range strings.Lines(suiteTable) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, err := strconv.ParseUint(number, 16, 16)
		if err != nil {
			panic("suites.txt: " + line)
		}
		m[uint16(id)] = suiteNamed(uint16(id), name)
	}
	return m
})

// SuiteOf finds a suite by its number. Nil means that its records cannot be opened: it is
// unknown, or of a kind that is not supported (ARIA, Camellia, SM4, SEED, IDEA, DES, export,
// the ChaCha20 suites of a draft).
func SuiteOf(id uint16) *Suite { return suites()[id] }

// suiteNamed derives the properties of a suite from its name, whose parts have fixed meanings.
func suiteNamed(id uint16, name string) *Suite {
	s := &Suite{ID: id, Name: name, Hash: crypto.SHA256}
	exchange, cipher, old := strings.Cut(name, "_WITH_")
	if !old {
		s.TLS13, cipher = true, strings.TrimPrefix(name, "TLS_")
	}
	s.RSA = old && exchange == "TLS_RSA" // for RSA_PSK the key is not enough
	if strings.HasSuffix(cipher, "_SHA384") {
		s.Hash = crypto.SHA384
	}
	has := func(part string) bool { return strings.Contains(cipher, part) }
	s.key = 16
	if has("AES_256") || has("CHACHA20") {
		s.key = 32
	}
	switch {
	case has("_GCM"):
		s.kind, s.tag = kindGCM, 16
	case has("_CCM_8"):
		s.kind, s.tag = kindCCM, 8
	case has("_CCM"):
		s.kind, s.tag = kindCCM, 16
	case has("CHACHA20"):
		s.kind, s.tag = kindChaCha, 16
	case has("AES"):
		s.kind = kindAESCBC
	case has("3DES"):
		s.kind, s.key = kindDESCBC, 24
	case has("RC4"):
		s.kind = kindRC4
	default:
		s.kind, s.key = kindNull, 0
	}
	s.AEAD = s.kind.aead()
	if !s.AEAD {
		s.mac = macNamed(cipher)
	}
	return s
}

func macNamed(cipher string) crypto.Hash {
	switch cipher[strings.LastIndexByte(cipher, '_')+1:] {
	case "MD5":
		return crypto.MD5
	case "SHA256":
		return crypto.SHA256
	case "SHA384":
		return crypto.SHA384
	}
	return crypto.SHA1
}
