package all

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets garbage grow to 5 times what is in use. Tests play short conversations, of which
// nothing remains, so that with the default the collector takes a third of their time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
