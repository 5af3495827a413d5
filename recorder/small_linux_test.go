package recorder

import (
	"errors"
	"os"
	"testing"
)

// TestNarrowRefuses names a control group that does not exist.
func TestNarrowRefuses(t *testing.T) {
	if _, err := narrow(t.TempDir(), "nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
