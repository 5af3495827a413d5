package memory

import "testing"

func TestShares(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit Limit
		heap  int64
		of8   int
	}{
		{"default", 256 << 20, 214748365, 8},
		{"a quarter", 64 << 20, 53687092, 2},
		{"eight times", 2 << 30, 1717986919, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.limit.Heap(); got != tt.heap {
				t.Errorf("heap of %d bytes, want %d", got, tt.heap)
			}
			if got := tt.limit.Scale(8); got != tt.of8 {
				t.Errorf("a table of 8 scales to %d, want %d", got, tt.of8)
			}
			if got := int64(tt.limit.Connections()); got < tt.heap/5 || got > tt.heap*7/8 {
				t.Errorf("connections have %d bytes of a heap of %d", got, tt.heap)
			}
		})
	}
}
