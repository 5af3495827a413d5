package handshake

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"a suite of TLS 1.3", Suite(0x1301), "TLS_AES_128_GCM_SHA256"},
		{"a suite without a name", Suite(0xfffe), "0xfffe"},
		{"a GREASE value", Suite(0x2a2a), "GREASE"},
		{"a cipher kind of SSL 2.0", Suite2(0x0700c0), "SSL_CK_DES_192_EDE3_CBC_WITH_MD5"},
		{"a suite in the form of SSL 2.0", Suite2(0x000005), "TLS_RSA_WITH_RC4_128_SHA"},
		{"an unknown cipher kind", Suite2(0xfe00ff), "0xfe00ff"},
		{"a hybrid group", Group(0x11ec), "X25519MLKEM768"},
		{"a signature scheme", Scheme(0x0804), "rsa_pss_rsae_sha256"},
		{"an extension", Extension(0xfe0d), "encrypted_client_hello"},
		{"an alert", Alert(40), "handshake_failure"},
		{"an unknown alert", Alert(200), "alert_200"},
		{"a message", Message(11), "certificate"},
		{"an unknown message", Message(99), "message_99"},
		{"a draft", Version(0x7f12), "TLS 1.3 draft 18"},
		{"an unknown version", Version(0x1234), "0x1234"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

// hello makes the body of a ClientHello.
func hello(suites string, extensions ...string) []byte {
	b := append([]byte{3, 3}, bytes.Repeat([]byte{7}, 32)...)
	b = append(b, 0, byte(len(suites)>>8), byte(len(suites)))
	b = append(b, suites...)
	b = append(b, 1, 0)
	all := strings.Join(extensions, "")
	return append(append(b, byte(len(all)>>8), byte(len(all))), all...)
}

func extension(typ uint16, data string) string {
	return string([]byte{byte(typ >> 8), byte(typ), byte(len(data) >> 8), byte(len(data))}) + data
}

func TestReadClient(t *testing.T) {
	sni := extension(extServerName, "\x00\x0c\x00\x00\x09a.example")
	for _, c := range []struct {
		name, err string
		body      []byte
	}{
		{"a whole hello", "", hello("\x13\x01", sni)},
		{"no extensions at all", "", hello("\x13\x01")[:2+32+1+2+2+2]},
		{"a truncated random", "session id", hello("\x13\x01")[:20]},
		{"truncated suites", "cipher suites", hello("\x13\x01")[:37]},
		{"half a suite", "even number", hello("\x13\x01\x02")},
		{"a truncated extension", "ends inside", hello("\x13\x01", sni[:8])},
		{"a truncated server name", "server_name", hello("\x13\x01", extension(extServerName, "\x00\x0c\x00\x00\xffa.example"))},
		{"a server name list of one byte", "server_name", hello("\x13\x01", extension(extServerName, "\x00\x01\x00"))},
		{"a truncated key share", "key_share", hello("\x13\x01", extension(extKeyShare, "\x00\x05\x00\x1d\x00\x09a"))},
		{"truncated protocol names", "alpn", hello("\x13\x01", extension(extALPN, "\x00\x03\x09h2"))},
		{"odd list of groups", "supported_groups", hello("\x13\x01", extension(extGroups, "\x00\x01\x00"))},
		{"bytes after the extensions", "after them", append(hello("\x13\x01", sni), 1)},
	} {
		var h Client
		err := ReadClient(c.body, false, &h)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
	}
}

func TestMaxVersion(t *testing.T) {
	for _, c := range []struct {
		name     string
		legacy   uint16
		versions Uint16s
		want     uint16
	}{
		{"no extension", 0x0301, nil, 0x0301},
		{"GREASE first", 0x0303, Uint16s("\x0a\x0a\x03\x04\x03\x03"), 0x0304},
		{"a draft and TLS 1.2", 0x0303, Uint16s("\x7f\x12\x03\x03"), 0x7f12},
		{"a draft and TLS 1.3", 0x0303, Uint16s("\x7f\x12\x03\x04"), 0x0304},
		{"DTLS counts downward", 0xfefd, Uint16s("\xfe\xfd\xfe\xfc"), 0xfefc},
	} {
		h := Client{Version: c.legacy, Versions: c.versions}
		if got := h.MaxVersion(); got != c.want {
			t.Errorf("%s: 0x%04x, want 0x%04x", c.name, got, c.want)
		}
	}
}

func TestFingerprints(t *testing.T) {
	body := hello("\x0a\x0a\x13\x02\x13\x01", extension(0x0a0a, ""), extension(extServerName, "\x00\x0c\x00\x00\x09a.example"),
		extension(extGroups, "\x00\x06\x0a\x0a\x00\x1d\x00\x17"), extension(extPointFormats, "\x01\x00"),
		extension(extALPN, "\x00\x03\x02h2"), extension(extSchemes, "\x00\x04\x04\x03\x08\x04"), extension(extVersions, "\x04\x2a\x2a\x03\x04"))
	var h Client
	if err := ReadClient(body, false, &h); err != nil {
		t.Fatal(err)
	}
	if got, want := string(h.JA3(nil)), "771,4866-4865,0-10-11-16-13-43,29-23,0"; got != want {
		t.Errorf("JA3 of %s, want %s", got, want)
	}
	fp, raw := h.JA4('t')
	if want := "t13d0206h2_1301,1302_000a,000b,000d,002b_0403,0804"; raw != want {
		t.Errorf("JA4 %s, want %s", raw, want)
	}
	if len(fp) != 36 || !strings.HasPrefix(fp, "t13d0206h2_") {
		t.Errorf("JA4 %s", fp)
	}
	if fp, _ := (&Client{Version: 0x0301}).JA4('t'); fp != "t10i000000_000000000000_000000000000" {
		t.Errorf("JA4 of nothing: %s", fp)
	}
}

func TestJA4Protocols(t *testing.T) {
	for name, want := range map[string]string{"": "00", "h2": "h2", "http/1.1": "h1", "x": "xx", "\xab": "ab", "\xab\xcd": "ad", "0\xab": "3b", "0\x00\x01": "31"} {
		if got := ja4ALPN([][]byte{[]byte(name)}); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestReadServer(t *testing.T) {
	body := append([]byte{3, 3}, retryRandom...)
	body = append(body, 0, 0x13, 0x01, 0, 0, 12)
	body = append(body, extension(extVersions, "\x03\x04")+extension(extKeyShare, "\x00\x18")...)
	var h Server
	if err := ReadServer(body, TypeServerHello, &h); err != nil {
		t.Fatal(err)
	}
	if !h.Retry || h.Version != 0x0304 || h.Group != 0x18 || h.Suite != 0x1301 {
		t.Errorf("%+v", h)
	}
	if err := ReadServer(body[:30], TypeServerHello, &h); err == nil {
		t.Error("a truncated ServerHello was accepted")
	}
	if err := ReadServer(body[:len(body)-3], TypeServerHello, &h); err == nil {
		t.Error("truncated extensions were accepted")
	}
}

func TestReadCertificates(t *testing.T) {
	whole := []byte("\x00\x00\x0a\x00\x00\x03abc\x00\x00\x01d")
	got, err := ReadCertificates(whole, 9)
	if err != nil || len(got) != 2 || string(got[1]) != "d" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ReadCertificates(whole[:11], 9); err == nil || len(got) != 1 {
		t.Errorf("truncated: %q, %v", got, err)
	}
	if got, _ := ReadCertificates(whole, 1); len(got) != 1 {
		t.Errorf("limit of 1: %q", got)
	}
}

// FuzzMessages reads random bytes as each kind of message.
func FuzzMessages(f *testing.F) {
	f.Add(hello("\x13\x01", extension(extServerName, "\x00\x0c\x00\x00\x09a.example")))
	f.Add([]byte("\x00\x00\x0a\x00\x00\x03abc\x00\x00\x01d"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Client
		for _, datagram := range []bool{false, true} {
			if ReadClient(b, datagram, &c) == nil {
				c.JA3(nil)
				if fp, _ := c.JA4('t'); len(fp) != 36 {
					t.Errorf("JA4 %s", fp)
				}
			}
		}
		_ = ReadClient2(b, &c)
		var s Server
		for _, typ := range []uint8{TypeServerHello, TypeHelloRetryRequest} {
			if ReadServer(b, typ, &s) == nil {
				s.JA3S(nil)
			}
		}
		chain, _ := ReadCertificates(b, 8)
		for _, der := range slices.Concat(chain, [][]byte{b}) {
			ReadCertificate(der)
		}
	})
}
