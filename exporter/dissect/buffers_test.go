package dissect

import "testing"

// TestPutNothing: sides that never used the pool return nil to it with each segment.
func TestPutNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { buffers.put(nil) }); n > 0 {
		t.Errorf("%v allocations for a buffer that is not kept", n)
	}
}
