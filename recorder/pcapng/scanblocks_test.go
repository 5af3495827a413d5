package pcapng

import (
	"bytes"
	"io"
	"reflect"
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

func TestScan(t *testing.T) {
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
		f, err := Scan(bytes.NewReader(c.file), func() (io.Reader, error) { return bytes.NewReader(c.file), nil })
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
	if _, err := Scan(bytes.NewReader(nil), nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// TestScanStatistics finds the statistics of each interface, in their order, also in a damaged file.
func TestScanStatistics(t *testing.T) {
	block := func(be bool, id, ticks uint32) []byte {
		return rawBlock(nil, BlockStatistics, be, put32(put32(put32(nil, id, be), 0, be), ticks, be))
	}
	file := bytes.Join([][]byte{sampleNg(3, false), block(false, 0, 7), block(false, 1, 8), block(false, 0, 9), sampleNg(2, true), block(true, 0, 10)}, nil)
	for _, data := range [][]byte{file, append(bytes.Clone(file), 0xee, 0xee)} {
		f, err := Scan(bytes.NewReader(data), func() (io.Reader, error) { return bytes.NewReader(data), nil })
		if err != nil {
			t.Fatal(err)
		}
		got := map[CountedID][]uint64{}
		for id, list := range f.Statistics {
			for _, s := range list {
				got[id] = append(got[id], s.Ticks)
			}
		}
		want := map[CountedID][]uint64{{0, 0}: {7, 9}, {0, 1}: {8}, {1, 0}: {10}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
	}
	many := sampleNg(1, false)
	for i := range uint32(maxCounts + 5) {
		many = append(many, block(false, 0, i)...)
	}
	f, err := Scan(bytes.NewReader(many), nil)
	if list := f.Statistics[CountedID{}]; err != nil || len(list) != maxCounts || list[maxCounts-1].Ticks != maxCounts+4 {
		t.Errorf("of many, %d are kept: %v", len(list), err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add(append(sampleNg(1, false), secretsBlock(false, "k")...))
	f.Add(append(sampleNg(1, true), secretsBlock(true, "k")[:10]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Scan(bytes.NewReader(data), func() (io.Reader, error) { return bytes.NewReader(data), nil })
		if (got == nil) == (err == nil) {
			t.Fatalf("found %v, error %v", got, err)
		}
	})
}
