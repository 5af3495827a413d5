package program

import "testing"

func TestInstructionLengths(t *testing.T) {
	for _, tt := range []struct {
		name string
		code string
		n    int
		ret  bool
	}{
		{"a return", "\xc3", 1, true},
		{"a return that pops arguments", "\xc2\x08\x00", 3, true},
		{"a constant of 8 bytes", "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\xc3", 10, false},
		{"a constant of 4 bytes", "\xb8\x01\x02\x03\xc3", 5, false},
		{"a constant of 2 bytes", "\x66\xb8\x01\xc3", 4, false},
		{"an address with index and displacement", "\x48\x8d\x84\xc8\x01\x02\x03\x04", 8, false},
		{"an address relative to the instruction pointer", "\x48\x8b\x05\x01\x02\x03\xc3", 7, false},
		{"an index without base", "\x8b\x04\x25\x01\x02\x03\xc3", 7, false},
		{"a test with a byte", "\xf6\xc3\xc3", 3, false},
		{"a test with a word", "\x48\xf7\xc0\x01\x02\x03\x04", 7, false},
		{"a division", "\x48\xf7\xf1", 3, false},
		{"a far jump", "\x0f\x84\x01\x02\x03\xc3", 6, false},
		{"a lock prefix", "\xf0\x48\x0f\xb1\x0b", 5, false},
		{"SSE with a byte", "\x66\x0f\x3a\x0f\xc1\x08", 6, false},
		{"AVX", "\xc5\xf9\x6f\x04\x24", 5, false},
		{"AVX with a prefix of 3 bytes", "\xc4\xe2\x71\x00\xc0", 5, false},
		{"AVX-512", "\x62\xf1\xfe\x48\x6f\x46\x01", 7, false},
		{"an invalid opcode", "\x06", 0, false},
		{"a truncated instruction", "\x48\x8b\x05\x01\x02", 0, false},
		{"prefixes only", "\x66\x66\x66", 0, false},
		{"nothing", "", 0, false},
	} {
		if n, ret := instruction([]byte(tt.code)); n != tt.n || ret != tt.ret {
			t.Errorf("%s: %d %v, want %d %v", tt.name, n, ret, tt.n, tt.ret)
		}
	}
}

func FuzzInstruction(f *testing.F) {
	f.Add([]byte("\x48\x8b\x05\x01\x02\x03\xc3"))
	f.Add([]byte("\x62\xf1\xfe\x48\x6f\x46\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ret := instruction(b); n < 0 || n > len(b) || n > maxInstruction || ret && n == 0 {
			t.Errorf("%d %v of %d bytes", n, ret, len(b))
		}
	})
}
