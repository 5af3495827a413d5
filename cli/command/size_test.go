package command

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"0", 0}, {"17", 17}, {"17B", 17}, {"1k", 1000}, {"1kB", 1000}, {"1KiB", 1024}, {"1.5MB", 1500000}, {"256MiB", 256 << 20},
		{"2 GB", 2e9}, {"1GiB", 1 << 30}, {"1T", 1e12}, {"1TiB", 1 << 40}, {"20Gi", 20 << 30}, {"1.5Ki", 1536}, {"5 MB", 5e6},
		{"", -1}, {"MB", -1}, {"-1", -1}, {"+1", -1}, {"1e3", -1}, {"0x10", -1}, {"inf", -1}, {"NaN", -1}, {"1..2", -1},
		{"1 parsec", -1}, {"100m", -1}, {"1BK", -1}, {"99999999999TiB", -1}, {strings.Repeat("9", 400), -1},
	} {
		got, err := ParseSize(tt.text)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q: got %d, %v, want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestIsBundlePath(t *testing.T) {
	for arg, want := range map[string]bool{
		"a.pcapsule": true, "a.pcapsule/": true, "dir/a.pcapsule.zip": true,
		"http": false, `path == "a.pcapsule"`: false, "": false, "a.pcapsule.txt": false,
	} {
		if got := IsBundlePath(arg); got != want {
			t.Errorf("%q: got %v, want %v", arg, got, want)
		}
	}
}
