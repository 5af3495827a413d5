package snapshots

import (
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/worker"
)

// TestMain makes the test its own database worker.
func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}
