// Package everyquestion holds the commands that ask questions to what each of them promises. It has tests only.
package everyquestion_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, nil) }
