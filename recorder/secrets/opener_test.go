package secrets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

func fixed(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// oldPair makes both sides of a sealer and of an opener from the same secrets.
func oldPair(t testing.TB, version uint16, s *Suite, etm bool) (sealers [2]*oldSealer, openers [2]*Opener) {
	t.Helper()
	master, cr, sr := fixed(1, 48), fixed(2, 32), fixed(3, 32)
	sealers = oldSealers(t, version, s, etm, master, cr, sr)
	var err error
	if openers[0], openers[1], err = Open12(version, s, etm, master, cr, sr); err != nil {
		t.Fatal(err)
	}
	return sealers, openers
}

// everyOld calls f for each suite of each version before TLS 1.3, by kind and hash.
func everyOld(f func(name string, version uint16, s *Suite, etm bool)) {
	for _, version := range []uint16{SSL30, TLS10, TLS11, TLS12, DTLS10, DTLS12} {
		for _, id := range []uint16{
			0x0001, 0x0002, 0x003b, 0xc039, // NULL with MD5, SHA-1, SHA-256, SHA-384
			0x0004, 0x0005, 0x000a, // RC4 with MD5 and SHA-1, 3DES
			0x002f, 0x0035, 0x003c, 0x003d, 0xc028, // AES-CBC
			0x009c, 0x009d, 0xc09c, 0xc0a1, 0xcca8, // AEADs
		} {
			s := SuiteOf(id)
			if s.AEAD && version != TLS12 && version != DTLS12 || s.kind == kindRC4 && version >= 0x8000 {
				continue
			}
			for _, etm := range []bool{false, true} {
				if etm && (s.blockSize() == 0 || version == SSL30) {
					continue
				}
				f(fmt.Sprintf("%#04x %s etm=%v", version, s.Name, etm), version, s, etm)
			}
		}
	}
}

func TestOpensEveryOldSuite(t *testing.T) {
	everyOld(func(name string, version uint16, s *Suite, etm bool) {
		sealers, openers := oldPair(t, version, s, etm)
		for side, seal := range sealers {
			o := openers[side]
			for i, n := range []int{1, 0, 15, 16, 17, 1000, 16384} {
				content := fixed(byte(i), n)
				seal.pad = i % 4
				r := seal.seal(23, content)
				wrong := r
				wrong.Seq++
				if got, _, err := o.Open([]byte("kept"), &wrong); !errors.Is(err, ErrAuth) || string(got) != "kept" {
					t.Fatalf("%s: with a wrong number got %d bytes, %v", name, len(got), err)
				}
				if seq, ok := o.Search(&r, r.Seq-min(r.Seq, 3), 7); !ok || seq != r.Seq {
					t.Fatalf("%s: searched for %d, found %d, %v", name, r.Seq, seq, ok)
				}
				got, typ, err := o.Open([]byte("kept"), &r)
				if err != nil || typ != 23 || string(got[:4]) != "kept" || !bytes.Equal(got[4:], content) {
					t.Fatalf("%s: record %d of %d bytes: %d bytes of type %d, %v", name, i, n, len(got), typ, err)
				}
				least, most := o.Overhead()
				if d := len(r.Body) - n; d < least || d > most {
					t.Errorf("%s: overhead %d, want %d to %d", name, d, least, most)
				}
			}
		}
	})
}

func TestChangedBytesAreRefused(t *testing.T) {
	everyOld(func(name string, version uint16, s *Suite, etm bool) {
		sealers, openers := oldPair(t, version, s, etm)
		r := sealers[0].seal(22, []byte("sixteen bytes or so"))
		for i := range r.Body {
			bad := r
			bad.Body = bytes.Clone(r.Body)
			bad.Body[i] ^= 0x40
			// SSL 3.0 does not authenticate the padding, except its length.
			if version == SSL30 && s.blockSize() > 0 && i >= len(r.Body)-2*s.blockSize() {
				continue
			}
			if got, _, err := openers[0].Open(nil, &bad); err == nil {
				t.Fatalf("%s: with byte %d changed got %q", name, i, got)
			}
		}
		for n := range r.Body {
			bad := r
			bad.Body = r.Body[:n]
			if got, _, err := openers[0].Open(nil, &bad); err == nil {
				t.Fatalf("%s: truncated to %d bytes got %q", name, n, got)
			}
		}
		if _, _, err := openers[0].Open(nil, &r); err != nil {
			t.Errorf("%s: failed attempts spoilt the record: %v", name, err)
		}
	})
}

func TestLostRecords(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint16
		suite   uint16
		refuses int // records after the lost one
	}{
		{"an AEAD is not affected", TLS12, 0x009c, 0},
		{"CBC with its IV in the record is not affected", TLS11, 0x002f, 0},
		{"NULL is not affected", TLS10, 0x0002, 0},
		{"CBC of TLS 1.0 is lost for one record", TLS10, 0x002f, 1},
		{"3DES of SSL 3.0 is lost for one record", SSL30, 0x000a, 1},
		{"RC4 never recovers", TLS12, 0x0005, 3},
	} {
		sealers, openers := oldPair(t, c.version, SuiteOf(c.suite), false)
		o := openers[0]
		first := sealers[0].seal(23, []byte("first"))
		sealers[0].seal(23, []byte("this one is lost"))
		if _, _, err := o.Open(nil, &first); err != nil {
			t.Fatal(err)
		}
		o.Lost()
		refused := 0
		for range 3 {
			r := sealers[0].seal(23, []byte("after"))
			_, found := o.Search(&r, 0, 10)
			_, _, err := o.Open(nil, &r)
			if errors.Is(err, ErrLost) {
				refused++
			} else if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if found != (err == nil) {
				t.Errorf("%s: Search returned %v, Open %v", c.name, found, err)
			}
		}
		if refused != c.refuses {
			t.Errorf("%s: %d records refused, want %d", c.name, refused, c.refuses)
		}
	}
}

func TestSkippedRecords(t *testing.T) {
	everyOld(func(name string, version uint16, s *Suite, etm bool) {
		sealers, openers := oldPair(t, version, s, etm)
		skipped := sealers[0].seal(23, fixed(9, 300))
		openers[0].Skip(&skipped)
		r := sealers[0].seal(23, []byte("next"))
		if got, _, err := openers[0].Open(nil, &r); err != nil || string(got) != "next" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	})
}

func TestOpensRecordsWithConnectionIDs(t *testing.T) {
	for _, id := range []uint16{0x009c, 0xc0a4, 0xcca8, 0x002f} {
		for _, cid := range [][]byte{{}, {7}, fixed(8, 20), fixed(9, 255)} {
			for _, etm := range []bool{false, true} {
				s := SuiteOf(id)
				sealers, openers := oldPair(t, DTLS12, s, etm)
				sealers[0].cid, sealers[0].seq = cid, 1<<48
				r := sealers[0].seal(22, []byte("finished"))
				got, typ, err := openers[0].Open(nil, &r)
				if err != nil || typ != 22 || string(got) != "finished" {
					t.Fatalf("%s with an id of %d bytes: %q, %d, %v", s.Name, len(cid), got, typ, err)
				}
				if seq, ok := openers[0].Search(&r, 1<<48-2, 5); !ok || seq != 1<<48 {
					t.Errorf("%s with an id of %d bytes: search found %d, %v", s.Name, len(cid), seq, ok)
				}
				r.Header = r.Header[:5]
				if _, _, err := openers[0].Open(nil, &r); err == nil {
					t.Errorf("%s: a record without its id opens", s.Name)
				}
			}
		}
	}
}

// seal13 protects a record of TLS 1.3 or, with a unified header, of DTLS 1.3.
func seal13(t testing.TB, s *Suite, secret []byte, prefix string, header []byte, seq uint64, inner []byte) *Record {
	t.Helper()
	iv := expandLabel(s.Hash, secret, prefix, "iv", 12)
	aead := sealer(t, s, expandLabel(s.Hash, secret, prefix, "key", s.key))
	if prefix == tlsPrefix {
		n := len(inner) + s.tag
		header = []byte{23, 3, 3, byte(n >> 8), byte(n)}
	}
	binary.BigEndian.PutUint64(iv[4:], binary.BigEndian.Uint64(iv[4:])^seq)
	return &Record{Type: 23, Version: TLS12, Seq: seq, Header: header, Body: aead.Seal(nil, iv, inner, header)}
}

func TestOpensEverySuiteOfTLS13(t *testing.T) {
	for id := uint16(0x1301); id <= 0x1305; id++ {
		s := SuiteOf(id)
		secret := fixed(5, s.Hash.Size())
		for range 2 {
			o, err := Open13(s, secret)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name, inner, want string
				typ               uint8
			}{
				{"content", "some text\x17", "some text", 23},
				{"padded content", "some text\x16\x00\x00\x00", "some text", 22},
				{"an empty content", "\x15", "", 21},
				{"only padding", "\x00\x00\x00", "", 0},
				{"long padding", "x\x17" + string(make([]byte, 16000)), "x", 23},
			} {
				for _, seq := range []uint64{0, 1, 255, 1 << 40, 1<<64 - 1} {
					r := seal13(t, s, secret, tlsPrefix, nil, seq, []byte(c.inner))
					got, typ, err := o.Open([]byte("\x00\x00"), r)
					if err != nil || typ != c.typ || string(got) != "\x00\x00"+c.want {
						t.Errorf("%s, %s, %d: %q of type %d, %v", s.Name, c.name, seq, got, typ, err)
					}
					if found, ok := o.Search(r, seq-min(seq, 20), 21); !ok || found != seq {
						t.Errorf("%s, %s: searched for %d, found %d, %v", s.Name, c.name, seq, found, ok)
					}
					if found, ok := o.Search(r, seq+1, 20); ok {
						t.Errorf("%s, %s: found %d outside the range", s.Name, c.name, found)
					}
					r.Header[0]++
					if _, _, err := o.Open(nil, r); !errors.Is(err, ErrAuth) {
						t.Errorf("%s, %s: changed header: %v", s.Name, c.name, err)
					}
					if _, ok := o.Search(r, seq, 1); ok {
						t.Errorf("%s, %s: found with a changed header", s.Name, c.name)
					}
				}
			}
			secret = NextTraffic(s, secret)
		}
	}
}

func TestOpensDTLS13(t *testing.T) {
	for id := uint16(0x1301); id <= 0x1305; id++ {
		s := SuiteOf(id)
		secret := fixed(6, s.Hash.Size())
		for range 2 {
			o, err := Open13DTLS(s, secret)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name   string
				header []byte
				bits   int
			}{
				{"a number of 8 bits", []byte{0x22, 0x85}, 8},
				{"a number of 16 bits", []byte{0x2b, 0x12, 0x85}, 16},
				{"16 bits and a length", []byte{0x2f, 0x12, 0x85, 0, 40}, 16},
				{"8 bits, a connection id and a length", []byte{0x35, 1, 2, 3, 4, 0x85, 0, 40}, 8},
			} {
				want := uint16(0x1285)
				if c.bits == 8 {
					want = 0x85
				}
				r := seal13(t, s, secret, dtlsPrefix, c.header, 0x31285, []byte("datagram\x17"))
				masked := bytes.Clone(c.header)
				sn, err := newMask(s, expandLabel(s.Hash, secret, dtlsPrefix, "sn", s.key))
				if err != nil {
					t.Fatal(err)
				}
				at := len(masked) - c.bits/8
				if masked[0]&4 != 0 {
					at -= 2
				}
				for i, b := range sn.of(r.Body[:16])[:c.bits/8] {
					masked[at+i] ^= b
				}
				number, bits, err := o.UnmaskNumber(masked, r.Body)
				if err != nil || number != want || bits != c.bits || !bytes.Equal(masked, c.header) {
					t.Errorf("%s, %s: %#x of %d bits, header %x, %v", s.Name, c.name, number, bits, masked, err)
				}
				if got, typ, err := o.Open(nil, r); err != nil || typ != 23 || string(got) != "datagram" {
					t.Errorf("%s, %s: %q, %v", s.Name, c.name, got, err)
				}
			}
			for _, c := range []struct {
				name         string
				header, body []byte
			}{
				{"no header", nil, fixed(0, 20)},
				{"a header of TLS", []byte{23, 3, 3}, fixed(0, 20)},
				{"a header without a number", []byte{0x2f, 1, 2}, fixed(0, 20)},
				{"a body shorter than a sample", []byte{0x20, 1}, fixed(0, 15)},
			} {
				if _, _, err := o.UnmaskNumber(c.header, c.body); !errors.Is(err, ErrRecord) {
					t.Errorf("%s: %v, want ErrRecord", c.name, err)
				}
			}
			secret = NextTrafficDTLS(s, secret)
		}
	}
}

func TestRefusesInvalidKeys(t *testing.T) {
	gcm, rc4, new13 := SuiteOf(0x009c), SuiteOf(0x0005), SuiteOf(0x1301)
	for _, c := range []struct {
		name    string
		version uint16
		suite   *Suite
		master  int
	}{
		{"no suite", TLS12, nil, 48},
		{"a suite of TLS 1.3 in TLS 1.2", TLS12, new13, 48},
		{"an AEAD in TLS 1.1", TLS11, gcm, 48},
		{"an AEAD in DTLS 1.0", DTLS10, gcm, 48},
		{"RC4 in DTLS", DTLS12, rc4, 48},
		{"SSL 2.0", 0x0002, rc4, 48},
		{"TLS 1.3", TLS13, gcm, 48},
		{"an unknown version", 0xfefe, gcm, 48},
		{"a short master secret", TLS12, gcm, 47},
		{"no master secret", TLS12, gcm, 0},
	} {
		if _, _, err := Open12(c.version, c.suite, false, make([]byte, c.master), fixed(1, 32), fixed(2, 32)); err == nil {
			t.Errorf("%s makes keys", c.name)
		}
	}
	for _, s := range []*Suite{nil, gcm} {
		if _, err := Open13(s, make([]byte, 32)); err == nil {
			t.Errorf("%v makes keys of TLS 1.3", s)
		}
	}
	if _, err := Open13DTLS(new13, make([]byte, 48)); err == nil {
		t.Error("a secret of the wrong size makes keys")
	}
	if s := SuiteOf(0x0000); s != nil {
		t.Errorf("found %v", s)
	}
	for _, id := range []uint16{0xc03c, 0xcc13, 0x0009, 0x0a0a} { // ARIA, ChaCha20 of a draft, DES, GREASE
		if s := SuiteOf(id); s != nil {
			t.Errorf("found %v", s)
		}
	}
}

func TestSuites(t *testing.T) {
	for _, c := range []struct {
		id                  uint16
		name                string
		tls13, rsa, aead    bool
		key, tag, mac, hash int
	}{
		{0x1301, "TLS_AES_128_GCM_SHA256", true, false, true, 16, 16, 0, 32},
		{0x1302, "TLS_AES_256_GCM_SHA384", true, false, true, 32, 16, 0, 48},
		{0x1303, "TLS_CHACHA20_POLY1305_SHA256", true, false, true, 32, 16, 0, 32},
		{0x1305, "TLS_AES_128_CCM_8_SHA256", true, false, true, 16, 8, 0, 32},
		{0x0004, "TLS_RSA_WITH_RC4_128_MD5", false, true, false, 16, 0, 16, 32},
		{0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", false, true, false, 24, 0, 20, 32},
		{0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256", false, true, false, 32, 0, 32, 32},
		{0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", false, false, false, 32, 0, 48, 48},
		{0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", false, false, true, 32, 16, 0, 48},
		{0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", false, false, true, 16, 8, 0, 32},
		{0x00ad, "TLS_RSA_PSK_WITH_AES_256_GCM_SHA384", false, false, true, 32, 16, 0, 48},
	} {
		s := SuiteOf(c.id)
		mac := 0
		if s.mac != 0 {
			mac = s.mac.Size()
		}
		if s.ID != c.id || s.Name != c.name || s.TLS13 != c.tls13 || s.RSA != c.rsa || s.AEAD != c.aead || s.key != c.key || s.tag != c.tag || mac != c.mac || s.Hash.Size() != c.hash {
			t.Errorf("%+v, want %+v", *s, c)
		}
	}
}
