package acceptance

import (
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/forensics/worker"
)

// asProgram is the variable of the environment with which the test is the program pcapsule. Linking
// it once more takes longer than most tests.
const asProgram = "PCAPSULE_ACCEPTANCE_PROGRAM"

// TestMain makes the test its own database worker, and the program that tests start.
func TestMain(m *testing.M) {
	worker.Main()
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
