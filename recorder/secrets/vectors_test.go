package secrets

import (
	"bytes"
	"crypto/aes"
	"testing"
)

func TestRecordsOfRFC8448(t *testing.T) {
	s := SuiteOf(0x1301)
	client, err := Open13(s, unhex(t, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := Open13(s, unhex(t, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"))
	if err != nil {
		t.Fatal(err)
	}
	handshake, err := Open13(s, unhex(t, "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"))
	if err != nil {
		t.Fatal(err)
	}
	const content = `000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031`
	for _, c := range []struct {
		name, record string
		opener       *Opener
		seq          uint64
		want         string
		typ          uint8
	}{
		{"Finished of the client", `17 03 03 00 35 75 ec 4d c2 38 cc e6
			0b 29 80 44 a7 1e 21 9c 56 cc 77 b0 51 7f e9 b9 3c 7a 4b fc 44 d8 7f
			38 f8 03 38 ac 98 fc 46 de b3 84 bd 1c ae ac ab 68 67 d7 26 c4 05 46`, handshake, 0,
			"14000020a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61", 22},
		{"application data of the client", `17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55
			cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39
			5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd
			1e 3d ea e6 3a ee bb 21 69 49 15 e4`, client, 0, content, 23},
		{"application data of the server", `17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4
			a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 e6 df
			fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2
			ab f3 32 54 0d d0 32 e1 67 c2 95 5d`, server, 1, content, 23},
		{"alert of the client", `17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3`, client, 1, "0100", 21},
		{"alert of the server", `17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9`, server, 2, "0100", 21},
	} {
		b := unhex(t, c.record)
		r := Record{Type: b[0], Version: TLS12, Seq: c.seq, Header: b[:5], Body: b[5:]}
		got, typ, err := c.opener.Open(nil, &r)
		if err != nil || typ != c.typ || !bytes.Equal(got, unhex(t, c.want)) {
			t.Errorf("%s: %x of type %d, %v", c.name, got, typ, err)
		}
		if seq, ok := c.opener.Search(&r, 0, 1<<63); !ok || seq != c.seq {
			t.Errorf("%s: search found %d, %v", c.name, seq, ok)
		}
	}
}

func TestPseudorandomFunction(t *testing.T) {
	for _, c := range []struct {
		name               string
		suite              uint16
		secret, seed, want string
	}{
		{"P_SHA256, the vector known since the drafts of TLS 1.2", 0x009c, "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c",
			"e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"},
		{"P_SHA384", 0x009d, "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465",
			"7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0"},
	} {
		want := unhex(t, c.want)
		if got := prf(TLS12, SuiteOf(c.suite), unhex(t, c.secret), "test label", len(want), unhex(t, c.seed)); !bytes.Equal(got, want) {
			t.Errorf("%s: %x", c.name, got)
		}
	}
}

func TestCCM(t *testing.T) {
	// NIST SP 800-38C example 3, the one with a nonce of 12 bytes.
	block, err := aes.NewCipher(unhex(t, "404142434445464748494a4b4c4d4e4f"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCCM(block, 8)
	nonce, aad := unhex(t, "101112131415161718191a1b"), unhex(t, "000102030405060708090a0b0c0d0e0f10111213")
	sealed := unhex(t, "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951")
	got, err := c.Open(nil, nonce, sealed, aad)
	if err != nil || !bytes.Equal(got, unhex(t, "202122232425262728292a2b2c2d2e2f3031323334353637")) {
		t.Errorf("%x, %v", got, err)
	}
	for i := range sealed {
		sealed[i] ^= 1
		if got, err := c.Open(nil, nonce, sealed, aad); err == nil {
			t.Errorf("with byte %d changed got %x", i, got)
		}
		sealed[i] ^= 1
	}
	if _, err := c.Open(nil, nonce, sealed[:7], aad); err == nil {
		t.Error("less than a tag is opened")
	}
}
