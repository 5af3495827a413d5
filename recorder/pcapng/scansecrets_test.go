package pcapng

import (
	"bytes"
	"io"
	"testing"
)

// secretsBlock is a decryption secrets block with a TLS key log.
func secretsBlock(be bool, text string) []byte {
	body := put32(put32(nil, SecretsTLS, be), uint32(len(text)), be)
	body = append(body, text...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return rawBlock(nil, BlockSecrets, be, body)
}

func TestScanSecrets(t *testing.T) {
	little, big := sampleNg(3, false), sampleNg(2, true)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name string
		file []byte
		want []string
	}{
		{"none", little, nil},
		{"at the end", join(little, secretsBlock(false, "one")), []string{"one"}},
		{"in two sections with different byte orders", join(little, secretsBlock(false, "one"), big, secretsBlock(true, "two")), []string{"one", "two"}},
		{"before and after damage", join(little, secretsBlock(false, "one"), bytes.Repeat([]byte{0xee}, 400), little, secretsBlock(false, "two")), []string{"one", "two"}},
		{"in a file truncated in its last block", join(little, secretsBlock(false, "one"), secretsBlock(false, "cut")[:14]), []string{"one"}},
	} {
		f, err := ScanSecrets(bytes.NewReader(c.file), func() (io.Reader, error) { return bytes.NewReader(c.file), nil })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, s := range f.List {
			got = append(got, string(s.Data))
		}
		if len(got) != len(c.want) || len(got) > 0 && !bytes.Equal([]byte(got[0]), []byte(c.want[0])) || len(got) > 1 && got[1] != c.want[1] {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
	if _, err := ScanSecrets(bytes.NewReader(nil), nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzScanSecrets(f *testing.F) {
	f.Add(append(sampleNg(1, false), secretsBlock(false, "k")...))
	f.Add(append(sampleNg(1, true), secretsBlock(true, "k")[:10]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ScanSecrets(bytes.NewReader(data), func() (io.Reader, error) { return bytes.NewReader(data), nil })
		if (got == nil) == (err == nil) {
			t.Fatalf("found %v, error %v", got, err)
		}
	})
}
