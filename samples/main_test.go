package samples

import (
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
)

// TestMain lets the tests open cases.
func TestMain(m *testing.M) {
	workertest.Main()
	os.Exit(m.Run())
}
