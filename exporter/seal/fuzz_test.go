package seal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// read is a file of testdata: a seal by an ed25519 and an ECDSA key of ssh-agent, and its time
// stamp by OpenSSL.
func read(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzParse reads envelopes: an error or a statement, and only the one spelling of it.
func FuzzParse(f *testing.F) {
	f.Add(read(f, "seal.dsse.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, s, err := parse(data)
		if (err == nil) != (e != nil && s != nil) {
			t.Fatalf("envelope %v, statement %v, error %v", e, s, err)
		}
		if err != nil {
			return
		}
		if again, err := encode(e); err != nil || !bytes.Equal(again, data) {
			t.Errorf("another spelling was read: %v", err)
		}
	})
}

// FuzzStamp reads time stamps: an error or a stamp, never both.
func FuzzStamp(f *testing.F) {
	seal := read(f, "seal.dsse.json")
	f.Add(read(f, "stamp.tsr"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseStamp(data, seal); (err == nil) != (s != nil) {
			t.Errorf("stamp %v, error %v", s, err)
		}
	})
}

// TestOldSeal reads a seal and a time stamp that earlier versions and other tools wrote.
func TestOldSeal(t *testing.T) {
	if _, _, err := parse(read(t, "seal.dsse.json")); err != nil {
		t.Error(err)
	}
	if s, err := parseStamp(read(t, "stamp.tsr"), read(t, "seal.dsse.json")); err != nil || s.Authority != "CN=Test TSA" {
		t.Errorf("%+v, %v", s, err)
	}
}
