package pcapng

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	must(t, err, z.Close())
	return b.Bytes()
}

func zst(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	must(t, err)
	_, err = z.Write(data)
	must(t, err, z.Close())
	return b.Bytes()
}

func TestCompressedCaptures(t *testing.T) {
	data := sampleNg(500, false)
	half := len(data) / 2
	for _, c := range []struct {
		name string
		data []byte
		kind Compression
	}{
		{"not compressed", data, CompressionNone},
		{"gzip", gz(t, data), CompressionGzip},
		{"gzip of two members", append(gz(t, data[:half]), gz(t, data[half:])...), CompressionGzip},
		{"zstd", zst(t, data), CompressionZstd},
		{"zstd of two frames", append(zst(t, data[:half]), zst(t, data[half:])...), CompressionZstd},
	} {
		src, err := Open(bytes.NewReader(c.data), Limits{})
		must(t, err)
		r, err := NewReader(src, Options{})
		must(t, err)
		n, err := drain(r, nil)
		if n != 500 || err != nil || src.Compression != c.kind || r.DamageTotal().Places != 0 {
			t.Errorf("%s: %d packets, %v, %q, %v", c.name, n, err, src.Compression, r.Damage())
		}
		must(t, src.Close())
	}
}

func TestPacketsBeforeBadCompressionAreKept(t *testing.T) {
	data := sampleNg(20000, false)
	zeros := make([]byte, 200<<20)
	for _, c := range []struct {
		name   string
		data   []byte
		limits Limits
		want   error
		kind   DamageKind
	}{
		{"truncated gzip", gz(t, data)[:20000], Limits{}, nil, DamageTruncated},
		{"truncated zstd", zst(t, data)[:20000], Limits{}, nil, DamageTruncated},
		{"more than the limit", gz(t, data), Limits{MaxOutput: 1 << 20}, ErrBomb, DamageUnreadable},
		{"a gzip bomb", gz(t, append(bytes.Clone(data), zeros...)), Limits{}, ErrBomb, DamageUnreadable},
		{"a zstd bomb", zst(t, append(bytes.Clone(data), zeros...)), Limits{}, ErrBomb, DamageUnreadable},
		{"garbage after gzip", append(gz(t, data), "garbage after the last member"...), Limits{}, gzip.ErrHeader, DamageUnreadable},
	} {
		src, err := Open(bytes.NewReader(c.data), c.limits)
		must(t, err)
		r, err := NewReader(src, Options{})
		must(t, err)
		n, err := drain(r, nil)
		if n < 100 || !errors.Is(err, c.want) || !hasKind(r, c.kind) {
			t.Errorf("%s: %d packets, %v, %v", c.name, n, err, r.Damage())
		}
	}
	for _, bad := range []string{"\x1f\x8b\x08", "\x1f\x8b\x08\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if _, err := Open(bytes.NewReader([]byte(bad)), Limits{}); err == nil {
			t.Errorf("%q is not gzip", bad)
		}
	}
	src, err := Open(bytes.NewReader(gz(t, zeros[:1<<20])), Limits{MaxOutput: 1 << 20})
	must(t, err)
	if n, err := io.Copy(io.Discard, src); n != 1<<20 || err != nil {
		t.Errorf("output that just reaches the limit: %d bytes, %v", n, err)
	}
}
