package dissect

import "testing"

// TestPutNothing: sides that were never pooled give nil back with each segment taken.
func TestPutNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { buffers.put(nil) }); n > 0 {
		t.Errorf("%v allocations for a buffer that is not kept", n)
	}
}
