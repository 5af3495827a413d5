package acceptance

import (
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
)

// asProgram is the variable of the environment with which the test is the program pcapsule. Linking
// it once more takes longer than most tests.
const asProgram = "PCAPSULE_ACCEPTANCE_PROGRAM"

// TestMain lets the tests open cases, and makes this the program that tests start.
func TestMain(m *testing.M) {
	workertest.Main()
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
